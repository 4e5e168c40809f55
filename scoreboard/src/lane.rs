//! The counters that must agree with each other: status codes, durations, and through them the number of requests.
//!
//! **The problem.** A finished request adds one to a status counter and one to a duration bucket. That is two stores, and
//! a SIGKILL may come between them; yet the requests, status codes and timers that statsd is told must all sum to the same.
//!
//! **The protocol.** One word, `commit`, is the truth: `number of requests << 20 | status of the last << 11 | its bucket`.
//! Storing it is what makes a request counted; the two stores after it only bring the arrays up to date:
//!
//! ```text
//! commit = n            (release: what belongs to n - 1 comes before)
//! fence(release)        (what belongs to n comes after)
//! status[s] += 1;  durations[b] += 1;  bytes += …
//! ```
//! A killed process leaves a prefix of its stores, so the arrays lack at most the request that `commit` names, and each
//! sum tells whether it does: a sum of n - 1 is completed with `s` or `b`, a sum of n is complete. Only `bytes`, which has
//! no partner to agree with, may lack that one answer.
//!
//! **A live writer.** `commit` never takes the same value twice within 2^44 requests, so it also serves as a sequence
//! lock: if it is the same before and after the arrays were copied, then no later request has touched them, and the copy
//! is exact by the rule above. Otherwise the reader tries again, [`ATTEMPTS`] times; a copy takes about a microsecond, so
//! only a writer that does nothing but count outruns them all. Then the reader takes the last copy as it is: its sums may
//! differ by what happened meanwhile, but
//!
//! - no counter is ahead of the truth, and none ever goes back from one read to the next: it needed two failed attempts,
//!   so the request that an earlier exact copy completed is long in the arrays;
//! - so in differences between reads nothing is lost and nothing is counted twice, only late, and the last read of a
//!   writer that is quiet or gone is exact.
//!
//! A lane has one writer at a time. That is what lets it do with plain loads and stores.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use crate::histogram;

/// Counters of status codes: those of [`crate::STATUSES`], rounded up so that 9 bits never index out of bounds.
const CODES: usize = 1 << CODE_BITS;
const BUCKETS: usize = 1 << BUCKET_BITS;
const CODE_BITS: u32 = 9;
const BUCKET_BITS: u32 = 11;
const COUNT_SHIFT: u32 = CODE_BITS + BUCKET_BITS;
const COUNT_MASK: u64 = u64::MAX >> COUNT_SHIFT;
const ATTEMPTS: u32 = 16;

const _: () = assert!(crate::STATUSES <= CODES && histogram::BUCKETS <= BUCKETS);

/// One writer's requests, in shared memory.
#[repr(C, align(64))]
pub(crate) struct Lane {
    commit: AtomicU64,
    bytes: AtomicU64,
    status: [AtomicU64; CODES],
    durations: [AtomicU64; BUCKETS],
}

/// A reader's copy of a lane.
pub(crate) struct LaneCopy {
    pub(crate) bytes: u64,
    pub(crate) status: [u64; CODES],
    pub(crate) durations: [u64; BUCKETS],
}

impl Lane {
    /// Counts one request. The caller is the lane's only writer at this moment.
    #[inline]
    pub(crate) fn count(&self, code: usize, bucket: usize, bytes: u64) {
        let (code, bucket) = (code & (CODES - 1), bucket & (BUCKETS - 1));
        self.commit(code, bucket);
        bump(&self.status[code], 1);
        bump(&self.durations[bucket], 1);
        bump(&self.bytes, bytes);
    }

    #[inline]
    fn commit(&self, code: usize, bucket: usize) {
        let n = (self.commit.load(Relaxed) >> COUNT_SHIFT).wrapping_add(1);
        self.commit.store(n << COUNT_SHIFT | (code as u64) << BUCKET_BITS | bucket as u64, Release);
        fence(Release); // no instruction on x86; it also keeps the compiler from moving the stores below up
    }

    /// A copy in which status codes and durations agree, unless a live writer outran all attempts (see the module).
    pub(crate) fn read(&self) -> LaneCopy {
        let mut copy = LaneCopy { bytes: 0, status: [0; CODES], durations: [0; BUCKETS] };
        for _ in 0..ATTEMPTS {
            let before = self.commit.load(Acquire);
            copy.bytes = self.bytes.load(Relaxed);
            load_all(&mut copy.status, &self.status);
            load_all(&mut copy.durations, &self.durations);
            fence(Acquire);
            if before == self.commit.load(Relaxed) && copy.complete(before) {
                break;
            }
        }
        copy
    }

    /// Back to zero. Nobody may be writing.
    pub(crate) fn reset(&self) {
        let counters = self.status.iter().chain(&self.durations);
        counters.chain([&self.bytes, &self.commit]).for_each(|counter| counter.store(0, Relaxed));
    }
}

impl LaneCopy {
    /// Adds what the request named by `commit` has not yet left in the arrays. False, and nothing added, if more is missing
    /// than that one: impossible while every writer keeps to the protocol, and then the raw numbers are the best there are.
    fn complete(&mut self, commit: u64) -> bool {
        let n = commit >> COUNT_SHIFT;
        let missing =
            |counters: &[u64]| n.wrapping_sub(counters.iter().fold(0, |sum, c| c.wrapping_add(sum))) & COUNT_MASK;
        let (status, duration) = (missing(&self.status), missing(&self.durations));
        if status > 1 || duration > 1 {
            return false;
        }
        self.status[(commit >> BUCKET_BITS) as usize & (CODES - 1)] += status;
        self.durations[commit as usize & (BUCKETS - 1)] += duration;
        true
    }
}

fn load_all(to: &mut [u64], from: &[AtomicU64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.load(Relaxed);
    }
}

/// Adds without a locked instruction; right where the word has one writer.
#[inline]
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

#[cfg(test)]
mod tests;
