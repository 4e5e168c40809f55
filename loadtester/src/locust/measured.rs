//! What the engine measured, as a report for the master.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rounding::Bucket;
use super::wire::{Counts, Entry, ErrorRow, Report};
use crate::scenario::Scenario;
use crate::stats::{Interval, TaskStats};

/// What all of a report's rows have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Since when it was measured, in the master's Unix seconds.
    pub(crate) since: f64,
    /// Until when.
    pub(crate) until: f64,
    /// Seconds to add to this machine's clock for the master's.
    pub(crate) offset: f64,
}

/// The report of an interval, with the users there are at its end.
pub(crate) fn report(scenario: &Scenario, interval: &Interval, users: Counts, frame: Frame) -> Report {
    let mut rows: BTreeMap<(&str, &str), TaskStats> = BTreeMap::new();
    let mut all = TaskStats::empty();
    for (task, stats) in scenario.tasks.iter().zip(&interval.tasks) {
        if stats.requests > 0 {
            all.merge(stats.clone());
            rows.entry((&task.name, task.method.as_str())).or_insert_with(TaskStats::empty).merge(stats.clone());
        }
    }
    Report {
        entries: rows.iter().map(|((name, method), stats)| entry(name, method, stats, frame)).collect(),
        total: entry("Aggregated", "", &all, frame),
        errors: errors(scenario, interval, frame),
        users,
    }
}

fn entry(name: &str, method: &str, stats: &TaskStats, frame: Frame) -> Entry {
    let mut buckets = BTreeMap::new();
    for step in stats.service.iter_recorded() {
        let micros = stats.service.median_equivalent(step.value_iterated_to());
        *buckets.entry(Bucket::of_micros(micros)).or_default() += step.count_at_value();
    }
    let seconds = |count: fn(&crate::stats::Second) -> u64| {
        let shift = frame.offset.round() as i64;
        let each = stats.seconds.iter().map(move |second| (second.unix.saturating_add_signed(shift), count(second)));
        each.filter(|(_, count)| *count > 0).collect()
    };
    Entry {
        name: name.to_owned(),
        method: method.to_owned(),
        last_request: stats.last_end.map(|at| at + frame.offset),
        // The master keeps the smallest of all, and divides by the time since: an idle report must not move it back.
        start: if stats.requests > 0 { frame.since } else { frame.until },
        requests: stats.requests,
        untimed: stats.untimed,
        failures: stats.failures,
        total_millis: millis(stats.total),
        max_millis: stats.max.map_or(0.0, millis),
        min_millis: stats.min.map(millis),
        bytes: stats.bytes,
        buckets,
        per_second: seconds(|second| second.requests),
        failures_per_second: seconds(|second| second.failures),
    }
}

fn errors(scenario: &Scenario, interval: &Interval, frame: Frame) -> Vec<ErrorRow> {
    let mut rows: BTreeMap<(&str, &str, &str), ErrorRow> = BTreeMap::new();
    for failure in &interval.failures {
        let task = &scenario.tasks[failure.task];
        let (first_seen, last_seen) = (failure.first_seen + frame.offset, failure.last_seen + frame.offset);
        let row = rows.entry((&task.name, task.method.as_str(), &failure.message)).or_insert_with(|| ErrorRow {
            name: task.name.clone(),
            method: task.method.to_string(),
            error: failure.message.clone(),
            count: 0,
            first_seen,
            last_seen,
        });
        row.count += failure.occurrences;
        row.first_seen = row.first_seen.min(first_seen);
        row.last_seen = row.last_seen.max(last_seen);
    }
    rows.into_values().collect()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
#[path = "measured_tests.rs"]
mod tests;
