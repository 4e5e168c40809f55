//! Counts what passes between hyper and the application, and keeps the application's failures to the request they are in.
//!
//! One [`Ticket`] goes with each request: from the head's arrival, through the handler's future, into the response body, until
//! hyper drops that. Its drop counts the request. hyper drops a finished body before it writes the last bytes of the response
//! to the socket, so a client that has its answer is in the counts, whatever happens to the process afterwards. How much the
//! socket has taken by then is not the ticket's business but the stream's (`Connection::has_unsent`).
//!
//! To hyper the end of a client's bytes is the end of the client: one that half-closes right after its request (`nc -N`) counts
//! as having left, its handler is dropped and it gets no answer.

mod body;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use rustcorn_scoreboard::{PolledText, Polling};
use rustcorn_sys::Monotonic;
use rustcorn_sys::log::{Field, Format, Panic, format};
use tower_service::Service;

pub(crate) use body::CountedBody;
use body::length;

use crate::log::{self, Seen};
use crate::panics::contained;
use crate::registry::{Connection, Phase};
use crate::telemetry::{Observed, Trouble};

/// Any error, in the shape that hyper, tower and axum use.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The application's service as hyper sees it.
pub(crate) struct Counted<S> {
    pub(crate) service: S,
    pub(crate) connection: Arc<Connection>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<CountedBody<B>>;
    type Error = Infallible;
    type Future = Handling<S>;

    fn call(&self, mut request: Request<Incoming>) -> Handling<S> {
        let client = self.connection.sender(request.headers());
        request.extensions_mut().insert(client);
        let mut ticket = Ticket::open(&self.connection, &request);
        let service = self.service.clone();
        let shown = ticket.show(ticket.0.started);
        let attached = ticket.attach();
        let step = contained(|| Step::begin(service, request)); // as in Handling
        drop((attached, shown));
        ticket.polled();
        let step = step.unwrap_or_else(|panic| Step::Failed { why: Some(panic.into()) });
        Handling { ticket: Some(ticket), step }
    }
}

/// One request: its start, its text, and in the end its outcome. Boxed, because on its way it is moved a dozen times, which
/// costs more than the allocation.
struct Ticket(Box<Entry>);

struct Entry {
    connection: Arc<Connection>,
    started: Monotonic,
    /// Begin of the running stretch of polls where that is known without reading the clock.
    stretch: Option<Monotonic>,
    /// `None` until there is a response.
    status: Option<StatusCode>,
    bytes: u64,
    connect: bool,
    /// The response's body is not for the client: to HEAD, and with a status that has none.
    bodiless: bool,
    upgraded: bool,
    text: PolledText,
    /// More of the request, where log lines have a place for it.
    seen: Option<Seen>,
    /// `None` while telemetry is off, and once it is over.
    observed: Option<Observed>,
}

impl Ticket {
    fn open(connection: &Arc<Connection>, request: &Request<Incoming>) -> Self {
        let started = Monotonic::now();
        connection.enter(Phase::InRequest, Some(started));
        connection.shared.writer.request_started();
        let telemetry = connection.shared.telemetry();
        let observed = telemetry.map(|telemetry| telemetry.observer.begin(request, connection.peer.as_ref()));
        Self(Box::new(Entry {
            connection: Arc::clone(connection),
            started,
            stretch: Some(started),
            status: None,
            bytes: 0,
            connect: request.method() == Method::CONNECT,
            bodiless: request.method() == Method::HEAD,
            upgraded: false,
            text: PolledText::new(request.method().as_str(), request.uri().path()),
            seen: (format() == Format::Json).then(|| Seen::of(request)),
            observed,
        }))
    }

