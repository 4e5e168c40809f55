//! The world as it is: turns what the operating system tells into events, and actions into system calls. One blocking call.

mod admin;
mod children;
mod dev;
mod generation;
mod manager;
mod process;
mod succession;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustcorn_config::Invocation;
use rustcorn_scoreboard::{Board, Counts, Figures, State};
use rustcorn_sys::clock::time_of_day;
use rustcorn_sys::fd::{has_terminal, raise_descriptor_limit, wait_readable};
use rustcorn_sys::log;
use rustcorn_sys::signal::Signals;
use rustcorn_sys::{Monotonic, Pid};

use crate::fleet::{Action, Birth, Event, Fate, Generation, Plan, WorkerId};
use crate::heritage::{Beginning, Endowment, Heritage};
use crate::listeners::without_number;
use crate::log_counts;
use crate::notice::Notice;
use crate::statsd::{Gauges, News, Statsd, Trouble};
use admin::AdminSeat;
use children::Children;
use dev::Watching;
use generation::OwnProgram;
pub use generation::{Launch, Program, Resolve};
pub(crate) use generation::{Refusal, Resources};
use manager::Manager;
use process::Nursery;
use succession::Succession;

/// How often the master shows that its loop turns, while somebody may be looking.
const PULSE: Duration = Duration::from_secs(1);

/// The operating system, and what the master holds of it.
pub(crate) struct OsWorld {
    invocation: Invocation,
    resolve: Resolve,
    own: OwnProgram,
    signals: Signals,
    board: Board,
    nursery: Nursery,
    children: Children,
    admin: AdminSeat,
    /// Whether the admin address is answered by this master; another one may do it.
    serves_admin: bool,
    succession: Succession,
    manager: Manager,
    watchdog: Option<Duration>,
    /// The sockets are a service manager's.
    activated: bool,
    /// The generation in force, and the one that is being tried.
    generations: BTreeMap<Generation, Resources>,
    in_force: Generation,
    /// Answers to actions, for the next round.
    answers: Vec<Event>,
    metrics: Option<Metrics>,
    /// With `dev`.
    watching: Option<Watching>,
    /// What the statsd server was told of.
    told: (Counts, Figures),
}

struct Metrics {
    statsd: Statsd,
    due: Monotonic,
}

impl OsWorld {
    /// Listens to signals, binds, opens the program: all that can fail before the first worker.
    pub(crate) fn start(
        invocation: Invocation,
        resolve: Resolve,
        beginning: Beginning,
    ) -> Result<(Self, Plan, Birth), Refusal> {
        let Beginning { endowment, parent, generation, watchdog } = beginning;
        let cannot = |what: &'static str| move |error: io::Error| format!("cannot {what}: {}", without_number(&error));
        let signals = Signals::listen().map_err(cannot("listen to signals"))?;
        let succession = Succession::new(parent).map_err(cannot("open the working directory"))?;
        let own = OwnProgram::find(invocation.program().as_ref());
        // A pipe and a pidfd for each worker; the usual limit is reached by 500.
        complain(raise_descriptor_limit().map(drop), || "raise the limit of open files".to_owned());
        let first = generation.unwrap_or(Generation(1));
        let loaded = Resources::load(&invocation, &resolve, &own, &endowment, true);
        let resources = loaded.inspect_err(|refusal| succession.fail(&refusal.to_string()))?;
        let birth = Birth {
            generation: first,
            has_parent: succession.has_parent(),
            foreign_sockets: endowment.activated,
            has_terminal: has_terminal(),
            is_init: Pid::this().as_raw() == 1,
        };
        let plan = resources.plan();
        let board = Board::create().map_err(cannot("make the shared memory for the workers' counters"))?;
        board.sign_in(Pid::this(), time_of_day());
        let nursery = Nursery::new().map_err(cannot("make a pipe"))?;
        log::describe_process(vec![("role".into(), "master".into())]);
        log::say_panics();
        log::set_format(resources.settings.log_format);
        log::set_level(resources.settings.loglevel);
        log::count_with(log_counts::count);
        Notice::Starting { version: env!("CARGO_PKG_VERSION") }.say();
        Notice::Listening { addresses: resources.urls() }.say();
        let (app, workers, threads) = (resources.name.clone(), plan.workers, resources.settings.threads);
        Notice::UsingWorker { app, workers, threads }.say();
        resources.say_admin();
        let mut world = Self {
            invocation,
            resolve,
            own,
            signals,
            board,
            nursery,
            children: Children::default(),
            admin: AdminSeat::default(),
            serves_admin: !birth.has_parent,
            succession,
            manager: Manager::from_env(watchdog),
            watchdog,
            activated: birth.foreign_sockets,
            generations: BTreeMap::from([(first, resources)]),
            in_force: first,
            answers: vec![Event::Tick],
            metrics: None,
            watching: None,
            told: Default::default(),
        };
        world.start_metrics();
        world.want_admin();
        world.watch_files();
        Ok((world, plan, birth))
    }

