//! Random stories: a fake operating system with assertions of its own, random exits, signals, reloads and clock jumps. A
//! failure prints its seed.

mod chance;
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustcorn_control::Which;
use rustcorn_scoreboard::{Phase, SLOTS};
use rustcorn_sys::signal::Sig;
use rustcorn_sys::{Monotonic, Pid};

use super::*;
use chance::random_plan;

/// xorshift64*: small, and the same numbers on every machine.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[usize::try_from(self.below(from.len() as u64)).unwrap()])
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Process {
    Booting,
    Ready,
    /// Was told to leave; does so when the dice say so, or never (it hangs).
    Leaving,
    /// Was told to leave while it booted, and has not heard it.
    Deaf,
    /// The same one, which serves. It hears now.
    Unwanted,
    Killed,
}

/// The master that this one has started.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Heir {
    None,
    Starting,
    Serving,
    /// Was told to leave, or does so by itself.
    Leaving,
}

/// The world as it really is, with the rules a fleet must never break.
struct Os {
    now: Monotonic,
    processes: BTreeMap<WorkerId, Process>,
    /// Answers the fleet is owed.
    owed: Vec<Event>,
    loading: Option<Generation>,
    committed: Generation,
    /// Generations that may still have workers or resources.
    open: Vec<Generation>,
    target: usize,
    stopping: bool,
    may_stop: bool,
    birth: Birth,
    heir: Heir,
    /// No workers are wanted: WINCH, or the heir has taken over.
    retired: bool,
    /// For good, unless the heir ends.
    leaving: bool,
    exit: Option<u8>,
    ever_ready: bool,
    plan: Plan,
    next_plan: Option<Plan>,
    /// Ready workers that have not heard of log files that were opened anew.
    untold: Vec<WorkerId>,
    /// Who waits for an answer.
    asked: BTreeSet<Ticket>,
    tickets: u64,
    /// Whom an operator told to go, ready successor or not.
    doomed: Option<WorkerId>,
}

impl Os {
    fn new(rng: &mut Rng, may_stop: bool) -> Self {
        let foreign = match rng.below(4) {
            0 => Some(Foreign { settles: None }),
            1 => Some(Foreign { settles: Some(Duration::from_millis(500)) }),
            _ => None,
        };
        let plan = random_plan(rng, may_stop, foreign);
        let birth = Birth {
            generation: Generation(1),
            has_parent: rng.chance(20),
            foreign_sockets: rng.chance(20),
            has_terminal: rng.chance(50),
            is_init: rng.chance(10),
        };
        Self {
            now: Monotonic::from_nanos(1_000_000_000_000),
            processes: BTreeMap::new(),
            owed: vec![Event::Tick],
            loading: None,
            committed: Generation(1),
            open: vec![Generation(1)],
            target: plan.workers,
            stopping: false,
            may_stop,
            birth,
            heir: Heir::None,
            retired: false,
            leaving: false,
            exit: None,
            ever_ready: false,
            plan,
            next_plan: None,
            untold: Vec::new(),
            asked: BTreeSet::new(),
            tickets: 0,
            doomed: None,
        }
    }

    fn count(&self, state: Process) -> usize {
        self.processes.values().filter(|process| **process == state).count()
    }

    fn is_ending(&self) -> bool {
        self.stopping || self.leaving
    }

    fn wanted(&self) -> usize {
        if self.retired { 0 } else { self.target }
    }

    /// Whether nobody else uses the sockets.
    fn is_alone(&self) -> bool {
        !self.birth.has_parent && self.heir == Heir::None
    }

    /// Exactly the wanted number, all ready and of the present generation, and nothing on its way.
    fn is_settled(&self) -> bool {
        let present =
            |(id, process): (&WorkerId, &Process)| *process == Process::Ready && id.generation == self.committed;
        self.owed.is_empty()
            && self.asked.is_empty()
            && self.loading.is_none()
            && matches!(self.heir, Heir::None | Heir::Serving)
            && self.processes.len() == self.wanted()
            && self.processes.iter().all(present)
    }

    fn all(&self, state: Process) -> Vec<WorkerId> {
        self.processes.iter().filter(|(_, process)| **process == state).map(|(id, _)| *id).collect()
    }

