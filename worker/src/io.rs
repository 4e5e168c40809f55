//! The stream under hyper: sees when bytes arrive, and ends a connection at a moment when nothing is lost by it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustcorn_sys::socket::has_pending_bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::registry::{Connection, Phase, Registered};
use crate::secure::Secured;

/// Responses up to this many bytes are joined before they are sent: well below what copying them costs more than it saves.
const JOINED: usize = 256;

/// An accepted socket, and what lies between it and the plain bytes of HTTP.
pub(crate) enum Socket {
    /// With the address of the other side.
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
    /// After the handshake. Boxed, as it is much larger than the others.
    Tls(Box<Secured>),
    /// Its first bytes were read to see what it is.
    Ahead(Box<Ahead>),
}

impl Socket {
    pub(crate) const fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, peer) => Some(*peer),
            Self::Unix(_) | Self::Tls(_) | Self::Ahead(_) => None, // asked before it becomes one of these
        }
    }

    /// The same socket with `bytes`, which were read from it, to be read again.
    pub(crate) fn with_bytes_ahead(self, bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return self;
        }
        let ahead = match self {
            Self::Ahead(before) => {
                let Ahead { bytes: rest, socket } = *before;
                let bytes = if rest.is_empty() { bytes } else { [&bytes[..], &rest].concat().into() };
                Ahead { bytes, socket }
            }
            socket => Ahead { bytes, socket },
        };
        Self::Ahead(Box::new(ahead))
    }

    /// The TCP connection under all of it, if it is one.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream, _) => Some(stream),
            Self::Unix(_) => None,
            Self::Tls(secured) => secured.socket().tcp(),
            Self::Ahead(ahead) => ahead.socket.tcp(),
        }
    }

    /// How many bytes the system took of the `plain` ones that were just written.
    #[inline]
    fn take_sent(&mut self, plain: usize) -> usize {
        match self {
            Self::Tls(secured) => secured.take_sent(), // it has a buffer of its own, and sends from that at any time
            _ => plain,
        }
    }

    /// Bytes have arrived that are not enough for anything to be read.
    fn has_part_of_a_record(&self) -> bool {
        matches!(self, Self::Tls(secured) if secured.has_part_of_a_record())
    }

    /// Whether the other side ended its TCP stream and not its TLS session.
    fn ends_bluntly(&self, error: &io::Error) -> bool {
        matches!(self, Self::Tls(_)) && error.kind() == io::ErrorKind::UnexpectedEof
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream, _) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(secured) => secured.socket().as_fd(),
            Self::Ahead(ahead) => ahead.socket.as_fd(),
        }
    }
}

/// Calls one method that writes on whichever socket it is.
macro_rules! on_socket {
    ($socket:expr, $method:ident($($argument:expr),*)) => {
        match $socket.get_mut() {
            Socket::Tcp(socket, _) => Pin::new(socket).$method($($argument),*),
            Socket::Unix(socket) => Pin::new(socket).$method($($argument),*),
            Socket::Tls(secured) => Pin::new(secured.stream()).$method($($argument),*),
            Socket::Ahead(ahead) => Pin::new(&mut **ahead).$method($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket, _) => Pin::new(socket).poll_read(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(secured) => Pin::new(&mut **secured).poll_read(cx, buf),
            Self::Ahead(ahead) => Pin::new(&mut **ahead).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_socket!(self, poll_write(cx, buf))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, poll_write_vectored(cx, bufs))
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        true // all kinds are
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_shutdown(cx))
    }
}

/// A socket with bytes that were read from it already and come first.
pub(crate) struct Ahead {
    bytes: Bytes,
    socket: Socket,
}

impl AsyncRead for Ahead {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let now = self.bytes.len().min(buf.remaining());
        buf.put_slice(&self.bytes.split_to(now));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// A socket on the books of the worker: the plain bytes of a connection, whatever carries them. Dropping it takes it off the
/// books, also where an upgrade has given it to the application.
pub(crate) struct Stream {
    socket: Socket,
    registered: Registered,
}

impl Stream {
    pub(crate) fn new(socket: Socket, registered: Registered) -> Self {
        Self { socket, registered }
    }

    pub(crate) const fn connection(&self) -> &Arc<Connection> {
        &self.registered.0
    }

    /// The same connection with `bytes`, which were read from it, to be read again.
    pub(crate) fn with_bytes_ahead(self, bytes: Bytes) -> Self {
        Self { socket: self.socket.with_bytes_ahead(bytes), registered: self.registered }
    }

    /// Whether hyper shall be told that the client is gone, so that it closes the connection in good order.
    ///
    /// Bytes that the kernel has, but the runtime has not told of yet, may be a whole request: then the connection stays, the
    /// runtime's event follows at once, and the head gets the time that a head has.
    #[cold]
    fn ends_here(&self) -> bool {
        !has_pending_bytes(self.socket.as_fd())
    }

    /// Nothing to read for now.
    #[inline]
    fn read_later(&self) -> Poll<io::Result<()>> {
        if self.socket.has_part_of_a_record() {
            self.connection().bytes_arrived(); // the rest is on its way
        }
        if self.connection().close_requested() && self.ends_here() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// hyper writes until all is written, and then flushes, or until a write has to wait: so that alone, no short write, means
    /// that a part of the response stays behind.
    #[inline]
    fn wrote(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Pending => self.waits_to_write(),
            Poll::Ready(Ok(bytes)) => {
                let sent = self.socket.take_sent(bytes);
                self.connection().has_sent(sent);
                polled
            }
            Poll::Ready(Err(_)) => polled,
        }
    }

    #[cold]
    fn waits_to_write<T>(&mut self) -> Poll<io::Result<T>> {
        match self.socket.take_sent(0) {
            0 => {}
            sent => self.connection().has_sent(sent),
        }
        if !self.connection().has_unsent() {
            return Poll::Pending;
        }
        if let Some(socket) = self.socket.tcp() {
            // What the kernel still holds would stay there for as long as the client keeps its window shut. Where this cannot be
            // said it does.
            let _ = socket.set_zero_linger();
        }
        let why = "the client took nothing of its response for write_timeout";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        // The socket's own poll_read, not a readiness loop of ours: after a short read it knows without a second system call
        // that the socket is empty.
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => self.connection().bytes_arrived(),
            Poll::Ready(Ok(())) => {}
            Poll::Pending => return self.read_later(),
            Poll::Ready(Err(error)) => {
                // Half of the clients there are do so. A message that it cuts short is found out by its own framing.
                if self.socket.ends_bluntly(error) && self.connection().phase() != Phase::Upgraded {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        polled
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
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
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        true // every kind of socket is
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &self.socket {
            Socket::Tcp(..) | Socket::Unix(_) => Poll::Ready(Ok(())), // without a buffer of its own
            _ => Pin::new(&mut self.socket).poll_flush(cx),
        };
        if polled.is_pending() {
            return self.waits_to_write();
        }
        self.connection().all_sent();
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        let Poll::Ready(result) = Pin::new(&mut self.socket).poll_shutdown(cx) else {
            return self.waits_to_write(); // TLS says goodbye, and there is no room for that
        };
        self.connection().all_sent();
        match result {
            // To a client that has left already.
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
