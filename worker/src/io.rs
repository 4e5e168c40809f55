//! The stream under hyper: sees when bytes arrive, and ends a connection at a moment when nothing is lost by it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustcorn_sys::socket::has_pending_bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::preamble::Preamble;
use crate::registry::{Connection, Registered};

/// Responses up to this many bytes are joined before they are sent: well below what copying them costs more than it saves.
const JOINED: usize = 256;

/// An accepted socket.
pub(crate) enum Socket {
    /// With the address of the other side.
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) const fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, peer) => Some(*peer),
            Self::Unix(_) => None,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream, _) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Calls one method on whichever socket it is.
macro_rules! on_socket {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match &mut $stream.socket {
            Socket::Tcp(socket, _) => Pin::new(socket).$method($($argument),*),
            Socket::Unix(socket) => Pin::new(socket).$method($($argument),*),
        }
    };
}

/// A socket on the books of the worker. Dropping it takes it off, also where an upgrade has given it to the application.
pub(crate) struct Stream {
    socket: Socket,
    registered: Registered,
    /// What comes before everything else, if it is looked for, until it is over.
    preamble: Option<Box<Preamble>>,
}

impl Stream {
    pub(crate) fn new(socket: Socket, registered: Registered) -> Self {
        let preamble = Preamble::of(&registered.0);
        Self { socket, registered, preamble }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.registered.0
    }

    /// Whether hyper shall be told that the client is gone, so that it closes the connection in good order.
    ///
    /// Bytes that the kernel has, but the runtime has not told of yet, may be a whole request: then the connection stays, the
    /// runtime's event follows at once, and the head gets the time that a head has.
    #[cold]
    fn ends_here(&self) -> bool {
        !has_pending_bytes(self.socket.as_fd())
    }

    /// hyper writes until all is written, and then flushes, or until a write has to wait: so that alone, no short write, means
    /// that a part of the response stays behind.
    #[inline]
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Pending => self.waits_to_write(),
            Poll::Ready(Ok(bytes)) => {
                self.connection().has_sent(bytes);
                polled
            }
            Poll::Ready(Err(_)) => polled,
        }
    }

    #[cold]
    fn waits_to_write(&self) -> Poll<io::Result<usize>> {
        if !self.connection().has_unsent() {
            return Poll::Pending;
        }
        if let Socket::Tcp(socket, _) = &self.socket {
            // What the kernel still holds would stay there for as long as the client keeps its window shut. Where this cannot be
            // said it does.
            let _ = socket.set_zero_linger();
        }
        let why = "the client took nothing of its response for write_timeout";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }

    #[inline]
    fn poll_socket(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        // The socket's own poll_read, not a readiness loop of ours: after a short read it knows without a second system call
        // that the socket is empty.
        let polled = on_socket!(self, poll_read(cx, buf));
        match polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => self.connection().bytes_arrived(),
            Poll::Pending if self.connection().close_requested() && self.ends_here() => return Poll::Ready(Ok(())),
            _ => {}
        }
        polled
    }

    /// Reads the preamble, then what came with it.
    #[cold]
    fn poll_preamble(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut preamble) = self.preamble.take() else { return self.poll_socket(cx, buf) };
        let before = buf.filled().len();
        while !preamble.is_over() {
            match self.poll_socket(cx, buf) {
                Poll::Pending => {
                    self.preamble = Some(preamble);
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if buf.filled().len() == before => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {
                    let read = preamble.read(&buf.filled()[before..], self.connection());
                    buf.set_filled(before);
                    read?;
                }
            }
        }
        if preamble.hand_over(buf) {
            self.preamble = Some(preamble);
        }
        if buf.filled().len() > before { Poll::Ready(Ok(())) } else { self.poll_socket(cx, buf) }
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.preamble.is_none() { self.poll_socket(cx, buf) } else { self.poll_preamble(cx, buf) }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = on_socket!(self, poll_write(cx, buf));
        self.wrote(polled)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Head and body of a small response arrive as two pieces. To join them here and send(2) once is cheaper than writev(2).
        if let [head, body] = bufs
            && head.len() + body.len() <= JOINED
        {
            let mut joined = [0; JOINED];
            joined[..head.len()].copy_from_slice(head);
            joined[head.len()..][..body.len()].copy_from_slice(body);
            let joined = &joined[..head.len() + body.len()];
            return self.poll_write(cx, joined);
        }
        let polled = on_socket!(self, poll_write_vectored(cx, bufs));
        self.wrote(polled)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        true // both kinds of socket are
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection().all_sent();
        Poll::Ready(Ok(())) // a socket has no buffer of its own
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_shutdown(cx))
    }
}
