//! OTLP over gRPC. Its connection is a task of a tokio runtime; it gets one of its own, on a thread of its own.

use std::future::pending;

use opentelemetry_otlp::{MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::metrics::Temporality;
use tokio::runtime::{Builder, Handle};

use super::options::Target;

/// A runtime that runs on a thread for the rest of the process.
pub(crate) struct Runtime(Handle);

impl Runtime {
    pub(crate) fn start() -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot start a runtime for gRPC: {error}");
        let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let handle = runtime.handle().clone();
        let forever = move || runtime.block_on(pending::<()>());
        std::thread::Builder::new().name("otlp-grpc".to_owned()).spawn(forever).map_err(cannot)?;
        Ok(Self(handle))
    }

    /// Runs `export` on the calling thread, which is not the runtime's; what it waits for happens there.
    pub(crate) fn run<T>(&self, export: impl Future<Output = T>) -> T {
        self.0.block_on(export)
    }
}

/// Retries within the time of one export are the exporter's: it knows which status of gRPC is worth one.
fn retries() -> RetryPolicy {
    RetryPolicy::recommended()
}

pub(crate) fn spans(runtime: &Runtime, target: &Target) -> Result<SpanExporter, String> {
    let _inside = runtime.0.enter(); // the connection is spawned when it is built
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(target.endpoint.to_string())
        .with_timeout(target.timeout)
        .with_retry_policy(retries());
    exporter.build().map_err(|error| error.to_string())
}

pub(crate) fn metrics(runtime: &Runtime, target: &Target, temporality: Temporality) -> Result<MetricExporter, String> {
    let _inside = runtime.0.enter();
    let exporter = MetricExporter::builder()
        .with_temporality(temporality)
        .with_tonic()
        .with_endpoint(target.endpoint.to_string())
        .with_timeout(target.timeout)
        .with_retry_policy(retries());
    exporter.build().map_err(|error| error.to_string())
}
