//! What somebody at the control socket asks for, and when that is done.
//!
//! Whatever is asked becomes what the fleet knows already: another target, a worker that is due, a reload. So there is one way
//! of replacing workers, and this file only remembers who waits for what. Every ticket is answered once, unless it is
//! withdrawn first; a stop answers all that are left.

use std::fmt;

use rustcorn_control::Which;
use rustcorn_sys::{Monotonic, Pid};

use super::worker::{Life, Worker};
use super::{Action, Due, Fleet, Generation, MAX_WORKERS, Slot, WorkerId};
use crate::notice::Notice;

/// Whose question it is. Given by the world, never twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Who is there.
    Look,
    /// So many workers more.
    Add {
        /// How many.
        count: usize,
        /// Until they are ready.
        wait: bool,
    },
    /// So many workers less.
    Remove {
        /// How many.
        count: usize,
    },
    /// Other processes in their place.
    Restart {
        /// One, or all.
        which: Option<Which>,
        /// Until they are there.
        wait: bool,
    },
    /// It finishes and leaves, ready successor or not.
    Kill {
        /// Which.
        which: Which,
        /// Until its successor is ready.
        wait: bool,
    },
    /// A new generation.
    Reload {
        /// Until it has replaced the old one.
        wait: bool,
    },
    /// The end.
    Stop {
        /// Without finishing requests.
        quick: bool,
    },
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// To [`Ask::Look`].
    Seen(Vec<Seen>),
    /// To [`Ask::Add`] and [`Ask::Remove`].
    Target {
        /// Wanted before.
        previous: usize,
        /// Wanted now.
        target: usize,
    },
    /// To [`Ask::Restart`] and [`Ask::Kill`].
    Replaced {
        /// Whom it is about.
        workers: Vec<(Slot, Option<Pid>)>,
        /// It is done, and not only begun.
        done: bool,
    },
    /// To [`Ask::Reload`] that does not wait.
    ReloadAsked,
    /// To one that does: all that accept connections are of this generation or a later one.
    Reloaded {
        /// The new one.
        generation: Generation,
        /// Older workers that finish what they have.
        draining: usize,
    },
    /// To [`Ask::Stop`].
    Stopping,
    /// To any.
    Refused(Refusal),
}

/// One worker, as the policy sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Which.
    pub id: WorkerId,
    /// Its process, once there is one.
    pub pid: Option<Pid>,
    /// One word.
    pub state: &'static str,
    /// It serves until its successor is ready.
    pub due: bool,
}

/// Why not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The reload failed. The log has the same line.
    Reload {
        /// What is wrong.
        reason: String,
        /// Goes on serving.
        kept: Generation,
    },
    /// The server is about to end.
    Stopping,
    /// There is no such worker.
    Unknown(Which),
    /// The number is one's pid and another's slot.
    Ambiguous(u32),
    /// It is not there yet.
    Booting(Slot),
    /// It goes already.
    Leaving(Slot),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reload { reason, kept } => Notice::ReloadFailed { reason: reason.clone(), kept: *kept }.fmt(f),
            Self::Stopping => f.write_str("the server is stopping"),
            Self::Unknown(which @ (Which::Number(_) | Which::Pid(_))) => {
                write!(f, "{which} is no worker of this server; \"show workers\" lists them")
            }
            Self::Unknown(which) => write!(f, "there is no worker in {which}; \"show workers\" lists them"),
            Self::Ambiguous(number) => {
                write!(
                    f,
                    "{number} is the pid of one worker and the slot of another; say pid:{number} or slot:{number}"
                )
            }
            Self::Booting(slot) => write!(f, "worker {slot} is still booting, so there is nothing to replace yet"),
            Self::Leaving(slot) => write!(f, "worker {slot} is leaving already"),
        }
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    ticket: Ticket,
    until: Until,
}

#[derive(Debug)]
enum Until {
    /// A reload begins that reads the configuration as it was when this was asked, or later.
    ReloadBegins,
    /// This one succeeds or fails.
    Reloads(Generation),
    /// None of these serves, and there are as many ready ones as there should be.
    Gone { workers: Vec<WorkerId>, then: Outcome },
}

