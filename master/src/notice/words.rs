//! The words of each line.

use std::fmt;

use rustcorn_sys::held_socket::Peer;
use rustcorn_sys::signal::{Sig, name};

use super::{Notice, SIGKILL};
use crate::fleet::{Due, Fate};
use crate::hooks::Trouble;

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { version } => write!(f, "Starting rustcorn {version}"),
            Self::Listening { addresses } => {
                write!(f, "Listening at: {} ({})", addresses.join(","), std::process::id())
            }
            Self::Certificate { path, validity, .. } => write!(f, "Certificate in {path} {validity}"),
            Self::UsingWorker { app, workers, threads: 1 } => write!(f, "Using worker: {app} ({workers} workers)"),
            Self::UsingWorker { app, workers, threads } => {
                write!(f, "Using worker: {app} ({workers} workers, {threads} threads each)")
            }
            Self::HandlingSignal(sig) => write!(f, "Handling signal: {sig}"),
            Self::SignalIgnored(Sig::Winch) => {
                f.write_str("SIGWINCH ignored. Not daemonized: it may be a terminal that was resized")
            }
            Self::SignalIgnored(sig) => write!(f, "Signal {sig} ignored"),
            Self::ForeignBooting { pid } => write!(f, "Booting worker with pid: {pid}"),
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
                    Due::Asked => f.write_str("rustcornctl asked for it"),
                }
            }
            Self::WorkerExited { pid, code: 0 } => {
                write!(f, "Worker (pid:{pid}) exited with code 0, though nobody had told it to.")
            }
            Self::WorkerExited { pid, code } => write!(f, "Worker (pid:{pid}) exited with code {code}."),
            Self::WorkerSignalled { pid, number: SIGKILL } => {
                write!(f, "Worker (pid:{pid}) was sent SIGKILL! Perhaps out of memory?")
            }
            Self::WorkerOutOfMemory { pid, limit } => {
                write!(
                    f,
                    "Worker (pid:{pid}) was sent SIGKILL! The kernel killed it: out of memory ({})",
                    Limit(*limit)
                )
            }
            Self::WorkerKilled { pid } => {
                let who = "Somebody sent it, not the kernel's out-of-memory killer";
                write!(f, "Worker (pid:{pid}) was sent SIGKILL! {who}")
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
            Self::SettingChanged { change, later: false } => write!(f, "Setting {change}"),
            Self::SettingChanged { change, later: true } => {
                write!(f, "Setting {change}: takes a restart of the master")
            }
            Self::DaemonWithoutLog => f.write_str("daemon without a log file: from the start on, log lines go nowhere"),
            Self::PidfileKept { why } => write!(f, "The old pidfile stays: {why}"),
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
            Self::HeirGone { pid, fate, stopping: true } => {
                write!(f, "Upgrade: the new master (pid: {pid}) {fate}; this one is stopping, so nobody serves")
            }
            Self::HeirGone { pid, fate, stopping: false } => {
                write!(f, "Upgrade: the new master (pid: {pid}) {fate}; this one serves alone again")
            }
            Self::Promoted => f.write_str("Master has been promoted."),
            Self::StoppingWorkers => f.write_str("graceful stop of workers"),
            Self::QuickShutdown => f.write_str("Quick shutdown requested"),
            Self::ShuttingDown { .. } => f.write_str("Shutting down: Master"),
            Self::StopReason { app_refused: true } => f.write_str("Reason: App failed to load."),
            Self::StopReason { app_refused: false } => f.write_str("Reason: Worker failed to boot."),
            Self::AdminListening { address } => write!(f, "Admin listening at: {address}"),
            Self::ControlListening { path } => write!(f, "Control socket listening at {path}"),
            Self::Control { command, peer } => write!(f, "Control: {command} ({})", who(peer)),
            Self::ControlRefused { peer } => write!(f, "Control: turned away {}, who may not command", who(peer)),
            Self::AdminEnded { pid, fate, reason, pause } => {
                f.write_str("Admin process ")?;
                if let Some(pid) = pid {
                    write!(f, "(pid:{pid}) ")?;
                }
                write!(f, "{fate}")?;
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
            Self::LogNotReopened { path, error } => {
                write!(f, "Cannot open the log {} again: {error}; going on with the old file", path.display())
            }
            Self::LogNotTaken { slot, pid } => {
                write!(f, "Worker {slot} (pid:{pid}) has not taken the last log file; its lines go to the one it has")
            }
            Self::Hook { name, trouble: Trouble::Panicked(why) } => write!(f, "Hook {name} {why}; the master goes on"),
            Self::Hook { name, trouble: Trouble::Slow(took) } => {
                write!(f, "Hook {name} took {took:.1?}, in which the master supervised nobody")
            }
            Self::SystemTrouble { what, error } => write!(f, "Cannot {what}: {error}"),
        }
    }
}

fn who(peer: &Peer) -> String {
    let pid = peer.pid.map_or_else(|| "of another pid namespace".to_owned(), |pid| pid.to_string());
    format!("pid {pid}, user {}", peer.uid)
}

/// Whose memory ran out.
struct Limit(Option<u64>);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "memory limit of the cgroup: {} MiB", bytes >> 20),
            None => f.write_str("the cgroup has no limit, the machine had none left"),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(number) => write!(f, "was sent {}", name(*number)),
            Self::OutOfMemory { limit } => write!(f, "was killed by the kernel: out of memory ({})", Limit(*limit)),
            Self::Killed => f.write_str("was sent SIGKILL"),
            Self::NotStarted(error) => write!(f, "could not be started: {error}"),
        }
    }
}
