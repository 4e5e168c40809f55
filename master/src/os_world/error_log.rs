//! Where lines go. The master opens the files of `errorlog` and `accesslog` for everybody; the first is standard error of all its
//! processes. When they have been opened anew they are given them, since those that gave up their privileges could not open them
//! themselves.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustcorn_config::{AccessLog, Loaded, Problem};
use rustcorn_sys::error::without_number;
use rustcorn_sys::file::FileId;
use rustcorn_sys::log::file::{become_standard_error, open, open_nonblocking};
use rustcorn_sys::passing;

use super::generation::{Refusal, Resources};
use super::{OsWorld, complain};
use crate::notice::Notice;

/// A file that lines of a generation go to.
#[derive(Debug)]
pub(crate) struct LogFile {
    /// `None`: standard error as the master found it.
    path: Option<PathBuf>,
    file: OwnedFd,
    /// How it is opened.
    open: fn(&Path) -> io::Result<OwnedFd>,
    /// Why it could not be opened anew, as it was said.
    said: Option<Notice>,
}

impl LogFile {
    /// Opens the files that were configured. `inherited`: standard error as the master found it.
    pub(crate) fn open_both(loaded: &Loaded, inherited: BorrowedFd<'_>) -> Result<(Self, Option<Self>), Refusal> {
        Ok((Self::open(loaded, inherited)?, Self::open_access_log(loaded)?))
    }

    fn open(loaded: &Loaded, inherited: BorrowedFd<'_>) -> Result<Self, Refusal> {
        let path = loaded.settings.errorlog.clone();
        let file = match &path {
            None => inherited.try_clone_to_owned(),
            Some(path) => open(path),
        };
        let file = file.map_err(|error| refusal(loaded, "errorlog", path.as_deref(), &error))?;
        Ok(Self { path, file, open, said: None })
    }

    /// For the lines of requests; `None` where they go to no file.
    fn open_access_log(loaded: &Loaded) -> Result<Option<Self>, Refusal> {
        let AccessLog::File(path) = loaded.settings.accesslog.clone() else { return Ok(None) };
        let open = open_nonblocking; // the thread that writes to it looks
        let file = open(&path).map_err(|error| refusal(loaded, "accesslog", Some(&path), &error))?;
        Ok(Some(Self { path: Some(path), file, open, said: None }))
    }

