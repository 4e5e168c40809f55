//! What the master gives a worker at spawn: descriptors, and where each is.
//!
//! The listeners are systemd's way (`LISTEN_FDS`, `LISTEN_PID`, from descriptor 3 on); the rest is in `RUSTCORN_HANDOFF`:
//! `v=1 slot=0 generation=1 lifeline=5 ready=6 log=7 scoreboard=8 settings=9`;
//! with a file for the access log `access=8 access_log=9` after `log`.

use std::env;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use rustcorn_config::{App, Settings};
use rustcorn_sys::fd::take_inherited;
use rustcorn_tls::Material;

use crate::lanes::LanePlan;

/// The environment variable that makes a process a worker.
pub(crate) const VARIABLE: &str = "RUSTCORN_HANDOFF";
/// The contract this code speaks.
const VERSION: u32 = 1;
/// Where systemd's contract puts the first listener (sd_listen_fds(3)).
const FIRST_LISTENER: RawFd = 3;

/// Everything that a worker is given.
#[derive(Debug)]
pub struct Handoff {
    pub(crate) slot: usize,
    pub(crate) generation: u32,
    pub(crate) listeners: Vec<OwnedFd>,
    pub(crate) lanes: Option<LanePlan>,
    pub(crate) scoreboard: OwnedFd,
    pub(crate) lifeline: OwnedFd,
    pub(crate) ready: Ready,
    /// On which another log file may come; older masters have none.
    pub(crate) log: Option<OwnedFd>,
    /// The file of the access log, and on which another may come; `None`: it has none.
    pub(crate) access: Option<(OwnedFd, OwnedFd)>,
    pub(crate) settings: Settings,
    /// `None`: the server speaks no TLS.
    pub(crate) tls: Option<Material>,
}

impl Handoff {
    /// Takes over what the environment tells of. `None`: nothing, so this process is not a worker.
    ///
    /// The variables stay in the environment (to remove them is not safe once there may be threads); a child process that
    /// inherits them finds `LISTEN_PID` to be another's.
    ///
    /// # Errors
    /// See [`HandoffError`]. A worker that cannot take over leaves with exit code 3.
    ///
    /// # Panics
    /// When called a second time: descriptors have one owner.
    #[must_use]
    pub fn from_env() -> Option<Result<Self, HandoffError>> {
        let handoff = env::var(VARIABLE).ok()?;
        let variable = |name| env::var(name).unwrap_or_default();
        Some(
            Seats::parse(&handoff, &variable("LISTEN_FDS"), &variable("LISTEN_PID"), std::process::id())
                .and_then(|seats| Self::take(&seats)),
        )
    }

    /// The `[app]` table, for a program that holds several applications and decides by it which one it is.
    #[must_use]
    pub const fn app(&self) -> &App {
        &self.settings.app
    }

    fn take(seats: &Seats) -> Result<Self, HandoffError> {
        let mut numbers: Vec<RawFd> = seats.listeners.clone().collect();
        numbers.extend([seats.scoreboard, seats.lifeline, seats.ready, seats.settings]);
        numbers.extend(seats.log);
        numbers.extend(seats.access.iter().flat_map(|(file, channel)| [*file, *channel]));
        numbers.extend(seats.lanes.as_ref().map(|lanes| lanes.table));
        let mut taken = take_inherited(&numbers).map_err(HandoffError::Descriptors)?;
        let lanes = seats
            .lanes
            .clone()
            .and_then(|LaneWords { own, counts, .. }| taken.pop().map(|table| LanePlan { table, own, counts }));
        let access =
            seats.access.and_then(|_| Some((taken.pop()?, taken.pop()?))).map(|(channel, file)| (file, channel));
        let log = seats.log.and_then(|_| taken.pop());
        let [scoreboard, lifeline, ready, settings] = taken
            .split_off(seats.listeners.len())
            .try_into()
            .expect("take_inherited gives as many as it was asked for");
        let ready = Ready(ready.into());
        let (settings, tls) = read_settings(settings).inspect_err(|error| ready.failed(&error.to_string()))?;
        Ok(Self {
            slot: seats.slot,
            generation: seats.generation,
            listeners: taken,
            lanes,
            scoreboard,
            lifeline,
            ready,
            log,
            access,
            settings,
            tls,
        })
    }
}

/// Siblings share the file and with it the offset, so each reads by position.
fn read_settings(fd: OwnedFd) -> Result<(Settings, Option<Material>), HandoffError> {
    let file = File::from(fd);
    let unreadable = |error: io::Error| HandoffError::Settings(error.to_string());
    let length = file.metadata().map_err(unreadable)?.len();
    let mut text = vec![0; usize::try_from(length).expect("a length in memory")];
    file.read_exact_at(&mut text, 0).map_err(unreadable)?;
    let text = String::from_utf8(text).map_err(|error| HandoffError::Settings(error.to_string()))?;
    let settings = Settings::from_toml(&text).map_err(HandoffError::Settings)?;
    // Whoever speaks no TLS need not read everything twice.
    let tls = if settings.speaks_tls() { Material::from_toml(&text).map_err(HandoffError::Settings)? } else { None };
    Ok((settings, tls))
}

/// The pipe on which a worker tells the master how its boot ended, and later that it leaves. It stays open until the worker is
/// done: its end-of-file is the worker's death.
#[derive(Debug)]
pub(crate) struct Ready(pub(crate) File);

