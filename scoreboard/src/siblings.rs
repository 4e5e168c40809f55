//! The view that a worker has of all workers: how loaded they are, and whether they take connections. It cannot write.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::State;
use crate::layout::Image;
use crate::map::{self, HeaderView, Mapped};

/// All slots, for reading.
pub struct Siblings {
    image: Mapped<Image>,
}

/// A worker that takes connections, at a glance: two cache lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance {
    /// Where it sits.
    pub slot: usize,
    /// Open connections, or requests in flight if those are more: a connection of HTTP/2 has many.
    pub load: u64,
    /// Connections it has taken so far.
    pub accepted: u64,
    /// Its last sign of life, in nanoseconds since boot.
    pub beat: u64,
}

impl Siblings {
    /// Maps the whole scoreboard, read-only.
    ///
    /// # Errors
    /// As [`crate::Writer::attach`].
    pub fn attach(fd: BorrowedFd<'_>) -> io::Result<Self> {
        HeaderView::open(fd)?;
        Ok(Self { image: map::view(fd)? })
    }

    /// The seats that are taken now. Looks at 16 KiB, so not for each connection.
    pub fn seats(&self) -> impl Iterator<Item = usize> {
        self.image.header.ledger.seats().map(|(slot, _)| slot)
    }

    /// How the slot's worker is; `None` if it takes no connections: it boots, leaves, or is not there.
    #[must_use]
    pub fn glance(&self, slot: usize) -> Option<Glance> {
        let glance = self.own(slot);
        (State::from_raw(self.image.slots[slot].identity.state.load(Acquire)) == State::Ready).then_some(glance)
    }

    /// The same of the worker's own slot, whatever its state.
    #[must_use]
    pub fn own(&self, slot: usize) -> Glance {
        let slot_of = &self.image.slots[slot];
        let (connections, in_flight) = (slot_of.plain.connections.load(Relaxed), slot_of.plain.in_flight.load(Relaxed));
        Glance {
            slot,
            load: connections.max(in_flight),
            accepted: slot_of.plain.accepted.load(Relaxed),
            beat: slot_of.identity.beat.load(Relaxed),
        }
    }
}

/// How evenly workers share connections, from how many each has: the most over the mean. 1 is even, also where there are none.
#[must_use]
pub fn spread(connections: impl IntoIterator<Item = u64>) -> f64 {
    let (workers, sum, most) = (connections.into_iter())
        .fold((0_u32, 0, 0), |(workers, sum, most), count: u64| (workers + 1, sum + count, most.max(count)));
    if sum == 0 { 1.0 } else { most as f64 * f64::from(workers) / sum as f64 }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustcorn_sys::{Monotonic, Pid};

    use super::*;
    use crate::{Board, Threads, Writer};

    #[test]
    fn a_worker_sees_those_that_take_connections_and_how_loaded_they_are() {
        let board = Board::create().expect("a memfd");
        let siblings = Siblings::attach(board.fd().as_fd()).expect("it is ours");
        assert_eq!((siblings.seats().count(), siblings.glance(3)), (0, None));
        board.take_seat(3, Monotonic::from_nanos(1));
        board.take_seat(7, Monotonic::from_nanos(1));
        assert_eq!(siblings.seats().collect::<Vec<_>>(), [3, 7]);
        let writer = Writer::attach(board.fd().try_clone_to_owned().expect("a copy"), 3, Threads::One).expect("ours");
        writer.boot(Pid::this(), 1);
        writer.connection_opened();
        assert_eq!((siblings.glance(3), siblings.own(3).load), (None, 1), "it boots");
        writer.set_state(State::Ready);
        writer.beat(Monotonic::from_nanos(5));
        assert_eq!(siblings.glance(3), Some(Glance { slot: 3, load: 1, accepted: 1, beat: 5 }));
        (0..4).for_each(|_| writer.request_started());
        writer.connection_opened();
        assert_eq!(siblings.glance(3).map(|glance| (glance.load, glance.accepted)), Some((4, 2)), "by HTTP/2");
        (0..4).for_each(|_| writer.request_aborted());
        writer.connection_closed();
        assert_eq!(siblings.glance(3).map(|glance| glance.load), Some(1));
        writer.set_state(State::Draining);
        assert_eq!(siblings.glance(3), None);
    }

    #[test]
    fn the_spread_is_the_most_over_the_mean() {
        let close = |counts: &[u64], expected: f64| {
            assert!((spread(counts.iter().copied()) - expected).abs() < 1e-9, "{counts:?}");
        };
        close(&[], 1.0);
        close(&[0, 0], 1.0);
        close(&[5, 5, 5], 1.0);
        close(&[8, 0, 0, 0], 4.0);
        close(&[3, 2, 2, 1], 1.5);
    }

    #[test]
    fn what_is_no_board_is_refused() {
        let (pipe, _end) = rustcorn_sys::fd::pipe().expect("a pipe");
        assert!(Siblings::attach(pipe.as_fd()).is_err());
    }
}
