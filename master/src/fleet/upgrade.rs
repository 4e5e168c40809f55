//! More than one master: the upgrade to a new program (USR2), seen from the old one and from its heir; and WINCH, which takes the
//! workers away and leaves the master.
//!
//! ```text
//! old:   alone ──USR2──► heir starts ──ready──► heir serves ──TERM, or by itself (auto)──► leaves
//!            ▲────────failed, late──────┘  ▲ ▲─────gone: workers come back──┘
//! heir:  has a parent ──all workers ready: tells it── … ──parent gone──► promoted: alone
//! ```
//!
//! As long as there are two, the sockets are both's: nobody shuts them down, and who leaves drains as a worker does that is
//! being replaced.

use rustcorn_scoreboard::Phase;
use rustcorn_sys::signal::Sig;
use rustcorn_sys::{Monotonic, Pid};

use super::worker::{EXIT_TIME, Worker};
use super::{Action, Fate, Fleet, Generation};
use crate::notice::Notice;

/// Who ends an upgrade: the setting `upgrade`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Handover {
    /// The operator, by a TERM to the old master; or to the new one, to go back.
    #[default]
    Manual,
    /// The old master, once all workers of the new one are ready.
    Auto,
}

/// What a master is from its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Birth {
    /// Its first generation.
    pub generation: Generation,
    /// It was started by an older master, which serves still.
    pub has_parent: bool,
    /// Its sockets are somebody else's (systemd), who goes on listening when it is gone.
    pub foreign_sockets: bool,
    /// It has a controlling terminal, which sends a WINCH whenever somebody resizes it.
    pub has_terminal: bool,
    /// It is the first process of its PID namespace: if it leaves, so does everybody.
    pub is_init: bool,
}

impl Default for Birth {
    fn default() -> Self {
        Self {
            generation: Generation(1),
            has_parent: false,
            foreign_sockets: false,
            has_terminal: false,
            is_init: false,
        }
    }
}

/// What an heir tells its parent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// All its workers are ready.
    Ready,
    /// It begins to stop.
    Leaving,
    /// It cannot start, for this reason.
    Failed(String),
}

/// What a service manager is told (sd_notify(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Serving, or done with a reload whatever its outcome.
    Ready,
    /// A reload has begun.
    Reloading,
    /// A stop has begun.
    Stopping,
    /// Another process is the service from now on.
    MainPid(Pid),
}

/// The other masters there are, and what this one is beside them.
#[derive(Debug)]
pub(super) struct Lineage {
    birth: Birth,
    /// The parent was told that all workers are ready.
    told_parent: bool,
    heir: Heir,
    retired: Retired,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heir {
    None,
    Starting {
        pid: Option<Pid>,
        deadline: Monotonic,
    },
    Serving {
        pid: Option<Pid>,
    },
    /// It did, and was told to go: somebody goes back.
    Leaving {
        pid: Option<Pid>,
    },
    /// Not ready in time: told to leave.
    Condemned {
        deadline: Monotonic,
    },
    Killed,
}

/// Whether this master wants no workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Retired {
    No,
    /// WINCH: it waits for what the operator says next.
    Waiting,
    /// It leaves when the last worker has.
    Leaving,
}

impl Lineage {
    pub(super) const fn new(birth: Birth) -> Self {
        Self { birth, told_parent: false, heir: Heir::None, retired: Retired::No }
    }

    /// Whether there is a new master that may still have something to say.
    pub(super) const fn heir_may_log(&self) -> bool {
        matches!(
            self.heir,
            Heir::Starting { pid: Some(_), .. } | Heir::Serving { pid: Some(_) } | Heir::Leaving { pid: Some(_) }
        )
    }

    /// Whether no other master uses the sockets.
    pub(super) const fn is_alone(&self) -> bool {
        !self.birth.has_parent && matches!(self.heir, Heir::None)
    }

    /// Whether the sockets may be shut down for everybody once this master stops.
    pub(super) const fn may_shut_down(&self) -> bool {
        self.is_alone() && !self.birth.foreign_sockets
    }

    pub(super) const fn is_retired(&self) -> bool {
        !matches!(self.retired, Retired::No)
    }

