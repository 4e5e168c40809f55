//! What connections speak: which of TLS, HTTP/1 and HTTP/2, and how that is found out.
//!
//! ```text
//! accept ─ [PROXY header] ─┬───────────────────────────────────► HTTP/1    the usual way, one task and no question
//!                          ├─ TLS handshake ─ ALPN ────────────► HTTP/1 or HTTP/2
//!                          └─ preface (http2_cleartext) ───────► HTTP/1 or HTTP/2
//! ```

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::{http1, http2};
use pin_project_lite::pin_project;
use rustcorn_config::{Protocol, Settings};
use rustcorn_tls::{Material, server_config};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::body::Body as RequestBody;
use crate::count::{BoxError, Counted};
use crate::guard::Rules;
use crate::http2::{Answering, Http2Options, Judged, Pieces, Serving2};
use crate::io::{Socket, Stream};
use crate::preamble::{Begun, Preamble};
use crate::registry::{Connection, Phase, Registered};
use crate::run::Runs;
use crate::secure::{Handshake, Shaken};
use crate::serve::{Serving, protocol};
use crate::shared::Shared;

/// With what a client begins HTTP/2 if it knows beforehand that the server speaks it (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Runs the tasks of connections and of HTTP/2's requests.
pub(crate) trait Spawns<S, B>:
    Runs<Serving<S>> + Runs<Negotiated<S, Self>> + Http2ServerConnExec<Answering<S>, Pieces<B>>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
}

impl<S, B, X> Spawns<S, B> for X
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    X: Runs<Serving<S>> + Runs<Negotiated<S, X>> + Http2ServerConnExec<Answering<S>, Pieces<B>>,
{
}

/// What this worker's connections speak.
pub(crate) struct Protocols<X> {
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<X>,
    /// See [`Http2Options::unread`].
    pub(crate) unread: usize,
    pub(crate) tls: Option<TlsAcceptor>,
    /// HTTP/1 may be spoken over TLS without having been agreed to.
    pub(crate) unagreed: bool,
    /// HTTP/2 without TLS.
    pub(crate) cleartext: bool,
}

impl<X: Clone> Protocols<X> {
    /// As the settings say.
    ///
    /// # Errors
    /// One sentence about the certificate.
    pub(crate) fn new(
        settings: &Settings,
        rules: &Rules,
        tls: Option<&Material>,
        executor: X,
    ) -> Result<Arc<Self>, String> {
        let tls = tls.map(|material| server_config(settings, material)).transpose()?;
        let http2 = Http2Options::of(settings);
        Ok(Arc::new(Self {
            http1: protocol(rules),
            http2: http2.builder(executor),
            unread: http2.unread(),
            tls: tls.map(|config| Arc::new(config).into()),
            unagreed: settings.http_protocols.contains(&Protocol::H1),
            cleartext: settings.http2_cleartext != "off",
        }))
    }
}

#[cfg(test)]
impl Protocols<crate::run::Local> {
    /// With `http2`, that is understood from this machine.
    pub(crate) fn without_tls(http2: Option<Http2Options>) -> Arc<Self> {
        let options = http2.unwrap_or(Http2Options::of(&Settings::defaults()));
        Arc::new(Self {
            http1: protocol(&Rules::new(&Settings::defaults())),
            http2: options.builder(crate::run::Local),
            unread: options.unread(),
            tls: None,
            unagreed: true,
            cleartext: http2.is_some(),
        })
    }
}

impl<X> Protocols<X> {
    /// Puts an accepted socket on the books and serves it.
    pub(crate) fn serve<S, B>(self: &Arc<Self>, executor: &X, shared: &Arc<Shared>, socket: Socket, service: S)
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
        S::Error: Into<BoxError>,
        B: Body + 'static,
        B::Error: Into<BoxError>,
        X: Spawns<S, B>,
    {
        let registered = shared.registry.add(shared, socket.peer());
        let connection = Arc::clone(&registered.0);
        let step = if Preamble::is_wanted(&connection) {
            Step::Preamble(Preamble::new(socket, registered))
        } else {
            self.after_preamble(socket, registered)
        };
        if let Step::Known(stream, Protocol::H1) = step {
            return executor.run(Serving::new(&self.http1, stream, service));
        }
        let opening = Opening { step: Some(step), service, protocols: Arc::clone(self), connection };
        executor.run(Negotiated::Opening { opening: Some(opening) });
    }

    /// How it goes on above the PROXY protocol.
    fn after_preamble(&self, socket: Socket, registered: Registered) -> Step {
        if let Some(acceptor) = &self.tls {
            registered.0.enter(Phase::Handshake, None);
            Step::Handshake(Handshake::begin(acceptor, socket), registered)
        } else if self.cleartext && registered.0.believed() {
            Step::Preface(Stream::new(socket, registered), Preface::default())
        } else {
            Step::Known(Stream::new(socket, registered), Protocol::H1)
        }
    }
}

/// A connection of which it is not known yet what it speaks.
pub(crate) struct Opening<S, X> {
    /// Taken by the step that comes next.
    step: Option<Step>,
    service: S,
    protocols: Arc<Protocols<X>>,
    connection: Arc<Connection>,
}

enum Step {
    Preamble(Preamble),
    Handshake(Handshake, Registered),
    Preface(Stream, Preface),
    Known(Stream, Protocol),
}

/// The first bytes, up to the one that decides.
#[derive(Default)]
struct Preface {
    read: [u8; PREFACE.len()],
    length: usize,
}

