//! The listening sockets of a worker: taking connections, pausing when the machine has no room, and the last look at the queue.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::log::{Level, line};
use rustcorn_sys::socket::{accept_queue, has_pending_connection, refuse_new_handshakes, shutdown_listener};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::balance::Turn;
use crate::io::Socket;
use crate::lanes::{At, Lanes};
use crate::turns::Turns;

/// Time without accepting after the kernel had no descriptor or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// At most one line about that in this time.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A listening socket, taken over from the master. Not tokio's, which would have to be emptied before it tells of the next arrival.
pub(crate) struct Listener(AsyncFd<Queue>);

impl Listener {
    /// Finds out what kind of socket `fd` is (getsockname(2)). To be called inside the runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "the other way is unsafe, for types that may close early; a queue keeps its descriptor"
        )]
        let registered = AsyncFd::with_interest(Queue::new(fd)?, Interest::READABLE)?;
        Ok(Self(registered))
    }

    /// Whether somebody may be there. If not, the next arrival wakes the task.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'_, Queue>>> {
        self.0.poll_read_ready(cx)
    }

    /// The first half of a full stop: from now on a TCP queue only shrinks. A unix socket needs no such time, see
    /// [`Self::finish`].
    fn refuse_new(&self) -> io::Result<()> {
        match self.0.get_ref() {
            Queue::Tcp(listener) => refuse_new_handshakes(listener.as_fd()),
            Queue::Unix(_) => Ok(()),
        }
    }

    /// Takes what is still queued, at most `most`, then gives the socket up.
    fn finish(self, shut_down: bool, most: usize, take: &mut impl FnMut(Socket)) -> io::Result<()> {
        let listener = self.0.into_inner(); // without the runtime, which may not have heard yet of the latest arrivals
        match listener {
            // What is queued on a unix socket can be accepted after the shutdown, so that nobody slips in between.
            Queue::Unix(_) if shut_down => {
                let done = shutdown_listener(listener.as_fd());
                listener.empty(most, take);
                done
            }
            // On a TCP socket the shutdown resets it.
            Queue::Tcp(_) if shut_down => {
                listener.empty(most, take);
                shutdown_listener(listener.as_fd())
            }
            _ => {
                listener.empty(most, take);
                Ok(())
            }
        }
    }
}

/// The socket itself.
enum Queue {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

impl Queue {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let tcp = std::net::TcpListener::from(fd);
        if tcp.local_addr().is_ok() {
            tcp.set_nonblocking(true)?;
            return Ok(Self::Tcp(mio::net::TcpListener::from_std(tcp)));
        }
        let unix = std::os::unix::net::UnixListener::from(OwnedFd::from(tcp));
        unix.local_addr()?;
        unix.set_nonblocking(true)?;
        Ok(Self::Unix(mio::net::UnixListener::from_std(unix)))
    }

    /// One accept(2), which makes the connection non-blocking, too.
    fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                TcpStream::from_std(stream.into()).map(|stream| Socket::Tcp(stream, peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                UnixStream::from_std(stream.into()).map(Socket::Unix)
            }
        }
    }

    /// How many wait. A unix socket tells only whether there is anybody.
    fn length(&self) -> Option<u64> {
        match self {
            // An error leaves the matter to whoever accepts.
            Self::Tcp(listener) => accept_queue(listener.as_fd()).ok().map(u64::from),
            Self::Unix(listener) => (!has_pending_connection(listener.as_fd())).then_some(0),
        }
    }

    /// Accepts until the kernel says that nothing is queued, or says that it cannot.
    fn empty(&self, most: usize, take: &mut impl FnMut(Socket)) {
        for _ in 0..most {
            match self.accept() {
                Ok(socket) => take(socket),
                Err(error) if verdict(&error) == Verdict::Next => {}
                Err(_) => return,
            }
        }
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// What an error of accept(2) means for the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// This one connection is lost (its client left, a firewall forbids it); the socket is fine.
    Next,
    /// The socket was shut down, by this process or by a sibling.
    Closed,
    /// No descriptors or no memory, or something unknown: trying again at once would spin.
    Pause,
}

fn verdict(error: &io::Error) -> Verdict {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionAborted
        | Kind::ConnectionReset
        | Kind::Interrupted
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::PermissionDenied => Verdict::Next,
        Kind::InvalidInput => Verdict::Closed, // EINVAL
        _ => Verdict::Pause,
    }
}

/// A socket that is accepted from.
pub(crate) struct Open {
    pub(crate) listener: Listener,
    /// With `reuse_port`: which of the lanes it is.
    pub(crate) lane: Option<At>,
    /// Somebody may be there of whom no event will tell.
    unsure: bool,
}

impl Open {
    pub(crate) const fn new(listener: Listener, lane: Option<At>) -> Self {
        Self { listener, lane, unsure: false }
    }

    fn poll_find(&mut self, cx: &mut Context<'_>, turns: &mut Option<Turns>) -> Poll<io::Result<Found>> {
        let mut nobody = false;
        loop {
            let ready = match self.listener.poll_ready(cx) {
                Poll::Ready(ready) => Some(ready?),
                Poll::Pending if self.unsure => None,
                Poll::Pending => return Poll::Pending,
            };
            let queue = self.listener.0.get_ref();
            // Ready though nobody was there: somebody has just come, or the socket was shut down, which only accept(2) tells.
            match turns.as_mut().filter(|_| !nobody).map(|turns| turns.turn(|| queue.length())) {
                None | Some(Turn::Take(_)) => match queue.accept() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => return Poll::Ready(other.map(Found::Connection)),
                },
                Some(Turn::Leave) => return Poll::Ready(Ok(Found::ForSiblings)),
                Some(Turn::Nobody) => nobody = true,
            }
            self.unsure = false;
            if let Some(mut ready) = ready {
                ready.clear_ready();
            }
        }
    }

    /// From now on only the next arrival counts; it wakes the task.
    fn rest(&mut self, cx: &mut Context<'_>) {
        // The second look is what asks to be woken. A socket that was shut down stays ready, which is seen at the next accept.
        for _ in 0..2 {
            if let Poll::Ready(Ok(mut ready)) = self.listener.poll_ready(cx) {
                ready.clear_ready();
                self.unsure = true;
            }
        }
    }
}

