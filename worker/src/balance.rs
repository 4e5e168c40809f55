//! Whose turn it is to take a connection from the queue that all workers share. Pure: numbers in, now or later out.
//!
//! The kernel wakes every idle worker for a new connection, and the first wins: by luck on an idle machine, and on a busy one
//! whoever runs anyway. So a worker that has more connections than a sibling leaves the next one alone for [`PATIENCE`]. It goes
//! by what siblings *do*: whom it waited for in vain does not count again until it took a connection or gave a sign of life. So a
//! sibling that is stopped, hangs, computes or has all the connections it may have costs one connection that time, and the next
//! ones nothing.

use std::time::Duration;

use rustcorn_scoreboard::Glance;
use rustcorn_sys::Monotonic;

/// How long a connection is left to siblings. The runtime's timer makes it up to a millisecond more.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1);
/// Connections taken at most before the next look at siblings.
const FEW: u64 = 4;
/// Connections taken at most once patience is over.
const IMPATIENT: u64 = 8;
/// Siblings looked at, where there are more: with the best of so many chosen anew each time, the spread is as good as with all.
const SAMPLE: usize = 8;
/// A worker may be ahead of the least loaded sibling by one in so many: nobody waits for the sake of less.
const TOLERATED: u64 = 16;
/// So far, and an eighth, it may get ahead while more connections wait than siblings lack.
const FAR: u64 = 16;
/// The same for a queue that does not tell its length.
const NEAR: u64 = 3;
/// A sibling that missed so many, in each of which it took nothing and gave no sign of life, does not count.
const CHANCES: u32 = 8;
/// A sibling that gave no sign of life for so long is not waited for. Three times the longest pause between two.
const SILENT: Duration = Duration::from_secs(3);

/// What a worker is to do about the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Take so many, then look again.
    Take(u64),
    /// Leave those who wait to siblings.
    Leave,
    /// Nobody waits.
    Nobody,
}

/// Those siblings that can be expected to take connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Others {
    /// Connections of the one that has the least.
    least: u64,
    /// Connections until none has fewer than this worker.
    gap: u64,
}

/// Whose turn it is, for a worker with `own` connections. `queued` costs a system call: how many wait, if that can be known.
pub(crate) fn turn(own: u64, others: Option<Others>, queued: impl FnOnce() -> Option<u64>) -> Turn {
    let Some(Others { least, gap }) = others else { return Turn::Take(FEW) };
    let ahead = own.saturating_sub(least);
    if ahead <= least / TOLERATED {
        return Turn::Take((least / TOLERATED + 1 - ahead).min(FEW));
    }
    let excess = match queued() {
        Some(0) => return Turn::Nobody,
        // More than what would make everybody even: there is work for all. Unless that is what made the difference.
        Some(queued) if ahead <= FAR + least / 8 => queued.saturating_sub(gap),
        None if ahead <= NEAR + least / 8 => 1,
        _ => 0,
    };
    if excess > 0 { Turn::Take(excess.min(FEW)) } else { Turn::Leave }
}

/// The siblings, however they are known.
pub(crate) trait Siblings {
    /// How many there are at most, and this worker among them.
    fn seats(&self) -> usize;
    /// The worker on one of these seats, if it takes connections. Not this one.
    fn glance(&self, seat: usize) -> Option<Glance>;
}

/// What a worker remembers from one connection to the next.
#[derive(Debug)]
pub(crate) struct Balance {
    /// May be taken without another look.
    left: u64,
    /// The end of a wait for siblings.
    ends: Option<Monotonic>,
    /// Patience was over, and nobody was taken since.
    impatient: bool,
    /// Those that the wait is, or was, for.
    awaited: Vec<Glance>,
    /// Those that were left connections which they did not take, as they were then; and how often.
    doubts: Vec<(Glance, u32)>,
    /// Which siblings are looked at first, where there are many.
    next: usize,
}

impl Balance {
    pub(crate) const fn new() -> Self {
        Self { left: 0, ends: None, impatient: false, awaited: Vec::new(), doubts: Vec::new(), next: 0 }
    }

    /// Whether siblings are waited for.
    pub(crate) const fn waits(&self) -> bool {
        self.ends.is_some()
    }

