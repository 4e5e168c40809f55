//! A scoreboard with workers, for tests.

use std::time::Duration;

use rustcorn_scoreboard::{Board, Deputy, Figures, Snapshot, Threads, View, Writer};
use rustcorn_sys::{Monotonic, Pid};

/// A master's side of things.
pub(crate) struct World {
    pub(crate) board: Board,
}

impl World {
    pub(crate) fn new() -> Self {
        let board = Board::create().expect("memfd");
        board.sign_in(Pid::this(), Duration::from_secs(1_800_000_000));
        board.beat(Monotonic::now());
        Self { board }
    }

    pub(crate) fn view(&self) -> View {
        View::attach(self.board.fd()).expect("the board is ours")
    }

    pub(crate) fn target(&self, target: u64) {
        self.board.publish(&Figures { target, generation: 1, ..Figures::default() });
    }

    /// A worker that boots; this very process.
    pub(crate) fn worker(&self, slot: usize) -> Writer {
        self.board.take_seat(slot, Monotonic::now());
        let fd = self.board.fd().try_clone_to_owned().expect("a descriptor can be duplicated");
        let writer = Writer::attach(fd, slot, Threads::One).expect("the board is ours");
        writer.boot(Pid::this(), 1);
        writer
    }

    /// A worker that is a foreign program.
    pub(crate) fn foreign(&self, slot: usize) -> Deputy {
        let deputy = Deputy::attach(self.board.fd(), slot).expect("the board is ours");
        self.board.take_seat(slot, Monotonic::now());
        deputy.boot(Pid::this(), 1);
        deputy
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.board.snapshot().expect("no fold is under way")
    }
}
