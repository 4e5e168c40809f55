//! The open connections of this worker, and what each of them is doing.
//!
//! Time limits cost a request nothing but two plain stores: a connection keeps its phase and since when in one word, and one
//! sweep per worker ([`Registry::sweep`]) looks at all words every now and then. No timer is ever set for a connection.
//! How bodies and responses get on is measured (`pace`) only where one of them waits for the client.

mod multiplexed;
mod peer;
mod phase;
mod waiting;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustcorn_sys::Monotonic;

pub(crate) use multiplexed::Multiplexed;
pub(crate) use peer::Peer;
pub(crate) use phase::Phase;
pub(crate) use waiting::Waiting;

use phase::Word;

use crate::conduct::Conduct;
use crate::pace::Watch;
use crate::secure::Tls;
use crate::shared::Shared;

/// How long a client is listened to whose connection is being closed.
const LINGER: Duration = Duration::from_secs(2);

/// One connection, shared by its stream, its request and the sweep.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// `None`: a unix socket.
    pub(crate) peer: Option<Peer>,
    /// Of a connection that came over TLS, once its handshake is over.
    pub(crate) tls: OnceLock<Tls>,
    /// Of a connection that speaks HTTP/2, once that is known.
    pub(crate) http2: OnceLock<Multiplexed>,
    /// When it shall be told to end (`max_connection_age`), and whether that time has come.
    expires: Option<Monotonic>,
    expired: AtomicBool,
    word: AtomicU64,
    /// The socket has no room and hyper holds on to the rest of a response. Until it is written the connection is busy, whatever
    /// its phase: hyper drops a body, and with it the ticket, as soon as its last bytes are in hyper's own buffer.
    unsent: AtomicBool,
    /// Wakes the task that serves the connection. A tokio task has one waker for its whole life, so it is stored once.
    waker: OnceLock<Waker>,
    /// Where the registry holds it.
    position: AtomicUsize,
    pub(crate) conduct: Conduct,
}

impl Connection {
    fn load(&self) -> Word {
        Word(self.word.load(Relaxed))
    }

    pub(crate) fn phase(&self) -> Phase {
        self.load().phase()
    }

    /// Enters a phase. A close request belongs to the phase it was made in and lapses with it.
    pub(crate) fn enter(&self, phase: Phase, since: Option<Monotonic>) {
        self.word.store(Word::new(phase, since).0, Relaxed);
    }

    /// Bytes have arrived. The head's time counts from its first byte: more of them change nothing.
    pub(crate) fn bytes_arrived(&self) {
        match self.phase() {
            Phase::New => self.enter(Phase::ReadingHead, None),
            // Between two requests of HTTP/2 they may be anything, and a head is known when it is whole.
            Phase::Idle if self.http2.get().is_none() => self.enter(Phase::ReadingHead, None),
            _ => {}
        }
    }

    /// What has arrived was not HTTP's: the client is as new as before, and a drain need not wait for it.
    pub(crate) fn has_said_nothing(&self) {
        self.enter(Phase::New, self.load().since());
    }

    /// Whether the sweep has asked for its end, in a phase in which HTTP does not speak yet.
    pub(crate) fn is_overdue(&self) -> bool {
        self.load().close()
    }

