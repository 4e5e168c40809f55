//! `custom-metrics-example`: a program that serves nothing and sends a metric of its own, as a job or a consumer of a queue
//! beside the web server would.

use std::future::poll_fn;
use std::io;
use std::process::ExitCode;
use std::task::Poll;
use std::time::Duration;

use opentelemetry::metrics::BoundCounter;
use rustcorn_config::Settings;
use rustcorn_sys::log::{self, Level, line};
use rustcorn_worker::Companion;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

const METRIC: &str = "custom_metric_example";
const EVERY: Duration = Duration::from_secs(5);

/// The whole program: adds 1 to a counter every five seconds, says so, and sends it by OTLP; on TERM or INT it sends the last
/// sum and ends. Settings come from the environment, as those of the server do: `OTEL_*` and `RUSTCORN_*`.
#[must_use]
pub fn custom_metrics_example() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            line(Level::Critical, format_args!("{reason}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    // First of all: as process 1 of a container there are no default actions.
    let mut stop =
        runtime.block_on(async { Stop::listen() }).map_err(|error| format!("cannot hear signals: {error}"))?;
    let settings = Settings::from_environment(std::env::vars_os()).map_err(|problems| problems.to_string())?;
    log::set_format(settings.log_format);
    log::set_level(settings.loglevel);
    let companion = Companion::start(&settings)?;
    let counter = companion.as_ref().map(|companion| {
        let meter = companion.meter("custom-metrics-example");
        let counter = meter.u64_counter(METRIC).with_unit("{tick}").with_description("One more every five seconds.");
        counter.build().bind(&super::labels())
    });
    if companion.is_none() {
        line(Level::Warning, format_args!("Nothing is sent: set OTEL_EXPORTER_OTLP_ENDPOINT to a collector's address"));
    }
    let name = runtime.block_on(count(counter, &mut stop));
    line(Level::Info, format_args!("Handling signal: {name}"));
    if let Some(companion) = companion {
        companion.finish(settings.otlp_flush_timeout);
    }
    Ok(())
}

/// Counts until a signal comes, and returns its name.
async fn count(counter: Option<BoundCounter<u64>>, stop: &mut Stop) -> &'static str {
    let mut sum: u64 = 0;
    loop {
        sum += 1;
        if let Some(counter) = &counter {
            counter.add(1);
        }
        line(Level::Info, format_args!("{METRIC} is {sum}"));
        if let Ok(name) = timeout(EVERY, stop.asked()).await {
            return name;
        }
    }
}

struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) -> &'static str {
        poll_fn(|cx| match (self.term.poll_recv(cx), self.int.poll_recv(cx)) {
            (Poll::Ready(_), _) => Poll::Ready("term"),
            (_, Poll::Ready(_)) => Poll::Ready("int"),
            _ => Poll::Pending,
        })
        .await
    }
}