impl Preface {
    /// Reads until it is certain whether the client begins with HTTP/2.
    fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Protocol> {
        loop {
            let mut buf = ReadBuf::new(&mut self.read[self.length..]);
            // An error, or the end of the stream (which may be the sweep's word), is HTTP/1's to find again.
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf));
            let now = buf.filled().len();
            self.length += now;
            if read.is_err() || now == 0 || self.read[..self.length] != PREFACE[..self.length] {
                return Poll::Ready(Protocol::H1);
            }
            if self.length == PREFACE.len() {
                return Poll::Ready(Protocol::H2);
            }
        }
    }

    fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.read[..self.length])
    }
}

impl<S, X> Opening<S, X> {
    /// The plain bytes and what they speak; `None`: the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Stream, Protocol)>> {
        self.connection.set_waker(cx.waker());
        loop {
            let next = match self.step.as_mut().expect("not polled again after it is ready") {
                Step::Preamble(preamble) => {
                    let begun = ready!(preamble.poll(cx));
                    let Some(Step::Preamble(preamble)) = self.step.take() else { unreachable!("looked at above") };
                    self.begun(begun, preamble)
                }
                Step::Handshake(handshake, _) => {
                    let polled = handshake.poll(cx);
                    if polled.is_pending() && self.connection.is_overdue() {
                        let shared = &self.connection.shared;
                        if !shared.leaves() {
                            shared.handshake_failed("not done within tls_handshake_timeout", &self.connection);
                        }
                        return Poll::Ready(None);
                    }
                    self.secured(ready!(polled))
                }
                Step::Preface(stream, preface) => {
                    let protocol = ready!(preface.poll(stream, cx));
                    let Some(Step::Preface(stream, preface)) = self.step.take() else {
                        unreachable!("looked at above")
                    };
                    Some(Step::Known(stream.with_bytes_ahead(preface.bytes()), protocol))
                }
                Step::Known(..) => {
                    let Some(Step::Known(stream, protocol)) = self.step.take() else { unreachable!("looked at above") };
                    return Poll::Ready(Some((stream, protocol)));
                }
            };
            if next.is_none() {
                return Poll::Ready(None);
            }
            self.step = next;
        }
    }

    /// The PROXY header is over.
    fn begun(&self, begun: Begun, preamble: Preamble) -> Option<Step> {
        let (socket, registered) = preamble.into_parts();
        match begun {
            Begun::Gone => None,
            Begun::Well(bytes) => Some(self.protocols.after_preamble(socket.with_bytes_ahead(bytes), registered)),
            Begun::Refused(reason) if self.protocols.tls.is_some() => {
                self.connection.refused(reason, None); // there is no session in which to say why
                None
            }
            Begun::Refused(reason) => {
                self.connection.proxy_failed(reason);
                Some(Step::Known(Stream::new(socket, registered), Protocol::H1))
            }
        }
    }

    /// The handshake is over.
    fn secured(&mut self, outcome: Result<Shaken, io::Error>) -> Option<Step> {
        let Some(Step::Handshake(_, registered)) = self.step.take() else { unreachable!("called in this step") };
        let (connection, shared) = (&self.connection, &self.connection.shared);
        let Shaken { socket, tls, protocol } = match outcome {
            Ok(shaken) => shaken,
            Err(error) => {
                shared.handshake_failed(&error.to_string(), connection);
                return None;
            }
        };
        let protocol = match protocol.as_deref() {
            Some(agreed) if agreed == Protocol::H2.alpn() => Protocol::H2,
            None if !self.protocols.unagreed => {
                shared.handshake_failed("the client has not agreed to HTTP/2 (ALPN)", connection);
                return None;
            }
            _ => Protocol::H1,
        };
        let first = connection.tls.set(tls).is_ok();
        debug_assert!(first, "a connection has one handshake");
        connection.enter(Phase::New, None);
        Some(Step::Known(Stream::new(socket, registered), protocol))
    }
}

pin_project! {
    /// The task of a connection that has to find out what it speaks.
    #[project = NegotiatedNow]
    pub(crate) enum Negotiated<S, X>
    where
        S: Service<Request<RequestBody>>,
        Counted<S>: hyper::service::HttpService<Incoming>,
        Judged<S>: hyper::service::HttpService<Incoming>,
    {
        Opening { opening: Option<Opening<S, X>> },
        Http1 { #[pin] serving: Serving<S> },
        Http2 { #[pin] serving: Serving2<S, X> },
    }
}

impl<S, B, X> Future for Negotiated<S, X>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    X: Http2ServerConnExec<Answering<S>, Pieces<B>>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let next = match self.as_mut().project() {
            NegotiatedNow::Http1 { serving } => return serving.poll(cx),
            NegotiatedNow::Http2 { serving } => return serving.poll(cx),
            NegotiatedNow::Opening { opening } => {
                let chosen = ready!(opening.as_mut().expect("replaced below").poll(cx));
                let opening = opening.take().expect("as above");
                let Some((stream, protocol)) = chosen else { return Poll::Ready(()) };
                let (protocols, service) = (&opening.protocols, opening.service);
                match protocol {
                    Protocol::H1 => Self::Http1 { serving: Serving::new(&protocols.http1, stream, service) },
                    Protocol::H2 => {
                        Self::Http2 { serving: Serving2::new(&protocols.http2, protocols.unread, stream, service) }
                    }
                }
            }
        };
        self.set(next);
        self.poll(cx)
    }
}
