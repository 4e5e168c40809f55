//! The file that standard error is.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::passing;

/// Owner and group, as log files are; the umask may take more away.
const MODE: u32 = 0o640;

/// Opens a file to append lines to, and makes it if it is not there. Never waits, not even for a named pipe's reader.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let file = open_nonblocking(path)?;
    // Whoever writes to it without looking first (a library, a panic) is not prepared to be told to come again.
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(file)
}

/// As [`open`], for those who are prepared to be told so: of several who look whether a pipe has room, all but one may find none.
pub fn open_nonblocking(path: &Path) -> io::Result<OwnedFd> {
    // With O_APPEND each write goes to the end, whoever else writes.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    Ok(OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?.into())
}

/// What standard error is now, to go back to it.
pub fn standard_error() -> io::Result<OwnedFd> {
    io::stderr().as_fd().try_clone_to_owned() // close-on-exec, and beyond the standard ones
}

/// From now on everything that this process writes to standard error goes to `file`: in one step, so that no line is torn or
/// lost, whichever thread writes it.
pub fn become_standard_error(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::unistd::dup2_stderr(file)?)
}

/// From now on what this process writes to the descriptor `old` goes to `new`: in one step, as above.
pub fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are open, as they are borrowed; that of `old` stays open and its owner's.
    let result = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
    nix::errno::Errno::result(result)?;
    Ok(())
}

/// Waits for the next file given on `channel` and makes it standard error, and standard output if that is captured. False: the
/// other side is gone.
pub fn take_next(channel: BorrowedFd<'_>, capture_output: bool) -> io::Result<bool> {
    let Some(file) = passing::take(channel)? else { return Ok(false) };
    become_standard_error(file.as_fd())?;
    if capture_output {
        nix::unistd::dup2_stdout(&file)?;
    }
    Ok(true)
}

/// As [`take_next`], for a file that is not standard error: it takes the place of `old`.
pub fn take_next_for(old: BorrowedFd<'_>, channel: BorrowedFd<'_>) -> io::Result<bool> {
    let Some(file) = passing::take(channel)? else { return Ok(false) };
    replace(old, file.as_fd())?;
    Ok(true)
}
