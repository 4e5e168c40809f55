//! Durations as statsd lines: `0.257|ms|@0.01` stands for 100 requests.

use std::iter;

use cadence::MetricResult;
use cadence::ext::{MetricValue, ToTimerValue};
use rustcorn_scoreboard::Histogram;

/// How many requests one line may stand for. Servers read the sample rate back as a count, Etsy's statsd by adding 1/rate, the
/// Prometheus exporter by observing `int(1/rate)` times; a test shows that both get exactly these numbers (50 000 would come
/// back as 50 000.00000000001). No larger ones, since the exporter makes that many events in memory from one line.
pub(super) const PARTS: [u64; 21] =
    [10_000, 8_000, 5_000, 4_000, 2_000, 1_000, 800, 500, 400, 200, 100, 80, 50, 40, 20, 10, 8, 5, 4, 2, 1];

/// A duration in whole microseconds, as gunicorn's. cadence's own durations lose the fraction of the millisecond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Took(u64);

impl ToTimerValue for Took {
    fn try_to_value(self) -> MetricResult<MetricValue> {
        // Prints three decimals at most: the shortest text that reads back as this number.
        Ok(MetricValue::Float(self.0 as f64 / 1000.0))
    }
}

/// What was counted, shortest first. Short buckets that are the same number of microseconds are put together.
pub(super) fn values(durations: &Histogram) -> impl Iterator<Item = (Took, u64)> {
    let mut buckets =
        durations.iter().map(|(took, count)| (Took((took.as_nanos() as u64 + 500) / 1000), count)).peekable();
    iter::from_fn(move || {
        let (took, mut count) = buckets.next()?;
        while let Some((_, more)) = buckets.next_if(|(next, _)| *next == took) {
            count += more;
        }
        Some((took, count))
    })
}

/// `count` as a sum of few [`PARTS`].
pub(super) fn parts(count: u64) -> impl Iterator<Item = u64> {
    let mut rest = count;
    let mut parts = PARTS.into_iter().peekable();
    iter::from_fn(move || {
        while parts.next_if(|part| *part > rest).is_some() {}
        let part = *parts.peek()?;
        rest -= part;
        Some(part)
    })
}
