//! Answers of HTTP/1.1 (RFC 9112), from bytes as they come. Bodies are counted, and kept only on demand.

use std::mem::MaybeUninit;

use crate::engine::answer::Answer;
use crate::engine::failure::Failure;
use crate::stats::ErrorKind;

/// Longest head, and longest line of a chunk's size.
const LONGEST_HEAD: usize = 64 << 10;
/// Most header fields.
const MOST_FIELDS: usize = 128;

/// Reads one answer after the other.
#[derive(Default)]
pub(crate) struct Decoder {
    state: State,
    /// Bytes of a head that is not complete.
    pending: Vec<u8>,
    /// Bytes of this answer's head that may still come, interim answers included.
    to_head: bool,
    keep_body: bool,
    pub(crate) answer: Answer,
    begun: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Length(u64),
    Size {
        size: u64,
        digits: u8,
        extension: bool,
    },
    Chunk(u64),
    /// Line end after a chunk; whether its CR was seen.
    ChunkEnd(bool),
    /// Bytes of the trailer's current line, CR not counted.
    Trailer(usize),
    Close,
    Done,
}

type Result<T> = std::result::Result<T, Failure>;

fn protocol(text: &str) -> Failure {
    Failure::new(ErrorKind::Protocol, text)
}

impl Decoder {
    /// Prepares for the answer to a request.
    pub(crate) fn begin(&mut self, to_head: bool, keep_body: bool) {
        self.state = State::Head;
        self.pending.clear();
        (self.to_head, self.keep_body, self.begun) = (to_head, keep_body, false);
        self.answer = Answer::default();
    }

    pub(crate) fn done(&self) -> bool {
        self.answer.complete
    }

    /// Whatever the answer said, the connection is not to be used again.
    pub(crate) fn spoil(&mut self) {
        self.answer.reusable = false;
    }

