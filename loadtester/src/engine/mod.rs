//! Sends a scenario's requests: one current-thread runtime for each thread, with users (closed loop) or arrivals (open loop).
//!
//! The [`Engine`] is what drives the threads; it may be called from one task of a control runtime. The threads share nothing
//! while they work: each writes its own books, and hands them over when [`Engine::take`] asks.

mod answer;
mod arrivals;
mod client;
mod connect;
mod decoder;
mod failure;
mod http1;
mod http2;
mod open;
mod plan;
mod slot;
mod thread;
mod user;
mod values;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};

pub use arrivals::Schedule;
pub use open::LEAD;

use crate::engine::plan::Plan;
use crate::engine::thread::Command;
use crate::problem::Problem;
use crate::scenario::{Host, Scenario};
use crate::stats::{Clock, Interval};

/// How to run a scenario.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Threads that send; 0: one for each CPU that may be used.
    pub threads: usize,
    /// Open loop: when arrivals come, from the start of the engine. None: closed loop, by [`Engine::set_users`].
    pub schedule: Option<Schedule>,
}

/// Running threads. Dropped without [`Engine::stop`], they end at once and their last numbers are lost.
pub struct Engine {
    scenario: Arc<Scenario>,
    shared: Arc<Shared>,
    threads: Vec<Thread>,
    cpu: CpuWatch,
}

struct Thread {
    commands: mpsc::UnboundedSender<Command>,
    handle: Option<JoinHandle<()>>,
}

/// What threads tell the engine without being asked.
pub(crate) struct Shared {
    /// Running users, by thread and class.
    users: Vec<Vec<AtomicU32>>,
    /// Users so far, for their numbers.
    numbers: AtomicU32,
    /// Requests that may still be started; none: without end.
    budget: Option<AtomicU64>,
    /// Threads that have nothing left to do.
    done: AtomicU32,
    changed: Notify,
    /// For the CPU clock of each thread; 0 until it runs.
    tids: Vec<AtomicU32>,
    /// What each thread has used in all, once it has ended.
    ended: Vec<OnceLock<ThreadCpu>>,
}

impl Shared {
    /// Takes one request from the budget, if there is one.
    pub(crate) fn claim(&self) -> bool {
        self.budget.as_ref().is_none_or(|left| left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok())
    }

    /// A number for a new user, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Relaxed).wrapping_add(1).max(1)
    }

    /// Whether no request may be started any more.
    pub(crate) fn spent(&self) -> bool {
        self.budget.as_ref().is_some_and(|left| left.load(Relaxed) == 0)
    }
}

