//! The master's policy: which workers there should be, and what to do next.
//!
//! [`Fleet::step`] decides; it makes no system call and reads no clock. Everything that happens comes in as an [`Event`],
//! everything to be done goes out as an [`Action`]. After each event the fleet compares what is with what should be
//! (`converge`), so no situation needs a path of its own: a crash, a reload, TTIN and a slow boot all end in the same few
//! rules. Stopping and reloading are states, so every signal is heard while they run.

mod ask;
mod backoff;
mod converge;
mod recycle;
mod reload;
mod seam;
mod signals;
mod stop;
mod upgrade;
mod worker;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rustcorn_scoreboard::{Cause, Figures, Recycle};
use rustcorn_sys::Monotonic;
use rustcorn_sys::signal::Sig;

use crate::notice::Notice;
use ask::Waiting;
pub use ask::{Ask, Outcome, Refusal, Seen, Ticket};
use backoff::Seats;
pub use recycle::{Due, Limits};
use reload::Reload;
pub use seam::{Action, Event};
use stop::Stop;
use upgrade::Lineage;
pub use upgrade::{Birth, Handover, Report, Status};
pub use worker::Fate;
use worker::Worker;

/// A seat for a worker, `0..SLOTS`; reused once its occupant is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub usize);

/// Which configuration and image a worker runs. Goes up with every reload that is tried.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(pub u32);

/// One worker process, from its spawn to its end. `life` tells the occupants of one seat apart, so that a late message of
/// the last one is never taken for one of the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerId {
    /// The seat.
    pub slot: Slot,
    /// Configuration and image.
    pub generation: Generation,
    /// Number of this spawn, counted over the master's whole life.
    pub life: u64,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the policy needs to know of a generation's settings; the names are the settings'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Workers to keep ready.
    pub workers: usize,
    /// Workers beyond that while some are replaced; at least 1.
    pub max_surge: usize,
    /// Time without a heartbeat after which a worker hangs; zero: never.
    pub timeout: Duration,
    /// Time a worker has to finish its requests.
    pub graceful_timeout: Duration,
    /// Time a full stop keeps accepting before it drains.
    pub drain_delay: Duration,
    /// Time a worker has after its requests to send the telemetry it holds.
    pub flush_timeout: Duration,
    /// Time from spawn to ready.
    pub boot_timeout: Duration,
    /// First pause before a worker that keeps dying is tried again; zero: no pause.
    pub restart_backoff: Duration,
    /// After what a worker is replaced although it is well.
    pub limits: Limits,
    /// Who ends an upgrade.
    pub handover: Handover,
    /// The workers know nothing of rustcorn.
    pub foreign: Option<Foreign>,
}

/// Workers that are told nothing but by signals, and show no sign of life: they cannot be seen to hang, so `timeout` has to be zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Foreign {
    /// Time after which one that runs counts as ready; `None`: it says so itself.
    pub settles: Option<Duration>,
}

/// The most workers TTIN can ask for, the same as the `workers` setting allows.
pub const MAX_WORKERS: usize = 1024;

/// A step this much later than asked for means that the master itself stood still (a suspended machine, SIGSTOP): the
/// workers probably did too, so it is no time to judge them.
const LATE: Duration = Duration::from_secs(1);

/// What happened since the start.
#[derive(Debug, Default)]
struct Tally {
    /// Ends that were not asked for, by [`Cause`].
    restarts: [u64; Cause::ALL.len()],
    /// Workers that became due, by [`Recycle`].
    recycles: [u64; Recycle::ALL.len()],
    reloads_ok: u64,
    reloads_failed: u64,
}

/// All workers and what is intended with them.
#[derive(Debug)]
pub struct Fleet {
    plan: Plan,
    generation: Generation,
    /// Number of ready workers wanted: the plan's, moved by TTIN and TTOU.
    target: usize,
    workers: BTreeMap<WorkerId, Worker>,
    seats: Seats,
    reload: Reload,
    waiting: Vec<Waiting>,
    stop: Option<Stop>,
    lineage: Lineage,
    /// Whether any worker was ever ready. Until then a failed boot ends the server (exit 3 or 4).
    started: bool,
    lives: u64,
    /// When the workers are measured next; `None` while nobody asks for it.
    next_sample: Option<Monotonic>,
    tally: Tally,
    /// When the next step was due, as last told by [`Fleet::next_deadline`].
    promised: Option<Monotonic>,
}

