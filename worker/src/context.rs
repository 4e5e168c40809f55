//! What an application is given when it is built.

use std::sync::Arc;

use opentelemetry::metrics::Meter;
use opentelemetry_sdk::trace::SdkTracer;
use rustcorn_config::{App, Problems};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::shared::Shared;
use crate::telemetry;

/// The application's view of the worker that it runs in.
#[derive(Clone)]
pub struct Context {
    pub(crate) slot: usize,
    pub(crate) generation: u32,
    pub(crate) app: App,
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { slot, generation, .. } = self;
        f.debug_struct("Context").field("slot", slot).field("generation", generation).finish_non_exhaustive()
    }
}

impl Context {
    /// The application's own keys (`[app]` in the configuration file without `handler` and `command`) as `T`.
    ///
    /// # Errors
    /// Every key that is unknown (to a type with `deny_unknown_fields`), missing or wrong, each with file, line and key. Return
    /// it from the closure given to `run`, and the server refuses to start (or to reload) with this reason.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        self.app.read()
    }

    /// The whole `[app]` table, `handler` or `command` included.
    #[must_use]
    pub const fn app_table(&self) -> &toml::Table {
        self.app.table()
    }

    /// The `[app]` table with the place it stands in: for an application that words problems with its keys itself.
    #[must_use]
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// The seat of this worker: 0 up to the number of workers, reused by its successor.
    #[must_use]
    pub const fn slot(&self) -> usize {
        self.slot
    }

    /// Which configuration and binary this is; goes up with every reload.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// A tracer for spans of the application. Those started while a request is polled are children of its span, and follow
    /// its sampling decision. Without a collector to send to it makes none.
    #[must_use]
    pub fn tracer(&self) -> SdkTracer {
        telemetry::tracer(&self.shared)
    }

    /// A meter for metrics of the application, sent with the server's own. Without a collector to send to it counts nothing.
    #[must_use]
    pub fn meter(&self) -> Meter {
        telemetry::meter(&self.shared)
    }

    /// Ready as soon as the worker begins to drain: the moment to end long polls and event streams, which would otherwise be
    /// cut at `graceful_timeout`.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut draining = self.draining.clone();
        async move {
            // An error means that the worker is gone, which is as good as a drain.
            let _ = draining.wait_for(|draining| *draining).await;
        }
    }
}
