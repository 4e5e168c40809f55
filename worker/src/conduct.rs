//! What the policy knows of one connection: who the client is, and what the guard made of what it sends.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use http::StatusCode;

use crate::guard::{Marks, Reason};
use crate::log;
use crate::pace::Pace;
use crate::registry::{Connection, Peer};
use crate::telemetry::Telemetry;

/// Part of a [`Connection`].
pub(crate) struct Conduct {
    /// What this peer says of scheme and client is believed.
    believed: bool,
    /// Who the client is, by the PROXY protocol.
    proxied: OnceLock<Peer>,
    /// Why a PROXY header is refused.
    proxy_fault: OnceLock<Reason>,
    /// What the head that hyper has read last says, as `MARK_` bits.
    marks: AtomicU8,
    /// The guard waits until no request is in flight and all is sent.
    held: AtomicBool,
    /// Why the body of the request in flight is refused.
    body_fault: OnceLock<Reason>,
    /// Bodies on their way in, and responses on their way out.
    pub(crate) body: Pace,
    pub(crate) response: Pace,
}

const MARK_SCHEME: u8 = 1;
const MARK_HTTPS: u8 = 2;
const MARK_FORWARDED: u8 = 4;

impl Conduct {
    pub(crate) fn new(believed: bool) -> Self {
        Self {
            believed,
            proxied: OnceLock::new(),
            proxy_fault: OnceLock::new(),
            marks: AtomicU8::new(0),
            held: AtomicBool::new(false),
            body_fault: OnceLock::new(),
            body: Pace::default(),
            response: Pace::default(),
        }
    }
}

impl Connection {
    /// Wakes the connection's task when a request has been answered or all has been sent.
    #[cold]
    pub(crate) fn wake_when_quiet(&self) {
        self.conduct.held.store(true, Relaxed);
    }

    /// A request has been answered, or all has been sent.
    #[inline]
    pub(crate) fn quiet_now(&self) {
        if self.conduct.held.load(Relaxed) {
            self.conduct.held.store(false, Relaxed);
            self.wake();
        }
    }

    /// Whether what the peer says of scheme and client is believed.
    #[inline]
    pub(crate) const fn believed(&self) -> bool {
        self.conduct.believed
    }

    /// The client, by the PROXY protocol or as the peer.
    pub(crate) fn client(&self) -> Option<&Peer> {
        self.conduct.proxied.get().or(self.peer.as_ref())
    }

    /// The PROXY protocol says who the client is.
    pub(crate) fn proxied_for(&self, client: SocketAddr) {
        let first = self.conduct.proxied.set(Peer::new(client)).is_ok();
        debug_assert!(first, "a connection has one PROXY header");
    }

    /// A PROXY header is refused, by whoever speaks HTTP on the connection.
    pub(crate) fn proxy_failed(&self, reason: Reason) {
        let first = self.conduct.proxy_fault.set(reason).is_ok();
        debug_assert!(first, "a connection has one PROXY header");
    }

    pub(crate) fn proxy_fault(&self) -> Option<Reason> {
        self.conduct.proxy_fault.get().copied()
    }

    /// A request is refused and gets `answer`: counts it, and tells of it.
    #[cold]
    pub(crate) fn refused(&self, reason: Reason, answer: Option<StatusCode>) {
        self.shared.writer.request_refused(reason.class());
        let observe = |telemetry: &Telemetry| telemetry.observer.refused(answer, self.client(), self.peer.as_ref());
        // Of one whose body is refused there is a span already.
        let span = self.shared.telemetry().filter(|_| self.body_fault().is_none()).and_then(observe);
        log::refused(reason, self.client(), answer, span.as_ref());
    }

    /// The body of a request of HTTP/2 is refused: counts it, and tells of it. The request has a span already.
    #[cold]
    pub(crate) fn body_refused(&self, reason: Reason) {
        self.shared.writer.request_refused(reason.class());
        log::refused(reason, self.client(), Some(reason.status()), None);
    }

    /// What the head says that hyper reads next.
    pub(crate) fn set_marks(&self, marks: Marks) {
        let scheme = match marks.https {
            None => 0,
            Some(false) => MARK_SCHEME,
            Some(true) => MARK_SCHEME | MARK_HTTPS,
        };
        self.conduct.marks.store(scheme | if marks.forwarded_for { MARK_FORWARDED } else { 0 }, Relaxed);
    }

    /// What the head says that hyper has read.
    #[inline]
    pub(crate) fn marks(&self) -> Marks {
        let marks = self.conduct.marks.load(Relaxed);
        Marks {
            https: (marks & MARK_SCHEME != 0).then_some(marks & MARK_HTTPS != 0),
            forwarded_for: marks & MARK_FORWARDED != 0,
        }
    }

    /// Bytes of a body have arrived; `more` are to come.
    pub(crate) fn body_came(&self, bytes: u64, more: bool) {
        self.conduct.body.moved(bytes, false);
        if !more {
            self.conduct.body.rests();
        }
    }

    /// There is room for more of a body. Whether the client took too long for that already.
    pub(crate) fn body_starves(&self) -> bool {
        self.conduct.body.waits()
    }

    /// The body of the request in flight is refused.
    pub(crate) fn body_failed(&self, reason: Reason) {
        let _ = self.conduct.body_fault.set(reason); // the first is the one that counts
    }

    /// Why the body of the request in flight is refused.
    #[inline]
    pub(crate) fn body_fault(&self) -> Option<Reason> {
        self.conduct.body_fault.get().copied()
    }
}