    /// The socket takes no more for now. Whether it took too long for that already.
    #[cold]
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent.store(true, Relaxed);
        self.conduct.response.waits()
    }

    /// The socket has taken bytes; counted only where some had to wait.
    #[inline]
    pub(crate) fn has_sent(&self, bytes: usize) {
        if self.unsent.load(Relaxed) {
            self.conduct.response.moved(bytes as u64, true);
        }
    }

    /// hyper has nothing left to write. Idle time counts from here where the client was slow to take its response.
    #[inline]
    pub(crate) fn all_sent(&self) {
        if self.unsent.load(Relaxed) {
            self.unsent.store(false, Relaxed);
            self.conduct.response.rests();
            if self.phase() == Phase::Idle {
                self.enter(Phase::Idle, None);
            }
            self.quiet_now();
        }
    }

    /// Nothing is in flight, and nothing waits to be sent.
    pub(crate) fn is_quiet(&self) -> bool {
        self.phase() != Phase::InRequest && !self.unsent.load(Relaxed)
    }

    /// Wakes the task that serves the connection.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Whether the request in flight has had all the time that it gets.
    #[inline]
    pub(crate) fn out_of_time(&self) -> bool {
        let word = self.load();
        // HTTP/2 has a clock for each request: the word may be one that the sweep has marked between two of them.
        word.close() && word.phase() == Phase::InRequest && self.http2.get().is_none()
    }

    /// With the application, or on its way to the client. An upgraded connection writes as it likes.
    fn in_flight(&self) -> bool {
        match self.phase() {
            _ if self.http2.get().is_some_and(Multiplexed::is_busy) => true,
            Phase::InRequest => self.http2.get().is_none(),
            Phase::Upgraded | Phase::Handshake => false,
            Phase::New | Phase::Idle | Phase::ReadingHead | Phase::Lingering => self.unsent.load(Relaxed),
        }
    }

    /// Whether the connection shall end if nothing has arrived on it. Never while a response is being written: hyper, told of
    /// an end, would drop the rest. HTTP/2 gets GOAWAY first; in a request of HTTP/1 it is the request that is asked to end, see
    /// [`Self::out_of_time`].
    pub(crate) fn close_requested(&self) -> bool {
        let word = self.load();
        let may_end = || self.http2.get().map_or(word.phase() != Phase::InRequest, Multiplexed::goes_away);
        word.close() && !self.unsent.load(Relaxed) && may_end()
    }

    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// Asks the connection to end, provided it is still as `seen`.
    fn request_close(&self, seen: Word) {
        let asked = self.word.compare_exchange(seen.0, seen.0 | Word::CLOSE, Relaxed, Relaxed).is_ok();
        if asked {
            self.wake();
        }
    }

    /// Enforces the limits on one connection. While a response is being written, only that for taking it holds.
    fn check(&self, now: Monotonic, limits: &Limits) {
        if self.expires.is_some_and(|end| now >= end) && !self.expired.swap(true, Relaxed) {
            self.wake_http2();
        }
        if let Some(http2) = self.http2.get() {
            http2.check(now, limits, self.unsent.load(Relaxed));
        }
        if self.unsent.load(Relaxed) {
            if self.phase() != Phase::Upgraded && self.conduct.response.is_late(now, limits.write) {
                self.wake();
            }
            return;
        }
        if self.conduct.body.is_late(now, limits.body) {
            self.wake();
        }
        let mut seen = self.load();
        let since = match seen.since() {
            Some(since) => since,
            None => {
                let stamped = Word(Word::new(seen.phase(), Some(now)).0 | seen.0 & Word::CLOSE);
                if self.word.compare_exchange(seen.0, stamped.0, Relaxed, Relaxed).is_err() {
                    return; // it has just moved on
                }
                seen = stamped;
                now
            }
        };
        let over = |limit: Option<Duration>| limit.is_some_and(|limit| now.since(since) >= limit);
        let idle_ends = limits.idle_ends.is_some_and(|end| now >= end);
        let overdue = match (self.http2.get(), seen.phase()) {
            (Some(http2), phase) => http2.is_overdue(phase, limits, idle_ends, over),
            (None, Phase::Handshake) => over(limits.handshake) || idle_ends,
            (None, Phase::New) => over(limits.header) || idle_ends,
            (None, Phase::Idle) => over(limits.keepalive) || idle_ends,
            (None, Phase::ReadingHead) => over(limits.header),
            (None, Phase::InRequest) => over(limits.request) && !seen.close(), // it is asked once
            (None, Phase::Lingering) => over(Some(LINGER)) || idle_ends,
            (None, Phase::Upgraded) => false,
        };
        if overdue {
            self.request_close(seen);
        }
    }
}