impl Fleet {
    /// Does what is asked. The answer goes out at once or, where that is to be waited for, with a later step.
    pub(super) fn asked(&mut self, now: Monotonic, ticket: Ticket, ask: &Ask, todo: &mut Vec<Action>) {
        if self.stop.is_some() && !matches!(ask, Ask::Look | Ask::Stop { .. }) {
            todo.push(Action::Answer(ticket, Outcome::Refused(Refusal::Stopping)));
            return;
        }
        let answer = match *ask {
            Ask::Look => Outcome::Seen(self.roster()),
            Ask::Add { count, wait } => {
                // As TTIN: after a WINCH they come back one by one.
                let present = if self.come_back() { 0 } else { self.target };
                let outcome = self.set_target((present + count).min(MAX_WORKERS));
                return self.answer_or_wait(ticket, wait, Vec::new(), outcome, todo);
            }
            Ask::Remove { count } => self.set_target(self.target.saturating_sub(count).max(1)),
            Ask::Restart { which, wait } => match self.to_restart(which) {
                Ok(workers) => {
                    for id in &workers {
                        self.make_due(*id, Due::Asked, todo);
                    }
                    let outcome = Outcome::Replaced { workers: self.names(&workers), done: wait };
                    return self.answer_or_wait(ticket, wait, workers, outcome, todo);
                }
                Err(refusal) => Outcome::Refused(refusal),
            },
            Ask::Kill { which, wait } => match self.to_kill(which) {
                Ok(id) => {
                    let outcome = Outcome::Replaced { workers: self.names(&[id]), done: wait };
                    self.drain(now, id, todo);
                    return self.answer_or_wait(ticket, wait, vec![id], outcome, todo);
                }
                Err(refusal) => Outcome::Refused(refusal),
            },
            Ask::Reload { wait } => {
                self.come_back(); // as HUP
                self.ask_for_reload(todo);
                if wait {
                    self.waiting.push(Waiting { ticket, until: Until::ReloadBegins });
                    return;
                }
                Outcome::ReloadAsked
            }
            Ask::Stop { quick } => {
                todo.push(Action::Answer(ticket, Outcome::Stopping)); // before the last action there is
                if quick {
                    self.stop_quickly(now, None, todo);
                } else {
                    self.stop_gracefully(now, todo);
                }
                return;
            }
        };
        todo.push(Action::Answer(ticket, answer));
    }

    /// Nobody is left to hear the answer.
    pub(super) fn withdrawn(&mut self, ticket: Ticket) {
        self.waiting.retain(|waiting| waiting.ticket != ticket);
    }

    fn answer_or_wait(
        &mut self,
        ticket: Ticket,
        wait: bool,
        workers: Vec<WorkerId>,
        outcome: Outcome,
        todo: &mut Vec<Action>,
    ) {
        if wait {
            self.waiting.push(Waiting { ticket, until: Until::Gone { workers, then: outcome } });
        } else {
            todo.push(Action::Answer(ticket, outcome));
        }
    }

    fn set_target(&mut self, target: usize) -> Outcome {
        let previous = std::mem::replace(&mut self.target, target);
        Outcome::Target { previous, target }
    }

    fn roster(&self) -> Vec<Seen> {
        let seen = |(id, worker): (&WorkerId, &Worker)| {
            let state = match worker.life {
                Life::Booting { .. } => "booting",
                Life::Ready { .. } => "ready",
                Life::Draining { .. } => "draining",
                Life::Aborting { .. } => "hung",
                Life::Killed { .. } => "killed",
            };
            Seen { id: *id, pid: worker.pid, state, due: worker.due && worker.is_ready() }
        };
        self.workers.iter().map(seen).collect()
    }

    fn names(&self, workers: &[WorkerId]) -> Vec<(Slot, Option<Pid>)> {
        workers.iter().map(|id| (id.slot, self.workers.get(id).and_then(|worker| worker.pid))).collect()
    }

    fn find(&self, which: Which) -> Result<WorkerId, Refusal> {
        let by_pid = |number: u32| {
            let is = |worker: &Worker| worker.pid.is_some_and(|pid| pid.as_raw().unsigned_abs() == number);
            self.workers.iter().find(|(_, worker)| is(worker)).map(|(id, _)| *id)
        };
        let by_slot = |number: u32| self.workers.keys().find(|id| id.slot.0 == number as usize).copied();
        let found = match which {
            Which::Pid(pid) => by_pid(pid),
            Which::Slot(slot) => by_slot(slot),
            Which::Number(number) => match (by_pid(number), by_slot(number)) {
                (Some(one), Some(other)) if one != other => return Err(Refusal::Ambiguous(number)),
                (one, other) => one.or(other),
            },
        };
        found.ok_or(Refusal::Unknown(which))
    }

