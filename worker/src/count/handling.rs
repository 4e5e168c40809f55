//! The handler of a request, and what the client gets where it has no answer.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use rustcorn_sys::log::Panic;
use tower_service::Service;

use super::body::length;
use super::{BoxError, CountedBody, Ticket, chain};
use crate::body::Body as RequestBody;
use crate::guard::Reason;
use crate::panics::contained;
use crate::telemetry::Trouble;

pin_project! {
    /// The handler of one request, from tower's `poll_ready` to the response's head.
    pub(crate) struct Handling<S>
    where
        S: Service<Request<RequestBody>>,
    {
        pub(super) ticket: Option<Ticket>,
        #[pin]
        pub(super) step: Step<S, S::Future>,
    }
}

pin_project! {
    #[project = StepNow]
    pub(super) enum Step<S, F> {
        /// tower wants `poll_ready` first; this clone of the service is used for this one call.
        Waiting { call: Option<(S, Request<RequestBody>)> },
        Running { #[pin] future: F },
        /// There is nothing to wait for.
        Over { end: Option<End> },
    }
}

/// Why there is no response, or no more of it.
pub(super) struct Failure {
    pub(super) trouble: Trouble,
    pub(super) words: String,
    pub(super) panic: Option<Box<Panic>>,
}

/// How a request ends without a response of the application's.
pub(super) enum End {
    /// The service does not want to, or panicked.
    Failed(Failure),
    /// It has had its time.
    Overdue,
    /// It was not asked.
    Refused(Reason),
}

/// The error of a service whose time for a request is over.
#[derive(Debug)]
pub(crate) struct Overdue;

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no response within request_timeout")
    }
}

impl Error for Overdue {}

impl End {
    /// By an error of the service.
    fn of(error: impl Into<BoxError>) -> Self {
        let error = error.into();
        if error.is::<Overdue>() { Self::Overdue } else { Self::Failed(Failure::error(Trouble::Application, error)) }
    }
}

impl From<Box<Panic>> for Failure {
    fn from(panic: Box<Panic>) -> Self {
        Self { trouble: Trouble::Panic, words: panic.words(), panic: Some(panic) }
    }
}

impl Failure {
    /// The application's own error.
    pub(super) fn error(trouble: Trouble, error: impl Into<BoxError>) -> Self {
        Self { trouble, words: chain(&*error.into()), panic: None }
    }
}

impl<S> Step<S, S::Future>
where
    S: Service<Request<RequestBody>>,
    S::Error: Into<BoxError>,
{
    pub(super) const fn over(end: End) -> Self {
        Self::Over { end: Some(end) }
    }

    /// Hands the request over at once if the service is ready, as nearly all are. A handler that then lets go of it early gives
    /// hyper its read buffer back before hyper looks whether the client is still there, which saves a new one per request.
    pub(super) fn begin(mut service: S, request: Request<RequestBody>) -> Self {
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Self::Running { future: service.call(request) },
            Poll::Ready(Err(error)) => Self::over(End::of(error)),
            // It is asked again at once, by someone who can be woken.
            Poll::Pending => Self::Waiting { call: Some((service, request)) },
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Response, End>> {
        if let StepNow::Waiting { call } = self.as_mut().project() {
            let (service, _) = call.as_mut().expect("a handler is not polled again after it panicked");
            ready!(service.poll_ready(cx)).map_err(End::of)?;
            let (mut service, request) = call.take().expect("checked above");
            let future = service.call(request);
            self.set(Self::Running { future });
        }
        match self.project() {
            StepNow::Running { future } => future.poll(cx).map_err(End::of),
            StepNow::Over { end } => Poll::Ready(Err(end.take().expect("a handler is not polled again after its end"))),
            StepNow::Waiting { .. } => unreachable!("set to Running above"),
        }
    }
}

impl<S, B> Future for Handling<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Output = Result<Response<CountedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let ticket = this.ticket.as_mut().expect("a future is not polled again after it is ready");
        let since = ticket.poll_begins();
        if ticket.0.connection.out_of_time() {
            let mut ticket = this.ticket.take().expect("checked above");
            let shown = ticket.show(since);
            // Unwind safe: what is left of the handler after a panic is dropped and not used.
            let dropped = contained(|| this.step.set(Step::Over { end: None }));
            drop(shown);
            let mut response = ticket.instead(End::Overdue);
            if let Err(panic) = dropped {
                ticket.failed("", &panic.into());
            }
            ticket.answered(&mut response);
            return Poll::Ready(Ok(response.map(|body| CountedBody::new(ticket, body, Some(0)))));
        }
        let shown = ticket.show(since);
        // Unwind safe: after a panic the future is not polled again, and what it shares with other requests is up to the
        // application, as with any panic in a thread.
        let attached = ticket.attach();
        let polled = contained(|| this.step.poll(cx));
        drop((attached, shown));
        ticket.polled();
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result,
            Err(panic) => Err(End::Failed(panic.into())),
        };
        let mut ticket = this.ticket.take().expect("checked above");
        ticket.0.stretch = Some(since); // hyper polls the body next, without a pause
        let mut response = match outcome {
            Ok(response) => response.map(Some),
            Err(end) => ticket.instead(end),
        };
        ticket.answered(&mut response);
        let left = ticket.0.observed.as_ref().and_then(|_| if ticket.0.bodiless { Some(0) } else { length(&response) });
        Poll::Ready(Ok(response.map(|body| CountedBody::new(ticket, body, left))))
    }
}

/// What a client gets where the application has no answer. The connection `closes` with it, but for HTTP/2: what is left of the
/// request's body may be anything.
#[cold]
pub(super) fn failure<B>(status: StatusCode, closes: bool) -> Response<Option<B>> {
    let mut response = Response::new(None);
    *response.status_mut() = status;
    if closes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
