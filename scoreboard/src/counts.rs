//! What a reader holds in its own memory: the counters of one worker, of many, or of the time between two reads.

use std::time::Duration;

use rustcorn_sys::log::Level;

use crate::Histogram;
use crate::lane::LaneCopy;

/// Entries of [`Counts::status`]: one per code from 100 to 599, and [`OTHER_STATUS`].
pub const STATUSES: usize = 501;
/// Index in [`Counts::status`] of every code outside 100..=599.
pub const OTHER_STATUS: usize = 500;

/// Counters that only go up. `requests`, the sum of `status` and the total of `durations` are equal; only in a read of a
/// worker that finished requests faster than they could be read may some lag, by what the next read brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: u64,
    /// Requests answered.
    pub requests: u64,
    /// Requests whose client left before an answer; not in `requests`.
    pub aborted: u64,
    /// Bytes of the answers, as told by the worker.
    pub bytes: u64,
    /// Requests by status code; index 0 is code 100, and [`OTHER_STATUS`] is everything else.
    pub status: Box<[u64; STATUSES]>,
    /// Log lines: critical, error, warning, exception.
    pub log: [u64; 4],
    /// Spans that were not delivered to the collector.
    pub spans_dropped: u64,
    /// Connections whose TLS handshake came to nothing.
    pub handshakes_failed: u64,
    /// Lines of the access log that could not be written.
    pub access_lines_lost: u64,
    /// Requests that HTTP's rules or limits refused, in the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
    /// Requests by duration.
    pub durations: Histogram,
}

/// What a request was refused for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Refusal {
    /// Its line.
    Line,
    /// A header.
    Header,
    /// Where it ends cannot be told for sure, or its body is malformed.
    Framing,
    /// Its size.
    Size,
    /// Its slowness.
    Time,
    /// A header of the PROXY protocol.
    Proxy,
}

impl Refusal {
    /// All of them, in the order of [`Counts::refused`].
    pub const ALL: [Self; 6] = [Self::Line, Self::Header, Self::Framing, Self::Size, Self::Time, Self::Proxy];

    /// The name that metrics use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Header => "header",
            Self::Framing => "framing",
            Self::Size => "size",
            Self::Time => "time",
            Self::Proxy => "proxy",
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            accepted: 0,
            requests: 0,
            aborted: 0,
            bytes: 0,
            status: Box::new([0; STATUSES]),
            log: [0; 4],
            spans_dropped: 0,
            handshakes_failed: 0,
            access_lines_lost: 0,
            refused: [0; Refusal::ALL.len()],
            durations: Histogram::default(),
        }
    }
}

impl Counts {
    /// Counts one answered request.
    pub fn record(&mut self, status: u16, took: Duration, bytes: u64) {
        self.requests += 1;
        self.bytes += bytes;
        self.status[status_index(status)] += 1;
        self.durations.record(took);
    }

    /// The status codes that were seen, lowest first, and how often. Codes outside 100..=599 come last, together, as 600.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        (100..).zip(self.status.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// Takes over what `other` counted.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.requests += other.requests;
        self.aborted += other.aborted;
        self.bytes += other.bytes;
        add_all(&mut self.status[..], &other.status[..]);
        add_all(&mut self.log, &other.log);
        self.spans_dropped += other.spans_dropped;
        self.handshakes_failed += other.handshakes_failed;
        self.access_lines_lost += other.access_lines_lost;
        add_all(&mut self.refused, &other.refused);
        self.durations.add(&other.durations);
    }

    pub(crate) fn add_lane(&mut self, lane: &LaneCopy) {
        let status = &lane.status[..STATUSES];
        self.bytes += lane.bytes;
        self.requests += status.iter().sum::<u64>();
        add_all(&mut self.status[..], status);
        self.durations.add_buckets(&lane.durations);
    }

    /// What was counted after `earlier`; a counter that went down (its slot was reset) counts as unchanged.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut status = self.status.clone();
        status.iter_mut().zip(&*earlier.status).for_each(|(to, from)| *to = to.saturating_sub(*from));
        Self {
            accepted: self.accepted.saturating_sub(earlier.accepted),
            requests: status.iter().sum(),
            aborted: self.aborted.saturating_sub(earlier.aborted),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            status,
            log: std::array::from_fn(|kind| self.log[kind].saturating_sub(earlier.log[kind])),
            spans_dropped: self.spans_dropped.saturating_sub(earlier.spans_dropped),
            handshakes_failed: self.handshakes_failed.saturating_sub(earlier.handshakes_failed),
            access_lines_lost: self.access_lines_lost.saturating_sub(earlier.access_lines_lost),
            refused: std::array::from_fn(|kind| self.refused[kind].saturating_sub(earlier.refused[kind])),
            durations: self.durations.since(&earlier.durations),
        }
    }
}

/// Index of a code in [`Counts::status`].
#[inline]
pub(crate) const fn status_index(status: u16) -> usize {
    // Codes below 100 wrap around to large numbers.
    let index = status.wrapping_sub(100) as usize;
    if index < OTHER_STATUS { index } else { OTHER_STATUS }
}

/// Index in [`Counts::log`] of an exception: a panic, in Rust.
pub(crate) const EXCEPTION: usize = 3;

/// Index in [`Counts::log`]; `None` for lines that gunicorn does not count.
pub(crate) const fn log_index(level: Level) -> Option<usize> {
    match level {
        Level::Critical => Some(0),
        Level::Error => Some(1),
        Level::Warning => Some(2),
        Level::Info | Level::Debug => None,
    }
}

fn add_all(to: &mut [u64], from: &[u64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

#[cfg(test)]
mod tests;
