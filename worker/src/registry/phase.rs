//! What a connection is doing, and since when, in one word.

use rustcorn_sys::Monotonic;

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(crate) enum Phase {
    /// Accepted; has sent nothing yet.
    New = 0,
    /// Between two requests.
    Idle = 1,
    /// Some bytes of a request head are here.
    ReadingHead = 2,
    /// A request is with the application.
    InRequest = 3,
    /// No longer HTTP (websocket, CONNECT): the application has it, no limit of ours applies.
    Upgraded = 4,
    /// Accepted; the TLS handshake is not over.
    Handshake = 5,
    /// Closed on our side; what the client still sends is thrown away.
    Lingering = 6,
}

/// Phase, close request and time in one word: `nanoseconds << 4 | close << 3 | phase`. Nanoseconds 0 means "not stamped yet":
/// the sweep stamps it, which saves a reading of the clock per request and is late by at most one sweep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) const CLOSE: u64 = 1 << 3;

    pub(super) fn new(phase: Phase, since: Option<Monotonic>) -> Self {
        Self(since.map_or(0, Monotonic::as_nanos) << 4 | phase as u64)
    }

    pub(super) const fn phase(self) -> Phase {
        match self.0 & 7 {
            0 => Phase::New,
            1 => Phase::Idle,
            2 => Phase::ReadingHead,
            3 => Phase::InRequest,
            5 => Phase::Handshake,
            6 => Phase::Lingering,
            _ => Phase::Upgraded,
        }
    }

    pub(super) const fn since(self) -> Option<Monotonic> {
        match self.0 >> 4 {
            0 => None,
            nanos => Some(Monotonic::from_nanos(nanos)),
        }
    }

    pub(super) const fn close(self) -> bool {
        self.0 & Self::CLOSE != 0
    }
}
