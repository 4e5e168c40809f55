//! The view of the master in place of a worker that knows of no scoreboard.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Release;

use rustcorn_sys::Pid;

use crate::State;
use crate::layout::Slot;
use crate::map::{self, HeaderView, Mapped};

/// Says where in its life a worker is that does not say so itself. It counts nothing, and readers are told that nobody does.
pub struct Deputy {
    slot: Mapped<Slot>,
}

impl fmt::Debug for Deputy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deputy").finish_non_exhaustive()
    }
}

impl Deputy {
    /// Takes an empty slot. From now on its numbers are unknown, until the slot is emptied again.
    ///
    /// # Errors
    /// As [`Writer::attach`](crate::Writer::attach).
    pub fn attach(fd: BorrowedFd<'_>, slot: usize) -> io::Result<Self> {
        HeaderView::open(fd)?;
        let slot = map::slot(fd, slot)?;
        slot.identity.uncounted.store(1, Release);
        Ok(Self { slot })
    }

    /// The worker is there: [`State::Booting`].
    pub fn boot(&self, pid: Pid, generation: u32) {
        self.slot.identity.sign_in(pid, generation);
    }

    /// Says where in its life it is.
    pub fn set_state(&self, state: State) {
        self.slot.identity.set_state(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Board, Threads, Writer};
    use rustcorn_sys::Monotonic;

    #[test]
    fn its_numbers_are_unknown_until_somebody_counts() {
        let board = Board::create().expect("memfd");
        let counted = || board.snapshot().expect("no fold is under way").counted();
        assert!(counted(), "nobody is there, so there is nothing to count");
        let deputy = Deputy::attach(board.fd(), 0).expect("the board is ours");
        board.take_seat(0, Monotonic::now());
        assert!(!counted(), "before its process is known, too");
        deputy.boot(Pid::this(), 7);
        deputy.set_state(State::Ready);
        let vitals = board.vitals(0);
        assert_eq!((vitals.pid, vitals.generation, vitals.state), (Some(Pid::this()), 7, State::Ready));
        assert!(!vitals.counted && !counted());

        board.take_seat(1, Monotonic::now());
        assert!(counted(), "one that counts, in spite of the other");
        board.fold(1);
        assert!(!counted());
        board.fold(0);
        assert!(board.vitals(0).counted, "whoever is next");

        Deputy::attach(board.fd(), 2).expect("the board is ours"); // whose process could not be started
        let fd = board.fd().try_clone_to_owned().expect("a descriptor can be duplicated");
        Writer::attach(fd, 2, Threads::One).expect("the board is ours");
        assert!(board.vitals(2).counted);
    }
}
