//! The part of ZMTP 3 (ZeroMQ's wire, rfc.zeromq.org/spec/23 and 37) that a Locust worker needs: one connection, security NULL,
//! one frame per message. No socket in here: bytes go in by [`Peer::feed`], what they mean comes out of [`Peer::poll`].

use std::fmt;

/// Nothing a Locust master sends comes near: a spawn message is about 1 KiB, a locustfile some hundreds at most.
pub const MAX_FRAME: u64 = 16 << 20;
/// What a peer may call itself (ZMTP 3, socket metadata).
pub const MAX_IDENTITY: usize = 255;

const GREETING: usize = 64;
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A worker: it dials.
    Dealer,
    /// A master; here only what plays one in tests.
    Router,
}

impl Role {
    fn socket_type(self) -> &'static str {
        match self {
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
        }
    }

    /// Whether a socket of this type may talk to one of that type (ZMTP 3, "the Socket-Type property").
    fn accepts(self, other: &str) -> bool {
        match self {
            Self::Dealer => other == "ROUTER",
            Self::Router => other == "DEALER",
        }
    }
}

/// What the other end sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The handshake is through; from now on there are messages. The name the peer gave itself, empty if none.
    Ready {
        /// Its `Identity`.
        identity: Vec<u8>,
    },
    /// A message.
    Message(Vec<u8>),
    /// Bytes the protocol wants back at once (a PONG).
    Reply(Vec<u8>),
}

/// Why a peer's bytes are not what they must be. None of these can be talked over: the connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The first bytes are another protocol's.
    NotZmtp(Vec<u8>),
    /// ZMTP before version 3.
    Version(u8),
    /// Security other than NULL.
    Mechanism(String),
    /// A socket of the wrong kind.
    SocketType(String),
    /// It sent an ERROR command, with this reason.
    Refused(String),
    /// A first command that is not READY, or one that cannot be read.
    Handshake,
    /// Reserved bits are set.
    Flags(u8),
    /// A frame longer than [`MAX_FRAME`].
    TooLong(u64),
    /// A message in several frames; nothing in Locust sends one.
    Multipart,
}

impl Violation {
    /// Whether this says that the address is not a Locust master's at all, so that dialling again is of no use.
    pub fn is_wrong_peer(&self) -> bool {
        matches!(
            self,
            Self::NotZmtp(_) | Self::Version(_) | Self::Mechanism(_) | Self::SocketType(_) | Self::Refused(_)
        )
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotZmtp(first) => {
                write!(f, "it does not speak ZeroMQ: its first bytes are {:?}", String::from_utf8_lossy(first))
            }
            Self::Version(major) => {
                write!(f, "it speaks ZeroMQ's protocol in version {major}, and Locust in version 3")
            }
            Self::Mechanism(name) => write!(f, "it demands ZeroMQ security {name:?}, and Locust has none"),
            Self::SocketType(kind) => {
                write!(f, "it is a ZeroMQ socket of type {kind:?}, and a Locust master's is \"ROUTER\"")
            }
            Self::Refused(reason) => write!(f, "it refused the connection: {reason:?}"),
            Self::Handshake => f.write_str("its ZeroMQ handshake cannot be read"),
            Self::Flags(flags) => write!(f, "a ZeroMQ frame has reserved flags ({flags:#04x})"),
            Self::TooLong(length) => {
                write!(f, "a ZeroMQ frame of {length} bytes is longer than the {MAX_FRAME} that are read")
            }
            Self::Multipart => f.write_str("a ZeroMQ message comes in several frames"),
        }
    }
}

impl std::error::Error for Violation {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Command,
    Traffic,
}

/// What is known of the other end of one connection.
#[derive(Debug)]
pub struct Peer {
    role: Role,
    stage: Stage,
    input: Vec<u8>,
}

impl Peer {
    /// Expects the other end's greeting. What to send first: [`hello`].
    pub fn new(role: Role) -> Self {
        Self { role, stage: Stage::Greeting, input: Vec::new() }
    }

