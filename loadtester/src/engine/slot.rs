//! One user, as its thread sees it: what it is doing, until when it may, and how to stop it.
//!
//! Timeouts cost nothing per request: a request notes its deadline here, and one sweep per thread looks at all of them.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

/// What a user is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Thinking, or waiting for an arrival.
    Idle,
    /// A request wants a connection.
    Connecting,
    /// A request is on the wire.
    Requesting,
}

/// Why a request is not to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Its deadline is over.
    Expired,
    /// The user has to go.
    Abort,
}

pub(crate) struct Slot {
    phase: Cell<Phase>,
    /// Nanoseconds of the thread's clock; `u64::MAX`: none.
    deadline: Cell<u64>,
    signal: Cell<Option<Signal>>,
    /// To end after the request in hand; at the latest then.
    leave: Cell<Option<u64>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            phase: Cell::new(Phase::Idle),
            deadline: Cell::new(u64::MAX),
            signal: Cell::new(None),
            leave: Cell::new(None),
            waker: RefCell::default(),
        }
    }

    /// To be called by the user's task before anything else: sweeps wake it by this.
    pub(crate) async fn enlist(&self) {
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn set(&self, phase: Phase, deadline: u64) {
        self.phase.set(phase);
        self.deadline.set(deadline);
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(crate) fn idle(&self) {
        self.set(Phase::Idle, u64::MAX);
        self.signal.set(None);
    }

    /// Asks the user to end after its request, or in it when the clock says `latest`.
    pub(crate) fn leave(&self, latest: u64) {
        let latest = self.leave.get().map_or(latest, |before| before.min(latest));
        self.leave.set(Some(latest));
        self.wake();
    }

    pub(crate) fn leaving(&self) -> bool {
        self.leave.get().is_some()
    }

    /// Ends what has to end by now.
    pub(crate) fn sweep(&self, now: u64) {
        if self.phase.get() == Phase::Idle || self.signal.get().is_some() {
            return;
        }
        let signal = if self.leave.get().is_some_and(|latest| latest <= now) {
            Signal::Abort
        } else if self.deadline.get() <= now {
            Signal::Expired
        } else {
            return;
        };
        self.signal.set(Some(signal));
        self.wake();
    }

    /// Does `work` unless a sweep ends it.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Signal> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.signal.get().map_or(Poll::Pending, |signal| Poll::Ready(Err(signal))),
        })
        .await
    }

    /// Waits for `event`, or until the user is asked to end. Whether the event came.
    pub(crate) async fn unless_leaving(&self, event: impl Future<Output = ()>) -> bool {
        let mut event = pin!(event);
        poll_fn(|cx| if self.leaving() { Poll::Ready(false) } else { event.as_mut().poll(cx).map(|()| true) }).await
    }
}
