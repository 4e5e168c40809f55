//! A plain HTTP/1.1 client on a blocking socket, which reports exactly what went wrong.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::PATIENCE;

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(std::path::PathBuf),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

/// What went wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Failure {
    /// Nobody accepts.
    Refused,
    /// The connection was reset, or broken when we wrote.
    Reset,
    /// It ended in order, but before the whole response.
    Eof,
    /// Nothing came for a long time.
    Timeout,
    /// The response does not read.
    Malformed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused | Kind::NotFound => Self::Refused,
            Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted => Self::Reset,
            Kind::UnexpectedEof => Self::Eof,
            Kind::WouldBlock | Kind::TimedOut => Self::Timeout,
            _ => Self::Malformed(error.to_string()),
        }
    }
}

/// A whole response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the server says that this is the connection's last response.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection as bytes.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub(crate) struct Conn {
    stream: Box<dyn Stream>,
    /// Read and not used yet.
    buffer: Vec<u8>,
}

impl Conn {
    pub(crate) fn open(address: impl Into<Address>) -> Result<Self, Failure> {
        Self::open_patient(address, PATIENCE)
    }

    /// `patience` is for each step: the connect, and each wait for bytes.
    pub(crate) fn open_patient(address: impl Into<Address>, patience: Duration) -> Result<Self, Failure> {
        let stream: Box<dyn Stream> = match address.into() {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(&address, patience)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                Box::new(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                Box::new(stream)
            }
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// A connection that somebody has made.
    pub(crate) fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends a request and reads its response.
    pub(crate) fn get(&mut self, path: &str) -> Result<Response, Failure> {
        self.request("GET", path, "", "")
    }

    /// The same, with a method, more header lines (each with its line end) and a body.
    pub(crate) fn request(&mut self, method: &str, path: &str, head: &str, body: &str) -> Result<Response, Failure> {
        self.send(method, path, head, body)?;
        self.receive(method == "HEAD")
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &str) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes.as_bytes())?)
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes)?)
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, head: &str, body: &str) -> Result<(), Failure> {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        self.send_raw(&format!("{method} {path} HTTP/1.1\r\nHost: e2e\r\n{head}{length}\r\n{body}"))
    }

    pub(crate) fn receive(&mut self, head_only: bool) -> Result<Response, Failure> {
        let malformed = |what: &str| Failure::Malformed(what.to_owned());
        let head = self.read_until(b"\r\n\r\n")?;
        let head = String::from_utf8(head).map_err(|_| malformed("the head is not text"))?;
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
        let status = status.ok_or_else(|| malformed(&head))?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut response = Response { status, headers, body: String::new() };
        let body = if head_only || status < 200 || status == 304 {
            Vec::new()
        } else if response.header("transfer-encoding") == Some("chunked") {
            self.read_chunks()?
        } else {
            let length = response.header("content-length").and_then(|length| length.parse().ok());
            self.read_exactly(length.ok_or_else(|| malformed("no length"))?)?
        };
        response.body = String::from_utf8_lossy(&body).into_owned();
        Ok(response)
    }

    /// Waits for the server to close the connection in order.
    pub(crate) fn wait_for_close(mut self) -> Result<(), Failure> {
        match self.fill() {
            Err(Failure::Eof) => Ok(()),
            Err(other) => Err(other),
            Ok(()) => Err(Failure::Malformed("bytes after the response".to_owned())),
        }
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let size = self.read_until(b"\r\n")?;
            let size = std::str::from_utf8(&size).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
            let size = size.ok_or_else(|| Failure::Malformed("chunk size".to_owned()))?;
            body.extend_from_slice(&self.read_exactly(size)?);
            self.read_exactly(2)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn read_until(&mut self, end: &[u8]) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            self.fill()?;
        }
    }

    fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        while self.buffer.len() < length {
            self.fill()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn fill(&mut self) -> Result<(), Failure> {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Failure::Eof),
                Ok(length) => {
                    self.buffer.extend_from_slice(&bytes[..length]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {} // a debugger, a suspended machine
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// One request on a connection of its own.
pub(crate) fn get(address: impl Into<Address>, path: &str) -> Result<Response, Failure> {
    Conn::open(address)?.request("GET", path, "Connection: close\r\n", "")
}
