//! The world as it is: turns what the operating system tells into events, and actions into system calls. One blocking call.

mod admin;
mod children;
mod commit;
mod control;
mod dev;
mod environment;
mod error_log;
mod generation;
mod home;
mod manager;
mod metrics;
mod oom;
mod process;
mod program;
mod promotion;
mod start;
mod succession;
mod tls;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustcorn_config::Invocation;
use rustcorn_scoreboard::{Board, Counts, Figures};
use rustcorn_sys::clock::time_of_day;
use rustcorn_sys::daemon::Detached;
use rustcorn_sys::error::without_number;
use rustcorn_sys::fd::{Interest, has_terminal, raise_descriptor_limit, wait_ready};
use rustcorn_sys::log::{self, file, syslog};
use rustcorn_sys::signal::{Sig, Signals};
use rustcorn_sys::title::Title;
use rustcorn_sys::{Monotonic, Pid};

use crate::control::Control;
use crate::fleet::{Action, Birth, Event, Fate, Generation, Plan, Slot, WorkerId};
use crate::heritage::{Beginning, Endowment};
use crate::hooks::{Hang, Hooks};
use crate::listeners::SocketFile;
use crate::log_counts;
use crate::notice::Notice;
use crate::pidfile::Pidfile;
use admin::AdminSeat;
use children::Children;
use dev::Watching;
pub use generation::Resolve;
use generation::{Around, name_beside_parent};
pub(crate) use generation::{Refusal, Resources, check};
use home::Home;
use manager::Manager;
use metrics::Metrics;
use oom::Oom;
use process::Nursery;
use program::OwnProgram;
pub use program::{Launch, Program};
use succession::Succession;

/// How often the master shows that its loop turns, while somebody may be looking.
const PULSE: Duration = Duration::from_secs(1);

/// The operating system, and what the master holds of it.
pub(crate) struct OsWorld {
    invocation: Invocation,
    resolve: Resolve,
    hooks: Hooks,
    /// The hook that wants to hear of the first worker has.
    is_told_ready: bool,
    own: OwnProgram,
    home: Home,
    /// As it was at the start; of a daemon, which leaves that, nowhere.
    standard_error: OwnedFd,
    signals: Signals,
    board: Board,
    children: Children,
    oom: Oom,
    admin: AdminSeat,
    control: Control,
    started: Monotonic,
    /// Whether the admin address is answered by this master; another one may do it.
    serves_admin: bool,
    succession: Succession,
    /// Files of sockets that were the parent's, as long as it lives.
    legacy: Vec<Rc<SocketFile>>,
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
    pidfile: Option<Pidfile>,
    /// Where ps(1) finds the master's name.
    title: Option<Title>,
    /// With `daemon`.
    daemon: Option<Rc<Detached>>,
    /// Last, since fields are dropped in this order: its end tells an heir that this master is gone, and what is one master's alone
    /// (pidfile, control socket) has to be free by then.
    nursery: Nursery,
}

impl OsWorld {
    pub(crate) fn now(&self) -> Monotonic {
        Monotonic::now()
    }

    /// Waits for something to happen, at most until `deadline`. The master's only blocking call. [`Self::beats`] and
    /// [`Event::Tick`] are to follow when all is done about it.
    pub(crate) fn wait(&mut self, deadline: Option<Monotonic>) -> io::Result<Vec<Event>> {
        let now = self.now();
        let pulse = self.admin.is_wanted().then_some(now + PULSE);
        let metrics = self.metrics.as_ref().map(|metrics| metrics.due);
        let others = [self.admin.next_deadline(now), self.control.next_deadline(now), self.manager.next_deadline()];
        let look = self.watching.as_ref().and_then(Watching::next_look);
        let due = [deadline, pulse, metrics, look].into_iter().chain(others).flatten().min();
        let patience = if self.answers.is_empty() { due.map(|due| due.since(now)) } else { Some(Duration::ZERO) };
        let processes = self.children.descriptors().chain(self.admin.descriptors());
        let processes = processes.chain(self.succession.descriptors());
        let processes = processes.chain(self.watching.as_ref().and_then(Watching::descriptor));
        let watched = [self.signals.as_fd()].into_iter().chain(processes).map(|fd| (fd, Interest::Readable));
        let watched: Vec<_> = watched.chain(self.control.descriptors(self.control_socket())).collect();
        wait_ready(&watched, patience)?;
        self.board.beat(self.now());

        // Everything is asked, whichever descriptor it was: a wake-up is rare and the questions are cheap. What workers said,
        // then what became of them; signals last, so that they find the fleet up to date. But an order to stop comes before the
        // workers' ends: where it went to all processes, those are no news.
        let was_alone = self.succession.is_alone();
        let mut events = std::mem::take(&mut self.answers);
        events.extend(self.children.messages());
        events.extend(self.succession.news());
        let mut last_words = Vec::new();
        let other = |pid, exit, oom: &mut Oom| {
            if let Some(words) = self.succession.ended(pid, exit) {
                last_words = words;
            } else if !self.admin.ended(pid, exit, oom) {
                let _ = oom.fate(exit, false, Monotonic::now()); // a victim, too, if it was one
                Notice::ReapedStranger { pid }.say();
            }
        };
        let exits = self.children.exits(&self.board, &mut self.oom, other)?;
        // At once, since a master that is about to exit acts on no event any more.
        if self.succession.is_alone() != was_alone {
            self.own_files();
        }
        // Before the workers' ends: a master that waits for the last of them to leave must not do so when its heir is gone, too.
        events.extend(last_words);
        let mut others = Vec::new();
        while let Some(sig) = self.signals.next()? {
            let stops = matches!(sig, Sig::Term | Sig::Int | Sig::Quit);
            if stops { &mut events } else { &mut others }.push(Event::Signal(sig));
        }
        events.extend(exits);
        events.extend(others);
        self.answer_for_logs();
        let (now, socket) = (self.now(), self.generations.get(&self.in_force).and_then(|of| of.control.as_deref()));
        events.extend(self.control.tend(now, socket));
        events.extend(self.watching.as_mut().and_then(|watching| watching.tend(now)));
        self.oom.look_if_due(self.now());
        self.tend_admin();
        self.manager.tend(self.now());
        self.send_metrics_if_due();
        Ok(events)
    }

