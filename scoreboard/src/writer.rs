//! The view of a worker: its own slot, and the master's phase.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;

use rustcorn_sys::log::Level;
use rustcorn_sys::{Monotonic, Pid};

use crate::counts::{EXCEPTION, log_index, status_index};
use crate::lane::{Lane, bump};
use crate::layout::{LANES, RECORDS, Slot};
use crate::map::{self, HeaderView, Mapped};
use crate::polled::{PolledText, Record};
use crate::{Phase, Refusal, State, histogram};

/// How many threads of the worker serve requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threads {
    /// One, always the same: counting is plain loads and stores. Connection, request and poll methods called from a
    /// second thread would lose counts (the other methods are safe from any thread either way).
    One,
    /// Any number: each count takes a few locked instructions.
    Many,
}

/// A worker's own slot. Counting does no system call, takes no lock and allocates nothing.
pub struct Writer {
    header: HeaderView,
    slot: Mapped<Slot>,
    /// `None` is [`Threads::One`].
    claims: Option<Box<Claims>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Takes the slot that the master has emptied for this process.
    ///
    /// # Errors
    /// The descriptor is not a scoreboard, or was made by a rustcorn whose layout differs, or has no such slot; the message
    /// says what to do. Else the kernel's, from mmap(2).
    pub fn attach(fd: OwnedFd, slot: usize, threads: Threads) -> io::Result<Self> {
        let header = HeaderView::open(fd.as_fd())?;
        let slot = map::slot(fd.as_fd(), slot)?;
        drop(fd); // the mappings stay
        let (lanes, claims) = match threads {
            Threads::One => (1, None),
            Threads::Many => (LANES as u32, Some(Box::default())),
        };
        slot.identity.uncounted.store(0, Relaxed); // a deputy whose worker could not be started may have been here
        slot.identity.lanes.store(lanes, Release);
        Ok(Self { header, slot, claims })
    }

    /// Signs in: [`State::Booting`].
    pub fn boot(&self, pid: Pid, generation: u32) {
        self.slot.identity.sign_in(pid, generation);
    }

    /// Says where in its life the worker is.
    pub fn set_state(&self, state: State) {
        self.slot.identity.set_state(state);
    }

