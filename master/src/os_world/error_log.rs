//! Where lines go. The master opens the file of `errorlog` for everybody: it is standard error of all its processes. When it has
//! been opened anew they are given it, since those that gave up their privileges could not open it themselves.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustcorn_config::{Loaded, Problem};
use rustcorn_sys::log::file::{Identity, become_standard_error, open};
use rustcorn_sys::passing;

use super::generation::Refusal;
use super::{OsWorld, complain};
use crate::listeners::without_number;
use crate::notice::Notice;

/// Where the lines of a generation go.
#[derive(Debug)]
pub(crate) struct ErrorLog {
    /// `None`: standard error as the master found it.
    path: Option<PathBuf>,
    file: OwnedFd,
    /// Why it could not be opened anew, as it was said.
    said: Option<Notice>,
}

impl ErrorLog {
    /// Opens the file that was configured. `inherited`: standard error as the master found it.
    pub(crate) fn open(loaded: &Loaded, inherited: BorrowedFd<'_>) -> Result<Self, Refusal> {
        let path = loaded.settings.errorlog.clone();
        let file = match &path {
            None => inherited.try_clone_to_owned(),
            Some(path) => open(path),
        };
        let file = file.map_err(|error| {
            let name = path.as_ref().map_or_else(|| "standard error".into(), |path| path.display().to_string());
            let text = format!("cannot open {name}: {}", without_number(&error));
            Problem::new(loaded.origins.get("errorlog"), "errorlog", &text).to_string()
        })?;
        Ok(Self { path, file, said: None })
    }

    /// Whether lines would go elsewhere with the other one.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        let identity = |log: &Self| Identity::of(log.file.as_fd()).ok();
        identity(self) != identity(other)
    }

    /// Whether it is a file of its own.
    pub(crate) const fn has_file(&self) -> bool {
        self.path.is_some()
    }

    /// Makes it this process's own.
    pub(crate) fn use_it(&self) {
        complain(become_standard_error(self.file.as_fd()), || "write to the log".to_owned());
    }

    /// Goes over to the file that has the name now. Whether there is one; if it cannot be opened, the old one stays.
    pub(crate) fn reopen(&mut self) -> bool {
        self.said = None;
        let Some(file) = self.again() else { return false };
        self.file = file;
        true
    }

    /// The file that has the name now, for somebody who asks for it; nothing changes for others.
    pub(crate) fn again(&mut self) -> Option<OwnedFd> {
        let path = self.path.as_ref()?;
        let error = match open(path) {
            Ok(file) => return Some(file),
            Err(error) => without_number(&error),
        };
        let notice = Some(Notice::LogNotReopened { path: path.clone(), error });
        // Everybody asks after a USR1; it is one piece of news.
        if self.said != notice {
            notice.iter().for_each(Notice::say);
            self.said = notice;
        }
        None
    }
}

impl AsFd for ErrorLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The way on which a process is given another log while it runs.
#[derive(Debug)]
pub(super) struct LogChannel {
    socket: OwnedFd,
    /// What it has, or will have.
    given: Option<Identity>,
    /// It has not said that it took the last one. A program that knows nothing of this never does.
    untaken: bool,
    /// Once it has, it shall be given the next.
    wanted: bool,
}

impl LogChannel {
    /// The master's end, and the process's own. `log`: what the process starts with.
    pub(super) fn new(log: BorrowedFd<'_>) -> io::Result<(Self, OwnedFd)> {
        let (socket, theirs) = passing::channel()?;
        Ok((Self { socket, given: Identity::of(log).ok(), untaken: false, wanted: false }, theirs))
    }

    /// It says that it took what it was given.
    pub(super) const fn taken(&mut self) {
        self.untaken = false;
    }

    /// It says that it wants the file that has the name now.
    pub(super) const fn asked(&mut self) {
        self.wanted = true;
    }

    /// There is none to give.
    pub(super) const fn forget(&mut self) {
        self.wanted = false;
    }

