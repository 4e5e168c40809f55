//! Whose SIGKILL was it? The kernel counts the processes that it kills for want of memory; so if a worker dies of a SIGKILL that
//! the master did not send, the count tells whether it was the kernel.

use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::cgroup::{MemoryGroup, OomKills};
use rustcorn_sys::spawn::Exit;

use super::process::fate;
use crate::fleet::Fate;

/// Least time between two looks while nobody dies.
const LOOK: Duration = Duration::from_secs(1);
/// How long the kernel may take from counting to the end of a process: it has to give back all that memory.
const AGONY: Duration = Duration::from_secs(10);
const SIGKILL: i32 = 9;

/// Watches the count.
#[derive(Debug)]
pub(super) struct Oom {
    group: MemoryGroup,
    claims: Claims,
    looked: Monotonic,
}

impl Oom {
    pub(super) fn new(now: Monotonic) -> Self {
        let group = MemoryGroup::of_this_process();
        let claims = Claims { seen: group.oom_kills(), open: 0, grown: now };
        Self { group, claims, looked: now }
    }

    /// Keeps what it knows fresh: a kill of long ago (the cgroup may hold more than this server) explains no death of today.
    pub(super) fn look_if_due(&mut self, now: Monotonic) {
        if now.since(self.looked) >= LOOK {
            self.look(now);
        }
    }

    fn look(&mut self, now: Monotonic) {
        self.looked = now;
        self.claims.update(self.group.oom_kills(), now);
    }

    /// How a process ended. `by_us`: the master has sent it a SIGKILL.
    pub(super) fn fate(&mut self, exit: Exit, by_us: bool, now: Monotonic) -> Fate {
        if exit != Exit::Signal(SIGKILL) || by_us {
            return fate(exit);
        }
        self.look(now);
        match self.claims.claim(now) {
            Some(true) => Fate::OutOfMemory { limit: self.group.limit() },
            Some(false) => Fate::Killed,
            None => fate(exit),
        }
    }
}

/// What of the count is not explained yet.
#[derive(Debug)]
struct Claims {
    seen: Option<OomKills>,
    /// Kills whose victims have not been found.
    open: u64,
    /// When the count was last seen to have grown.
    grown: Monotonic,
}

impl Claims {
    fn update(&mut self, count: Option<OomKills>, now: Monotonic) {
        let new = match (self.seen, count) {
            (Some(OomKills::OfGroup(old)), Some(OomKills::OfGroup(new)))
            | (Some(OomKills::OfMachine(old)), Some(OomKills::OfMachine(new))) => new.saturating_sub(old),
            _ => 0, // it begins to be known, or it can no longer be read
        };
        self.seen = count;
        if now.since(self.grown) >= AGONY {
            self.open = 0;
        }
        if new > 0 {
            (self.open, self.grown) = (self.open + new, now);
        }
    }

    /// A process has died of a SIGKILL: whether it is one of those. `None`: that cannot be known.
    fn claim(&mut self, now: Monotonic) -> Option<bool> {
        let is_open = self.open > 0 && now.since(self.grown) < AGONY;
        match self.seen? {
            OomKills::OfGroup(_) if is_open => {
                self.open -= 1;
                Some(true)
            }
            // Of all on the machine, it may have been any.
            OomKills::OfMachine(_) if is_open => None,
            _ => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Monotonic = Monotonic::from_nanos(1_000_000_000_000);

    fn claims(seen: Option<OomKills>) -> Claims {
        Claims { seen, open: 0, grown: START }
    }

    fn after(seconds: u64) -> Monotonic {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn each_kill_explains_one_death() {
        let mut claims = claims(Some(OomKills::OfGroup(7)));
        claims.update(Some(OomKills::OfGroup(7)), after(20));
        assert_eq!(claims.claim(after(20)), Some(false), "somebody sent it");
        claims.update(Some(OomKills::OfGroup(9)), after(21));
        assert_eq!([(); 3].map(|()| claims.claim(after(21))), [Some(true), Some(true), Some(false)]);
    }

    #[test]
    fn a_kill_that_was_seen_before_its_victim_was_dead_is_not_forgotten_at_once_but_soon() {
        let mut claims = claims(Some(OomKills::OfGroup(0)));
        claims.update(Some(OomKills::OfGroup(1)), after(1));
        claims.update(Some(OomKills::OfGroup(1)), after(5));
        assert_eq!(claims.claim(after(5)), Some(true));
        claims.update(Some(OomKills::OfGroup(2)), after(6));
        claims.update(Some(OomKills::OfGroup(2)), after(16));
        assert_eq!(claims.claim(after(16)), Some(false), "another process of the cgroup was meant");
        claims.update(Some(OomKills::OfGroup(3)), after(17));
        assert_eq!(claims.claim(after(17)), Some(true), "and is not counted again");
        assert_eq!(claims.claim(after(17)), Some(false));
    }

    #[test]
    fn the_count_of_the_whole_machine_can_only_tell_who_it_was_not() {
        let mut claims = claims(Some(OomKills::OfMachine(0)));
        assert_eq!(claims.claim(after(1)), Some(false));
        claims.update(Some(OomKills::OfMachine(1)), after(2));
        assert_eq!([(); 2].map(|()| claims.claim(after(2))), [None, None]);
    }

    #[test]
    fn without_a_count_nothing_is_known() {
        let mut claims = claims(None);
        assert_eq!(claims.claim(after(1)), None);
        claims.update(Some(OomKills::OfGroup(5)), after(2));
        assert_eq!(claims.claim(after(2)), Some(false), "those five were before");
        claims.update(None, after(3));
        assert_eq!(claims.claim(after(3)), None);
    }
}
