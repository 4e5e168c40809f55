//! What an HTTP/2 connection has beyond one of HTTP/1: several requests at the same time, and an end in two steps.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustcorn_sys::Monotonic;

use super::waiting::Waitlist;
use super::{Connection, Limits, Phase};

/// How long a connection without requests may stay after its GOAWAY, if nothing worth mentioning is sent on it. A client that
/// lives answers it in one round trip. One that reads what it asked for slowly moves within this time.
pub(crate) const GOODBYE: Duration = Duration::from_secs(5);

/// The requests of an HTTP/2 connection. Its phase is theirs together; between two of them it is idle.
#[derive(Default)]
pub(crate) struct Multiplexed {
    requests: AtomicUsize,
    used: AtomicBool,
    /// A stream was given to the application for good (CONNECT). When that ends nobody tells us, so no limit holds any more.
    tunnels: AtomicBool,
    goes_away: AtomicBool,
    /// Bodies of requests that are not over.
    bodies: AtomicUsize,
    /// So many of them may be unread, and there is still room for another one to come.
    unread: usize,
    /// Those of them that the application waits for.
    pub(crate) starving: Waitlist,
    /// Responses that wait for their client.
    pub(crate) held_back: Waitlist,
}

impl Multiplexed {
    /// `unread`: so many bodies that nobody reads leave all the room that another one needs.
    pub(crate) fn new(unread: usize) -> Self {
        Self { unread, ..Self::default() }
    }

    pub(crate) fn body_begins(&self) {
        self.bodies.fetch_add(1, Relaxed);
    }

    pub(crate) fn body_ends(&self) {
        self.bodies.fetch_sub(1, Relaxed);
    }

    /// The sweep's look at how the streams get on. What the socket does not take (`unsent`) has a limit of its own, and no stream is
    /// late by that. Nor is a body late for which others may have taken the room, as nobody reads them.
    pub(super) fn check(&self, now: Monotonic, limits: &Limits, unsent: bool) {
        self.held_back.sweep(now, limits.write.filter(|_| !unsent));
        let unread = self.bodies.load(Relaxed).saturating_sub(self.starving.waiting());
        self.starving.sweep(now, limits.body.filter(|_| !unsent && unread <= self.unread));
    }

    /// One more request; whether it is alone.
    pub(crate) fn begins(&self) -> bool {
        self.used.store(true, Relaxed);
        self.requests.fetch_add(1, Relaxed) == 0
    }

    /// One less; whether it was the last one.
    pub(crate) fn ends(&self, upgraded: bool) -> bool {
        if upgraded {
            self.tunnels.store(true, Relaxed);
        }
        self.requests.fetch_sub(1, Relaxed) == 1
    }

    /// Requests are under way. Asked instead of the phase: with several threads, the end of the last one may write the phase
    /// after the begin of the next has.
    pub(crate) fn is_busy(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    pub(crate) fn go_away(&self) {
        self.goes_away.store(true, Relaxed);
    }

    pub(crate) fn goes_away(&self) -> bool {
        self.goes_away.load(Relaxed)
    }

    /// Whether a sweep asks for its end: first by GOAWAY, then without further words. `over`: whether the phase is older than a
    /// limit; `idle_ends`: a drain's end of what is idle has come.
    pub(crate) fn is_overdue(
        &self,
        phase: Phase,
        limits: &Limits,
        idle_ends: bool,
        over: impl Fn(Option<Duration>) -> bool,
    ) -> bool {
        if self.is_busy() || self.tunnels.load(Relaxed) {
            return false;
        }
        if self.goes_away() {
            return over(Some(GOODBYE)) && (idle_ends || limits.idle_ends.is_none());
        }
        match phase {
            // Without keep-alive a connection serves what comes in its first moment.
            Phase::Idle | Phase::InRequest => idle_ends || limits.keepalive.is_none() || over(limits.keepalive),
            Phase::New | Phase::ReadingHead => idle_ends || over(limits.header),
            Phase::Upgraded | Phase::Handshake | Phase::Lingering => false,
        }
    }
}

impl Connection {
    /// A request begins.
    #[inline]
    pub(crate) fn request_begins(&self, now: Monotonic) {
        if self.http2.get().is_none_or(Multiplexed::begins) {
            self.enter(Phase::InRequest, Some(now));
        }
    }

    /// A request is over, with an answer that was the end of HTTP on this connection (or stream) or was not.
    #[inline]
    pub(crate) fn request_ends(&self, upgraded: bool, now: Monotonic) {
        match self.http2.get() {
            None => self.enter(if upgraded { Phase::Upgraded } else { Phase::Idle }, Some(now)),
            Some(http2) => {
                if http2.ends(upgraded) {
                    self.enter(Phase::Idle, Some(now));
                }
            }
        }
    }

    /// A request is over without an answer. With HTTP/1 the connection is gone too: it has no phase any more.
    pub(crate) fn request_aborted(&self) {
        if self.http2.get().is_some() {
            self.request_ends(false, Monotonic::now());
        }
    }

    /// Whether responses from now on say `Connection: close`. HTTP/2 has GOAWAY for that.
    #[inline]
    pub(crate) fn says_close(&self) -> bool {
        (self.shared.says_close() || self.expired.load(Relaxed)) && self.http2.get().is_none()
    }

    /// Whether it is time for an HTTP/2 connection's GOAWAY, which is said once. A client that has not asked for anything yet is
    /// not turned away for a drain: it would have come for nothing.
    pub(crate) fn should_go_away(&self) -> bool {
        let leaves = || self.shared.leaves() || self.expired.load(Relaxed);
        self.http2
            .get()
            .is_some_and(|http2| !http2.goes_away() && (self.load().close() || (http2.is_used() && leaves())))
    }

    /// GOAWAY is on its way. Without requests under way the client has [`GOODBYE`] from here.
    pub(crate) fn goes_away(&self) {
        if let Some(http2) = self.http2.get() {
            http2.go_away();
            self.enter_anew();
        }
    }

    /// The time of the present phase begins anew.
    pub(crate) fn enter_anew(&self) {
        self.enter(self.phase(), None);
    }

    /// Something of HTTP/2 changes for this connection that its task should look at.
    pub(super) fn wake_http2(&self) {
        if self.http2.get().is_some() {
            self.wake();
        }
    }
}
