//! One user: chooses tasks, sends requests, writes down how they ended.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::client::Client;
use crate::engine::failure::Failure;
use crate::engine::plan::Plan;
use crate::engine::slot::{Phase, Signal, Slot};
use crate::engine::thread::Local;
use crate::engine::values::{Trace, Values};
use crate::scenario::{Order, Task, Wait};
use crate::stats::{ErrorKind, Outcome};

/// Pauses after attempts that found nobody, so that a server that is away is not drowned in connections: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long a server may take to close a connection that it was asked to close.
const CLOSING: Duration = Duration::from_millis(200);

pub(crate) struct User {
    local: Rc<Local>,
    pub(crate) slot: Rc<Slot>,
    class: usize,
    values: Values,
    plan: Arc<Plan>,
    connection: Option<Client>,
    /// Of what has to be written anew for each request.
    buffer: Vec<u8>,
    /// Tasks that are done at the start, done so far; then the place in the sequence.
    started: usize,
    next: usize,
}

/// How a request went on, for whoever decides what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an answer, or without, at this time of the clock.
    Done { at: u64 },
    /// There was nobody to ask.
    Unreachable { at: u64 },
    /// The user has to go.
    Aborted,
}

impl User {
    pub(crate) fn new(local: Rc<Local>, slot: Rc<Slot>, class: usize) -> Self {
        let values = Values::new(Arc::clone(&local.scenario), local.shared.number());
        let plan = local.plan();
        Self { local, slot, class, values, plan, connection: None, buffer: Vec::new(), started: 0, next: 0 }
    }

    /// The life of a user of a closed loop.
    pub(crate) async fn live(mut self) {
        self.slot.enlist().await;
        let mut start = self.local.clock.now();
        let mut back_off = BACK_OFF.0;
        while !self.slot.leaving() && self.local.shared.claim() {
            let task = self.choose();
            let (now, unreachable) = match self.perform(task, start, start).await {
                Ended::Aborted => return,
                Ended::Done { at } => (at, false),
                Ended::Unreachable { at } => (at, true),
            };
            let mut next = self.after(start, now);
            if unreachable {
                next = next.max(now + back_off.as_nanos() as u64);
                back_off = (back_off * 2).min(BACK_OFF.1);
            } else {
                back_off = BACK_OFF.0;
            }
            start = now;
            if next > now {
                if !self.pause(next).await {
                    return;
                }
                start = self.local.clock.now();
            }
        }
    }

    /// When the next task is due.
    fn after(&self, start: u64, now: u64) -> u64 {
        let nanos = |duration: Duration| duration.as_nanos() as u64;
        match self.local.scenario.classes[self.class].wait {
            Wait::Constant(time) => now + nanos(time),
            Wait::Uniform(least, most) => now + fastrand::u64(nanos(least)..=nanos(most)),
            Wait::Pacing(time) => now.max(start + nanos(time)),
        }
    }

    /// The time between two tasks, which the scenario asks for. False: the user is to leave.
    async fn pause(&self, until: u64) -> bool {
        self.slot.unless_leaving(tokio::time::sleep_until(self.local.clock.instant(until).into())).await
    }

    /// Position of the task that comes next.
    pub(crate) fn choose(&mut self) -> usize {
        let choice = &self.local.choices[self.class];
        if let Some(task) = choice.start.get(self.started) {
            self.started += 1;
            return *task;
        }
        let at = match (choice.order, &*choice.tasks) {
            (_, [_]) => 0,
            (Order::Sequence, tasks) => {
                self.next += 1;
                (self.next - 1) % tasks.len()
            }
            (Order::Random, _) => choice.weights.choose(),
        };
        choice.tasks[at]
    }

