//! What attach refuses, what reset empties, and that empty slots stay free.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::*;
use crate::layout::{BOARD_SIZE, LAYOUT, PAGE};
use crate::{PolledText, SLOTS, Threads, Writer};

fn duplicate(board: &Board) -> OwnedFd {
    board.fd().try_clone_to_owned().expect("a descriptor can be duplicated")
}

fn used(board: &Board, slot: usize) -> Writer {
    let writer = Writer::attach(duplicate(board), slot, Threads::One).expect("the board is ours");
    writer.boot(Pid::this(), 7);
    writer.beat(Monotonic::from_nanos(1));
    writer.connection_opened();
    writer.request_started();
    writer.request_started();
    writer.request_finished(200, Duration::from_millis(2), 10);
    writer.logged(rustcorn_sys::log::Level::Error);
    writer
}

/// A memfd of `size` bytes with the words at the start of a header.
fn forged(size: usize, words: &[u64], seals: SealFlag) -> OwnedFd {
    let fd = memfd_create(c"forged", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).expect("memfd_create");
    nix::unistd::ftruncate(&fd, size as i64).expect("ftruncate");
    let file = std::fs::File::from(fd);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    file.write_all_at(&bytes, 0).expect("write");
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("seals");
    file.into()
}

fn refusal(fd: OwnedFd) -> String {
    let copy = fd.try_clone().expect("a descriptor can be duplicated");
    let by_board = Board::attach(fd).err().expect("it is refused").to_string();
    let by_writer = Writer::attach(copy, 0, Threads::One).expect_err("it is refused").to_string();
    assert_eq!(by_board, by_writer);
    by_board
}

const MAGIC: u64 = u64::from_le_bytes(*b"rcorn-sb");
const FIXED: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);

#[test]
fn attach_takes_what_create_made() {
    let board = Board::create().expect("memfd");
    let other = Board::attach(duplicate(&board)).expect("it is a board");
    board.set_phase(Phase::Leaving);
    assert_eq!(other.phase(), Phase::Leaving);
    assert!(forged_like_ours().is_ok(), "the forger of the tests below can forge");
}

fn forged_like_ours() -> io::Result<Board> {
    Board::attach(forged(BOARD_SIZE, &[MAGIC, LAYOUT, 0, SLOTS as u64, PAGE as u64], FIXED))
}

#[test]
fn attach_refuses_what_is_not_a_board() {
    let ours = [MAGIC, LAYOUT, 0, SLOTS as u64, PAGE as u64];
    let null = std::fs::File::open("/dev/null").expect("/dev/null");
    for fd in [
        null.into(),
        forged(BOARD_SIZE, &[], FIXED),
        forged(BOARD_SIZE, &[MAGIC + 1, LAYOUT, 0, SLOTS as u64, PAGE as u64], FIXED),
        forged(0, &[], FIXED),
        forged(PAGE, &ours, FIXED),
        forged(BOARD_SIZE - PAGE, &ours, FIXED),
        forged(BOARD_SIZE + PAGE, &ours, FIXED),
        forged(BOARD_SIZE, &ours, SealFlag::F_SEAL_GROW),
    ] {
        let message = refusal(fd);
        assert!(message.starts_with("the descriptor is not a rustcorn scoreboard: let a rustcorn master"), "{message}");
    }
}

#[test]
fn attach_refuses_another_rustcorns_board_and_says_what_to_do() {
    let version = (3 << 32) | (14 << 16) | 15;
    for words in [
        [MAGIC, LAYOUT + 1, version, SLOTS as u64, PAGE as u64],
        [MAGIC, LAYOUT, version, 1, PAGE as u64],
        [MAGIC, LAYOUT, version, SLOTS as u64, 4096],
    ] {
        // Its size is another, too: the version is the better reason.
        let message = refusal(forged(PAGE * 2, &words, FIXED));
        assert!(message.contains("rustcorn 3.14.15"), "{message}");
        assert!(message.contains(concat!("rustcorn ", env!("CARGO_PKG_VERSION"))), "{message}");
        assert!(message.ends_with("build the application and the master with the same rustcorn version"), "{message}");
    }
}

#[test]
fn the_memory_cannot_be_taken_away() {
    let board = Board::create().expect("memfd");
    assert!(nix::unistd::ftruncate(board.fd(), 0).is_err());
    assert!(nix::unistd::ftruncate(board.fd(), BOARD_SIZE as i64 * 2).is_err());
    let flags = fcntl(board.fd(), FcntlArg::F_GETFD).expect("F_GETFD");
    assert_eq!(flags & nix::fcntl::FdFlag::FD_CLOEXEC.bits(), nix::fcntl::FdFlag::FD_CLOEXEC.bits());
}

#[test]
fn counts_outlive_the_writer_until_reset() {
    let board = Board::create().expect("memfd");
    let writer = used(&board, 3);
    let poll = writer.poll_begin(&PolledText::new("GET", "/block"), Monotonic::from_nanos(9));
    std::mem::forget(poll); // as a kill leaves it
    drop(writer);
    assert_eq!(board.counts(3).requests, 1);
    assert_eq!(board.polled(3)[0].request, "GET /block");
    assert_eq!(
        board.vitals(3),
        Vitals {
            pid: Some(Pid::this()),
            generation: 7,
            state: State::Booting,
            beat: Some(Monotonic::from_nanos(1)),
            counted: true,
            connections: 1,
            in_flight: 1,
        }
    );

    board.reset(3);
    let (pid, state, beat) = (None, State::Empty, None);
    let empty = Vitals { pid, generation: 0, state, beat, counted: true, connections: 0, in_flight: 0 };
    assert_eq!((board.counts(3), board.vitals(3), board.polled(3)), (Counts::default(), empty, vec![]));
    drop(used(&board, 3));
    assert_eq!(board.counts(3).requests, 1, "the next occupant begins at zero");
}

#[test]
fn slots_are_apart() {
    let board = Board::create().expect("memfd");
    drop(used(&board, 0));
    drop(used(&board, SLOTS - 1));
    let (first, last) = (board.counts(0), board.counts(SLOTS - 1));
    assert_eq!((first.requests, &first), (1, &last));
    assert_eq!(board.counts(1), Counts::default());
    assert!(Writer::attach(duplicate(&board), SLOTS, Threads::One).is_err());
}

#[test]
fn reading_and_resetting_take_memory_for_used_slots_only() {
    let board = Board::create().expect("memfd");
    let blocks = || nix::sys::stat::fstat(board.fd()).expect("fstat").st_blocks * 512;
    drop(used(&board, 0));
    for _ in 0..2 {
        (0..SLOTS).step_by(64).for_each(|slot| {
            assert_eq!(board.counts(slot).requests, u64::from(slot == 0));
            assert_eq!((board.polled(slot).len(), board.vitals(slot).pid.is_some()), (0, slot == 0));
        });
    }
    // One page a slot for the vitals; the used slot one lane more, never all its 64 KiB.
    let pages = (SLOTS / 64 + 1 + 8) as i64;
    let page = nix::sys::stat::fstat(board.fd()).expect("fstat").st_blksize; // of a memfd: the page size
    assert!(blocks() <= pages * page, "{} KiB", blocks() / 1024);
    (0..SLOTS).step_by(64).for_each(|slot| board.reset(slot));
    assert!(blocks() <= pages * page, "{} KiB after reset", blocks() / 1024);
}
