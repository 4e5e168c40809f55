//! The result of a run: plain data that the table, the page and the files are made of, and that can be read back.

mod csv;
mod format;
mod html;
mod svg;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as HdrReader, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use csv::csv;
pub use format::{count, time};
pub use html::html;
pub use table::table;

use crate::stats::{ErrorKind, SlowTrace, TaskStats, histogram};

/// Version of the JSON. A file with another one is not read.
pub const FORMAT: u32 = 1;

/// Everything that is known about a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Unix seconds.
    pub started: f64,
    /// From the start to the last answer, in seconds.
    pub elapsed_s: f64,
    /// In which requests were started, in seconds; rates are by this.
    pub duration_s: f64,
    /// What ended it.
    pub ended_by: EndedBy,
    /// How the load was made.
    pub load: LoadReport,
    /// All tasks together.
    pub total: TaskReport,
    /// Each task.
    pub tasks: Vec<TaskReport>,
    /// What went wrong, most frequent first.
    pub errors: Vec<ErrorReport>,
    /// Requests sent and given up at the end.
    pub unfinished: u64,
    /// Requests due and not sent at the end.
    pub unstarted: u64,
    /// Connections opened.
    pub connections: u64,
    /// µs to open one.
    pub connect_time: Hdr,
    /// Open loop: the schedule against what happened.
    pub schedule: Option<ScheduleReport>,
    /// Second by second.
    pub seconds: Vec<SecondReport>,
    /// Slowest requests with a sampled trace.
    pub slowest: Vec<SlowTrace>,
    /// What the generator says about itself.
    pub generator: GeneratorReport,
    /// Conditions and whether they held.
    pub thresholds: Vec<ThresholdReport>,
}

/// What ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// Its time was over.
    Duration,
    /// Its requests were spent.
    Requests,
    /// Ctrl-C or SIGTERM.
    Interrupt,
}

/// How the load was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadReport {
    /// `closed loop, 64 users, HTTP/1.1, …` for the reader.
    pub description: String,
    /// Whether arrivals came by a schedule.
    pub open: bool,
    /// Threads.
    pub threads: usize,
}

/// One task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskReport {
    /// Name of its class; empty for the total.
    pub class: String,
    /// Its name.
    pub name: String,
    /// HTTP method; empty for the total.
    pub method: String,
    /// Finished requests, failures included.
    pub requests: u64,
    /// Failures.
    pub failures: u64,
    /// Finished requests per second.
    pub rate: f64,
    /// Bytes of bodies received.
    pub bytes: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// From the start to the last byte.
    pub service: Hdr,
    /// From the intended start to the last byte; open loop only.
    pub response: Option<Hdr>,
}

/// Failures described by the same words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorReport {
    /// Name of the task.
    pub task: String,
    /// What went wrong.
    pub kind: ErrorKind,
    /// In words.
    pub message: String,
    /// How often.
    pub occurrences: u64,
    /// Seconds from the start of the run.
    pub first_s: f64,
    /// Seconds from the start of the run.
    pub last_s: f64,
}

/// The schedule of an open loop against what happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScheduleReport {
    /// Arrivals that were due.
    pub due: u64,
    /// Arrivals that were started.
    pub started: u64,
    /// Arrivals that found all permitted connections in use.
    pub queued: u64,
    /// By how much the generator itself was late.
    pub late: Hdr,
    /// From the intended start to the start.
    pub delay: Hdr,
}

/// About one second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecondReport {
    /// Its end, in seconds from the start.
    pub at_s: f64,
    /// How long it was; the last one may be short.
    pub length_s: f64,
    /// Requests finished.
    pub requests: u64,
    /// Of those, failures.
    pub failures: u64,
    /// Open loop: requests per second that were due.
    pub target_rate: Option<f64>,
    /// Users at its end; in an open loop, connections.
    pub users: u32,
    /// CPU of the busiest thread, percent.
    pub cpu: f64,
    /// Times (response times in an open loop, else service times) in µs; none if nothing finished.
    pub times: Option<SecondTimes>,
}

/// Times of one second in µs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "percentiles")]
pub struct SecondTimes {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
    /// The histogram as in [`Hdr`].
    pub hdr: String,
}

