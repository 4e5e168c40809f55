//! Why a worker does not serve, and who is told.

use std::process::ExitCode;
use std::{fmt, io};

use rustcorn_sys::Pid;
use rustcorn_sys::log::{Level, line};

use crate::handoff::Ready;

/// Why a worker does not serve. Exit codes 3 and 4, as in gunicorn.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something between master and worker is broken.
    Boot(String),
    /// The application does not want to.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot(reason) | Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// Words an error of the operating system.
pub(super) fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Boot(format!("cannot {what}: {error}"))
}

pub(super) fn exit(result: &Result<(), Failure>) -> ExitCode {
    line(Level::Info, format_args!("Worker exiting (pid: {})", Pid::this()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Boot(_)) => ExitCode::from(3),
        Err(Failure::Refused(_)) => ExitCode::from(4),
    }
}

/// Tells the master, and with it the operator, why this worker does not come up.
pub(super) fn report(ready: &Ready, failure: &Failure) {
    line(Level::Error, format_args!("Worker (pid: {}) failed to boot: {failure}", Pid::this()));
    ready.failed(&failure.to_string());
}
