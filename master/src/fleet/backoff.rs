//! Seats whose workers keep dying are filled again at a bounded rate.
//!
//! A vacancy belongs to a seat: while it waits, no other free seat may take its place, or a worker that dies at once
//! would simply be tried on the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustcorn_scoreboard::SLOTS;
use rustcorn_sys::Monotonic;

use super::Slot;

/// A worker that served this long was healthy: its death starts a new count.
pub(super) const HEALTHY: Duration = Duration::from_secs(10);
/// The longest pause.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Seats {
    records: BTreeMap<Slot, Record>,
    /// Vacancies whose seat is not to be filled before this time.
    waiting: BTreeMap<Slot, Monotonic>,
}

#[derive(Debug, Default)]
struct Record {
    /// Deaths in a row without a healthy life in between.
    failures: u32,
    ready_since: Option<Monotonic>,
}

impl Seats {
    /// A new generation starts with a clean record.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn ready(&mut self, slot: Slot, now: Monotonic) {
        if let Some(record) = self.records.get_mut(&slot) {
            record.ready_since = Some(now);
        }
    }

    pub(super) fn taken(&mut self, slot: Slot) {
        self.waiting.remove(&slot);
        self.records.entry(slot).or_default().ready_since = None;
    }

    /// Its worker died unasked. The first time the seat is filled again at once; then after `first`, doubled each time.
    pub(super) fn failed(&mut self, slot: Slot, now: Monotonic, first: Duration) -> Duration {
        let record = self.records.entry(slot).or_default();
        if record.ready_since.is_some_and(|since| now.since(since) >= HEALTHY) {
            record.failures = 0;
        }
        record.failures = record.failures.saturating_add(1);
        let pause = match record.failures {
            1 => Duration::ZERO,
            // Seats that fail together should not be tried together for ever: each is stretched by up to a quarter.
            n => spread((first * 2_u32.saturating_pow((n - 2).min(16))).min(LONGEST), slot),
        };
        self.waiting.insert(slot, now + pause);
        pause
    }

    /// Of `missing` workers, how many may be spawned now. Fewer may be missing than vacancies wait (TTOU): then those that
    /// would wait longest are dropped, or they would hold back a seat that is free to be filled.
    pub(super) fn due(&mut self, now: Monotonic, missing: usize) -> usize {
        while self.waiting.len() > missing
            && let Some(slot) = self.waiting.iter().max_by_key(|(_, until)| **until).map(|(slot, _)| *slot)
        {
            self.waiting.remove(&slot);
        }
        missing - self.waiting.values().filter(|until| **until > now).count()
    }

    /// The seat to fill next: one whose time has come, so that its record goes on, or else the lowest free one without a
    /// vacancy that waits.
    pub(super) fn choose(&self, now: Monotonic, taken: &BTreeSet<Slot>) -> Option<Slot> {
        let due = self.waiting.iter().filter(|(_, until)| **until <= now).map(|(slot, _)| *slot);
        let fresh = (0..SLOTS).map(Slot).filter(|slot| !self.waiting.contains_key(slot));
        due.chain(fresh).find(|slot| !taken.contains(slot))
    }

    /// When the next vacancy may be filled. Those that could be filled already wait for something else.
    pub(super) fn next_due(&self, now: Monotonic) -> Option<Monotonic> {
        self.waiting.values().copied().filter(|until| *until > now).min()
    }
}

fn spread(pause: Duration, slot: Slot) -> Duration {
    pause + pause / 4 * u32::try_from(slot.0 * 7 % 16).unwrap_or(0) / 16
}
