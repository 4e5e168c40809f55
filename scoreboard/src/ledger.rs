//! What the master writes for the admin process to read: the totals of past workers, who sits where, and its own figures.
//!
//! **The problem.** When a worker is gone, its counters go into the totals and its slot is cleared for the next one. A reader
//! that adds up totals and slots must never see those counters in both places (the sum would jump up, and back later) or in
//! neither (it would go back now).
//!
//! **The protocol.** A sequence lock around the fold: odd while the master moves counters from a slot to the totals and clears
//! the slot, even otherwise. A reader takes the number, then totals, seats and slots, then the number again, and starts over
//! if it changed. Folds are rare (a worker's end) and take microseconds.
//!
//! A seat is taken without the lock: the slot is empty then, so to see the seat late is to read a moment earlier. It is
//! given up inside the lock. What the next occupant counts comes after the fold: its process is started after it.
//!
//! The figures need not agree with anything, so they are plain atomics.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use std::time::Duration;

use rustcorn_sys::{Monotonic, Pid};

use crate::counts::STATUSES;
use crate::histogram::BUCKETS;
use crate::{Counts, Histogram, Phase, Refusal, SLOTS, Vitals};

/// Times a reader starts over. It yields in between, so that even on one CPU a master in the middle of a fold gets on.
const ATTEMPTS: u32 = 1000;

/// Why a worker ended without being asked to, and was replaced for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(usize)]
pub enum Cause {
    /// It left by itself.
    Exited = 0,
    /// It died of a signal (a crash) other than SIGKILL.
    Signal = 1,
    /// Somebody sent SIGKILL: perhaps the kernel, where it cannot be known.
    Killed = 2,
    /// Its event loop stood still, and it was aborted.
    Hang = 3,
    /// It never became ready.
    Boot = 4,
    /// The kernel killed it, out of memory.
    Oom = 5,
}

impl Cause {
    /// All of them, in the order of [`Figures::restarts`].
    pub const ALL: [Self; 6] = [Self::Exited, Self::Signal, Self::Killed, Self::Hang, Self::Boot, Self::Oom];

    /// One word, for the names and labels of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signal => "signal",
            Self::Killed => "killed",
            Self::Hang => "hang",
            Self::Boot => "boot",
            Self::Oom => "oom",
        }
    }
}

/// Why a worker that was well was replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(usize)]
pub enum Recycle {
    /// It had served `max_requests`.
    MaxRequests = 0,
    /// It had more memory than `max_rss`.
    MaxRss = 1,
    /// It had served for `worker_lifetime`.
    Lifetime = 2,
    /// An operator asked for it.
    Asked = 3,
}

impl Recycle {
    /// All of them, in the order of [`Figures::recycles`].
    pub const ALL: [Self; 4] = [Self::MaxRequests, Self::MaxRss, Self::Lifetime, Self::Asked];

    /// One word, for the names and labels of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxRequests => "max_requests",
            Self::MaxRss => "max_rss",
            Self::Lifetime => "lifetime",
            Self::Asked => "asked",
        }
    }
}

/// What the master knows and no worker does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Ready workers wanted.
    pub target: u64,
    /// The generation in force.
    pub generation: u32,
    /// Workers that ended unasked, by [`Cause`].
    pub restarts: [u64; Cause::ALL.len()],
    /// Workers that were replaced as planned, by [`Recycle`].
    pub recycles: [u64; Recycle::ALL.len()],
    /// Reloads that took effect.
    pub reloads_ok: u64,
    /// Reloads that changed nothing, since something was wrong.
    pub reloads_failed: u64,
}

/// What the master says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Master {
    /// Its process; `None` before it signed in.
    pub pid: Option<Pid>,
    /// When it started, as time since 1970.
    pub started: Duration,
    /// Its last sign of life.
    pub beat: Option<Monotonic>,
    /// Connections that waited to be accepted at that time; `None` where nobody can tell.
    pub backlog: Option<u64>,
}

/// A worker that was started and has not been reaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seat {
    /// Where it sits.
    pub slot: usize,
    /// When it was started.
    pub since: Monotonic,
    /// How it is.
    pub vitals: Vitals,
    /// What it has counted.
    pub counts: Counts,
}

