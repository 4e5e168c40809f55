//! All slots: as the master has them, and as the admin process may look at them.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use rustcorn_sys::{Monotonic, Pid};

use crate::layout::{Image, Slot};
use crate::map::{self, HeaderView, Mapped};
use crate::{Counts, Figures, Master, Phase, Polled, SLOTS, Seat, Snapshot, State};

/// The whole scoreboard, the master's way: it alone writes the ledger, and clears slots. To read, see [`View`]. Methods
/// that take a slot panic if it is not below [`SLOTS`].
pub struct Board {
    fd: OwnedFd,
    view: View,
}

/// The whole scoreboard, for reading.
pub struct View {
    image: Mapped<Image>,
}

impl Deref for Board {
    type Target = View;
    fn deref(&self) -> &View {
        &self.view
    }
}

/// What a worker is at the moment, as far as it has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vitals {
    /// The occupant; `None` until it has booted.
    pub pid: Option<Pid>,
    /// The generation it was started for.
    pub generation: u32,
    /// Where in its life it is.
    pub state: State,
    /// Its last sign of life.
    pub beat: Option<Monotonic>,
    /// Whether it counts. One that knows of no scoreboard does not (see [`Deputy`](crate::Deputy)): all its numbers are zero
    /// because nobody knows them.
    pub counted: bool,
    /// Connections open.
    pub connections: u64,
    /// Requests begun and not yet answered or given up. Of a dead worker: what it took with it.
    pub in_flight: u64,
}

impl Board {
    /// A new scoreboard, all slots empty. Address space is 128 MiB, memory a page for each part in use.
    ///
    /// # Errors
    /// The kernel's, from memfd_create(2), ftruncate(2), fcntl(2) or mmap(2).
    pub fn create() -> io::Result<Self> {
        let fd = map::create()?;
        let image = map::board(fd.as_fd())?;
        image.header.fill();
        Ok(Self { fd, view: View { image } })
    }

    /// An existing scoreboard: handed over by the master that made it.
    ///
    /// # Errors
    /// The descriptor is something else, or was made by a rustcorn whose layout differs; the message says what to do.
    pub fn attach(fd: OwnedFd) -> io::Result<Self> {
        HeaderView::open(fd.as_fd())?;
        let image = map::board(fd.as_fd())?;
        Ok(Self { fd, view: View { image } })
    }

    /// The descriptor to hand to workers. Close-on-exec.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Tells all workers what the master is about; they see it at once.
    pub fn set_phase(&self, phase: Phase) {
        self.image.header.phase.store(phase as u32, Release);
    }

    /// Says who the master is; `started` is the time of day, since 1970.
    pub fn sign_in(&self, pid: Pid, started: Duration) {
        self.image.header.ledger.sign_in(pid, started);
    }

    /// The master's sign of life.
    pub fn beat(&self, now: Monotonic) {
        self.image.header.ledger.beat(now);
    }

    /// What the master knows and no worker does.
    pub fn publish(&self, figures: &Figures) {
        self.image.header.ledger.publish(figures);
    }

    /// Log lines of the master itself, in the order of [`Counts::log`]; they become part of the totals.
    pub fn publish_log(&self, lines: [u64; 3]) {
        self.image.header.ledger.publish_log(lines);
    }

    /// Connections that wait to be accepted; `None` where nobody can tell.
    pub fn publish_backlog(&self, backlog: Option<u64>) {
        self.image.header.ledger.publish_backlog(backlog);
    }

    /// A worker is being started for the slot: from now on its counters belong to the totals.
    pub fn take_seat(&self, slot: usize, now: Monotonic) {
        assert!(slot < SLOTS, "slot {slot} of {SLOTS}");
        self.image.header.ledger.take_seat(slot, now);
    }

    /// The slot's worker has been reaped, or could not be started: takes its numbers into the totals for good and empties the
    /// slot, all at once for whoever reads a [`Snapshot`].
    pub fn fold(&self, slot: usize) {
        let last = self.last_counts(slot);
        self.image.header.ledger.fold(slot, &last, || self.reset(slot));
    }

    /// Empties a slot for its next occupant: counters, vitals, and records that a killed writer left half written. Only
    /// when no process writes the slot: its worker has been reaped, or was never started. [`Self::fold`] calls it; a worker's
    /// numbers are lost without.
    pub fn reset(&self, slot: usize) {
        let slot = self.slot(slot);
        // An untouched slot stays untouched: writing zeroes would make pages of it.
        slot.lanes_in_use().iter().for_each(|lane| lane.reset());
        if slot.identity.lanes.load(Relaxed) != 0 {
            slot.records.iter().for_each(|record| record.reset());
        }
        let id = &slot.identity;
        let words = [&id.pid, &id.generation, &id.state, &id.lanes, &id.uncounted];
        words.into_iter().for_each(|word| word.store(0, Relaxed));
        let plain = &slot.plain;
        let gauges = [&id.beat, &plain.accepted, &plain.connections, &plain.in_flight, &plain.aborted];
        let others = [&plain.spans_waiting, &plain.spans_dropped, &plain.handshakes_failed, &plain.access_lines_lost];
        plain.log.iter().chain(&plain.refused).chain(gauges).chain(others).for_each(|word| word.store(0, Relaxed));
    }
}