    pub(crate) fn now(&self) -> Monotonic {
        Monotonic::now()
    }

    /// Waits for something to happen, at most until `deadline`. The master's only blocking call.
    pub(crate) fn wait(&mut self, deadline: Option<Monotonic>) -> io::Result<Vec<Event>> {
        let now = self.now();
        let pulse = self.admin.is_wanted().then_some(now + PULSE);
        let metrics = self.metrics.as_ref().map(|metrics| metrics.due);
        let look = self.watching.as_ref().and_then(Watching::next_look);
        let others = [self.admin.next_deadline(now), self.manager.next_deadline(), look];
        let due = [deadline, pulse, metrics].into_iter().chain(others).flatten().min();
        let patience = if self.answers.is_empty() { due.map(|due| due.since(now)) } else { Some(Duration::ZERO) };
        let processes = self.children.descriptors().chain(self.admin.descriptors());
        let processes = processes.chain(self.succession.descriptors());
        let processes = processes.chain(self.watching.as_ref().and_then(Watching::descriptor));
        let watched: Vec<_> = [self.signals.as_fd()].into_iter().chain(processes).collect();
        wait_readable(&watched, patience)?;
        self.board.beat(self.now());

        // Everything is asked, whichever descriptor it was: a wake-up is rare and the questions are cheap. Heartbeats first, so
        // that no worker is judged by old ones; then what workers said, then what became of them; signals last, so that they
        // find the fleet up to date.
        let mut events = std::mem::take(&mut self.answers);
        events.push(self.children.beats(&self.board));
        events.extend(self.children.messages());
        events.extend(self.succession.news());
        let mut last_words = Vec::new();
        let other = |pid, exit| {
            if let Some(words) = self.succession.ended(pid, exit) {
                last_words = words;
            } else if !self.admin.ended(pid, exit) {
                Notice::ReapedStranger { pid }.say();
            }
        };
        events.extend(self.children.exits(&self.board, other)?);
        if !last_words.is_empty() {
            self.own_files();
        }
        events.extend(last_words);
        while let Some(sig) = self.signals.next()? {
            events.push(Event::Signal(sig));
        }
        let now = self.now();
        events.extend(self.watching.as_mut().and_then(|watching| watching.tend(now)));
        events.push(Event::Tick);
        self.tend_admin();
        self.manager.tend(self.now());
        self.send_metrics_if_due();
        Ok(events)
    }

    /// Lets readers of the scoreboard know what the policy knows.
    pub(crate) fn publish(&self, figures: &Figures) {
        self.board.publish(figures);
    }

    /// Does it. The exit code, if this was the last action.
    pub(crate) fn apply(&mut self, action: Action) -> Option<u8> {
        match action {
            Action::Spawn(id) => self.spawn(id),
            Action::Signal(id, sig) => {
                let result = self.children.signal(id, sig);
                complain(result, || format!("send {sig} to worker {}", id.slot));
            }
            Action::Load(generation) => self.load(generation),
            Action::Commit(generation) => self.commit(generation),
            Action::Discard(generation) => {
                self.generations.remove(&generation);
            }
            Action::SetPhase(phase) => self.board.set_phase(phase),
            Action::CloseListeners => {
                for listener in self.generations.values().flat_map(|resources| &resources.listeners) {
                    complain(listener.shut_down(), || format!("stop listening at {}", listener.url()));
                }
            }
            Action::Measure => self.answers.push(self.children.sizes()),
            Action::StartHeir(generation) => self.start_heir(generation),
            Action::SignalHeir(sig) => {
                complain(self.succession.signal_heir(sig), || format!("send {sig} to the new master"));
            }
            Action::TellParent(report) => self.succession.tell_parent(&report),
            Action::Promote => self.own_files(),
            Action::ServeAdmin(serves) => {
                if std::mem::replace(&mut self.serves_admin, serves) != serves {
                    self.want_admin();
                }
            }
            Action::Notify(status) => self.manager.notify(self.now(), status),
            Action::Say(notice) => self.with_details(notice).say(),
            Action::Exit(code) => {
                self.finish_metrics();
                self.end_admin();
                return Some(code);
            }
        }
        None
    }

