//! One thread of the engine: its users, its orders, its sweep.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::MissedTickBehavior;

use crate::engine::connect::Connector;
use crate::engine::open;
use crate::engine::plan::Plan;
use crate::engine::slot::Slot;
use crate::engine::user::User;
use crate::engine::{Schedule, Shared, ThreadCpu};
use crate::scenario::{Order, Scenario};
use crate::stats::{Clock, Interval, Recorder};

/// What the engine tells a thread.
pub(crate) enum Command {
    /// How many users of each class there should be.
    Users(Vec<u32>),
    Plan(Arc<Plan>),
    Tls(Arc<ClientConfig>),
    StopTimeout(Duration),
    Take(oneshot::Sender<Interval>),
    Abort,
    Stop {
        timeout: Duration,
        reply: oneshot::Sender<Interval>,
    },
}

/// What a thread is started with.
pub(crate) struct Setup {
    pub(crate) index: usize,
    pub(crate) threads: usize,
    pub(crate) clock: Clock,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
}

/// What the users of a thread share.
pub(crate) struct Local {
    pub(crate) index: usize,
    pub(crate) clock: Clock,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) recorder: RefCell<Recorder>,
    pub(crate) connector: Connector,
    /// By class.
    pub(crate) choices: Vec<Choice>,
    /// What is read lies here only as long as it is looked at, so one is enough for all connections.
    pub(crate) buffer: RefCell<Vec<u8>>,
    plan: RefCell<Arc<Plan>>,
    /// By class.
    users: RefCell<Vec<Vec<Rc<Slot>>>>,
    /// A user has gone.
    pub(crate) gone: Notify,
    stop_timeout: Cell<Duration>,
}

/// Size of the buffer that is read into.
const BUFFER: usize = 64 << 10;
/// How often deadlines are looked at: this part of the shortest one, within limits.
const SWEEPS_PER_TIMEOUT: u32 = 20;
const SWEEP: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

pub(crate) fn run(setup: Setup) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a thread can have a poll descriptor and a timer, or nothing can be done at all");
    LocalSet::new().block_on(&runtime, serve(setup));
}

async fn serve(setup: Setup) {
    let Setup { index, threads, clock, scenario, shared, plan, tls, schedule, mut commands } = setup;
    shared.tids[index].store(nix::unistd::gettid().as_raw().cast_unsigned(), Relaxed);
    let open = schedule.is_some();
    let local = Rc::new(Local {
        index,
        clock,
        recorder: RefCell::new(Recorder::new(clock, open, scenario.tasks.len())),
        connector: Connector::new(tls, index),
        choices: (0..scenario.classes.len()).map(|class| Choice::new(&scenario, class)).collect(),
        buffer: RefCell::new(vec![0; BUFFER]),
        plan: RefCell::new(plan),
        users: RefCell::new(vec![Vec::new(); scenario.classes.len()]),
        gone: Notify::new(),
        stop_timeout: Cell::new(scenario.load.grace),
        scenario,
        shared,
    });
    let dispatcher = schedule.map(|schedule| open::Dispatcher::start(Rc::clone(&local), &schedule, threads));
    let mut sweep = tokio::time::interval(local.sweep_period());
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop: Option<oneshot::Sender<Interval>> = None;
    let mut done = false;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                // The engine was dropped: nobody wants to know any more.
                None => return,
                Some(Command::Users(targets)) => local.set_users(&targets),
                Some(Command::Plan(plan)) => *local.plan.borrow_mut() = plan,
                Some(Command::Tls(tls)) => local.connector.set_tls(tls),
                Some(Command::StopTimeout(timeout)) => local.stop_timeout.set(timeout),
                // Whoever asked may have gone; then the numbers are not wanted.
                Some(Command::Take(reply)) => drop(reply.send(local.recorder.borrow_mut().take())),
                Some(Command::Abort) => local.stop_all(Duration::ZERO),
                Some(Command::Stop { timeout, reply }) => {
                    if let Some(dispatcher) = &dispatcher {
                        dispatcher.stop();
                    }
                    local.stop_all(timeout);
                    stop = Some(reply);
                }
            },
            _ = sweep.tick() => local.sweep(),
            () = local.gone.notified() => {}
        }
        let over = dispatcher.as_ref().map_or_else(|| local.shared.spent(), |dispatcher| dispatcher.over());
        if !local.idle() || (dispatcher.is_some() && !over) {
            continue;
        }
        if let Some(reply) = stop.take() {
            let left = dispatcher.as_ref().map_or(0, |dispatcher| dispatcher.left_over());
            local.recorder.borrow_mut().unstarted(left as u64);
            // The kernel forgets it with the thread.
            let used = ThreadCpu::of(local.shared.tids[index].load(Relaxed)).unwrap_or_default();
            let _ = local.shared.ended[index].set(used); // a thread ends once
            drop(reply.send(local.recorder.borrow_mut().take())); // as above
            return;
        }
        if over && !done {
            done = true;
            local.shared.done.fetch_add(1, Release);
            local.shared.changed.notify_waiters();
        }
    }
}

