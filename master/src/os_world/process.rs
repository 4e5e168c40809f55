//! A child process of ours and the pipe on which it speaks; and what all of them are given.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustcorn_scoreboard::{Deputy, State};
use rustcorn_sys::daemon::Detached;
use rustcorn_sys::error::without_number;
use rustcorn_sys::fd::{pipe, read_some, set_nonblocking};
use rustcorn_sys::signal::Sig;
use rustcorn_sys::spawn::{Attributes, Child, Command, Exit, Image, Kin, spawn};

use super::error_log::LogChannel;
use super::generation::c_string;
use crate::fleet::Fate;
use crate::lanes::Seat;
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
    /// It has served as much as it shall.
    pub(super) spent: bool,
    /// Of a foreign one, which does not write to the scoreboard itself.
    pub(super) deputy: Option<Deputy>,
    /// With `reuse_port`: its lane.
    pub(super) seat: Option<Seat>,
    /// It was sent a SIGKILL.
    pub(super) killed: bool,
    /// An heir opens a log of its own.
    pub(super) log: Option<LogChannel>,
    /// A worker whose access log is a file.
    pub(super) access_log: Option<LogChannel>,
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
    /// What it is told besides its listeners; `None`: it would not understand.
    pub(super) handoff: Option<Handoff<'a>>,
    /// Standard error.
    pub(super) log: BorrowedFd<'a>,
    /// Whether that is standard output, too.
    pub(super) capture_output: bool,
    /// The file of the access log, for whoever is handed it over.
    pub(super) access_log: Option<BorrowedFd<'a>>,
    pub(super) kin: Kin,
    /// In what it differs from the master.
    pub(super) attributes: Attributes<'a>,
    /// Its environment less the handoff.
    pub(super) env: Vec<CString>,
}

/// What a process built on rustcorn is told.
pub(super) struct Handoff<'a> {
    /// Words before the descriptors.
    pub(super) who: String,
    /// Descriptors by name.
    pub(super) fds: &'a [(&'a str, BorrowedFd<'a>)],
    /// Words after them.
    pub(super) what: String,
}

/// They mean something to a master alone, and are sent to all by a terminal or by mistake (USR1 by the master itself, which may
/// find one that cannot hear it yet). The first is ignored by an heir only if it was by its parent (nohup).
const NOT_FOR_THEM: [Sig; 6] = [Sig::Hup, Sig::Ttin, Sig::Ttou, Sig::Usr1, Sig::Usr2, Sig::Winch];

/// What all processes are given.
#[derive(Debug)]
pub(super) struct Nursery {
    /// They notice by its end-of-file that the master is gone: its only writer is this process.
    lifeline: OwnedFd,
    _never_written: OwnedFd,
    /// The master is a daemon: nobody reads what its children write to a terminal that was there at the start.
    daemon: Option<Rc<Detached>>,
}

impl Nursery {
    pub(super) fn new(daemon: Option<Rc<Detached>>) -> io::Result<Self> {
        let (lifeline, never_written) = pipe()?;
        Ok(Self { lifeline, _never_written: never_written, daemon })
    }

