//! What a worker does when: the protocol of Locust 2.47.0 as seen from below. No socket, no clock, no engine in here: each thing that
//! happens is a [`Session::step`], and what is to be done comes back as a list, to be done in that order.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::notice::{Loss, Notice};
use super::wire::{ClassUpdate, Counts, FromMaster, Spawn, State, ToMaster};

mod end;
mod inout;
#[cfg(test)]
mod tests;

pub use inout::{Input, Output};

/// Between two signs of life.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two reports.
pub const REPORT: Duration = Duration::from_secs(3);
/// Without an answer for so long, a connection is given up: a master that sees a name for the second time never answers.
pub const ACK: Duration = Duration::from_secs(5);
/// Without an answer to heartbeats for so long, the master is gone, or has forgotten this worker.
pub const SILENCE: Duration = Duration::from_secs(60);
/// Pauses between dials double from here...
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// ...to here.
pub const LAST_PAUSE: Duration = Duration::from_secs(5);
/// What requests in flight get at least when a run stops: the master asks once a second whether all users are gone.
pub const STOP_GRACE: Duration = Duration::from_secs(1);
/// And what they get when the master leaves: it waits 500 ms for the last report.
pub const QUIT_GRACE: Duration = Duration::from_millis(350);

/// A worker, from its first dial to its end.
#[derive(Debug)]
pub struct Session {
    persist: bool,
    /// The scenario comes from the master, anew with each connection.
    fetch: bool,
    classes: BTreeSet<String>,
    phase: Phase,
    pause: Duration,
    /// Whether a master has ever registered this worker: then an address that turns out to be something else may be it again later.
    was_member: bool,
    /// The last reason for having no master, as long as there is none.
    complained: Option<Loss>,
    /// Whether it was told that there is a master.
    announced: bool,
    /// Told already on this connection.
    told: BTreeSet<String>,
    last_spawn: f64,
    users: Counts,
    stop_timeout: Duration,
    reset_stats: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// No connection.
    Away { dial_at: Instant },
    /// Being connected; whoever dials says how it ended.
    Dialling,
    /// Asked for the locustfile.
    Fetching { until: Instant },
    /// Said `client_ready`.
    Registering { until: Instant },
    /// Registered.
    Member(Member),
    /// Ended.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Member {
    activity: Activity,
    heartbeat_at: Instant,
    report_at: Instant,
    silent_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Activity {
    Ready,
    Running,
    /// Between `stop` and `client_stopped`.
    Stopping,
    /// Before the last report.
    Leaving {
        exit: bool,
    },
}

type Outputs = Vec<Output>;

impl Session {
    /// A worker for a scenario with these classes, or one that gets its scenario from the master. Wakes at once, to dial.
    pub fn new(now: Instant, classes: Option<BTreeSet<String>>, persist: bool) -> Self {
        Self {
            persist,
            fetch: classes.is_none(),
            classes: classes.unwrap_or_default(),
            phase: Phase::Away { dial_at: now },
            pause: FIRST_PAUSE,
            was_member: false,
            complained: None,
            announced: false,
            told: BTreeSet::new(),
            last_spawn: f64::NEG_INFINITY,
            users: Counts::new(),
            stop_timeout: Duration::ZERO,
            reset_stats: false,
        }
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Away { dial_at } => Some(dial_at),
            Phase::Dialling | Phase::Gone => None,
            Phase::Fetching { until } | Phase::Registering { until } => Some(until),
            Phase::Member(member) => Some(member.next_deadline()),
        }
    }

