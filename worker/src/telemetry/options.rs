//! What settings and OpenTelemetry's environment variables together ask for. Pure: no clock, no socket, no global state.
//!
//! The variables that a setting names are resolved by the master, with all other layers. Here are the rest: those that the
//! SDK reads are read again where its reading differs from the specification, or where it would read nothing.

use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;
use rustcorn_config::{Endpoint, Settings};
use rustcorn_sys::log::Format;

use super::sampling::Sampling;

/// The port on which collectors speak gRPC.
const GRPC_PORT: u16 = 4317;

/// Environment variables, by a function so that tests have their own. An empty variable is as good as none, as the
/// specification has it.
pub(crate) struct Env<'a>(pub(crate) &'a dyn Fn(&str) -> Option<String>);

impl Env<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }
}

/// How to speak to a collector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

/// Where one signal goes.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Target {
    /// The whole URL; for gRPC what is before the path.
    pub(crate) endpoint: Endpoint,
    pub(crate) protocol: Protocol,
    /// For one attempt.
    pub(crate) timeout: Duration,
    /// After this long there is no further attempt with one batch.
    pub(crate) patience: Duration,
    /// Certificates to trust instead of the system's; own certificate and key.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
}

/// The queue of spans.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueueOptions {
    /// Spans that may wait; more are dropped.
    pub(crate) room: usize,
    pub(crate) batch: usize,
    /// The longest that a span waits for others to go with.
    pub(crate) delay: Duration,
}

/// Which headers a request's context is taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Propagators {
    pub(crate) trace_context: bool,
    pub(crate) baggage: bool,
}

/// Everything that telemetry depends on.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Options {
    pub(crate) traces: Option<Target>,
    pub(crate) metrics: Option<Target>,
    pub(crate) sampling: Sampling,
    pub(crate) queue: QueueOptions,
    pub(crate) propagators: Propagators,
    pub(crate) metric_interval: Duration,
    pub(crate) temporality: Temporality,
    /// Methods that are not `_OTHER`.
    pub(crate) methods: Option<Vec<String>>,
    /// Longest text of an attribute that a client chooses, in characters.
    pub(crate) longest: usize,
    /// Of requests about which no believed peer says otherwise: a server speaks TLS everywhere or nowhere.
    pub(crate) scheme: &'static str,
    /// Requests are in their callers' traces even where no spans are made: JSON log lines say so.
    pub(crate) follows: bool,
    /// What was ignored, and why: for the log.
    pub(crate) complaints: Vec<String>,
}

impl Options {
    /// `None`: nothing to send, nowhere to send it, or told not to; and no log line that would name a trace.
    ///
    /// # Errors
    /// The settings contradict what this program was built with.
    pub(crate) fn resolve(settings: &Settings, env: &Env<'_>) -> Result<Option<Self>, String> {
        if env.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let mut read = Reader { env, complaints: Vec::new() };
        let traces = read.target(settings, Signal::Traces)?;
        let metrics = read.target(settings, Signal::Metrics)?;
        let follows = settings.log_format == Format::Json;
        let sends = traces.is_some() || metrics.is_some();
        if !sends && !follows {
            return Ok(None);
        }
        let room = read.number("OTEL_BSP_MAX_QUEUE_SIZE", 8192).max(1);
        let batch = read.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512).max(1);
        let text_limit = read.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 1024);
        let interval = read.number("OTEL_METRIC_EXPORT_INTERVAL", 60_000).max(1);
        Ok(Some(Self {
            traces,
            metrics,
            sampling: read.sampling(settings.trace_sample_ratio),
            queue: QueueOptions {
                room: size(room),
                batch: size(batch.min(room)),
                delay: read.millis("OTEL_BSP_SCHEDULE_DELAY", 5_000),
            },
            propagators: read.propagators(),
            metric_interval: Duration::from_millis(interval),
            temporality: read.temporality(),
            methods: env
                .get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS")
                .map(|list| words(&list).map(str::to_owned).collect()),
            scheme: if settings.speaks_tls() { "https" } else { "http" },
            longest: size(read.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", text_limit)),
            follows,
            complaints: if sends { read.complaints } else { Vec::new() },
        }))
    }
}

#[derive(Clone, Copy)]
enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }
}

struct Reader<'a> {
    env: &'a Env<'a>,
    complaints: Vec<String>,
}

