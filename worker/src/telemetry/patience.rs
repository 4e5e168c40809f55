//! How long exporting may still take: for ever while the worker serves, until a deadline once it leaves.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared by everything that exports in one worker.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    end: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Patience {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner) // one word: nothing can be half done
    }

    /// From now on nothing may last beyond `end`.
    pub(crate) fn end_at(&self, end: Instant) {
        *self.lock() = Some(end);
        self.changed.notify_all();
    }

    /// `until`, or the end if that is sooner.
    pub(crate) fn limit(&self, until: Instant) -> Instant {
        self.lock().map_or(until, |end| end.min(until))
    }

    /// Waits, less long if meanwhile an end is set: what was waited for may come true only before it.
    pub(crate) fn pause(&self, time: Duration) {
        let end = self.lock();
        let had_end = end.is_some();
        // Poisoned or not, the wait is over.
        drop(self.changed.wait_timeout_while(end, time, |end| end.is_some() == had_end));
    }
}
