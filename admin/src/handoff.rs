//! What the master gives the admin process at spawn: a socket, the scoreboard, and a few words.
//!
//! `RUSTCORN_HANDOFF="v=1 role=admin lifeline=4 ready=5 log=6 scoreboard=7 min_ready=1 loglevel=info log_format=text
//! name=hello"`, and the listener as systemd would hand it over.

use std::env;
use std::fmt;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use rustcorn_sys::fd::take_inherited;
use rustcorn_sys::log::syslog::Plan;
use rustcorn_sys::log::{Format, Level};

const VARIABLE: &str = "RUSTCORN_HANDOFF";
const LISTENER: RawFd = 3;

/// Everything that an admin process is given.
#[derive(Debug)]
pub struct Handoff {
    pub(crate) listener: OwnedFd,
    pub(crate) scoreboard: OwnedFd,
    pub(crate) lifeline: OwnedFd,
    pub(crate) ready: OwnedFd,
    /// On which another log file may come.
    pub(crate) log: OwnedFd,
    pub(crate) words: Words,
}

/// What is no descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Words {
    /// The setting `min_ready_workers`.
    pub(crate) min_ready: usize,
    pub(crate) loglevel: Level,
    pub(crate) log_format: Format,
    pub(crate) syslog: Option<Plan>,
    /// The application's.
    pub(crate) name: String,
}

/// Master and admin process are of one image, so this is somebody else's doing.
#[derive(Debug)]
pub enum HandoffError {
    /// The variables were meant for another process and only inherited, or do not hold what they should.
    Variable,
    /// A descriptor is not there.
    Descriptors(io::Error),
}

impl fmt::Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable => write!(f, "{VARIABLE} is not for this process; unset it to start a server here"),
            Self::Descriptors(error) => write!(f, "a descriptor that the master promised is missing: {error}"),
        }
    }
}

impl std::error::Error for HandoffError {}

impl Handoff {
    /// Takes over what the environment tells of. `None`: this process is no admin process.
    ///
    /// # Errors
    /// See [`HandoffError`].
    #[must_use]
    pub fn from_env() -> Option<Result<Self, HandoffError>> {
        let text = env::var(VARIABLE).ok().filter(|text| field::<String>(text, "role").as_deref() == Some("admin"))?;
        let ours = env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok()) == Some(std::process::id());
        Some(parse(&text).filter(|_| ours).ok_or(HandoffError::Variable).and_then(|(fds, words)| {
            let taken = take_inherited(&fds).map_err(HandoffError::Descriptors)?;
            let [listener, lifeline, ready, log, scoreboard] =
                taken.try_into().expect("take_inherited gives as many as it was asked for");
            Ok(Self { listener, scoreboard, lifeline, ready, log, words })
        }))
    }
}

/// Listener, lifeline, ready pipe, log channel, scoreboard; and the words.
fn parse(text: &str) -> Option<([RawFd; 5], Words)> {
    (field::<u32>(text, "v")? == 1).then_some(())?;
    let fds =
        [LISTENER, field(text, "lifeline")?, field(text, "ready")?, field(text, "log")?, field(text, "scoreboard")?];
    let distinct = fds.iter().enumerate().all(|(at, fd)| *fd >= LISTENER && !fds[..at].contains(fd));
    let words = Words {
        min_ready: field(text, "min_ready")?,
        loglevel: field(text, "loglevel")?,
        log_format: field(text, "log_format")?,
        syslog: match field(text, "syslog") {
            Some(address) => {
                let (facility, tag) = (field(text, "syslog_facility")?, field(text, "syslog_tag")?);
                Some(Plan { address, facility, tag })
            }
            None if text.contains(" syslog=") => return None,
            None => None,
        },
        name: text.split_once(" name=")?.1.to_owned(),
    };
    distinct.then_some((fds, words))
}

fn field<T: std::str::FromStr>(text: &str, key: &str) -> Option<T> {
    text.split_ascii_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "v=1 role=admin lifeline=4 ready=5 log=7 scoreboard=6 min_ready=2 loglevel=warning log_format=json name=my app=1";

    #[test]
    fn a_handoff_is_understood() {
        let mut words = Words {
            min_ready: 2,
            loglevel: Level::Warning,
            log_format: Format::Json,
            syslog: None,
            name: "my app=1".into(),
        };
        assert_eq!(parse(GOOD), Some(([3, 4, 5, 7, 6], words.clone())));
        let syslog = "json syslog=unix:///dev/log syslog_facility=local1 syslog_tag=rustcorn.a.error";
        let plan = Plan {
            address: "unix:///dev/log".parse().unwrap(),
            facility: "local1".parse().unwrap(),
            tag: "rustcorn.a.error".into(),
        };
        words.syslog = Some(plan);
        assert_eq!(parse(&GOOD.replace("json", syslog)), Some(([3, 4, 5, 7, 6], words)));
        assert_eq!(parse(&GOOD.replace("json", &syslog.replace("unix://", "unix"))), None);
    }

    #[test]
    fn anything_else_is_refused() {
        for (from, to) in [("v=1", "v=2"), ("ready=5", "ready=4"), ("lifeline=4", "lifeline=3"), ("min_ready=2 ", "")] {
            assert_eq!(parse(&GOOD.replacen(from, to, 1)), None, "{to}");
        }
    }
}