impl Engine {
    /// Starts the threads. In a closed loop nothing is sent until [`Engine::set_users`].
    pub fn start(scenario: Arc<Scenario>, options: EngineOptions) -> Result<Self, Problem> {
        let EngineOptions { threads, schedule } = options;
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let threads = match schedule {
            Some(_) => threads.min(scenario.load.max_in_flight as usize),
            None => threads,
        };
        let plan = Arc::new(Plan::new(&scenario, None)?);
        let tls = connect::tls(&scenario)?;
        let per_class = || scenario.classes.iter().map(|_| AtomicU32::new(0)).collect();
        let shared = Arc::new(Shared {
            users: (0..threads).map(|_| per_class()).collect(),
            numbers: AtomicU32::new(0),
            budget: scenario.load.requests.map(AtomicU64::new),
            done: AtomicU32::new(0),
            changed: Notify::new(),
            tids: (0..threads).map(|_| AtomicU32::new(0)).collect(),
            ended: (0..threads).map(|_| OnceLock::new()).collect(),
        });
        let clock = Clock::start();
        let mut started = Vec::new();
        for index in 0..threads {
            let (sender, commands) = mpsc::unbounded_channel();
            let setup = thread::Setup {
                index,
                threads,
                clock,
                scenario: Arc::clone(&scenario),
                shared: Arc::clone(&shared),
                plan: Arc::clone(&plan),
                tls: tls.clone(),
                schedule: schedule.clone(),
                commands,
            };
            let handle = std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || thread::run(setup))
                .map_err(|error| Problem::general(format!("cannot start thread {index} of {threads}: {error}")))?;
            started.push(Thread { commands: sender, handle: Some(handle) });
        }
        Ok(Self { scenario, shared, threads: started, cpu: CpuWatch::new(threads) })
    }

    /// What is being run.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// How many users of each class (by position in the scenario) there should be. May be called at any time; users above the
    /// target finish their request, or are stopped in it after the stop timeout.
    pub fn set_users(&self, targets: &[u32]) {
        let threads = self.threads.len();
        for (index, thread) in self.threads.iter().enumerate() {
            // Classes begin with another thread each, so that many classes of one user do not meet on the first one.
            let share = |(class, target): (usize, &u32)| {
                let turn = (index + threads - class % threads) % threads;
                target / threads as u32 + u32::from(turn < *target as usize % threads)
            };
            thread.send(Command::Users(targets.iter().enumerate().map(share).collect()));
        }
    }

    /// Running users of each class.
    #[must_use]
    pub fn users(&self) -> Vec<u32> {
        let mut users = vec![0; self.scenario.classes.len()];
        for thread in &self.shared.users {
            for (sum, count) in users.iter_mut().zip(thread) {
                *sum += count.load(Relaxed);
            }
        }
        users
    }

    /// Sends everything to this host (`http://host:port/prefix`), or again to those of the scenario.
    pub fn set_host(&self, host: Option<&str>) -> Result<(), Problem> {
        let host = host.map(Host::parse).transpose().map_err(Problem::general)?;
        let plan = Arc::new(Plan::new(&self.scenario, host.as_ref())?);
        if plan.tls() && !self.scenario.uses_tls() {
            // The threads were started without; an engine that may be sent anywhere is always prepared.
            let tls = connect::client_config(&self.scenario)?;
            self.threads.iter().for_each(|thread| thread.send(Command::Tls(Arc::clone(&tls))));
        }
        self.threads.iter().for_each(|thread| thread.send(Command::Plan(Arc::clone(&plan))));
        Ok(())
    }

    /// How long a user that is not wanted any more may go on with its request; at first the scenario's `grace`.
    pub fn set_stop_timeout(&self, timeout: Duration) {
        self.threads.iter().for_each(|thread| thread.send(Command::StopTimeout(timeout)));
    }

    /// Everything since the last call, of all threads.
    pub async fn take(&mut self) -> Interval {
        self.collect(Command::Take).await
    }

    /// Waits until nothing is left to do: the requests are spent, or the schedule is at its end, and all answers are there.
    pub async fn finished(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if self.shared.done.load(Relaxed) as usize == self.threads.len() {
                return;
            }
            changed.await;
        }
    }

    /// How many threads there are.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads.len()
    }

    /// CPU time of the threads since the last call of this or the next function, in percent of one CPU, averaged over the
    /// threads.
    pub fn cpu(&mut self) -> f64 {
        let passed = self.cpu.since.elapsed().as_nanos().max(1) as f64;
        let running: u64 = self.cpu_by_thread().iter().map(|cpu| cpu.running).sum();
        running as f64 * 100.0 / passed / self.threads.len() as f64
    }

    /// CPU time of each thread since the last call.
    pub fn cpu_by_thread(&mut self) -> Vec<ThreadCpu> {
        self.cpu.since_last(&self.shared)
    }

    /// Cuts [`Engine::stop`] short.
    #[must_use]
    pub fn aborter(&self) -> Aborter {
        Aborter(self.threads.iter().map(|thread| thread.commands.clone()).collect())
    }

    /// Stops all users. Requests in flight get this long to finish; then they are unfinished. Everything since the last
    /// [`Engine::take`], and the CPU time of each thread since the last [`Engine::cpu_by_thread`].
    pub async fn stop(mut self, timeout: Duration) -> (Interval, Vec<ThreadCpu>) {
        let interval = self.collect(|reply| Command::Stop { timeout, reply }).await;
        (interval, self.cpu_by_thread())
    }

    async fn collect(&mut self, command: impl Fn(oneshot::Sender<Interval>) -> Command) -> Interval {
        let mut replies = Vec::new();
        for thread in &self.threads {
            let (sender, reply) = oneshot::channel();
            thread.send(command(sender));
            replies.push(reply);
        }
        let mut interval = Interval::empty(self.scenario.tasks.len());
        for (reply, thread) in replies.into_iter().zip(&mut self.threads) {
            match reply.await {
                Ok(part) => interval.merge(part),
                Err(_) => thread.fail(),
            }
        }
        interval
    }
}

/// Ends all requests in flight, whatever time they have left.
pub struct Aborter(Vec<mpsc::UnboundedSender<Command>>);

impl Aborter {
    /// Does it.
    pub fn abort(&self) {
        for thread in &self.0 {
            let _ = thread.send(Command::Abort); // one that has ended has nothing in flight
        }
    }
}

impl Thread {
    fn send(&self, command: Command) {
        // A thread that has ended has panicked; `collect` says so, and nothing else waits for an answer.
        let _ = self.commands.send(command);
    }

    /// It ended without being asked to: what it panicked with goes on here.
    fn fail(&mut self) {
        if let Some(Err(panic)) = self.handle.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// CPU time of a thread, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadCpu {
    /// It ran.
    pub running: u64,
    /// It could have run, and something else had the CPU.
    pub waiting: u64,
}

/// CPU times by `/proc/self/task/TID/schedstat` (proc(5)).
struct CpuWatch {
    since: Instant,
    totals: Vec<ThreadCpu>,
}

impl CpuWatch {
    fn new(threads: usize) -> Self {
        Self { since: Instant::now(), totals: vec![ThreadCpu::default(); threads] }
    }

    fn since_last(&mut self, shared: &Shared) -> Vec<ThreadCpu> {
        self.since = Instant::now();
        let mut list = Vec::new();
        for ((total, tid), ended) in self.totals.iter_mut().zip(&shared.tids).zip(&shared.ended) {
            // Not there before the thread runs: nothing was used.
            let now = ended.get().copied().or_else(|| ThreadCpu::of(tid.load(Relaxed))).unwrap_or(*total);
            let since = |now: u64, before: u64| now.saturating_sub(before);
            list.push(ThreadCpu {
                running: since(now.running, total.running),
                waiting: since(now.waiting, total.waiting),
            });
            *total = now;
        }
        list
    }
}

impl ThreadCpu {
    fn of(tid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?;
        let mut fields = text.split_ascii_whitespace().map(|field| field.parse().ok());
        Some(Self { running: fields.next()??, waiting: fields.next()?? })
    }
}
