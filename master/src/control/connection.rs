//! One of those who ask. A connection is in one of three states, and waits for one thing in each: for a request, for the
//! fleet's answer, or for room to write the answer. Requests that come faster stay in the kernel's buffer meanwhile.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustcorn_control::{Command, Reply};
use rustcorn_sys::Monotonic;
use rustcorn_sys::fd::{Interest, has_hung_up};
use rustcorn_sys::held_socket::Peer;
use serde_json::Value;

use super::is_not_now;
use crate::fleet::Ticket;

/// The longest request.
pub(super) const LONGEST: usize = 16 * 1024;
/// Time that a connection may stay without a request.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// Time to send the rest of a request that has begun, and time to take an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    peer: Peer,
    /// Read, and not yet dealt with.
    input: Vec<u8>,
    /// It will say no more.
    at_end: bool,
    state: State,
    /// When its state, or its present request, began.
    since: Monotonic,
}

#[derive(Debug)]
enum State {
    /// For a request.
    Listening,
    /// For the fleet.
    Asking { ticket: Ticket, id: Value, command: Command },
    /// For the client to read.
    Telling { answer: Vec<u8>, sent: usize, last: bool },
    /// For nothing any more.
    Over,
}

/// What came of a look at a connection.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Nothing,
    /// A request, without its line end.
    Line(Vec<u8>),
    /// It is over; with the ticket that nobody waits for any more.
    Gone(Option<Ticket>),
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Connection {
    pub(super) const fn new(stream: UnixStream, peer: Peer, now: Monotonic) -> Self {
        Self { stream, peer, input: Vec::new(), at_end: false, state: State::Listening, since: now }
    }

    pub(super) const fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) const fn interest(&self) -> Interest {
        match self.state {
            State::Listening => Interest::Readable,
            // Whoever has only shut down its side for writing still reads: there is nothing to read and somebody to tell.
            State::Asking { .. } | State::Over => Interest::HangUp,
            State::Telling { .. } => Interest::Writable,
        }
    }

    pub(super) fn deadline(&self, now: Monotonic) -> Option<Monotonic> {
        match self.state {
            State::Over => Some(now),
            State::Listening if self.has_line() => Some(now), // no descriptor tells of what was read already
            _ => self.expiry(),
        }
    }

    /// When it has had its time.
    fn expiry(&self) -> Option<Monotonic> {
        match self.state {
            State::Listening if self.input.is_empty() => Some(self.since + IDLE),
            State::Listening | State::Telling { .. } => Some(self.since + PATIENCE),
            State::Asking { .. } | State::Over => None,
        }
    }

    /// Since when it has waited for a request; `None` while one is being dealt with.
    pub(super) const fn silent_since(&self) -> Option<Monotonic> {
        match self.state {
            State::Listening => Some(self.since),
            _ => None,
        }
    }

    pub(super) fn question(&self, of: Ticket) -> Option<Command> {
        match &self.state {
            State::Asking { ticket, command, .. } if *ticket == of => Some(*command),
            _ => None,
        }
    }

    /// Does what can be done without waiting.
    pub(super) fn tend(&mut self, now: Monotonic) -> Heard {
        match &self.state {
            State::Listening => self.listen(now),
            State::Asking { ticket, .. } => match has_hung_up(self.stream.as_fd()) {
                Ok(false) => Heard::Nothing,
                Ok(true) | Err(_) => Heard::Gone(Some(*ticket)),
            },
            State::Telling { .. } => {
                self.write(now);
                self.unless_over(now)
            }
            State::Over => Heard::Gone(None),
        }
    }

    fn listen(&mut self, now: Monotonic) -> Heard {
        let began_empty = self.input.is_empty();
        if !self.has_line() && !self.read() {
            return Heard::Gone(None);
        }
        if began_empty && !self.input.is_empty() {
            self.since = now;
        }
        if let Some(line) = self.next_line() {
            return if line.trim_ascii().is_empty() { self.unless_over(now) } else { Heard::Line(line) };
        }
        if self.input.len() >= LONGEST {
            self.turn_away(now, format!("a request has at most {LONGEST} bytes"));
        }
        self.unless_over(now)
    }

    fn unless_over(&self, now: Monotonic) -> Heard {
        let late = self.expiry().is_some_and(|end| end <= now);
        let said_all = matches!(self.state, State::Listening) && self.at_end && self.input.is_empty();
        if late || said_all || matches!(self.state, State::Over) { Heard::Gone(None) } else { Heard::Nothing }
    }

    /// Takes what is there; whether the connection goes on.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let room = buffer.len().min(LONGEST - self.input.len().min(LONGEST));
        if self.at_end || room == 0 {
            return true;
        }
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => self.at_end = true,
            Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            Err(error) if is_not_now(&error) => {}
            Err(_) => return false, // reset: nobody is there
        }
        true
    }

    fn has_line(&self) -> bool {
        self.input.contains(&b'\n') || (self.at_end && !self.input.is_empty())
    }

    /// The last line needs no end.
    fn next_line(&mut self) -> Option<Vec<u8>> {
        match self.input.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let mut line: Vec<u8> = self.input.drain(..=end).collect();
                line.pop();
                Some(line)
            }
            None if self.at_end && !self.input.is_empty() => Some(std::mem::take(&mut self.input)),
            None => None,
        }
    }

    /// The fleet will answer.
    pub(super) fn wait_for(&mut self, ticket: Ticket, id: Value, command: Command) {
        self.state = State::Asking { ticket, id, command };
    }

    /// The fleet has answered.
    pub(super) fn answer(&mut self, now: Monotonic, outcome: Result<Value, String>) {
        if let State::Asking { id, .. } = std::mem::replace(&mut self.state, State::Listening) {
            let reply = match outcome {
                Ok(data) => Reply::ok(id, data),
                Err(error) => Reply::error(id, error),
            };
            self.tell(now, &reply);
        }
    }

    /// Answers, and listens again.
    pub(super) fn tell(&mut self, now: Monotonic, reply: &Reply) {
        self.begin_to_tell(now, reply, false);
    }

    /// Says why, and ends.
    pub(super) fn turn_away(&mut self, now: Monotonic, why: String) {
        self.begin_to_tell(now, &Reply::error(Value::Null, why), true);
    }

    fn begin_to_tell(&mut self, now: Monotonic, reply: &Reply, last: bool) {
        self.state = State::Telling { answer: reply.to_line(), sent: 0, last };
        self.since = now;
        self.write(now);
    }

    fn write(&mut self, now: Monotonic) {
        let State::Telling { answer, sent, last } = &mut self.state else { return };
        while *sent < answer.len() {
            match self.stream.write(&answer[*sent..]) {
                Ok(0) => break,
                Ok(length) => *sent += length,
                Err(error) if is_not_now(&error) => return,
                Err(_) => {
                    *last = true; // nobody is there
                    break;
                }
            }
        }
        self.state = if *last { State::Over } else { State::Listening };
        self.since = now;
    }
}
