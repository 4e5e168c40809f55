//! Requests of HTTP/2 on their way to the application: judged by the same rules as those of HTTP/1, and each with a clock of its own.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::response::{Answering, Pieces, task_begins};
use crate::body::Body as RequestBody;
use crate::count::{BoxError, Counted, Overdue};
use crate::registry::Connection;

/// The application behind the rules and the counting service.
pub(crate) struct Judged<S>(Counted<Multiple<S>>);

impl<S> Judged<S> {
    pub(crate) fn new(service: S, connection: &Arc<Connection>) -> Self {
        let service = Multiple { service, limit: connection.shared.request_limit(), clock: None };
        Self(Counted { service, connection: Arc::clone(connection) })
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Judged<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<Pieces<B>>;
    type Error = Infallible;
    type Future = Answering<S>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let connection = &self.0.connection;
        task_begins(connection);
        Answering::new(match connection.shared.policy.rules.judge(&mut request, connection.believed()) {
            Ok(marks) if request.body().is_end_stream() => self.0.admit(request.map(RequestBody::plain), marks, None),
            Ok(marks) => {
                let (head, body) = request.into_parts();
                let (body, exchange) = RequestBody::streamed(body, connection);
                self.0.admit(Request::from_parts(head, body), marks, Some(exchange))
            }
            Err(reason) => self.0.refuse(request, reason),
        })
    }
}

/// The application's service under a name of its own: what the compiler makes of [`Counted`] for HTTP/1 then has one caller, so it
/// is put into hyper's loop as a whole. Shared between both, it costs a request 2 to 3 % more instructions.
///
/// And with a clock for each request (`request_timeout`): the sweep, which keeps HTTP/1's, knows connections only.
pub(crate) struct Multiple<S> {
    service: S,
    limit: Option<Duration>,
    /// Of the one request that a clone is made for, once something has to wait.
    clock: Option<Pin<Box<Sleep>>>,
}

impl<S: Clone> Clone for Multiple<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), limit: self.limit, clock: None }
    }
}

/// Whether `clock`, which begins now if it has not begun, has run out.
#[expect(clippy::disallowed_methods, reason = "time itself is the feature")]
fn has_run_out(clock: &mut Option<Pin<Box<Sleep>>>, limit: Option<Duration>, cx: &mut Context<'_>) -> bool {
    let Some(limit) = limit else { return false };
    clock.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx).is_ready()
}

impl<S, R> Service<R> for Multiple<S>
where
    S: Service<R>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Timed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.service.poll_ready(cx) {
            Poll::Pending if has_run_out(&mut self.clock, self.limit, cx) => Poll::Ready(Err(Overdue.into())),
            polled => polled.map_err(Into::into),
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        Timed { handler: Some(self.service.call(request)), limit: self.limit, clock: self.clock.take() }
    }
}

pin_project! {
    /// A handler that has so much time.
    pub(crate) struct Timed<F> {
        // `None`: it has had its time.
        #[pin]
        handler: Option<F>,
        limit: Option<Duration>,
        clock: Option<Pin<Box<Sleep>>>,
    }
}

impl<F, T, E> Future for Timed<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let handler = this.handler.as_mut().as_pin_mut().expect("not polled again after it is ready");
        match handler.poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(Into::into)),
            Poll::Pending if has_run_out(this.clock, *this.limit, cx) => {
                this.handler.set(None); // here, where a panic of its drop is contained
                Poll::Ready(Err(Overdue.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
