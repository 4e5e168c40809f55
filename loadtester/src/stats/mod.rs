//! What was measured: by task, since the last time somebody asked.

mod recorder;

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

pub(crate) use recorder::{Clock, Outcome, Recorder};

/// Times are recorded in microseconds to three significant digits.
pub const DIGITS: u8 = 3;

/// An empty histogram of microseconds that grows as needed.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("three digits are allowed")
}

/// Everything since the interval before, over all threads.
#[derive(Clone, Debug)]
pub struct Interval {
    /// By position in the scenario's tasks.
    pub tasks: Vec<TaskStats>,
    /// What went wrong, one entry for each task and message.
    pub failures: Vec<Failure>,
    /// Requests that were sent, at least in part, and given up because the test (or the user) ended. No failures, and not in
    /// [`TaskStats::requests`].
    pub unfinished: u64,
    /// Requests that were due and not sent when the test ended: they waited in line, or for a connection.
    pub unstarted: u64,
    /// Connections.
    pub connections: Connections,
    /// Open loop: what came between the schedule and the wire.
    pub schedule: ScheduleStats,
    /// Slowest requests with a sampled trace, slowest first; at most [`SLOWEST`].
    pub slowest: Vec<SlowTrace>,
}

/// One task's part of an [`Interval`].
#[derive(Clone, Debug)]
pub struct TaskStats {
    /// Finished requests, failures included.
    pub requests: u64,
    /// Requests without the expected answer.
    pub failures: u64,
    /// Of the requests, those without a time: they ended without an answer and not by a timeout.
    pub untimed: u64,
    /// Bytes of bodies received.
    pub bytes: u64,
    /// Sum of the service times.
    pub total: Duration,
    /// Least service time.
    pub min: Option<Duration>,
    /// Greatest service time.
    pub max: Option<Duration>,
    /// µs from the start of a request (or of the connection that it had to open) to its last byte, of all timed requests.
    pub service: Histogram<u64>,
    /// µs from the intended start to the last byte. Empty in a closed loop, where it is the same.
    pub response: Histogram<u64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// By the Unix second in which requests finished, in ascending order.
    pub seconds: Vec<Second>,
    /// Start of the first request that finished in this interval, in Unix seconds.
    pub first_start: Option<f64>,
    /// End of the last request, in Unix seconds.
    pub last_end: Option<f64>,
}

/// Requests of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// Unix time.
    pub unix: u64,
    /// Finished in it, failures included.
    pub requests: u64,
    /// Of those, failures.
    pub failures: u64,
}

/// Failures of one task that are described by the same words.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Position in the scenario's tasks.
    pub task: usize,
    /// What went wrong.
    pub kind: ErrorKind,
    /// The same in words, with details.
    pub message: String,
    /// How often.
    pub occurrences: u64,
    /// Unix seconds.
    pub first_seen: f64,
    /// Unix seconds.
    pub last_seen: f64,
}

/// What can go wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The name of the host has no address.
    Dns,
    /// Nobody listens.
    Refused,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// No connection for another reason.
    Connect,
    /// TLS did not come about.
    Tls,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the end of the answer.
    Incomplete,
    /// What came is not HTTP.
    Protocol,
    /// Not finished within the request's timeout.
    Timeout,
    /// An answer with a status that was not expected.
    Status,
    /// A value to be saved is not in the answer.
    Missing,
}

impl ErrorKind {
    /// As in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Incomplete => "incomplete",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Missing => "missing",
        }
    }

    /// Whether there was no connection to send anything on.
    #[must_use]
    pub const fn unreachable(self) -> bool {
        matches!(self, Self::Dns | Self::Refused | Self::ConnectTimeout | Self::Connect | Self::Tls)
    }
}

/// What happened to connections.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Attempts that succeeded.
    pub opened: u64,
    /// µs to open one, name lookup and TLS included.
    pub time: Histogram<u64>,
}