    /// The workers' last signs of life.
    pub(crate) fn beats(&self) -> Event {
        self.children.beats(&self.board)
    }

    /// A worker serves. For a daemon that is the end of its start: whoever called it is told, and left.
    pub(crate) fn serves(&mut self) {
        if !std::mem::replace(&mut self.is_told_ready, true)
            && let Some(resources) = self.in_force()
        {
            self.hooks.ready(&resources.settings);
        }
        if let Some(daemon) = self.daemon.as_ref().filter(|daemon| daemon.is_awaited()) {
            let logs = self.in_force().is_some_and(|resources| resources.log.has_file());
            complain(daemon.leave_terminal(!logs), || "leave the terminal".to_owned());
            daemon.tell(0);
        }
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
            Action::ShowReady(id) => self.children.show_ready(id),
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
            Action::ReopenLogs => self.reopen_logs(),
            Action::Measure => self.answers.push(self.children.sizes()),
            Action::StartHeir(generation) => self.start_heir(generation),
            Action::SignalHeir(sig) => {
                complain(self.succession.signal_heir(sig), || format!("send {sig} to the new master"));
            }
            Action::TellParent(report) => self.succession.tell_parent(&report),
            Action::Promote => self.promote(),
            Action::ServeAdmin(serves) => {
                if std::mem::replace(&mut self.serves_admin, serves) != serves {
                    self.want_admin();
                }
            }
            Action::Notify(status) => self.manager.notify(self.now(), status),
            Action::Answer(ticket, outcome) => self.answer(ticket, &outcome),
            Action::Say(notice) => {
                let notice = self.with_details(notice);
                notice.say();
                if let Notice::WorkerTimeout { slot, pid, silent, .. } = notice {
                    self.hooks.hang(|| Hang { slot, pid, silent, polled: self.polled(slot).collect() });
                }
            }
            Action::Exit(code) => {
                self.finish_metrics();
                self.end_admin();
                self.succession.forget_the_dead();
                self.own_files();
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
        let around = Around {
            own: &self.own,
            home: &self.home,
            hooks: &self.hooks,
            standard_error: self.standard_error.as_fd(),
            sockets: &self.endowment(),
            present: self.in_force(),
            has_parent: self.succession.has_parent(),
        };
        let loaded = Resources::load(&self.invocation, &self.resolve, &around);
        self.answers.push(Event::Loaded(match loaded {
            Ok(resources) => {
                let plan = resources.plan();
                self.generations.insert(generation, resources);
                Ok(plan)
            }
            Err(refusal) => Err(refusal.to_string().replace('\n', "; ")),
        }));
    }

    /// The sockets in use.
    fn endowment(&self) -> Endowment {
        self.in_force().map(|resources| resources.endowment(self.activated)).unwrap_or_default()
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

    /// What only the scoreboard knows.
    fn with_details(&self, notice: Notice) -> Notice {
        match notice {
            Notice::WorkerTimeout { slot, pid, silent, .. } => {
                let polled = self.polled(slot).map(|(request, time)| format!("{request} for {time:.1?}"));
                Notice::WorkerTimeout { slot, pid, silent, polled: polled.collect() }
            }
            other => other,
        }
    }

    /// The requests that a worker is busy with, and for how long.
    fn polled(&self, slot: Slot) -> impl Iterator<Item = (String, Duration)> + use<> {
        let now = self.now();
        self.board.polled(slot.0).into_iter().map(move |polled| (polled.request.to_string(), now.since(polled.since)))
    }
}

fn complain(result: io::Result<()>, what: impl FnOnce() -> String) {
    if let Err(error) = result {
        Notice::SystemTrouble { what: what(), error: without_number(&error) }.say();
    }
}
