//! One HTTP/1.1 connection to a collector or metadata server: blocking, with a deadline for everything but looking up names.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::tls::{Secure, Tls};

/// One address that does not answer must not use up the time of the others.
const CONNECT: Duration = Duration::from_secs(3);
const LONGEST_HEAD: usize = 16 * 1024;
/// Of an answer's body. Collectors say a few bytes, proxies a page.
const LONGEST_BODY: usize = 64 * 1024;

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the connection may be used again.
    pub(crate) keeps: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }
}

enum Stream {
    Plain(TcpStream),
    Secure(Secure),
}

/// An open connection.
pub(crate) struct Connection(Stream);

impl Connection {
    pub(crate) fn open(host: &str, port: u16, tls: Option<&Tls>, until: Instant) -> io::Result<Self> {
        let mut failure = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(until)?.min(CONNECT)) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    let stream = match tls {
                        None => Stream::Plain(socket),
                        Some(tls) => Stream::Secure(tls.over(socket, host)?),
                    };
                    return Ok(Self(stream));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn socket(&self) -> &TcpStream {
        match &self.0 {
            Stream::Plain(socket) => socket,
            Stream::Secure(secure) => secure.socket(),
        }
    }

    /// Whether the other side seems to be there still: it has neither closed nor said anything unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        let socket = self.socket();
        let quiet = socket.set_nonblocking(true).is_ok()
            && socket.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        quiet && socket.set_nonblocking(false).is_ok()
    }

    /// Sends a request and reads its answer.
    pub(crate) fn exchange(&mut self, head: &[u8], body: &[u8], until: Instant) -> io::Result<Answer> {
        self.write(head, until)?;
        self.write(body, until)?;
        let mut buffer = Vec::new();
        loop {
            let (mut answer, length) = self.read_head(&mut buffer, until)?;
            if answer.status >= 200 {
                self.read_body(&mut answer, buffer, length, until)?;
                return Ok(answer);
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket().set_write_timeout(Some(left(until)?))?;
            let written = match &mut self.0 {
                Stream::Plain(socket) => socket.write(bytes),
                Stream::Secure(secure) => secure.write(bytes),
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error)),
            }
        }
        match &mut self.0 {
            Stream::Plain(_) => Ok(()),
            Stream::Secure(secure) => secure.flush().map_err(timed_out),
        }
    }

    /// Appends what has arrived; false at the end.
    fn read(&mut self, buffer: &mut Vec<u8>, until: Instant) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        loop {
            self.socket().set_read_timeout(Some(left(until)?))?;
            let read = match &mut self.0 {
                Stream::Plain(socket) => socket.read(&mut bytes),
                Stream::Secure(secure) => secure.read(&mut bytes),
            };
            match read {
                Ok(read) => {
                    buffer.extend_from_slice(&bytes[..read]);
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error)),
            }
        }
    }

    fn read_head(&mut self, buffer: &mut Vec<u8>, until: Instant) -> io::Result<(Answer, Length)> {
        loop {
            if let Some((answer, length, used)) = parse_head(buffer)? {
                buffer.drain(..used);
                return Ok((answer, length));
            }
            if buffer.len() > LONGEST_HEAD {
                return Err(invalid("its answer has no end"));
            }
            if !self.read(buffer, until)? {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection was closed without an answer"));
            }
        }
    }

    fn read_body(&mut self, answer: &mut Answer, mut raw: Vec<u8>, length: Length, until: Instant) -> io::Result<()> {
        loop {
            let body = match length {
                Length::Known(length) => (raw.len() >= length).then(|| raw[..length].to_vec()),
                Length::Chunked => chunks(&raw)?,
                Length::ToEnd => None,
            };
            if let Some(body) = body {
                answer.body = body;
                return Ok(());
            }
            // The status is what counts; what is long is not read, and where the answer ends is then unknown.
            if raw.len() > LONGEST_BODY || !self.read(&mut raw, until)? {
                answer.keeps = false;
                answer.body = raw;
                return Ok(());
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Length {
    Known(usize),
    Chunked,
    ToEnd,
}

/// The head at the start of `buffer`, and how long it is. `None`: not all of it is here.
fn parse_head(buffer: &[u8]) -> io::Result<Option<(Answer, Length, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let used = match response.parse(buffer) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(invalid("its answer is not HTTP")),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = response.headers.iter().map(|header| (header.name.to_owned(), text(header.value)));
    let status = response.code.unwrap_or_default();
    let mut answer = Answer { status, headers: headers.collect(), body: Vec::new(), keeps: true };
    let has = |name, word: &str| answer.header(name).is_some_and(|value| value.to_ascii_lowercase().contains(word));
    let closes = has("connection", "close") || (response.version == Some(0) && !has("connection", "keep-alive"));
    let length = if status < 200 || status == 204 || status == 304 {
        Length::Known(0)
    } else if has("transfer-encoding", "chunked") {
        Length::Chunked
    } else {
        answer.header("content-length").and_then(|value| value.parse().ok()).map_or(Length::ToEnd, Length::Known)
    };
    answer.keeps = !closes && !matches!(length, Length::ToEnd);
    Ok(Some((answer, length, used)))
}

/// The body that chunks make up, once the last one is here.
fn chunks(mut raw: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = raw.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&raw[..end]).ok().and_then(|line| line.split(';').next());
        let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let size = size.filter(|size| *size <= LONGEST_BODY).ok_or_else(|| invalid("its answer has a wrong chunk"))?;
        raw = &raw[end + 2..];
        if raw.len() < size + 2 {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(body)); // trailers would make the next answer unreadable, which closes the connection
        }
        body.extend_from_slice(&raw[..size]);
        raw = &raw[size + 2..];
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// A socket's own timeout comes as "would block".
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { too_late() } else { error }
}

fn too_late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "no answer in time")
}

/// What is left until the deadline, as a timeout for the kernel, which takes no zero.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(too_late()) } else { Ok(left.max(Duration::from_millis(1))) }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