    /// Takes bytes as they come; calls `field` with each header field of the final answer.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], field: &mut impl FnMut(&str, &[u8])) -> Result<()> {
        self.begun |= !bytes.is_empty();
        while !bytes.is_empty() && self.state != State::Done {
            let used = match self.state {
                State::Head => self.head(bytes, field)?,
                State::Length(left) => {
                    let used = self.take(bytes, left);
                    self.state = if used as u64 == left { State::Done } else { State::Length(left - used as u64) };
                    used
                }
                State::Close => self.take(bytes, u64::MAX),
                State::Chunk(left) => {
                    let used = self.take(bytes, left);
                    let left = left - used as u64;
                    self.state = if left == 0 { State::ChunkEnd(false) } else { State::Chunk(left) };
                    used
                }
                _ => {
                    self.state = self.chunk_byte(bytes[0])?;
                    1
                }
            };
            bytes = &bytes[used..];
        }
        self.answer.complete = self.state == State::Done;
        // Nothing was asked for that more bytes could be the answer to.
        self.answer.reusable &= bytes.is_empty();
        Ok(())
    }

    /// The connection is at its end.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.answer.reusable = false;
        match self.state {
            State::Close => self.answer.complete = true,
            State::Done => {}
            _ if self.begun => {
                return Err(Failure::new(ErrorKind::Incomplete, "connection closed in the middle of the answer"));
            }
            _ => return Err(Failure::new(ErrorKind::Incomplete, "connection closed without an answer")),
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], most: u64) -> usize {
        let used = bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        self.answer.take(&bytes[..used], self.keep_body);
        used
    }

    /// One byte of what is around chunks.
    fn chunk_byte(&self, byte: u8) -> Result<State> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits, .. }, b'\n') if digits > 0 => match size {
                0 => State::Trailer(0),
                size => State::Chunk(size),
            },
            (State::Size { size, digits, extension: false }, digit) if digit.is_ascii_hexdigit() => {
                let value = (digit as char).to_digit(16).map_or(0, u64::from);
                if digits == 15 {
                    return Err(protocol("the size of a chunk has more than 15 digits"));
                }
                State::Size { size: size << 4 | value, digits: digits + 1, extension: false }
            }
            (State::Size { size, digits, extension }, byte) => match byte {
                b';' | b' ' | b'\t' | b'\r' if digits > 0 => State::Size { size, digits, extension: true },
                _ if extension => State::Size { size, digits, extension },
                _ => return Err(protocol("the size of a chunk is no number")),
            },
            (State::ChunkEnd(false), b'\r') => State::ChunkEnd(true),
            (State::ChunkEnd(_), b'\n') => State::Size { size: 0, digits: 0, extension: false },
            (State::ChunkEnd(_), _) => return Err(protocol("a chunk does not end where it should")),
            (State::Trailer(0), b'\n') => State::Done,
            (State::Trailer(_), b'\n') => State::Trailer(0),
            (State::Trailer(length), b'\r') => State::Trailer(length),
            (State::Trailer(length), _) if length > LONGEST_HEAD => return Err(protocol("the trailer has no end")),
            (State::Trailer(length), _) => State::Trailer(length + 1),
            (state, _) => state,
        })
    }

    /// Parses the head from `bytes`, or from what came before and `bytes`. How many of the bytes were of the head.
    fn head(&mut self, bytes: &[u8], field: &mut impl FnMut(&str, &[u8])) -> Result<usize> {
        if self.pending.is_empty() {
            let Some(length) = self.parse(bytes, field)? else {
                self.pending.extend_from_slice(bytes);
                return Ok(bytes.len());
            };
            return Ok(length);
        }
        let before = self.pending.len();
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let parsed = self.parse(&pending, field)?;
        if parsed.is_none() {
            self.pending = pending;
            if self.pending.len() > LONGEST_HEAD {
                return Err(protocol("the head of the answer has no end"));
            }
            return Ok(bytes.len());
        }
        Ok(parsed.map_or(0, |length| length - before))
    }

    fn parse(&mut self, bytes: &[u8], field: &mut impl FnMut(&str, &[u8])) -> Result<Option<usize>> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, bytes, &mut fields)
            .map_err(|error| protocol(&format!("the answer is not HTTP/1.1: {error}")))?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let status = response.code.ok_or_else(|| protocol("the answer has no status"))?;
        // Interim answers (RFC 9110 15.2) come before the one that counts; 101 is none of them.
        if (100..200).contains(&status) && status != 101 {
            return Ok(Some(length));
        }
        self.answer.status = status;
        let mut framing = Framing::default();
        for header in response.headers.iter() {
            framing.field(header.name, header.value)?;
            field(header.name, header.value);
        }
        self.answer.reusable = match response.version {
            Some(1) => !framing.close,
            _ => framing.keep_alive && !framing.close,
        };
        let bodiless = self.to_head || matches!(status, 204 | 304);
        self.state = match framing {
            _ if status == 101 => return Err(protocol("the server switched protocols (101), which nobody asked for")),
            _ if bodiless => State::Done,
            Framing { chunked: true, .. } => State::Size { size: 0, digits: 0, extension: false },
            Framing { coded: true, .. } => State::Close,
            Framing { length: Some(0), .. } => State::Done,
            Framing { length: Some(length), .. } => State::Length(length),
            _ => State::Close,
        };
        self.answer.reusable &= self.state != State::Close;
        Ok(Some(length))
    }
}

/// What header fields say about the body and the connection.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    /// `chunked` is the last transfer coding.
    chunked: bool,
    /// There is a transfer coding.
    coded: bool,
    close: bool,
    keep_alive: bool,
}

impl Framing {
    fn field(&mut self, name: &str, value: &[u8]) -> Result<()> {
        // By length first: nearly all fields are none of these.
        match name.len() {
            14 if name.eq_ignore_ascii_case("content-length") => {
                let wrong = || protocol("Content-Length is no number");
                let digits = value.trim_ascii();
                if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                    return Err(wrong());
                }
                let text = std::str::from_utf8(digits).map_err(|_| wrong())?;
                let length = text.parse().map_err(|_| wrong())?;
                if self.length.is_some_and(|other| other != length) {
                    return Err(protocol("two Content-Lengths that differ"));
                }
                self.length = Some(length);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.coded = true;
                let last = value.rsplit(|&byte| byte == b',').next().unwrap_or_default();
                self.chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