/// What came between the schedule of an open loop and the wire.
#[derive(Clone, Debug)]
pub struct ScheduleStats {
    /// Arrivals that were due, whatever became of them.
    pub due: u64,
    /// Arrivals that found all permitted connections in use, and waited.
    pub queued: u64,
    /// µs by which the generator itself was late: from the intended start until the arrival was taken up.
    pub late: Histogram<u64>,
    /// µs from the intended start to the start.
    pub delay: Histogram<u64>,
}

/// How many slow traces are kept.
pub const SLOWEST: usize = 5;

/// A slow request that can be looked up by its trace.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SlowTrace {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Position in the scenario's tasks.
    pub task: usize,
    /// From the start to the last byte, in microseconds.
    pub service_us: u64,
}

impl Interval {
    /// Nothing, for this number of tasks.
    #[must_use]
    pub fn empty(tasks: usize) -> Self {
        Self {
            tasks: vec![TaskStats::empty(); tasks],
            failures: Vec::new(),
            unfinished: 0,
            unstarted: 0,
            connections: Connections { opened: 0, time: histogram() },
            schedule: ScheduleStats { due: 0, queued: 0, late: histogram(), delay: histogram() },
            slowest: Vec::new(),
        }
    }

    /// Adds what another thread, or a later interval, has seen of the same tasks.
    pub fn merge(&mut self, other: Self) {
        for (mine, others) in self.tasks.iter_mut().zip(other.tasks) {
            mine.merge(others);
        }
        for failure in other.failures {
            let same = |mine: &&mut Failure| mine.task == failure.task && mine.message == failure.message;
            match self.failures.iter_mut().find(same) {
                Some(mine) => {
                    mine.occurrences += failure.occurrences;
                    mine.first_seen = mine.first_seen.min(failure.first_seen);
                    mine.last_seen = mine.last_seen.max(failure.last_seen);
                }
                None => self.failures.push(failure),
            }
        }
        self.unfinished += other.unfinished;
        self.unstarted += other.unstarted;
        self.connections.opened += other.connections.opened;
        add(&mut self.connections.time, &other.connections.time);
        self.schedule.due += other.schedule.due;
        self.schedule.queued += other.schedule.queued;
        add(&mut self.schedule.late, &other.schedule.late);
        add(&mut self.schedule.delay, &other.schedule.delay);
        self.slowest.extend(other.slowest);
        self.slowest.sort_by_key(|trace| std::cmp::Reverse(trace.service_us));
        self.slowest.truncate(SLOWEST);
    }

    /// Finished requests of all tasks.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.tasks.iter().map(|task| task.requests).sum()
    }
}

impl TaskStats {
    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            requests: 0,
            failures: 0,
            untimed: 0,
            bytes: 0,
            total: Duration::ZERO,
            min: None,
            max: None,
            service: histogram(),
            response: histogram(),
            statuses: BTreeMap::new(),
            seconds: Vec::new(),
            first_start: None,
            last_end: None,
        }
    }

    /// Adds what another thread, another interval or another task has seen.
    pub fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.untimed += other.untimed;
        self.bytes += other.bytes;
        self.total += other.total;
        self.min = self.min.into_iter().chain(other.min).min();
        self.max = self.max.max(other.max);
        add(&mut self.service, &other.service);
        add(&mut self.response, &other.response);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for second in other.seconds {
            match self.seconds.binary_search_by_key(&second.unix, |mine| mine.unix) {
                Ok(at) => {
                    self.seconds[at].requests += second.requests;
                    self.seconds[at].failures += second.failures;
                }
                Err(at) => self.seconds.insert(at, second),
            }
        }
        self.first_start = self.first_start.into_iter().chain(other.first_start).reduce(f64::min);
        self.last_end = self.last_end.into_iter().chain(other.last_end).reduce(f64::max);
    }
}

/// Adds one histogram to another.
pub(crate) fn add(to: &mut Histogram<u64>, from: &Histogram<u64>) {
    to.add(from).expect("a histogram that grows takes any value");
}

#[cfg(test)]
mod tests;
