//! One thread's books: written without a lock, handed over whole.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use crate::stats::{ErrorKind, Failure, Interval, SLOWEST, Second, SlowTrace};

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// Bytes of its body.
    pub(crate) bytes: u64,
    /// Why it is a failure, if it is one.
    pub(crate) error: Option<(ErrorKind, String)>,
}

/// Nanoseconds since a moment that all threads share, and the wall clock of that moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
    unix: Duration,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "results name the time of day; nothing is decided by it")]
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { base: Instant::now(), unix }
    }

    pub(crate) fn now(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    pub(crate) fn instant(&self, nanos: u64) -> Instant {
        self.base + Duration::from_nanos(nanos)
    }

    fn unix(&self, nanos: u64) -> f64 {
        (self.unix + Duration::from_nanos(nanos)).as_secs_f64()
    }
}

/// One thread's books.
pub(crate) struct Recorder {
    clock: Clock,
    /// Whether response times differ from service times.
    open: bool,
    interval: Interval,
}

impl Recorder {
    pub(crate) fn new(clock: Clock, open: bool, tasks: usize) -> Self {
        Self { clock, open, interval: Interval::empty(tasks) }
    }

    /// Hands over what was recorded and begins anew.
    pub(crate) fn take(&mut self) -> Interval {
        let tasks = self.interval.tasks.len();
        std::mem::replace(&mut self.interval, Interval::empty(tasks))
    }

    /// A request has ended. Times are of the clock.
    pub(crate) fn request(&mut self, task: usize, intended: u64, start: u64, end: u64, outcome: Outcome) {
        let stats = &mut self.interval.tasks[task];
        let service = end.saturating_sub(start);
        stats.requests += 1;
        stats.bytes += outcome.bytes;
        if let Some(status) = outcome.status {
            *stats.statuses.entry(status).or_default() += 1;
        }
        let timed = match &outcome.error {
            Some((kind, _)) => {
                outcome.status.is_some() || matches!(kind, ErrorKind::Timeout | ErrorKind::ConnectTimeout)
            }
            None => true,
        };
        if timed {
            let duration = Duration::from_nanos(service);
            stats.total += duration;
            stats.min = Some(stats.min.map_or(duration, |min| min.min(duration)));
            stats.max = stats.max.max(Some(duration));
            record(&mut stats.service, service);
            if self.open {
                record(&mut stats.response, end.saturating_sub(intended));
            }
        } else {
            stats.untimed += 1;
        }
        let failed = outcome.error.is_some();
        stats.failures += u64::from(failed);
        let nanos = u128::from(end) + self.clock.unix.as_nanos();
        let unix = (nanos / 1_000_000_000) as u64;
        match stats.seconds.last_mut() {
            Some(second) if second.unix == unix => {
                second.requests += 1;
                second.failures += u64::from(failed);
            }
            _ => stats.seconds.push(Second { unix, requests: 1, failures: u64::from(failed) }),
        }
        let began = self.clock.unix(start);
        stats.first_start = Some(stats.first_start.map_or(began, |first| first.min(began)));
        stats.last_end = Some(self.clock.unix(end));
        if let Some((kind, message)) = outcome.error {
            self.failure(task, kind, message, self.clock.unix(end));
        }
    }

    fn failure(&mut self, task: usize, kind: ErrorKind, message: String, now: f64) {
        let mut failures = self.interval.failures.iter_mut();
        match failures.find(|failure| failure.task == task && failure.message == message) {
            Some(failure) => {
                failure.occurrences += 1;
                failure.last_seen = now;
            }
            None => {
                let (first_seen, last_seen) = (now, now);
                self.interval.failures.push(Failure { task, kind, message, occurrences: 1, first_seen, last_seen });
            }
        }
    }

    /// A request was given up because the test ended.
    pub(crate) fn unfinished(&mut self, sent: bool) {
        if sent { self.interval.unfinished += 1 } else { self.interval.unstarted += 1 }
    }

    /// So many arrivals were never sent because the test ended.
    pub(crate) fn unstarted(&mut self, count: u64) {
        self.interval.unstarted += count;
    }

    /// A connection was opened in this many nanoseconds.
    pub(crate) fn connected(&mut self, nanos: u64) {
        self.interval.connections.opened += 1;
        record(&mut self.interval.connections.time, nanos);
    }

    /// An arrival was taken up, so late.
    pub(crate) fn arrival(&mut self, late: u64, queued: bool) {
        self.interval.schedule.due += 1;
        self.interval.schedule.queued += u64::from(queued);
        record(&mut self.interval.schedule.late, late);
    }

    /// An arrival was due, and the test ended before it was taken up.
    pub(crate) fn missed(&mut self) {
        self.interval.schedule.due += 1;
        self.interval.unstarted += 1;
    }

    /// An arrival was started, so long after its intended start.
    pub(crate) fn delay(&mut self, nanos: u64) {
        record(&mut self.interval.schedule.delay, nanos);
    }

    /// A request with a sampled trace has ended.
    pub(crate) fn trace(&mut self, task: usize, service: u64, trace_id: u128) {
        let service_us = service / 1000;
        let slowest = &mut self.interval.slowest;
        let at = slowest.partition_point(|trace| trace.service_us >= service_us);
        if at < SLOWEST {
            slowest.truncate(SLOWEST - 1);
            slowest.insert(at, SlowTrace { trace_id: format!("{trace_id:032x}"), task, service_us });
        }
    }
}

/// In microseconds, rounded; below one counts as one.
fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    histogram.record(((nanos + 500) / 1000).max(1)).expect("a histogram that grows takes any value");
}
