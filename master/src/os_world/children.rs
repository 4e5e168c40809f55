//! The worker processes as the operating system sees them: spawn, listen to what they say, reap.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustcorn_scoreboard::Board;
use rustcorn_sys::procfs::resident;
use rustcorn_sys::signal::Sig;
use rustcorn_sys::spawn::{Exit, Kin, reap};
use rustcorn_sys::{Monotonic, Pid};

use super::environment::environment;
use super::generation::{Resources, c_string};
use super::oom::Oom;
use super::process::{Gift, Nursery, Process, Word};
use crate::fleet::{Event, WorkerId};
use crate::lanes::{Occupant, Seat};

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
        let title = [c_string(format!("rustcorn: worker {} [{}]", id.slot, resources.title()).as_bytes())];
        let seat = resources.lanes.as_ref().map(|lanes| Seat::choose(lanes, &self.occupants(id)));
        let mut fds = vec![("scoreboard", board.fd()), ("settings", resources.handoff.as_fd())];
        fds.extend(seat.iter().map(|seat| ("served", seat.table())));
        board.take_seat(id.slot.0, Monotonic::now()); // before the worker can count
        let gift = Gift {
            image: &resources.image,
            args: resources.args.as_deref().unwrap_or(&title),
            listeners: &resources.listeners,
            who: format!("slot={} generation={}", id.slot, id.generation),
            fds: &fds,
            log: resources.log.as_fd(),
            capture_output: resources.settings.capture_output,
            access_log: resources.access_log.as_ref().map(AsFd::as_fd),
            what: seat.as_ref().map_or_else(String::new, |seat| lanes(seat, resources)),
            kin: Kin::Ward,
            attributes: resources.attributes(),
            env: environment(&resources.settings.raw_env),
        };
        let mut process = nursery.spawn(&gift).inspect_err(|_| board.fold(id.slot.0))?;
        process.seat = seat;
        let pid = process.child.pid;
        self.0.insert(id, process);
        Ok(pid)
    }

    /// Whom a worker that is about to be spawned finds on the lanes.
    fn occupants(&self, newcomer: WorkerId) -> Vec<Occupant> {
        let here = self.0.iter().filter(|(_, process)| !process.leaving);
        let occupant = |(id, process): (&WorkerId, &Process)| {
            let stays = id.generation == newcomer.generation && !process.spent;
            Some(Occupant { lane: process.seat.as_ref()?.lane(), life: id.life, stays })
        };
        here.filter_map(occupant).collect()
    }

    /// Sends a signal. One that has been reaped in the meantime needs none: the news of its end is on its way.
    pub(super) fn signal(&mut self, id: WorkerId, sig: Sig) -> io::Result<()> {
        let Some(process) = self.0.get_mut(&id) else { return Ok(()) };
        if sig != Sig::Usr1 {
            process.leave();
        }
        process.signal(sig)
    }

    /// All of them.
    pub(super) fn processes(&mut self) -> impl Iterator<Item = (WorkerId, &mut Process)> {
        self.0.iter_mut().map(|(id, process)| (*id, process))
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
    pub(super) fn exits(
        &mut self,
        board: &Board,
        oom: &mut Oom,
        mut other: impl FnMut(Pid, Exit, &mut Oom),
    ) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some((pid, exit)) = reap()? {
            let ours = self.0.iter().find(|(_, process)| process.child.pid == pid).map(|(id, _)| *id);
            let Some((id, mut process)) = ours.and_then(|id| self.0.remove_entry(&id)) else {
                other(pid, exit, oom);
                continue;
            };
            events.extend(told(id, &mut process));
            board.fold(id.slot.0);
            let fate = oom.fate(exit, process.killed, Monotonic::now());
            events.push(Event::Exited(id, fate, process.reason.take()));
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

/// Words of the handoff: the worker's own lane, and how many sockets each listener has.
fn lanes(seat: &Seat, resources: &Resources) -> String {
    let counts: Vec<String> = resources.listeners.iter().map(|listener| listener.sockets().len().to_string()).collect();
    format!(" lane={} lanes={}", seat.lane(), counts.join(","))
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
