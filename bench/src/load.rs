//! A client that notices everything: one blocking connection, one request at a time.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Result;

/// Nothing here takes this long unless it is lost.
const LOST: Duration = Duration::from_secs(30);

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response, as far as the benchmarks care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The server has announced that it closes the connection.
    pub(crate) closes: bool,
}

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), LOST)?;
        stream.set_read_timeout(Some(LOST))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(1024) })
    }

    /// `GET /`, to the last byte of the answer.
    pub(crate) fn get(&mut self, close: bool) -> io::Result<Answer> {
        self.ask(close)?;
        self.answer()
    }

    /// Sends `GET /`.
    pub(crate) fn ask(&mut self, close: bool) -> io::Result<()> {
        let connection = if close { "Connection: close\r\n" } else { "" };
        let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{connection}\r\n");
        self.stream.write_all(request.as_bytes())
    }

    /// Reads to the last byte of the answer.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        self.read.clear();
        loop {
            let mut buffer = [0; 1024];
            let n = self.stream.read(&mut buffer)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read.extend_from_slice(&buffer[..n]);
            if let Some(answer) = parse(&self.read)? {
                return Ok(answer);
            }
        }
    }
}

/// `None`: more is to come.
fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let strange = || io::Error::new(io::ErrorKind::InvalidData, String::from_utf8_lossy(bytes).into_owned());
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| strange())?;
    let field = |name: &str| {
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(strange)?;
    let length: usize = field("content-length").and_then(|length| length.parse().ok()).ok_or_else(strange)?;
    let closes = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok((bytes.len() >= end + 4 + length).then_some(Answer { status, closes }))
}

/// The time until the server has answered 200 on a new connection. What fails before that is tried again.
pub(crate) fn first_200(port: u16, since: Instant) -> Result<Duration> {
    loop {
        let answer = Client::connect(port).and_then(|mut client| client.get(true));
        match answer {
            Ok(Answer { status: 200, .. }) => return Ok(since.elapsed()),
            Ok(answer) => return Err(format!("the server answers {}", answer.status).into()),
            Err(error) if since.elapsed() > LOST => return Err(format!("the server does not answer: {error}").into()),
            Err(_) => {}
        }
    }
}

/// Requests of [`warm_up`].
pub(crate) const WARM_UP: u64 = 501;

/// Some requests on one connection, or on many if the server closes them, so that what is done only once is done.
pub(crate) fn warm_up(port: u16) -> Result<()> {
    first_200(port, Instant::now())?;
    let mut client = Client::connect(port)?;
    for _ in 1..WARM_UP {
        if client.get(false)?.closes {
            client = Client::connect(port)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