impl Fleet {
    /// A fleet of no workers yet. The first [`Event::Tick`] spawns them.
    #[must_use]
    pub fn new(plan: Plan, birth: Birth) -> Self {
        Self {
            generation: birth.generation,
            target: plan.workers,
            plan,
            workers: BTreeMap::new(),
            seats: Seats::default(),
            reload: Reload::new(Generation(birth.generation.0 + 1)),
            waiting: Vec::new(),
            stop: None,
            lineage: Lineage::new(birth),
            started: false,
            lives: 0,
            next_sample: None,
            tally: Tally::default(),
            promised: None,
        }
    }

    /// Decides what to do about `event`. `now` never goes back.
    pub fn step(&mut self, now: Monotonic, event: Event) -> Vec<Action> {
        let mut todo = Vec::new();
        if self.promised.is_some_and(|due| now > due + LATE) {
            self.forgive(now);
        }
        // They change nothing by themselves, and there may be a thousand of them in a round.
        let is_news_only = matches!(event, Event::Spawned(..) | Event::Beats(_));
        let is_last = event == Event::Tick;
        match event {
            Event::Signal(sig) => self.signal(now, sig, &mut todo),
            Event::Loaded(outcome) => self.loaded(now, outcome, &mut todo),
            Event::Spawned(id, pid) => self.with(id, |worker| {
                worker.pid = Some(pid);
                todo.extend(worker.foreign.then_some(Action::Say(Notice::ForeignBooting { pid })));
            }),
            Event::Ready(id) => self.ready(now, id, &mut todo),
            Event::Leaving(id) => self.leaving(now, id),
            Event::Spent(id) => self.spent(id, &mut todo),
            Event::Measured(sizes) => self.measured(&sizes, &mut todo),
            Event::Beats(beats) => beats.into_iter().for_each(|(id, at)| self.with(id, |worker| worker.beat(at))),
            Event::Asked(ticket, ask) => self.asked(now, ticket, &ask, &mut todo),
            Event::Withdrawn(ticket) => self.withdrawn(ticket),
            Event::Exited(id, fate, reason) => self.exited(now, id, &fate, reason, &mut todo),
            Event::HeirSpawned(pid) => self.heir_spawned(pid, &mut todo),
            Event::HeirSays(report) => self.heir_says(now, &report, &mut todo),
            Event::HeirGone(fate, reason) => self.heir_gone(&fate, reason, &mut todo),
            Event::ParentGone => self.promoted(&mut todo),
            Event::FilesChanged(files) => self.files_changed(files, &mut todo),
            Event::Tick => self.look_who_settled(now, &mut todo),
        }
        if is_news_only {
            return todo;
        }
        // Not before all news of the round is known: a master that was late finds what came in time behind what it reads first.
        if is_last {
            for (id, worker) in &mut self.workers {
                worker.enforce_deadline(now, *id, &mut todo);
            }
            self.enforce_upgrade_deadline(now, &mut todo);
            self.pass_on_stop(now, &mut todo);
            self.look_at_limits(now, &mut todo);
        }
        self.converge(now, &mut todo);
        self.answer_the_patient(&mut todo);
        self.promised = self.next_deadline(now);
        todo
    }

    /// When the next round is due at the latest: whatever there is, then [`Event::Beats`], [`Event::Tick`] last.
    #[must_use]
    pub fn next_deadline(&self, now: Monotonic) -> Option<Monotonic> {
        let workers = self.workers.values().filter_map(Worker::next_due).chain(self.lineage.deadline());
        if let Some(stop) = &self.stop {
            return workers.chain(stop.next_due()).min();
        }
        let lifetimes = self.workers.values().filter_map(Worker::expiry);
        workers.chain(lifetimes).chain(self.seats.next_due(now)).chain(self.next_sample).min()
    }

    /// Everyone who can serve, now or soon, for the `gunicorn.workers` gauge: booting and ready workers of all generations.
    #[must_use]
    pub fn active(&self) -> usize {
        self.count(Worker::is_active)
    }

    /// Whether any worker was ever ready.
    #[must_use]
    pub const fn has_started(&self) -> bool {
        self.started
    }