    /// Whether the master has registered this worker.
    pub fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Member(_))
    }

    /// Decides what to do about `input`.
    pub fn step(&mut self, now: Instant, input: Input) -> Outputs {
        let mut out = Vec::new();
        match input {
            Input::Connected => self.connected(now, &mut out),
            Input::Lost(loss) => self.lost(now, loss, &mut out),
            Input::Message(message) => self.message(now, message, &mut out),
            Input::Scenario(classes) => {
                self.classes = classes;
                self.register(now, &mut out);
            }
            Input::NoScenario(why) => self.exit(Some(Notice::NoScenario(why)), &mut out),
            Input::Refused(why) => self.refused(why, &mut out),
            Input::Idle => self.idle(now, &mut out),
            Input::Terminate => self.terminate(now, &mut out),
            Input::Tick => self.tick(now, &mut out),
        }
        out
    }

    fn connected(&mut self, now: Instant, out: &mut Outputs) {
        if self.phase != Phase::Dialling {
            return;
        }
        // Another master, perhaps: its clock and its complaints start anew.
        self.last_spawn = f64::NEG_INFINITY;
        self.told.clear();
        if self.fetch {
            self.phase = Phase::Fetching { until: now + ACK };
            out.push(Output::Send(ToMaster::Locustfile));
        } else {
            self.register(now, out);
        }
    }

    fn register(&mut self, now: Instant, out: &mut Outputs) {
        self.phase = Phase::Registering { until: now + ACK };
        out.push(Output::Send(ToMaster::ClientReady));
    }

    fn lost(&mut self, now: Instant, loss: Loss, out: &mut Outputs) {
        match (&self.phase, &loss) {
            (Phase::Gone, _) => return,
            (_, Loss::Violation(violation)) if violation.is_wrong_peer() && !self.was_member => {
                return self.exit(Some(Notice::WrongPeer(violation.clone())), out);
            }
            (Phase::Member(Member { activity: Activity::Leaving { exit: true }, .. }), _) => {
                out.extend([Output::Abandon, Output::Tell(Notice::NoMaster(loss))]);
                return self.exit(None, out);
            }
            // Nobody asks for this load any more, and a master that comes back knows nothing of it.
            (Phase::Member(member), _) if member.activity != Activity::Ready => out.push(Output::Abandon),
            _ => {}
        }
        if self.complained.as_ref() != Some(&loss) {
            out.push(Output::Tell(Notice::NoMaster(loss.clone())));
            self.complained = Some(loss);
        }
        self.away(now);
    }

    fn away(&mut self, now: Instant) {
        self.announced = false;
        self.users.clear();
        self.phase = Phase::Away { dial_at: now + self.pause };
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }

    fn hang_up(&mut self, now: Instant, loss: Loss, out: &mut Outputs) {
        out.push(Output::HangUp);
        self.lost(now, loss, out);
    }

    fn exit(&mut self, reason: Option<Notice>, out: &mut Outputs) {
        self.phase = Phase::Gone;
        out.push(Output::Exit(reason));
    }

    fn message(&mut self, now: Instant, message: FromMaster, out: &mut Outputs) {
        if let Phase::Member(member) = &mut self.phase {
            member.silent_at = now + SILENCE;
        }
        match (message, self.phase) {
            (FromMaster::Locustfile(sources), Phase::Fetching { .. }) => match sources {
                Ok(sources) => out.push(Output::Read(sources)),
                Err(why) => self.exit(Some(Notice::NoScenario(format!("the master says {why:?}"))), out),
            },
            (FromMaster::Ack(index), Phase::Registering { .. }) => self.joined(now, index, out),
            // Only a registered worker gets one.
            (FromMaster::Spawn(spawn), Phase::Registering { .. }) => {
                self.joined(now, None, out);
                self.spawn(now, spawn, out);
            }
            (FromMaster::Spawn(spawn), Phase::Member(_)) => self.spawn(now, spawn, out),
            (FromMaster::SpawningComplete, Phase::Member(_)) if self.reset_stats => out.push(Output::Reset),
            (FromMaster::Stop, Phase::Member(member)) => self.stop(now, member, out),
            (FromMaster::Quit, Phase::Member(member)) => self.dismissed(now, member, out),
            (FromMaster::Quit, Phase::Fetching { .. } | Phase::Registering { .. }) => {
                out.push(Output::Tell(Notice::Dismissed { persist: self.persist }));
                self.leave(now, !self.persist, out);
            }
            (FromMaster::Reconnect, Phase::Member(_) | Phase::Registering { .. }) => {
                // What it could not read was one message; this connection still carries a report.
                self.last_report(out);
                self.hang_up(now, Loss::Reconnect, out);
            }
            (FromMaster::UpdateUserClass(update), Phase::Member(_)) => self.update(update, out),
            (FromMaster::Custom(kind), _) if self.told.insert(format!("message {kind}")) => {
                out.push(Output::Tell(Notice::Custom(kind)));
            }
            _ => {} // late answers, and signs of life
        }
    }

    fn joined(&mut self, now: Instant, index: Option<u64>, out: &mut Outputs) {
        if !std::mem::replace(&mut self.announced, true) {
            out.push(Output::Tell(Notice::Joined { index }));
        }
        self.was_member = true;
        self.complained = None;
        self.pause = FIRST_PAUSE;
        self.phase = Phase::Member(Member {
            activity: Activity::Ready,
            heartbeat_at: now + HEARTBEAT,
            report_at: now + REPORT,
            silent_at: now + SILENCE,
        });
        out.push(Output::Heartbeat(State::Ready));
    }

    fn spawn(&mut self, now: Instant, spawn: Spawn, out: &mut Outputs) {
        let Phase::Member(member) = &mut self.phase else { return };
        if matches!(member.activity, Activity::Leaving { .. }) || spawn.timestamp <= self.last_spawn {
            return;
        }
        self.last_spawn = spawn.timestamp;
        self.stop_timeout = Duration::from_secs_f64(spawn.stop_timeout);
        self.reset_stats = spawn.reset_stats;
        out.extend([Output::Clock(spawn.timestamp), Output::Send(ToMaster::Spawning)]);
        if member.activity != Activity::Running {
            member.activity = Activity::Running;
            member.report_at = now + REPORT;
            out.push(Output::Begin);
        }
        let (users, unknown): (Counts, Counts) =
            spawn.users.into_iter().partition(|(class, _)| self.classes.contains(class));
        for class in unknown.into_keys() {
            self.complain(Notice::UnknownClass { class, known: self.classes.iter().cloned().collect() }, out);
        }
        if self.users != users {
            out.push(Output::Tell(Notice::Users(users.clone())));
        }
        self.users.clone_from(&users);
        out.push(Output::Users { users: users.clone(), host: spawn.host });
        // At once, not when connections are up: the master waits one second for all of them.
        out.push(Output::Send(ToMaster::SpawningComplete(users)));
    }

    fn refused(&mut self, why: String, out: &mut Outputs) {
        if !matches!(self.phase, Phase::Member(Member { activity: Activity::Running, .. })) {
            return;
        }
        self.complain(Notice::Refused(why), out);
        self.users.values_mut().for_each(|count| *count = 0);
        out.push(Output::Send(ToMaster::SpawningComplete(self.users.clone())));
    }

    /// Also shows in the master's page, once.
    fn complain(&mut self, notice: Notice, out: &mut Outputs) {
        let message = notice.to_string();
        if self.told.insert(message.clone()) {
            let traceback = message.clone();
            out.push(Output::Tell(notice));
            out.push(Output::Send(ToMaster::Exception { message, traceback }));
        }
    }

    fn update(&mut self, update: ClassUpdate, out: &mut Outputs) {
        let ClassUpdate { class, host, others } = update;
        if !self.classes.contains(&class) {
            return self.complain(Notice::UnknownClass { class, known: self.classes.iter().cloned().collect() }, out);
        }
        if let Some(host) = host {
            out.push(Output::Host { class: class.clone(), host });
        }
        // The master counts with weights itself.
        let keys: Vec<_> = others.into_iter().filter(|key| !matches!(key.as_str(), "weight" | "fixed_count")).collect();
        if !keys.is_empty() {
            out.push(Output::Tell(Notice::NotFollowed { class, keys }));
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Outputs) {
        match self.phase {
            Phase::Away { dial_at } if dial_at <= now => {
                self.phase = Phase::Dialling;
                out.push(Output::Dial);
            }
            Phase::Fetching { until } | Phase::Registering { until } if until <= now => {
                self.hang_up(now, Loss::NoAck(ACK), out);
            }
            Phase::Member(member) => self.tick_member(now, member, out),
            _ => {}
        }
    }

    fn tick_member(&mut self, now: Instant, mut member: Member, out: &mut Outputs) {
        if member.silent_at <= now {
            return self.hang_up(now, Loss::Silent(SILENCE), out);
        }
        if member.heartbeat_at <= now {
            member.heartbeat_at = now + HEARTBEAT;
            out.push(Output::Heartbeat(if member.activity == Activity::Ready { State::Ready } else { State::Running }));
        }
        if member.reports() && member.report_at <= now {
            member.report_at = now + REPORT;
            out.push(Output::Report(self.users.clone()));
        }
        self.phase = Phase::Member(member);
    }
}

impl Member {
    /// While nothing runs there is nothing to say, and a report would only move the start of the statistics; while users end, the one
    /// report that counts is the last.
    fn reports(&self) -> bool {
        self.activity == Activity::Running
    }

    fn next_deadline(&self) -> Instant {
        let next = self.heartbeat_at.min(self.silent_at);
        if self.reports() { next.min(self.report_at) } else { next }
    }
}
