//! Spans and metrics of a worker, as OpenTelemetry has them, sent by OTLP. Off, and without any cost, unless there is a
//! collector to send to.
//!
//! | module | what it is |
//! |---|---|
//! | `options` | what settings and environment ask for |
//! | `resource`, `gcp` | who the worker is |
//! | `sampling` | which requests get spans |
//! | `request`, `facts`, `text`, `route` | one request observed, and what is said about it |
//! | `instruments` | the metrics of requests |
//! | `queue` | ended spans, and the books of those that were lost |
//! | `export`, `client`, `wire`, `tls`, `grpc` | from there to the collector |
//! | `patience`, `report` | how long that may take; what is said when it fails |
//! | `companion` | metrics of a program that is no worker, from the same parts |
//!
//! Nothing here runs on the threads that serve but the observation of requests. Providers are built in the worker, before
//! the application, and never in the master: their threads would not survive a fork.

mod client;
mod companion;
mod export;
mod facts;
mod gcp;
#[cfg(feature = "otlp-grpc")]
mod grpc;
mod instruments;
mod options;
mod patience;
mod queue;
mod report;
mod request;
mod resource;
mod route;
mod sampling;
mod text;
mod tls;
mod wire;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use rustcorn_config::Settings;
use rustcorn_sys::log::{Level, line};

pub use companion::Companion;
pub(crate) use facts::Trouble;
pub(crate) use request::{Observed, Observer};
pub use route::Route;
pub(crate) use text::{redacted, reveals};

use export::{Metrics, Spans};
use facts::Methods;
use instruments::Instruments;
use options::{Env, Options};
use patience::Patience;
use queue::SpanQueue;

use crate::log;
use crate::shared::Shared;

/// In a quick stop, requests are dropped, and telemetry has no more time than this.
pub(crate) const QUICK_FLUSH: Duration = Duration::from_secs(1);

/// What a worker's telemetry consists of.
pub(crate) struct Telemetry {
    pub(crate) observer: Observer,
    traces: Option<(SdkTracerProvider, SpanQueue)>,
    metrics: Option<SdkMeterProvider>,
    patience: Arc<Patience>,
    /// Name of the application's own scope.
    service: String,
    propagators: options::Propagators,
}

impl Telemetry {
    /// Builds what the settings and the environment of this process ask for, if anything.
    ///
    /// # Errors
    /// One sentence: the settings ask for what this program cannot do.
    pub(crate) fn start(settings: &Settings, slot: usize, shared: &Arc<Shared>) -> Result<Option<Self>, String> {
        let env = Env(&|name| std::env::var(name).ok());
        let Some(options) = Options::resolve(settings, &env)? else { return Ok(None) };
        if slot == 0 {
            // Once is enough: the others have the same.
            options.complaints.iter().for_each(|complaint| line(Level::Warning, format_args!("OTLP: {complaint}")));
        }
        let detected = if settings.resource_detection == "gcp" { gcp::detect(&env) } else { Vec::new() };
        let resource = resource::resource(settings, &env, &resource::Process::worker(slot), detected);
        log::traces_are_in(resource::project(&resource));
        Self::build(&options, &resource, shared).map(Some)
    }

    fn build(options: &Options, resource: &Resource, shared: &Arc<Shared>) -> Result<Self, String> {
        let patience = Arc::new(Patience::default());
        let cannot = |error: std::io::Error| format!("cannot start a thread for telemetry: {error}");
        let traces = match &options.traces {
            None => None,
            Some(target) => {
                let spans = Spans::to(target, resource, &patience)?;
                let queue = SpanQueue::start(options.queue, Arc::clone(shared), spans).map_err(cannot)?;
                let provider = SdkTracerProvider::builder()
                    .with_resource(resource.clone())
                    .with_sampler(options.sampling.for_sdk())
                    .with_id_generator(sampling::Ids::default())
                    .with_span_processor(queue.clone());
                Some((provider.build(), queue))
            }
        };
        let metrics = meter_provider(options, resource, &patience)?;
        let instruments = metrics.as_ref().map(|provider| {
            Instruments::new(
                &provider.meter_with_scope(scope()),
                &Methods::new(options.methods.as_deref()),
                options.scheme,
            )
        });
        let service = resource.get(&"service.name".into()).map(|name| name.as_str().into_owned());
        Ok(Self {
            observer: Observer::new(options, traces.as_ref().map(|(provider, _)| provider), instruments),
            traces,
            metrics,
            patience,
            service: service.unwrap_or_default(),
            propagators: options.propagators,
        })
    }