    /// Bytes as they came, in pieces of any size.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next thing the bytes so far say, or nothing until there are more.
    pub fn poll(&mut self) -> Result<Option<Event>, Violation> {
        if self.stage == Stage::Greeting && !self.greeted()? {
            return Ok(None);
        }
        while let Some((command, body)) = self.frame()? {
            let event = match (self.stage, command) {
                (Stage::Command, true) => Some(self.handshake(&body)?),
                (Stage::Command, false) => return Err(Violation::Handshake),
                (_, true) => pong(&body).map(Event::Reply),
                (_, false) => Some(Event::Message(body)),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn greeted(&mut self) -> Result<bool, Violation> {
        let signature_fits = |(at, byte): (usize, &u8)| match at {
            0 => *byte == 0xff,
            9 => byte & 1 == 1,
            _ => true,
        };
        if !self.input.iter().enumerate().take(10).all(signature_fits) {
            return Err(Violation::NotZmtp(self.input[..self.input.len().min(40)].to_vec()));
        }
        if self.input.get(10).is_some_and(|major| *major < 3) {
            return Err(Violation::Version(self.input[10]));
        }
        if self.input.len() < GREETING {
            return Ok(false);
        }
        let mechanism = self.input[12..32].split(|byte| *byte == 0).next().unwrap_or_default();
        if mechanism != b"NULL" {
            return Err(Violation::Mechanism(String::from_utf8_lossy(mechanism).into_owned()));
        }
        self.input.drain(..GREETING);
        self.stage = Stage::Command;
        Ok(true)
    }

    /// One whole frame: whether it is a command, and its body.
    fn frame(&mut self) -> Result<Option<(bool, Vec<u8>)>, Violation> {
        let Some(flags) = self.input.first().copied() else { return Ok(None) };
        if flags & !(MORE | LONG | COMMAND) != 0 {
            return Err(Violation::Flags(flags));
        }
        if flags & MORE != 0 {
            return Err(Violation::Multipart);
        }
        let (length, head) = if flags & LONG == 0 {
            (self.input.get(1).map(|byte| u64::from(*byte)), 2)
        } else {
            (self.input.get(1..9).map(|bytes| u64::from_be_bytes(bytes.try_into().expect("nine less one"))), 9)
        };
        let Some(length) = length else { return Ok(None) };
        if length > MAX_FRAME {
            return Err(Violation::TooLong(length));
        }
        let end = head + usize::try_from(length).expect("at most MAX_FRAME");
        if self.input.len() < end {
            return Ok(None);
        }
        let body = self.input[head..end].to_vec();
        self.input.drain(..end);
        Ok(Some((flags & COMMAND != 0, body)))
    }

    fn handshake(&mut self, body: &[u8]) -> Result<Event, Violation> {
        let (name, rest) = take_short(body).ok_or(Violation::Handshake)?;
        if name == b"ERROR" {
            let reason = take_short(rest).map_or(&b""[..], |(reason, _)| reason);
            return Err(Violation::Refused(String::from_utf8_lossy(reason).into_owned()));
        }
        if name != b"READY" {
            return Err(Violation::Handshake);
        }
        let (mut socket_type, mut identity) = (String::new(), Vec::new());
        let mut rest = rest;
        while !rest.is_empty() {
            let (name, after) = take_short(rest).ok_or(Violation::Handshake)?;
            let (value, after) = take_long(after).ok_or(Violation::Handshake)?;
            match name.to_ascii_lowercase().as_slice() {
                b"socket-type" => socket_type = String::from_utf8_lossy(value).into_owned(),
                b"identity" => identity = value.to_vec(),
                _ => {}
            }
            rest = after;
        }
        if !self.role.accepts(&socket_type) {
            return Err(Violation::SocketType(socket_type));
        }
        self.stage = Stage::Traffic;
        Ok(Event::Ready { identity })
    }
}

fn take_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn take_long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().expect("four"));
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// The answer to a PING of ZMTP 3.1; other commands after the handshake are for extensions nobody here uses.
fn pong(command: &[u8]) -> Option<Vec<u8>> {
    let (b"PING", rest) = take_short(command)? else { return None };
    let context = rest.get(2..)?; // after the time to live
    let mut body = b"\x04PONG".to_vec();
    body.extend_from_slice(context);
    Some(frame(COMMAND, &body))
}

/// What an end sends first: greeting and READY in one piece, since with security NULL neither depends on the peer's.
/// `identity` is at most [`MAX_IDENTITY`] bytes long; a router needs none.
pub fn hello(role: Role, identity: &str) -> Vec<u8> {
    debug_assert!(identity.len() <= MAX_IDENTITY, "the master would not take it");
    let mut bytes = vec![0; GREETING];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[12..16].copy_from_slice(b"NULL");
    let mut ready = b"\x05READY".to_vec();
    property(&mut ready, "Socket-Type", role.socket_type());
    property(&mut ready, "Identity", identity);
    bytes.extend(frame(COMMAND, &ready));
    bytes
}

/// A message as it goes over the wire.
pub fn message(body: &[u8]) -> Vec<u8> {
    frame(0, body)
}

fn property(to: &mut Vec<u8>, name: &str, value: &str) {
    to.push(u8::try_from(name.len()).expect("our own names are short"));
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(&u32::try_from(value.len()).expect("checked by the caller").to_be_bytes());
    to.extend_from_slice(value.as_bytes());
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 9);
    if let Ok(length) = u8::try_from(body.len()) {
        bytes.extend([flags, length]);
    } else {
        bytes.push(flags | LONG);
        bytes.extend((body.len() as u64).to_be_bytes());
    }
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
#[path = "zmtp_tests.rs"]
mod tests;
