//! Lanes: with `reuse_port` each TCP address has several sockets, and the kernel spreads new connections among them.
//!
//! The master holds them all for its whole life, so what is queued on one is never lost with a worker. Each worker has a lane, and
//! accepts from the sockets of that lane; all workers are given all sockets. Which lanes have a worker that serves is in a table
//! in shared memory, one for each generation, written by the master alone. Workers look at it, and take care of the lanes that
//! nobody serves: so a death, a drain or TTOU leaves no queue without somebody who accepts.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use rustcorn_sys::fd::{for_reading, memfd};

/// The lanes of a generation and their table: a byte for each, 0 if nobody serves it.
#[derive(Debug)]
pub(crate) struct Lanes {
    table: File,
    /// For workers, who shall only look.
    reading: OwnedFd,
    /// How many workers serve each lane.
    serving: RefCell<Vec<usize>>,
}

impl Lanes {
    pub(crate) fn new(count: usize) -> io::Result<Rc<Self>> {
        let table = memfd("rustcorn-lanes", &vec![0; count])?;
        let reading = for_reading(table.as_fd())?;
        Ok(Rc::new(Self { table: table.into(), reading, serving: RefCell::new(vec![0; count]) }))
    }

    pub(crate) fn count(&self) -> usize {
        self.serving.borrow().len()
    }

    pub(crate) fn table(&self) -> BorrowedFd<'_> {
        self.reading.as_fd()
    }

    fn change(&self, lane: usize, by: isize) {
        let mut serving = self.serving.borrow_mut();
        serving[lane] = serving[lane].saturating_add_signed(by);
        // Memory: it can only fail where there is none, and then workers serve more lanes than they have to, or fewer until
        // their next look at the queues.
        let _ = self.table.write_all_at(&[u8::from(serving[lane] > 0)], lane as u64);
    }
}

/// A worker's place on a lane.
#[derive(Debug)]
pub(crate) struct Seat {
    lanes: Rc<Lanes>,
    lane: usize,
    serves: Cell<bool>,
}

/// A worker as the choice of a lane sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occupant {
    pub(crate) lane: usize,
    /// Number of its spawn: the lowest is replaced first.
    pub(crate) life: u64,
    /// It is of the generation that a lane is chosen for, and nothing says that it is to be replaced.
    pub(crate) stays: bool,
}

impl Seat {
    /// On the lane that needs a worker most, of those that are not `leaving`.
    pub(crate) fn choose(lanes: &Rc<Lanes>, others: &[Occupant]) -> Self {
        let on = |lane| others.iter().filter(move |other| other.lane == lane);
        let need = |lane: &usize| {
            let staying = on(*lane).filter(|other| other.stays).count();
            // The last: the one that will be the first to be replaced by us.
            (staying, on(*lane).count(), on(*lane).map(|other| other.life).min())
        };
        let lane = (0..lanes.count()).min_by_key(need).unwrap_or(0);
        Self { lanes: Rc::clone(lanes), lane, serves: Cell::new(false) }
    }

    pub(crate) const fn lane(&self) -> usize {
        self.lane
    }

    pub(crate) fn table(&self) -> BorrowedFd<'_> {
        self.lanes.table()
    }

    /// The worker accepts.
    pub(crate) fn serve(&self) {
        if !self.serves.replace(true) {
            self.lanes.change(self.lane, 1);
        }
    }

    /// It will not for long: others shall begin to take care of its lane.
    pub(crate) fn leave(&self) {
        if self.serves.replace(false) {
            self.lanes.change(self.lane, -1);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lanes: &Lanes) -> Vec<u8> {
        let mut bytes = vec![9; lanes.count()];
        File::from(lanes.reading.try_clone().expect("descriptors")).read_exact_at(&mut bytes, 0).expect("memory");
        bytes
    }

    fn staying(lane: usize, life: u64) -> Occupant {
        Occupant { lane, life, stays: true }
    }

    #[test]
    fn the_table_says_which_lanes_are_served() {
        let lanes = Lanes::new(2).expect("memory");
        let seats = [Seat::choose(&lanes, &[]), Seat::choose(&lanes, &[staying(0, 1)])];
        assert_eq!((seats[0].lane(), seats[1].lane(), table(&lanes)), (0, 1, vec![0, 0]));
        seats.iter().for_each(Seat::serve);
        seats[0].serve(); // said twice is said once
        assert_eq!(table(&lanes), [1, 1]);
        let third = Seat::choose(&lanes, &[staying(0, 1), staying(1, 2)]);
        third.serve();
        seats[0].leave();
        assert_eq!((third.lane(), table(&lanes)), (0, vec![1, 1]), "the third serves that lane, too");
        drop(third);
        assert_eq!(table(&lanes), [0, 1]);
        drop(seats);
        assert_eq!(table(&lanes), [0, 0]);
    }

    #[test]
    fn workers_of_a_new_generation_take_the_lanes_of_those_they_replace() {
        let lanes = Lanes::new(3).expect("memory");
        let lane = |others: &[Occupant]| Seat::choose(&lanes, others).lane();
        let old = |lane, life| Occupant { lane, life, stays: false };
        // The oldest is at lane 1, so it is the one to leave next.
        assert_eq!(lane(&[old(0, 5), old(1, 4), old(2, 6)]), 1);
        // It has left; the next one to go is at lane 0.
        assert_eq!(lane(&[old(0, 5), old(2, 6), staying(1, 7)]), 0);
        // A lane without anybody comes before one whose worker will be replaced.
        assert_eq!(lane(&[old(0, 5), staying(1, 7)]), 2);
    }

    #[test]
    fn a_recycled_worker_is_replaced_on_its_own_lane() {
        let lanes = Lanes::new(2).expect("memory");
        let spent = Occupant { lane: 1, life: 2, stays: false };
        assert_eq!(Seat::choose(&lanes, &[staying(0, 1), spent]).lane(), 1);
    }
}
