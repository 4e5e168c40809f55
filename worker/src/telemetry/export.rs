//! From a target to the SDK's exporters, over HTTP or gRPC.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use opentelemetry_otlp::{MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::client::Client;
#[cfg(feature = "otlp-grpc")]
use super::grpc;
use super::options::{Protocol, Target};
use super::patience::Patience;
use super::queue::Deliver;
use super::report::Report;

/// What an export is run with.
pub(crate) enum Transport {
    /// The client blocks, so any thread will do.
    Http(Client),
    /// The connection lives on a runtime of its own: on the worker's, a flush at the end would wait for itself.
    #[cfg(feature = "otlp-grpc")]
    Grpc(grpc::Runtime),
}

impl Transport {
    fn run<T>(&self, export: impl Future<Output = T>) -> T {
        match self {
            Self::Http(_) => block_on(export),
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc(runtime) => runtime.run(export),
        }
    }

    /// Why an export failed, as well as we know.
    fn failure(&self, error: &OTelSdkError) -> String {
        match self {
            Self::Http(client) => Some(client.failure()).filter(|why| !why.is_empty()),
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc(_) => None,
        }
        .unwrap_or_else(|| error.to_string())
    }

    fn rejected(&self) -> u64 {
        match self {
            Self::Http(client) => client.rejected(),
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc(_) => 0,
        }
    }
}

/// Spans to their collector.
pub(crate) struct Spans {
    transport: Transport,
    exporter: SpanExporter,
}

impl Spans {
    pub(crate) fn to(target: &Target, resource: &Resource, patience: &Arc<Patience>) -> Result<Self, String> {
        let (transport, mut exporter) = match target.protocol {
            Protocol::Http => {
                let client = Client::new(target.clone(), Arc::clone(patience))?;
                let exporter = SpanExporter::builder()
                    .with_http()
                    .with_http_client(client.clone())
                    .with_endpoint(target.endpoint.to_string())
                    .with_retry_policy(RetryPolicy::disabled()); // the client repeats, and can be told to stop
                (Transport::Http(client), exporter.build().map_err(|error| error.to_string())?)
            }
            #[cfg(feature = "otlp-grpc")]
            Protocol::Grpc => {
                let runtime = grpc::Runtime::start()?;
                let exporter = grpc::spans(&runtime, target)?;
                (Transport::Grpc(runtime), exporter)
            }
            #[cfg(not(feature = "otlp-grpc"))]
            Protocol::Grpc => return Err("built without the feature otlp-grpc".to_owned()),
        };
        exporter.set_resource(resource);
        Ok(Self { transport, exporter })
    }
}

impl Deliver for Spans {
    fn deliver(&mut self, batch: Vec<SpanData>) -> Result<u64, String> {
        match self.transport.run(self.exporter.export(batch)) {
            Ok(()) => Ok(self.transport.rejected()),
            Err(error) => Err(self.transport.failure(&error)),
        }
    }
}

/// Metrics to their collector. Failures are said; nothing is lost by them, as the next export has all sums again.
pub(crate) struct Metrics {
    transport: Transport,
    exporter: MetricExporter,
    report: Report,
}

impl Metrics {
    pub(crate) fn to(target: &Target, temporality: Temporality, patience: &Arc<Patience>) -> Result<Self, String> {
        let (transport, exporter) = match target.protocol {
            Protocol::Http => {
                let client = Client::new(target.clone(), Arc::clone(patience))?;
                let exporter = MetricExporter::builder()
                    .with_temporality(temporality)
                    .with_http()
                    .with_http_client(client.clone())
                    .with_endpoint(target.endpoint.to_string())
                    .with_retry_policy(RetryPolicy::disabled());
                (Transport::Http(client), exporter.build().map_err(|error| error.to_string())?)
            }
            #[cfg(feature = "otlp-grpc")]
            Protocol::Grpc => {
                let runtime = grpc::Runtime::start()?;
                let exporter = grpc::metrics(&runtime, target, temporality)?;
                (Transport::Grpc(runtime), exporter)
            }
            #[cfg(not(feature = "otlp-grpc"))]
            Protocol::Grpc => return Err("built without the feature otlp-grpc".to_owned()),
        };
        Ok(Self { transport, exporter, report: Report::new("exports of metrics") })
    }
}

impl PushMetricExporter for Metrics {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        // Done here and now, on the reader's own thread.
        let result = self.transport.run(self.exporter.export(metrics));
        if let Err(error) = &result {
            self.report.note(1, &self.transport.failure(error), 0);
            self.report.say_if_due();
        }
        std::future::ready(result)
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.report.close();
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// Runs a future on this thread, which sleeps while it waits.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}
