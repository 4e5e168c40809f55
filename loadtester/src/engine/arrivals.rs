//! When arrivals of an open loop come: pure arithmetic on a rate that goes in straight lines.
//!
//! The integral of the rate over time counts arrivals. A constant schedule has an arrival where it passes a whole number; a
//! Poisson schedule where it passes the sum of independent exponential steps. Both are found by inverting the integral.

use std::time::Duration;

use crate::scenario::{Arrivals, Load};

/// A rate over time, and how arrivals are spread under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    lines: Vec<Line>,
    arrivals: Arrivals,
}

/// The rate goes from one value to another in a straight line. Times in seconds, from the start of the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    start: f64,
    length: f64,
    from: f64,
    to: f64,
    /// Arrivals before this line.
    before: f64,
}

impl Line {
    /// Arrivals of the line in its first `time` seconds.
    fn count(&self, time: f64) -> f64 {
        self.from * time + (self.to - self.from) * time * time / (2.0 * self.length)
    }

    /// The inverse.
    fn time(&self, count: f64) -> f64 {
        // The root of a quadratic in the form that stays exact when the slope is near zero.
        let slope = (self.to - self.from) / self.length;
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        if self.from + root > 0.0 { 2.0 * count / (self.from + root) } else { 0.0 }
    }
}

impl Schedule {
    /// Of a scenario with a rate. Without stages and duration it has no end.
    #[must_use]
    pub fn new(load: &Load) -> Option<Self> {
        let rate = load.rate?;
        let mut schedule = Self { lines: Vec::new(), arrivals: load.arrivals };
        if load.stages.is_empty() {
            let ramp = load.duration.map_or(load.ramp_up, |duration| duration.min(load.ramp_up));
            // A test that ends in the ramp ends below the rate.
            let reached =
                if load.ramp_up.is_zero() { rate } else { rate * ramp.as_secs_f64() / load.ramp_up.as_secs_f64() };
            schedule.push(ramp, 0.0, reached);
            let rest = load.duration.map_or(Duration::MAX, |duration| duration.saturating_sub(ramp));
            schedule.push(rest, rate, rate);
        }
        let mut from = 0.0;
        for stage in &load.stages {
            schedule.push(stage.duration, from, stage.target);
            from = stage.target;
        }
        Some(schedule)
    }

    fn push(&mut self, length: Duration, from: f64, to: f64) {
        if length.is_zero() {
            return;
        }
        let (start, before) = self
            .lines
            .last()
            .map_or((0.0, 0.0), |line| (line.start + line.length, line.before + line.count(line.length)));
        self.lines.push(Line { start, length: length.as_secs_f64(), from, to, before });
    }

    /// Arrivals until `time`.
    #[must_use]
    pub fn due(&self, time: Duration) -> f64 {
        let time = time.as_secs_f64();
        let Some(line) = self.lines.iter().rev().find(|line| line.start <= time) else { return 0.0 };
        line.before + line.count((time - line.start).min(line.length))
    }

    /// The time at which `count` arrivals are over; none if there are never so many.
    fn time(&self, count: f64) -> Option<Duration> {
        let line = self.lines.iter().find(|line| count < line.before + line.count(line.length))?;
        Some(Duration::from_secs_f64(line.start + line.time(count - line.before)))
    }

    /// Intended starts of one thread's share of the arrivals, in order.
    pub(crate) fn share(
        &self,
        thread: usize,
        threads: usize,
        mut random: fastrand::Rng,
    ) -> impl Iterator<Item = Duration> + use<> {
        let schedule = self.clone();
        let (constant, threads) = (self.arrivals == Arrivals::Constant, threads as f64);
        let mut count = if constant { thread as f64 } else { 0.0 };
        std::iter::from_fn(move || {
            if !constant {
                // Shares of a Poisson process are Poisson processes with a share of the rate.
                count -= threads * (1.0 - random.f64()).ln();
            }
            let time = schedule.time(count);
            if constant {
                count += threads;
            }
            time
        })
    }
}

#[cfg(test)]
mod tests;
