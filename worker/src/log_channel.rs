//! The way on which the master gives this worker another log file, when the one it has was renamed: the worker itself may have
//! given up the right to open it.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustcorn_sys::log::file::{take_next, take_next_for};
use rustcorn_sys::log::{Level, line};
use rustcorn_sys::passing::is_lost;

use crate::handoff::Ready;

/// The worker's end.
#[derive(Debug)]
pub(crate) struct LogChannel {
    channel: OwnedFd,
    /// Where the master hears of it.
    master: Ready,
    what: What,
    /// What was given last found no room.
    lost: Cell<bool>,
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
        Ok(Self { channel, master: ready.try_clone()?, what: What::Log { capture_output }, lost: Cell::new(false) })
    }

    /// The same for the access log, which is in `file`.
    pub(crate) fn access_log(channel: OwnedFd, ready: &Ready, file: Arc<OwnedFd>) -> io::Result<Self> {
        Ok(Self { channel, master: ready.try_clone()?, what: What::AccessLog(file), lost: Cell::new(false) })
    }

    /// Takes what was given, and goes over to it. False if there will be nothing more.
    pub(crate) fn take(&self) -> bool {
        let (channel, master) = (self.channel.as_fd(), &self.master);
        let taken = match &self.what {
            What::Log { capture_output } => take_next(channel, *capture_output).inspect(|_| master.log_taken()),
            What::AccessLog(file) => take_next_for(file.as_fd(), channel).inspect(|_| master.access_log_taken()),
        };
        match taken {
            Ok(there_may_be_more) => {
                self.lost.set(false);
                there_may_be_more
            }
            Err(error) if is_lost(&error) => {
                if !self.lost.replace(true) {
                    let message = format_args!("Cannot go over to the new log file yet: {error}; trying again");
                    line(Level::Warning, message);
                }
                match &self.what {
                    What::Log { .. } => master.log_lost(),
                    What::AccessLog(_) => master.access_log_lost(),
                }
                true
            }
            Err(error) => {
                line(Level::Error, format_args!("Cannot go over to the new log file: {error}"));
                false
            }
        }
    }

    /// Whether it is to be asked for again.
    pub(crate) fn has_lost(&self) -> bool {
        self.lost.get()
    }

    /// Asks for it again.
    pub(crate) fn ask_again(&self) {
        self.master.reopen_log();
    }
}

impl AsFd for LogChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
