//! What a master begins with that others made: sockets of a service manager, or of the master that it is to follow.
//!
//! systemd hands sockets over as descriptors from 3 on (`LISTEN_FDS`, `LISTEN_PID`; sd_listen_fds(3)). A master hands them to its
//! heir in the same way, with more beside them: `RUSTCORN_HANDOFF="v=1 role=master lifeline=5 ready=6 heritage=7"`, where the
//! heritage says which socket is which.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustcorn_config::Address;
use rustcorn_sys::Pid;
use rustcorn_sys::fd::{take_inherited, wait_readable};
use rustcorn_sys::notify;
use serde::{Deserialize, Serialize};

use crate::fleet::{Generation, Report};
use crate::listeners::Listener;

const HANDOFF: &str = "RUSTCORN_HANDOFF";
/// Where systemd's contract puts the first socket.
const FIRST: RawFd = 3;
/// Of the heritage that this program writes. It reads this and all before.
const VERSION: u32 = 1;

/// What survives an upgrade, as the old master writes it down. A field that is new in a later version has a default, so that the
/// heritage of an older program can be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Heritage {
    version: u32,
    /// The heir's first generation.
    generation: u32,
    /// The sockets, in the order of their descriptors.
    sockets: Vec<Socket>,
    /// They are a service manager's, whatever the configuration says.
    activated: bool,
    /// How often the service manager wants a sign of life, in microseconds.
    watchdog: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Socket {
    purpose: Purpose,
    /// As the configuration says it.
    address: String,
    /// Descriptors of the address, which follow each other (`reuse_port`).
    #[serde(default = "one")]
    count: usize,
    /// Its file, if it has one; absolute.
    #[serde(default)]
    path: Option<PathBuf>,
}

const fn one() -> usize {
    1
}

/// Which setting a socket is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Purpose {
    Bind,
    AdminBind,
}

impl Heritage {
    pub(crate) fn new(generation: Generation, endowment: &Endowment, watchdog: Option<Duration>) -> Self {
        let socket = |purpose| {
            move |listener: &Rc<Listener>| Socket {
                purpose,
                address: listener.address().to_setting(),
                count: listener.sockets().len(),
                path: listener.file().map(Path::to_owned),
            }
        };
        let sockets = endowment.sockets.iter().map(socket(Purpose::Bind));
        Self {
            version: VERSION,
            generation: generation.0,
            sockets: sockets.chain(endowment.admin.iter().map(socket(Purpose::AdminBind))).collect(),
            activated: endowment.activated,
            watchdog: watchdog.and_then(|time| u64::try_from(time.as_micros()).ok()),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("text and numbers")
    }

    fn parse(text: &str) -> Result<Self, HeritageError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unreadable = |error: serde_json::Error| HeritageError::Text(error.to_string());
        let Version { version } = serde_json::from_str(text).map_err(unreadable)?;
        if version > VERSION {
            return Err(HeritageError::Version(version));
        }
        serde_json::from_str(text).map_err(unreadable)
    }
}

/// Sockets that are there before the configuration is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endowment {
    /// For `bind`.
    pub(crate) sockets: Vec<Rc<Listener>>,
    /// For `admin_bind`.
    pub(crate) admin: Vec<Rc<Listener>>,
    /// They are a service manager's: all of them are used, and `bind` is not.
    pub(crate) activated: bool,
}

/// Everything a master begins with.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    pub(crate) endowment: Endowment,
    pub(crate) parent: Option<Parent>,
    /// `None`: the first.
    pub(crate) generation: Option<Generation>,
    /// How often the service manager wants a sign of life.
    pub(crate) watchdog: Option<Duration>,
}

/// The master that started this one.
#[derive(Debug)]
pub(crate) struct Parent {
    /// Its end-of-file is the parent's death.
    lifeline: OwnedFd,
    report: File,
}