    /// Ready ones. One that boots is as new as its replacement would be.
    fn to_restart(&self, which: Option<Which>) -> Result<Vec<WorkerId>, Refusal> {
        let Some(which) = which else {
            let ready = self.workers.iter().filter(|(_, worker)| worker.is_ready());
            return Ok(ready.map(|(id, _)| *id).collect());
        };
        let id = self.find(which)?;
        match &self.workers[&id] {
            worker if worker.is_ready() => Ok(vec![id]),
            worker if worker.is_booting() => Err(Refusal::Booting(id.slot)),
            _ => Err(Refusal::Leaving(id.slot)),
        }
    }

    fn to_kill(&self, which: Which) -> Result<WorkerId, Refusal> {
        let id = self.find(which)?;
        if self.workers[&id].is_active() { Ok(id) } else { Err(Refusal::Leaving(id.slot)) }
    }

    /// A reload begins: it is the one that was waited for.
    pub(super) fn reload_begins(&mut self, generation: Generation) {
        for waiting in &mut self.waiting {
            if matches!(waiting.until, Until::ReloadBegins) {
                waiting.until = Until::Reloads(generation);
            }
        }
    }

    /// Its first worker is ready. What is left is to replace all others.
    pub(super) fn reload_succeeds(&mut self, generation: Generation) {
        let older: Vec<WorkerId> = self.workers.keys().copied().filter(|id| id.generation < generation).collect();
        for waiting in &mut self.waiting {
            if matches!(waiting.until, Until::Reloads(which) if which == generation) {
                let then = Outcome::Reloaded { generation, draining: 0 };
                waiting.until = Until::Gone { workers: older.clone(), then };
            }
        }
    }

    pub(super) fn reload_fails(&mut self, generation: Generation, reason: &str, todo: &mut Vec<Action>) {
        let refusal = Refusal::Reload { reason: reason.to_owned(), kept: self.generation };
        let is_over = |waiting: &Waiting| matches!(waiting.until, Until::Reloads(which) if which == generation);
        self.answer_if(is_over, |_, _| Outcome::Refused(refusal.clone()), todo);
    }

    /// Answers those whose wait is over.
    pub(super) fn answer_the_patient(&mut self, todo: &mut Vec<Action>) {
        if self.waiting.is_empty() {
            return;
        }
        let (ready, target) = (self.count(Worker::is_ready), self.wanted());
        // Not to be confused with "is there": one that drains is none any more, for those who connect.
        let serving: Vec<WorkerId> =
            self.workers.iter().filter(|(_, worker)| !worker.is_leaving()).map(|(id, _)| *id).collect();
        let is_over = |waiting: &Waiting| match &waiting.until {
            Until::Gone { workers, .. } => ready >= target && !workers.iter().any(|id| serving.contains(id)),
            Until::ReloadBegins | Until::Reloads(_) => false,
        };
        let answer = |fleet: &Self, until| match until {
            Until::Gone { then: Outcome::Reloaded { generation, .. }, .. } => {
                let draining = fleet.workers.keys().filter(|id| id.generation < generation).count();
                Outcome::Reloaded { generation, draining }
            }
            Until::Gone { then, .. } => then,
            Until::ReloadBegins | Until::Reloads(_) => Outcome::Refused(Refusal::Stopping),
        };
        self.answer_if(is_over, answer, todo);
    }

    /// A stop: nothing that anybody waits for will come any more.
    pub(super) fn disappoint_the_patient(&mut self, todo: &mut Vec<Action>) {
        self.answer_if(|_| true, |_, _| Outcome::Refused(Refusal::Stopping), todo);
    }

    fn answer_if(
        &mut self,
        is_over: impl Fn(&Waiting) -> bool,
        answer: impl Fn(&Self, Until) -> Outcome,
        todo: &mut Vec<Action>,
    ) {
        let (over, rest) = std::mem::take(&mut self.waiting).into_iter().partition(is_over);
        self.waiting = rest;
        for Waiting { ticket, until } in over {
            todo.push(Action::Answer(ticket, answer(self, until)));
        }
    }
}
