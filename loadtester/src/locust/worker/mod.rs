//! The worker itself: one task that owns the connection, the session and the engine, and does what the session says.

mod event;
mod load;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::event::{Event, Link};
use self::load::Load;
use super::connection::Connection;
use super::locustfile;
use super::measured::{Frame, report};
use super::notice::Notice;
use super::session::{Input, Output, Session};
use super::wire::{Counts, Heartbeat, Source, State, ToMaster, pack, unpack};
use crate::problem::Problem;
use crate::scenario::{Host, Load as Profile, Scenario};
use crate::stats::Interval;

/// What a worker is told on its command line.
#[derive(Debug)]
pub struct Options {
    /// Name or address of the master.
    pub host: String,
    /// Its `--master-bind-port`.
    pub port: u16,
    /// What to send; none: the master's locustfile says.
    pub scenario: Option<Scenario>,
    /// Target, if the master names none; goes before the scenario's.
    pub target: Option<Host>,
    /// Threads of the engine; 0: one for each CPU that may be used.
    pub threads: usize,
    /// On the master's `quit`, go back to dialling.
    pub persist: bool,
}

/// For the last words on a connection that is closed.
const FLUSH: Duration = Duration::from_secs(2);
/// From here on the master's clock is taken for the right one.
const CLOCKS_DIFFER: f64 = 1.0;
/// In the master's Logs tab.
const LOG_LINES: usize = 100;

/// Works for the master until it or a signal says to end. `joined` is whether the master knows this worker. What is told goes to
/// standard error. The error is why it ended.
pub async fn run(options: Options, joined: Arc<AtomicBool>) -> Result<(), Box<dyn std::error::Error>> {
    let signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let classes =
        options.scenario.as_ref().map(|scenario| scenario.classes.iter().map(|class| class.name.clone()).collect());
    let worker = Worker {
        session: Session::new(Instant::now(), classes, options.persist),
        scenario: options.scenario.clone().map(Arc::new),
        options,
        signals,
        joined,
        node: String::new(),
        link: Link::Down,
        load: Load::None,
        class_hosts: BTreeMap::new(),
        since: 0.0,
        offset: None,
        log: VecDeque::new(),
        log_changed: false,
    };
    match worker.work().await {
        None => Ok(()),
        Some(reason) => Err(reason.to_string().into()),
    }
}

struct Worker {
    options: Options,
    session: Session,
    signals: [Signal; 2],
    joined: Arc<AtomicBool>,
    scenario: Option<Arc<Scenario>>,
    /// This connection's name: of the host, up to the first underline, and random.
    node: String,
    link: Link,
    load: Load,
    /// Targets that the master's page gave to single classes.
    class_hosts: BTreeMap<String, Host>,
    /// The last report, in the master's Unix seconds.
    since: f64,
    /// Of the master's clock, in seconds.
    offset: Option<f64>,
    log: VecDeque<String>,
    log_changed: bool,
}

/// What an output leads to.
enum Next {
    Go,
    Then(Input),
    Exit(Option<Notice>),
}

impl Worker {
    async fn work(mut self) -> Option<Notice> {
        loop {
            let mut inputs: VecDeque<Input> = self.input().await.into_iter().collect();
            while let Some(input) = inputs.pop_front() {
                for output in self.session.step(Instant::now(), input) {
                    match self.act(output).await {
                        Next::Go => {}
                        Next::Then(input) => inputs.push_back(input),
                        Next::Exit(reason) => {
                            self.hang_up().await;
                            return reason;
                        }
                    }
                }
            }
            self.joined.store(self.session.is_member(), Relaxed);
            if self.session.is_member() && std::mem::take(&mut self.log_changed) {
                let lines = self.log.iter().cloned().collect();
                self.send(&ToMaster::Logs(lines));
            }
        }
    }

    /// Waits for the next thing that the session must hear of.
    async fn input(&mut self) -> Option<Input> {
        match event::next(self.session.next_deadline(), &mut self.link, &mut self.load, &mut self.signals).await {
            Event::Due => Some(Input::Tick),
            Event::Signal => Some(Input::Terminate),
            Event::Dialled(Ok(connection)) => {
                self.link = Link::Up(connection);
                Some(Input::Connected)
            }
            Event::Message(Ok(bytes)) => match unpack(&bytes) {
                Ok(message) => Some(Input::Message(message)),
                Err(error) => {
                    self.tell(&Notice::Unreadable(error.to_string()));
                    None
                }
            },
            Event::Dialled(Err(loss)) | Event::Message(Err(loss)) => {
                self.link = Link::Down;
                Some(Input::Lost(loss))
            }
            Event::Ended => Some(Input::Idle),
        }
    }

