//! Every line the master says to an operator. gunicorn's wording where gunicorn has the line (tools grep for it).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rustcorn_sys::Pid;
use rustcorn_sys::log::{Field, Level, Record, Value, json};
use rustcorn_sys::signal::{Sig, name};

use crate::fleet::{Due, Fate, Generation, Slot};

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
    /// The worker ended with a status other than 0.
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
            | Self::DrainTimeout { .. }
            | Self::AdminEnded { .. }
            | Self::StatsdTrouble { .. }
            | Self::SystemTrouble { .. } => Level::Warning,
            Self::WorkerExited { .. }
            | Self::WorkerFailedToBoot { .. }
            | Self::BootTimeout { .. }
            | Self::ReloadFailed { .. }
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
            Self::BootTimeout { slot, pid }
            | Self::WorkerTimeout { slot, pid, .. }
            | Self::DrainTimeout { slot, pid }
            | Self::Recycling { slot, pid, .. } => ("worker", json!({"pid": pid.as_raw(), "slot": slot.0})),
            Self::WorkerExited { pid, code } => ("worker", json!({"pid": pid.as_raw(), "exit_code": code})),
            Self::WorkerSignalled { pid, number } | Self::WorkerSignalledByUs { pid, number } => {
                ("worker", json!({"pid": pid.as_raw(), "signal": name(*number)}))
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

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { version } => write!(f, "Starting rustcorn {version}"),
            Self::Listening { addresses } => {
                write!(f, "Listening at: {} ({})", addresses.join(","), std::process::id())
            }
            Self::UsingWorker { app, workers, threads: 1 } => write!(f, "Using worker: {app} ({workers} workers)"),
            Self::UsingWorker { app, workers, threads } => {
                write!(f, "Using worker: {app} ({workers} workers, {threads} threads each)")
            }
            Self::HandlingSignal(sig) => write!(f, "Handling signal: {sig}"),
            Self::SignalIgnored(Sig::Usr1) => {
                f.write_str("SIGUSR1 ignored. The log goes to standard error: there is no file to reopen")
            }
            Self::SignalIgnored(Sig::Winch) => {
                f.write_str("SIGWINCH ignored. Not daemonized: it may be a terminal that was resized")
            }
            Self::SignalIgnored(sig) => write!(f, "Signal {sig} ignored"),
            Self::WorkerReady { slot, pid, generation } => {
                write!(f, "Worker ready (pid: {pid}, slot: {slot}, generation: {generation})")
            }
            Self::Recycling { slot, pid, why } => {
                write!(f, "Autorestarting worker {slot} (pid: {pid}): ")?;
                match why {
                    Due::Requests => f.write_str("it has served max_requests"),
                    Due::Memory { resident } => {
                        write!(f, "it has {} MiB, more than max_rss", resident.div_ceil(1 << 20))
                    }
                    Due::Lifetime => f.write_str("it has served for worker_lifetime"),
                }
            }
            Self::WorkerExited { pid, code } => write!(f, "Worker (pid:{pid}) exited with code {code}."),
            Self::WorkerSignalled { pid, number: SIGKILL } => {
                write!(f, "Worker (pid:{pid}) was sent SIGKILL! Perhaps out of memory?")
            }
            Self::WorkerSignalled { pid, number } | Self::WorkerSignalledByUs { pid, number } => {
                write!(f, "Worker (pid:{pid}) was sent {}!", name(*number))
            }
            Self::WorkerFailedToBoot { slot, reason } => write!(f, "Worker {slot} failed to boot: {reason}"),
            Self::BackingOff { slot, pause } => {
                write!(f, "Worker {slot} keeps dying; trying again in {pause:.1?}")
            }
            Self::BootTimeout { slot, pid } => {
                write!(f, "Worker {slot} (pid:{pid}) was not ready within boot_timeout; killing it")
            }
            Self::WorkerTimeout { pid, silent, polled, .. } => {
                write!(f, "WORKER TIMEOUT (pid:{pid}) no heartbeat for {silent:.1?}, ")?;
                if polled.is_empty() {
                    f.write_str("while it was handling no request")
                } else {
                    write!(f, "while handling {}", polled.join(", "))
                }
            }
            Self::DrainTimeout { slot, pid } => {
                write!(f, "Worker {slot} (pid:{pid}) did not leave within graceful_timeout; killing it")
            }
            Self::HangUp => f.write_str("Hang up: Master"),
            Self::ReloadRefused => f.write_str("Reload refused: the server is stopping"),
            Self::Reloaded { generation } => write!(f, "Reloaded: generation {generation} is serving"),
            Self::SettingChanged { change } => write!(f, "Setting {change}"),
            Self::ReloadFailed { reason, kept } => {
                write!(f, "Reload failed: {reason}; generation {kept} goes on serving, nothing was changed")
            }
            Self::UpgradeRefused(why) => write!(f, "USR2 signal ignored. {why}"),
            Self::Upgrading { pid } => write!(f, "Upgrade: a new master is starting (pid: {pid})"),
            Self::Upgraded { pid, leaves: true } => {
                write!(f, "Upgrade: the new master serves (pid: {pid}); this one leaves")
            }
            Self::Upgraded { pid, leaves: false } => write!(
                f,
                "Upgrade: the new master serves beside this one (pid: {pid}); TERM to this one ({}) ends the upgrade, TERM to \
                 the new one goes back",
                std::process::id()
            ),
            Self::UpgradeFailed { reason } => {
                write!(f, "Upgrade failed: {reason}; this master goes on serving, nothing was changed")
            }
            Self::HeirGone { pid, fate } => {
                write!(f, "Upgrade: the new master (pid: {pid}) ")?;
                match fate {
                    Fate::Code(code) => write!(f, "exited with code {code}")?,
                    Fate::Signal(number) => write!(f, "was sent {}", name(*number))?,
                    Fate::NotStarted(error) => write!(f, "could not be started: {error}")?,
                }
                f.write_str("; this one serves alone again")
            }
            Self::Promoted => f.write_str("Master has been promoted."),
            Self::StoppingWorkers => f.write_str("graceful stop of workers"),
            Self::QuickShutdown => f.write_str("Quick shutdown requested"),
            Self::ShuttingDown { .. } => f.write_str("Shutting down: Master"),
            Self::StopReason { app_refused: true } => f.write_str("Reason: App failed to load."),
            Self::StopReason { app_refused: false } => f.write_str("Reason: Worker failed to boot."),
            Self::AdminListening { address } => write!(f, "Admin listening at: {address}"),
            Self::AdminEnded { pid, fate, reason, pause } => {
                f.write_str("Admin process ")?;
                if let Some(pid) = pid {
                    write!(f, "(pid:{pid}) ")?;
                }
                match fate {
                    Fate::Code(code) => write!(f, "exited with code {code}")?,
                    Fate::Signal(number) => write!(f, "was sent {}", name(*number))?,
                    Fate::NotStarted(error) => write!(f, "could not be started: {error}")?,
                }
                if let Some(reason) = reason {
                    write!(f, ": {reason}")?;
                }
                if pause.is_zero() {
                    f.write_str("; starting another")
                } else {
                    write!(f, "; trying again in {pause:.1?}")
                }
            }
            Self::ReloaderOn => f.write_str("Reloader is on. Use in development only!"),
            Self::FilesChanged { files } => {
                let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                write!(f, "Changed: {}", names.join(", "))
            }
            Self::ReapedStranger { pid } => write!(f, "Reaped unknown child process {pid}"),
            Self::StatsdTrouble { to, error, lost } => {
                write!(f, "Cannot send metrics to {to}: {error}; ")?;
                match lost {
                    0 => f.write_str("they are kept and sent later"),
                    1 => f.write_str("1 datagram was lost"),
                    lost => write!(f, "{lost} datagrams were lost"),
                }
            }
            Self::SystemTrouble { what, error } => write!(f, "Cannot {what}: {error}"),
        }
    }
}
