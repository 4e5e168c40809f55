//! When a worker that was told to go does what: policy alone, no clock, no socket.
//!
//! ```text
//! asked ──drain_delay──► refuse new ──HANDSHAKE──► stop accepting ──in-flight, idle linger──► nothing left ──► exit
//!        (Stopping only) (full stop only)                         └──────graceful_timeout────────────────────► cut
//! ```

use std::time::Duration;

use rustcorn_scoreboard::Phase;
use rustcorn_sys::Monotonic;

/// At a full stop, the time that clients have to finish a handshake that the kernel has answered: a round trip. They believe to
/// be connected, and the shutdown of the socket would reset them.
const HANDSHAKE: Duration = Duration::from_millis(100);
/// Time in which a worker that somebody else has told to go hears from the master: a service manager may have told all processes at
/// once, and then the master says how all stop.
const HEARSAY: Duration = Duration::from_millis(500);
/// How long an idle connection may still bring a request after accepting has ended at a full stop: requests that were on
/// their way. (While the worker is only being replaced, idle connections have until `graceful_timeout`.)
const LINGER: Duration = Duration::from_secs(1);
/// The same for a worker whose master has died: somebody wants to start a new one.
const ORPHAN_LINGER: Duration = Duration::from_millis(250);
/// Idle connections are closed this much before the end of grace, so that they are gone by then and nothing needs to be cut.
const CLOSING_TIME: Duration = Duration::from_millis(200);
/// The same where background tasks run, which may wait for the last request: time for what they do then.
const TASKS_TIME: Duration = Duration::from_secs(5);

/// The settings that matter here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) graceful_timeout: Duration,
    pub(crate) drain_delay: Duration,
    /// With `reuse_port`: time until siblings accept in this worker's place while it is being replaced. Part of the grace.
    pub(crate) handover: Duration,
}

/// What the worker shall do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Keep accepting; responses say close.
    Accept,
    /// Keep accepting what is under way, but let the kernel begin nothing new, for all processes. Then ask again.
    RefuseNew,
    /// Take what is queued and stop accepting; with `shut_down` for all processes. Then ask again.
    StopAccepting {
        /// The sockets are ours and nobody shall serve them any more.
        shut_down: bool,
    },
    /// Finish what is there. Connections that are idle at `idle_ends` are closed.
    Finish { idle_ends: Monotonic },
    /// Nothing is left: go.
    Done,
    /// Time is up: drop what is left and go.
    Cut,
}

/// A drain in progress.
#[derive(Debug)]
pub(crate) struct Drain {
    times: Times,
    began: Monotonic,
    orphaned: bool,
    /// The master knows of it only from this worker.
    unasked: bool,
    /// Background tasks that run.
    tasks: usize,
    refused_new: Option<Monotonic>,
    stopped_accepting: Option<Monotonic>,
    /// When the grace began.
    grace: Option<Monotonic>,
    /// When the master's full stop was first seen.
    full_stop: Option<Monotonic>,
}

impl Drain {
    pub(crate) fn new(times: Times, began: Monotonic) -> Self {
        Self {
            times,
            began,
            orphaned: false,
            unasked: false,
            tasks: 0,
            refused_new: None,
            stopped_accepting: None,
            grace: None,
            full_stop: None,
        }
    }

    /// The master is dead: be quick about it.
    pub(crate) fn orphaned(&mut self) {
        self.orphaned = true;
    }

    /// It was not the master who wanted this.
    pub(crate) fn unasked(&mut self) {
        self.unasked = true;
    }

    /// So many background tasks run, which are waited for, too. To be said before each [`Self::step`].
    pub(crate) fn beside(&mut self, tasks: usize) {
        self.tasks = tasks;
    }

    /// What is left of the grace.
    pub(crate) fn grace_left(&self, now: Monotonic) -> Duration {
        let began = self.grace.or(self.stopped_accepting).unwrap_or(now);
        self.times.graceful_timeout.saturating_sub(now.since(began))
    }

    pub(crate) fn began(&self) -> Monotonic {
        self.began
    }

    pub(crate) fn accepts(&self) -> bool {
        self.stopped_accepting.is_none()
    }

    /// What to do at `now`, when the master is in `phase` and `connections` are open. To be asked again whenever one of these
    /// may have changed.
    pub(crate) fn step(&mut self, now: Monotonic, phase: Phase, connections: usize) -> Order {
        if !matches!(phase, Phase::Running | Phase::HandedOver) && self.full_stop.is_none() {
            self.full_stop = Some(now);
        }
        let Some(stopped) = self.stopped_accepting else {
            return self.accepting(now, phase);
        };
        let grace_ends = self.grace.unwrap_or(stopped) + self.times.graceful_timeout;
        if connections == 0 && self.tasks == 0 {
            Order::Done
        } else if now >= grace_ends {
            Order::Cut
        } else {
            let closing = if self.tasks > 0 { TASKS_TIME } else { CLOSING_TIME };
            let latest = grace_ends - closing.min(self.times.graceful_timeout / 2);
            Order::Finish { idle_ends: self.idle_ends(stopped).map_or(latest, |end| end.min(latest)) }
        }
    }

    fn accepting(&mut self, now: Monotonic, phase: Phase) -> Order {
        let delay = match phase {
            // Clients and load balancers need time to learn that this address is going away.
            Phase::Stopping if !self.orphaned => self.times.drain_delay,
            Phase::Running if !self.orphaned => {
                self.grace = Some(self.began);
                let hearsay = if self.unasked { HEARSAY.min(self.times.graceful_timeout / 2) } else { Duration::ZERO };
                self.times.handover.max(hearsay)
            }
            // Somebody else serves the sockets, or the operator is in a hurry, or nobody is left to ask.
            _ => Duration::ZERO,
        };
        if phase != Phase::Running {
            self.grace = None;
        }
        if now.since(self.began) < delay {
            return Order::Accept;
        }
        // Not for an orphan: whoever holds the sockets besides the dead master (systemd, a master upgraded from it) would
        // find them dead. The kernel frees the port when the last worker has closed its copy, which they all do now.
        let shut_down = !self.orphaned && matches!(phase, Phase::Stopping | Phase::StoppingNow);
        if shut_down {
            let Some(refused) = self.refused_new else {
                self.refused_new = Some(now);
                return Order::RefuseNew;
            };
            if now.since(refused) < HANDSHAKE {
                return Order::Accept;
            }
        }
        self.stopped_accepting = Some(now);
        Order::StopAccepting { shut_down }
    }

    fn idle_ends(&self, stopped: Monotonic) -> Option<Monotonic> {
        if self.orphaned {
            return Some(stopped + ORPHAN_LINGER);
        }
        self.full_stop.map(|seen| seen.max(stopped) + LINGER)
    }
}

#[cfg(test)]
mod tests;