impl Reader<'_> {
    fn ignored(&mut self, name: &str, value: &str, instead: &str) {
        self.complaints.push(format!("{name}={value:?} is not understood and ignored; {instead}"));
    }

    fn number(&mut self, name: &str, default: u64) -> u64 {
        let Some(value) = self.env.get(name) else { return default };
        value.parse().unwrap_or_else(|_| {
            self.ignored(name, &value, &format!("{default} is used"));
            default
        })
    }

    fn millis(&mut self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.number(name, default))
    }

    /// A variable of the signal, or the one for all signals.
    fn of_signal(&self, signal: Signal, what: &str) -> Option<String> {
        let own = self.env.get(&format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name()));
        own.or_else(|| self.env.get(&format!("OTEL_EXPORTER_OTLP_{what}")))
    }

    fn is_exported(&mut self, signal: Signal) -> bool {
        let name = format!("OTEL_{}_EXPORTER", signal.name());
        let Some(value) = self.env.get(&name) else { return true };
        if words(&value).any(|word| word == "otlp") {
            return true;
        }
        if value != "none" {
            self.ignored(&name, &value, "this signal is not sent; use otlp or none");
        }
        false
    }

    fn target(&mut self, settings: &Settings, signal: Signal) -> Result<Option<Target>, String> {
        let own = match signal {
            Signal::Traces => &settings.otlp_traces_endpoint,
            Signal::Metrics => &settings.otlp_metrics_endpoint,
        };
        let Some(endpoint) = own.as_ref().or(settings.otlp_endpoint.as_ref()) else { return Ok(None) };
        if !self.is_exported(signal) {
            return Ok(None);
        }
        let protocol = self.protocol(settings, signal, endpoint)?;
        let endpoint = match (own, protocol, signal) {
            (Some(whole), ..) => whole.clone(),
            (None, Protocol::Grpc, _) => endpoint.clone(),
            (None, Protocol::Http, Signal::Traces) => endpoint.join("/v1/traces"),
            (None, Protocol::Http, Signal::Metrics) => endpoint.join("/v1/metrics"),
        };
        if endpoint.tls && !cfg!(feature = "otlp-tls") {
            return Err(format!("{endpoint}: this program was built without the feature otlp-tls; use http://"));
        }
        let timeout = format!("OTEL_EXPORTER_OTLP_{}_TIMEOUT", signal.name());
        let general = self.number("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000);
        let (patience, default) = match signal {
            Signal::Traces => ("OTEL_BSP_EXPORT_TIMEOUT", 30_000),
            Signal::Metrics => ("OTEL_METRIC_EXPORT_TIMEOUT", 30_000),
        };
        let path = |reader: &Self, what| reader.of_signal(signal, what).map(PathBuf::from);
        Ok(Some(Target {
            endpoint,
            protocol,
            timeout: self.millis(&timeout, general).max(Duration::from_millis(1)),
            patience: self.millis(patience, default),
            certificate: path(self, "CERTIFICATE"),
            client_certificate: path(self, "CLIENT_CERTIFICATE").zip(path(self, "CLIENT_KEY")),
        }))
    }

    fn protocol(&mut self, settings: &Settings, signal: Signal, endpoint: &Endpoint) -> Result<Protocol, String> {
        let name = format!("OTEL_EXPORTER_OTLP_{}_PROTOCOL", signal.name());
        let own = self.env.get(&name);
        let asked = own.as_deref().unwrap_or(&settings.otlp_protocol);
        let built = cfg!(feature = "otlp-grpc");
        match asked {
            "http/protobuf" => Ok(Protocol::Http),
            "grpc" if endpoint.tls => Err(format!("{endpoint}: gRPC is spoken without TLS only; use http/protobuf")),
            "grpc" if built => Ok(Protocol::Grpc),
            "grpc" => Err("otlp_protocol: this program was built without the feature otlp-grpc; \
                           use http/protobuf, which collectors take on port 4318"
                .to_owned()),
            other => {
                let general = self.env.get("OTEL_EXPORTER_OTLP_PROTOCOL").filter(|_| other.is_empty());
                if let Some(value) = general.filter(|value| !["grpc", "http/protobuf"].contains(&value.as_str())) {
                    self.ignored("OTEL_EXPORTER_OTLP_PROTOCOL", &value, "use http/protobuf or grpc");
                } else if !other.is_empty() {
                    self.ignored(&name, other, "use http/protobuf or grpc");
                }
                let grpc = endpoint.port == Some(GRPC_PORT) && !endpoint.tls;
                if grpc && !built {
                    self.complaints.push(format!(
                        "{endpoint}: on port {GRPC_PORT} collectors expect gRPC, but this program was built without the \
                         feature otlp-grpc and speaks HTTP; port 4318 is the usual one for that"
                    ));
                }
                Ok(if grpc && built { Protocol::Grpc } else { Protocol::Http })
            }
        }
    }

    fn sampling(&mut self, ratio: f64) -> Sampling {
        let value = self.env.get("OTEL_TRACES_SAMPLER");
        match value.as_deref() {
            None | Some("parentbased_traceidratio") => Sampling::new(true, ratio),
            Some("traceidratio") => Sampling::new(false, ratio),
            Some("always_on") => Sampling::new(false, 1.0),
            Some("always_off") => Sampling::new(false, 0.0),
            Some("parentbased_always_on") => Sampling::new(true, 1.0),
            Some("parentbased_always_off") => Sampling::new(true, 0.0),
            Some(other) => {
                self.ignored("OTEL_TRACES_SAMPLER", other, "parentbased_traceidratio is used");
                Sampling::new(true, ratio)
            }
        }
    }

    fn propagators(&mut self) -> Propagators {
        let list = self.env.get("OTEL_PROPAGATORS").unwrap_or_else(|| "tracecontext,baggage".to_owned());
        let mut chosen = Propagators { trace_context: false, baggage: false };
        for word in words(&list) {
            match word {
                "tracecontext" => chosen.trace_context = true,
                "baggage" => chosen.baggage = true,
                "none" => {}
                other => self.ignored("OTEL_PROPAGATORS", other, "use tracecontext, baggage or none"),
            }
        }
        chosen
    }

    fn temporality(&mut self) -> Temporality {
        const NAME: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let value = self.env.get(NAME).unwrap_or_default().to_ascii_lowercase();
        match value.as_str() {
            "" | "cumulative" => Temporality::Cumulative,
            "delta" => Temporality::Delta,
            "lowmemory" => Temporality::LowMemory,
            other => {
                self.ignored(NAME, other, "cumulative is used");
                Temporality::Cumulative
            }
        }
    }
}

/// The words of a list with commas.
fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
