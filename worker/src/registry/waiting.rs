//! Streams of an HTTP/2 connection that wait for the client: for more of a body, or for room for a response.
//!
//! HTTP/1 has one of each, in `conduct`, where the bytes themselves are seen. Here only those that have waited are known, so that
//! a request that never waits costs nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use rustcorn_sys::Monotonic;

use crate::pace::{Pace, Watch};

/// One that waits, or has waited and is not over.
#[derive(Default)]
pub(crate) struct Waiting {
    pace: Pace,
    /// Whom the sweep wakes.
    task: Mutex<Option<Waker>>,
}

impl Waiting {
    /// It waits. Whether the client took too long for that already.
    pub(crate) fn waits(&self, cx: &Context<'_>) -> bool {
        let mut task = lock(&self.task);
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        drop(task); // before the look: either the sweep finds this waker, or we find what the sweep said
        self.pace.waits()
    }

    pub(crate) fn is_late(&self) -> bool {
        self.pace.is_said_late()
    }

    /// It went on by so many bytes.
    pub(crate) fn moved(&self, bytes: u64) {
        self.pace.moved(bytes, false);
        self.pace.rests();
    }

    fn look(&self, now: Monotonic, watch: Option<Watch>) {
        if self.pace.is_late(now, watch)
            && let Some(task) = &*lock(&self.task)
        {
            task.wake_by_ref();
        }
    }
}

/// All that wait for the same on one connection.
#[derive(Default)]
pub(crate) struct Waitlist(Mutex<Vec<Arc<Waiting>>>);

impl Waitlist {
    /// One more.
    pub(crate) fn join(&self) -> Arc<Waiting> {
        let waiting = Arc::new(Waiting::default());
        lock(&self.0).push(Arc::clone(&waiting));
        waiting
    }

    /// It is over.
    pub(crate) fn leave(&self, waiting: &Arc<Waiting>) {
        let mut list = lock(&self.0);
        if let Some(at) = list.iter().position(|other| Arc::ptr_eq(other, waiting)) {
            list.swap_remove(at);
        }
    }

    /// How many wait at this moment.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.0).iter().filter(|waiting| waiting.pace.is_waited_for()).count()
    }

    /// The sweep's look.
    pub(super) fn sweep(&self, now: Monotonic, watch: Option<Watch>) {
        lock(&self.0).iter().for_each(|waiting| waiting.look(now, watch));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // nothing in between can panic
}
