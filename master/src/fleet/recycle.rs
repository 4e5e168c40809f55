//! Recycling: a worker that has served enough, lived long enough or grown too big is replaced while it goes on serving.
//!
//! Such a worker is *due*. That is all: `converge` does not count it among those that stay, so its successor is spawned like
//! any that is missing, at most `max_surge` at a time, and once that one is ready the due worker is the first of the surplus to
//! drain. So the number of ready workers never drops for it.

use std::time::Duration;

use rustcorn_scoreboard::Recycle;
use rustcorn_sys::Monotonic;

use super::worker::{Life, Worker};
use super::{Action, Fleet, WorkerId};
use crate::notice::Notice;

/// Time between two looks at the workers' memory.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// So many looks in a row have to find a worker too big: one that is big for a moment gives it back by itself.
pub(super) const SAMPLES: u32 = 3;

/// What the policy needs to know of the settings; the names are the settings'. Zero is off.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Limits {
    /// Resident memory of a worker, in bytes.
    pub max_rss: u64,
    /// Time that a worker serves.
    pub worker_lifetime: Duration,
}

/// Why a worker is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// It has served `max_requests`; it counts them itself, with its own share of `max_requests_jitter`.
    Requests,
    /// It stayed above `max_rss`.
    Memory {
        /// What it has now, in bytes.
        resident: u64,
    },
    /// It has served for `worker_lifetime`.
    Lifetime,
    /// Somebody wants another one.
    Asked,
}

impl Due {
    const fn kind(self) -> Recycle {
        match self {
            Self::Requests => Recycle::MaxRequests,
            Self::Memory { .. } => Recycle::MaxRss,
            Self::Lifetime => Recycle::Lifetime,
            Self::Asked => Recycle::Asked,
        }
    }
}

impl Limits {
    /// When a worker that is ready `now` has lived long enough: up to a tenth later for some than for others, or all of a
    /// generation would be due at once, again and again.
    pub(super) fn expiry(&self, now: Monotonic, life: u64) -> Option<Monotonic> {
        // Fibonacci hashing: lives that follow each other lie far apart.
        let spread = u32::try_from(life.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54).unwrap_or(0);
        let extra = self.worker_lifetime / 10 * spread / 1024;
        (!self.worker_lifetime.is_zero()).then(|| now + self.worker_lifetime + extra)
    }
}

impl Worker {
    /// It is to be replaced. Whether that is news.
    fn mark_due(&mut self) -> bool {
        let news = self.is_ready() && !self.due;
        self.due |= news;
        news
    }

    /// When its lifetime ends; `None` too once it is due.
    pub(super) const fn expiry(&self) -> Option<Monotonic> {
        match self.life {
            Life::Ready { .. } if !self.due => self.expires,
            _ => None,
        }
    }
}

impl Fleet {
    /// It says that it has served `max_requests`.
    pub(super) fn spent(&mut self, id: WorkerId, todo: &mut Vec<Action>) {
        self.make_due(id, Due::Requests, todo);
    }

    /// How much memory each worker has, in bytes.
    pub(super) fn measured(&mut self, sizes: &[(WorkerId, u64)], todo: &mut Vec<Action>) {
        let limit = self.plan.limits.max_rss;
        for (id, size) in sizes {
            let Some(worker) = self.workers.get_mut(id) else { continue };
            worker.oversize = if limit > 0 && *size > limit { worker.oversize + 1 } else { 0 };
            if worker.oversize >= SAMPLES {
                self.make_due(*id, Due::Memory { resident: *size }, todo);
            }
        }
    }

    /// Asks for the workers' sizes and finds those whose time is over.
    pub(super) fn look_at_limits(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        if self.stop.is_some() {
            return;
        }
        if self.plan.limits.max_rss == 0 {
            self.next_sample = None;
        } else if self.next_sample.is_none_or(|due| now >= due) {
            let first = self.next_sample.is_none();
            self.next_sample = Some(now + SAMPLE_EVERY);
            if !first {
                todo.push(Action::Measure);
            }
        }
        let expired = |worker: &Worker| worker.expiry().is_some_and(|at| now >= at);
        let over: Vec<WorkerId> =
            self.workers.iter().filter(|(_, worker)| expired(worker)).map(|(id, _)| *id).collect();
        for id in over {
            self.make_due(id, Due::Lifetime, todo);
        }
    }

    pub(super) fn make_due(&mut self, id: WorkerId, why: Due, todo: &mut Vec<Action>) {
        if self.stop.is_some() {
            return;
        }
        if let Some(worker) = self.workers.get_mut(&id)
            && worker.mark_due()
            && id.generation == self.generation
        // one of an older generation is being replaced anyway
        {
            self.tally.recycles[why.kind() as usize] += 1;
            if let Some(pid) = worker.pid {
                todo.push(Action::Say(Notice::Recycling { slot: id.slot, pid, why }));
            }
        }
    }
}
