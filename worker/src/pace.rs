//! How fast bytes move where somebody waits for a client: a body to come, or a response to be taken.
//!
//! The streams only count; the sweep judges, from one look to the next. Time in which nobody waits does not count: an
//! application may let a body wait for as long as it likes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustcorn_sys::Monotonic;

/// The bytes of one direction of a connection.
#[derive(Default)]
pub(crate) struct Pace {
    moved: AtomicU64,
    waits: AtomicBool,
    late: AtomicBool,
    /// The sweep has something in `seen`.
    watched: AtomicBool,
    seen: Mutex<Seen>,
}

/// What is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Watch {
    /// Longest time without a byte.
    pub(crate) time: Duration,
    /// Least bytes in each such time.
    pub(crate) least: u64,
}

impl Pace {
    /// Bytes have moved. `waits`: for more of them.
    pub(crate) fn moved(&self, bytes: u64, waits: bool) {
        self.moved.fetch_add(bytes, Relaxed);
        self.waits.store(waits, Relaxed);
    }

    /// Somebody waits for the client. Whether it is late already.
    pub(crate) fn waits(&self) -> bool {
        if !self.waits.swap(true, Relaxed) {
            self.moved.fetch_add(1, Relaxed); // what the sweep saw before is old news
        }
        self.late.load(Relaxed)
    }

    /// Whether somebody waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waits.load(Relaxed)
    }

    /// Whether the sweep has found the client late.
    pub(crate) fn is_said_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// Nobody waits any more.
    pub(crate) fn rests(&self) {
        self.waits.store(false, Relaxed);
        self.late.store(false, Relaxed);
    }

    /// The sweep's look: says once if the client is late.
    pub(crate) fn is_late(&self, now: Monotonic, watch: Option<Watch>) -> bool {
        let Some(watch) = watch.filter(|_| self.waits.load(Relaxed)) else {
            if self.watched.swap(false, Relaxed) {
                *self.seen() = Seen::default();
            }
            return false;
        };
        self.watched.store(true, Relaxed);
        let is_late = self.seen().look(now, self.moved.load(Relaxed), watch);
        is_late && !self.late.swap(true, Relaxed)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner) // nothing in between can panic
    }
}

/// Two earlier moments, and how many bytes there were then.
#[derive(Default)]
struct Seen {
    /// The last progress.
    still: Option<(Monotonic, u64)>,
    /// The begin of a stretch over which the rate is taken.
    stretch: Option<(Monotonic, u64)>,
}

impl Seen {
    fn look(&mut self, now: Monotonic, moved: u64, watch: Watch) -> bool {
        let (since, count) = *self.still.get_or_insert((now, moved));
        let stands = count == moved && now.since(since) >= watch.time;
        if count != moved {
            self.still = Some((now, moved));
        }
        let (since, count) = *self.stretch.get_or_insert((now, moved));
        let is_over = now.since(since) >= watch.time;
        if is_over {
            self.stretch = Some((now, moved));
        }
        stands || (is_over && moved - count < watch.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCH: Option<Watch> = Some(Watch { time: Duration::from_secs(10), least: 100 });

    fn at(second: u64) -> Monotonic {
        Monotonic::from_nanos((1000 + second) * 1_000_000_000)
    }

    #[test]
    fn nobody_waits_so_nobody_is_late() {
        let pace = Pace::default();
        assert!((0..100).all(|second| !pace.is_late(at(second), WATCH)));
        assert!(!pace.waits());
        assert!((100..110).all(|second| !pace.is_late(at(second), WATCH)), "time counts from the wait");
        assert!(pace.is_late(at(110), WATCH));
        assert!(!pace.is_late(at(111), WATCH), "it is said once");
        assert!(pace.waits());
        pace.rests();
        assert!(!pace.waits(), "another body is another matter");
    }

    #[test]
    fn no_limit_no_lateness() {
        let pace = Pace::default();
        pace.waits();
        assert!((0..100).all(|second| !pace.is_late(at(second), None)));
    }

    #[test]
    fn a_drip_is_too_slow_by_its_rate() {
        let (drip, stream) = (Pace::default(), Pace::default());
        for (pace, bytes, late) in [(&drip, 1, true), (&stream, 20, false)] {
            let look = |second| {
                pace.moved(bytes, false);
                pace.waits();
                pace.is_late(at(second), WATCH)
            };
            assert_eq!((0..60).any(look), late, "{bytes} bytes a second");
        }
    }

    #[test]
    fn what_comes_in_bursts_is_not_still() {
        let pace = Pace::default();
        for second in 0..100 {
            if second % 9 == 0 {
                pace.moved(1000, false);
            }
            pace.waits();
            assert!(!pace.is_late(at(second), WATCH), "{second}");
        }
    }

    #[test]
    fn a_pause_of_the_application_is_nobodys_fault() {
        let pace = Pace::default();
        pace.waits();
        assert!((0..9).all(|second| !pace.is_late(at(second), WATCH)));
        pace.rests();
        assert!((9..60).all(|second| !pace.is_late(at(second), WATCH)));
        pace.waits();
        assert!((60..70).all(|second| !pace.is_late(at(second), WATCH)));
        assert!(pace.is_late(at(70), WATCH));
    }
}
