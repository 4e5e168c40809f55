//! Locust's messages (protocol of 2.47.0) as types, and as the msgpack they travel in: an array of type, data and node id.
//! All that leaves for the master is packed in here: one message it cannot unpack ends its listener for good, unseen in its page.

mod pack;
mod unpack;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::rounding::Bucket;

pub use pack::pack;
pub use unpack::{Unreadable, unpack};

/// How many users of each class, by the class's name.
pub type Counts = BTreeMap<String, u32>;

/// All users of all classes.
pub fn total(counts: &Counts) -> u64 {
    counts.values().map(|count| u64::from(*count)).sum()
}

/// What a worker says. Times are Unix seconds, response times milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub enum ToMaster {
    /// It wants to be registered; the answer is an `ack`. Carries -1, which skips the check of versions.
    ClientReady,
    /// Once a second.
    Heartbeat(Heartbeat),
    /// Users are being started.
    Spawning,
    /// They all were; who they are.
    SpawningComplete(Counts),
    /// What was measured since the last report.
    Stats(Box<Report>),
    /// Users are stopped; the worker is forgotten until its next `ClientReady`.
    ClientStopped,
    /// For the page's list of exceptions; equal tracebacks are one.
    Exception {
        /// What happened.
        message: String,
        /// Where; the master counts by this text.
        traceback: String,
    },
    /// All lines the page shall show of this worker.
    Logs(Vec<String>),
    /// It leaves.
    Quit,
    /// It wants the locustfile's text.
    Locustfile,
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heartbeat {
    /// Overwrites what the master believes.
    pub state: State,
    /// Percent of what this worker may use at most; above 90 the master warns.
    pub cpu: f64,
    /// Resident bytes.
    pub memory: u64,
}

/// What a worker does, in the master's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waiting for users.
    Ready,
    /// Has been given users.
    Running,
}

/// The increments of one report.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// One per name and method that had requests.
    pub entries: Vec<Entry>,
    /// All of them in one.
    pub total: Entry,
    /// Failures by what went wrong.
    pub errors: Vec<ErrorRow>,
    /// Users right now.
    pub users: Counts,
}

/// Requests of one name and method.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What the page calls it.
    pub name: String,
    /// HTTP's method.
    pub method: String,
    /// When the newest of them ended.
    pub last_request: Option<f64>,
    /// From when on they are counted: the last report. The master keeps the smallest of all.
    pub start: f64,
    /// Failed ones included.
    pub requests: u64,
    /// Of these, those without a response time.
    pub untimed: u64,
    /// Failed ones.
    pub failures: u64,
    /// Sum of all response times.
    pub total_millis: f64,
    /// The longest; 0 without requests.
    pub max_millis: f64,
    /// The shortest; without requests there is none, and a 0 would stand in the page for ever.
    pub min_millis: Option<f64>,
    /// Sum of body bytes.
    pub bytes: u64,
    /// How many fell in which bucket.
    pub buckets: BTreeMap<Bucket, u64>,
    /// Requests ended in each second.
    pub per_second: BTreeMap<u64, u64>,
    /// Failures in each second.
    pub failures_per_second: BTreeMap<u64, u64>,
}

/// One kind of failure.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorRow {
    /// Whose.
    pub name: String,
    /// HTTP's method.
    pub method: String,
    /// What went wrong.
    pub error: String,
    /// How often.
    pub count: u64,
    /// When for the first time.
    pub first_seen: f64,
    /// And the last.
    pub last_seen: f64,
}

/// What a master says.
#[derive(Debug, Clone, PartialEq)]
pub enum FromMaster {
    /// The worker is registered, as this number from 0 on.
    Ack(Option<u64>),
    /// Have these users from now on.
    Spawn(Spawn),
    /// The whole swarm is up.
    SpawningComplete,
    /// Stop all users.
    Stop,
    /// Report and leave.
    Quit,
    /// The answer to a heartbeat.
    Heartbeat,
    /// Something unreadable came from us: dial anew.
    Reconnect,
    /// Someone changed a class in the page.
    UpdateUserClass(ClassUpdate),
    /// The locustfiles, or why there are none.
    Locustfile(Result<Vec<Source>, String>),
    /// What a locustfile sends to its own listeners.
    Custom(String),
}

/// An absolute target, sent on each step of a ramp.
#[derive(Debug, Clone, PartialEq)]
pub struct Spawn {
    /// The master's clock; orders these messages.
    pub timestamp: f64,
    /// Users of this worker.
    pub users: Counts,
    /// What the page says the target is.
    pub host: Option<String>,
    /// Seconds that users may take to end.
    pub stop_timeout: f64,
    /// `--reset-stats`: what was measured while users were still being added is thrown away.
    pub reset_stats: bool,
}

/// A change made in the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassUpdate {
    /// The class.
    pub class: String,
    /// Its new target.
    pub host: Option<String>,
    /// What else changed.
    pub others: Vec<String>,
}

/// A locustfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Its text.
    Text {
        /// Its name, without folders.
        name: String,
        /// All of it.
        contents: String,
    },
    /// Where to fetch it.
    Url(String),
}