impl View {
    /// An existing scoreboard, handed over by the master that made it. The descriptor may be open for reading alone.
    ///
    /// # Errors
    /// As [`Board::attach`].
    pub fn attach(fd: BorrowedFd<'_>) -> io::Result<Self> {
        HeaderView::open(fd)?;
        Ok(Self { image: map::view(fd)? })
    }

    /// What the workers were told last.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::from_raw(self.image.header.phase.load(Acquire))
    }

    /// What the master says of itself.
    #[must_use]
    pub fn master(&self) -> Master {
        self.image.header.ledger.master()
    }

    /// Everything at once, no worker's numbers missing and none twice, whatever the master is doing; and the states are those of
    /// one moment, so that a worker and its successor are never both seen as not serving. `None` where the master
    /// stands still (or died) in the middle of a [`Board::fold`]: then the last snapshot is as new as any. About 5 µs a worker.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        let ledger = &self.image.header.ledger;
        let states = || ledger.seats().map(|(slot, _)| (slot, self.vitals(slot).state)).collect::<Vec<_>>();
        ledger.stable(|past| {
            let mut totals = past;
            let seats = ledger.seats().map(|(slot, since)| {
                let counts = self.counts(slot);
                totals.add(&counts);
                Seat { slot, since, vitals: self.vitals(slot), counts }
            });
            let seats: Vec<Seat> = seats.collect();
            // No state is entered twice by one occupant: what was so before and after was so all the time.
            let same = seats.iter().map(|seat| (seat.slot, seat.vitals.state)).eq(states());
            let snapshot =
                Snapshot { phase: self.phase(), master: ledger.master(), figures: ledger.figures(), totals, seats };
            same.then_some(snapshot)
        })
    }

    /// What the slot's occupant has counted since it booted; after its death, for good. See [`Counts`] for what agrees
    /// with what when. About 2 µs and two allocations.
    #[must_use]
    pub fn counts(&self, slot: usize) -> Counts {
        let slot = self.slot(slot);
        let plain = &slot.plain;
        let mut counts = Counts {
            accepted: plain.accepted.load(Relaxed),
            aborted: plain.aborted.load(Relaxed),
            log: plain.log.each_ref().map(|count| count.load(Relaxed)),
            spans_dropped: plain.spans_dropped.load(Relaxed),
            handshakes_failed: plain.handshakes_failed.load(Relaxed),
            access_lines_lost: plain.access_lines_lost.load(Relaxed),
            refused: plain.refused.each_ref().map(|count| count.load(Relaxed)),
            ..Counts::default()
        };
        slot.lanes_in_use().iter().for_each(|lane| counts.add_lane(&lane.read()));
        counts
    }

    /// As [`Self::counts`], of an occupant that is gone for good: the spans it had not yet sent are lost.
    #[must_use]
    pub fn last_counts(&self, slot: usize) -> Counts {
        let mut counts = self.counts(slot);
        counts.spans_dropped += self.slot(slot).plain.spans_waiting.load(Relaxed);
        counts
    }

    /// How the slot's occupant is.
    #[must_use]
    pub fn vitals(&self, slot: usize) -> Vitals {
        let Slot { identity, plain, .. } = self.slot(slot);
        // State first and acquire: whoever sees Booting sees the pid and generation stored before it.
        let state = State::from_raw(identity.state.load(Acquire));
        let beat = identity.beat.load(Relaxed);
        Vitals {
            pid: identity.pid.load(Relaxed).try_into().ok().and_then(Pid::from_raw),
            generation: identity.generation.load(Relaxed),
            state,
            beat: (beat != 0).then(|| Monotonic::from_nanos(beat)),
            counted: identity.uncounted.load(Relaxed) == 0,
            connections: plain.connections.load(Relaxed),
            in_flight: plain.in_flight.load(Relaxed),
        }
    }

    /// The requests that the slot's occupant is polling right now, at most one a thread. Between polls there are none,
    /// however many are in flight.
    #[must_use]
    pub fn polled(&self, slot: usize) -> Vec<Polled> {
        let slot = self.slot(slot);
        let records = if slot.identity.lanes.load(Relaxed) == 0 { 0 } else { slot.records.len() };
        slot.records[..records].iter().filter_map(|record| record.read()).collect()
    }

    #[cfg(test)]
    pub(crate) fn ledger(&self) -> &crate::ledger::Ledger {
        &self.image.header.ledger
    }

    fn slot(&self, slot: usize) -> &Slot {
        &self.image.slots[slot]
    }
}

#[cfg(test)]
mod tests;