    fn apply(&mut self, rng: &mut Rng, action: &Action) {
        assert_eq!(self.exit, None, "nothing comes after Exit: {action:?}");
        match *action {
            Action::Spawn(id) => self.spawn(rng, id),
            Action::Signal(id, sig) => self.signal(rng, id, sig),
            Action::Load(generation) => {
                assert!(!self.stopping && self.loading.is_none());
                self.loading = Some(generation);
                self.open.push(generation);
                let outcome = if rng.chance(30) {
                    Err("broken file".into())
                } else {
                    Ok(random_plan(rng, self.may_stop, self.plan.foreign))
                };
                self.next_plan = outcome.clone().ok();
                self.owed.push(Event::Loaded(outcome));
            }
            Action::Commit(generation) => {
                assert_eq!(self.loading.take(), Some(generation));
                self.committed = generation;
                self.plan = self.next_plan.take().expect("only what was loaded is committed");
                self.target = self.plan.workers;
            }
            Action::Discard(generation) => {
                assert_eq!(self.loading.take(), Some(generation), "only what was being tried is discarded");
                self.open.retain(|open| *open != generation);
            }
            Action::Measure => {
                let sizes = self.processes.keys().map(|id| (*id, rng.below(4))).collect();
                self.owed.push(Event::Measured(sizes));
            }
            Action::SetPhase(phase) => {
                match phase {
                    Phase::Running => assert!(!self.stopping, "a stop is not taken back"),
                    Phase::HandedOver => assert!(!self.is_alone(), "nobody else serves"),
                    Phase::Leaving => {
                        assert!(self.birth.foreign_sockets || !self.is_alone(), "nobody else has them");
                        self.stopping = true; // as below
                    }
                    Phase::Stopping | Phase::StoppingNow => {
                        assert!(self.is_alone() && !self.birth.foreign_sockets, "others use the sockets");
                        self.stopping = true; // perhaps by itself: a first start that failed
                    }
                }
            }
            Action::CloseListeners => {
                assert!(self.stopping && self.is_alone() && !self.birth.foreign_sockets, "others use the sockets");
            }
            Action::ReopenLogs => self.untold = self.all(Process::Ready),
            Action::StartHeir(_) => {
                assert!(self.is_alone() && !self.stopping && !self.birth.is_init);
                if rng.chance(10) {
                    self.owed.push(Event::HeirGone(Fate::NotStarted("no such file".into()), None));
                } else {
                    self.owed.push(Event::HeirSpawned(Pid::from_raw(999_999).unwrap()));
                }
                self.heir = Heir::Starting;
            }
            Action::SignalHeir(sig) => {
                assert!(self.heir != Heir::None, "{sig} for a master that is gone");
                if sig != Sig::Usr1 {
                    self.heir = Heir::Leaving;
                }
            }
            Action::ShowReady(id) => {
                let process = self.processes.get_mut(&id).expect("it lives");
                assert!(self.plan.foreign.is_some() && matches!(process, Process::Booting | Process::Ready));
                *process = Process::Ready;
            }
            Action::TellParent(_) => assert!(self.birth.has_parent),
            Action::Promote => assert!(!self.birth.has_parent),
            Action::Notify(_) => assert!(!self.birth.has_parent, "the service manager listens to the oldest alone"),
            Action::ServeAdmin(_) => {}
            Action::Say(_) => {}
            Action::Answer(ticket, _) => {
                assert!(self.asked.remove(&ticket), "{ticket:?} was never asked, or is answered already");
            }
            Action::Exit(code) => {
                assert!(self.asked.is_empty(), "the master leaves without an answer to {:?}", self.asked);
                assert!(self.processes.is_empty(), "the master never leaves before its workers");
                let handed_over = self.retired && self.heir == Heir::Serving;
                assert!(self.stopping || handed_over, "it leaves when it is told to, or for an heir that serves");
                assert!(code == 0 || !self.ever_ready, "only a failed first start exits with {code}");
                self.exit = Some(code);
            }
        }
    }

    fn spawn(&mut self, rng: &mut Rng, id: WorkerId) {
        assert!(!self.stopping, "no spawn after a stop began");
        assert!(!self.retired, "no spawn while no workers are wanted");
        assert!(self.open.contains(&id.generation), "{id:?} of a generation that is gone");
        assert!(!self.processes.keys().any(|other| other.slot == id.slot), "seat {} is taken", id.slot);
        assert!(id.slot.0 < SLOTS);
        // A canary comes on top, also while there are more than wanted because TTOU has just said so.
        let canary = usize::from(self.loading.is_some());
        let serving = self.count(Process::Booting) + self.count(Process::Ready);
        let most = self.target.max(self.plan.workers) + self.plan.max_surge + canary;
        assert!(id.generation != self.committed || serving < most, "max_surge is kept: {serving} of {}", self.target);
        if rng.chance(3) {
            self.owed.push(Event::Exited(id, Fate::NotStarted("out of processes".into()), None));
        } else {
            self.owed.push(Event::Spawned(id, Pid::from_raw(1 + i32::try_from(id.life).unwrap()).unwrap()));
        }
        self.processes.insert(id, Process::Booting);
    }

    fn signal(&mut self, rng: &mut Rng, id: WorkerId, sig: Sig) {
        let (ready, wanted) = (self.count(Process::Ready), self.wanted());
        assert!(self.plan.foreign.is_none() || !matches!(sig, Sig::Quit | Sig::Abrt), "a foreign one would dump core");
        let process = self.processes.get_mut(&id).unwrap_or_else(|| panic!("{sig} for {id:?}, which is gone"));
        match sig {
            Sig::Term | Sig::Quit => {
                if *process == Process::Ready && !self.stopping && self.doomed.take() != Some(id) {
                    assert!(ready > wanted, "ready workers are never fewer than wanted on purpose");
                }
                *process = match *process {
                    Process::Killed => Process::Killed,
                    Process::Booting | Process::Deaf if self.plan.foreign.is_none() && rng.chance(20) => Process::Deaf,
                    _ => Process::Leaving,
                };
            }
            Sig::Kill => *process = Process::Killed,
            Sig::Abrt => *process = Process::Leaving, // it hung, so it served nobody
            Sig::Usr1 => {
                assert_ne!(*process, Process::Killed);
                self.untold.retain(|other| *other != id);
            }
            other => panic!("workers are never sent {other}"),
        }
    }
}
