//! One connection that speaks HTTP/1: hyper on the worker's stream, with the application behind the counting service.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::count::{BoxError, Counted, chain};
use crate::io::Stream;
use crate::log;
use crate::registry::Connection;

pin_project! {
    /// The task of one connection.
    pub(crate) struct Serving<S>
    where
        S: Service<Request<Incoming>>,
        Counted<S>: hyper::service::HttpService<Incoming>,
    {
        #[pin]
        http: UpgradeableConnection<TokioIo<Stream>, Counted<S>>,
        connection: Arc<Connection>,
    }
}

impl<S, B> Serving<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    /// Serves the plain bytes of a connection.
    pub(crate) fn new(protocol: &Builder, stream: Stream, service: S) -> Self {
        let connection = Arc::clone(stream.connection());
        let counted = Counted { service, connection: Arc::clone(&connection) };
        Self { http: protocol.serve_connection(TokioIo::new(stream), counted).with_upgrades(), connection }
    }
}

impl<S, B> Future for Serving<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.connection.set_waker(cx.waker());
        if let Err(error) = ready!(this.http.poll(cx)) {
            // Malformed requests, clients that left: hyper has answered what can be answered.
            let (mut status, mut span, peer) = (None, None, this.connection.peer.as_ref());
            if error.is_parse() {
                status = answered_with(&error);
                let telemetry = this.connection.shared.telemetry();
                span = telemetry.and_then(|telemetry| telemetry.observer.refused(status, peer));
            }
            log::connection_ended(&chain(&error), span.as_ref(), peer, status);
        }
        Poll::Ready(())
    }
}

/// What hyper answers to a head that it cannot read, as its server role decides. It tells by text alone which limit was hit,
/// and sends nothing to a client that begins with HTTP/2.
#[cold]
fn answered_with(error: &hyper::Error) -> Option<StatusCode> {
    let text = error.to_string();
    match (error.is_parse_too_large(), text.contains("URI"), text.contains("HTTP2")) {
        (true, true, _) => Some(StatusCode::URI_TOO_LONG),
        (true, false, _) => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        (false, _, true) => None,
        (false, _, false) => Some(StatusCode::BAD_REQUEST),
    }
}
