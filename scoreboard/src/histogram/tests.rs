//! The error bound, the ends of the range, and the laws of adding and subtracting.

use super::*;

/// Every power of two in range and around each bucket's edges, plus a dense multiplicative sweep: deterministic.
fn sweep() -> impl Iterator<Item = u64> {
    let edges = (0..BUCKETS).flat_map(|bucket| {
        let middle = representative(bucket).as_nanos() as u64;
        (middle - middle / 64..=middle + middle / 64).step_by((middle / 512).max(1) as usize)
    });
    let dense = std::iter::successors(Some(SHORTEST), |nanos| Some(nanos + nanos / 5_000 + 1));
    edges.chain(dense.take_while(|nanos| *nanos <= LONGEST)).filter(|nanos| (SHORTEST..=LONGEST).contains(nanos))
}

#[test]
fn the_middle_is_within_one_percent() {
    let mut seen = vec![false; BUCKETS];
    for nanos in sweep() {
        let bucket = bucket(Duration::from_nanos(nanos));
        let error = (representative(bucket).as_nanos() as f64 / nanos as f64 - 1.0).abs();
        assert!(error <= 0.01, "{nanos} ns is told as {:?}: {:.2} % off", representative(bucket), error * 100.0);
        seen[bucket] = true;
    }
    assert!(seen.iter().all(|seen| *seen), "the sweep leaves out a bucket");
}

#[test]
fn buckets_rise_with_the_duration_and_leave_no_gap() {
    let mut last = 0;
    for nanos in std::iter::successors(Some(SHORTEST), |n| Some(n + n / 500 + 1)).take_while(|n| *n <= LONGEST) {
        let bucket = bucket(Duration::from_nanos(nanos));
        assert!(bucket == last || bucket == last + 1, "{nanos} ns: from bucket {last} to {bucket}");
        last = bucket;
    }
    assert_eq!((last, BUCKETS), (BUCKETS - 1, 2028));
    for bucket in 0..BUCKETS {
        assert_eq!(super::bucket(representative(bucket)), bucket, "a middle lies in its own bucket");
    }
}

#[test]
fn both_ends_clamp() {
    assert_eq!(bucket(Duration::ZERO), 0);
    assert_eq!(bucket(Duration::from_nanos(1_007)), 0);
    assert_eq!(bucket(Duration::from_nanos(1_008)), 1);
    assert_eq!(bucket(Duration::from_secs(3_600)), BUCKETS - 1);
    assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
}

#[test]
fn since_undoes_add() {
    let (mut earlier, mut extra) = (Histogram::default(), Histogram::default());
    sweep().step_by(7).for_each(|nanos| earlier.record(Duration::from_nanos(nanos)));
    sweep().step_by(11).for_each(|nanos| extra.record(Duration::from_nanos(nanos)));
    let mut later = earlier.clone();
    later.add(&extra);
    assert_eq!(later.since(&earlier), extra);
    assert_eq!(later.since(&later), Histogram::default());
    assert_eq!(later.total(), earlier.total() + extra.total());
    assert_eq!(earlier.since(&later), Histogram::default(), "never below zero");
    assert_eq!(later.iter().map(|(_, count)| count).sum::<u64>(), later.total());
}

#[test]
fn quantiles() {
    let mut histogram = Histogram::default();
    assert_eq!(histogram.quantile(0.5), None);
    (1..=1_000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
    for (q, expected) in [(0.0, 1.0), (0.001, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0), (7.0, 1_000.0)] {
        let told = histogram.quantile(q).expect("it is not empty").as_secs_f64() * 1e3;
        assert!((told / expected - 1.0).abs() <= 0.01, "quantile {q}: {told} ms instead of {expected} ms");
    }
}
