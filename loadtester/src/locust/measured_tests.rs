//! From what the engine counts to what the master adds up.

use std::collections::BTreeMap;

use super::*;
use crate::stats::{ErrorKind, Failure, Second};

const TEXT: &str = r#"
[[class]]
name = "Browse"
host = "http://shop"
task = [{ path = "/" }, { path = "/item", name = "item" }]
[[class]]
name = "Buy"
host = "http://shop"
task = [{ path = "/other", name = "item" }, { method = "POST", path = "/item", name = "item" }]
"#;

const FRAME: Frame = Frame { since: 100.0, until: 103.0, offset: 0.0 };

fn scenario() -> Scenario {
    Scenario::from_text("shop.toml", TEXT).expect("a valid scenario")
}

/// Requests that took so many microseconds each, all in the second 101.
fn stats(micros: &[u64], failures: u64) -> TaskStats {
    let mut stats = TaskStats::empty();
    for value in micros {
        stats.service.record(*value).expect("it grows");
    }
    stats.requests = micros.len() as u64;
    stats.failures = failures;
    stats.total = Duration::from_micros(micros.iter().sum());
    stats.min = micros.iter().min().map(|value| Duration::from_micros(*value));
    stats.max = micros.iter().max().map(|value| Duration::from_micros(*value));
    stats.bytes = 12 * stats.requests;
    stats.seconds = vec![Second { unix: 101, requests: stats.requests, failures }];
    stats.last_end = Some(101.75);
    stats
}

fn keys(buckets: &BTreeMap<Bucket, u64>) -> Vec<(f64, u64)> {
    buckets.iter().map(|(bucket, count)| (bucket.millis(), *count)).collect()
}

#[test]
fn tasks_of_one_name_and_method_are_one_row_and_the_total_is_all_of_them() {
    let mut interval = Interval::empty(4);
    interval.tasks[1] = stats(&[400, 12_500], 1);
    interval.tasks[2] = stats(&[400, 1_049, 3_432_000], 0);
    interval.tasks[3] = stats(&[5_000], 0);
    let report = report(&scenario(), &interval, Counts::new(), FRAME);
    let rows: Vec<_> =
        report.entries.iter().map(|entry| (&*entry.name, &*entry.method, entry.requests, entry.failures)).collect();
    assert_eq!(rows, [("item", "GET", 5, 1), ("item", "POST", 1, 0)], "and none for what was not requested");
    assert_eq!(keys(&report.entries[0].buckets), [(0.4, 2), (1.0, 1), (12.0, 1), (3400.0, 1)]);
    let total = &report.total;
    assert_eq!((total.requests, total.failures, total.bytes), (6, 1, 72));
    assert_eq!((total.min_millis, total.max_millis), (Some(0.4), 3432.0));
    assert!((total.total_millis - 3451.349).abs() < 1e-9, "{}", total.total_millis);
    assert_eq!((&total.per_second, &total.failures_per_second), (&[(101, 6)].into(), &[(101, 1)].into()));
    assert_eq!((total.start, total.last_request), (100.0, Some(101.75)));
}

#[test]
fn an_idle_report_moves_nothing() {
    let report = report(&scenario(), &Interval::empty(4), Counts::new(), FRAME);
    assert_eq!((report.entries, report.errors), (Vec::new(), Vec::new()));
    let total = report.total;
    assert_eq!((total.requests, total.min_millis, total.max_millis, total.last_request), (0, None, 0.0, None));
    assert_eq!(total.start, FRAME.until, "the master keeps the least of all starts");
}

#[test]
fn failures_of_one_text_are_one_row() {
    let failure = |task: usize, message: &str, first_seen: f64| Failure {
        task,
        kind: ErrorKind::Status,
        message: message.into(),
        occurrences: 2,
        first_seen,
        last_seen: first_seen + 0.5,
    };
    let mut interval = Interval::empty(4);
    interval.failures =
        vec![failure(1, "503", 101.0), failure(2, "503", 100.5), failure(3, "503", 102.0), failure(1, "500", 101.0)];
    let rows = report(&scenario(), &interval, Counts::new(), FRAME).errors;
    let rows: Vec<_> =
        rows.iter().map(|row| (&*row.method, &*row.error, row.count, row.first_seen, row.last_seen)).collect();
    assert_eq!(
        rows,
        [("GET", "500", 2, 101.0, 101.5), ("GET", "503", 4, 100.5, 101.5), ("POST", "503", 2, 102.0, 102.5)]
    );
}

#[test]
fn times_are_the_masters() {
    let mut interval = Interval::empty(4);
    interval.tasks[0] = stats(&[1_000], 0);
    let report = report(&scenario(), &interval, Counts::new(), Frame { offset: -60.2, ..FRAME });
    assert_eq!(report.total.per_second, [(41, 1)].into());
    assert_eq!(report.total.last_request, Some(101.75 - 60.2));
}