    fn spawn(&mut self, id: WorkerId) {
        let answer = match self.generations.get(&id.generation) {
            Some(resources) => self.children.spawn(id, resources, &self.board, &self.nursery),
            None => Err(io::Error::other(format!("generation {} is gone", id.generation))),
        };
        self.answers.push(match answer {
            Ok(pid) => Event::Spawned(id, pid),
            Err(error) => {
                let reason = format!("the system refused to start a process: {}", without_number(&error));
                Event::Exited(id, Fate::NotStarted(reason), None)
            }
        });
    }

    fn load(&mut self, generation: Generation) {
        let loaded = Resources::load(&self.invocation, &self.resolve, &self.own, &self.endowment(), false);
        self.answers.push(Event::Loaded(match loaded {
            Ok(resources) => {
                let plan = resources.plan();
                self.generations.insert(generation, resources);
                Ok(plan)
            }
            Err(refusal) => Err(refusal.to_string().replace('\n', "; ")),
        }));
    }

    fn start_heir(&mut self, generation: Generation) {
        let endowment = self.endowment();
        let heritage = Heritage::new(generation, &endowment, self.watchdog);
        let started = self.own.open().and_then(|image| {
            let (invocation, nursery) = (&self.invocation, &self.nursery);
            let heir = self.succession.start_heir(invocation, &image, &heritage, &endowment, nursery);
            heir.map_err(|error| format!("the system refused to start a process: {}", without_number(&error)))
        });
        self.own_files();
        self.answers.push(match started {
            Ok(pid) => Event::HeirSpawned(pid),
            Err(reason) => Event::HeirGone(Fate::NotStarted(reason), None),
        });
    }

    /// The sockets in use.
    fn endowment(&self) -> Endowment {
        self.in_force().map(|resources| resources.endowment(self.activated)).unwrap_or_default()
    }

    /// The files of unix sockets are removed in the end by the last master that uses them.
    fn own_files(&self) {
        for listener in self.generations.values().flat_map(Resources::sockets) {
            listener.own_file(self.succession.is_alone());
        }
    }

    /// There shall be an admin process if the settings say so and no other master has one.
    fn want_admin(&mut self) {
        let wanted = self.serves_admin && self.in_force().is_some_and(|resources| resources.admin.is_some());
        self.admin.want(wanted);
    }

    /// The generation in force; none before the first.
    fn in_force(&self) -> Option<&Resources> {
        self.generations.get(&self.in_force)
    }

    fn tend_admin(&mut self) {
        if self.admin.is_wanted() {
            self.board.publish_log(log_counts::lines());
            self.board.publish_backlog(self.in_force().and_then(Resources::backlog));
        }
        let (now, resources) = (self.now(), self.generations.get(&self.in_force));
        self.admin.tend(now, resources, &self.board, &self.nursery);
    }

    /// The last thing a master does: until now somebody could see how the stop went, and the next master finds the address
    /// free. Bounded by the policy.
    fn end_admin(&mut self) {
        self.admin.want(false);
        while !self.admin.is_gone() {
            // Nobody is left to hear the events; a wait that fails would fail again.
            if self.wait(None).is_err() {
                return;
            }
        }
    }