    /// Shows the request as being polled, since the begin of the present stretch.
    fn show(&self, since: Monotonic) -> Polling<'_> {
        self.0.connection.shared.writer.poll_begin(&self.0.text, since)
    }

    /// When the poll that starts now began.
    fn poll_begins(&mut self) -> Monotonic {
        self.0.stretch.take().unwrap_or_else(Monotonic::now)
    }

    /// Makes the request's telemetry context the current one.
    fn attach(&self) -> Option<opentelemetry::ContextGuard> {
        self.0.observed.as_ref().and_then(Observed::attach)
    }

    fn polled(&mut self) {
        if let Some(observed) = &mut self.0.observed {
            observed.polled();
        }
    }

    fn troubled(&mut self, trouble: Trouble) {
        if let Some(observed) = &mut self.0.observed {
            observed.troubled(trouble);
        }
    }

    /// Notes what is answered; adds `Connection: close` where this is the connection's last response.
    fn answered<B>(&mut self, response: &mut Response<Option<B>>) {
        if let Some(reason) = self.0.connection.body_fault() {
            *response = failure(reason.status()); // whatever the application made of it
        }
        let (entry, status) = (&mut *self.0, response.status());
        entry.upgraded = status == StatusCode::SWITCHING_PROTOCOLS || (entry.connect && status.is_success());
        // hyper has no way to send any other 1xx as a response, and sends this instead.
        entry.bodiless |= entry.upgraded || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let unsendable = status.is_informational() && !entry.upgraded;
        entry.status = Some(if unsendable { StatusCode::INTERNAL_SERVER_ERROR } else { status });
        if let Some(observed) = &mut entry.observed {
            observed.answered(response);
        }
        if entry.connection.shared.says_close() && !entry.upgraded {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// The application has had its time: a line, which names the request.
    #[cold]
    fn timed_out(&self) {
        let entry = &*self.0;
        let took = Monotonic::now().since(entry.started);
        let (text, fields) = self.described(StatusCode::GATEWAY_TIMEOUT, took);
        let message = format_args!("Request timeout: {text} had no response after {:.1} s", took.as_secs_f64());
        log::warning(message, &fields);
    }

    /// The request in words, and in fields for a log line.
    fn described(&self, instead: StatusCode, took: Duration) -> (String, Vec<Field>) {
        let entry = &*self.0;
        let text = format!("{:?}", entry.text);
        let mut fields = entry.observed.as_ref().and_then(Observed::context).map_or_else(Vec::new, log::trace_fields);
        if let Some(seen) = &entry.seen {
            let status = entry.status.unwrap_or(instead);
            fields.push(seen.field(entry.connection.client(), Some(status), took));
        }
        (text.trim_matches('"').to_owned(), fields)
    }

    /// The application failed: a line, and a count as exception. Not where the request's body was refused: that is told, and what
    /// the application makes of it is no fault of its own.
    #[cold]
    fn failed(&mut self, place: &str, why: &Failure) {
        self.troubled(why.trouble);
        if why.panic.is_none() && self.0.connection.body_fault().is_some() {
            return;
        }
        let entry = &*self.0;
        let took = Monotonic::now().since(entry.started);
        let (text, mut fields) = self.described(StatusCode::INTERNAL_SERVER_ERROR, took); // what is answered instead
        let (mut stack, words) = (String::new(), &why.words);
        if let Some(panic) = &why.panic {
            fields.extend(panic.fields());
            stack = panic.stack();
        }
        let shared = &entry.connection.shared;
        log::exception(shared, format_args!("Error handling request {text}: {place}{words}{stack}"), &fields);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let entry = &mut *self.0;
        let writer = &entry.connection.shared.writer;
        let observed = entry.observed.take().zip(entry.connection.shared.telemetry());
        let Some(status) = entry.status else {
            if let Some((observed, telemetry)) = observed {
                telemetry.observer.end(observed, None, Monotonic::now().since(entry.started));
            }
            // The connection is gone too: it has no phase any more.
            return writer.request_aborted();
        };
        let now = Monotonic::now();
        // Before the count: whoever sees the request counted finds its span on its way.
        if let Some((observed, telemetry)) = observed {
            telemetry.observer.end(observed, Some(status), now.since(entry.started));
        }
        writer.request_finished(status.as_u16(), now.since(entry.started), entry.bytes);
        entry.connection.shared.request_answered();
        entry.connection.enter(if entry.upgraded { Phase::Upgraded } else { Phase::Idle }, Some(now));
        entry.connection.quiet_now();
    }
}

pin_project! {
    /// The handler of one request, from tower's `poll_ready` to the response's head.
    pub(crate) struct Handling<S>
    where
        S: Service<Request<Incoming>>,
    {
        ticket: Option<Ticket>,
        #[pin]
        step: Step<S, S::Future>,
    }
}

pin_project! {
    #[project = StepNow]
    enum Step<S, F> {
        /// tower wants `poll_ready` first; this clone of the service is used for this one call.
        Waiting { call: Option<(S, Request<Incoming>)> },
        Running { #[pin] future: F },
        /// The service does not want to, or panicked.
        Failed { why: Option<Failure> },
    }
}

/// Why there is no response, or no more of it.
struct Failure {
    trouble: Trouble,
    words: String,
    panic: Option<Box<Panic>>,
}

impl From<Box<Panic>> for Failure {
    fn from(panic: Box<Panic>) -> Self {
        Self { trouble: Trouble::Panic, words: panic.words(), panic: Some(panic) }
    }
}

impl Failure {
    /// The application's own error.
    fn error(trouble: Trouble, error: impl Into<BoxError>) -> Self {
        Self { trouble, words: chain(&*error.into()), panic: None }
    }

    fn refused(error: impl Into<BoxError>) -> Self {
        Self::error(Trouble::Application, error)
    }
}

impl<S> Step<S, S::Future>
where
    S: Service<Request<Incoming>>,
    S::Error: Into<BoxError>,
{
    /// Hands the request over at once if the service is ready, as nearly all are. A handler that then lets go of it early gives
    /// hyper its read buffer back before hyper looks whether the client is still there, which saves a new one per request.
    fn begin(mut service: S, request: Request<Incoming>) -> Self {
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Self::Running { future: service.call(request) },
            Poll::Ready(Err(error)) => Self::Failed { why: Some(Failure::refused(error)) },
            // It is asked again at once, by someone who can be woken.
            Poll::Pending => Self::Waiting { call: Some((service, request)) },
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Response, Failure>> {
        if let StepNow::Waiting { call } = self.as_mut().project() {
            let (service, _) = call.as_mut().expect("a handler is not polled again after it panicked");
            ready!(service.poll_ready(cx)).map_err(Failure::refused)?;
            let (mut service, request) = call.take().expect("checked above");
            let future = service.call(request);
            self.set(Self::Running { future });
        }
        match self.project() {
            StepNow::Running { future } => future.poll(cx).map_err(Failure::refused),
            StepNow::Failed { why } => {
                Poll::Ready(Err(why.take().expect("a handler is not polled again after it failed")))
            }
            StepNow::Waiting { .. } => unreachable!("set to Running above"),
        }
    }
}

impl<S, B> Future for Handling<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Output = Result<Response<CountedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let ticket = this.ticket.as_mut().expect("a future is not polled again after it is ready");
        let since = ticket.poll_begins();
        if ticket.0.connection.out_of_time() {
            ticket.timed_out();
            let mut ticket = this.ticket.take().expect("checked above");
            let shown = ticket.show(since);
            // Unwind safe: what is left of the handler after a panic is dropped and not used.
            let dropped = contained(|| this.step.set(Step::Failed { why: None }));
            drop(shown);
            if let Err(panic) = dropped {
                ticket.failed("", &panic.into());
            }
            let mut response = failure(StatusCode::GATEWAY_TIMEOUT);
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
            Err(panic) => Err(panic.into()),
        };
        let mut ticket = this.ticket.take().expect("checked above");
        ticket.0.stretch = Some(since); // hyper polls the body next, without a pause
        let mut response = match outcome {
            Ok(response) => response.map(Some),
            Err(why) => {
                ticket.failed("", &why);
                failure(StatusCode::INTERNAL_SERVER_ERROR)
            }
        };
        ticket.answered(&mut response);
        let left = ticket.0.observed.as_ref().and_then(|_| if ticket.0.bodiless { Some(0) } else { length(&response) });
        Poll::Ready(Ok(response.map(|body| CountedBody::new(ticket, body, left))))
    }
}

/// What a client gets where the application has no answer. The connection ends with it: what is left of the request's body
/// may be anything.
#[cold]
fn failure<B>(status: StatusCode) -> Response<Option<B>> {
    let mut response = Response::new(None);
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
