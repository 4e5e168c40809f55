//! A child process of ours and the pipe on which it speaks; and what all of them are given.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustcorn_sys::fd::{pipe, read_some, set_nonblocking};
use rustcorn_sys::spawn::{Child, Command, Exit, Image, Kin, spawn};

use super::generation::{c_string, environment};
use crate::fleet::Fate;
use crate::listeners::Listener;

/// A process with the pipe on which it tells how its boot ended.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pipe: Option<OwnedFd>,
    /// The beginning of a line that has not ended yet.
    partial: Vec<u8>,
    /// Why it will end, in its own words.
    pub(super) reason: Option<String>,
    pub(super) leaving: bool,
}

/// What a process says on its pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// It accepts connections.
    Ready,
    /// It begins to drain.
    Leaving,
    /// It has served as many requests as it shall.
    Spent,
}

/// What one process is given.
pub(super) struct Gift<'a> {
    pub(super) image: &'a Image,
    pub(super) args: &'a [CString],
    pub(super) listeners: &'a [Rc<Listener>],
    /// The handoff's words before the descriptors.
    pub(super) who: String,
    /// Descriptors by the name that the handoff has for them.
    pub(super) fds: &'a [(&'a str, BorrowedFd<'a>)],
    /// The handoff's words after them.
    pub(super) what: String,
    pub(super) kin: Kin,
    /// Its working directory and its environment less the handoff; `None`: as all children have them.
    pub(super) setting: Option<(BorrowedFd<'a>, Vec<CString>)>,
}

/// What all processes are given.
#[derive(Debug)]
pub(super) struct Nursery {
    /// They notice by its end-of-file that the master is gone: its only writer is this process.
    lifeline: OwnedFd,
    _never_written: OwnedFd,
    environment: Vec<CString>,
}

impl Nursery {
    pub(super) fn new() -> io::Result<Self> {
        let (lifeline, never_written) = pipe()?;
        Ok(Self { lifeline, _never_written: never_written, environment: environment() })
    }

    pub(super) fn spawn(&self, gift: &Gift<'_>) -> io::Result<Process> {
        let (pipe, ready) = pipe()?;
        set_nonblocking(pipe.as_fd())?;
        let mut fds: Vec<BorrowedFd<'_>> = gift.listeners.iter().map(|listener| listener.as_fd()).collect();
        let listeners = fds.len();
        let mut handoff = format!("RUSTCORN_HANDOFF=v=1 {}", gift.who);
        for (name, fd) in [("lifeline", self.lifeline.as_fd()), ("ready", ready.as_fd())].iter().chain(gift.fds) {
            handoff += &format!(" {name}={}", 3 + fds.len());
            fds.push(*fd);
        }
        let names: Vec<String> = (0..listeners).map(|number| format!("listener-{number}")).collect();
        let own =
            [format!("LISTEN_FDS={listeners}"), format!("LISTEN_FDNAMES={}", names.join(":")), handoff + &gift.what];
        let (folder, mut env) = match &gift.setting {
            Some((folder, environment)) => (Some(*folder), environment.clone()),
            None => (None, self.environment.clone()),
        };
        env.extend(own.iter().map(|variable| c_string(variable.as_bytes())));
        let command = Command {
            image: gift.image,
            args: gift.args,
            env: &env,
            fds: &fds,
            kin: gift.kin,
            folder,
            report: ready.as_fd(),
        };
        let child = spawn(&command)?;
        Ok(Process { child, pipe: Some(pipe), partial: Vec::new(), reason: None, leaving: false })
    }
}

impl Process {
    /// What to wait for: its end, and its messages.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.child.handle.as_fd()].into_iter().chain(self.pipe.as_ref().map(AsFd::as_fd))
    }

    /// Takes what it said meanwhile.
    pub(super) fn listen(&mut self) -> Vec<Word> {
        let mut words = Vec::new();
        while let Some(pipe) = &self.pipe {
            match read_some(pipe) {
                Ok(Some(bytes)) if bytes.is_empty() => break,
                Ok(Some(bytes)) => self.hear(&bytes, &mut words),
                // It has closed the pipe, or it cannot be read: either way there is nothing more to come.
                Ok(None) | Err(_) => self.pipe = None,
            }
        }
        words
    }

    fn hear(&mut self, bytes: &[u8], words: &mut Vec<Word>) {
        const LONGEST: usize = 16 * 1024; // one that never ends its line must not fill the master's memory
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]);
            match line.split_once('=') {
                Some(("READY", "1")) => words.push(Word::Ready),
                Some(("LEAVING", "1")) => {
                    self.leaving = true;
                    words.push(Word::Leaving);
                }
                Some(("SPENT", "1")) => words.push(Word::Spent),
                Some(("FAILED", reason)) => self.reason = Some(reason.to_owned()),
                Some(("EXEC", errno)) => self.reason = Some(exec_failed(errno)),
                _ => {} // a newer worker may say more than we know
            }
        }
        if self.partial.len() > LONGEST {
            self.partial.clear();
        }
    }
}

/// In the policy's words.
pub(super) const fn fate(exit: Exit) -> Fate {
    match exit {
        Exit::Code(code) => Fate::Code(code),
        Exit::Signal(number) => Fate::Signal(number),
    }
}

fn exec_failed(errno: &str) -> String {
    let error =
        errno.parse().map_or_else(|_| errno.to_owned(), |errno| io::Error::from_raw_os_error(errno).to_string());
    format!("the program cannot be executed: {error}")
}
