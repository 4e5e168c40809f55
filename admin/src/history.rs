//! The last five minutes, kept so that the page has something to show in the moment somebody opens it.

use std::collections::VecDeque;
use std::time::Duration;

use rustcorn_scoreboard::{Counts, Histogram, Snapshot};
use rustcorn_sys::Monotonic;
use serde::Serialize;

use crate::health::Census;

/// Time between two points.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);
const POINTS: usize = 150;
/// Points between two of the marks from which "the last minutes" are counted.
const MARK_EVERY: usize = 15;
/// Points that a rate of now is taken from.
const NOW: usize = 5;

/// What happened between two points in time.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Point {
    /// A second.
    pub(crate) requests: f64,
    /// Answers with 5xx, a second.
    pub(crate) errors: f64,
    /// Seconds.
    pub(crate) p50: Option<f64>,
    /// Seconds.
    pub(crate) p99: Option<f64>,
    pub(crate) in_flight: u64,
    pub(crate) connections: u64,
}

/// A few numbers for each point, and totals now and then.
#[derive(Debug)]
pub(crate) struct History {
    points: VecDeque<Point>,
    last: (Monotonic, Counts),
    /// Totals, each [`MARK_EVERY`] points, oldest first.
    marks: VecDeque<(Monotonic, Counts)>,
    /// Points ever taken.
    taken: usize,
}

impl History {
    /// Begins now.
    pub(crate) fn new(now: Monotonic, totals: &Counts) -> Self {
        let begin = (now, totals.clone());
        Self { points: VecDeque::new(), last: begin.clone(), marks: VecDeque::from([begin]), taken: 0 }
    }

    /// Takes a point.
    pub(crate) fn sample(&mut self, now: Monotonic, snapshot: &Snapshot) {
        let seconds = now.since(self.last.0).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let news = snapshot.totals.since(&self.last.1);
        let census = Census::of(snapshot);
        let errors: u64 = news.statuses().filter(|(code, _)| (500..600).contains(code)).map(|(_, count)| count).sum();
        let quantile = |q| news.durations.quantile(q).map(|took| took.as_secs_f64());
        self.points.push_back(Point {
            requests: news.requests as f64 / seconds,
            errors: errors as f64 / seconds,
            p50: quantile(0.5),
            p99: quantile(0.99),
            in_flight: census.in_flight,
            connections: census.connections,
        });
        if self.points.len() > POINTS {
            self.points.pop_front();
        }
        self.last = (now, snapshot.totals.clone());
        self.taken += 1;
        if self.taken.is_multiple_of(MARK_EVERY) {
            self.marks.push_back(self.last.clone());
            if self.marks.len() > POINTS / MARK_EVERY {
                self.marks.pop_front();
            }
        }
    }

    /// Oldest first.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.points.iter().copied().collect()
    }

    /// Requests and errors a second, of late.
    pub(crate) fn rates(&self) -> (f64, f64) {
        let latest = self.points.iter().rev().take(NOW);
        let count = latest.len().max(1) as f64;
        let (requests, errors) = latest.fold((0.0, 0.0), |sum, point| (sum.0 + point.requests, sum.1 + point.errors));
        (requests / count, errors / count)
    }

    /// What was counted in the last minutes, up to `totals`; and how long that is.
    pub(crate) fn recent(&self, now: Monotonic, totals: &Counts) -> (Duration, Histogram) {
        let (since, then) = self.marks.front().expect("there is always a mark");
        (now.since(*since), totals.durations.since(&then.durations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn rates_and_quantiles_are_those_of_the_interval() {
        let world = World::new();
        let worker = world.worker(0);
        let mut now = Monotonic::from_nanos(1_000_000_000);
        let mut history = History::new(now, &world.snapshot().totals);
        let serve = |count, status, millis| {
            for _ in 0..count {
                worker.request_started();
                worker.request_finished(status, Duration::from_millis(millis), 1);
            }
        };
        let mut tick = |history: &mut History| {
            now = now + INTERVAL;
            history.sample(now, &world.snapshot());
            *history.points.back().expect("just taken")
        };
        serve(98, 200, 10);
        serve(2, 503, 1000);
        let first = tick(&mut history);
        assert_eq!((first.requests, first.errors), (50.0, 1.0));
        assert!((first.p50.unwrap() - 0.01).abs() < 0.0001 && (first.p99.unwrap() - 1.0).abs() < 0.01, "{first:?}");
        let second = tick(&mut history);
        assert_eq!((second.requests, second.errors, second.p50), (0.0, 0.0, None));
        assert_eq!(history.rates(), (25.0, 0.5));
    }

    #[test]
    fn it_stays_small_and_forgets_what_is_long_ago() {
        let world = World::new();
        let worker = world.worker(0);
        let mut now = Monotonic::from_nanos(1_000_000_000);
        let mut history = History::new(now, &world.snapshot().totals);
        for _ in 0..1000 {
            worker.request_started();
            worker.request_finished(200, Duration::from_millis(1), 1);
            now = now + INTERVAL;
            history.sample(now, &world.snapshot());
        }
        assert_eq!((history.points.len(), history.marks.len()), (150, 10));
        let (time, recent) = history.recent(now, &world.snapshot().totals);
        assert!(time >= Duration::from_secs(270) && time <= Duration::from_secs(330), "{time:?}");
        assert_eq!(recent.total(), time.as_secs() / 2);
    }
}