impl Parent {
    pub(crate) fn lifeline(&self) -> BorrowedFd<'_> {
        self.lifeline.as_fd()
    }

    /// Whether it is gone.
    pub(crate) fn is_gone(&self) -> bool {
        // Nothing is ever written there, so it becomes readable by its end alone. It is not made non-blocking: the parent's
        // workers have the same open file, and wait in it. A pipe that cannot be asked will never tell anything either.
        wait_readable(&[self.lifeline()], Some(Duration::ZERO)).map_or(true, |ready| ready == [true])
    }

    pub(crate) fn tell(&self, report: &Report) {
        let line = match report {
            Report::Ready => "READY=1\n".to_owned(),
            Report::Leaving => "LEAVING=1\n".to_owned(),
            Report::Failed(reason) => format!("FAILED={}\n", reason.replace(['\n', '\r'], "; ")),
        };
        // No reader: it is gone, and the lifeline will say so.
        let _ = (&self.report).write_all(line.as_bytes());
    }
}

/// Why a master cannot take over.
#[derive(Debug)]
pub(crate) enum HeritageError {
    /// What was to be inherited is another's.
    NotForUs,
    /// The variable does not hold what it should.
    Variable,
    /// The old master writes it in a way that only a newer program knows.
    Version(u32),
    /// The heritage does not read.
    Text(String),
    /// A descriptor is not there, or is not what it should be.
    Descriptors(std::io::Error),
}

impl fmt::Display for HeritageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotForUs => write!(
                f,
                "{HANDOFF} is set, but for another process: it was inherited from a server; unset it to start one here"
            ),
            Self::Variable => write!(f, "cannot understand the variable {HANDOFF} that the old master sets"),
            Self::Version(theirs) => write!(
                f,
                "the old master hands over with version {theirs}, this program understands up to {VERSION}: it is older than the \
                 one that runs; stop that and start this afresh"
            ),
            Self::Text(why) => write!(f, "cannot read what the old master left: {why}"),
            Self::Descriptors(error) => write!(f, "cannot take over a socket: {error}"),
        }
    }
}

impl Beginning {
    /// Takes what the environment tells of. To be called once, before anything is opened.
    pub(crate) fn from_env() -> Result<Self, HeritageError> {
        let handoff = env::var(HANDOFF).ok();
        let listen_fds = number("LISTEN_FDS").filter(|count| *count > 0).unwrap_or(0);
        // systemd's variables are inherited by children that they are not meant for.
        let for_us = number("LISTEN_PID") == Some(Pid::this().as_raw());
        match handoff {
            Some(_) if !for_us => Err(HeritageError::NotForUs),
            Some(text) => Self::of_heir(&text, listen_fds),
            None if for_us => Self::of_activation(listen_fds),
            None => Ok(Self { watchdog: notify::watchdog(), ..Self::default() }),
        }
    }

    fn of_activation(count: i32) -> Result<Self, HeritageError> {
        let fds: Vec<RawFd> = (FIRST..FIRST.saturating_add(count)).collect();
        let taken = take_inherited(&fds).map_err(HeritageError::Descriptors)?;
        let listener = |(number, fd)| Listener::inherited(Address::Descriptor(number), vec![fd], None).map(Rc::new);
        let sockets: Result<_, _> = fds.into_iter().zip(taken).map(listener).collect();
        let sockets: Vec<_> = sockets.map_err(HeritageError::Descriptors)?;
        let activated = !sockets.is_empty();
        let endowment = Endowment { sockets, admin: Vec::new(), activated };
        Ok(Self { endowment, watchdog: notify::watchdog(), ..Self::default() })
    }

