//! The bytes in shared memory. Plain atomics only, so that every bit pattern is valid and two processes may look at once.
//!
//! ```text
//! 0        header   magic, layout, rustcorn version, slots, slot size, phase | the master's ledger
//! 64 KiB   slot 0   identity | gauges and plain counters | records of polled requests | lane 0 | lane 1 | lane 2
//! 128 KiB  slot 1   …
//! ```
//! 64 KiB is a multiple of every page size Linux uses, so a worker can map its own slot and no other. Change anything
//! here and [`LAYOUT`] goes up by one. Workers map the header read-only, so the ledger in it has one writer.

use std::io;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use rustcorn_sys::Pid;

use crate::lane::Lane;
use crate::ledger::Ledger;
use crate::polled::Record;
use crate::{Phase, SLOTS, State};

/// Goes up with every change of this file, of `Lane`, of `Ledger` or of `Record`.
pub(crate) const LAYOUT: u64 = 10;
const MAGIC: u64 = u64::from_le_bytes(*b"rcorn-sb");
pub(crate) const PAGE: usize = 64 * 1024;
pub(crate) const BOARD_SIZE: usize = size_of::<Image>();

/// Polled requests one worker can show at once: one a thread, as far as they go.
pub(crate) const RECORDS: usize = 16;
/// Counter sets of one worker. More threads than lanes is fine: a lane is held for a few nanoseconds a request.
pub(crate) const LANES: usize = 3;

/// What is left of a slot's 64 KiB, in words. Explicit, as an alignment of 64 KiB would be more than mmap promises.
const SLOT_REST: usize =
    (PAGE - size_of::<Identity>() - size_of::<Plain>() - RECORDS * size_of::<Record>() - LANES * size_of::<Lane>()) / 8;

/// What the ledger leaves of the header's 64 KiB, in words.
const HEADER_REST: usize = (PAGE - 64 - size_of::<Ledger>()) / 8;

/// The whole file.
#[repr(C)]
pub(crate) struct Image {
    pub(crate) header: Header,
    pub(crate) slots: [Slot; SLOTS],
}

/// What attach verifies, and the one word that the master tells its workers.
#[repr(C, align(64))]
pub(crate) struct Header {
    magic: AtomicU64,
    layout: AtomicU64,
    /// The creator's rustcorn version, only to word the refusal.
    version: AtomicU64,
    slots: AtomicU64,
    slot_size: AtomicU64,
    pub(crate) phase: AtomicU32,
    _unused: AtomicU32,
    _line: [AtomicU64; 2],
    /// What the master alone knows.
    pub(crate) ledger: Ledger,
    _rest: [AtomicU64; HEADER_REST],
}

/// One worker's memory. Each group has cache lines of its own.
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) identity: Identity,
    pub(crate) plain: Plain,
    pub(crate) records: [Record; RECORDS],
    pub(crate) lanes: [Lane; LANES],
    _rest: [AtomicU64; SLOT_REST],
}

/// Written at boot, on a change of state and once a beat.
#[repr(C, align(64))]
pub(crate) struct Identity {
    pub(crate) pid: AtomicU32,
    pub(crate) generation: AtomicU32,
    pub(crate) state: AtomicU32,
    /// How many of `lanes` the writer uses; a reader must not touch the others, as that would make pages of them.
    pub(crate) lanes: AtomicU32,
    /// Not 0: the occupant knows of no scoreboard, so its numbers are not zero but unknown. See `Deputy`.
    pub(crate) uncounted: AtomicU32,
    _unused: AtomicU32,
    /// Nanoseconds since boot of the machine; 0 = none yet.
    pub(crate) beat: AtomicU64,
}

/// Numbers that need not agree with any other.
#[repr(C, align(64))]
pub(crate) struct Plain {
    pub(crate) accepted: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) aborted: AtomicU64,
    /// critical, error, warning, exception
    pub(crate) log: [AtomicU64; 4],
    /// Spans that wait to be sent.
    pub(crate) spans_waiting: AtomicU64,
    pub(crate) spans_dropped: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) access_lines_lost: AtomicU64,
    /// In the order of `Refusal::ALL`.
    pub(crate) refused: [AtomicU64; crate::Refusal::ALL.len()],
}

impl Identity {
    /// [`State::Booting`], and who it is.
    pub(crate) fn sign_in(&self, pid: Pid, generation: u32) {
        self.pid.store(pid.as_raw().unsigned_abs(), Relaxed);
        self.generation.store(generation, Relaxed);
        self.set_state(State::Booting);
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u32, Release);
    }
}

impl Slot {
    /// The lanes that the occupant writes; none if nobody ever attached.
    pub(crate) fn lanes_in_use(&self) -> &[Lane] {
        let lanes = self.identity.lanes.load(Acquire) as usize;
        &self.lanes[..lanes.min(LANES)]
    }
}

const _: () = {
    assert!(size_of::<Header>() == PAGE);
    assert!(size_of::<Slot>() == PAGE);
    assert!(align_of::<Image>() == 64, "at most a page, or mmap's addresses would not do");
    assert!(BOARD_SIZE == PAGE * (1 + SLOTS));
};

impl Header {
    /// Fills in a fresh header.
    pub(crate) fn fill(&self) {
        self.layout.store(LAYOUT, Relaxed);
        self.version.store(Version::OURS.0, Relaxed);
        self.slots.store(SLOTS as u64, Relaxed);
        self.slot_size.store(PAGE as u64, Relaxed);
        self.phase.store(Phase::Running as u32, Relaxed);
        self.magic.store(MAGIC, Relaxed);
    }

    /// Says what is wrong with a header that is not ours, and what to do.
    pub(crate) fn verify(&self) -> io::Result<()> {
        if self.magic.load(Relaxed) != MAGIC {
            return Err(not_a_board());
        }
        let theirs = [&self.layout, &self.slots, &self.slot_size].map(|word| word.load(Relaxed));
        if theirs == [LAYOUT, SLOTS as u64, PAGE as u64] {
            return Ok(());
        }
        let [layout, slots, size] = theirs;
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the master's scoreboard (layout {layout}, {slots} slots of {size} bytes, rustcorn {}) does not fit this \
                 program's (layout {LAYOUT}, {SLOTS} slots of {PAGE} bytes, rustcorn {}): build the application and the \
                 master with the same rustcorn version",
                Version(self.version.load(Relaxed)),
                Version::OURS,
            ),
        ))
    }
}

/// The refusal of a descriptor that is something else.
pub(crate) fn not_a_board() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the descriptor is not a rustcorn scoreboard: let a rustcorn master start the worker, and keep RUSTCORN_HANDOFF \
         out of the environment of other programs",
    )
}

/// `major.minor.patch`, 16 bits each.
struct Version(u64);

impl Version {
    const OURS: Self = Self(
        (number(env!("CARGO_PKG_VERSION_MAJOR")) << 32)
            | (number(env!("CARGO_PKG_VERSION_MINOR")) << 16)
            | number(env!("CARGO_PKG_VERSION_PATCH")),
    );
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0 >> 32, self.0 >> 16 & 0xffff, self.0 & 0xffff)
    }
}

const fn number(digits: &str) -> u64 {
    match u16::from_str_radix(digits, 10) {
        Ok(number) => number as u64,
        Err(_) => panic!("cargo gives version numbers in decimal"),
    }
}
