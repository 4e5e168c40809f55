//! The application that misbehaves on demand.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use opentelemetry::trace::TraceContextExt;
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::body::Body as RequestBody;
use crate::count::BoxError;

/// More than the kernel holds for a client that does not read.
pub(crate) const BIG: usize = 16 << 20;

/// The application. `Clone` and `poll_ready` as a tower service has them.
#[derive(Clone)]
pub(crate) struct App {
    pub(super) gate: Arc<Semaphore>,
}

impl Default for App {
    fn default() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)) }
    }
}

impl Service<Request<RequestBody>> for App {
    type Response = Response<Chunks>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Chunks>, BoxError>>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let chunks = match request.uri().path() {
                "/panic" => panic!("as asked"),
                "/error" => return Err("as asked".into()),
                "/wait" => {
                    gate.acquire().await?.forget();
                    vec![Chunk::Data("waited")]
                }
                "/context" => {
                    crate::telemetry::Route::new("/context").set();
                    vec![Chunk::Data(current_trace()), Chunk::Context]
                }
                "/stream" => vec![Chunk::Data("one"), Chunk::Data("two"), Chunk::Data("three")],
                "/stream-wait" => vec![Chunk::Data("one"), Chunk::Wait(gate), Chunk::Data("two")],
                "/stream-panic" => vec![Chunk::Data("one"), Chunk::Panic],
                "/big" => vec![Chunk::Data("x".repeat(BIG).leak())],
                "/upgrade" => return Ok(upgrade(request)),
                "/echo" => vec![Chunk::Data(text(request.into_body()).await?)],
                // Whatever comes.
                "/swallow" => vec![Chunk::Data(text(request.into_body()).await.unwrap_or("swallowed"))],
                "/read-later" => {
                    gate.acquire().await?.forget();
                    vec![Chunk::Data(text(request.into_body()).await?)]
                }
                "/converse" => vec![Chunk::Data("well? "), Chunk::Of(request.into_body())],
                "/missing" => {
                    let mut response = Response::new(Chunks::from(vec![]));
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    return Ok(response);
                }
                _ => vec![Chunk::Data("Hello")],
            };
            Ok(Response::new(Chunks::from(chunks)))
        })
    }
}

/// All of a body.
async fn text(body: RequestBody) -> Result<&'static str, BoxError> {
    Ok(String::from_utf8(body.collect().await?.to_bytes().into())?.leak())
}

/// Answers 101 and keeps the connection until the client leaves.
fn upgrade(mut request: Request<RequestBody>) -> Response<Chunks> {
    let upgrade = hyper::upgrade::on(&mut request);
    drop(tokio::task::spawn_local(async move {
        let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
        let mut byte = [0];
        loop {
            let mut buf = tokio::io::ReadBuf::new(&mut byte);
            let read =
                std::future::poll_fn(|cx| tokio::io::AsyncRead::poll_read(Pin::new(&mut io), cx, &mut buf)).await;
            if read.is_err() || buf.filled().is_empty() {
                return;
            }
        }
    }));
    let mut response = Response::new(Chunks::from(vec![]));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(http::header::UPGRADE, http::HeaderValue::from_static("test"));
    response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("upgrade"));
    response
}

/// A piece of a response body.
pub(crate) enum Chunk {
    Data(&'static str),
    Wait(Arc<Semaphore>),
    Panic,
    /// All that comes of a request.
    Of(RequestBody),
    /// The trace that is current when this piece is asked for.
    Context,
}

/// The trace that code of the application is in.
fn current_trace() -> &'static str {
    let trace = opentelemetry::Context::map_current(|context| context.span().span_context().trace_id());
    trace.to_string().leak()
}

/// A response body in pieces. One piece has its length told beforehand.
pub(crate) struct Chunks {
    left: VecDeque<Chunk>,
    waiting: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl From<Vec<Chunk>> for Chunks {
    fn from(left: Vec<Chunk>) -> Self {
        Self { left: left.into(), waiting: None }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            match self.left.pop_front() {
                None => return Poll::Ready(None),
                Some(Chunk::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data.into())))),
                Some(Chunk::Panic) => panic!("as asked"),
                Some(Chunk::Of(mut body)) => {
                    let polled = Pin::new(&mut body).poll_frame(cx);
                    if !matches!(polled, Poll::Ready(None)) {
                        self.left.push_front(Chunk::Of(body));
                    }
                    match polled {
                        Poll::Ready(None) => {}
                        Poll::Ready(Some(frame)) => return Poll::Ready(Some(frame.map_err(Into::into))),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Some(Chunk::Context) => return Poll::Ready(Some(Ok(Frame::data(current_trace().into())))),
                Some(Chunk::Wait(gate)) => {
                    self.waiting = Some(Box::pin(async move { gate.acquire().await.unwrap().forget() }));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.left.front(), self.left.len()) {
            (None, _) => SizeHint::with_exact(0),
            (Some(Chunk::Data(data)), 1) => SizeHint::with_exact(data.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