/// Takes the connection off the books when the stream is dropped, wherever that happens.
pub(crate) struct Registered(pub(crate) Arc<Connection>);

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.shared.registry.remove(&self.0);
        self.0.shared.writer.connection_closed();
    }
}

/// What a sweep enforces; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// From the accept to the end of the TLS handshake.
    pub(crate) handshake: Option<Duration>,
    /// From the first byte of a head (or the accept) to its last.
    pub(crate) header: Option<Duration>,
    /// Between two requests.
    pub(crate) keepalive: Option<Duration>,
    /// The moment from which no connection may be idle: the end of a drain.
    pub(crate) idle_ends: Option<Monotonic>,
    /// To the begin of the response.
    pub(crate) request: Option<Duration>,
    /// How slowly the body of a request may come.
    pub(crate) body: Option<Watch>,
    /// How slowly a response that waits may be taken.
    pub(crate) write: Option<Watch>,
}

/// How many connections do what, for log lines and the drain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Census {
    pub(crate) all: usize,
    pub(crate) in_flight: usize,
}

#[derive(Default)]
struct Inner {
    open: Vec<Arc<Connection>>,
    /// The most at once since somebody asked.
    most: usize,
    /// The run loop, when it waits for the number to go down.
    watcher: Option<Waker>,
}

/// All open connections. Locked when one comes or goes and by the sweep, never by a request.
#[derive(Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner) // no code of ours panics in between
    }

    /// Puts a connection on the books.
    pub(crate) fn add(&self, shared: &Arc<Shared>, peer: Option<SocketAddr>) -> Registered {
        let mut inner = self.lock();
        let connection = Arc::new(Connection {
            conduct: Conduct::new(shared.policy.believes(peer)),
            shared: Arc::clone(shared),
            peer: peer.map(Peer::new),
            tls: OnceLock::new(),
            http2: OnceLock::new(),
            expires: shared.connection_expires(),
            expired: AtomicBool::new(false),
            word: AtomicU64::new(Word::new(Phase::New, None).0),
            unsent: AtomicBool::new(false),
            waker: OnceLock::new(),
            position: AtomicUsize::new(inner.open.len()),
        });
        inner.open.push(Arc::clone(&connection));
        inner.most = inner.most.max(inner.open.len());
        shared.writer.connection_opened();
        Registered(connection)
    }

    fn remove(&self, connection: &Connection) {
        let mut inner = self.lock();
        let position = connection.position.load(Relaxed);
        inner.open.swap_remove(position);
        if let Some(moved) = inner.open.get(position) {
            moved.position.store(position, Relaxed);
        }
        let watcher = inner.watcher.take();
        drop(inner); // a waker may run code of the runtime
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// How many were open at once since this was last asked, and how many are.
    pub(crate) fn most(&self) -> (usize, usize) {
        let mut inner = self.lock();
        let open = inner.open.len();
        (std::mem::replace(&mut inner.most, open), open)
    }

    /// Ready when fewer than `limit` connections are open.
    pub(crate) fn poll_below(&self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        let mut inner = self.lock();
        if inner.open.len() < limit {
            return Poll::Ready(());
        }
        inner.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Enforces `limits` on all connections.
    pub(crate) fn sweep(&self, now: Monotonic, limits: &Limits) {
        // Waking a task only queues it, so nothing comes back here for the lock.
        self.lock().open.iter().for_each(|connection| connection.check(now, limits));
    }

    /// Has all HTTP/2 connections look whether it is time to go.
    pub(crate) fn wake_http2(&self) {
        self.lock().open.iter().for_each(|connection| connection.wake_http2());
    }

    pub(crate) fn census(&self) -> Census {
        let inner = self.lock();
        let in_flight = inner.open.iter().filter(|connection| connection.in_flight()).count();
        Census { all: inner.open.len(), in_flight }
    }
}

#[cfg(test)]
mod tests;
