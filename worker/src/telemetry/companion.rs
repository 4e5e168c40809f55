//! Metrics of a program that runs beside the workers without being one: the same variables, the same identity, the same
//! transport, and no scoreboard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use rustcorn_config::Settings;
use rustcorn_sys::log::{Level, line};

use super::options::{Env, Options};
use super::patience::Patience;
use super::{gcp, meter_provider, resource, shut_down, wait_for};

/// Sends metrics until it is told to finish.
pub struct Companion {
    provider: SdkMeterProvider,
    patience: Arc<Patience>,
}

impl Companion {
    /// Starts the sending that settings and environment ask for; `None` if they ask for nothing.
    ///
    /// # Errors
    /// One sentence: they ask for what this program cannot do.
    pub fn start(settings: &Settings) -> Result<Option<Self>, String> {
        let env = Env(&|name| std::env::var(name).ok());
        let Some(options) = Options::resolve(settings, &env)? else { return Ok(None) };
        options.complaints.iter().for_each(|complaint| line(Level::Warning, format_args!("OTLP: {complaint}")));
        let detected = if settings.resource_detection == "gcp" { gcp::detect(&env) } else { Vec::new() };
        let resource = resource::resource(settings, &env, &resource::Process::single(), detected);
        let patience = Arc::new(Patience::default());
        let provider = meter_provider(&options, &resource, &patience)?;
        Ok(provider.map(|provider| Self { provider, patience }))
    }

    /// Makes the instruments of the scope with this name.
    #[must_use]
    pub fn meter(&self, scope: &'static str) -> Meter {
        self.provider.meter_with_scope(InstrumentationScope::builder(scope).build())
    }

    /// Sends the last sums and comes back after `limit` at the latest.
    pub fn finish(self, limit: Duration) {
        let end = Instant::now() + limit;
        self.patience.end_at(end);
        wait_for(Some(shut_down(self.provider)), end);
    }
}

impl std::fmt::Debug for Companion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Companion").finish_non_exhaustive()
    }
}
