//! What is shown: two looks at the server, and what happened between them.

use std::collections::BTreeMap;

use rustcorn_control::data::{Durations, Stats, Worker, Workers};
use serde::Serialize;

/// One look.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) stats: Stats,
    pub(crate) workers: Workers,
    pub(crate) durations: Durations,
}

/// The server at one moment, with the rates since the look before. Times are in seconds.
#[derive(Clone, Serialize, Debug)]
pub(crate) struct Picture {
    /// Between the two looks.
    pub(crate) interval: f64,
    /// None, as the next, where nobody counts.
    pub(crate) requests_per_second: Option<f64>,
    /// Answers with 5xx.
    pub(crate) errors_per_second: Option<f64>,
    /// Of the requests in between; none if there were none.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) stats: Stats,
    pub(crate) workers: Vec<Row>,
}

#[derive(Clone, Serialize, Debug)]
pub(crate) struct Row {
    pub(crate) requests_per_second: Option<f64>,
    #[serde(flatten)]
    pub(crate) worker: Worker,
}

impl Picture {
    pub(crate) fn of(before: &Sample, now: Sample) -> Self {
        // By the server's own clock. Another master, or one that has begun anew: then there is nothing to compare with.
        let same = before.stats.pid == now.stats.pid && before.stats.uptime <= now.stats.uptime;
        let interval = if same { now.stats.uptime - before.stats.uptime } else { 0.0 };
        let rate =
            |before: u64, now: u64| if interval > 0.0 { now.saturating_sub(before) as f64 / interval } else { 0.0 };
        let errors = |stats: &Stats| stats.responses.get("5xx").copied().unwrap_or(0);
        let done: BTreeMap<_, u64> = before
            .workers
            .workers
            .iter()
            .filter_map(|worker| Some(((worker.slot, worker.pid), worker.requests?)))
            .collect();
        let total = before.stats.requests.map_or(0, |requests| requests.total);
        let recent = if same { now.durations.since(&before.durations) } else { Durations::default() };
        Self {
            interval,
            requests_per_second: now.stats.requests.map(|now| rate(total, now.total)),
            errors_per_second: now.stats.requests.map(|_| rate(errors(&before.stats), errors(&now.stats))),
            p50: recent.quantile(0.5),
            p99: recent.quantile(0.99),
            workers: now
                .workers
                .workers
                .into_iter()
                .map(|worker| {
                    let before = done.get(&(worker.slot, worker.pid)).copied().unwrap_or(0);
                    Row { requests_per_second: worker.requests.map(|now| rate(before, now)), worker }
                })
                .collect(),
            stats: now.stats,
        }
    }
}
