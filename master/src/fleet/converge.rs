//! Bringing what is closer to what should be: who is too many, who is missing.

use std::collections::BTreeSet;

use rustcorn_sys::Monotonic;

use super::worker::Worker;
use super::{Action, Fleet, Slot, WorkerId};

impl Fleet {
    /// Brings what is closer to what should be.
    pub(super) fn converge(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        if self.stop.is_some() {
            self.finish_stop(todo);
            return;
        }
        self.retire_surplus(now, todo);
        self.fill_vacancies(now, todo);
        self.finish_handover(todo);
        self.start_reload_if_asked(todo);
    }

    /// Drains ready workers that are too many, older generations first and then those that are due, and never so many that fewer than the target stay
    /// ready. A worker that is still booting serves nobody: if it is of an older generation or too many, it goes at once.
    fn retire_surplus(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        let (generation, wanted) = (self.generation, self.wanted());
        let canary = self.reload.canary();
        // By age, those that are due first: BTreeMap orders by slot, age is the number of the spawn.
        let mut by_age: Vec<WorkerId> = self.workers.keys().copied().filter(|id| Some(*id) != canary).collect();
        by_age.sort_by_key(|id| (id.generation, !self.workers[id].due, id.life));

        let mut ready = self.count(Worker::is_ready);
        let mut live = self.live();
        for id in &by_age {
            let worker = &self.workers[id];
            let unneeded_boot = worker.is_booting() && id.generation < generation;
            let surplus = worker.is_ready() && ready > wanted;
            if surplus {
                ready -= 1;
            }
            if surplus || unneeded_boot {
                live -= usize::from(id.generation == generation && worker.is_staying());
                self.drain(now, *id, todo);
            }
        }
        for id in by_age.iter().rev() {
            if live > wanted && id.generation == generation && self.workers[id].is_booting() {
                live -= 1;
                self.drain(now, *id, todo);
            }
        }
    }

    /// Spawns what is missing of the present generation: at most `max_surge` beyond the target at a time, and not for a
    /// vacancy whose last occupants died too fast.
    fn fill_vacancies(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        let missing = self.wanted().saturating_sub(self.live());
        let due = self.seats.due(now, missing);
        let canary = self.reload.canary().and_then(|id| self.workers.get(&id));
        let active = self.active() - usize::from(canary.is_some_and(Worker::is_active));
        let room = (self.wanted() + self.plan.max_surge).saturating_sub(active);
        let mut taken = self.taken_slots();
        for _ in 0..due.min(room) {
            let Some(slot) = self.seats.choose(now, &taken) else { return };
            taken.insert(slot);
            let worker = Worker::booting(now, &self.plan);
            self.spawn(slot, self.generation, worker, todo);
        }
    }
    pub(super) fn taken_slots(&self) -> BTreeSet<Slot> {
        self.workers.keys().map(|id| id.slot).collect()
    }
}