/// The whole scoreboard at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// What the master is about.
    pub phase: Phase,
    /// What it says of itself.
    pub master: Master,
    /// And what it knows.
    pub figures: Figures,
    /// All that was counted since the master started, by the living and the dead. Never goes back.
    pub totals: Counts,
    /// The living, by slot.
    pub seats: Vec<Seat>,
}

impl Snapshot {
    /// Whether anybody counts, so that what is zero is known to be. False if all workers are some that know of no scoreboard.
    #[must_use]
    pub fn counted(&self) -> bool {
        self.seats.is_empty() || self.seats.iter().any(|seat| seat.vitals.counted)
    }
}

/// In shared memory, a part of the header.
#[repr(C, align(64))]
pub(crate) struct Ledger {
    /// Odd during a fold.
    sequence: AtomicU64,
    pid: AtomicU64,
    /// Nanoseconds since 1970.
    started: AtomicU64,
    beat: AtomicU64,
    /// One more than the number; 0 = unknown.
    backlog: AtomicU64,
    target: AtomicU64,
    generation: AtomicU64,
    reloads_ok: AtomicU64,
    reloads_failed: AtomicU64,
    restarts: [AtomicU64; Cause::ALL.len()],
    recycles: [AtomicU64; Recycle::ALL.len()],
    log: [AtomicU64; 3],
    past: Past,
    /// Nanoseconds since boot at which the seat was taken; 0 = free. Who looks here first need not touch slots that nobody
    /// uses, which would make pages of them.
    seats: [AtomicU64; SLOTS],
}

/// [`Counts`] of the workers that are gone.
#[repr(C)]
struct Past {
    accepted: AtomicU64,
    aborted: AtomicU64,
    bytes: AtomicU64,
    spans_dropped: AtomicU64,
    handshakes_failed: AtomicU64,
    access_lines_lost: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    log: [AtomicU64; 4],
    status: [AtomicU64; STATUSES],
    durations: [AtomicU64; BUCKETS],
}

impl Ledger {
    pub(crate) fn sign_in(&self, pid: Pid, started: Duration) {
        self.started.store(u64::try_from(started.as_nanos()).unwrap_or(0), Relaxed);
        self.pid.store(u64::from(pid.as_raw().unsigned_abs()), Relaxed);
    }

    pub(crate) fn beat(&self, now: Monotonic) {
        self.beat.store(now.as_nanos(), Relaxed);
    }

    pub(crate) fn publish_backlog(&self, backlog: Option<u64>) {
        self.backlog.store(backlog.map_or(0, |waiting| waiting.saturating_add(1)), Relaxed);
    }

    pub(crate) fn publish_log(&self, lines: [u64; 3]) {
        store_all(&self.log, &lines);
    }

    pub(crate) fn publish(&self, figures: &Figures) {
        let Figures { target, generation, restarts, recycles, reloads_ok, reloads_failed } = figures;
        self.target.store(*target, Relaxed);
        self.generation.store(u64::from(*generation), Relaxed);
        store_all(&self.restarts, restarts);
        store_all(&self.recycles, recycles);
        self.reloads_ok.store(*reloads_ok, Relaxed);
        self.reloads_failed.store(*reloads_failed, Relaxed);
    }

    pub(crate) fn take_seat(&self, slot: usize, now: Monotonic) {
        self.seats[slot].store(now.as_nanos().max(1), Release);
    }

    /// Adds `last` to the past and lets `clear` clear the slot, as one step for every reader.
    pub(crate) fn fold(&self, slot: usize, last: &Counts, clear: impl FnOnce()) {
        let even = self.sequence.load(Relaxed);
        self.sequence.store(even + 1, Relaxed);
        fence(Release); // who sees any store below sees the odd number, or a later one
        self.past.add(last);
        clear();
        self.seats[slot].store(0, Relaxed);
        self.sequence.store(even + 2, Release);
    }

