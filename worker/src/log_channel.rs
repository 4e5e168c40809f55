//! The way on which the master gives this worker another log file, when the one it has was renamed: the worker itself may have
//! given up the right to open it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustcorn_sys::log::file::take_next;
use rustcorn_sys::log::{Level, line};

use crate::handoff::Ready;

/// The worker's end.
#[derive(Debug)]
pub(crate) struct LogChannel {
    channel: OwnedFd,
    /// Where the master hears of it.
    master: Ready,
    /// Standard output goes to the log, too.
    capture_output: bool,
}

impl LogChannel {
    pub(crate) fn new(channel: OwnedFd, ready: &Ready, capture_output: bool) -> io::Result<Self> {
        Ok(Self { channel, master: ready.try_clone()?, capture_output })
    }

    /// Takes what was given, and goes over to it. False if there will be nothing more.
    pub(crate) fn take(&self) -> bool {
        match take_next(self.channel.as_fd(), self.capture_output) {
            Ok(true) => {
                self.master.log_taken();
                true
            }
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
