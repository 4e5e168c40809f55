//! TLS between the socket and the plain bytes of HTTP.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::log::{Level, line};
use rustls::pki_types::CertificateDer;
use rustls::{ProtocolVersion, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::{FallibleAccept, TlsStream};

use crate::io::Socket;
use crate::registry::Peer;

/// What is known of the TLS session that a request came over; in the extensions of every such request, and of no other.
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// fn is_known(request: &http::Request<rustcorn::Body>) -> bool {
///     let tls = request.extensions().get::<rustcorn::Tls>();
///     tls.is_some_and(|tls| tls.client_certificates().next().is_some())
/// }
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Session>);

struct Session {
    version: Option<ProtocolVersion>,
    suite: Option<&'static str>,
    server_name: Option<String>,
    certificates: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("version", &self.version()).field("server_name", &self.server_name()).finish()
    }
}

impl Tls {
    fn of(session: &ServerConnection) -> Self {
        let certificates = session.peer_certificates().unwrap_or_default();
        Self(Arc::new(Session {
            version: session.protocol_version(),
            suite: session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
            server_name: session.server_name().map(str::to_owned),
            certificates: certificates.iter().map(|certificate| certificate.clone().into_owned()).collect(),
        }))
    }

    /// `1.2` or `1.3`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match self.0.version {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3", // rustls has no others
        }
    }

    /// The cipher suite as rustls names it.
    #[must_use]
    pub fn cipher_suite(&self) -> &'static str {
        self.0.suite.unwrap_or_default()
    }

    /// The name that the client wants to talk to (SNI).
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// The client's verified certificate as DER, then those that it sent along; empty without one.
    pub fn client_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.certificates.iter().map(AsRef::as_ref)
    }
}

/// A socket after its handshake.
pub(crate) struct Secured(TlsStream<Wire>);

impl Secured {
    pub(crate) fn stream(&mut self) -> &mut TlsStream<Wire> {
        &mut self.0
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.0.get_ref().0.socket
    }

    /// Of what was read nothing has become readable yet.
    pub(crate) fn has_part_of_a_record(&self) -> bool {
        self.0.get_ref().0.fresh
    }

    /// How many bytes were sent since this was asked last.
    pub(crate) fn take_sent(&mut self) -> usize {
        std::mem::take(&mut self.0.get_mut().0.sent)
    }
}

/// The bytes of TLS.
pub(crate) struct Wire {
    socket: Socket,
    /// Bytes were read since this was set to false, which is when plain bytes are given on.
    fresh: bool,
    /// Bytes that the system has taken, until somebody asks.
    sent: usize,
    first: First,
}

impl Wire {
    fn wrote(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.sent += bytes;
        }
        polled
    }
}

/// What the client has begun with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Nothing,
    Tls,
    /// A request without TLS, say. It would not understand TLS's alert, so that is not sent.
    Other,
}

/// The first byte of a TLS handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if let Some(first) = buf.filled().get(before) {
            self.fresh = true;
            if self.first == First::Nothing {
                self.first = if *first == HANDSHAKE { First::Tls } else { First::Other };
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.first == First::Other {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.first == First::Other {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.0.get_mut().0.fresh = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// What clients without TLS are told. It fits into the buffer of any socket that nothing was written to.
const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 35\r\nConnection: close\r\n\r\n\
    This address speaks HTTPS, not HTTP";

/// What a handshake has led to.
pub(crate) struct Shaken {
    /// Plain bytes pass through it.
    pub(crate) socket: Socket,
    pub(crate) tls: Tls,
    /// What was agreed on to speak (ALPN).
    pub(crate) protocol: Option<Vec<u8>>,
}

/// A handshake in progress.
pub(crate) struct Handshake(Box<FallibleAccept<Wire>>);

impl Handshake {
    pub(crate) fn begin(acceptor: &TlsAcceptor, socket: Socket) -> Self {
        let wire = Wire { socket, fresh: false, sent: 0, first: First::Nothing };
        Self(Box::new(acceptor.accept(wire).into_fallible()))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Shaken, io::Error>> {
        match ready!(Pin::new(&mut *self.0).poll(cx)) {
            Ok(mut stream) => {
                let (wire, session) = stream.get_mut();
                wire.fresh = false;
                let (tls, protocol) = (Tls::of(session), session.alpn_protocol().map(<[u8]>::to_vec));
                Poll::Ready(Ok(Shaken { socket: Socket::Tls(Box::new(Secured(stream))), tls, protocol }))
            }
            Err((error, mut wire)) => {
                if wire.first != First::Other {
                    return Poll::Ready(Err(error));
                }
                // What does not go out at once is not worth waiting for.
                let _ = Pin::new(&mut wire.socket).poll_write(cx, SPEAK_TLS);
                let _ = Pin::new(&mut wire.socket).poll_shutdown(cx);
                Poll::Ready(Err(io::Error::other("the client does not speak TLS")))
            }
        }
    }
}

/// Handshakes that came to nothing. Scanners and load balancers make them by the thousand, so the log has a line for many.
#[derive(Default)]
pub(crate) struct Failures {
    unsaid: AtomicU64,
    /// Nanoseconds since boot of the last line.
    said: AtomicU64,
}

impl Failures {
    const SAY_EVERY: Duration = Duration::from_secs(60);

    /// One more. The counts are the scoreboard's.
    #[cold]
    pub(crate) fn note(&self, why: &str, peer: Option<&Peer>) {
        let failed = self.unsaid.fetch_add(1, Relaxed) + 1;
        let (now, said) = (Monotonic::now(), self.said.load(Relaxed));
        if said != 0 && now.since(Monotonic::from_nanos(said)) < Self::SAY_EVERY {
            return;
        }
        self.said.store(now.as_nanos(), Relaxed);
        self.unsaid.fetch_sub(failed, Relaxed);
        let from = peer.map_or_else(|| "a unix socket".into(), Peer::address);
        line(
            Level::Info,
            format_args!("TLS handshakes failed: {failed} since the last such line; the latest, from {from}: {why}"),
        );
    }
}
