//! The open connections of this worker, and what each of them is doing.
//!
//! Time limits cost a request nothing but two plain stores: a connection keeps its phase and since when in one word, and one
//! sweep per worker ([`Registry::sweep`]) looks at all words every now and then. No timer is ever set for a connection.
//! How bodies and responses get on is measured (`pace`) only where one of them waits for the client.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustcorn_sys::Monotonic;

use crate::conduct::Conduct;
use crate::pace::Watch;
use crate::policy::Times;
use crate::shared::Shared;

/// How long a client is listened to whose connection is being closed.
const LINGER: Duration = Duration::from_secs(2);

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
    /// Closed on our side; what the client still sends is thrown away.
    Lingering = 6,
}

/// Phase, close request and time in one word: `nanoseconds << 4 | close << 3 | phase`. Nanoseconds 0 means "not stamped yet":
/// the sweep stamps it, which saves a reading of the clock per request and is late by at most one sweep.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    const CLOSE: u64 = 1 << 3;

    fn new(phase: Phase, since: Option<Monotonic>) -> Self {
        Self(since.map_or(0, Monotonic::as_nanos) << 4 | phase as u64)
    }

    const fn phase(self) -> Phase {
        match self.0 & 7 {
            0 => Phase::New,
            1 => Phase::Idle,
            2 => Phase::ReadingHead,
            3 => Phase::InRequest,
            6 => Phase::Lingering,
            _ => Phase::Upgraded,
        }
    }

    const fn since(self) -> Option<Monotonic> {
        match self.0 >> 4 {
            0 => None,
            nanos => Some(Monotonic::from_nanos(nanos)),
        }
    }

    const fn close(self) -> bool {
        self.0 & Self::CLOSE != 0
    }
}

/// Who is at the other end of a connection. The text is made when it is first asked for.
pub(crate) struct Peer {
    address: SocketAddr,
    text: OnceLock<Arc<str>>,
}

impl Peer {
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self { address, text: OnceLock::new() }
    }

    /// The address without its port.
    pub(crate) fn address(&self) -> Arc<str> {
        // A socket for both families shows an IPv4 client as ::ffff:10.0.0.1.
        Arc::clone(self.text.get_or_init(|| self.address.ip().to_canonical().to_string().into()))
    }

    pub(crate) const fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) const fn socket_address(&self) -> SocketAddr {
        self.address
    }
}

/// One connection, shared by its stream, its request and the sweep.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// `None`: a unix socket.
    pub(crate) peer: Option<Peer>,
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
        if matches!(self.phase(), Phase::New | Phase::Idle) {
            self.enter(Phase::ReadingHead, None);
        }
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
        word.close() && word.phase() == Phase::InRequest
    }

    /// With the application, or on its way to the client. An upgraded connection writes as it likes.
    fn in_flight(&self) -> bool {
        match self.phase() {
            Phase::InRequest => true,
            Phase::Upgraded => false,
            Phase::New | Phase::Idle | Phase::ReadingHead | Phase::Lingering => self.unsent.load(Relaxed),
        }
    }

    /// Whether the connection shall end if nothing has arrived on it. Never while a response is being written: hyper, told of
    /// an end, would drop the rest. In a request it is the request that is asked to end, see [`Self::out_of_time`].
    pub(crate) fn close_requested(&self) -> bool {
        let word = self.load();
        word.close() && word.phase() != Phase::InRequest && !self.unsent.load(Relaxed)
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
        if self.unsent.load(Relaxed) {
            let watch = limits.times.write.map(|time| Watch { time, least: 0 });
            if self.phase() != Phase::Upgraded && self.conduct.response.is_late(now, watch) {
                self.wake();
            }
            return;
        }
        let watch = limits.times.body.map(|pace| Watch { time: pace.time, least: pace.least });
        if self.conduct.body.is_late(now, watch) {
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
        let overdue = match seen.phase() {
            Phase::New => over(limits.header) || limits.idle_ends.is_some_and(|end| now >= end),
            Phase::Idle => over(limits.keepalive) || limits.idle_ends.is_some_and(|end| now >= end),
            Phase::ReadingHead => over(limits.header),
            Phase::InRequest => over(limits.times.request) && !seen.close(), // it is asked once
            Phase::Lingering => over(Some(LINGER)) || limits.idle_ends.is_some_and(|end| now >= end),
            Phase::Upgraded => false,
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
    /// From the first byte of a head (or the accept) to its last.
    pub(crate) header: Option<Duration>,
    /// Between two requests.
    pub(crate) keepalive: Option<Duration>,
    /// The moment from which no connection may be idle: the end of a drain.
    pub(crate) idle_ends: Option<Monotonic>,
    pub(crate) times: Times,
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
            conduct: Conduct::new(shared.policy().believes(peer)),
            shared: Arc::clone(shared),
            peer: peer.map(Peer::new),
            word: AtomicU64::new(Word::new(Phase::New, None).0),
            unsent: AtomicBool::new(false),
            waker: OnceLock::new(),
            position: AtomicUsize::new(inner.open.len()),
        });
        inner.open.push(Arc::clone(&connection));
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

    pub(crate) fn census(&self) -> Census {
        let inner = self.lock();
        let in_flight = inner.open.iter().filter(|connection| connection.in_flight()).count();
        Census { all: inner.open.len(), in_flight }
    }
}

#[cfg(test)]
mod tests;