    /// Gives `read` the past, until it could look at all slots without a fold coming in between and is content.
    pub(crate) fn stable<T>(&self, read: impl Fn(Counts) -> Option<T>) -> Option<T> {
        for _ in 0..ATTEMPTS {
            let before = self.sequence.load(Acquire);
            if before & 1 == 0 {
                let mut past = self.past.read();
                past.log.iter_mut().zip(&self.log).for_each(|(to, lines)| *to += lines.load(Relaxed));
                let found = read(past);
                fence(Acquire);
                if found.is_some() && self.sequence.load(Relaxed) == before {
                    return found;
                }
            }
            std::thread::yield_now();
        }
        None
    }

    /// Seats that are taken, and since when.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (usize, Monotonic)> {
        let taken = |(slot, since): (usize, &AtomicU64)| match since.load(Acquire) {
            0 => None,
            nanos => Some((slot, Monotonic::from_nanos(nanos))),
        };
        self.seats.iter().enumerate().filter_map(taken)
    }

    pub(crate) fn master(&self) -> Master {
        let nonzero = |word: &AtomicU64| Some(word.load(Relaxed)).filter(|value| *value != 0);
        Master {
            pid: nonzero(&self.pid).and_then(|pid| pid.try_into().ok()).and_then(Pid::from_raw),
            started: Duration::from_nanos(self.started.load(Relaxed)),
            beat: nonzero(&self.beat).map(Monotonic::from_nanos),
            backlog: nonzero(&self.backlog).map(|more| more - 1),
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            target: self.target.load(Relaxed),
            generation: u32::try_from(self.generation.load(Relaxed)).unwrap_or(u32::MAX),
            restarts: self.restarts.each_ref().map(|count| count.load(Relaxed)),
            recycles: self.recycles.each_ref().map(|count| count.load(Relaxed)),
            reloads_ok: self.reloads_ok.load(Relaxed),
            reloads_failed: self.reloads_failed.load(Relaxed),
        }
    }
}

impl Past {
    fn add(&self, counts: &Counts) {
        // Without `..`: a counter that is new must be kept here, too. Requests are the sum of the status codes.
        let Counts {
            accepted,
            requests: _,
            aborted,
            bytes,
            spans_dropped,
            handshakes_failed,
            access_lines_lost,
            refused,
            status,
            log,
            durations,
        } = counts;
        add(&self.accepted, *accepted);
        add(&self.aborted, *aborted);
        add(&self.bytes, *bytes);
        add(&self.spans_dropped, *spans_dropped);
        add(&self.handshakes_failed, *handshakes_failed);
        add(&self.access_lines_lost, *access_lines_lost);
        self.refused.iter().zip(refused).for_each(|(to, more)| add(to, *more));
        self.log.iter().zip(log).for_each(|(to, more)| add(to, *more));
        self.status.iter().zip(&**status).for_each(|(to, more)| add(to, *more));
        self.durations.iter().zip(durations.buckets()).for_each(|(to, more)| add(to, *more));
    }

    fn read(&self) -> Counts {
        let mut status = Box::new([0; STATUSES]);
        status.iter_mut().zip(&self.status).for_each(|(to, from)| *to = from.load(Relaxed));
        let mut durations = Histogram::default();
        durations.buckets_mut().iter_mut().zip(&self.durations).for_each(|(to, from)| *to = from.load(Relaxed));
        Counts {
            accepted: self.accepted.load(Relaxed),
            requests: status.iter().sum(),
            aborted: self.aborted.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            spans_dropped: self.spans_dropped.load(Relaxed),
            handshakes_failed: self.handshakes_failed.load(Relaxed),
            access_lines_lost: self.access_lines_lost.load(Relaxed),
            refused: self.refused.each_ref().map(|count| count.load(Relaxed)),
            status,
            log: self.log.each_ref().map(|count| count.load(Relaxed)),
            durations,
        }
    }
}

/// The master is the only writer. A zero is not added: it would make a page of memory where nothing was counted.
fn add(to: &AtomicU64, more: u64) {
    if more > 0 {
        crate::lane::bump(to, more);
    }
}

fn store_all(to: &[AtomicU64], from: &[u64]) {
    to.iter().zip(from).for_each(|(to, from)| to.store(*from, Relaxed));
}

#[cfg(test)]
mod tests;
