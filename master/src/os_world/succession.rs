//! The other masters as the operating system sees them: the one that started this one, and the one that this one starts.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use rustcorn_config::Invocation;
use rustcorn_sys::Pid;
use rustcorn_sys::fd::{sealed_memfd, working_directory};
use rustcorn_sys::signal::Sig;
use rustcorn_sys::spawn::{Exit, Image, Kin};

use super::generation::{c_string, heirs_environment};
use super::process::{Gift, Nursery, Process, Word, fate};
use crate::fleet::{Event, Report};
use crate::heritage::{Endowment, Heritage, Parent};

/// The masters before and after this one.
#[derive(Debug)]
pub(super) struct Succession {
    parent: Option<Parent>,
    heir: Option<Process>,
    /// Where this master was started: the heir's relative paths mean the same.
    folder: OwnedFd,
}

impl Succession {
    /// To be called before the working directory is changed.
    pub(super) fn new(parent: Option<Parent>) -> io::Result<Self> {
        Ok(Self { parent, heir: None, folder: working_directory()? })
    }

    pub(super) const fn has_parent(&self) -> bool {
        self.parent.is_some()
    }

    /// Whether another master uses the sockets.
    pub(super) const fn is_alone(&self) -> bool {
        self.parent.is_none() && self.heir.is_none()
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let heir = self.heir.iter().flat_map(Process::descriptors);
        self.parent.iter().map(Parent::lifeline).chain(heir)
    }

    /// What they said, and whether the parent is gone.
    pub(super) fn news(&mut self) -> Vec<Event> {
        let said = self.heir.as_mut().map(Process::listen).unwrap_or_default();
        let mut news: Vec<Event> = said.into_iter().filter_map(event).collect();
        if self.parent.take_if(|parent| parent.is_gone()).is_some() {
            news.push(Event::ParentGone);
        }
        news
    }

    /// Whether the process that ended is the heir; then what it said last, and its end.
    pub(super) fn ended(&mut self, pid: Pid, exit: Exit) -> Option<Vec<Event>> {
        let mut heir = self.heir.take_if(|heir| heir.child.pid == pid)?;
        let mut events: Vec<Event> = heir.listen().into_iter().filter_map(event).collect();
        events.push(Event::HeirGone(fate(exit), heir.reason));
        Some(events)
    }

    /// Starts a new master in the way this one was started, and leaves it the sockets.
    pub(super) fn start_heir(
        &mut self,
        invocation: &Invocation,
        image: &Image,
        heritage: &Heritage,
        endowment: &Endowment,
        nursery: &Nursery,
    ) -> io::Result<Pid> {
        let args: Vec<CString> = invocation.args().iter().map(|arg| c_string(arg.as_bytes())).collect();
        let heritage = sealed_memfd("rustcorn-heritage", heritage.to_text().as_bytes())?;
        let listeners: Vec<_> = endowment.sockets.iter().chain(&endowment.admin).map(Rc::clone).collect();
        let process = nursery.spawn(&Gift {
            image,
            args: &args,
            listeners: &listeners,
            who: "role=master".to_owned(),
            fds: &[("heritage", heritage.as_fd())],
            what: String::new(),
            kin: Kin::Heir,
            setting: Some((self.folder.as_fd(), heirs_environment())),
        })?;
        let pid = process.child.pid;
        self.heir = Some(process);
        Ok(pid)
    }

    pub(super) fn signal_heir(&self, sig: Sig) -> io::Result<()> {
        self.heir.as_ref().map_or(Ok(()), |heir| heir.child.handle.send(sig))
    }

    /// This master cannot start: its parent is to know why.
    pub(super) fn fail(&self, reason: &str) {
        self.tell_parent(&Report::Failed(reason.to_owned()));
    }

    pub(super) fn tell_parent(&self, report: &Report) {
        if let Some(parent) = &self.parent {
            parent.tell(report);
        }
    }
}

/// In the policy's words.
fn event(word: Word) -> Option<Event> {
    match word {
        Word::Ready => Some(Event::HeirSays(Report::Ready)),
        Word::Leaving => Some(Event::HeirSays(Report::Leaving)),
        Word::Spent => None, // said by workers alone
    }
}
