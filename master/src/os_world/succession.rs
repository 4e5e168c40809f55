//! The other masters as the operating system sees them: the one that started this one, and the one that this one starts.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use rustcorn_sys::Pid;
use rustcorn_sys::error::without_number;
use rustcorn_sys::fd::sealed_memfd;
use rustcorn_sys::signal::Sig;
use rustcorn_sys::spawn::{Attributes, Exit, Image, Kin};

use super::OsWorld;
use super::environment::heirs_environment;
use super::generation::c_string;
use super::process::{Gift, Handoff, Process, Word, fate};
use crate::fleet::{Event, Fate, Generation, Report};
use crate::heritage::{Heritage, Parent, has_ended};

/// The masters before and after this one.
#[derive(Debug)]
pub(super) struct Succession {
    parent: Option<Parent>,
    heir: Option<Process>,
}

impl Succession {
    pub(super) const fn new(parent: Option<Parent>) -> Self {
        Self { parent, heir: None }
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
        self.parent.iter().map(Parent::end).chain(heir)
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

    /// A last look, for one that exits: a stop may have been for both, and then the last one cleans up.
    pub(super) fn forget_the_dead(&mut self) {
        self.parent.take_if(|parent| parent.is_gone());
        self.heir.take_if(|heir| has_ended(heir.child.handle.as_fd()));
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

impl OsWorld {
    pub(super) fn start_heir(&mut self, generation: Generation) {
        let started = self.own.open().and_then(|image| {
            let spawned = self.spawn_heir(generation, &image);
            spawned.map_err(|error| format!("the system refused to start a process: {}", without_number(&error)))
        });
        let news = match started {
            Ok(heir) => {
                let pid = heir.child.pid;
                self.succession.heir = Some(heir);
                self.own_files();
                Event::HeirSpawned(pid)
            }
            Err(reason) => Event::HeirGone(Fate::NotStarted(reason), None),
        };
        self.answers.push(news);
    }

    /// In the way this master was started: the same arguments, directory, user and standard error. It is left the sockets.
    fn spawn_heir(&self, generation: Generation, image: &Image) -> io::Result<Process> {
        let endowment = self.endowment();
        let heritage = Heritage::new(generation, &endowment, self.watchdog);
        let heritage = sealed_memfd("rustcorn-heritage", heritage.to_text().as_bytes())?;
        let args: Vec<CString> = self.invocation.args().iter().map(|arg| c_string(arg.as_bytes())).collect();
        let listeners: Vec<_> = endowment.sockets.iter().chain(&endowment.admin).map(Rc::clone).collect();
        self.nursery.spawn(&Gift {
            image,
            args: &args,
            listeners: &listeners,
            handoff: Some(Handoff {
                who: "role=master".to_owned(),
                fds: &[("heritage", heritage.as_fd())],
                what: String::new(),
            }),
            log: self.standard_error.as_fd(),
            capture_output: false,
            access_log: None,
            kin: Kin::Heir,
            attributes: Attributes { directory: self.home.start(), ..Attributes::default() },
            env: heirs_environment(),
        })
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
