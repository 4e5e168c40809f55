//! Shared memory in which workers count and the master reads.
//!
//! A sealed memfd holds a header and [`SLOTS`] slots; each worker writes its own slot through a [`Writer`], the master
//! reads all of them through a [`Board`], and the admin process through a [`View`] that cannot write. Counting costs no system call, no allocation and, in a
//! single-threaded worker, no locked instruction. A worker's numbers outlive it: after a SIGKILL between any two
//! instructions [`View::counts`] still gives status codes, durations and requests that agree (see `lane.rs` for how).
//!
//! | module | what it is |
//! |---|---|
//! | `layout` | the bytes in shared memory, all of them atomics |
//! | `map` | memfd and mmap; the only unsafe code |
//! | `lane` | the counters that must agree with each other, and the protocol that makes them |
//! | `polled` | the text of the request being polled, under a sequence lock |
//! | `ledger` | what the master writes: totals of past workers, seats, its own figures |
//! | `board`, `writer` | the two sides: the master with its read-only view, and a worker |
//! | `deputy` | the master in place of a worker that knows of no scoreboard |
//! | `siblings` | what a worker sees of all workers, to leave connections to those that have fewer |
//! | `counts`, `histogram` | what a reader holds in its own memory |

mod board;
mod counts;
mod deputy;
mod histogram;
mod lane;
mod layout;
mod ledger;
mod map;
mod polled;
mod siblings;
mod writer;

pub use board::{Board, View, Vitals};
pub use counts::{Counts, OTHER_STATUS, Refusal, STATUSES};
pub use deputy::Deputy;
pub use histogram::Histogram;
pub use ledger::{Cause, Figures, Master, Recycle, Seat, Snapshot};
pub use polled::{Polled, PolledText};
pub use siblings::{Glance, Siblings, spread};
pub use writer::{Polling, Threads, Writer};

/// Seats on the board. Untouched slots cost address space and nothing else.
pub const SLOTS: usize = 2048;

/// What the master is about, for every worker to see. Written by the master only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Phase {
    /// Serving. A worker that is told to go is being replaced: no `drain_delay`.
    Running = 0,
    /// Full stop: `drain_delay` applies, then the workers shut the listeners down.
    Stopping = 1,
    /// Full stop, asked for twice: skip `drain_delay`.
    StoppingNow = 2,
    /// Stop, but the sockets belong to somebody else now (systemd, an upgraded master): never shut them down.
    Leaving = 3,
    /// Another master serves the same sockets. A worker that is told to go is being replaced, as in [`Self::Running`].
    HandedOver = 4,
}

impl Phase {
    const fn from_raw(raw: u32) -> Self {
        match raw {
            1 => Self::Stopping,
            2 => Self::StoppingNow,
            3 => Self::Leaving,
            4 => Self::HandedOver,
            _ => Self::Running,
        }
    }
}

/// Where in its life the occupant of a slot is. Written by the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum State {
    /// Nobody has booted here since the last [`Board::reset`].
    Empty = 0,
    /// Started, not yet accepting.
    Booting = 1,
    /// Accepting.
    Ready = 2,
    /// Finishing what it has.
    Draining = 3,
}

impl State {
    const fn from_raw(raw: u32) -> Self {
        match raw {
            1 => Self::Booting,
            2 => Self::Ready,
            3 => Self::Draining,
            _ => Self::Empty,
        }
    }
}
