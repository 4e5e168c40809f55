//! How runs end, and how a worker does.

use std::time::{Duration, Instant};

use super::{Activity, Member, Output, Outputs, Phase, QUIT_GRACE, STOP_GRACE, Session};
use crate::locust::notice::Notice;
use crate::locust::wire::ToMaster;

impl Session {
    pub(super) fn stop(&mut self, now: Instant, member: Member, out: &mut Outputs) {
        match member.activity {
            Activity::Ready => self.stopped(now, out),
            Activity::Running => {
                self.phase = Phase::Member(Member { activity: Activity::Stopping, ..member });
                out.push(Output::Halt(self.stop_timeout.max(STOP_GRACE)));
            }
            Activity::Stopping | Activity::Leaving { .. } => {}
        }
    }

    /// Users are gone. The order matters: a report with users after `client_stopped`, or a heartbeat after `client_ready` that says
    /// running, leaves the master waiting for this worker to stop.
    fn stopped(&mut self, now: Instant, out: &mut Outputs) {
        self.last_report(out);
        out.extend([Output::Send(ToMaster::ClientStopped), Output::Tell(Notice::Stopped)]);
        self.users.clear();
        self.register(now, out);
    }

    /// What is left to report; no users are.
    pub(super) fn last_report(&self, out: &mut Outputs) {
        if matches!(self.phase, Phase::Member(member) if member.activity != Activity::Ready) {
            out.push(Output::Report(self.users.keys().map(|class| (class.clone(), 0)).collect()));
        }
    }

    pub(super) fn dismissed(&mut self, now: Instant, member: Member, out: &mut Outputs) {
        if matches!(member.activity, Activity::Leaving { .. }) {
            return;
        }
        out.push(Output::Tell(Notice::Dismissed { persist: self.persist }));
        self.depart(now, member, QUIT_GRACE, !self.persist, out);
    }

    pub(super) fn terminate(&mut self, now: Instant, out: &mut Outputs) {
        match self.phase {
            Phase::Gone => {}
            Phase::Away { .. } | Phase::Dialling | Phase::Fetching { .. } => self.exit(None, out),
            Phase::Registering { .. } => self.leave(now, true, out),
            // The second signal: what is not reported yet is lost.
            Phase::Member(Member { activity: Activity::Leaving { .. }, .. }) => {
                out.extend([Output::Abandon, Output::Send(ToMaster::Quit)]);
                self.exit(None, out);
            }
            Phase::Member(member) => {
                out.push(Output::Tell(Notice::Terminated));
                self.depart(now, member, self.stop_timeout.max(STOP_GRACE), true, out);
            }
        }
    }

    fn depart(&mut self, now: Instant, member: Member, grace: Duration, exit: bool, out: &mut Outputs) {
        match member.activity {
            Activity::Ready => return self.leave(now, exit, out),
            Activity::Running => out.push(Output::Halt(grace)),
            Activity::Stopping | Activity::Leaving { .. } => {} // halted already
        }
        self.phase = Phase::Member(Member { activity: Activity::Leaving { exit }, ..member });
    }

    pub(super) fn leave(&mut self, now: Instant, exit: bool, out: &mut Outputs) {
        self.last_report(out);
        out.push(Output::Send(ToMaster::Quit));
        if exit {
            self.exit(None, out);
        } else {
            out.push(Output::HangUp);
            self.away(now);
        }
    }

    pub(super) fn idle(&mut self, now: Instant, out: &mut Outputs) {
        match self.phase {
            Phase::Member(Member { activity: Activity::Stopping, .. }) => self.stopped(now, out),
            Phase::Member(Member { activity: Activity::Leaving { exit }, .. }) => self.leave(now, exit, out),
            _ => {}
        }
    }
}
