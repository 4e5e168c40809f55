//! The way on which the master gives this worker another log file, when the one it has was renamed: the worker itself may have
//! given up the right to open it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustcorn_sys::log::file::{take_next, take_next_for};
use rustcorn_sys::log::{Level, line};

use crate::handoff::Ready;

/// The worker's end.
#[derive(Debug)]
pub(crate) struct LogChannel {
    channel: OwnedFd,
    /// Where the master hears of it.
    master: Ready,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Standard error, and standard output if that goes to the log, too.
    Log { capture_output: bool },
    /// The file of the access log.
    AccessLog(Arc<OwnedFd>),
}

impl LogChannel {
    pub(crate) fn new(channel: OwnedFd, ready: &Ready, capture_output: bool) -> io::Result<Self> {
        Ok(Self { channel, master: ready.try_clone()?, what: What::Log { capture_output } })
    }

    /// The same for the access log, which is in `file`.
    pub(crate) fn access_log(channel: OwnedFd, ready: &Ready, file: Arc<OwnedFd>) -> io::Result<Self> {
        Ok(Self { channel, master: ready.try_clone()?, what: What::AccessLog(file) })
    }

    /// Takes what was given, and goes over to it. False if there will be nothing more.
    pub(crate) fn take(&self) -> bool {
        let (channel, master) = (self.channel.as_fd(), &self.master);
        let taken = match &self.what {
            What::Log { capture_output } => take_next(channel, *capture_output).inspect(|_| master.log_taken()),
            What::AccessLog(file) => take_next_for(file.as_fd(), channel).inspect(|_| master.access_log_taken()),
        };
        match taken {
            Ok(true) => true,
            Ok(false) => false,
            Err(error) => {
                line(Level::Error, format_args!("Cannot go over to the new log file: {error}"));
                false
            }
        }
    }
}

impl AsFd for LogChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
