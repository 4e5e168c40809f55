//! Taking turns with siblings, for real: the scoreboard, the clock, and the timer behind [`Balance`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustcorn_scoreboard::{Glance, Siblings as Board};
use rustcorn_sys::Monotonic;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::balance::{Balance, Siblings, Turn};

/// How long it may go unnoticed that there is one more sibling, or one less.
const ROLL_CALL: Duration = Duration::from_millis(100);

/// The siblings of this worker.
struct Seats {
    board: Board,
    own: usize,
    taken: Vec<usize>,
    counted: Option<Monotonic>,
}

impl Siblings for Seats {
    fn seats(&self) -> usize {
        self.taken.len()
    }

    fn glance(&self, seat: usize) -> Option<Glance> {
        let slot = self.taken[seat];
        if slot == self.own { None } else { self.board.glance(slot) }
    }
}

/// Decides whose turn it is, and wakes the worker when it is its own.
pub(crate) struct Turns {
    seats: Seats,
    balance: Balance,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Turns {
    /// On `board`, this worker sits on the slot `own`.
    pub(crate) const fn new(board: Board, own: usize) -> Self {
        let seats = Seats { board, own, taken: Vec::new(), counted: None };
        Self { seats, balance: Balance::new(), timer: None }
    }

    /// Whose turn it is. `queued`: how many wait, if that can be known.
    pub(crate) fn turn(&mut self, queued: impl FnOnce() -> Option<u64>) -> Turn {
        let now = Monotonic::now();
        if self.seats.counted.is_none_or(|counted| now.since(counted) >= ROLL_CALL) {
            self.seats.counted = Some(now);
            self.seats.taken.clear();
            self.seats.taken.extend(self.seats.board.seats());
        }
        let own = self.seats.board.own(self.seats.own).load;
        self.balance.turn(own, &self.seats, now, queued)
    }

    /// Somebody is there, and it is the turn of others: has this worker look again when they had their time.
    pub(crate) fn wait(&mut self, cx: &mut Context<'_>) {
        let now = Monotonic::now();
        let (ends, began) = self.balance.wait(now);
        if began || self.timer.is_none() {
            let ends = Instant::now() + ends.since(now);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(ends),
                None => self.timer = Some(Box::pin(sleep_until(ends))),
            }
        }
        let timer = self.timer.as_mut().expect("made above");
        if let Poll::Ready(()) = timer.as_mut().poll(cx) {
            cx.waker().wake_by_ref(); // patience is over by the other clock, too, or will be in no time
        }
    }

    /// Connections that this worker has, while it waits.
    pub(crate) fn waits_with(&self) -> Option<usize> {
        self.balance.waits().then(|| usize::try_from(self.seats.board.own(self.seats.own).load).unwrap_or(usize::MAX))
    }

    /// The queue is empty.
    pub(crate) fn nobody_waits(&mut self) {
        self.balance.nobody_waits(&self.seats);
    }

    /// A connection was taken.
    pub(crate) fn took(&mut self) {
        self.balance.took(&self.seats);
    }
}
