//! The worker processes as the operating system sees them: spawn, listen to what they say, reap.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustcorn_config::ForeignReady;
use rustcorn_scoreboard::{Board, Deputy, State};
use rustcorn_sys::error::without_number;
use rustcorn_sys::notify::{Listener, Told};
use rustcorn_sys::procfs::resident;
use rustcorn_sys::signal::{Sig, end_group};
use rustcorn_sys::spawn::{Exit, Kin, reap};
use rustcorn_sys::{Monotonic, Pid};

use super::environment::environment;
use super::generation::{Resources, c_string};
use super::oom::Oom;
use super::process::{Gift, Handoff, Nursery, Process, Word};
use crate::fleet::{Event, WorkerId};
use crate::lanes::{Occupant, Seat};
use crate::notice::Notice;

/// All workers that were spawned and not reaped.
#[derive(Debug, Default)]
pub(super) struct Children {
    all: BTreeMap<WorkerId, Process>,
    /// Where foreign ones tell how they are, once there are any.
    reception: Option<Listener>,
}

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
        let handoff = Handoff {
            who: format!("slot={} generation={}", id.slot, id.generation),
            fds: &fds,
            what: seat.as_ref().map_or_else(String::new, |seat| lanes(seat, resources)),
        };
        let mut env = environment(&resources.settings.raw_env);
        if resources.foreign == Some(ForeignReady::Notify) {
            env.push(c_string(format!("NOTIFY_SOCKET={}", self.reception()?.address()).as_bytes()));
        }
        let deputy = resources.foreign.map(|_| Deputy::attach(board.fd(), id.slot.0)).transpose()?;
        let gift = Gift {
            image: &resources.image,
            args: resources.args.as_deref().unwrap_or(&title),
            listeners: &resources.listeners,
            handoff: resources.foreign.is_none().then_some(handoff),
            log: resources.log.as_fd(),
            capture_output: resources.settings.capture_output,
            access_log: resources.access_log.as_ref().map(AsFd::as_fd),
            kin: Kin::Ward,
            attributes: resources.attributes(),
            env,
        };
        board.take_seat(id.slot.0, Monotonic::now()); // before the worker can count
        let mut process = nursery.spawn(&gift).inspect_err(|_| board.fold(id.slot.0))?;
        process.seat = seat;
        let pid = process.child.pid;
        if let Some(deputy) = deputy {
            deputy.boot(pid, id.generation.0);
            process.deputy = Some(deputy);
        }
        self.all.insert(id, process);
        Ok(pid)
    }

    pub(super) fn show_ready(&self, id: WorkerId) {
        if let Some(deputy) = self.all.get(&id).and_then(|process| process.deputy.as_ref()) {
            deputy.set_state(State::Ready);
        }
    }

    /// Whom a worker that is about to be spawned finds on the lanes.
    fn occupants(&self, newcomer: WorkerId) -> Vec<Occupant> {
        let here = self.all.iter().filter(|(_, process)| !process.leaving);
        let occupant = |(id, process): (&WorkerId, &Process)| {
            let stays = id.generation == newcomer.generation && !process.spent;
            Some(Occupant { lane: process.seat.as_ref()?.lane(), life: id.life, stays })
        };
        here.filter_map(occupant).collect()
    }

    /// Sends a signal. One that has been reaped in the meantime needs none: the news of its end is on its way.
    pub(super) fn signal(&mut self, id: WorkerId, sig: Sig) -> io::Result<()> {
        let Some(process) = self.all.get_mut(&id) else { return Ok(()) };
        if sig != Sig::Usr1 {
            process.leave();
        }
        process.signal(sig)
    }

    /// All of them.
    pub(super) fn processes(&mut self) -> impl Iterator<Item = (WorkerId, &mut Process)> {
        self.all.iter_mut().map(|(id, process)| (*id, process))
    }

    /// What to wait for: ends, and messages.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all.values().flat_map(Process::descriptors).chain(self.reception.as_ref().map(AsFd::as_fd))
    }

    /// Made when it is needed first, and kept: an older generation may still use it.
    fn reception(&mut self) -> io::Result<&Listener> {
        if self.reception.is_none() {
            self.reception = Some(Listener::bind()?);
        }
        Ok(self.reception.as_ref().expect("made above"))
    }

    /// What foreign workers said, as systemd hears its services: themselves, and helpers in their process group.
    fn notified(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(told) = self.reception.as_ref().and_then(heard) {
            let is_of = |process: &Process| [Some(told.by), told.group].contains(&Some(process.child.pid));
            let Some((id, process)) = self.all.iter_mut().find(|(_, process)| is_of(process)) else { continue };
            for line in told.state.lines() {
                match line {
                    "READY=1" => events.push(Event::Ready(*id)),
                    "STOPPING=1" => {
                        process.leave();
                        events.push(Event::Leaving(*id));
                    }
                    _ => {} // for a service manager
                }
            }
        }
        events
    }

    /// Messages that have arrived. Their order among workers does not matter, and none is lost to an exit that follows.
    pub(super) fn messages(&mut self) -> Vec<Event> {
        let mut events = self.notified();
        events.extend(self.all.iter_mut().flat_map(|(id, process)| told(*id, process)));
        events
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
            events.extend(self.notified()); // while it is known whose words they are
            let ours = self.all.iter().find(|(_, process)| process.child.pid == pid).map(|(id, _)| *id);
            let Some((id, mut process)) = ours.and_then(|id| self.all.remove_entry(&id)) else {
                other(pid, exit, oom);
                continue;
            };
            events.extend(told(id, &mut process));
            board.fold(id.slot.0);
            // Those built on rustcorn know when they are done. What another one leaves behind would go on accepting with old code.
            if process.deputy.is_some()
                && let Err(error) = end_group(pid)
            {
                let what = format!("end what is left of worker {}", id.slot);
                Notice::SystemTrouble { what, error: without_number(&error) }.say();
            }
            let fate = oom.fate(exit, process.killed, Monotonic::now());
            events.push(Event::Exited(id, fate, process.reason.take()));
        }
        Ok(events)
    }

    /// The last sign of life of each worker.
    pub(super) fn beats(&self, board: &Board) -> Event {
        let beat_of = |id: &WorkerId| board.vitals(id.slot.0).beat.map(|at| (*id, at));
        Event::Beats(self.all.keys().filter_map(beat_of).collect())
    }

    /// How much memory each worker has. One that has just ended has none, and is left out.
    pub(super) fn sizes(&self) -> Event {
        let size_of = |(id, process): (&WorkerId, &Process)| resident(process.child.pid).map(|size| (*id, size));
        Event::Measured(self.all.iter().filter_map(size_of).collect())
    }

    /// Workers that were not told to leave.
    pub(super) fn active(&self) -> usize {
        self.all.values().filter(|process| !process.leaving).count()
    }
}

/// The next message; an error is told, and leaves the rest for the next round.
fn heard(reception: &Listener) -> Option<Told> {
    reception.next().unwrap_or_else(|error| {
        let what = "hear how foreign workers are".to_owned();
        Notice::SystemTrouble { what, error: without_number(&error) }.say();
        None
    })
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