    /// What the policy knows, for the metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            target: self.wanted() as u64,
            generation: self.generation.0,
            restarts: self.tally.restarts,
            recycles: self.tally.recycles,
            reloads_ok: self.tally.reloads_ok,
            reloads_failed: self.tally.reloads_failed,
        }
    }

    fn ready(&mut self, now: Monotonic, id: WorkerId, todo: &mut Vec<Action>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if !worker.is_booting() {
            self.remind(id, todo);
            return;
        }
        worker.become_ready(now, id.life);
        if worker.foreign {
            todo.push(Action::ShowReady(id));
        }
        if let Some(pid) = worker.pid {
            todo.push(Action::Say(Notice::WorkerReady { slot: id.slot, pid, generation: id.generation }));
        }
        if !std::mem::replace(&mut self.started, true) {
            self.notify(Status::Ready, todo);
        }
        self.seats.ready(id.slot, now);
        self.canary_ready(id, todo);
    }

    /// The last event of a round, so that the end of one that has just settled is known already.
    fn look_who_settled(&mut self, now: Monotonic, todo: &mut Vec<Action>) {
        let settled = self.workers.iter().filter(|(_, worker)| worker.has_settled(now)).map(|(id, _)| *id);
        for id in settled.collect::<Vec<_>>() {
            self.ready(now, id, todo);
        }
    }

    fn exited(&mut self, now: Monotonic, id: WorkerId, fate: &Fate, reason: Option<String>, todo: &mut Vec<Action>) {
        let Some(worker) = self.workers.remove(&id) else { return };
        let expected = worker.is_leaving() || self.stop.is_some();
        if *fate != Fate::Code(0) || !expected {
            todo.extend(worker.epitaph(fate).map(Action::Say));
        }
        if expected {
            self.canary_gone(id, None, todo); // one that was abandoned; no news
            return;
        }
        let failed_to_boot = worker.boot_failure(fate, reason);
        if self.canary_gone(id, failed_to_boot.as_ref(), todo) {
            return; // counted as a failed reload
        }
        let cause = if failed_to_boot.is_some() { Cause::Boot } else { worker.cause(fate) };
        self.tally.restarts[cause as usize] += 1;
        if let Some(failure) = failed_to_boot {
            todo.push(Action::Say(Notice::WorkerFailedToBoot { slot: id.slot, reason: failure.reason.clone() }));
            if !self.started {
                self.stop_quickly(now, Some(failure), todo);
                return;
            }
        }
        // An old generation is not brought back; its replacement is on the way.
        if id.generation == self.generation {
            let pause = self.seats.failed(id.slot, now, self.plan.restart_backoff);
            if !pause.is_zero() {
                todo.push(Action::Say(Notice::BackingOff { slot: id.slot, pause }));
            }
        }
    }

    /// Somebody else told it to go: that needs no signal, but a successor.
    fn leaving(&mut self, now: Monotonic, id: WorkerId) {
        self.with(id, |worker| {
            if worker.is_ready() {
                worker.drain(now);
            }
        });
    }

    /// The master was away: a silent worker gets one more period before it counts as hanging.
    fn forgive(&mut self, now: Monotonic) {
        for worker in self.workers.values_mut() {
            worker.beat(now);
        }
    }

    fn spawn(&mut self, slot: Slot, generation: Generation, worker: Worker, todo: &mut Vec<Action>) -> WorkerId {
        self.lives += 1;
        let id = WorkerId { slot, generation, life: self.lives };
        self.seats.taken(slot);
        self.workers.insert(id, worker);
        todo.push(Action::Spawn(id));
        id
    }

    /// From `start` on it shall finish and leave.
    fn drain(&mut self, start: Monotonic, id: WorkerId, todo: &mut Vec<Action>) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.drain(start);
            todo.push(Action::Signal(id, Sig::Term));
        }
    }

    fn with(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        // Not there: news of a worker whose end was handled already.
        if let Some(worker) = self.workers.get_mut(&id) {
            change(worker);
        }
    }

    fn count(&self, which: impl Fn(&Worker) -> bool) -> usize {
        self.workers.values().filter(|worker| which(worker)).count()
    }

    /// Workers of the present generation that are to stay. One that hangs is among them until it is gone: its
    /// seat, with the record of its deaths, is the one to fill again.
    fn live(&self) -> usize {
        self.workers.iter().filter(|(id, worker)| id.generation == self.generation && worker.is_staying()).count()
    }
}
