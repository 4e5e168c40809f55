//! Random stories: a fake operating system with assertions of its own, random exits, signals, reloads and clock jumps. A
//! failure prints its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustcorn_control::Which;
use rustcorn_scoreboard::{Phase, SLOTS};
use rustcorn_sys::signal::Sig;
use rustcorn_sys::{Monotonic, Pid};

use super::*;

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
            Action::Signal(id, sig) => self.signal(id, sig),
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

    fn signal(&mut self, id: WorkerId, sig: Sig) {
        let (ready, wanted) = (self.count(Process::Ready), self.wanted());
        assert!(self.plan.foreign.is_none() || !matches!(sig, Sig::Quit | Sig::Abrt), "a foreign one would dump core");
        let process = self.processes.get_mut(&id).unwrap_or_else(|| panic!("{sig} for {id:?}, which is gone"));
        match sig {
            Sig::Term | Sig::Quit => {
                if *process == Process::Ready && !self.stopping && self.doomed.take() != Some(id) {
                    assert!(ready > wanted, "ready workers are never fewer than wanted on purpose");
                }
                if *process != Process::Killed {
                    *process = Process::Leaving;
                }
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

    /// The next thing that happens, by chance.
    fn next(&mut self, rng: &mut Rng, calm: bool) -> Event {
        if !self.owed.is_empty() {
            return self.owed.remove(0);
        }
        let gone = |id, fate| Event::Exited(id, fate, None);
        if let Some(id) = rng.pick(&self.all(Process::Killed)) {
            return gone(id, Fate::Signal(9));
        }
        if let Some(event) = self.next_of_masters(rng, calm) {
            return event;
        }
        match rng.below(if calm { 50 } else { 100 }) {
            0..20 => {
                if let Some(id) = rng.pick(&self.all(Process::Booting)) {
                    self.processes.insert(id, Process::Ready);
                    return Event::Ready(id);
                }
            }
            20..40 => {
                if let Some(id) = rng.pick(&self.all(Process::Leaving)) {
                    return gone(id, Fate::Code(0));
                }
            }
            50..60 => {
                if let Some(id) = rng.pick(&self.all(Process::Ready)) {
                    return gone(id, Fate::Signal(11));
                }
            }
            60..62 => {
                if let Some(id) = rng.pick(&self.all(Process::Ready)) {
                    return Event::Leaving(id);
                }
            }
            62..66 => {
                if let Some(id) = rng.pick(&self.all(Process::Booting)) {
                    let code = if rng.chance(50) { 4 } else { 3 };
                    return gone(id, Fate::Code(code));
                }
            }
            66..80 => return self.some_signal(rng),
            80..84 => {
                if let Some(id) = rng.pick(&self.all(Process::Ready)) {
                    return Event::Spent(id);
                }
            }
            84..90 => return self.some_question(rng),
            90..92 => {
                let asked: Vec<Ticket> = self.asked.iter().copied().collect();
                if let Some(ticket) = rng.pick(&asked) {
                    self.asked.remove(&ticket);
                    return Event::Withdrawn(ticket);
                }
            }
            _ => {}
        }
        Event::Tick
    }

    /// What the masters before and after this one do, now and then. They lead a calmer life than the workers.
    fn next_of_masters(&self, rng: &mut Rng, calm: bool) -> Option<Event> {
        if !rng.chance(3) {
            return None;
        }
        match self.heir {
            Heir::None if self.birth.has_parent && (calm || rng.chance(20)) => Some(Event::ParentGone),
            Heir::Starting if calm || rng.chance(60) => Some(Event::HeirSays(Report::Ready)),
            Heir::Serving if !calm && rng.chance(20) => Some(Event::HeirSays(Report::Leaving)),
            Heir::Starting | Heir::Serving if !calm && rng.chance(30) => Some(Event::HeirGone(Fate::Code(3), None)),
            Heir::Leaving => Some(Event::HeirGone(Fate::Code(0), None)),
            _ => None,
        }
    }

    /// What somebody at the control socket may say, sense or nonsense.
    fn some_question(&mut self, rng: &mut Rng) -> Event {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let wait = rng.chance(70);
        let count = 1 + usize::try_from(rng.below(3)).unwrap();
        let slot = Which::Slot(u32::try_from(rng.below(8)).unwrap());
        let ask = match rng.below(100) {
            0 if self.may_stop => Ask::Stop { quick: false },
            1 if self.may_stop => Ask::Stop { quick: true },
            0..15 => Ask::Look,
            15..25 => Ask::Add { count, wait },
            25..40 => Ask::Remove { count },
            40..60 => Ask::Restart { which: (!rng.chance(30)).then_some(slot), wait },
            60..75 => Ask::Kill { which: slot, wait },
            _ => Ask::Reload { wait },
        };
        Event::Asked(ticket, ask)
    }

    /// What the world knows of an event in the moment the fleet hears of it.
    fn deliver(&mut self, event: &Event) {
        match event {
            Event::Exited(id, ..) => {
                self.processes.remove(id);
            }
            Event::Leaving(id) => {
                self.processes.insert(*id, Process::Leaving);
            }
            Event::Signal(Sig::Ttin | Sig::Hup) if self.is_ending() => {}
            Event::Signal(Sig::Ttin) => {
                self.target = if std::mem::take(&mut self.retired) { 1 } else { self.target + 1 };
            }
            Event::Signal(Sig::Hup) => self.retired = false,
            Event::Signal(Sig::Winch) => {
                let harmless = !self.birth.has_terminal || self.heir == Heir::Serving;
                self.retired |= harmless && !self.stopping;
            }
            Event::HeirSays(Report::Ready) => {
                self.leaving |= self.plan.handover == Handover::Auto && !self.stopping;
                self.retired |= self.leaving;
                self.heir = Heir::Serving;
            }
            Event::HeirSays(_) => {
                (self.retired, self.leaving) = (false, false);
                self.heir = Heir::Leaving;
            }
            Event::HeirGone(..) => {
                self.retired &= self.heir != Heir::Serving;
                self.leaving &= self.retired;
                self.heir = Heir::None;
            }
            Event::ParentGone => self.birth.has_parent = false,
            Event::Signal(Sig::Ttou) => self.target = (self.target - 1).max(1),
            Event::Signal(Sig::Term | Sig::Int | Sig::Quit) => self.stopping = true,
            Event::Asked(ticket, ask) => {
                self.asked.insert(*ticket);
                match ask {
                    Ask::Add { count, .. } if !self.is_ending() => {
                        self.target = if std::mem::take(&mut self.retired) { *count } else { self.target + count };
                    }
                    Ask::Reload { .. } if !self.is_ending() => self.retired = false,
                    Ask::Stop { .. } => self.stopping = true,
                    Ask::Remove { count } if !self.is_ending() => {
                        self.target = self.target.saturating_sub(*count).max(1);
                    }
                    Ask::Kill { which: Which::Slot(slot), .. } => {
                        self.doomed = self.processes.keys().find(|id| id.slot.0 == *slot as usize).copied();
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn some_signal(&self, rng: &mut Rng) -> Event {
        let sig = match rng.below(200) {
            0 if self.may_stop => Sig::Term,
            1 if self.may_stop => Sig::Int,
            2 if self.may_stop => Sig::Quit,
            0..80 => Sig::Hup,
            80..115 => Sig::Ttin,
            115..155 => Sig::Ttou,
            155..165 => Sig::Usr1,
            165..185 => Sig::Usr2,
            _ => Sig::Winch,
        };
        Event::Signal(sig)
    }

    fn beats(&self, rng: &mut Rng, calm: bool) -> Event {
        let ready = self.all(Process::Ready).into_iter();
        Event::Beats(ready.filter(|_| calm || rng.chance(95)).map(|id| (id, self.now)).collect())
    }
}

fn random_plan(rng: &mut Rng, may_leave: bool, foreign: Option<Foreign>) -> Plan {
    Plan {
        handover: if may_leave && rng.chance(50) { Handover::Auto } else { Handover::Manual },
        workers: 1 + usize::try_from(rng.below(6)).unwrap(),
        max_surge: 1 + usize::try_from(rng.below(3)).unwrap(),
        timeout: if foreign.is_some() { Duration::ZERO } else { Duration::from_secs(30 * rng.below(2)) },
        graceful_timeout: Duration::from_secs(rng.below(40)),
        drain_delay: Duration::from_secs(rng.below(10)),
        flush_timeout: Duration::from_secs(rng.below(4)),
        boot_timeout: Duration::from_secs(1 + rng.below(60)),
        restart_backoff: Duration::from_millis(100 * rng.below(2)),
        limits: Limits { max_rss: rng.below(2), worker_lifetime: Duration::from_secs(60 * rng.below(3)) },
        foreign,
    }
}

/// Plays one event; returns false once the master has left.
fn play(fleet: &mut Fleet, os: &mut Os, rng: &mut Rng, calm: bool) -> bool {
    let event = os.next(rng, calm);
    for event in [os.beats(rng, calm), event, Event::Tick] {
        os.deliver(&event);
        for action in fleet.step(os.now, event) {
            os.apply(rng, &action);
        }
        assert_eq!(os.untold, [], "a USR1 reaches them all");
        os.doomed = None;
        if os.exit.is_some() {
            return false;
        }
    }
    let due = fleet.next_deadline(os.now);
    assert!(due.is_none_or(|due| due > os.now) || !os.owed.is_empty(), "a deadline in the past makes the master spin");
    // After the round: one that became ready in the moment its boot_timeout passed was killed all the same.
    os.ever_ready |= !os.stopping && os.count(Process::Ready) > 0;
    true
}

fn story(seed: u64, events: usize, may_stop: bool) -> (Os, Fleet, Rng) {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut os = Os::new(&mut rng, may_stop);
    let mut fleet = Fleet::new(os.plan.clone(), os.birth);
    for _ in 0..events {
        let jump = if rng.chance(2) { 40_000 } else { 400 };
        os.now = os.now + Duration::from_millis(rng.below(jump));
        if !play(&mut fleet, &mut os, &mut rng, false) {
            break;
        }
    }
    (os, fleet, rng)
}

#[test]
fn any_order_of_events_keeps_the_rules() {
    for seed in 0..256 {
        let outcome = std::panic::catch_unwind(|| story(seed, 500, true));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn one_long_life() {
    let lived = (0..4).filter(|seed| story(*seed, 10_000, false).0.exit.is_none()).count();
    assert!(lived > 0, "only a failed first start ends a server that nobody stops");
}

/// When the storm is over and workers boot, beat and leave as they should, the fleet reaches exactly what is wanted; or, if a
/// stop was asked for, it ends.
#[test]
fn after_the_storm_all_is_as_wanted() {
    let (mut served, mut ended) = (0, 0);
    for seed in 0..150 {
        let (mut os, mut fleet, mut rng) = story(seed, 300, true);
        let rounds = 30_000; // ten minutes: every pause, boot and drain is over by then
        for _ in 0..rounds {
            os.now = os.now + Duration::from_millis(20);
            if os.exit.is_some() || os.is_settled() || !play(&mut fleet, &mut os, &mut rng, true) {
                break;
            }
        }
        if os.exit.is_some() {
            ended += 1;
        } else {
            assert!(!os.stopping, "seed {seed}: a stop ends");
            assert!(os.is_settled(), "seed {seed}: {} wanted of {}; {:?}", os.target, os.committed, os.processes);
            served += 1;
        }
    }
    assert!(served > 20 && ended > 10, "both kinds of story were told: {served} served, {ended} ended");
}
