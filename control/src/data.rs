//! What a reply's `data` holds, by command. Durations are in seconds, sizes in bytes. Fields are only ever added, so a client
//! passes over those that it does not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
pub use serde_json::Value;

/// `show workers`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Workers {
    /// By slot.
    pub workers: Vec<Worker>,
}

/// One worker.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Worker {
    /// Its seat.
    pub slot: usize,
    /// Its process; null while that is being started.
    pub pid: Option<i32>,
    /// Which configuration and program it runs.
    pub generation: u32,
    /// `booting`, `ready`, `draining`, `hung` (aborted for it) or `killed`.
    pub state: String,
    /// It serves until its successor is ready.
    pub due: bool,
    /// Since it was started.
    pub age: f64,
    /// Since its last sign of life; null before the first.
    pub heartbeat_age: Option<f64>,
    /// That it has answered; null, as the next two, if it is a foreign program, whose requests nobody sees.
    pub requests: Option<u64>,
    /// That it has not answered yet.
    pub in_flight: Option<u64>,
    /// Open.
    pub connections: Option<u64>,
    /// Memory that it has in RAM; null if it is gone by now.
    pub rss: Option<u64>,
    /// What its event loop is busy with at this moment; as a rule nothing.
    pub polling: Vec<Polling>,
}

/// A request that keeps an event loop busy.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Polling {
    /// `METHOD path`, without a query.
    pub request: String,
    /// For so long.
    pub seconds: f64,
}

/// `show stats`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Stats {
    /// Of rustcorn.
    pub version: String,
    /// What the workers run.
    pub name: String,
    /// The master.
    pub pid: u32,
    /// Since the master started.
    pub uptime: f64,
    /// `running`, or `stopping`.
    pub phase: String,
    /// The generation in force.
    pub generation: u32,
    /// How many there are.
    pub workers: WorkerCounts,
    /// Since the start; null if all workers are foreign programs, whose requests nobody sees.
    pub requests: Option<RequestCounts>,
    /// Of clients; null as `requests`.
    pub connections: Option<ConnectionCounts>,
    /// Answers since the start by class: `1xx` to `5xx`, and `other`. Empty where `requests` is null.
    pub responses: BTreeMap<String, u64>,
    /// Workers that ended unasked, by cause.
    pub restarts: BTreeMap<String, u64>,
    /// Workers that were replaced although they were well, by why.
    pub recycles: BTreeMap<String, u64>,
    /// Of the configuration.
    pub reloads: ReloadCounts,
}

/// Workers by state.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WorkerCounts {
    /// Ready ones wanted.
    pub target: usize,
    /// Serving.
    pub ready: usize,
    /// Not serving yet.
    pub booting: usize,
    /// Finishing, or about to be gone.
    pub draining: usize,
}

/// Requests.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RequestCounts {
    /// Answered.
    pub total: u64,
    /// Without an answer, since the client left.
    pub aborted: u64,
    /// Not answered yet.
    pub in_flight: u64,
    /// Of the answers' bodies.
    pub response_bytes: u64,
}

/// Connections.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Default, Debug)]
pub struct ConnectionCounts {
    /// Now.
    pub open: u64,
    /// Since the start.
    pub accepted: u64,
    /// Of the ready worker that has most, over their mean: 1 is even.
    #[serde(default)]
    pub spread: f64,
}

/// Reloads.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ReloadCounts {
    /// That took effect.
    pub ok: u64,
    /// That changed nothing, since something was wrong.
    pub failed: u64,
}

/// `show config`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Config {
    /// In the order of the docs, then the keys of `[app]`.
    pub settings: Vec<Setting>,
}

/// One setting.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Setting {
    /// Its name; with `app.` in front for a key of `[app]`.
    pub key: String,
    /// What it is; `(hidden)` for what belongs to the application.
    pub value: Value,
    /// Where it came from: `default`, `FILE:LINE`, `environment NAME` or `command line --FLAG`.
    pub origin: String,
}

/// `show listeners`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Listeners {
    /// In the order of the configuration.
    pub listeners: Vec<Listener>,
}

/// One listening socket.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// With the port that it really has.
    pub url: String,
    /// `bind` for the service, `admin_bind` or `control_socket`.
    pub setting: String,
    /// Connections that wait to be accepted; null where nobody can tell (unix sockets).
    pub backlog: Option<u64>,
}

/// `show durations`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Default, Debug)]
pub struct Durations {
    /// Since the start: a duration in nanoseconds, true to 1 %, and how many requests took so long. Shortest first.
    pub durations: Vec<(u64, u64)>,
}

impl Durations {
    /// What was counted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before: BTreeMap<u64, u64> = earlier.durations.iter().copied().collect();
        let news = |(took, count): &(u64, u64)| (*took, count.saturating_sub(before.get(took).copied().unwrap_or(0)));
        Self { durations: self.durations.iter().map(news).filter(|(_, count)| *count > 0).collect() }
    }

    /// The duration in seconds that the fraction `q` (0 to 1) of all did not exceed; `None` if nothing was counted.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total: u64 = self.durations.iter().map(|(_, count)| count).sum();
        let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.durations.iter().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        found.map(|(took, _)| *took as f64 / 1e9)
    }
}

/// `show all`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct All {
    /// `show stats`.
    pub stats: Stats,
    /// `show workers`.
    #[serde(flatten)]
    pub workers: Workers,
    /// `show listeners`.
    #[serde(flatten)]
    pub listeners: Listeners,
    /// `show config`.
    #[serde(flatten)]
    pub config: Config,
}

/// `worker add` and `worker remove`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Ready workers that were wanted.
    pub previous: usize,
    /// That are wanted now.
    pub target: usize,
}

/// `worker restart` and `worker kill`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// Whom it is about.
    pub workers: Vec<WorkerName>,
    /// Whether it was waited for: their successors are ready, and they accept no more.
    pub done: bool,
}

/// Which worker.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerName {
    /// Its seat.
    pub slot: usize,
    /// Its process.
    pub pid: Option<i32>,
}

/// `reload`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reloaded {
    /// Whether it was waited for: all workers that accept connections are of the new generation.
    pub done: bool,
    /// The new one; null where it was not waited for.
    pub generation: Option<u32>,
    /// Workers of older generations that accept no more and finish what they have.
    pub draining: usize,
}

/// `reopen` and `shutdown`: it was told to whom it concerns.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Always true.
    pub asked: bool,
}

/// `help`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Help {
    /// A line for each command.
    pub help: String,
}
