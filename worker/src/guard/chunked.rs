//! A body in chunks (RFC 9112, 7.1), and its trailers.

use super::Reason;
use super::bytes::{TOKEN, leading_blanks, line, run};
use super::head::name;
use super::rules::{Rules, Verdict};
use super::wide::Controls;

/// Longest line with a chunk's size, without its end.
const LINE: usize = 1024;
/// Digits of a size that fit into 64 bits.
const DIGITS: usize = 16;
/// Extensions of one body, in bytes; hyper takes 16 KiB.
const EXTENSIONS: usize = 8192;
/// Trailers of one body, in bytes; hyper takes 16 KiB.
pub(super) const TRAILERS: usize = 8192;

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    /// The CRLF after a chunk's data.
    End,
    /// After the last chunk.
    Trailers(Trailers),
}

/// A body in chunks on its way in.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    extensions: usize,
    /// Bytes of data so far.
    total: u64,
}

/// How far the body is.
pub(super) struct Read {
    /// How many bytes there are when dropped trailers are gone.
    pub(super) len: usize,
    /// The first so many are good.
    pub(super) pass: usize,
    pub(super) ended: bool,
}

impl Chunks {
    /// Reads on. With a refusal comes how many bytes were good.
    pub(super) fn read(&mut self, bytes: &mut [u8], rules: &Rules) -> Result<Read, (Reason, usize)> {
        let (mut at, mut len) = (0, bytes.len());
        loop {
            let part = Read { len, pass: at, ended: false };
            match &mut self.state {
                State::Size => {
                    let found = line(bytes, at, &mut Controls::new(at), LINE, Reason::ChunkLine)
                        .map_err(|reason| (reason, at))?;
                    let Some(end) = found else { return Ok(part) };
                    let size = self.size(&bytes[at..end], rules).map_err(|reason| (reason, at))?;
                    at = end + 2;
                    self.state = match size {
                        0 => State::Trailers(Trailers::default()),
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    let here = (len - at) as u64;
                    if here < *left {
                        *left -= here;
                        return Ok(Read { len, pass: len, ended: false });
                    }
                    at += usize::try_from(*left).expect("no more than is here");
                    self.state = State::End;
                }
                State::End => match bytes[at..len] {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(part),
                    _ => return Err((Reason::ChunkEnd, at)),
                },
                State::Trailers(trailers) => {
                    let (ended, gap) = trailers.read(&mut bytes[at..len], rules).map_err(|reason| (reason, at))?;
                    len -= gap;
                    let pass = if ended { at + trailers.next } else { at };
                    return Ok(Read { len, pass, ended });
                }
            }
        }
    }

    /// The size in a chunk's first line.
    fn size(&mut self, line: &[u8], rules: &Rules) -> Result<u64, Reason> {
        let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let (digits, rest) = line.split_at(digits);
        if !(1..=DIGITS).contains(&digits.len()) || rest.first().is_some_and(|byte| *byte != b';') {
            return Err(Reason::ChunkSize);
        }
        let value = |byte: &u8| match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        let size = digits.iter().fold(0, |sum: u64, byte| sum << 4 | u64::from(value(byte)));
        if !rest.is_empty() {
            extensions(rest)?;
            self.extensions += rest.len();
            if self.extensions > EXTENSIONS {
                return Err(Reason::ChunkExtensions);
            }
        }
        self.total = self.total.checked_add(size).ok_or(Reason::ChunkSize)?;
        if self.total > rules.body { Err(Reason::BodyTooLarge) } else { Ok(size) }
    }
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`, but for the blanks before the first semicolon, which nobody
/// means well.
#[cold]
fn extensions(mut rest: &[u8]) -> Result<(), Reason> {
    while !rest.is_empty() {
        rest = rest.strip_prefix(b";").ok_or(Reason::ChunkExtension)?;
        rest = token(blanks(rest))?;
        let after = blanks(rest);
        rest = match after.split_first() {
            Some((b'=', value)) => match blanks(value).split_first() {
                Some((b'"', text)) => blanks(quoted(text)?),
                _ => blanks(token(blanks(value))?),
            },
            _ => after,
        };
    }
    Ok(())
}

fn blanks(bytes: &[u8]) -> &[u8] {
    &bytes[leading_blanks(bytes)..]
}

fn token(bytes: &[u8]) -> Result<&[u8], Reason> {
    match run(bytes, TOKEN) {
        0 => Err(Reason::ChunkExtension),
        end => Ok(&bytes[end..]),
    }
}

/// What comes after the quoted text that `bytes` begins with. Control characters are found with the line.
fn quoted(mut bytes: &[u8]) -> Result<&[u8], Reason> {
    loop {
        bytes = match bytes {
            [b'"', rest @ ..] => return Ok(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
            [] => return Err(Reason::ChunkExtension),
        };
    }
}

/// The lines after the last chunk. Places count from the first of them.
#[derive(Debug, Default)]
struct Trailers {
    /// Where the next one begins.
    next: usize,
    fields: usize,
    /// Bytes of those that were dropped.
    dropped: usize,
}

impl Trailers {
    /// Reads on; whether the last one is here, and how many bytes are gone with those that were dropped.
    fn read(&mut self, bytes: &mut [u8], rules: &Rules) -> Result<(bool, usize), Reason> {
        let mut gap = 0; // as in a head
        let mut controls = Controls::new(self.next);
        let ended = loop {
            let from = self.next + gap;
            let most = TRAILERS.saturating_sub(from + self.dropped);
            let Some(end) = line(bytes, from, &mut controls, most, Reason::TrailersTooLarge)? else { break false };
            let length = end - from;
            bytes.copy_within(from..end + 2, self.next);
            let begin = self.next;
            self.next += length + 2;
            if length == 0 {
                break true;
            }
            self.fields += 1;
            if self.fields > rules.fields {
                return Err(Reason::TrailersTooLarge);
            }
            if trailer(&mut bytes[begin..begin + length], rules)? == Verdict::Drop {
                gap += length + 2;
                self.next = begin;
            }
        };
        bytes.copy_within(self.next + gap.., self.next);
        self.dropped += gap;
        Ok((ended, gap))
    }
}

/// What may not come after the body: it frames the message, routes it, says how to read it or who sent it (RFC 9110, 6.5.1).
const FORBIDDEN: [&[u8]; 24] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"http2-settings",
    b"keep-alive",
    b"max-forwards",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-forwarded-for",
    b"x-forwarded-host",
];

fn trailer(line: &mut [u8], rules: &Rules) -> Result<Verdict, Reason> {
    let (end, has_underscore) = name(line, 0, false, false).map_err(|_| Reason::TrailerName)?;
    let name = &line[..end];
    rules.trailer(name, has_underscore)
}

impl Rules {
    /// What becomes of a trailer by this name.
    pub(super) fn trailer(&self, name: &[u8], has_underscore: bool) -> Result<Verdict, Reason> {
        let is = |forbidden: &[u8]| name.eq_ignore_ascii_case(forbidden);
        if FORBIDDEN.into_iter().any(is) || self.schemes.iter().any(|scheme| is(&scheme.name)) {
            return Err(Reason::TrailerForbidden);
        }
        if has_underscore { self.underscore(name, false) } else { Ok(Verdict::Keep) }
    }
}