    /// Lets code that knows nothing of us find it: OpenTelemetry's globals are this worker's.
    pub(crate) fn publish(&self) {
        if let Some((provider, _)) = &self.traces {
            global::set_tracer_provider(provider.clone());
        }
        if let Some(provider) = &self.metrics {
            global::set_meter_provider(provider.clone());
        }
        let mut all: Vec<Box<dyn opentelemetry::propagation::TextMapPropagator + Send + Sync>> = Vec::new();
        if self.propagators.trace_context {
            all.push(Box::new(TraceContextPropagator::new()));
        }
        if self.propagators.baggage {
            all.push(Box::new(BaggagePropagator::new()));
        }
        global::set_text_map_propagator(TextMapCompositePropagator::new(all));
    }

    /// Sends what there is, both signals at the same time, and comes back after `limit` at the latest. What could not be
    /// sent is then counted as lost. To be called once nothing is served any more.
    pub(crate) fn finish(&self, limit: Duration) {
        let end = Instant::now() + limit;
        self.patience.end_at(end);
        let metrics_done = self.metrics.clone().map(shut_down);
        if let Some((_, queue)) = &self.traces {
            queue.finish(end);
        }
        wait_for(metrics_done, end);
    }
}

/// Metrics to where the options say, if anywhere.
fn meter_provider(
    options: &Options,
    resource: &Resource,
    patience: &Arc<Patience>,
) -> Result<Option<SdkMeterProvider>, String> {
    let Some(target) = &options.metrics else { return Ok(None) };
    let exporter = Metrics::to(target, options.temporality, patience)?;
    let reader = PeriodicReader::builder(exporter).with_interval(options.metric_interval).build();
    Ok(Some(SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader).build()))
}

/// Sends the last sums, on a thread of its own: it waits for five seconds, whatever it is told. Something comes when it is done.
fn shut_down(provider: SdkMeterProvider) -> Receiver<()> {
    let (done, is_done) = channel();
    let flush = move || {
        drop(provider.shutdown()); // what failed, the exporter has said
        let _ = done.send(()); // nobody waits any more
    };
    drop(std::thread::Builder::new().name("otlp-flush".to_owned()).spawn(flush)); // no thread: no metrics
    is_done
}

/// Done, out of time, or no thread: it is over in any case.
fn wait_for(done: Option<Receiver<()>>, end: Instant) {
    let _ = done.map(|done| done.recv_timeout(end.saturating_duration_since(Instant::now())));
}

/// Whose spans and metrics these are: the server's own.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("rustcorn")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(resource::SCHEMA)
        .build()
}

/// The application's tracer.
pub(crate) fn tracer(shared: &Shared) -> SdkTracer {
    let telemetry = shared.telemetry();
    match telemetry.and_then(|telemetry| telemetry.traces.as_ref().map(|(provider, _)| (provider, telemetry))) {
        Some((provider, telemetry)) => provider.tracer(telemetry.service.clone()),
        None => SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build().tracer("off"),
    }
}

/// The application's meter.
pub(crate) fn meter(shared: &Shared) -> Meter {
    let telemetry = shared.telemetry();
    match telemetry.and_then(|telemetry| telemetry.metrics.as_ref().map(|provider| (provider, telemetry))) {
        Some((provider, telemetry)) => {
            provider.meter_with_scope(InstrumentationScope::builder(telemetry.service.clone()).build())
        }
        None => global::meter("off"),
    }
}

#[cfg(test)]
mod tests;