    pub(super) const fn deadline(&self) -> Option<Monotonic> {
        match self.heir {
            Heir::Starting { deadline, .. } | Heir::Condemned { deadline } => Some(deadline),
            Heir::None | Heir::Serving { .. } | Heir::Leaving { .. } | Heir::Killed => None,
        }
    }

    const fn serving_heir(&self) -> Option<Pid> {
        match self.heir {
            Heir::Serving { pid } => pid,
            _ => None,
        }
    }
}

impl Fleet {
    /// USR2.
    pub(super) fn start_upgrade(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        let notice = if self.stop.is_some() || self.lineage.retired == Retired::Leaving {
            Notice::UpgradeRefused("The server is stopping.")
        } else if self.lineage.heir != Heir::None {
            Notice::UpgradeRefused("Child exists.")
        } else if self.lineage.birth.has_parent {
            Notice::UpgradeRefused("Parent exists.")
        } else if self.lineage.birth.is_init {
            Notice::UpgradeRefused(
                "This master is PID 1: with its end its container would end. HUP runs the workers' new program; for a new \
                 master, replace the container",
            )
        } else {
            // Its own boot_timeout comes first, so that it can tell itself what went wrong.
            let deadline = now + self.plan.boot_timeout + EXIT_TIME;
            self.lineage.heir = Heir::Starting { pid: None, deadline };
            todo.push(Action::StartHeir(self.reload.take_next()));
            return;
        };
        todo.push(Action::Say(notice));
    }

    pub(super) fn heir_spawned(&mut self, pid: Pid, todo: &mut Vec<Action>) {
        if let Heir::Starting { pid: known, .. } = &mut self.lineage.heir {
            *known = Some(pid);
            todo.push(Action::Say(Notice::Upgrading { pid }));
        }
    }

    /// The new master tells something.
    pub(super) fn heir_says(&mut self, now: Monotonic, report: &Report, todo: &mut Vec<Action>) {
        match (report, self.lineage.heir) {
            (Report::Ready, Heir::Starting { pid, .. }) => {
                self.lineage.heir = Heir::Serving { pid };
                let leaves = self.plan.handover == Handover::Auto && self.stop.is_none();
                if let Some(pid) = pid {
                    todo.push(Action::Say(Notice::Upgraded { pid, leaves }));
                }
                if self.stop.is_none() {
                    todo.push(Action::SetPhase(Phase::HandedOver));
                }
                todo.push(Action::ServeAdmin(false)); // the heir's answers from now on
                if leaves {
                    self.retire(now, Retired::Leaving, todo);
                }
            }
            // Somebody went back: its workers accept no more, so ours must.
            (Report::Leaving, Heir::Serving { pid }) => {
                self.lineage.heir = Heir::Leaving { pid };
                self.serve_alone(todo);
            }
            _ => {}
        }
    }

    /// The new master is gone, and reaped.
    pub(super) fn heir_gone(&mut self, fate: &Fate, reason: Option<String>, todo: &mut Vec<Action>) {
        match std::mem::replace(&mut self.lineage.heir, Heir::None) {
            Heir::Starting { .. } => {
                let reason = reason.unwrap_or_else(|| match fate {
                    Fate::NotStarted(error) => error.clone(),
                    fate => format!("the new master {fate} before it was ready"),
                });
                todo.push(Action::Say(Notice::UpgradeFailed { reason }));
            }
            heir @ (Heir::Serving { pid } | Heir::Leaving { pid }) => {
                if let Some(pid) = pid {
                    todo.push(Action::Say(Notice::HeirGone { pid, fate: fate.clone() }));
                }
                if matches!(heir, Heir::Serving { .. }) {
                    self.serve_alone(todo);
                }
            }
            Heir::None | Heir::Condemned { .. } | Heir::Killed => {} // said when it was judged
        }
    }

    /// The old master is gone: this one is the server now.
    pub(super) fn promoted(&mut self, todo: &mut Vec<Action>) {
        if !std::mem::take(&mut self.lineage.birth.has_parent) {
            return;
        }
        todo.push(Action::Say(Notice::Promoted));
        todo.push(Action::Promote);
        todo.push(Action::ServeAdmin(true));
        if self.stop.is_none() && self.started {
            todo.push(Action::Notify(Status::Ready));
        }
    }