    fn of_heir(handoff: &str, count: i32) -> Result<Self, HeritageError> {
        let [lifeline, ready, heritage] = ["lifeline", "ready", "heritage"].map(|key| field(handoff, key));
        let (Some(lifeline), Some(ready), Some(heritage)) = (lifeline, ready, heritage) else {
            return Err(HeritageError::Variable);
        };
        let mut fds: Vec<RawFd> = (FIRST..FIRST.saturating_add(count)).collect();
        fds.extend([lifeline, ready, heritage]);
        if fds.iter().enumerate().any(|(at, fd)| *fd < FIRST || fds[..at].contains(fd)) {
            return Err(HeritageError::Variable);
        }
        let mut taken = take_inherited(&fds).map_err(HeritageError::Descriptors)?;
        let [lifeline, report, heritage] =
            taken.split_off(fds.len() - 3).try_into().expect("take_inherited gives as many as it was asked for");
        let parent = Parent { lifeline, report: report.into() };
        let begin = || {
            let heritage = Heritage::parse(&read(heritage).map_err(HeritageError::Descriptors)?)?;
            Ok((endow(&heritage, taken)?, heritage))
        };
        let (endowment, heritage) =
            begin().inspect_err(|error: &HeritageError| parent.tell(&Report::Failed(error.to_string())))?;
        Ok(Self {
            endowment,
            parent: Some(parent),
            generation: Some(Generation(heritage.generation)),
            watchdog: heritage.watchdog.map(Duration::from_micros),
        })
    }
}

fn endow(heritage: &Heritage, taken: Vec<OwnedFd>) -> Result<Endowment, HeritageError> {
    let mut endowment = Endowment { activated: heritage.activated, ..Endowment::default() };
    if heritage.sockets.iter().map(|socket| socket.count).sum::<usize>() != taken.len() {
        return Err(HeritageError::Variable);
    }
    let mut taken = taken.into_iter();
    for socket in &heritage.sockets {
        let address = socket.address.parse().map_err(HeritageError::Text)?;
        let sockets = taken.by_ref().take(socket.count).collect();
        let listener =
            Listener::inherited(address, sockets, socket.path.clone()).map_err(HeritageError::Descriptors)?;
        let listener = Rc::new(listener);
        match socket.purpose {
            Purpose::Bind => endowment.sockets.push(listener),
            Purpose::AdminBind => endowment.admin.push(listener),
        }
    }
    Ok(endowment)
}

fn read(fd: OwnedFd) -> std::io::Result<String> {
    let mut file = File::from(fd);
    file.rewind()?; // it was written by this very descriptor's twin
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn number(variable: &str) -> Option<i32> {
    env::var(variable).ok()?.parse().ok()
}

fn field(handoff: &str, key: &str) -> Option<RawFd> {
    handoff.split_ascii_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

/// Whether this process is the heir of a master.
#[must_use]
pub fn is_heir() -> bool {
    env::var(HANDOFF).is_ok_and(|text| text.split_ascii_whitespace().any(|pair| pair == "role=master"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heritage() -> Heritage {
        let socket = |purpose, address: &str| Socket { purpose, address: address.to_owned(), count: 1, path: None };
        Heritage {
            version: VERSION,
            generation: 7,
            sockets: vec![
                Socket { count: 4, ..socket(Purpose::Bind, "[::1]:8000") },
                Socket { path: Some("/run/a \"b\".sock".into()), ..socket(Purpose::Bind, "unix:a \"b\".sock") },
                socket(Purpose::AdminBind, "fd://3"),
            ],
            activated: true,
            watchdog: Some(30_000_000),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = heritage().to_text();
        let read = Heritage::parse(&text).expect("our own");
        assert_eq!(read, heritage());
        assert_eq!(read.to_text(), text);
    }

    /// The first version, as it was written when it was the only one: later programs read it, too.
    #[test]
    fn version_1_is_read_for_ever() {
        let text = r#"{"version":1,"generation":7,"sockets":[{"purpose":"bind","address":"[::1]:8000","count":4},
            {"purpose":"bind","address":"unix:a \"b\".sock","path":"/run/a \"b\".sock"},{"purpose":"admin_bind","address":"fd://3"}],
            "activated":true,"watchdog":30000000,"of a later version":[1]}"#;
        assert_eq!(Heritage::parse(text).expect("readable"), heritage());
    }

    #[test]
    fn what_only_a_newer_program_knows_is_refused_by_its_number() {
        let error = Heritage::parse(r#"{"version":99,"everything":"else"}"#).expect_err("too new");
        assert!(error.to_string().contains("version 99, this program understands up to 1"), "{error}");
    }
}