    fn commit(&mut self, generation: Generation) {
        let old = self.generations.remove(&self.in_force);
        self.in_force = generation;
        let (Some(old), Some(new)) = (old, self.generations.get(&generation)) else { return };
        let changes = old.settings.changes(&new.settings);
        log::set_format(new.settings.log_format);
        for change in &changes {
            Notice::SettingChanged { change: change.to_string() }.say();
        }
        let changed = |keys: &[&str]| changes.iter().any(|change| keys.contains(&change.key.as_str()));
        if changed(&["bind"]) {
            Notice::Listening { addresses: new.urls() }.say();
        }
        if changed(&["backlog"]) {
            for listener in &new.listeners {
                complain(listener.set_backlog(new.settings.backlog), || {
                    format!("set the backlog of {}", listener.url())
                });
            }
        }
        log::set_level(new.settings.loglevel);
        if !admin::is_same(&old, new) {
            if changed(&["admin_bind"]) {
                new.say_admin();
            }
            self.want_admin();
        }
        if changed(&["statsd_host", "statsd_prefix", "dogstatsd_tags", "statsd_interval"]) {
            self.finish_metrics(); // what was counted so far goes where it was configured to go
            self.start_metrics();
        }
        self.watch_files();
        // Sockets that only the old generation used are closed with it; its workers take what is queued there and leave.
    }

    fn watch_files(&mut self) {
        let (now, old) = (self.now(), self.watching.take());
        let config = self.invocation.file();
        self.watching = self.in_force().and_then(|resources| Watching::follow(old, now, config, resources));
    }

    fn start_metrics(&mut self) {
        let statsd = self.in_force().and_then(|resources| Statsd::new(&resources.settings));
        self.metrics = statsd.map(|statsd| Metrics { due: self.now() + statsd.interval(), statsd });
    }

    fn send_metrics_if_due(&mut self) {
        let now = self.now();
        if self.metrics.as_ref().is_none_or(|metrics| now < metrics.due) {
            return;
        }
        let (news, gauges) = self.news();
        if let Some(metrics) = &mut self.metrics {
            metrics.due = now + metrics.statsd.interval();
            report(metrics.statsd.flush(&news, &gauges, now));
        }
    }

    /// The last metrics this server gets, with a little more patience.
    fn finish_metrics(&mut self) {
        let now = self.now();
        if let Some(metrics) = self.metrics.take() {
            let (news, gauges) = self.news();
            report(metrics.statsd.finish(&news, &gauges, now));
        }
    }

    /// What happened since the last time this was asked.
    fn news(&mut self) -> (News, Gauges) {
        self.board.publish_log(log_counts::lines());
        let now = self.board.snapshot().expect("nobody else folds");
        let (counts, figures) = std::mem::replace(&mut self.told, (now.totals, now.figures));
        let news = News {
            counts: self.told.0.since(&counts),
            restarts: std::array::from_fn(|cause| now.figures.restarts[cause] - figures.restarts[cause]),
            recycles: std::array::from_fn(|limit| now.figures.recycles[limit] - figures.recycles[limit]),
            reloads_ok: now.figures.reloads_ok - figures.reloads_ok,
            reloads_failed: now.figures.reloads_failed - figures.reloads_failed,
        };
        let vitals = || now.seats.iter().map(|seat| &seat.vitals);
        let asked = self.in_force().filter(|resources| resources.settings.enable_backlog_metric);
        let gauges = Gauges {
            workers: self.children.active(),
            ready: vitals().filter(|vitals| vitals.state == State::Ready).count(),
            busy: vitals().filter(|vitals| vitals.in_flight > 0).count(),
            target: now.figures.target,
            in_flight: vitals().map(|vitals| vitals.in_flight).sum(),
            connections: vitals().map(|vitals| vitals.connections).sum(),
            backlog: asked.and_then(Resources::backlog),
        };
        (news, gauges)
    }

    /// What only the scoreboard knows.
    fn with_details(&self, notice: Notice) -> Notice {
        match notice {
            Notice::WorkerTimeout { slot, pid, silent, .. } => {
                let now = self.now();
                let polled = self.board.polled(slot.0);
                let polled =
                    polled.iter().map(|polled| format!("{} for {:.1?}", polled.request, now.since(polled.since)));
                Notice::WorkerTimeout { slot, pid, silent, polled: polled.collect() }
            }
            other => other,
        }
    }
}

fn report(trouble: Option<Trouble>) {
    if let Some(Trouble { to, error, lost }) = trouble {
        Notice::StatsdTrouble { to, error, lost }.say();
    }
}

fn complain(result: io::Result<()>, what: impl FnOnce() -> String) {
    if let Err(error) = result {
        Notice::SystemTrouble { what: what(), error: without_number(&error) }.say();
    }
}