/// What the generator says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GeneratorReport {
    /// CPU of each thread over the run, percent.
    pub cpu: Vec<f64>,
    /// Share of the run in which each thread stood in line for a CPU, percent.
    pub waited: Vec<f64>,
    /// CPU time of all threads for a request, µs.
    pub cpu_per_request_us: f64,
    /// What to think of it; empty if there is nothing to warn of.
    pub warnings: Vec<String>,
}

/// A condition and whether it held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdReport {
    /// As written.
    pub condition: String,
    /// What was measured, for the reader.
    pub measured: String,
    /// Whether it held.
    pub held: bool,
}

/// A histogram of µs. In JSON: figures for people, and all of it as HdrHistogram V2, deflated, base64.
#[derive(Clone, Debug)]
pub struct Hdr(pub Histogram<u64>);

#[derive(Serialize, Deserialize)]
struct HdrText {
    #[serde(default)]
    count: u64,
    #[serde(default)]
    mean_us: f64,
    #[serde(default)]
    percentiles_us: BTreeMap<String, u64>,
    hdr: String,
}

/// The percentiles of the table and the files.
pub const PERCENTILES: [(&str, f64); 7] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

impl Serialize for Hdr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at = |quantile| self.0.value_at_quantile(quantile);
        HdrText {
            count: self.0.len(),
            mean_us: self.0.mean(),
            percentiles_us: PERCENTILES.iter().map(|(name, quantile)| ((*name).to_owned(), at(*quantile))).collect(),
            hdr: encode(&self.0),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hdr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = HdrText::deserialize(deserializer)?;
        decode(&text.hdr).map(Self).map_err(serde::de::Error::custom)
    }
}

/// As text that other tools read too.
pub(crate) fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("memory takes everything that is written");
    BASE64_STANDARD.encode(bytes)
}

fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| format!("not base64: {error}"))?;
    let read: Histogram<u64> =
        HdrReader::new().deserialize(&mut &*bytes).map_err(|error| format!("not a histogram: {error}"))?;
    // What is read back cannot grow; it may have to, when runs are added up.
    let mut grown = histogram();
    grown.add(&read).map_err(|error| format!("not a histogram of ours: {error}"))?;
    Ok(grown)
}

impl TaskReport {
    /// Of what was measured in `duration` seconds.
    pub(crate) fn new(class: &str, name: &str, method: &str, stats: TaskStats, open: bool, duration: f64) -> Self {
        Self {
            class: class.to_owned(),
            name: name.to_owned(),
            method: method.to_owned(),
            requests: stats.requests,
            failures: stats.failures,
            rate: stats.requests as f64 / duration,
            bytes: stats.bytes,
            statuses: stats.statuses,
            service: Hdr(stats.service),
            response: open.then_some(Hdr(stats.response)),
        }
    }

    /// What users wait: response times in an open loop, service times in a closed one.
    #[must_use]
    pub fn times(&self) -> &Histogram<u64> {
        &self.response.as_ref().unwrap_or(&self.service).0
    }

    /// `GET /path`, or the name alone.
    #[must_use]
    pub fn title(&self) -> String {
        if self.method.is_empty() { self.name.clone() } else { format!("{} {}", self.method, self.name) }
    }
}

impl Report {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data has a JSON form");
        text.push('\n');
        text
    }

    /// Reads what [`Report::json`] wrote.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let wrong = |error: serde_json::Error| {
            format!("{} is no result of rustcorn-loadtester run --json: {error}", path.display())
        };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(wrong)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => serde_json::from_value(value).map_err(wrong),
            Some(other) => Err(format!(
                "{} has format {other}, this program reads {FORMAT}; use the version that wrote it",
                path.display()
            )),
            None => {
                Err(format!("{} is no result of rustcorn-loadtester run --json: it names no format", path.display()))
            }
        }
    }

    /// Whether nobody ever answered.
    #[must_use]
    pub fn unreachable(&self) -> bool {
        self.total.statuses.is_empty()
            && self.total.failures > 0
            && self.errors.iter().all(|error| error.kind.unreachable())
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::report as sample;
