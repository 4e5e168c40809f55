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
mod handling;

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use rustcorn_scoreboard::{PolledText, Polling};
use rustcorn_sys::Monotonic;
use rustcorn_sys::log::{Field, Format, format};
use tower_service::Service;

pub(crate) use body::CountedBody;
pub(crate) use handling::{Handling, Overdue};

use handling::{End, Failure, Step, failure};

use crate::access::Line;
use crate::body::{Body as RequestBody, Exchange};
use crate::guard::{Marks, Reason};
use crate::log::{self, Seen};
use crate::panics::contained;
use crate::registry::Connection;
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
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<CountedBody<B>>;
    type Error = Infallible;
    type Future = Handling<S>;

    fn call(&self, request: Request<Incoming>) -> Handling<S> {
        self.admit(request.map(RequestBody::plain), self.connection.marks(), None)
    }
}

impl<S, B> Counted<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Hands a request over to the application. `marks`: what its head says about its sender; `exchange`: of one with a body of
    /// HTTP/2.
    #[inline(always)] // as Ticket::open
    pub(crate) fn admit(
        &self,
        mut request: Request<RequestBody>,
        marks: Marks,
        exchange: Option<Arc<Exchange>>,
    ) -> Handling<S> {
        self.extend(&mut request, marks);
        let mut ticket = Ticket::open(&self.connection, &request);
        if exchange.is_some() {
            ticket.0.exchange = exchange; // never with HTTP/1, where this is nothing
        }
        let service = self.service.clone();
        let shown = ticket.show(ticket.0.started);
        let attached = ticket.attach();
        // Requests and handlers are large: by reference they are moved less often.
        let (mut call, mut step) = (Some((service, request)), None);
        let begun = contained(|| step = call.take().map(|(service, request)| Step::begin(service, request))); // as in Handling
        drop((attached, shown));
        ticket.polled();
        if self.connection.http2.get().is_some() {
            ticket.0.stretch = None; // polled next in a task of its own, whenever that is
        }
        let step = match begun {
            Ok(()) => step.expect("begun above"),
            Err(panic) => Step::over(End::Failed(panic.into())),
        };
        Handling { ticket: Some(ticket), step }
    }

    /// Answers a request that is not let through to the application.
    #[cold]
    pub(crate) fn refuse<T>(&self, mut request: Request<T>, reason: Reason) -> Handling<S> {
        self.extend(&mut request, Marks::default());
        let mut ticket = Ticket::open(&self.connection, &request);
        ticket.0.stretch = None; // as above
        Handling { ticket: Some(ticket), step: Step::over(End::Refused(reason)) }
    }

    /// Puts into the request what is known of who sent it.
    #[inline(always)] // as Ticket::open
    fn extend<T>(&self, request: &mut Request<T>, marks: Marks) {
        let client = self.connection.sender(marks, request.headers());
        request.extensions_mut().insert(client);
        if let Some(tls) = self.connection.tls.get() {
            request.extensions_mut().insert(tls.clone());
        }
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
    /// Its line in the access log, as far as it is known. `None` while that is off.
    access: Option<Line>,
    /// Of a request with a body of HTTP/2.
    exchange: Option<Arc<Exchange>>,
}

impl Ticket {
    #[inline(always)] // it has a caller in HTTP/1 and one in HTTP/2, and is as fast as with one
    fn open<T>(connection: &Arc<Connection>, request: &Request<T>) -> Self {
        let started = Monotonic::now();
        connection.request_begins(started);
        connection.shared.writer.request_started();
        let telemetry = connection.shared.telemetry();
        let observed = telemetry.map(|telemetry| telemetry.observer.begin(request, connection.peer.as_ref()));
        let access = connection.shared.access().map(|log| log.begin(request, connection, observed.as_ref()));
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
            access,
            exchange: None,
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
        let refused = match &self.0.exchange {
            None => self.0.connection.body_fault(),
            Some(exchange) => exchange.answered(),
        };
        if let Some(reason) = refused {
            *response = failure(reason.status(), self.0.exchange.is_none()); // whatever the application made of it
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
        if let Some((line, log)) = entry.access.as_mut().zip(entry.connection.shared.access()) {
            log.answered(line, response.headers());
        }
        if entry.connection.says_close() && !entry.upgraded {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// What the client is answered where the application does not; tells why.
    #[cold]
    fn instead<B>(&mut self, end: End) -> Response<Option<B>> {
        let status = match end {
            End::Failed(why) => {
                self.failed("", &why);
                StatusCode::INTERNAL_SERVER_ERROR
            }
            End::Overdue => {
                self.timed_out();
                StatusCode::GATEWAY_TIMEOUT
            }
            End::Refused(reason) => {
                self.refused(reason);
                reason.status()
            }
        };
        failure(status, self.0.connection.http2.get().is_none())
    }

    /// The request was not let through to the application: a count, and a line.
    fn refused(&self, reason: Reason) {
        let connection = &self.0.connection;
        connection.shared.writer.request_refused(reason.class());
        let (_, fields) = self.described(reason.status(), Monotonic::now().since(self.0.started));
        log::invalid(reason, connection.client(), &fields);
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
        let of_exchange = |exchange: &Arc<Exchange>| exchange.fault();
        let refused = self.0.connection.body_fault().or_else(|| self.0.exchange.as_ref().and_then(of_exchange));
        if why.panic.is_none() && refused.is_some() {
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
            if entry.access.is_some() {
                entry.log_access(Monotonic::now());
            }
            writer.request_aborted();
            return entry.connection.request_aborted();
        };
        let now = Monotonic::now();
        // Before the count: whoever sees the request counted finds its span on its way.
        if let Some((observed, telemetry)) = observed {
            telemetry.observer.end(observed, Some(status), now.since(entry.started));
        }
        entry.log_access(now);
        writer.request_finished(status.as_u16(), now.since(entry.started), entry.bytes);
        entry.connection.shared.request_answered();
        entry.connection.request_ends(entry.upgraded, now);
        entry.connection.quiet_now();
    }
}

impl Entry {
    /// Before the count, as the span.
    #[inline]
    fn log_access(&self, now: Monotonic) {
        let shared = &self.connection.shared;
        if let Some((line, log)) = self.access.as_ref().zip(shared.access()) {
            log.end(line, self.status, self.bytes, self.started, now, shared);
        }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
