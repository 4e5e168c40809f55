//! Stopping: gracefully (TERM), quickly (INT, QUIT, or a first start that failed).

use std::time::Duration;

use rustcorn_scoreboard::Phase;
use rustcorn_sys::Monotonic;
use rustcorn_sys::signal::Sig;

use super::{Action, Fleet, WorkerId};
use crate::notice::Notice;

/// How far a stop has got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stop {
    manner: Manner,
    /// What a first start failed of.
    failure: Option<BootFailure>,
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
    pub(super) fn stop_gracefully(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        let (manner, phase, delay) = match self.stop.as_ref().map(|stop| stop.manner) {
            None => (Manner::Announced, Phase::Stopping, self.plan.drain_delay),
            Some(Manner::Announced) => (Manner::Draining, Phase::StoppingNow, Duration::ZERO),
            Some(Manner::Draining | Manner::Quick) => return,
        };
        self.begin(manner, None, todo);
        todo.push(Action::SetPhase(phase)); // before the signals: it says what they mean
        for id in self.ids() {
            self.drain(now + delay, id, todo);
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
        todo.push(Action::SetPhase(Phase::StoppingNow));
        todo.push(Action::CloseListeners);
        for id in self.ids() {
            if let Some(worker) = self.workers.get_mut(&id) {
                // One that boots may not handle QUIT yet, and its default action would dump core.
                let sig = if worker.is_booting() { Sig::Term } else { Sig::Quit };
                worker.quit(now);
                todo.push(Action::Signal(id, sig));
            }
        }
    }

    fn begin(&mut self, manner: Manner, failure: Option<BootFailure>, todo: &mut Vec<Action>) {
        self.abandon_reload(todo);
        self.disappoint_the_patient(todo);
        let failure = failure.or_else(|| self.stop.take().and_then(|stop| stop.failure));
        self.stop = Some(Stop { manner, failure });
    }

    /// The last worker has left: so does the master.
    pub(super) fn finish_stop(&mut self, todo: &mut Vec<Action>) {
        let Some(stop) = &self.stop else { return };
        if !self.workers.is_empty() {
            return;
        }
        todo.push(Action::CloseListeners);
        todo.push(Action::Say(Notice::ShuttingDown { failed: stop.failure.is_some() }));
        if let Some(failure) = &stop.failure {
            todo.push(Action::Say(Notice::StopReason { app_refused: failure.app_refused }));
        }
        todo.push(Action::Exit(stop.failure.as_ref().map_or(0, BootFailure::exit_code)));
    }

    fn ids(&self) -> Vec<WorkerId> {
        self.workers.keys().copied().collect()
    }
}