    /// Whose turn it is; this worker has `own` connections. With [`Self::wait`] after a [`Turn::Leave`], it will be its own at
    /// some time. `queued`: see [`turn`].
    pub(crate) fn turn(
        &mut self,
        own: u64,
        siblings: &impl Siblings,
        now: Monotonic,
        queued: impl FnOnce() -> Option<u64>,
    ) -> Turn {
        if self.left > 0 {
            return Turn::Take(self.left);
        }
        if self.ends.is_some_and(|ends| now >= ends) {
            (self.ends, self.impatient, self.left) = (None, true, IMPATIENT);
            return Turn::Take(IMPATIENT);
        }
        let others = self.look(own, siblings, now);
        let turn = turn(own, others, queued);
        if let Turn::Take(few) = turn {
            (self.left, self.ends) = (few, None);
        }
        turn
    }

    /// Somebody is there whom others may take. Until when, and whether that is new.
    pub(crate) fn wait(&mut self, now: Monotonic) -> (Monotonic, bool) {
        let began = self.ends.is_none();
        (*self.ends.get_or_insert(now + PATIENCE), began)
    }

    /// The queue is empty.
    pub(crate) fn nobody_waits(&mut self, siblings: &impl Siblings) {
        if self.ends.is_some() {
            self.doubt(siblings, 1); // somebody has taken whom this worker left alone, be it a sibling that was not awaited
        }
        (self.left, self.ends, self.impatient) = (0, None, false);
    }

    /// One was taken.
    pub(crate) fn took(&mut self, siblings: &impl Siblings) {
        self.left = self.left.saturating_sub(1);
        if std::mem::take(&mut self.impatient) {
            self.doubt(siblings, CHANCES / 2); // twice is enough
        }
    }

    /// Those awaited had their chance.
    fn doubt(&mut self, siblings: &impl Siblings, chances: u32) {
        let now: Vec<Glance> = (0..siblings.seats()).filter_map(|seat| siblings.glance(seat)).collect();
        let stands = |was: &Glance| now.iter().any(|is| is.slot == was.slot && same(is, was));
        self.doubts.retain(|(was, _)| stands(was));
        // If any of them has taken one, the queue moves, and the others may just not have been fast enough.
        let all_stand = self.awaited.iter().all(stands);
        for awaited in self.awaited.drain(..).filter(stands) {
            match self.doubts.iter_mut().find(|(was, _)| was.slot == awaited.slot) {
                Some((_, missed)) => *missed += if all_stand { chances } else { 1 },
                None => self.doubts.push((awaited, if all_stand { chances } else { 1 })),
            }
        }
    }

    /// Whether the sibling can be expected to take a connection.
    fn trusts(&self, sibling: &Glance, now: Monotonic) -> bool {
        let doubt =
            |(was, missed): &(Glance, u32)| was.slot == sibling.slot && same(was, sibling) && *missed >= CHANCES;
        now.since(Monotonic::from_nanos(sibling.beat)) <= SILENT && !self.doubts.iter().any(doubt)
    }

    fn look(&mut self, own: u64, siblings: &impl Siblings, now: Monotonic) -> Option<Others> {
        let seats = siblings.seats();
        let first = self.next;
        self.next = self.next.wrapping_add(SAMPLE);
        if self.ends.is_none() {
            self.awaited.clear();
        }
        let mut others: Option<Others> = None;
        for seat in (0..seats.min(SAMPLE + 1)).map(|n| first.wrapping_add(n) % seats) {
            let Some(sibling) = siblings.glance(seat) else { continue };
            if !self.trusts(&sibling, now) {
                continue;
            }
            let others = others.get_or_insert(Others { least: sibling.load, gap: 0 });
            others.least = others.least.min(sibling.load);
            others.gap = others.gap.saturating_add(own.saturating_sub(sibling.load));
            if self.ends.is_none() && sibling.load < own {
                self.awaited.push(sibling);
            }
        }
        others
    }
}

/// It neither took a connection nor gave a sign of life.
fn same(one: &Glance, other: &Glance) -> bool {
    (one.accepted, one.beat) == (other.accepted, other.beat)
}

#[cfg(test)]
mod tests;
