//! The master's policy for the admin process: there is one if it is wanted, whatever happens to it, and nothing that happens
//! to it concerns the workers.
//!
//! As the fleet, it makes no system call and reads no clock. It is a machine of its own, so that the fleet cannot depend on it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use rustcorn_sys::signal::Sig;
use rustcorn_sys::{Monotonic, Pid};

use crate::fleet::Fate;
use crate::notice::Notice;

/// Time from spawn to ready. It has nothing to load.
const BOOT_TIME: Duration = Duration::from_secs(10);
/// Time to leave in, once told.
const EXIT_TIME: Duration = Duration::from_secs(1);
/// One that served this long was healthy: its end starts a new count.
const HEALTHY: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// There shall be an admin process, or none. Said again, what it is given has changed: the present one is replaced.
    Wanted(bool),
    /// Answer to [`Action::Spawn`]: the process exists.
    Spawned(Pid),
    /// It answers requests.
    Ready,
    /// It is gone (and reaped), or could not be started; with the reason it gave, if it gave one.
    Exited(Fate, Option<String>),
    /// A deadline passed.
    Tick,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Start the process; answer with [`Event::Spawned`], or with [`Event::Exited`] if that is impossible.
    Spawn,
    /// Send it a signal.
    Signal(Sig),
    /// Write a line for the operator.
    Say(Notice),
}

/// The admin process and what is intended with it.
#[derive(Debug)]
pub struct Admin {
    wanted: bool,
    life: Life,
    pid: Option<Pid>,
    /// Ends in a row without a healthy life in between.
    failures: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// There is none.
    Absent,
    /// There will be one then.
    Resting {
        until: Monotonic,
    },
    Booting {
        deadline: Monotonic,
    },
    Ready {
        since: Monotonic,
    },
    /// Told to leave.
    Leaving {
        deadline: Monotonic,
    },
    /// Killed since it did not get ready.
    Failed,
    /// Killed since it did not leave.
    Killed,
}

impl Admin {
    /// None yet, and none wanted.
    #[must_use]
    pub const fn new() -> Self {
        Self { wanted: false, life: Life::Absent, pid: None, failures: 0 }
    }

    /// Whether there is a process to wait for.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        !matches!(self.life, Life::Absent | Life::Resting { .. })
    }

    /// Whether somebody may be looking.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// When [`Event::Tick`] is due at the latest.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Monotonic> {
        match self.life {
            Life::Resting { until: at } | Life::Booting { deadline: at } | Life::Leaving { deadline: at } => Some(at),
            Life::Absent | Life::Ready { .. } | Life::Failed | Life::Killed => None,
        }
    }

    /// Decides what to do about `event`. `now` never goes back.
    pub fn step(&mut self, now: Monotonic, event: Event) -> Vec<Action> {
        let mut todo = Vec::new();
        match event {
            Event::Wanted(wanted) => self.wanted(now, wanted, &mut todo),
            Event::Spawned(pid) => self.pid = Some(pid),
            Event::Ready => {
                if let Life::Booting { .. } = self.life {
                    self.life = Life::Ready { since: now };
                }
            }
            Event::Exited(fate, reason) => self.exited(now, &fate, reason, &mut todo),
            Event::Tick => {}
        }
        self.enforce_deadline(now, &mut todo);
        todo
    }

    fn wanted(&mut self, now: Monotonic, wanted: bool, todo: &mut Vec<Action>) {
        self.wanted = wanted;
        self.failures = 0; // what it failed of may be what was changed
        match self.life {
            Life::Absent | Life::Resting { .. } if wanted => self.life = Life::Resting { until: now },
            Life::Absent | Life::Resting { .. } => self.life = Life::Absent,
            Life::Booting { .. } | Life::Ready { .. } => {
                self.life = Life::Leaving { deadline: now + EXIT_TIME };
                todo.push(Action::Signal(Sig::Term));
            }
            Life::Leaving { .. } | Life::Failed | Life::Killed => {}
        }
    }

    fn exited(&mut self, now: Monotonic, fate: &Fate, reason: Option<String>, todo: &mut Vec<Action>) {
        if !self.is_running() {
            return; // news of one whose end was handled already
        }
        let (life, pid) = (std::mem::replace(&mut self.life, Life::Absent), self.pid.take());
        let expected = matches!(life, Life::Leaving { .. } | Life::Killed);
        let served = match life {
            Life::Ready { since } => now.since(since),
            _ => Duration::ZERO,
        };
        self.failures = if expected || served >= HEALTHY { 0 } else { self.failures };
        if !self.wanted {
            return;
        }
        let pause = if expected { Duration::ZERO } else { self.next_pause() };
        if !expected {
            todo.push(Action::Say(Notice::AdminEnded { pid, fate: fate.clone(), reason, pause }));
        }
        self.life = Life::Resting { until: now + pause };
    }

    /// The first time at once.
    fn next_pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        match self.failures {
            1 => Duration::ZERO,
            n => (FIRST_PAUSE * 2_u32.saturating_pow((n - 2).min(16))).min(LONGEST_PAUSE),
        }
    }

    fn enforce_deadline(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.life {
            Life::Resting { .. } => {
                self.life = Life::Booting { deadline: now + BOOT_TIME };
                todo.push(Action::Spawn);
            }
            Life::Booting { .. } => {
                self.life = Life::Failed;
                todo.push(Action::Signal(Sig::Kill));
            }
            Life::Leaving { .. } => {
                self.life = Life::Killed;
                todo.push(Action::Signal(Sig::Kill));
            }
            Life::Absent | Life::Ready { .. } | Life::Failed | Life::Killed => {}
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self::new()
    }
}