    /// Whether it is time to give it what it wants.
    pub(super) const fn is_due(&self) -> bool {
        self.wanted && !self.untaken
    }

    /// Gives it `log`, unless it has that. False if it has not taken the one before; it gets the next as soon as it does.
    pub(super) fn give(&mut self, log: BorrowedFd<'_>) -> io::Result<bool> {
        // One under way at most: whoever never takes any must not make the kernel keep them all.
        self.wanted = self.untaken;
        let identity = Some(Identity::of(log)?);
        if self.untaken || self.given == identity {
            return Ok(!self.untaken);
        }
        passing::give(self.socket.as_fd(), log)?;
        (self.given, self.untaken) = (identity, true);
        Ok(true)
    }
}

impl OsWorld {
    /// Everybody goes over to the files that have the names now; each process to its generation's.
    pub(super) fn reopen_logs(&mut self) {
        let reopened = self.generations.values_mut().filter_map(|resources| resources.log.reopen().then_some(()));
        if reopened.count() > 0 {
            self.use_log();
        }
    }

    /// Goes over to the log of the generation in force, with everybody who has no other.
    pub(super) fn use_log(&mut self) {
        let (generations, in_force) = (&self.generations, self.in_force);
        let Some(present) = generations.get(&in_force) else { return };
        present.log.use_it();
        for (id, process) in self.children.processes() {
            let Some(channel) = &mut process.log else { continue };
            let log = &generations.get(&id.generation).unwrap_or(present).log;
            match channel.give(log.as_fd()) {
                Ok(true) => {}
                Ok(false) => Notice::LogNotTaken { slot: id.slot, pid: process.child.pid }.say(),
                Err(error) => complain(Err(error), || format!("give the log to worker {}", id.slot)),
            }
        }
        if let Some(channel) = self.admin.process().and_then(|process| process.log.as_mut()) {
            let given = channel.give(present.log.as_fd());
            complain(given.map(drop), || "give the log to the admin process".to_owned());
        }
    }

    /// Gives the file that has the name now to those who asked for it, or had not taken the one before.
    pub(super) fn answer_for_logs(&mut self) {
        let (generations, in_force) = (&mut self.generations, self.in_force);
        let workers = self.children.processes().map(|(id, process)| (id.generation, &mut process.log));
        let admin = self.admin.process().map(|process| (in_force, &mut process.log));
        for (generation, log) in workers.chain(admin).filter_map(|(id, log)| Some((id, log.as_mut()?))) {
            if !log.is_due() {
                continue;
            }
            let generation = if generations.contains_key(&generation) { generation } else { in_force };
            let Some(file) = generations.get_mut(&generation).and_then(|resources| resources.log.again()) else {
                log.forget();
                continue;
            };
            complain(log.give(file.as_fd()).map(drop), || "give the log to a process".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use rustcorn_sys::fd::pipe;

    use super::*;

    #[test]
    fn one_log_at_a_time_is_under_way() {
        let [first, second, third] = [pipe().unwrap().1, pipe().unwrap().1, pipe().unwrap().1];
        let (mut channel, theirs) = LogChannel::new(first.as_fd()).unwrap();
        assert!(channel.give(first.as_fd()).unwrap() && !channel.untaken, "it has that one");
        assert!(channel.give(second.as_fd()).unwrap() && channel.untaken);
        assert!(!channel.give(third.as_fd()).unwrap() && !channel.is_due());
        let taken = passing::take(theirs.as_fd()).unwrap().unwrap();
        assert_eq!(Identity::of(taken.as_fd()).unwrap(), Identity::of(second.as_fd()).unwrap());
        channel.taken();
        assert!(channel.is_due(), "there is a newer one");
        assert!(channel.give(third.as_fd()).unwrap() && !channel.is_due());
        channel.taken();
        assert!(!channel.is_due());
        channel.asked();
        assert!(channel.is_due());
        assert!(channel.give(third.as_fd()).unwrap() && !channel.is_due() && !channel.untaken);
    }
}