impl Local {
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }

    pub(crate) fn plan_changed(&self, known: &Arc<Plan>) -> bool {
        !Arc::ptr_eq(&self.plan.borrow(), known)
    }

    /// Adds a user, who lives as `life` says.
    pub(crate) fn add_user<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        class: usize,
        life: impl FnOnce(User) -> F,
    ) {
        let slot = Rc::new(Slot::new());
        self.users.borrow_mut()[class].push(Rc::clone(&slot));
        self.shared.users[self.index][class].fetch_add(1, Relaxed);
        let life = life(User::new(Rc::clone(self), Rc::clone(&slot), class));
        let local = Rc::clone(self);
        spawn_local(async move {
            life.await;
            local.users.borrow_mut()[class].retain(|other| !Rc::ptr_eq(other, &slot));
            local.shared.users[local.index][class].fetch_sub(1, Relaxed);
            local.gone.notify_one();
        });
    }

    fn set_users(self: &Rc<Self>, targets: &[u32]) {
        let latest = self.clock.now() + self.stop_timeout.get().as_nanos() as u64;
        for (class, &target) in targets.iter().enumerate() {
            let staying = self.users.borrow()[class].iter().filter(|slot| !slot.leaving()).count();
            for _ in staying..target as usize {
                self.add_user(class, User::live);
            }
            let users = self.users.borrow();
            let newest_first = users[class].iter().rev().filter(|slot| !slot.leaving());
            newest_first.take(staying.saturating_sub(target as usize)).for_each(|slot| slot.leave(latest));
        }
        self.sweep();
    }

    fn stop_all(&self, timeout: Duration) {
        let latest = self.clock.now() + timeout.as_nanos() as u64;
        self.users.borrow().iter().flatten().for_each(|slot| slot.leave(latest));
        self.sweep();
    }

    fn sweep(&self) {
        let now = self.clock.now();
        self.users.borrow().iter().flatten().for_each(|slot| slot.sweep(now));
    }

    fn idle(&self) -> bool {
        self.users.borrow().iter().all(Vec::is_empty)
    }

    fn sweep_period(&self) -> Duration {
        let tasks = self.scenario.tasks.iter().map(|task| task.timeout);
        let shortest = tasks.chain([self.scenario.client.connect_timeout]).min().unwrap_or(SWEEP.1);
        (shortest / SWEEPS_PER_TIMEOUT).clamp(SWEEP.0, SWEEP.1)
    }
}

/// How the users of a class choose.
pub(crate) struct Choice {
    /// Tasks that are done once, before all else.
    pub(crate) start: Vec<usize>,
    /// The others.
    pub(crate) tasks: Vec<usize>,
    pub(crate) order: Order,
    pub(crate) weights: Weights,
}

impl Choice {
    fn new(scenario: &Scenario, class: usize) -> Self {
        let all = scenario.classes[class].tasks.clone();
        let (start, tasks): (Vec<usize>, Vec<usize>) = all.partition(|&task| scenario.tasks[task].at_start);
        let weights = Weights::new(tasks.iter().map(|&task| scenario.tasks[task].weight));
        Self { start, tasks, order: scenario.classes[class].order, weights }
    }
}

/// A choice at random, by weight.
pub(crate) struct Weights(Vec<u64>);

impl Weights {
    pub(crate) fn new(weights: impl Iterator<Item = u32>) -> Self {
        Self(
            weights
                .scan(0, |sum, weight| {
                    *sum += u64::from(weight);
                    Some(*sum)
                })
                .collect(),
        )
    }

    pub(crate) fn choose(&self) -> usize {
        let total = self.0.last().copied().unwrap_or(1);
        let drawn = fastrand::u64(..total);
        self.0.partition_point(|&sum| sum <= drawn)
    }
}