    pub(super) fn tell_parent_of_failure(&self, reason: &str, todo: &mut Vec<Action>) {
        if self.lineage.birth.has_parent {
            todo.push(Action::TellParent(Report::Failed(reason.to_owned())));
        }
    }

    /// Once all workers are ready the parent may leave.
    pub(super) fn tell_parent_if_ready(&mut self, todo: &mut Vec<Action>) {
        let ready = self.count(Worker::is_ready) >= self.target && self.stop.is_none();
        if self.lineage.birth.has_parent && !self.lineage.told_parent && ready {
            self.lineage.told_parent = true;
            todo.push(Action::ServeAdmin(true));
            todo.push(Action::TellParent(Report::Ready));
        }
    }

    pub(super) fn enforce_upgrade_deadline(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        if self.lineage.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if matches!(self.lineage.heir, Heir::Starting { .. }) {
            let reason = "the new master was not ready within boot_timeout".to_owned();
            todo.push(Action::Say(Notice::UpgradeFailed { reason }));
            todo.push(Action::SignalHeir(Sig::Int));
            self.lineage.heir = Heir::Condemned { deadline: now + 2 * EXIT_TIME };
        } else {
            todo.push(Action::SignalHeir(Sig::Kill));
            self.lineage.heir = Heir::Killed;
        }
    }

    /// WINCH: the workers leave, the master stays. Only where it cannot come from a terminal that somebody resizes, or where
    /// another master serves.
    pub(super) fn stop_workers(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        if self.stop.is_some() || self.lineage.is_retired() {
            return;
        }
        if self.lineage.birth.has_terminal && self.lineage.serving_heir().is_none() {
            todo.push(Action::Say(Notice::SignalIgnored(Sig::Winch)));
            return;
        }
        todo.push(Action::Say(Notice::StoppingWorkers));
        self.retire(now, Retired::Waiting, todo);
    }

    /// Workers are wanted again: HUP, TTIN, or nobody else serves. Whether none were.
    pub(super) fn come_back(&mut self) -> bool {
        std::mem::replace(&mut self.lineage.retired, Retired::No) != Retired::No
    }

    /// Nobody else serves any more.
    fn serve_alone(&mut self, todo: &mut Vec<Action>) {
        self.come_back();
        if self.stop.is_none() {
            todo.push(Action::SetPhase(Phase::Running));
            todo.push(Action::ServeAdmin(true));
        }
    }

    fn retire(&mut self, now: Monotonic, retired: Retired, todo: &mut Vec<Action>) {
        if let Some(canary) = self.reload.canary() {
            self.drain(now, canary, todo);
        }
        self.abandon_reload(todo);
        self.disappoint_the_patient(todo);
        self.lineage.retired = retired;
    }

    /// The heir serves and the last worker has left: so does this master.
    pub(super) fn finish_handover(&mut self, todo: &mut Vec<Action>) {
        if self.lineage.retired == Retired::Leaving && self.workers.is_empty() {
            todo.push(Action::Say(Notice::ShuttingDown { failed: false }));
            self.say_goodbye(todo);
            todo.push(Action::Exit(0));
        }
    }

    /// The last words to others before an exit.
    pub(super) fn say_goodbye(&self, todo: &mut Vec<Action>) {
        match self.lineage.heir {
            Heir::Serving { pid: Some(pid) } => self.notify(Status::MainPid(pid), todo),
            Heir::Condemned { .. } => todo.push(Action::SignalHeir(Sig::Kill)), // nobody else would
            _ => {}
        }
    }

    /// A stop begins.
    pub(super) fn announce_stop(&self, todo: &mut Vec<Action>) {
        if self.lineage.birth.has_parent {
            todo.push(Action::TellParent(Report::Leaving));
        } else if self.lineage.serving_heir().is_none() {
            self.notify(Status::Stopping, todo);
        }
    }

    /// Tells the service manager. It listens to the oldest master alone.
    pub(super) fn notify(&self, status: Status, todo: &mut Vec<Action>) {
        if !self.lineage.birth.has_parent {
            todo.push(Action::Notify(status));
        }
    }

    /// Workers to keep ready now.
    pub(super) const fn wanted(&self) -> usize {
        if self.lineage.is_retired() { 0 } else { self.target }
    }
}