    /// Whether lines would go elsewhere with the other one.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        let identity = |log: &Self| FileId::of(log.file.as_fd()).ok();
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
        let error = match (self.open)(path) {
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

fn refusal(loaded: &Loaded, key: &str, path: Option<&Path>, error: &io::Error) -> Refusal {
    let name = path.map_or_else(|| "standard error".into(), |path| path.display().to_string());
    let text = format!("cannot open {name}: {}", without_number(error));
    Problem::new(loaded.origins.get(key), key, &text).to_string().into()
}

impl AsFd for LogFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The way on which a process is given another log while it runs.
#[derive(Debug)]
pub(super) struct LogChannel {
    socket: OwnedFd,
    /// What it has, or will have.
    given: Option<FileId>,
    /// It has not said that it took the last one. A program that knows nothing of this never does.
    untaken: bool,
    /// Once it has, it shall be given the next.
    wanted: bool,
}

impl LogChannel {
    /// The master's end, and the process's own. `log`: what the process starts with.
    pub(super) fn new(log: BorrowedFd<'_>) -> io::Result<(Self, OwnedFd)> {
        let (socket, theirs) = passing::channel()?;
        Ok((Self { socket, given: FileId::of(log).ok(), untaken: false, wanted: false }, theirs))
    }

    /// It says that it took what it was given.
    pub(super) const fn taken(&mut self) {
        self.untaken = false;
    }

    /// It says that there was no room for what it was given. It asks for another one when it likes.
    pub(super) const fn lost(&mut self) {
        (self.given, self.untaken) = (None, false);
    }

    /// It says that it wants the file that has the name now.
    pub(super) const fn asked(&mut self) {
        self.wanted = true;
    }

    /// Whether it is time to give it what it wants.
    pub(super) const fn is_due(&self) -> bool {
        self.wanted && !self.untaken
    }

    /// Gives it what it wants, if there is that.
    fn answer(&mut self, file: Option<OwnedFd>) {
        match file {
            Some(file) => complain(self.give(file.as_fd()).map(drop), || "give the log to a process".to_owned()),
            None => self.wanted = false,
        }
    }

    /// Gives it `log`, unless it has that. False if it has not taken the one before; it gets the next as soon as it does.
    pub(super) fn give(&mut self, log: BorrowedFd<'_>) -> io::Result<bool> {
        // One under way at most: whoever never takes any must not make the kernel keep them all.
        self.wanted = self.untaken;
        let identity = Some(FileId::of(log)?);
        if self.untaken || self.given == identity {
            return Ok(!self.untaken);
        }
        passing::give(self.socket.as_fd(), log)?;
        (self.given, self.untaken) = (identity, true);
        Ok(true)
    }
}

impl Resources {
    /// The files that may be opened anew.
    fn logs(&mut self) -> impl Iterator<Item = &mut LogFile> {
        std::iter::once(&mut self.log).chain(&mut self.access_log)
    }
}

impl OsWorld {
    /// Everybody goes over to the files that have the names now; each process to its generation's.
    pub(super) fn reopen_logs(&mut self) {
        let logs = self.generations.values_mut().flat_map(Resources::logs);
        if logs.filter_map(|log| log.reopen().then_some(())).count() > 0 {
            self.use_log();
        }
    }

    /// Goes over to the log of the generation in force, with everybody who has no other.
    pub(super) fn use_log(&mut self) {
        let (generations, in_force) = (&self.generations, self.in_force);
        let Some(present) = generations.get(&in_force) else { return };
        present.log.use_it();
        for (id, process) in self.children.processes() {
            let logs = generations.get(&id.generation).unwrap_or(present);
            let own = process.log.as_mut().map(|channel| channel.give(logs.log.as_fd()));
            let access = process.access_log.as_mut().zip(logs.access_log.as_ref());
            let access = access.map(|(channel, log)| channel.give(log.as_fd()));
            let (given, errors): (Vec<_>, Vec<_>) = own.into_iter().chain(access).partition(Result::is_ok);
            if given.into_iter().flatten().any(|taken| !taken) {
                Notice::LogNotTaken { slot: id.slot, pid: process.child.pid }.say();
            }
            for error in errors {
                complain(error.map(drop), || format!("give the log to worker {}", id.slot));
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
        let workers = self.children.processes().map(|(id, process)| (id.generation, process));
        for (generation, process) in workers.chain(self.admin.process().map(|process| (in_force, process))) {
            let generation = if generations.contains_key(&generation) { generation } else { in_force };
            let Some(resources) = generations.get_mut(&generation) else { continue };
            if let Some(channel) = process.log.as_mut().filter(|channel| channel.is_due()) {
                channel.answer(resources.log.again());
            }
            if let Some(channel) = process.access_log.as_mut().filter(|channel| channel.is_due()) {
                channel.answer(resources.access_log.as_mut().and_then(LogFile::again));
            }
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
        assert_eq!(FileId::of(taken.as_fd()).unwrap(), FileId::of(second.as_fd()).unwrap());
        channel.taken();
        assert!(channel.is_due(), "there is a newer one");
        assert!(channel.give(third.as_fd()).unwrap() && !channel.is_due());
        channel.taken();
        assert!(!channel.is_due());
        channel.asked();
        assert!(channel.is_due());
        assert!(channel.give(third.as_fd()).unwrap() && !channel.is_due() && !channel.untaken);
        channel.give(second.as_fd()).unwrap();
        channel.lost();
        assert!(!channel.is_due(), "not before it asks");
        assert!(channel.give(second.as_fd()).unwrap() && channel.untaken, "it does not have that one");
    }
}
