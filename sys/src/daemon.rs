//! Leaving the terminal (daemon(7)), with a way back for the news of how the start went.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

use crate::fd::pipe;

/// Which of the processes this is after [`detach`].
#[derive(Debug)]
pub enum Role {
    /// The one that was called. It has waited for the news: the daemon's exit code, 0 if it serves; `None` if it ended without
    /// a word.
    Caller(Option<u8>),
    /// The daemon.
    Daemon(Detached),
}

/// A daemon's tie to the process that was called.
#[derive(Debug)]
pub struct Detached {
    /// Taken when the news has been told.
    caller: RefCell<Option<File>>,
    null: File,
}

/// Makes a daemon of this process: a child's child in a session of its own, so that no terminal can become its own again.
/// Standard input, output and error are left as they are until [`Detached::leave_terminal`]: what goes wrong before is still read.
///
/// The caller must be single-threaded: only the calling thread goes on in the daemon.
pub fn detach() -> io::Result<Role> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let (news, teller) = pipe()?;
    // SAFETY: single-threaded (see above), so no lock is held by a thread that is missing in the child.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        drop(teller);
        let mut word = Vec::new();
        // One that cannot be read is as silent as one that ended.
        let _ = File::from(news).take(1).read_to_end(&mut word);
        return Ok(Role::Caller(word.first().copied()));
    }
    drop(news);
    setsid()?;
    // SAFETY: as above.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        // SAFETY: ends this process without running anything of the program's, whose copy goes on.
        unsafe { libc::_exit(0) }
    }
    Ok(Role::Daemon(Detached { caller: RefCell::new(Some(teller.into())), null }))
}

impl Detached {
    /// Whether the news has not been told yet.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.caller.borrow().is_some()
    }

    /// Nowhere: for the standard descriptors of a daemon's children.
    #[must_use]
    pub fn null(&self) -> BorrowedFd<'_> {
        self.null.as_fd()
    }

    /// Lets go of standard input, output and error. `error_too`: unless it is a log file by now.
    pub fn leave_terminal(&self, error_too: bool) -> io::Result<()> {
        dup2_stdin(&self.null)?;
        dup2_stdout(&self.null)?;
        if error_too {
            dup2_stderr(&self.null)?;
        }
        Ok(())
    }

    /// Tells the caller, once, how it went: 0 for a daemon that serves, or the exit code that it leaves with.
    pub fn tell(&self, code: u8) {
        if let Some(mut caller) = self.caller.take() {
            let _ = caller.write_all(&[code]); // it was interrupted: nobody wants to know
        }
    }
}
