//! What the application says through `tracing` or `log`, in the worker's own stream: one line an event, in the format of the
//! others, counted like the others, never waited for, and with the trace of the request it is about.

use std::error::Error;
use std::fmt;

use opentelemetry::Context as Telemetry;
use rustcorn_sys::log::{self, Format, Level as Severity, Map, Origin, Record, Value, line, source_location};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher, span};
use tracing_log::{AsLog, LogTracer, NormalizeEvent};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::count::chain;
use crate::log::trace_fields;

/// A layer that puts events of `tracing` into the server's log, for an application with a subscriber of its own. Workers whose
/// application sets none have one with this layer.
///
/// Which events: those that the variable `RUST_LOG` selects (`info,my_service::db=debug`), or else those that the setting
/// `loglevel` does, where `debug` does not include `TRACE`. An event that nobody wants costs the macro's own check.
///
/// ```no_run
/// # use rustcorn_worker as rustcorn;
/// use tracing_subscriber::layer::SubscriberExt;
/// use tracing_subscriber::util::SubscriberInitExt;
///
/// # fn another_layer() -> tracing_subscriber::layer::Identity { tracing_subscriber::layer::Identity::new() }
/// // In the closure given to `rustcorn::run`.
/// tracing_subscriber::registry().with(rustcorn::tracing_layer()).with(another_layer()).init();
/// ```
pub fn tracing_layer<S>() -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let wanted = Wanted::read(&variable()).unwrap_or_default(); // the worker has complained
    // Who set RUST_LOG has decided.
    let write: Write = if wanted.0.is_some() { |record| record.say_at_any_level() } else { |record| record.say() };
    Events(write).with_filter(wanted)
}

const VARIABLE: &str = "RUST_LOG";

fn variable() -> String {
    std::env::var(VARIABLE).unwrap_or_default()
}

/// Which events are lines. `None`: `loglevel` says.
#[derive(Default)]
struct Wanted(Option<Targets>);

impl Wanted {
    fn read(directives: &str) -> Result<Self, String> {
        if directives.trim().is_empty() {
            return Ok(Self(None));
        }
        directives.parse().map(|targets| Self(Some(targets))).map_err(|error: tracing_subscriber::filter::ParseError| {
            format!("{VARIABLE}={directives:?} is not understood and ignored: {error}; use TARGET=LEVEL pairs with commas")
        })
    }
}

/// What `loglevel` lets pass. Warnings are counted whether or not they are written, as the server's own.
fn least(loglevel: Severity) -> LevelFilter {
    match loglevel {
        Severity::Debug => LevelFilter::DEBUG,
        Severity::Info => LevelFilter::INFO,
        Severity::Warning | Severity::Error | Severity::Critical => LevelFilter::WARN,
    }
}

/// What `loglevel` alone lets pass. The library that frames HTTP/2 tells of each frame: whoever looks for a fault of the application
/// would drown in it, and whoever wants it has `RUST_LOG`.
fn passes(target: &str, level: Level, loglevel: Severity) -> bool {
    let frames = target.starts_with("h2::") && level > Level::INFO;
    !frames && level <= least(loglevel)
}

impl<S> Filter<S> for Wanted {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        match &self.0 {
            Some(targets) => Filter::enabled(targets, metadata, context),
            None => passes(metadata.target(), *metadata.level(), log::level()),
        }
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match &self.0 {
            Some(targets) => Filter::<S>::callsite_enabled(targets, metadata),
            None if passes(metadata.target(), *metadata.level(), log::level()) => Interest::always(),
            None => Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        match &self.0 {
            Some(targets) => Filter::<S>::max_level_hint(targets),
            None => Some(least(log::level())),
        }
    }
}

/// What becomes of a line.
type Write = fn(&Record<'_>);

/// Makes the lines.
struct Events(Write);

/// Fields of a span, as it was opened and what was recorded since.
struct OfSpan(Collected);

impl<S> Layer<S> for Events
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Collected::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(OfSpan(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(OfSpan(fields)) = span.extensions_mut().get_mut()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let of_log = event.normalized_metadata();
        let metadata = of_log.as_ref().unwrap_or_else(|| event.metadata());
        let mut said = Collected::default();
        event.record(&mut said);
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()).map(|span| {
            let fields = span.extensions().get().map(|OfSpan(fields)| fields.with_message()).unwrap_or_default();
            (span.name(), fields)
        });
        let origin = Origin { target: metadata.target().to_owned(), spans: spans.collect(), fields: said.fields };
        let mut fields = Vec::new();
        if log::format() == Format::Json {
            fields = Telemetry::map_current(trace_fields);
            fields.extend(metadata.file().zip(metadata.line()).map(|(file, line)| source_location(file, line)));
        }
        let level = severity(*metadata.level());
        (self.0)(&Record { level, message: &said.message, origin: Some(&origin), fields: &fields });
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        Level::DEBUG | Level::TRACE => Severity::Debug,
    }
}

/// Values as the application recorded them.
#[derive(Default)]
struct Collected {
    message: String,
    fields: Map<String, Value>,
}

impl Collected {
    /// A span's field of this name is one like any other.
    fn with_message(&self) -> Map<String, Value> {
        let mut fields = self.fields.clone();
        if !self.message.is_empty() {
            fields.insert("message".to_owned(), self.message.as_str().into());
        }
        fields
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        match field.name() {
            // Of records of `log`: they are in the metadata.
            name if name.starts_with("log.") => {}
            name => {
                self.fields.insert(name.to_owned(), value.into());
            }
        }
    }

    fn add_text(&mut self, field: &Field, text: String) {
        if field.name() == "message" { self.message = text } else { self.add(field, text) }
    }
}

impl Visit for Collected {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity and no NaN.
        if value.is_finite() { self.add(field, value) } else { self.add(field, value.to_string()) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add_text(field, chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, format!("{value:?}"));
    }
}

/// The subscriber that a worker has unless its application sets one.
pub(crate) struct Stream(Option<Dispatch>);

impl Stream {
    /// Once the level is known. An application that has set a subscriber in `main` already keeps it. `speaks`: whether this is
    /// the worker that complains for all.
    pub(crate) fn open(speaks: bool) -> Self {
        if let (Err(complaint), true) = (Wanted::read(&variable()), speaks) {
            line(Severity::Warning, format_args!("{complaint}"));
        }
        if dispatcher::has_been_set() {
            tracing::callsite::rebuild_interest_cache(); // what it asked our layer before may be different now
            return Self(None);
        }
        Self(Some(Dispatch::new(tracing_subscriber::registry().with(tracing_layer()))))
    }

    /// For a process that is not a worker's: whoever listens there goes on.
    pub(crate) const fn silent() -> Self {
        Self(None)
    }

    /// While the application is built it may still set one. Until it has, what it says is heard.
    pub(crate) fn hears<T>(&self, code: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(ours) if dispatcher::get_default(Dispatch::is::<NoSubscriber>) => dispatcher::with_default(ours, code),
            _ => code(),
        }
    }

    /// The application is built: from now on all threads are heard, and users of `log` too, if nobody else hears them.
    pub(crate) fn publish(&self) {
        let Some(ours) = self.0.clone() else { return };
        if dispatcher::set_global_default(ours).is_ok() {
            // A logger of the application's own stays.
            let _ = LogTracer::builder().with_max_level(LevelFilter::current().as_log()).init();
        } else {
            tracing::callsite::rebuild_interest_cache(); // nobody asks us any more
        }
    }
}

#[cfg(test)]
mod tests;
