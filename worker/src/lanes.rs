//! Lanes (`reuse_port`): an address has several sockets, all of which this worker holds, and accepts from those that need it.
//!
//! Those are the sockets of its own lane, and of lanes that no worker serves: the master keeps a table of that. Besides, a lane
//! whose queue does not move is taken care of for a while: its worker may hang, or hold all the connections it may.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::task::Context;
use std::time::Duration;

use rustcorn_sys::log::{Level, line};
use rustcorn_sys::socket::accept_queue;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::accept::{Listener, Open};

/// How often the table is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// So many looks are one at the queues, too.
const LOOKS_AT_QUEUES: u32 = 10;
/// Time that a worker which is being replaced goes on accepting, so that others have seen that its lane needs them.
pub(crate) const HANDOVER: Duration = Duration::from_millis(150);

/// What the master says of lanes.
#[derive(Debug)]
pub(crate) struct LanePlan {
    /// A byte for each lane: 0 if no worker serves it.
    pub(crate) table: OwnedFd,
    /// The worker's own.
    pub(crate) own: usize,
    /// Sockets of each listener.
    pub(crate) counts: Vec<usize>,
}

/// Which of the lanes a socket is, as listener and number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At(usize, usize);

/// The sockets of all lanes.
pub(crate) struct Lanes {
    table: File,
    own: usize,
    groups: Vec<Vec<Lane>>,
    interval: Interval,
    looks: u32,
}

struct Lane {
    socket: OwnedFd,
    /// We accept from it.
    held: bool,
    /// Somebody serves it and it does not move.
    stuck: bool,
    /// Connections waited when it was last looked at.
    waited: bool,
}

/// The listeners for everybody, and the lanes if there are any. To be called inside the runtime.
pub(crate) fn arrange(sockets: Vec<OwnedFd>, plan: Option<LanePlan>) -> io::Result<(Vec<Listener>, Option<Lanes>)> {
    let Some(plan) = plan else {
        return Ok((sockets.into_iter().map(Listener::new).collect::<io::Result<_>>()?, None));
    };
    let mut sockets = sockets.into_iter();
    let (mut shared, mut groups) = (Vec::new(), Vec::new());
    for count in plan.counts {
        let group: Vec<OwnedFd> = sockets.by_ref().take(count).collect();
        if count > 1 {
            groups.push(group.into_iter().map(Lane::new).collect());
        } else {
            shared.extend(group.into_iter().map(Listener::new).collect::<io::Result<Vec<_>>>()?);
        }
    }
    let mut interval = interval(LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok((shared, Some(Lanes { table: plan.table.into(), own: plan.own, groups, interval, looks: 0 })))
}

impl Lane {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, held: false, stuck: false, waited: false }
    }

    /// Looks at the queue of a lane that somebody else should empty.
    fn look_at_queue(&mut self) {
        if self.stuck {
            self.stuck = false; // leaves it to its worker, and looks again soon
            return;
        }
        let waits = !self.held && accept_queue(self.socket.as_fd()).is_ok_and(|waiting| waiting > 0);
        self.stuck = waits && self.waited;
        self.waited = waits;
    }

    fn hold(&mut self, hold: bool, at: At, open: &mut Vec<Open>) {
        if hold == self.held {
            return;
        }
        if hold {
            // A descriptor of its own, since it goes to the runtime for as long as it is held.
            match self.socket.try_clone().and_then(Listener::new) {
                Ok(listener) => open.push(Open::new(listener, Some(at))),
                Err(error) => {
                    line(Level::Warning, format_args!("Cannot accept for another worker: {error}"));
                    return; // tried again at the next look
                }
            }
        } else {
            open.retain(|open| open.lane != Some(at));
        }
        self.held = hold;
    }
}

impl Lanes {
    /// Adds to `open` what this worker shall accept from, and takes away what it shall not any more, when it is time to look.
    pub(crate) fn poll_look(&mut self, cx: &mut Context<'_>, open: &mut Vec<Open>) {
        while self.interval.poll_tick(cx).is_ready() {
            self.look(open);
        }
    }

    fn look(&mut self, open: &mut Vec<Open>) {
        self.looks = (self.looks + 1) % LOOKS_AT_QUEUES;
        let table = self.read();
        for (group, lanes) in self.groups.iter_mut().enumerate() {
            let served = served(&table, lanes.len());
            let own = self.own % lanes.len();
            for (number, lane) in lanes.iter_mut().enumerate() {
                if self.looks == 0 {
                    lane.look_at_queue();
                }
                lane.hold(number == own || !served[number] || lane.stuck, At(group, number), open);
            }
        }
    }

    /// Accepts from every lane: at the end of everything, whoever serves one may be gone already.
    pub(crate) fn hold_all(&mut self, open: &mut Vec<Open>) {
        for (group, lanes) in self.groups.iter_mut().enumerate() {
            for (number, lane) in lanes.iter_mut().enumerate() {
                lane.hold(true, At(group, number), open);
            }
        }
    }

    /// Nobody serves what cannot be read.
    fn read(&self) -> Vec<u8> {
        let longest = self.groups.iter().map(Vec::len).max().unwrap_or(0); // as many bytes as there are lanes
        let mut table = vec![0; longest];
        match self.table.read_exact_at(&mut table, 0) {
            Ok(()) => table,
            Err(_) => Vec::new(),
        }
    }
}

/// Which of `lanes` somebody serves. An address that was bound for fewer workers has fewer lanes than there are in the table.
fn served(table: &[u8], lanes: usize) -> Vec<bool> {
    let mut served = vec![false; lanes];
    for (number, byte) in table.iter().enumerate() {
        served[number % lanes] |= *byte != 0;
    }
    served
}

#[cfg(test)]
mod tests;
