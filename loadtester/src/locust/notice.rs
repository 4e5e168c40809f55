//! Every line a worker says about its life with the master, for standard error and for the Logs tab of the master's page.

use std::fmt;
use std::time::Duration;

use super::wire::{Counts, total};
use super::zmtp::Violation;

/// Why there is no connection (any more).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The address, which cannot be dialled, and why, as the system says.
    Unreachable(String),
    /// It was dialled and said nothing of ZeroMQ's handshake for so long.
    Mute(Duration),
    /// What it sent is not what a Locust master sends.
    Violation(Violation),
    /// It closed the connection.
    Closed,
    /// Reading or writing failed, as the system says.
    Broken(String),
    /// It did not register this worker within so long.
    NoAck(Duration),
    /// It did not answer a heartbeat for so long.
    Silent(Duration),
    /// It asked for a new connection.
    Reconnect,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "cannot be reached at {error}"),
            Self::Mute(waited) => write!(
                f,
                "accepts connections, but did not greet within {} s; is it a Locust master?",
                waited.as_secs()
            ),
            Self::Violation(violation) => write!(f, "is not understood: {violation}"),
            Self::Closed => f.write_str("closed the connection"),
            Self::Broken(error) => write!(f, "is lost: {error}"),
            Self::NoAck(waited) => write!(
                f,
                "speaks ZeroMQ, but did not register this worker within {} s; is it a Locust master?",
                waited.as_secs()
            ),
            Self::Silent(waited) => write!(f, "did not answer for {} s", waited.as_secs()),
            Self::Reconnect => f.write_str("asked for a new connection"),
        }
    }
}

/// Something an operator wants to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// Registered.
    Joined {
        /// The master's number for this worker, from 0.
        index: Option<u64>,
    },
    /// No master; said once until there is one again or the reason changes.
    NoMaster(Loss),
    /// The address is not a master's; the worker ends.
    WrongPeer(Violation),
    /// Users from now on.
    Users(Counts),
    /// The master asks for users of a class that is not in the scenario.
    UnknownClass {
        /// It.
        class: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// Users could not be started.
    Refused(String),
    /// The run is over.
    Stopped,
    /// The master said to leave.
    Dismissed {
        /// Whether it is dialled again.
        persist: bool,
    },
    /// A signal said to leave.
    Terminated,
    /// Requests that were cut off at the end of a run.
    Unfinished(u64),
    /// Requests that the lost master never heard of.
    Unreported(u64),
    /// The last words on a connection may not have been heard.
    NotHeard(Loss),
    /// The master's clock is this many seconds ahead.
    ClocksDiffer(f64),
    /// A message that cannot be read.
    Unreadable(String),
    /// A message that a locustfile sends to listeners a worker does not have.
    Custom(String),
    /// A change in the page that a worker cannot follow.
    NotFollowed {
        /// Of this class.
        class: String,
        /// These.
        keys: Vec<String>,
    },
    /// A target given to a class in the page is none; the class keeps the one it had.
    BadHost {
        /// The class.
        class: String,
        /// What is wrong.
        why: String,
    },
    /// The scenario came with the master's locustfile.
    Scenario {
        /// Its name.
        name: String,
    },
    /// The scenario could not be had from the master; the worker ends.
    NoScenario(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { index: Some(index) } => write!(f, "joined the master as worker {index}"),
            Self::Joined { index: None } => f.write_str("joined the master"),
            Self::NoMaster(loss) => write!(f, "the master {loss}; dialling again, for ever"),
            Self::WrongPeer(violation) => {
                write!(
                    f,
                    "this is not a Locust master: {violation}; give the address of its --master-bind-port (5557), not of its page"
                )
            }
            Self::Users(users) => {
                write!(f, "{} users", total(users))?;
                let classes =
                    users.iter().filter(|(_, count)| **count > 0).map(|(class, count)| format!("{class} {count}"));
                let classes: Vec<_> = classes.collect();
                if classes.is_empty() { Ok(()) } else { write!(f, ": {}", classes.join(", ")) }
            }
            Self::UnknownClass { class, known } => write!(
                f,
                "the master wants users of class {class:?}, and the scenario has {}; start the master with the output of \
                 `rustcorn-loadtester locustfile SCENARIO.TOML`",
                known.join(", ")
            ),
            Self::Refused(why) => write!(f, "no users were started: {why}"),
            Self::Stopped => f.write_str("the master stopped the run"),
            Self::Dismissed { persist: false } => {
                f.write_str("the master said quit; leaving (with --persist: dialling again)")
            }
            Self::Dismissed { persist: true } => f.write_str("the master said quit; dialling again, for ever"),
            Self::Terminated => f.write_str("asked to end; leaving the master"),
            Self::Unfinished(count) => write!(f, "{count} requests were cut off at the end, and are in no statistics"),
            Self::Unreported(count) => write!(f, "{count} requests were not reported any more"),
            Self::NotHeard(loss) => write!(f, "the last report may be lost: the master {loss}"),
            Self::ClocksDiffer(seconds) => {
                write!(f, "the master's clock differs from this one by {seconds:+.1} s; reports are in its time")
            }
            Self::Unreadable(why) => write!(f, "a message of the master is passed over: {why}"),
            Self::Custom(kind) => write!(
                f,
                "messages {kind:?} of the master are passed over: only a locustfile's own listeners know them"
            ),
            Self::NotFollowed { class, keys } => {
                write!(
                    f,
                    "the master's page changed {} of class {class:?}; a worker follows changes of host and of weight",
                    keys.join(", ")
                )
            }
            Self::BadHost { class, why } => {
                write!(f, "the master's page gave class {class:?} a host that is none: {why}")
            }
            Self::Scenario { name } => write!(f, "scenario {name:?} comes from the master"),
            Self::NoScenario(why) => write!(f, "no scenario: {why}"),
        }
    }
}