    /// What the master is about.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.header.phase()
    }

    /// A sign of life.
    pub fn beat(&self, now: Monotonic) {
        self.slot.identity.beat.store(now.as_nanos(), Relaxed);
    }

    /// A connection was accepted.
    #[inline]
    pub fn connection_opened(&self) {
        self.add(&self.slot.plain.accepted, 1);
        self.add(&self.slot.plain.connections, 1);
    }

    /// An accepted connection is closed.
    #[inline]
    pub fn connection_closed(&self) {
        self.subtract(&self.slot.plain.connections);
    }

    /// A request's head has been read. Ends with [`Self::request_finished`] or [`Self::request_aborted`].
    #[inline]
    pub fn request_started(&self) {
        self.add(&self.slot.plain.in_flight, 1);
    }

    /// The request was answered. From the one store that counts it on, the request is in the totals whatever happens.
    #[inline]
    pub fn request_finished(&self, status: u16, took: Duration, bytes: u64) {
        let (code, bucket) = (status_index(status), histogram::bucket(took));
        match &self.claims {
            None => self.slot.lanes[0].count(code, bucket, bytes),
            Some(claims) => claims.with_lane(&self.slot.lanes, |lane| lane.count(code, bucket, bytes)),
        }
        // After the count: a worker killed in between shows one in flight too many, never an unanswered request as none.
        self.subtract(&self.slot.plain.in_flight);
    }

    /// The client left before it had an answer.
    #[inline]
    pub fn request_aborted(&self) {
        self.add(&self.slot.plain.aborted, 1);
        self.subtract(&self.slot.plain.in_flight);
    }

    /// A request was refused. From any thread.
    pub fn request_refused(&self, why: Refusal) {
        self.slot.plain.refused[why as usize].fetch_add(1, Relaxed);
    }

    /// A log line of this level was written, or would have been: warning and above are counted. From any thread.
    pub fn logged(&self, level: Level) {
        if let Some(kind) = log_index(level) {
            self.slot.plain.log[kind].fetch_add(1, Relaxed);
        }
    }

    /// The application panicked. From any thread.
    pub fn logged_exception(&self) {
        self.slot.plain.log[EXCEPTION].fetch_add(1, Relaxed);
    }

    /// A TLS handshake came to nothing. From any thread.
    pub fn handshake_failed(&self) {
        self.slot.plain.handshakes_failed.fetch_add(1, Relaxed);
    }

    /// `n` lines of the access log could not be written. From any thread.
    pub fn access_lines_lost(&self, n: u64) {
        self.slot.plain.access_lines_lost.fetch_add(n, Relaxed);
    }

    /// A span has ended and waits to be sent. From any thread, as the two below.
    pub fn span_waits(&self) {
        self.slot.plain.spans_waiting.fetch_add(1, Relaxed);
    }

    /// `n` of the spans that waited have arrived.
    pub fn spans_sent(&self, n: u64) {
        self.slot.plain.spans_waiting.fetch_sub(n, Relaxed);
    }

    /// `n` spans are lost, `waited` of which had been waiting.
    pub fn spans_lost(&self, n: u64, waited: u64) {
        // Dropped first: a worker killed in between is said to have lost too many, never too few.
        self.slot.plain.spans_dropped.fetch_add(n, Relaxed);
        self.slot.plain.spans_waiting.fetch_sub(waited, Relaxed);
    }

    /// Shows the request as being polled until the guard is dropped: by return or by panic. Not nested on one thread.
    #[inline]
    #[must_use = "the request is shown while the guard lives"]
    pub fn poll_begin(&self, text: &PolledText, now: Monotonic) -> Polling<'_> {
        let polling = match &self.claims {
            None => Polling { record: Some(&self.slot.records[0]), claim: None },
            Some(claims) => claims.record(&self.slot.records),
        };
        if let Some(record) = polling.record {
            record.begin(text, now);
        }
        polling
    }

    #[inline]
    fn add(&self, counter: &AtomicU64, by: u64) {
        match self.claims {
            None => bump(counter, by),
            Some(_) => _ = counter.fetch_add(by, Relaxed),
        }
    }

    /// One less. Each call follows its [`Self::add`]; where a caller breaks that, a gauge wraps and no total suffers.
    #[inline]
    fn subtract(&self, gauge: &AtomicU64) {
        self.add(gauge, u64::MAX);
    }
}

/// The poll of one request; dropped when it ends.
pub struct Polling<'a> {
    /// `None` where more threads poll at once than there are records: those are not shown.
    record: Option<&'a Record>,
    claim: Option<&'a Claim>,
}

impl Drop for Polling<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(record) = self.record {
            record.end();
        }
        if let Some(claim) = self.claim {
            claim.release();
        }
    }
}

/// Which thread has which lane and record. This is in the process's own memory: a killed worker leaves nothing locked.
#[derive(Default)]
struct Claims {
    lanes: [Claim; LANES],
    records: [Claim; RECORDS],
}

/// A cache line each, so that threads meet only when they want the same one.
#[derive(Default)]
#[repr(align(64))]
struct Claim(AtomicBool);

impl Claim {
    fn take(&self) -> bool {
        !self.0.swap(true, Acquire)
    }

    fn release(&self) {
        self.0.store(false, Release);
    }
}

impl Claims {
    /// Gives the thread a lane to itself: its usual one, or the next that is free. A lane is held for nanoseconds, so to
    /// find all of them taken needs as many threads preempted in just those.
    fn with_lane(&self, lanes: &[Lane; LANES], count: impl FnOnce(&Lane)) {
        let mut at = thread_number();
        loop {
            let claim = &self.lanes[at % LANES];
            if claim.take() {
                count(&lanes[at % LANES]);
                return claim.release();
            }
            at += 1;
            std::hint::spin_loop();
        }
    }

    fn record<'a>(&'a self, records: &'a [Record; RECORDS]) -> Polling<'a> {
        let first = thread_number();
        for at in (first..first + RECORDS).map(|at| at % RECORDS) {
            if self.records[at].take() {
                return Polling { record: Some(&records[at]), claim: Some(&self.records[at]) };
            }
        }
        Polling { record: None, claim: None }
    }
}

/// A small number for each thread that asks.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Relaxed));
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests;
