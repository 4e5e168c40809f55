//! Every line the master says to an operator. gunicorn's wording where gunicorn has the line (tools grep for it).

mod words;

use std::path::PathBuf;
use std::time::Duration;

use rustcorn_sys::Pid;
use rustcorn_sys::held_socket::Peer;
use rustcorn_sys::log::{Field, Level, Record, Value, json};
use rustcorn_sys::signal::{Sig, name};

use crate::fleet::{Due, Fate, Generation, Slot};
use crate::hooks::Trouble;

/// One line of the error log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The first line.
    Starting {
        /// Program version.
        version: &'static str,
    },
    /// All sockets that accept connections.
    Listening {
        /// As URLs.
        addresses: Vec<String>,
    },
    /// What clients are shown from now on.
    Certificate {
        /// Its file.
        path: String,
        /// From when, or until when, it is valid, as the end of a sentence.
        validity: String,
        /// Whether that is so now.
        good: bool,
    },
    /// What the workers run.
    UsingWorker {
        /// The handler's or program's name.
        app: String,
        /// How many.
        workers: usize,
        /// Threads of each.
        threads: usize,
    },
    /// A signal was heard.
    HandlingSignal(Sig),
    /// A signal that has nothing to do here.
    SignalIgnored(Sig),
    /// A worker that does not say so itself is being started.
    ForeignBooting {
        /// Its process.
        pid: Pid,
    },
    /// The worker serves.
    WorkerReady {
        /// Its seat.
        slot: Slot,
        /// Its process.
        pid: Pid,
        /// Its generation.
        generation: Generation,
    },
    /// A worker that is well will be replaced.
    Recycling {
        /// Its seat.
        slot: Slot,
        /// Its process.
        pid: Pid,
        /// For what.
        why: Due,
    },
    /// The worker ended with a status other than 0, or with 0 though nobody had told it to.
    WorkerExited {
        /// Its process.
        pid: Pid,
        /// The status.
        code: i32,
    },
    /// The worker died of a signal that the master did not send.
    WorkerSignalled {
        /// Its process.
        pid: Pid,
        /// The signal.
        number: i32,
    },
    /// The worker was killed by the kernel, for memory.
    WorkerOutOfMemory {
        /// Its process.
        pid: Pid,
        /// What the cgroup allows, in bytes.
        limit: Option<u64>,
    },
    /// The worker was killed by somebody.
    WorkerKilled {
        /// Its process.
        pid: Pid,
    },
    /// The worker died of the signal that the master sent.
    WorkerSignalledByUs {
        /// Its process.
        pid: Pid,
        /// The signal.
        number: i32,
    },
    /// The worker never became ready.
    WorkerFailedToBoot {
        /// Its seat.
        slot: Slot,
        /// Its own words, if it had any.
        reason: String,
    },
    /// The seat stays empty for a while.
    BackingOff {
        /// The seat.
        slot: Slot,
        /// How long.
        pause: Duration,
    },
    /// The worker is killed since it does not get ready.
    BootTimeout {
        /// Its seat.
        slot: Slot,
        /// Its process.
        pid: Pid,
    },
    /// The worker is aborted since its event loop stands still.
    WorkerTimeout {
        /// Its seat.
        slot: Slot,
        /// Its process.
        pid: Pid,
        /// Time without a heartbeat.
        silent: Duration,
        /// What it was doing, as `GET /path for 31.0s`.
        polled: Vec<String>,
    },
    /// The worker is killed since it does not leave.
    DrainTimeout {
        /// Its seat.
        slot: Slot,
        /// Its process.
        pid: Pid,
    },
    /// A reload begins.
    HangUp,
    /// A reload was asked for while stopping.
    ReloadRefused,
    /// The new generation serves; older workers are replaced one by one.
    Reloaded {
        /// The new one.
        generation: Generation,
    },
    /// Settings that a reload changes.
    SettingChanged {
        /// As `workers: 2 → 4`.
        change: String,
        /// It takes a restart.
        later: bool,
    },
    /// In the background, without a log file.
    DaemonWithoutLog,
    /// A reload could not write the new pidfile.
    PidfileKept {
        /// Why.
        why: String,
    },
    /// Nothing was changed.
    ReloadFailed {
        /// What is wrong.
        reason: String,
        /// The generation that goes on serving.
        kept: Generation,
    },
    /// USR2 that cannot be followed.
    UpgradeRefused(&'static str),
    /// USR2: the new master's process exists.
    Upgrading {
        /// Its process.
        pid: Pid,
    },
    /// All workers of the new master are ready.
    Upgraded {
        /// The new master.
        pid: Pid,
        /// Whether this one goes by itself.
        leaves: bool,
    },
    /// The new master did not come to serve.
    UpgradeFailed {
        /// What is wrong.
        reason: String,
    },
    /// The new master served, and is gone.
    HeirGone {
        /// Its process.
        pid: Pid,
        /// How it ended.
        fate: Fate,
        /// This one was told to leave, too.
        stopping: bool,
    },
    /// The old master is gone.
    Promoted,
    /// WINCH.
    StoppingWorkers,
    /// INT or QUIT during a graceful stop.
    QuickShutdown,
    /// The last worker is gone.
    ShuttingDown {
        /// Whether this is a failure.
        failed: bool,
    },
    /// Why a first start failed.
    StopReason {
        /// The application said no.
        app_refused: bool,
    },
    /// Where the admin process answers.
    AdminListening {
        /// As a URL.
        address: String,
    },
    /// Where the master answers.
    ControlListening {
        /// The socket.
        path: String,
    },
    /// Somebody said what to do.
    Control {
        /// What.
        command: String,
        /// Who.
        peer: Peer,
    },
    /// Somebody who may not.
    ControlRefused {
        /// Who.
        peer: Peer,
    },
    /// The admin process ended, unasked.
    AdminEnded {
        /// Its process, if it came to be one.
        pid: Option<Pid>,
        /// How.
        fate: Fate,
        /// Its own words, if it had any.
        reason: Option<String>,
        /// Time before the next one is started.
        pause: Duration,
    },
    /// The setting `dev` is on.
    ReloaderOn,
    /// With `dev`: a reload begins.
    FilesChanged {
        /// Which.
        files: Vec<PathBuf>,
    },
    /// An adopted process ended (PID 1).
    ReapedStranger {
        /// Its process.
        pid: Pid,
    },
    /// Metrics cannot be sent.
    StatsdTrouble {
        /// Where to.
        to: String,
        /// What the system said.
        error: String,
        /// Datagrams lost since the last such line.
        lost: u64,
    },
    /// The log goes on in the old file.
    LogNotReopened {
        /// What cannot be opened.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
    /// The worker was given a log file twice, and has not taken the first.
    LogNotTaken {
        /// Its seat.
        slot: Slot,
        /// Its process.
        pid: Pid,
    },
    /// A hook of the program did not do well; the master goes on.
    Hook {
        /// Its name.
        name: &'static str,
        /// What was wrong.
        trouble: Trouble,
    },
    /// A system call failed that should not; the master goes on.
    SystemTrouble {
        /// What was tried.
        what: String,
        /// What the system said.
        error: String,
    },
}

impl Notice {
    const fn level(&self) -> Level {
        match self {
            Self::WorkerReady { .. } | Self::ReapedStranger { .. } => Level::Debug,
            Self::SignalIgnored(_)
            | Self::BackingOff { .. }
            | Self::ReloadRefused
            | Self::ReloaderOn
            | Self::UpgradeRefused(_)
            | Self::HeirGone { .. }
            | Self::SettingChanged { later: true, .. }
            | Self::DaemonWithoutLog
            | Self::PidfileKept { .. }
            | Self::DrainTimeout { .. }
            | Self::WorkerExited { code: 0, .. }
            | Self::AdminEnded { .. }
            | Self::ControlRefused { .. }
            | Self::Certificate { good: false, .. }
            | Self::StatsdTrouble { .. }
            | Self::LogNotTaken { .. }
            | Self::Hook { trouble: Trouble::Slow(_), .. }
            | Self::SystemTrouble { .. } => Level::Warning,
            Self::WorkerExited { .. }
            | Self::WorkerOutOfMemory { .. }
            | Self::WorkerKilled { .. }
            | Self::WorkerFailedToBoot { .. }
            | Self::BootTimeout { .. }
            | Self::ReloadFailed { .. }
            | Self::LogNotReopened { .. }
            | Self::Hook { trouble: Trouble::Panicked(_), .. }
            | Self::UpgradeFailed { .. }
            | Self::StopReason { .. }
            | Self::ShuttingDown { failed: true } => Level::Error,
            Self::WorkerSignalled { number, .. } => match *number {
                SIGTERM => Level::Info,
                SIGKILL => Level::Error,
                _ => Level::Warning,
            },
            Self::WorkerTimeout { .. } => Level::Critical,
            _ => Level::Info,
        }
    }

    /// Writes the line.
    pub fn say(&self) {
        Record { level: self.level(), message: self, origin: None, fields: &self.fields() }.say();
    }

    /// What the line is about, for machines.
    fn fields(&self) -> Vec<Field> {
        let (name, value) = match self {
            Self::WorkerReady { slot, pid, generation } => {
                ("worker", json!({"pid": pid.as_raw(), "slot": slot.0, "generation": generation.0}))
            }
            Self::ForeignBooting { pid } => ("worker", json!({"pid": pid.as_raw()})),
            Self::BootTimeout { slot, pid }
            | Self::WorkerTimeout { slot, pid, .. }
            | Self::DrainTimeout { slot, pid }
            | Self::LogNotTaken { slot, pid }
            | Self::Recycling { slot, pid, .. } => ("worker", json!({"pid": pid.as_raw(), "slot": slot.0})),
            Self::WorkerExited { pid, code } => ("worker", json!({"pid": pid.as_raw(), "exit_code": code})),
            Self::WorkerSignalled { pid, number } | Self::WorkerSignalledByUs { pid, number } => {
                ("worker", json!({"pid": pid.as_raw(), "signal": name(*number)}))
            }
            Self::WorkerOutOfMemory { pid, limit } => (
                "worker",
                json!({"pid": pid.as_raw(), "signal": name(SIGKILL), "out_of_memory": true, "memory_limit": limit}),
            ),
            Self::WorkerKilled { pid } => {
                ("worker", json!({"pid": pid.as_raw(), "signal": name(SIGKILL), "out_of_memory": false}))
            }
            Self::WorkerFailedToBoot { slot, .. } | Self::BackingOff { slot, .. } => {
                ("worker", json!({"slot": slot.0}))
            }
            Self::Reloaded { generation } | Self::ReloadFailed { kept: generation, .. } => {
                ("generation", Value::from(generation.0))
            }
            _ => return Vec::new(),
        };
        vec![(name.into(), value)]
    }
}

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
