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
use rustcorn_sys::Monotonic;
use tower_service::Service;

use crate::body::Body as RequestBody;
use crate::count::{BoxError, Counted, chain};
use crate::guard::Rules;
use crate::guarded::Guarded;
use crate::io::Stream;
use crate::log;
use crate::registry::Connection;

/// Headers that hyper takes without being told; for so many it has room at hand.
const HEADERS: usize = 100;
/// What hyper's buffers have room for besides a head.
const BUFFER: usize = 8192;

/// HTTP/1.1 as all connections speak it.
pub(crate) fn protocol(rules: &Rules) -> Builder {
    let mut builder = Builder::new();
    // The guard has judged already; hyper's own limits must not be lower.
    if rules.fields() > HEADERS {
        builder.max_headers(rules.fields());
    }
    builder.max_buf_size(rules.head() + BUFFER);
    // hyper's timer would be reset for each request; the sweep does this for all connections at once (see registry.rs).
    builder.header_read_timeout(None);
    builder
}

pin_project! {
    /// The task of one connection.
    pub(crate) struct Serving<S>
    where
        S: Service<Request<RequestBody>>,
        Counted<S>: hyper::service::HttpService<Incoming>,
    {
        #[pin]
        http: UpgradeableConnection<TokioIo<Guarded<Stream>>, Counted<S>>,
        connection: Arc<Connection>,
    }
}

impl<S, B> Serving<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    /// Serves the plain bytes of a connection.
    pub(crate) fn new(protocol: &Builder, stream: Stream, service: S) -> Self {
        let connection = Arc::clone(stream.connection());
        let counted = Counted { service, connection: Arc::clone(&connection) };
        let guarded = TokioIo::new(Guarded::new(stream, Arc::clone(&connection)));
        Self { http: protocol.serve_connection(guarded, counted).with_upgrades(), connection }
    }
}

impl<S, B> Future for Serving<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.connection.set_waker(cx.waker());
        if let Err(error) = ready!(this.http.poll(cx)) {
            // Clients that left, mostly. What hyper would refuse the guard has refused; if not, hyper has answered.
            let (mut status, mut span, client) = (None, None, this.connection.client());
            if error.is_parse() {
                status = answered_with(&error);
                let telemetry = this.connection.shared.telemetry();
                span = telemetry
                    .and_then(|telemetry| telemetry.observer.refused(status, client, this.connection.peer.as_ref()));
                if let Some((log, status)) = this.connection.shared.access().zip(status) {
                    log.refused(b"", status, 0, Monotonic::now(), this.connection);
                }
            }
            log::connection_ended(&chain(&error), span.as_ref(), client, status);
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
