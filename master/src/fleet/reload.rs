//! Reloading in two phases: first without effect (read, check, bind, boot one worker of the new generation: the canary),
//! then the ordinary replacement of whoever is not of the present generation. Any failure before the canary is ready leaves
//! everything as it was.

use std::path::PathBuf;

use super::stop::BootFailure;
use super::{Action, Fleet, Generation, Plan, Status, WorkerId, worker::Worker};
use crate::notice::Notice;
use rustcorn_scoreboard::SLOTS;
use rustcorn_sys::Monotonic;

#[derive(Debug)]
pub(super) struct Reload {
    /// HUP was heard and not acted on yet. Several are one: each would read the same file.
    asked: bool,
    next: Generation,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// Waiting for [`super::Event::Loaded`].
    Loading(Generation),
    /// Waiting for the canary.
    Proving {
        plan: Plan,
        canary: WorkerId,
    },
}

impl Reload {
    pub(super) const fn new(next: Generation) -> Self {
        Self { asked: false, next, stage: Stage::Idle }
    }

    /// A number for a generation that nobody had yet.
    pub(super) const fn take_next(&mut self) -> Generation {
        let next = self.next;
        self.next = Generation(next.0 + 1);
        next
    }

    pub(super) const fn canary(&self) -> Option<WorkerId> {
        match &self.stage {
            Stage::Proving { canary, .. } => Some(*canary),
            Stage::Idle | Stage::Loading(_) => None,
        }
    }
}

impl Fleet {
    /// Draining workers are kept as long as their clients are, so reloads in quick succession would pile up generations:
    /// past this many the next reload waits until some have left.
    fn most_draining(&self) -> usize {
        (4 * self.target).clamp(64, SLOTS / 2)
    }

    pub(super) fn ask_for_reload(&mut self, todo: &mut Vec<Action>) {
        todo.push(Action::Say(Notice::HangUp));
        self.want_reload(todo);
    }

    /// With `dev`: as if somebody had asked for it. Not while stopping, where it would only be refused again and again.
    pub(super) fn files_changed(&mut self, files: Vec<PathBuf>, todo: &mut Vec<Action>) {
        if self.stop.is_none() {
            todo.push(Action::Say(Notice::FilesChanged { files }));
            self.want_reload(todo);
        }
    }

    fn want_reload(&mut self, todo: &mut Vec<Action>) {
        self.notify(Status::Reloading, todo);
        self.reload.asked = true;
    }

    /// Whatever came of it, the service manager hears when the last reload that was asked for is over.
    fn reload_is_over(&self, todo: &mut Vec<Action>) {
        if !self.reload.asked {
            self.notify(Status::Ready, todo);
        }
    }

    pub(super) fn start_reload_if_asked(&mut self, todo: &mut Vec<Action>) {
        let idle = matches!(self.reload.stage, Stage::Idle);
        if self.reload.asked && idle && self.count(Worker::is_leaving) < self.most_draining() {
            self.reload.asked = false;
            let generation = self.reload.take_next();
            self.reload.stage = Stage::Loading(generation);
            self.reload_begins(generation);
            todo.push(Action::Load(generation));
        }
    }

    pub(super) fn loaded(&mut self, now: Monotonic, outcome: Result<Plan, String>, todo: &mut Vec<Action>) {
        let Stage::Loading(generation) = self.reload.stage else { return }; // a stop came in between
        match outcome {
            Ok(plan) => match self.seats.choose(now, &self.taken_slots()) {
                Some(slot) => {
                    let canary = self.spawn(slot, generation, Worker::booting(now, &plan), todo);
                    self.reload.stage = Stage::Proving { plan, canary };
                }
                None => self.fail_reload(generation, "too many workers are still leaving; try again".to_owned(), todo),
            },
            Err(reason) => self.fail_reload(generation, reason, todo),
        }
    }

    pub(super) fn canary_ready(&mut self, id: WorkerId, todo: &mut Vec<Action>) {
        if self.reload.canary() != Some(id) {
            return;
        }
        if let Stage::Proving { plan, .. } = std::mem::replace(&mut self.reload.stage, Stage::Idle) {
            self.generation = id.generation;
            self.target = plan.workers;
            self.plan = plan;
            self.tally.reloads_ok += 1;
            self.seats.forget();
            self.reload_succeeds(id.generation);
            todo.push(Action::Commit(id.generation));
            todo.push(Action::Say(Notice::Reloaded { generation: id.generation }));
            self.reload_is_over(todo);
        }
    }

    /// Whether `id` was the canary, which is now gone.
    pub(super) fn canary_gone(&mut self, id: WorkerId, failure: Option<&BootFailure>, todo: &mut Vec<Action>) -> bool {
        if self.reload.canary() != Some(id) {
            return false;
        }
        let reason = failure.map_or("its first worker was stopped", |failure| &failure.reason);
        self.fail_reload(id.generation, format!("the new worker failed to boot: {reason}"), todo);
        true
    }

    fn fail_reload(&mut self, generation: Generation, reason: String, todo: &mut Vec<Action>) {
        self.reload.stage = Stage::Idle;
        self.tally.reloads_failed += 1;
        todo.push(Action::Discard(generation));
        self.reload_fails(generation, &reason, todo);
        todo.push(Action::Say(Notice::ReloadFailed { reason, kept: self.generation }));
        self.reload_is_over(todo);
    }

    /// A stop makes a reload pointless; its canary leaves with everyone else.
    pub(super) fn abandon_reload(&mut self, todo: &mut Vec<Action>) {
        self.reload.asked = false;
        match std::mem::replace(&mut self.reload.stage, Stage::Idle) {
            Stage::Idle => {}
            Stage::Loading(generation) => todo.push(Action::Discard(generation)),
            Stage::Proving { canary, .. } => todo.push(Action::Discard(canary.generation)),
        }
    }
}