    /// One request, from connection to the last byte, written down.
    pub(crate) async fn perform(&mut self, at: usize, intended: u64, start: u64) -> Ended {
        let local = Rc::clone(&self.local);
        let task = &local.scenario.tasks[at];
        if self.local.plan_changed(&self.plan) {
            self.plan = self.local.plan();
            self.connection = None;
        }
        self.values.requests += 1;
        self.values.trace = local.scenario.client.traceparent.map(Trace::new);
        let deadline = start + task.timeout.as_nanos() as u64;
        self.slot.set(Phase::Requesting, deadline);
        let slot = Rc::clone(&self.slot);
        let result = slot.guard(self.exchange(at, start, deadline)).await;
        let end = local.clock.now();
        let phase = slot.phase();
        slot.idle();
        // In any other phase, the answer of the connection is that to the request before.
        let answer = self.connection.as_ref().filter(|_| phase == Phase::Requesting).map(Client::answer);
        let reusable =
            answer.is_some_and(|answer| answer.reusable && answer.complete) && local.scenario.client.keepalive;
        let (status, bytes) = answer.map_or((None, 0), |answer| (Some(answer.status), answer.length));
        let status = status.filter(|status| *status > 0);
        let error = match result {
            Ok(Ok(())) => self.judge(task),
            Ok(Err(failure)) => Some((failure.kind, failure.message)),
            Err(Signal::Expired) if phase == Phase::Connecting => {
                let limit = local.scenario.client.connect_timeout.min(task.timeout);
                let host = &self.plan.hosts[self.class].authority;
                Some((ErrorKind::ConnectTimeout, format!("no connection to {host} within {limit:?}")))
            }
            Err(Signal::Expired) => Some((ErrorKind::Timeout, format!("no complete answer within {:?}", task.timeout))),
            Err(Signal::Abort) => {
                local.recorder.borrow_mut().unfinished(phase == Phase::Requesting);
                self.connection = None;
                return Ended::Aborted;
            }
        };
        let unreachable = error.as_ref().is_some_and(|(kind, _)| kind.unreachable());
        if let Some(trace) = self.values.trace.filter(|trace| trace.sampled && !unreachable) {
            local.recorder.borrow_mut().trace(at, end - start, trace.id);
        }
        local.recorder.borrow_mut().request(at, intended, start, end, Outcome { status, bytes, error });
        if !reusable {
            self.close().await;
        }
        if unreachable { Ended::Unreachable { at: end } } else { Ended::Done { at: end } }
    }

    /// What is wrong with a complete answer.
    fn judge(&mut self, task: &Task) -> Option<(ErrorKind, String)> {
        let answer = self.connection.as_ref()?.answer();
        if !task.expect.allows(answer.status) {
            return Some((ErrorKind::Status, format!("status {}", answer.status)));
        }
        let missing = self.values.body(task, &answer.body)?;
        Some((ErrorKind::Missing, format!("no value for {missing:?} in the answer")))
    }

    async fn exchange(&mut self, at: usize, start: u64, deadline: u64) -> Result<(), Failure> {
        if let Some(connection) = &mut self.connection
            && !connection.ready(&self.local).await
        {
            self.connection = None;
        }
        let local = &self.local;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let began = local.clock.now().max(start);
                let limit = began + local.scenario.client.connect_timeout.as_nanos() as u64;
                self.slot.set(Phase::Connecting, deadline.min(limit));
                let stream = local.connector.open(&self.plan.hosts[self.class]).await?;
                let client = Client::open(stream, local.scenario.client.http).await?;
                self.slot.set(Phase::Requesting, deadline);
                local.recorder.borrow_mut().connected(local.clock.now() - began);
                self.connection.insert(client)
            }
        };
        connection.exchange(local, &self.plan, at, &mut self.values, &mut self.buffer).await
    }

    /// Gives up the connection; after a complete answer, when the server has closed it.
    async fn close(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.answer().complete
            && !self.local.scenario.client.keepalive
        {
            self.slot.set(Phase::Idle, u64::MAX);
            self.slot.unless_leaving(local_timeout(CLOSING, connection.closed(&self.local))).await;
        }
    }
}

async fn local_timeout(time: Duration, event: impl Future<Output = ()>) {
    // Whether it came in time makes no difference: the connection is dropped next.
    let _ = tokio::time::timeout(time, event).await;
}
