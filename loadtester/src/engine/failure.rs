//! Errors of the system and of HTTP, in the words of the reports. The words have no detail that differs from request to
//! request: they are what failures are grouped by.

use std::io::{self, ErrorKind as Io};

use crate::problem::without_number;
use crate::stats::ErrorKind;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Of opening a connection.
    pub(crate) fn connect(error: &io::Error, authority: &str) -> Self {
        match error.kind() {
            Io::ConnectionRefused => Self::new(ErrorKind::Refused, format!("connection to {authority} refused")),
            Io::TimedOut => {
                Self::new(ErrorKind::ConnectTimeout, format!("no connection to {authority}: the network gave up"))
            }
            Io::ConnectionReset => {
                Self::new(ErrorKind::Reset, format!("connection to {authority} reset while it was opened"))
            }
            Io::AddrNotAvailable => Self::new(
                ErrorKind::Connect,
                format!("no connection to {authority}: this machine has no free port left; keep connections alive"),
            ),
            _ => Self::new(ErrorKind::Connect, format!("no connection to {authority}: {}", without_number(error))),
        }
    }

    /// Of reading or writing.
    pub(crate) fn exchange(error: &io::Error) -> Self {
        match error.kind() {
            Io::ConnectionReset | Io::BrokenPipe | Io::ConnectionAborted => {
                Self::new(ErrorKind::Reset, "connection reset before the end of the answer")
            }
            Io::UnexpectedEof => Self::new(ErrorKind::Incomplete, "connection closed before the end of the answer"),
            Io::InvalidData => Self::new(ErrorKind::Tls, format!("TLS: {}", without_number(error))),
            _ => Self::new(ErrorKind::Reset, format!("connection lost: {}", without_number(error))),
        }
    }
}
