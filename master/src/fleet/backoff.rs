//! Seats whose workers keep dying are filled again at a bounded rate.
//!
//! A vacancy belongs to a seat: while the seat rests, no other free seat may take its place, or a worker that dies at once
//! would simply be tried on the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use rustcorn_scoreboard::SLOTS;
use rustcorn_sys::Monotonic;

use super::Slot;

/// A worker that served this long was healthy: its death starts a new count.
pub(super) const HEALTHY: Duration = Duration::from_secs(10);
/// The longest pause.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Seats(BTreeMap<Slot, Seat>);

#[derive(Debug, Default)]
struct Seat {
    /// Deaths in a row without a healthy life in between.
    failures: u32,
    ready_since: Option<Monotonic>,
    /// Empty until then.
    rests_until: Option<Monotonic>,
}

impl Seats {
    /// A new generation starts with a clean record.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    pub(super) fn ready(&mut self, slot: Slot, now: Monotonic) {
        if let Some(seat) = self.0.get_mut(&slot) {
            seat.ready_since = Some(now);
        }
    }

    pub(super) fn taken(&mut self, slot: Slot) {
        let seat = self.0.entry(slot).or_default();
        (seat.rests_until, seat.ready_since) = (None, None);
    }

    /// Its worker died unasked. The first time the seat is filled again at once; then after `first`, doubled each time.
    pub(super) fn failed(&mut self, slot: Slot, now: Monotonic, first: Duration) -> Duration {
        let seat = self.0.entry(slot).or_default();
        if seat.ready_since.is_some_and(|since| now.since(since) >= HEALTHY) {
            seat.failures = 0;
        }
        seat.failures = seat.failures.saturating_add(1);
        let pause = match seat.failures {
            1 => Duration::ZERO,
            // Seats that fail together should not be tried together for ever: each is stretched by up to a quarter.
            n => spread((first * 2_u32.saturating_pow((n - 2).min(16))).min(LONGEST), slot),
        };
        seat.rests_until = Some(now + pause);
        pause
    }

    pub(super) fn rests(&self, slot: Slot) -> bool {
        self.0.get(&slot).is_some_and(|seat| seat.rests_until.is_some())
    }

    /// How many vacancies have to wait.
    pub(super) fn resting(&self, now: Monotonic) -> usize {
        self.0.values().filter(|seat| seat.rests_until.is_some_and(|until| until > now)).count()
    }

    /// The seat to fill next: one whose rest is over, so that its record goes on, or else the lowest that is free.
    pub(super) fn choose(&self, now: Monotonic, is_free: impl Fn(Slot) -> bool) -> Option<Slot> {
        let rested = self.0.iter().filter(|(_, seat)| seat.rests_until.is_some_and(|until| until <= now));
        let fresh = (0..SLOTS).map(Slot).filter(|slot| self.0.get(slot).is_none_or(|seat| seat.rests_until.is_none()));
        rested.map(|(slot, _)| *slot).chain(fresh).find(|slot| is_free(*slot))
    }

    pub(super) fn next_due(&self) -> Option<Monotonic> {
        self.0.values().filter_map(|seat| seat.rests_until).min()
    }
}

fn spread(pause: Duration, slot: Slot) -> Duration {
    pause + pause / 4 * u32::try_from(slot.0 * 7 % 16).unwrap_or(0) / 16
}
