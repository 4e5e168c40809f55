//! What this worker adds to its log lines: they are counted on its scoreboard, as gunicorn counts them, and those about a
//! request say which, and in which trace.

mod request;

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use rustcorn_sys::log::{self, Field, Format, Level, Record};

pub(crate) use request::Seen;

use crate::guard::Reason;
use crate::registry::Peer;
use crate::shared::Shared;

static COUNTED_BY: OnceLock<Arc<Shared>> = OnceLock::new();
static PROJECT: OnceLock<String> = OnceLock::new();

thread_local! {
    /// The line being written is an exception's: it is counted as that and not as error, as in gunicorn.
    static EXCEPTION: Cell<bool> = const { Cell::new(false) };
}

/// Counts every line of warning and above from now on. A process is one worker, so the first call is the one that counts.
pub(crate) fn count_on(shared: &Arc<Shared>) {
    if COUNTED_BY.set(Arc::clone(shared)).is_ok() {
        log::count_with(count);
    }
}

fn count(level: Level) {
    if !EXCEPTION.get()
        && let Some(shared) = COUNTED_BY.get()
    {
        shared.writer.logged(level);
    }
}

/// An error line about a failure of the application.
pub(crate) fn exception(shared: &Shared, message: fmt::Arguments<'_>, fields: &[Field]) {
    shared.writer.logged_exception();
    EXCEPTION.set(true);
    Record { level: Level::Error, message: &message, origin: None, fields }.say();
    EXCEPTION.set(false);
}

/// A line of warning.
pub(crate) fn warning(message: fmt::Arguments<'_>, fields: &[Field]) {
    Record { level: Level::Warning, message: &message, origin: None, fields }.say();
}

/// A line about a request that was refused with `answer`; `span`: its own, if it has one.
pub(crate) fn refused(reason: Reason, client: Option<&Peer>, answer: Option<StatusCode>, span: Option<&SpanContext>) {
    let mut fields = span.map_or_else(Vec::new, span_fields);
    fields.extend(request::sender(client, answer));
    invalid(reason, client, &fields);
}

/// As gunicorn words it.
#[cold]
pub(crate) fn invalid(reason: Reason, client: Option<&Peer>, fields: &[Field]) {
    let address = client.map_or_else(|| "unix".into(), Peer::address);
    warning(format_args!("Invalid request from ip={address}: {reason}"), fields);
}

/// A line about a connection that ended in the middle of something; `span`, `status`: of what was answered to a head that is
/// none.
pub(crate) fn connection_ended(why: &str, span: Option<&SpanContext>, peer: Option<&Peer>, status: Option<StatusCode>) {
    if log::level() > Level::Debug {
        return;
    }
    let mut fields = span.map_or_else(Vec::new, span_fields);
    fields.extend(request::sender(peer, status));
    let message = format_args!("Connection ended: {why}");
    Record { level: Level::Debug, message: &message, origin: None, fields: &fields }.say();
}

/// A line about a request of HTTP/2 that was ended in the middle of its response.
pub(crate) fn stream_ended(why: &str, peer: Option<&Peer>) {
    if log::level() <= Level::Debug {
        let fields: Vec<Field> = request::sender(peer, None).into_iter().collect();
        Record { level: Level::Debug, message: &format_args!("Stream ended: {why}"), origin: None, fields: &fields }
            .say();
    }
}

/// The Google Cloud project that traces are in. Asked once a process.
pub(crate) fn traces_are_in(project: Option<String>) {
    if let Some(project) = project.filter(|project| !project.is_empty()) {
        let _ = PROJECT.set(project); // the first is as good as any
    }
}

/// That project.
pub(crate) fn project() -> Option<&'static str> {
    PROJECT.get().map(String::as_str)
}

/// Which trace and span a line belongs to, by the names that Google Cloud Logging reads.
pub(crate) fn trace_fields(context: &Context) -> Vec<Field> {
    if context.has_active_span() { span_fields(context.span().span_context()) } else { Vec::new() }
}

fn span_fields(span: &SpanContext) -> Vec<Field> {
    // Text has no place for them.
    if log::format() == Format::Json { fields_in(project(), span) } else { Vec::new() }
}

fn fields_in(project: Option<&str>, span: &SpanContext) -> Vec<Field> {
    if !span.is_valid() {
        return Vec::new();
    }
    let trace = span.trace_id().to_string();
    let trace = project.map(|project| format!("projects/{project}/traces/{trace}")).unwrap_or(trace);
    vec![
        ("logging.googleapis.com/trace".into(), trace.into()),
        ("logging.googleapis.com/spanId".into(), span.span_id().to_string().into()),
        ("logging.googleapis.com/trace_sampled".into(), span.is_sampled().into()),
    ]
}

#[cfg(test)]
mod tests;
