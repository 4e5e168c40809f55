//! What a session is told, and what it wants done.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::locust::notice::{Loss, Notice};
use crate::locust::wire::{Counts, FromMaster, Source, State, ToMaster};

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// [`Output::Dial`] succeeded, handshake included.
    Connected,
    /// There is no connection, or none any more.
    Lost(Loss),
    /// The master said something.
    Message(FromMaster),
    /// The scenario of [`Output::Read`] could be read: its classes.
    Scenario(BTreeSet<String>),
    /// It could not; why.
    NoScenario(String),
    /// [`Output::Begin`] or [`Output::Users`] cannot be done; why.
    Refused(String),
    /// After [`Output::Halt`]: no request is in flight any more.
    Idle,
    /// A signal asked the process to end.
    Terminate,
    /// [`Session::next_deadline`](super::Session::next_deadline) has passed.
    Tick,
}

/// Something is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Dial, under a name never used before.
    Dial,
    /// Close the connection.
    HangUp,
    /// Send this.
    Send(ToMaster),
    /// Send a sign of life.
    Heartbeat(State),
    /// Send what was measured since the last report, and this many users.
    Report(Counts),
    /// A new run: nothing is measured yet.
    Begin,
    /// Forget what was measured so far; the run goes on.
    Reset,
    /// There is nobody to report to: stop all users, and throw away what was measured.
    Abandon,
    /// Have these users from now on, against this target.
    Users {
        /// Of each class; classes that are not in here have none.
        users: Counts,
        /// Instead of the scenario's.
        host: Option<String>,
    },
    /// No new requests. Those in flight may go on for so long and are then cut off; when there are none, that is [`Input::Idle`].
    Halt(Duration),
    /// Another target for one class.
    Host {
        /// It.
        class: String,
        /// Its target.
        host: String,
    },
    /// Find a scenario in these.
    Read(Vec<Source>),
    /// The master's clock as of now, in Unix seconds.
    Clock(f64),
    /// Say this.
    Tell(Notice),
    /// End the process: well, or with this as the reason.
    Exit(Option<Notice>),
}
