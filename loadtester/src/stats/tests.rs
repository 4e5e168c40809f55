//! Percentiles and sums against known times. Time is scripted, so nothing here depends on how busy the machine is.

use super::*;

const MS: u64 = 1_000_000;

fn answer() -> Outcome {
    Outcome { status: Some(200), bytes: 12, error: None }
}

fn near(measured: u64, expected_ms: f64) {
    let error = (measured as f64 / (expected_ms * 1e3) - 1.0).abs();
    assert!(error < 0.01, "{measured} µs is not within 1 % of {expected_ms} ms");
}

/// Records these service times, one after the other.
fn record(open: bool, times: impl Iterator<Item = u64>) -> TaskStats {
    let mut recorder = Recorder::new(Clock::start(), open, 1);
    let mut now = 0;
    for time in times {
        recorder.request(0, now, now, now + time, answer());
        now += time;
    }
    recorder.take().tasks.remove(0)
}

#[test]
fn a_constant_time_is_every_percentile() {
    let stats = record(false, std::iter::repeat_n(7 * MS, 1000));
    for quantile in [0.0, 0.5, 0.99, 1.0] {
        near(stats.service.value_at_quantile(quantile), 7.0);
    }
    assert_eq!((stats.min, stats.max), (Some(Duration::from_millis(7)), Some(Duration::from_millis(7))));
    assert_eq!((stats.requests, stats.bytes, stats.total), (1000, 12_000, Duration::from_secs(7)));
    assert_eq!(stats.statuses[&200], 1000);
    assert_eq!(stats.seconds.iter().map(|second| second.requests).sum::<u64>(), 1000);
}

#[test]
fn two_modes_stay_two() {
    // 95 % fast, 5 % slow, from a twentieth of a millisecond to a minute.
    for (fast, slow) in [(50_000, 3 * MS), (2 * MS, 250 * MS), (100 * MS, 60_000 * MS)] {
        let stats = record(false, (0..10_000).map(|at| if at % 20 == 7 { slow } else { fast }));
        near(stats.service.value_at_quantile(0.5), fast as f64 / MS as f64);
        near(stats.service.value_at_quantile(0.94), fast as f64 / MS as f64);
        near(stats.service.value_at_quantile(0.96), slow as f64 / MS as f64);
        near(stats.service.value_at_quantile(0.99), slow as f64 / MS as f64);
    }
}

#[test]
fn any_percentile_of_a_spread_is_within_a_hundredth() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut times: Vec<u64> = (0..20_000).map(|_| (-random.f64().ln() * 20.0 * MS as f64) as u64 + 50_000).collect();
    let stats = record(false, times.clone().into_iter());
    times.sort_unstable();
    for quantile in [0.01, 0.1, 0.5, 0.9, 0.99, 0.999] {
        let exact = times[(quantile * times.len() as f64).ceil() as usize - 1];
        near(stats.service.value_at_quantile(quantile), exact as f64 / MS as f64);
    }
}

/// 100 requests a second for 3 s; the server answers in 1 ms, but not at all in the second second.
#[test]
fn a_stall_shows_in_response_times_and_not_in_service_times() {
    let mut recorder = Recorder::new(Clock::start(), true, 1);
    let mut free = 0;
    for at in 0..300 {
        let intended = at * 10 * MS;
        let start = intended.max(free);
        let served = if (1000 * MS..2000 * MS).contains(&start) { 2000 * MS } else { start };
        free = served + MS;
        recorder.request(0, intended, start, free, answer());
    }
    let stats = recorder.take().tasks.remove(0);
    // Only one request was really in the stall; the others wanted to start in it.
    near(stats.service.value_at_quantile(0.99), 1.0);
    near(stats.service.max(), 1001.0);
    // One connection works the backlog off in 1 ms each, while 10 ms apart new ones come: 111 requests waited, 0.9 s each 100 ms.
    let waited = (0..300).filter(|at| (100..211).contains(at)).count() as f64;
    let over = stats.response.len() as f64 - stats.response.count_between(0, 2_000) as f64;
    assert!((over - waited).abs() <= 2.0, "{over}");
    assert!(stats.response.value_at_quantile(0.9) > 700_000);
    near(stats.response.max(), 1001.0);
}

#[test]
fn failures_are_grouped_and_counted() {
    let mut recorder = Recorder::new(Clock::start(), false, 2);
    let failed = |kind, status, message: &str| Outcome { status, bytes: 0, error: Some((kind, message.to_owned())) };
    for at in 0..5 {
        recorder.request(1, 0, 0, at * MS, failed(ErrorKind::Refused, None, "refused"));
        recorder.request(1, 0, 0, 40 * MS, failed(ErrorKind::Timeout, None, "late"));
    }
    recorder.request(1, 0, 0, MS, failed(ErrorKind::Status, Some(500), "status 500"));
    recorder.unfinished(true);
    recorder.unfinished(false);
    let interval = recorder.take();
    let stats = &interval.tasks[1];
    assert_eq!((stats.requests, stats.failures, stats.untimed), (11, 11, 5));
    assert_eq!(stats.service.len(), 6, "timeouts and answers have a time, refused connections have none");
    let occurrences: Vec<u64> = interval.failures.iter().map(|failure| failure.occurrences).collect();
    assert_eq!(occurrences, [5, 5, 1]);
    assert!(interval.failures[0].first_seen < interval.failures[0].last_seen);
    assert_eq!((interval.unfinished, interval.unstarted), (1, 1));
    assert_eq!(recorder.take().requests(), 0, "handed over once");
}

#[test]
fn merging_loses_nothing() {
    let interval = |times: std::ops::Range<u64>| {
        let mut recorder = Recorder::new(Clock::start(), false, 1);
        for time in times {
            recorder.request(0, 0, 0, (time + 1) * MS, answer());
            recorder.trace(0, (time + 1) * MS, u128::from(time));
        }
        recorder.take()
    };
    let mut sum = interval(0..50);
    sum.merge(interval(50..100));
    assert_eq!(sum.requests(), 100);
    near(sum.tasks[0].service.value_at_quantile(0.5), 50.0);
    assert_eq!(
        (sum.tasks[0].min, sum.tasks[0].max),
        (Some(Duration::from_millis(1)), Some(Duration::from_millis(100)))
    );
    assert_eq!(sum.tasks[0].seconds.iter().map(|second| second.requests).sum::<u64>(), 100);
    assert!(sum.tasks[0].seconds.is_sorted_by_key(|second| second.unix));
    let slowest: Vec<u64> = sum.slowest.iter().map(|trace| trace.service_us).collect();
    assert_eq!(slowest, [100_000, 99_000, 98_000, 97_000, 96_000]);
}
