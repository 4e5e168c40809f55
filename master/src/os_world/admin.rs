//! The admin process as the operating system sees it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustcorn_config::Settings;
use rustcorn_scoreboard::Board;
use rustcorn_sys::error::without_number;
use rustcorn_sys::fd::for_reading;
use rustcorn_sys::spawn::{Exit, Image, Kin};
use rustcorn_sys::{Monotonic, Pid};

use super::environment::environment;
use super::generation::{Resources, c_string};
use super::oom::Oom;
use super::process::{Gift, Handoff, Nursery, Process, Word};
use crate::admin::{Action, Admin, Event};
use crate::fleet::Fate;

/// The policy and the process.
#[derive(Debug, Default)]
pub(super) struct AdminSeat {
    policy: Admin,
    process: Option<Process>,
    /// News for the policy.
    news: Vec<Event>,
}

impl AdminSeat {
    /// There shall be one that is given what `resources` say, or none.
    pub(super) fn want(&mut self, wanted: bool) {
        self.news.push(Event::Wanted(wanted));
    }

    pub(super) const fn is_wanted(&self) -> bool {
        self.policy.is_wanted()
    }

    /// Nothing of it is left, and nothing is to come.
    pub(super) fn is_gone(&self) -> bool {
        !self.policy.is_running() && self.news.is_empty()
    }

    pub(super) fn next_deadline(&self, now: Monotonic) -> Option<Monotonic> {
        if self.news.is_empty() { self.policy.next_deadline() } else { Some(now) }
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.process.iter().flat_map(Process::descriptors)
    }

    /// The process, while there is one.
    pub(super) const fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Whether the process that ended is (was) it.
    pub(super) fn ended(&mut self, pid: Pid, exit: Exit, oom: &mut Oom) -> bool {
        let Some(mut process) = self.process.take_if(|process| process.child.pid == pid) else { return false };
        let _ = process.listen(); // for its reason; nothing else it said matters any more
        self.news.push(Event::Exited(oom.fate(exit, process.killed, Monotonic::now()), process.reason));
        true
    }

    /// Lets the policy act on everything that happened. `resources`: of the generation in force.
    pub(super) fn tend(&mut self, now: Monotonic, resources: Option<&Resources>, board: &Board, nursery: &Nursery) {
        if self.process.as_mut().is_some_and(|process| process.listen().contains(&Word::Ready)) {
            self.news.push(Event::Ready);
        }
        self.news.push(Event::Tick);
        while !self.news.is_empty() {
            for event in std::mem::take(&mut self.news) {
                for action in self.policy.step(now, event) {
                    self.apply(action, resources, board, nursery);
                }
            }
        }
    }

    fn apply(&mut self, action: Action, resources: Option<&Resources>, board: &Board, nursery: &Nursery) {
        match action {
            Action::Spawn => {
                let started = match resources {
                    Some(resources) => spawn(resources, board, nursery),
                    None => Err(io::Error::other("no generation is in force")),
                };
                self.news.push(match started {
                    Ok(process) => {
                        let pid = process.child.pid;
                        self.process = Some(process);
                        Event::Spawned(pid)
                    }
                    Err(error) => Event::Exited(Fate::NotStarted(without_number(&error)), None),
                });
            }
            Action::Signal(sig) => {
                let sent = self.process.as_mut().map_or(Ok(()), |process| process.signal(sig));
                super::complain(sent, || format!("send {sig} to the admin process"));
            }
            Action::Say(notice) => notice.say(),
        }
    }
}

/// Always of the master's own image, so that both know the same scoreboard: a foreign `command` may not know of this role.
fn spawn(resources: &Resources, board: &Board, nursery: &Nursery) -> io::Result<Process> {
    let Settings { loglevel, log_format, min_ready_workers, .. } = &resources.settings;
    let syslog = resources.settings.syslog_plan().map_or_else(String::new, |plan| {
        format!(" syslog={} syslog_facility={} syslog_tag={}", plan.address, plan.facility, plan.tag)
    });
    let image = Image::open(Path::new("/proc/self/exe"))?;
    let scoreboard = for_reading(board.fd())?;
    nursery.spawn(&Gift {
        image: &image,
        args: &[c_string(format!("rustcorn: admin [{}]", resources.title()).as_bytes())],
        listeners: resources.admin.as_slice(),
        handoff: Some(Handoff {
            who: "role=admin".to_owned(),
            fds: &[("scoreboard", scoreboard.as_fd())],
            // The name last, since it may hold blanks. It is given no settings file: that has the application's secrets.
            what: format!(
                " min_ready={min_ready_workers} loglevel={} log_format={}{syslog} name={}",
                loglevel.name(),
                log_format.name(),
                resources.name
            ),
        }),
        log: resources.log.as_fd(),
        capture_output: false,
        access_log: None,
        kin: Kin::Ward,
        attributes: resources.attributes(),
        env: environment(&BTreeMap::new()), // no more: the application's secrets may be there
    })
}

/// Whether an admin process with the one's settings does for the other's.
pub(super) fn is_same(old: &Resources, new: &Resources) -> bool {
    let given = |resources: &Resources| {
        let Settings { admin_bind, loglevel, log_format, min_ready_workers, .. } = resources.settings.clone();
        let process = (resources.title().to_owned(), resources.identity.clone(), resources.settings.umask);
        let log = (loglevel, log_format, resources.settings.syslog_plan());
        (admin_bind, log, min_ready_workers, resources.name.clone(), process)
    };
    given(old) == given(new)
}