/// Who was there.
enum Found {
    Connection(Socket),
    /// Somebody whom siblings shall take.
    ForSiblings,
}

/// All listening sockets of the worker.
pub(crate) struct Acceptors {
    open: Vec<Open>,
    lanes: Option<Lanes>,
    /// Without, it takes whatever it finds.
    turns: Option<Turns>,
    /// Which one to ask first: each gets its turn.
    first: usize,
    pause: Option<Pin<Box<Sleep>>>,
    warned: Option<Monotonic>,
}

impl Acceptors {
    pub(crate) fn new(shared: Vec<Listener>, lanes: Option<Lanes>) -> Self {
        let open = shared.into_iter().map(|listener| Open::new(listener, None)).collect();
        Self { open, lanes, turns: None, first: 0, pause: None, warned: None }
    }

    /// From now on siblings that have fewer connections go first. Not with lanes, where the kernel decides.
    pub(crate) fn take_turns(&mut self, turns: Turns) {
        self.turns = self.lanes.is_none().then_some(turns);
    }

    /// Connections that this worker has, while it waits for siblings that have fewer.
    pub(crate) fn waits_with(&self) -> Option<usize> {
        self.turns.as_ref().and_then(Turns::waits_with)
    }

    /// From now on nobody goes first.
    pub(crate) fn take_all(&mut self) {
        self.turns = None;
    }

    /// From now on no lane is left to another worker.
    pub(crate) fn hold_all(&mut self) {
        if let Some(lanes) = &mut self.lanes {
            lanes.hold_all(&mut self.open);
        }
        self.lanes = None; // and no look changes that
    }

    /// The next connection. Pending for good once all sockets are closed.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Socket> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        if let Some(lanes) = &mut self.lanes {
            lanes.poll_look(cx, &mut self.open);
        }
        let mut silent = 0;
        while silent < self.open.len() {
            let at = self.first % self.open.len();
            match self.open[at].poll_find(cx, &mut self.turns) {
                Poll::Ready(Ok(Found::Connection(socket))) => {
                    self.first = at + 1;
                    if let Some(turns) = &mut self.turns {
                        turns.took();
                    }
                    return Poll::Ready(socket);
                }
                Poll::Ready(Ok(Found::ForSiblings)) => {
                    self.open[at].unsure = true;
                    self.open.iter_mut().for_each(|open| open.rest(cx));
                    if let Some(turns) = &mut self.turns {
                        turns.wait(cx);
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => match verdict(&error) {
                    Verdict::Next => {}
                    Verdict::Closed => {
                        line(Level::Debug, format_args!("A listening socket was shut down"));
                        self.open.swap_remove(at);
                    }
                    Verdict::Pause => return self.begin_pause(&error, cx),
                },
                Poll::Pending => {
                    self.first = at + 1;
                    silent += 1;
                }
            }
        }
        if let Some(turns) = &mut self.turns {
            turns.nobody_waits();
        }
        Poll::Pending
    }

    #[cold]
    fn begin_pause(&mut self, error: &io::Error, cx: &mut Context<'_>) -> Poll<Socket> {
        let now = Monotonic::now();
        if self.warned.is_none_or(|warned| now.since(warned) >= WARN_EVERY) {
            self.warned = Some(now);
            line(
                Level::Warning,
                format_args!(
                    "Cannot accept connections: {error}; trying again every {PAUSE:?}. They wait in the backlog: raise the \
                     limit of open files, or lower worker_connections"
                ),
            );
        }
        let pause = self.pause.insert(Box::pin(sleep_until(Instant::now() + PAUSE)));
        match pause.as_mut().poll(cx) {
            Poll::Ready(()) => unreachable!("the pause has just begun"),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Prepares a full stop: no process that holds the sockets gets new handshakes to finish. Keep accepting what comes.
    pub(crate) fn refuse_new(&self) {
        for open in &self.open {
            if let Err(error) = open.listener.refuse_new() {
                // Some sandboxes and newer kernels forbid it to an ordinary user. Then whoever connects between the last accept and
                // the shutdown is reset; with drain_delay a balancer has stopped connecting by then.
                line(Level::Debug, format_args!("Cannot refuse handshakes on a listening socket: {error}"));
            }
        }
    }

    /// Stops accepting: empties the queue of each socket (at most `most` a socket, so that it ends under load), with
    /// `shut_down` makes the kernel refuse from then on in every process, and closes this process's descriptors.
    pub(crate) fn finish(&mut self, shut_down: bool, most: usize, mut take: impl FnMut(Socket)) {
        self.lanes = None;
        for open in self.open.drain(..) {
            if let Err(error) = open.listener.finish(shut_down, most, &mut take) {
                line(Level::Warning, format_args!("Cannot close a listening socket in good order: {error}"));
            }
        }
        self.pause = None;
    }
}

#[cfg(test)]
mod tests;
