//! The worker processes as the operating system sees them: spawn, listen to what they say, reap.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustcorn_scoreboard::Board;
use rustcorn_sys::procfs::resident;
use rustcorn_sys::signal::Sig;
use rustcorn_sys::spawn::{Exit, Kin, reap};
use rustcorn_sys::{Monotonic, Pid};

use super::generation::{Resources, c_string};
use super::process::{Gift, Nursery, Process, Word, fate};
use crate::fleet::{Event, WorkerId};

/// All workers that were spawned and not reaped.
#[derive(Debug, Default)]
pub(super) struct Children(BTreeMap<WorkerId, Process>);

impl Children {
    pub(super) fn spawn(
        &mut self,
        id: WorkerId,
        resources: &Resources,
        board: &Board,
        nursery: &Nursery,
    ) -> io::Result<Pid> {
        let title = [c_string(format!("rustcorn: worker {} [{}]", id.slot, resources.name).as_bytes())];
        board.take_seat(id.slot.0, Monotonic::now()); // before the worker can count
        let gift = Gift {
            image: &resources.image,
            args: resources.args.as_deref().unwrap_or(&title),
            listeners: &resources.listeners,
            who: format!("slot={} generation={}", id.slot, id.generation),
            fds: &[("scoreboard", board.fd()), ("settings", resources.handoff.as_fd())],
            what: String::new(),
            kin: Kin::Ward,
            setting: None,
        };
        let process = nursery.spawn(&gift).inspect_err(|_| board.fold(id.slot.0))?;
        let pid = process.child.pid;
        self.0.insert(id, process);
        Ok(pid)
    }

    /// Sends a signal. One that has been reaped in the meantime needs none: the news of its end is on its way.
    pub(super) fn signal(&mut self, id: WorkerId, sig: Sig) -> io::Result<()> {
        let Some(process) = self.0.get_mut(&id) else { return Ok(()) };
        process.leaving = true;
        process.child.handle.send(sig)
    }

    /// What to wait for: ends, and messages.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.values().flat_map(Process::descriptors)
    }

    /// Messages that have arrived. Their order among workers does not matter, and none is lost to an exit that follows.
    pub(super) fn messages(&mut self) -> Vec<Event> {
        self.0.iter_mut().flat_map(|(id, process)| told(*id, process)).collect()
    }

    /// Takes the processes that have ended, with all they said before; those that are no workers go to `other`.
    /// Their numbers are kept and their slots cleared: from now on new workers may have them.
    pub(super) fn exits(&mut self, board: &Board, mut other: impl FnMut(Pid, Exit)) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some((pid, exit)) = reap()? {
            let ours = self.0.iter().find(|(_, process)| process.child.pid == pid).map(|(id, _)| *id);
            let Some((id, mut process)) = ours.and_then(|id| self.0.remove_entry(&id)) else {
                other(pid, exit);
                continue;
            };
            events.extend(told(id, &mut process));
            board.fold(id.slot.0);
            events.push(Event::Exited(id, fate(exit), process.reason.take()));
        }
        Ok(events)
    }

    /// The last sign of life of each worker.
    pub(super) fn beats(&self, board: &Board) -> Event {
        let beat_of = |id: &WorkerId| board.vitals(id.slot.0).beat.map(|at| (*id, at));
        Event::Beats(self.0.keys().filter_map(beat_of).collect())
    }

    /// How much memory each worker has. One that has just ended has none, and is left out.
    pub(super) fn sizes(&self) -> Event {
        let size_of = |(id, process): (&WorkerId, &Process)| resident(process.child.pid).map(|size| (*id, size));
        Event::Measured(self.0.iter().filter_map(size_of).collect())
    }

    /// Workers that were not told to leave.
    pub(super) fn active(&self) -> usize {
        self.0.values().filter(|process| !process.leaving).count()
    }
}

/// What the worker said meanwhile.
fn told(id: WorkerId, process: &mut Process) -> Vec<Event> {
    let event = |word| match word {
        Word::Ready => Event::Ready(id),
        Word::Leaving => Event::Leaving(id),
        Word::Spent => Event::Spent(id),
    };
    process.listen().into_iter().map(event).collect()
}
