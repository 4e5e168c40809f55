//! Stopping: gracefully (TERM), quickly (INT, QUIT, or a first start that failed).

use std::time::Duration;

use rustcorn_scoreboard::Phase;
use rustcorn_sys::Monotonic;
use rustcorn_sys::signal::Sig;

use super::{Action, Fleet, WorkerId};
use crate::notice::Notice;

/// Time that foreign workers have, once told, to take what waits in the queues. Most close their sockets at once.
pub(super) const LAST_CALL: Duration = Duration::from_millis(250);

/// How far a stop has got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stop {
    manner: Manner,
    /// What a first start failed of.
    failure: Option<BootFailure>,
    /// When foreign workers hear of it: others go on accepting by themselves for `drain_delay`.
    passed_on: Option<Monotonic>,
    /// When nobody accepts any more, if all workers are foreign: others shut the sockets down themselves.
    refuses: Option<Monotonic>,
}

impl Stop {
    /// When something is to be done.
    pub(super) fn next_due(&self) -> Option<Monotonic> {
        self.passed_on.into_iter().chain(self.refuses).min()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Manner {
    /// Keep accepting for `drain_delay`, then finish.
    Announced,
    /// Finish.
    Draining,
    /// Leave.
    Quick,
}

/// Why a worker did not become ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BootFailure {
    /// The application said no; otherwise the server's own part failed.
    pub(super) app_refused: bool,
    pub(super) reason: String,
}

impl BootFailure {
    const fn exit_code(&self) -> u8 {
        if self.app_refused { 4 } else { 3 }
    }
}

impl Fleet {
    /// First TERM: announce, then drain. Second: drain now. During a quick stop: nothing.
    ///
    /// Beside another master, workers drain as those do that are being replaced: idle connections have time, and the sockets
    /// stay. The sockets of a service manager stay, too.
    pub(super) fn stop_gracefully(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        let (manner, phase, delay) = match self.stop.as_ref().map(|stop| stop.manner) {
            None if !self.lineage.is_alone() => (Manner::Announced, Phase::HandedOver, Duration::ZERO),
            None if !self.lineage.may_shut_down() => (Manner::Announced, Phase::Leaving, Duration::ZERO),
            None => (Manner::Announced, Phase::Stopping, self.plan.drain_delay),
            Some(Manner::Announced) => (Manner::Draining, self.hurried_phase(), Duration::ZERO),
            Some(Manner::Draining | Manner::Quick) => return,
        };
        self.begin(manner, None, todo);
        todo.push(Action::SetPhase(phase)); // before the signals: it says what they mean
        let start = now + delay;
        for id in self.ids() {
            match (self.workers.get_mut(&id), &mut self.stop) {
                (Some(worker), Some(stop)) if worker.foreign && !delay.is_zero() => {
                    worker.drain(start);
                    stop.passed_on = Some(start);
                }
                _ => self.drain(start, id, todo),
            }
        }
        if let Some(stop) = self.stop.as_mut().filter(|_| self.workers.values().all(|worker| worker.foreign)) {
            stop.refuses = Some(start + LAST_CALL);
        }
    }

    /// The delay of an announced stop is over for those who know of none.
    pub(super) fn pass_on_stop(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        if self.stop.as_mut().and_then(|stop| stop.passed_on.take_if(|due| now >= *due)).is_some() {
            let foreign = self.workers.iter().filter(|(_, worker)| worker.foreign);
            todo.extend(foreign.map(|(id, _)| Action::Signal(*id, Sig::Term)));
        }
        // Whoever connects from here on would wait for nobody, and be reset when the last request is over.
        if self.stop.as_mut().and_then(|stop| stop.refuses.take_if(|due| now >= *due)).is_some() {
            self.close_listeners(todo);
        }
    }

    /// Everybody leaves now. `failure`: the first start went wrong.
    pub(super) fn stop_quickly(&mut self, now: Monotonic, failure: Option<BootFailure>, todo: &mut Vec<Action>) {
        match self.stop.as_ref().map(|stop| stop.manner) {
            Some(Manner::Quick) => return,
            Some(_) => todo.push(Action::Say(Notice::QuickShutdown)),
            None => {}
        }
        self.begin(Manner::Quick, failure, todo);
        todo.push(Action::SetPhase(self.hurried_phase()));
        self.close_listeners(todo);
        for id in self.ids() {
            if let Some(worker) = self.workers.get_mut(&id) {
                // One that boots may not handle QUIT yet, a foreign one never, and its default action would dump core.
                let sig = if worker.is_booting() || worker.foreign { Sig::Term } else { Sig::Quit };
                worker.quit(now);
                todo.push(Action::Signal(id, sig));
            }
        }
    }

    /// It was told to leave while it booted, and yet says that it is ready: then it has not heard that, and would serve until it is
    /// killed. A TERM is lost if it comes after the default action was taken away and before the new one is in force, or to an
    /// application that handles signals of its own while it loads. From now on it hears; to hear twice changes nothing. (A foreign
    /// one may take a second TERM for impatience, and says that it is ready when it likes.)
    pub(super) fn remind(&self, id: WorkerId, todo: &mut Vec<Action>) {
        if self.workers.get(&id).is_some_and(|worker| worker.is_draining() && !worker.foreign) {
            let quick = self.stop.as_ref().is_some_and(|stop| stop.manner == Manner::Quick);
            todo.push(Action::Signal(id, if quick { Sig::Quit } else { Sig::Term }));
        }
    }

    const fn hurried_phase(&self) -> Phase {
        if self.lineage.may_shut_down() { Phase::StoppingNow } else { Phase::Leaving }
    }

    fn close_listeners(&self, todo: &mut Vec<Action>) {
        if self.lineage.may_shut_down() {
            todo.push(Action::CloseListeners);
        }
    }

    fn begin(&mut self, manner: Manner, failure: Option<BootFailure>, todo: &mut Vec<Action>) {
        self.abandon_reload(todo);
        if self.stop.is_none() {
            self.announce_stop(todo);
        }
        self.disappoint_the_patient(todo);
        let failure = failure.or_else(|| self.stop.take().and_then(|stop| stop.failure));
        self.stop = Some(Stop { manner, failure, passed_on: None, refuses: None });
    }

    /// The last worker has left: so does the master. If a stop was for both masters, the older one is the last, so that there is one
    /// who cleans up.
    pub(super) fn finish_stop(&mut self, todo: &mut Vec<Action>) {
        let Some(stop) = &self.stop else { return };
        let waits_for_heir = self.lineage.heir_leaves() && stop.manner != Manner::Quick;
        if !self.workers.is_empty() || waits_for_heir {
            return;
        }
        self.close_listeners(todo);
        todo.push(Action::Say(Notice::ShuttingDown { failed: stop.failure.is_some() }));
        if let Some(failure) = &stop.failure {
            todo.push(Action::Say(Notice::StopReason { app_refused: failure.app_refused }));
            self.tell_parent_of_failure(&failure.reason, todo);
        }
        self.say_goodbye(todo);
        todo.push(Action::Exit(stop.failure.as_ref().map_or(0, BootFailure::exit_code)));
    }

    fn ids(&self) -> Vec<WorkerId> {
        self.workers.keys().copied().collect()
    }
}