    async fn act(&mut self, output: Output) -> Next {
        match output {
            Output::Dial => self.dial(),
            Output::HangUp => self.hang_up().await,
            Output::Send(message) => self.send(&message),
            Output::Heartbeat(state) => self.heartbeat(state),
            Output::Report(users) => self.report(users).await,
            Output::Begin => {
                self.load = Load::None;
                self.since = self.master_now();
            }
            Output::Reset => {
                self.load.take().await;
                self.since = self.master_now();
            }
            Output::Abandon => {
                let unreported = self.load.abandon().await.map_or(0, |interval| interval.requests());
                if unreported > 0 {
                    self.tell(&Notice::Unreported(unreported));
                }
            }
            Output::Users { users, host } => {
                return self
                    .set_users(&users, host.as_deref())
                    .err()
                    .map_or(Next::Go, |problem| Next::Then(Input::Refused(problem.to_string())));
            }
            Output::Halt(grace) => self.load.halt(grace),
            Output::Host { class, host } => match Host::parse(&host) {
                Ok(host) => {
                    self.class_hosts.insert(class, host);
                }
                Err(why) => self.tell(&Notice::BadHost { class, why }),
            },
            Output::Read(sources) => return Next::Then(self.read(&sources)),
            Output::Clock(master) => self.compare_clocks(master),
            Output::Tell(notice) => self.tell(&notice),
            Output::Exit(reason) => return Next::Exit(reason),
        }
        Next::Go
    }

    fn dial(&mut self) {
        self.offset = None;
        self.node = format!("{}_{:032x}", host_name(), fastrand::u128(..));
        let (host, port, node) = (self.options.host.clone(), self.options.port, self.node.clone());
        self.link = Link::Dialling(Box::pin(async move { Connection::dial(&host, port, &node).await }));
    }

    async fn hang_up(&mut self) {
        if let Link::Up(connection) = std::mem::replace(&mut self.link, Link::Down)
            && let Err(loss) = connection.close(FLUSH).await
        {
            self.tell(&Notice::NotHeard(loss));
        }
    }

    fn send(&mut self, message: &ToMaster) {
        if let Link::Up(connection) = &mut self.link {
            connection.send(&pack(message, &self.node));
        }
    }

    fn heartbeat(&mut self, state: State) {
        let heartbeat = Heartbeat { state, cpu: self.load.cpu(), memory: resident_bytes() };
        self.send(&ToMaster::Heartbeat(heartbeat));
    }

    async fn report(&mut self, users: Counts) {
        let Some(scenario) = self.scenario.clone() else { return };
        let interval = self.load.take().await.unwrap_or_else(|| Interval::empty(scenario.tasks.len()));
        if interval.unfinished > 0 {
            self.tell(&Notice::Unfinished(interval.unfinished));
        }
        let frame = Frame { since: self.since, until: self.master_now(), offset: self.correction() };
        self.since = frame.until;
        self.send(&ToMaster::Stats(Box::new(report(&scenario, &interval, users, frame))));
    }

    fn set_users(&mut self, users: &Counts, host: Option<&str>) -> Result<(), Problem> {
        let Some(scenario) = &self.scenario else { return Ok(()) };
        let targets: Vec<_> =
            scenario.classes.iter().map(|class| users.get(&class.name).copied().unwrap_or(0)).collect();
        if matches!(self.load, Load::None) {
            self.load = Load::start(self.prepared(scenario), self.options.threads, host)?;
        }
        self.load.set_users(&targets, host)
    }

    /// The scenario with this run's targets. How much load, and for how long, is the master's business.
    fn prepared(&self, scenario: &Scenario) -> Scenario {
        let mut scenario = scenario.clone();
        scenario.load = Profile { grace: scenario.load.grace, ..Profile::default() };
        for class in &mut scenario.classes {
            let host = self.class_hosts.get(&class.name).or(self.options.target.as_ref());
            class.host = host.or(class.host.as_ref()).cloned();
        }
        scenario
    }

    fn read(&mut self, sources: &[Source]) -> Input {
        let scenario = locustfile::extract(sources)
            .and_then(|(name, text)| Scenario::from_text(&name, &text).map_err(|problems| problems.to_string()));
        match scenario {
            Ok(scenario) => {
                self.tell(&Notice::Scenario { name: scenario.name.clone() });
                let classes = scenario.classes.iter().map(|class| class.name.clone()).collect();
                self.scenario = Some(Arc::new(scenario));
                Input::Scenario(classes)
            }
            Err(why) => Input::NoScenario(why),
        }
    }

    /// Spawn messages are late by the way here at least; the least late of a connection comes nearest to the truth.
    fn compare_clocks(&mut self, master: f64) {
        let sample = master - unix_now();
        let before = self.correction();
        self.offset = Some(self.offset.map_or(sample, |offset| offset.max(sample)));
        if before == 0.0 && self.correction() != 0.0 {
            self.tell(&Notice::ClocksDiffer(self.correction()));
        }
    }

    fn correction(&self) -> f64 {
        self.offset.filter(|offset| offset.abs() > CLOCKS_DIFFER).unwrap_or(0.0)
    }

    fn master_now(&self) -> f64 {
        unix_now() + self.correction()
    }

    fn tell(&mut self, notice: &Notice) {
        let line = notice.to_string();
        eprintln!("{line}");
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line);
        self.log_changed = true;
    }
}

#[expect(clippy::disallowed_methods, reason = "the master counts in seconds of the day")]
fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The master spreads users over hosts by what comes before the first underline.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().replace('_', "-");
    if name.is_empty() { "worker".to_owned() } else { name }
}

/// 0 where the kernel does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
