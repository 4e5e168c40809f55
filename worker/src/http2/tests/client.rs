//! A client of HTTP/2 that writes its frames by hand.

use std::collections::VecDeque;
use std::io;

use crate::testing::{PATIENCE, Server};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const NO_ERROR: u32 = 0;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Of a GOAWAY: the last stream that is served, and why.
    pub(super) fn goodbye(&self) -> (u32, u32) {
        assert_eq!(self.kind, GOAWAY, "{self:?}");
        let word = |at: usize| u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap());
        (word(0), word(4))
    }
}

/// A client. It answers SETTINGS and, unless told not to, PING.
pub(super) struct Client {
    pub(super) stream: std::net::TcpStream,
    pub(super) buffer: Vec<u8>,
    pub(super) kept: VecDeque<Frame>,
    pub(super) pongs: bool,
}

/// A header block without entries of its own in the table (RFC 7541, 6.2.2).
pub(super) fn block(method: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    // Names by their index: :method, :scheme, :authority, :path.
    for (index, value) in [(2, method), (6, "http"), (1, "test"), (4, path)] {
        block.extend([index, u8::try_from(value.len()).unwrap()]);
        block.extend(value.bytes());
    }
    block
}

impl Client {
    pub(super) fn to(server: &Server) -> Self {
        let stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, buffer: Vec::new(), kept: VecDeque::new(), pongs: true };
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.send(SETTINGS, 0, 0, &[]);
        client
    }

    /// Whether it went out.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        std::io::Write::write_all(&mut self.stream, bytes).is_ok()
    }

    pub(super) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let frame = frame(kind, flags, stream, payload);
        self.write(&frame)
    }

    pub(super) fn ask(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block("GET", path));
    }

    /// The next frame; `None` at the end of the connection.
    pub(super) fn frame(&mut self) -> Option<Frame> {
        self.try_frame().unwrap_or_else(|error| panic!("nothing comes: {error}"))
    }

    /// As [`Self::frame`]; an error if there is none in time.
    pub(super) fn try_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.cut() {
                match (frame.kind, frame.flags & ACK) {
                    (SETTINGS, 0) => _ = self.send(SETTINGS, ACK, 0, &[]),
                    (SETTINGS, _) | (WINDOW_UPDATE, _) => {}
                    (PING, 0) if self.pongs => _ = self.send(PING, ACK, 0, &frame.payload),
                    _ => return Ok(Some(frame)),
                }
                continue;
            }
            let mut bytes = [0; 65536];
            match std::io::Read::read(&mut self.stream, &mut bytes) {
                Ok(0) => return Ok(None),
                Ok(length) => self.buffer.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn cut(&mut self) -> Option<Frame> {
        let head = self.buffer.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        if self.buffer.len() < 9 + length {
            return None;
        }
        let payload = self.buffer.drain(..9 + length).skip(9).collect();
        Some(Frame { kind, flags, stream, payload })
    }

    /// The next frame of a kind. Others are kept.
    pub(super) fn next(&mut self, kind: u8) -> Option<Frame> {
        if let Some(at) = self.kept.iter().position(|frame| frame.kind == kind) {
            return self.kept.remove(at);
        }
        loop {
            let frame = self.frame()?;
            if frame.kind == kind {
                return Some(frame);
            }
            self.kept.push_back(frame);
        }
    }

    /// The end of one response: its status as an index of HPACK's static table, and its body.
    pub(super) fn answer(&mut self, stream: u32) -> (u8, String) {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let at = self.kept.iter().position(|frame| frame.stream == stream);
            let frame = match at.and_then(|at| self.kept.remove(at)) {
                Some(frame) => frame,
                None => self.frame().expect("the connection ended before the response"),
            };
            match frame.kind {
                _ if frame.stream != stream => {
                    self.kept.push_back(frame);
                    continue;
                }
                HEADERS => status = frame.payload[0] & 0x7f,
                DATA => body.extend_from_slice(&frame.payload),
                _ => panic!("{frame:?}"),
            }
            if frame.flags & END_STREAM != 0 {
                return (status, String::from_utf8(body).unwrap());
            }
        }
    }

    pub(super) fn get(&mut self, stream: u32, path: &str) -> (u8, String) {
        self.ask(stream, path);
        self.answer(stream)
    }

    /// Everything up to the end of the connection.
    pub(super) fn rest(&mut self) -> Vec<Frame> {
        let mut frames: Vec<Frame> = self.kept.drain(..).collect();
        while let Some(frame) = self.frame() {
            frames.push(frame);
        }
        frames
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