impl Ready {
    /// The worker accepts.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\n");
    }

    /// The worker drains, whoever asked for it: from now on its seat needs somebody else.
    pub(crate) fn leaving(&self) {
        self.tell("LEAVING=1\n");
    }

    /// The worker has served as many requests as it shall.
    pub(crate) fn spent(&self) {
        self.tell("SPENT=1\n");
    }

    /// The worker writes to the log file that it was given last.
    pub(crate) fn log_taken(&self) {
        self.tell("LOG=taken\n");
    }

    /// The same of the access log.
    pub(crate) fn access_log_taken(&self) {
        self.tell("ACCESS_LOG=taken\n");
    }

    /// There was no room for the log file that the worker was given.
    pub(crate) fn log_lost(&self) {
        self.tell("LOG=lost\n");
    }

    /// The same of the access log.
    pub(crate) fn access_log_lost(&self) {
        self.tell("ACCESS_LOG=lost\n");
    }

    /// The worker was told to open its logs anew.
    pub(crate) fn reopen_log(&self) {
        self.tell("LOG=reopen\n");
    }

    /// The same pipe for another part of the worker.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// The worker cannot boot; `reason` in one line.
    pub(crate) fn failed(&self, reason: &str) {
        self.tell(&format!("FAILED={}\n", reason.replace(['\n', '\r'], " ")));
    }

    fn tell(&self, message: &str) {
        // No reader: the master is dead, and the lifeline will say so.
        let _ = (&self.0).write_all(message.as_bytes());
    }
}

/// The handoff as numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seats {
    slot: usize,
    generation: u32,
    listeners: std::ops::Range<RawFd>,
    scoreboard: RawFd,
    lifeline: RawFd,
    ready: RawFd,
    log: Option<RawFd>,
    access: Option<(RawFd, RawFd)>,
    settings: RawFd,
    lanes: Option<LaneWords>,
}

/// What it says of lanes (`reuse_port`): ` served=9 lane=2 lanes=1,4`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct LaneWords {
    table: RawFd,
    own: usize,
    counts: Vec<usize>,
}

impl LaneWords {
    /// `None`: there are none, and every worker accepts from every socket.
    fn parse(handoff: &str, listeners: usize) -> Result<Option<Self>, HandoffError> {
        if !handoff.contains(" lanes=") {
            return Ok(None);
        }
        let counts: String = field(handoff, "lanes")?;
        let counts: Result<Vec<usize>, _> = counts.split(',').map(str::parse).collect();
        match counts {
            Ok(counts) if counts.iter().sum::<usize>() == listeners && !counts.contains(&0) => {
                Ok(Some(Self { table: field(handoff, "served")?, own: field(handoff, "lane")?, counts }))
            }
            _ => Err(HandoffError::Variable(VARIABLE)),
        }
    }
}

impl Seats {
    fn parse(handoff: &str, listen_fds: &str, listen_pid: &str, own_pid: u32) -> Result<Self, HandoffError> {
        let version = field(handoff, "v")?;
        if version != VERSION {
            return Err(HandoffError::Version(version));
        }
        if listen_pid.parse() != Ok(own_pid) {
            return Err(HandoffError::NotForUs(listen_pid.to_owned()));
        }
        let listeners: RawFd = listen_fds.parse().map_err(|_| HandoffError::Variable("LISTEN_FDS"))?;
        let seats = Self {
            slot: field(handoff, "slot")?,
            generation: field(handoff, "generation")?,
            listeners: FIRST_LISTENER..FIRST_LISTENER.saturating_add(listeners.max(0)),
            scoreboard: field(handoff, "scoreboard")?,
            lifeline: field(handoff, "lifeline")?,
            ready: field(handoff, "ready")?,
            log: if handoff.contains(" log=") { Some(field(handoff, "log")?) } else { None },
            access: if handoff.contains(" access=") {
                Some((field(handoff, "access")?, field(handoff, "access_log")?))
            } else {
                None
            },
            settings: field(handoff, "settings")?,
            lanes: LaneWords::parse(handoff, usize::try_from(listeners).unwrap_or(0))?,
        };
        let mut others = vec![seats.scoreboard, seats.lifeline, seats.ready, seats.settings];
        others.extend(seats.log);
        others.extend(seats.access.iter().flat_map(|(file, channel)| [*file, *channel]));
        others.extend(seats.lanes.as_ref().map(|lanes| lanes.table));
        let distinct = others.iter().enumerate().all(|(at, fd)| !others[..at].contains(fd));
        if distinct && others.iter().all(|fd| *fd >= seats.listeners.end) {
            Ok(seats)
        } else {
            Err(HandoffError::Variable(VARIABLE))
        }
    }
}

/// The number after `key=`. Keys that this version does not know are left alone.
fn field<T: std::str::FromStr>(handoff: &str, key: &str) -> Result<T, HandoffError> {
    let value = handoff.split_ascii_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).ok_or(HandoffError::Variable(VARIABLE))
}

/// Why a worker cannot take over.
#[derive(Debug)]
pub enum HandoffError {
    /// The master speaks another version of the contract.
    Version(u32),
    /// The variables were meant for another process and only inherited.
    NotForUs(String),
    /// A variable does not hold what it should.
    Variable(&'static str),
    /// A descriptor is not there.
    Descriptors(io::Error),
    /// The settings do not read.
    Settings(String),
}

impl fmt::Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(theirs) => write!(
                f,
                "the master hands over with version {theirs}, this program understands version {VERSION}: build both with \
                 the same rustcorn release"
            ),
            Self::NotForUs(pid) => write!(
                f,
                "{VARIABLE} is set, but for process {pid:?}: it was inherited from a worker; unset it to start a server here"
            ),
            Self::Variable(name) => write!(f, "cannot understand the variable {name} that a rustcorn master sets"),
            Self::Descriptors(error) => write!(f, "a descriptor that the master promised is missing: {error}"),
            Self::Settings(why) => write!(f, "cannot read the settings from the master: {why}"),
        }
    }
}

impl Error for HandoffError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Descriptors(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
