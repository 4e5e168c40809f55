//! The worker processes as the operating system sees them: spawn, listen to what they say, reap.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustcorn_scoreboard::Board;
use rustcorn_sys::fd::{pipe, read_some, set_nonblocking};
use rustcorn_sys::signal::Sig;
use rustcorn_sys::spawn::{Child, Command, Exit, reap, spawn};
use rustcorn_sys::{Monotonic, Pid};

use super::generation::{Resources, c_string};
use crate::fleet::{Event, Fate, WorkerId};
use crate::notice::Notice;

/// A process with the pipe on which it tells how its boot ended.
#[derive(Debug)]
struct Process {
    child: Child,
    pipe: Option<OwnedFd>,
    /// The beginning of a line that has not ended yet.
    partial: Vec<u8>,
    reason: Option<String>,
    leaving: bool,
}

/// All processes that were spawned and not reaped, and what they share.
#[derive(Debug)]
pub(super) struct Children {
    processes: BTreeMap<WorkerId, Process>,
    /// Workers notice by its end-of-file that the master is gone: its only writer is this process.
    lifeline: OwnedFd,
    _never_written: OwnedFd,
    environment: Vec<CString>,
}

impl Children {
    pub(super) fn new() -> io::Result<Self> {
        let environment = super::generation::environment();
        let (lifeline, never_written) = pipe()?;
        Ok(Self { processes: BTreeMap::new(), lifeline, _never_written: never_written, environment })
    }

    pub(super) fn spawn(&mut self, id: WorkerId, resources: &Resources, board: &Board) -> io::Result<Pid> {
        let (pipe, ready) = pipe()?;
        set_nonblocking(pipe.as_fd())?;
        let mut fds: Vec<BorrowedFd<'_>> = resources.listeners.iter().map(|listener| listener.as_fd()).collect();
        let listeners = fds.len();
        let first = 3 + listeners;
        fds.extend([board.fd(), self.lifeline.as_fd(), ready.as_fd(), resources.handoff.as_fd()]);
        let names: Vec<String> = (0..listeners).map(|number| format!("listener-{number}")).collect();
        let mut env = self.environment.clone();
        let own = [
            format!("LISTEN_FDS={listeners}"),
            format!("LISTEN_FDNAMES={}", names.join(":")),
            format!(
                "RUSTCORN_HANDOFF=v=1 slot={} generation={} scoreboard={first} lifeline={} ready={} settings={}",
                id.slot,
                id.generation,
                first + 1,
                first + 2,
                first + 3
            ),
        ];
        env.extend(own.iter().map(|variable| c_string(variable.as_bytes())));
        let title = [c_string(format!("rustcorn: worker {} [{}]", id.slot, resources.name).as_bytes())];
        let args = resources.args.as_deref().unwrap_or(&title);
        board.take_seat(id.slot.0, Monotonic::now()); // before the worker can count
        let command = Command { image: &resources.image, args, env: &env, fds: &fds, report: ready.as_fd() };
        let child = spawn(&command).inspect_err(|_| board.fold(id.slot.0))?;
        let pid = child.pid;
        let process = Process { child, pipe: Some(pipe), partial: Vec::new(), reason: None, leaving: false };
        self.processes.insert(id, process);
        Ok(pid)
    }

    /// Sends a signal. One that has been reaped in the meantime needs none: the news of its end is on its way.
    pub(super) fn signal(&mut self, id: WorkerId, sig: Sig) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        process.leaving = true;
        process.child.handle.send(sig)
    }

    /// What to wait for: ends, and messages.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let ends = self.processes.values().map(|process| process.child.handle.as_fd());
        let pipes = self.processes.values().filter_map(|process| process.pipe.as_ref().map(AsFd::as_fd));
        ends.chain(pipes)
    }

    /// Messages that have arrived. Their order among workers does not matter, and none is lost to an exit that follows.
    pub(super) fn messages(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, process) in &mut self.processes {
            process.listen(*id, &mut events);
        }
        events
    }

    /// Takes the processes that have ended, with all they said before; strangers that PID 1 adopted go with a note.
    /// Their numbers are kept and their slots cleared: from now on new workers may have them.
    pub(super) fn exits(&mut self, board: &Board) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some((pid, exit)) = reap()? {
            let ours = self.processes.iter().find(|(_, process)| process.child.pid == pid).map(|(id, _)| *id);
            let Some((id, mut process)) = ours.and_then(|id| self.processes.remove_entry(&id)) else {
                Notice::ReapedStranger { pid }.say();
                continue;
            };
            process.listen(id, &mut events);
            board.fold(id.slot.0);
            let fate = match exit {
                Exit::Code(code) => Fate::Code(code),
                Exit::Signal(number) => Fate::Signal(number),
            };
            events.push(Event::Exited(id, fate, process.reason.take()));
        }
        Ok(events)
    }

    /// The last sign of life of each worker.
    pub(super) fn beats<'a>(&'a self, board: &'a Board) -> impl Iterator<Item = Event> + 'a {
        let beat_of = move |id: &WorkerId| board.vitals(id.slot.0).beat.map(|at| Event::Beat(*id, at));
        self.processes.keys().filter_map(beat_of)
    }

    /// Workers that were not told to leave.
    pub(super) fn active(&self) -> usize {
        self.processes.values().filter(|process| !process.leaving).count()
    }
}

impl Process {
    fn listen(&mut self, id: WorkerId, events: &mut Vec<Event>) {
        while let Some(pipe) = &self.pipe {
            match read_some(pipe) {
                Ok(Some(bytes)) if bytes.is_empty() => return,
                Ok(Some(bytes)) => self.hear(id, &bytes, events),
                // The worker has closed it, or it cannot be read: either way there is nothing more to come.
                Ok(None) | Err(_) => self.pipe = None,
            }
        }
    }

    fn hear(&mut self, id: WorkerId, bytes: &[u8], events: &mut Vec<Event>) {
        const LONGEST: usize = 16 * 1024; // a worker that never ends its line must not fill the master's memory
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]);
            match line.split_once('=') {
                Some(("READY", "1")) => events.push(Event::Ready(id)),
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

fn exec_failed(errno: &str) -> String {
    let error =
        errno.parse().map_or_else(|_| errno.to_owned(), |errno| io::Error::from_raw_os_error(errno).to_string());
    format!("the program cannot be executed: {error}")
}