    pub(super) fn spawn(&self, gift: &Gift<'_>) -> io::Result<Process> {
        let (pipe, ready) = pipe()?;
        set_nonblocking(pipe.as_fd())?;
        let mut fds: Vec<BorrowedFd<'_>> = gift.listeners.iter().flat_map(|listener| listener.sockets()).collect();
        let sockets = fds.len();
        let takes_logs = gift.kin == Kin::Ward && gift.handoff.is_some();
        let (log, taker) = takes_logs.then(|| LogChannel::new(gift.log)).transpose()?.unzip();
        let access_file = gift.access_log.filter(|_| takes_logs);
        let (access_log, access_taker) = access_file.map(LogChannel::new).transpose()?.unzip();
        let handoff = gift.handoff.as_ref().map(|Handoff { who, fds: given, what }| {
            let mut words = format!("RUSTCORN_HANDOFF=v=1 {who}");
            let own = [("lifeline", self.lifeline.as_fd()), ("ready", ready.as_fd())];
            let taker = taker.iter().map(|taker| ("log", taker.as_fd()));
            let access = access_file.zip(access_taker.as_ref());
            let access = access.into_iter().flat_map(|(file, taker)| [("access", file), ("access_log", taker.as_fd())]);
            for (name, fd) in own.into_iter().chain(taker).chain(access).chain(given.iter().copied()) {
                words += &format!(" {name}={}", 3 + fds.len());
                fds.push(fd);
            }
            words + what
        });
        let named =
            |(number, listener): (usize, &Rc<Listener>)| vec![format!("listener-{number}"); listener.sockets().len()];
        let names: Vec<String> = gift.listeners.iter().enumerate().flat_map(named).collect();
        let own = [format!("LISTEN_FDS={sockets}"), format!("LISTEN_FDNAMES={}", names.join(":"))];
        let mut env = gift.env.clone();
        env.extend(own.iter().chain(&handoff).map(|variable| c_string(variable.as_bytes())));
        // Standard error is the log. A daemon has left the terminal, so its children do not begin there either.
        let nowhere = self.daemon.as_ref().map(|daemon| daemon.null());
        let stdout = if gift.capture_output { Some(gift.log) } else { nowhere };
        let child = spawn(&Command {
            image: gift.image,
            args: gift.args,
            env: &env,
            fds: &fds,
            kin: gift.kin,
            ignored: if gift.kin == Kin::Ward { &NOT_FOR_THEM } else { &NOT_FOR_THEM[1..] },
            report: ready.as_fd(),
            attributes: Attributes { stdio: [nowhere, stdout, Some(gift.log)], ..gift.attributes },
        })?;
        Ok(Process {
            child,
            pipe: Some(pipe),
            partial: Vec::new(),
            reason: None,
            leaving: false,
            spent: false,
            deputy: None,
            seat: None,
            killed: false,
            log,
            access_log,
        })
    }
}

impl Process {
    /// What to wait for: its end, and its messages.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.child.handle.as_fd()].into_iter().chain(self.pipe.as_ref().map(AsFd::as_fd))
    }

    /// It was told to go, or goes by itself.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        if let Some(seat) = &self.seat {
            seat.leave();
        }
        if let Some(deputy) = &self.deputy {
            deputy.set_state(State::Draining);
        }
    }

    /// Sends it a signal. One that has been reaped in the meantime needs none: the news of its end is on its way.
    pub(super) fn signal(&mut self, sig: Sig) -> io::Result<()> {
        self.killed |= sig == Sig::Kill;
        self.child.handle.send(sig)
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
                Some(("READY", "1")) => {
                    if let Some(seat) = self.seat.as_ref().filter(|_| !self.leaving) {
                        seat.serve();
                    }
                    words.push(Word::Ready);
                }
                Some(("LEAVING", "1")) => {
                    self.leave();
                    words.push(Word::Leaving);
                }
                Some(("SPENT", "1")) => {
                    self.spent = true;
                    words.push(Word::Spent);
                }
                Some(("LOG", "taken")) => self.log.iter_mut().for_each(LogChannel::taken),
                Some(("ACCESS_LOG", "taken")) => self.access_log.iter_mut().for_each(LogChannel::taken),
                Some(("LOG", "lost")) => self.log.iter_mut().for_each(LogChannel::lost),
                Some(("ACCESS_LOG", "lost")) => self.access_log.iter_mut().for_each(LogChannel::lost),
                Some(("LOG", "reopen")) => self.log.iter_mut().chain(&mut self.access_log).for_each(LogChannel::asked),
                Some(("FAILED", reason)) => self.reason = Some(reason.to_owned()),
                Some((step @ ("EXEC" | "DIRECTORY" | "USER" | "STDIO"), errno)) => {
                    self.reason = Some(spawn_failed(step, errno));
                }
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

/// What a child said that never came to be the program.
fn spawn_failed(step: &str, errno: &str) -> String {
    let error =
        errno.parse().map_or_else(|_| errno.to_owned(), |errno| without_number(&io::Error::from_raw_os_error(errno)));
    let what = match step {
        "DIRECTORY" => "its directory (chdir) cannot be entered",
        "USER" => "it cannot become the configured user and group",
        "STDIO" => "it cannot be detached from the terminal",
        _ => "the program cannot be executed",
    };
    format!("{what}: {error}")
}
