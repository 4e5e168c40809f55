//! One worker's states: booting → ready → draining → gone, and the deadlines on the way.

use std::time::Duration;

use rustcorn_scoreboard::Cause;
use rustcorn_sys::signal::Sig;
use rustcorn_sys::{Monotonic, Pid};

use super::recycle::Limits;
use super::stop::BootFailure;
use super::{Action, Plan, WorkerId};
use crate::notice::Notice;

/// Time between SIGABRT, which lets a worker leave a core dump, and SIGKILL.
pub(super) const ABORT_TIME: Duration = Duration::from_secs(1);
/// Time a worker has, after its own limits for a drain and a flush, to leave before it is killed. In a quick stop it has
/// nothing else, and flushes for half of it.
pub(super) const EXIT_TIME: Duration = Duration::from_secs(2);

/// How a worker process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// By itself, with this status.
    Code(i32),
    /// By this signal number.
    Signal(i32),
    /// By a SIGKILL of the kernel: there was no memory left.
    OutOfMemory {
        /// What the cgroup allows, in bytes; `None`: as much as the machine has.
        limit: Option<u64>,
    },
    /// By a SIGKILL that neither the master nor the kernel has sent.
    Killed,
    /// The system refused to start it.
    NotStarted(String),
}

/// Exit status of a worker whose application refused to load.
const APP_FAILED_TO_LOAD: i32 = 4;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// Spawned, not serving yet.
    Booting { deadline: Monotonic },
    /// Serving.
    Ready { beat: Monotonic },
    /// Told to finish and leave.
    Draining { deadline: Monotonic },
    /// Hung: told to abort.
    Aborting { deadline: Monotonic },
    /// Killed; nothing is left but to reap it. Why tells what its end means.
    Killed { why: Why },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Why {
    BootTimeout,
    Hung,
    DrainTimeout,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Worker {
    pub(super) pid: Option<Pid>,
    pub(super) life: Life,
    /// Its generation's: a reload that lowers it does not change how often this worker beats.
    timeout: Duration,
    /// Its generation's time to finish requests and to flush: the worker itself knows no other.
    patience: Duration,
    limits: Limits,
    /// When its lifetime is over; known once it is ready.
    pub(super) expires: Option<Monotonic>,
    /// Looks in a row that found it too big.
    pub(super) oversize: u32,
    /// It is to be replaced, and serves until then.
    pub(super) due: bool,
    pub(super) foreign: bool,
    /// When it counts as ready, if it does not say so.
    settles: Option<Monotonic>,
}

impl Worker {
    pub(super) fn booting(now: Monotonic, plan: &Plan) -> Self {
        let life = Life::Booting { deadline: now + plan.boot_timeout };
        Self {
            pid: None,
            life,
            timeout: plan.timeout,
            patience: plan.graceful_timeout + plan.flush_timeout,
            limits: plan.limits,
            expires: None,
            oversize: 0,
            due: false,
            foreign: plan.foreign.is_some(),
            settles: plan.foreign.and_then(|foreign| foreign.settles).map(|settles| now + settles),
        }
    }

    /// It serves from now on. `life` tells it from others.
    pub(super) fn become_ready(&mut self, now: Monotonic, life: u64) {
        self.life = Life::Ready { beat: now };
        self.expires = self.limits.expiry(now, life);
    }

    pub(super) const fn is_draining(&self) -> bool {
        matches!(self.life, Life::Draining { .. })
    }

    pub(super) const fn is_booting(&self) -> bool {
        matches!(self.life, Life::Booting { .. })
    }

    /// It runs, for so long that it must be serving.
    pub(super) fn has_settled(&self, now: Monotonic) -> bool {
        self.is_booting() && self.pid.is_some() && self.settles.is_some_and(|settles| now >= settles)
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.life, Life::Ready { .. })
    }

    pub(super) const fn is_active(&self) -> bool {
        self.is_booting() || self.is_ready()
    }

    /// Whether it may still have something to say.
    pub(super) const fn may_log(&self) -> bool {
        self.is_active() || self.is_draining()
    }

    /// Whether its end was asked for.
    pub(super) const fn is_leaving(&self) -> bool {
        self.is_draining() || matches!(self.life, Life::Killed { why: Why::DrainTimeout })
    }

    /// Whether it counts among those that are wanted.
    pub(super) const fn is_staying(&self) -> bool {
        !self.is_leaving() && !self.due
    }

    pub(super) fn beat(&mut self, at: Monotonic) {
        if let Life::Ready { beat } = &mut self.life {
            *beat = at.max(*beat);
        }
    }

    /// From `start` on it finishes its requests, and is killed if it has not left in time.
    pub(super) fn drain(&mut self, start: Monotonic) {
        self.leave(start + self.patience + EXIT_TIME);
    }

    /// It leaves without finishing anything, and is killed if it has not left in time.
    pub(super) fn quit(&mut self, now: Monotonic) {
        self.leave(now + EXIT_TIME);
    }

    fn leave(&mut self, deadline: Monotonic) {
        // One that hangs or was killed already has the shorter deadline.
        if !matches!(self.life, Life::Aborting { .. } | Life::Killed { .. }) {
            self.life = Life::Draining { deadline };
        }
    }

    pub(super) fn deadline(&self) -> Option<Monotonic> {
        match self.life {
            Life::Booting { deadline } | Life::Draining { deadline } | Life::Aborting { deadline } => Some(deadline),
            Life::Ready { beat } => (!self.timeout.is_zero()).then_some(beat + self.timeout),
            Life::Killed { .. } => None,
        }
    }

    /// When something is to be done about it.
    pub(super) fn next_due(&self) -> Option<Monotonic> {
        let settles = self.settles.filter(|_| self.is_booting());
        self.deadline().into_iter().chain(settles).min()
    }

    pub(super) fn enforce_deadline(&mut self, now: Monotonic, id: WorkerId, todo: &mut Vec<Action>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let Some(pid) = self.pid else { return }; // being spawned at this moment
        let slot = id.slot;
        let (notice, sig, next) = match self.life {
            Life::Booting { .. } => {
                (Some(Notice::BootTimeout { slot, pid }), Sig::Kill, Life::Killed { why: Why::BootTimeout })
            }
            Life::Ready { beat } => {
                let notice = Notice::WorkerTimeout { slot, pid, silent: now.since(beat), polled: Vec::new() };
                (Some(notice), Sig::Abrt, Life::Aborting { deadline: now + ABORT_TIME })
            }
            Life::Draining { .. } => {
                (Some(Notice::DrainTimeout { slot, pid }), Sig::Kill, Life::Killed { why: Why::DrainTimeout })
            }
            Life::Aborting { .. } => (None, Sig::Kill, Life::Killed { why: Why::Hung }),
            Life::Killed { .. } => return,
        };
        self.life = next;
        todo.extend(notice.map(Action::Say));
        todo.push(Action::Signal(id, sig));
    }

    /// The operator's line about its end, unless that was asked for and went well.
    pub(super) fn epitaph(&self, fate: &Fate) -> Option<Notice> {
        let pid = self.pid?;
        match *fate {
            Fate::Code(code) => Some(Notice::WorkerExited { pid, code }),
            Fate::Signal(number)
                if self.is_leaving() || matches!(self.life, Life::Killed { .. } | Life::Aborting { .. }) =>
            {
                Some(Notice::WorkerSignalledByUs { pid, number })
            }
            Fate::Signal(number) => Some(Notice::WorkerSignalled { pid, number }),
            Fate::OutOfMemory { limit } => Some(Notice::WorkerOutOfMemory { pid, limit }),
            Fate::Killed => Some(Notice::WorkerKilled { pid }),
            Fate::NotStarted(_) => None, // said as a failed boot
        }
    }

    /// What an end that was not asked for counts as, of a worker that had been ready.
    pub(super) const fn cause(&self, fate: &Fate) -> Cause {
        const SIGKILL: i32 = 9;
        match (&self.life, fate) {
            (Life::Aborting { .. } | Life::Killed { .. }, _) => Cause::Hang,
            (_, Fate::OutOfMemory { .. }) => Cause::Oom,
            (_, Fate::Signal(SIGKILL) | Fate::Killed) => Cause::Killed,
            (_, Fate::Signal(_)) => Cause::Signal,
            (_, Fate::Code(_) | Fate::NotStarted(_)) => Cause::Exited,
        }
    }

    /// Why it never became ready; `None` if it did.
    pub(super) fn boot_failure(&self, fate: &Fate, reason: Option<String>) -> Option<BootFailure> {
        let by_default = match (&self.life, fate) {
            (Life::Killed { why: Why::BootTimeout }, _) => "it was not ready within boot_timeout".to_owned(),
            (Life::Booting { .. }, Fate::NotStarted(error)) => error.clone(),
            (Life::Booting { .. }, Fate::Code(code)) => format!("it exited with code {code} before it was ready"),
            (Life::Booting { .. }, Fate::Signal(number)) => {
                format!("it was killed by {} before it was ready", rustcorn_sys::signal::name(*number))
            }
            (Life::Booting { .. }, Fate::OutOfMemory { .. }) => {
                "the kernel killed it, out of memory, before it was ready".to_owned()
            }
            (Life::Booting { .. }, Fate::Killed) => "it was killed by SIGKILL before it was ready".to_owned(),
            _ => return None,
        };
        let app_refused = *fate == Fate::Code(APP_FAILED_TO_LOAD);
        Some(BootFailure { app_refused, reason: reason.unwrap_or(by_default) })
    }
}
