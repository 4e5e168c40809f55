//! The listening sockets of a worker: taking connections, pausing when the machine has no room, and the last look at the queue.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::log::{Level, line};
use rustcorn_sys::socket::{refuse_new_handshakes, shutdown_listener};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::io::Socket;
use crate::lanes::{At, Lanes};

/// Time without accepting after the kernel had no descriptor or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// At most one line about that in this time.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A listening socket, taken over from the master.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Finds out what kind of socket `fd` is (getsockname(2)). To be called inside the runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let tcp = std::net::TcpListener::from(fd);
        if tcp.local_addr().is_ok() {
            tcp.set_nonblocking(true)?;
            return TcpListener::from_std(tcp).map(Self::Tcp);
        }
        let unix = std::os::unix::net::UnixListener::from(OwnedFd::from(tcp));
        unix.local_addr()?;
        unix.set_nonblocking(true)?;
        UnixListener::from_std(unix).map(Self::Unix)
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, peer)| Socket::Tcp(stream, peer)),
            Self::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| Socket::Unix(stream)),
        }
    }

    /// The first half of a full stop: from now on a TCP queue only shrinks. A unix socket needs no such time, see
    /// [`Self::finish`].
    fn refuse_new(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => refuse_new_handshakes(listener.as_fd()),
            Self::Unix(_) => Ok(()),
        }
    }

    /// Takes what is still queued, at most `most`, then gives the socket up.
    fn finish(self, shut_down: bool, most: usize, take: &mut impl FnMut(Socket)) -> io::Result<()> {
        let listener = self.into_queue()?;
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

    fn into_queue(self) -> io::Result<Queue> {
        match self {
            Self::Tcp(listener) => listener.into_std().map(Queue::Tcp),
            Self::Unix(listener) => listener.into_std().map(Queue::Unix),
        }
    }
}

/// A listening socket without the runtime, which may not have heard yet of the latest arrivals.
enum Queue {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Queue {
    fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream).map(|stream| Socket::Tcp(stream, peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream).map(Socket::Unix)
            }
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
}

/// All listening sockets of the worker.
pub(crate) struct Acceptors {
    open: Vec<Open>,
    lanes: Option<Lanes>,
    /// Which one to ask first: each gets its turn.
    first: usize,
    pause: Option<Pin<Box<Sleep>>>,
    warned: Option<Monotonic>,
}

impl Acceptors {
    pub(crate) fn new(shared: Vec<Listener>, lanes: Option<Lanes>) -> Self {
        let open = shared.into_iter().map(|listener| Open { listener, lane: None }).collect();
        Self { open, lanes, first: 0, pause: None, warned: None }
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
            match self.open[at].listener.poll_accept(cx) {
                Poll::Ready(Ok(socket)) => {
                    self.first = at + 1;
                    return Poll::Ready(socket);
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
