//! The totals: complete at every moment, and never going back, while workers come and go.

use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;
use crate::{Board, Threads, View, Writer};

fn board() -> Board {
    Board::create().expect("memfd")
}

fn view(board: &Board) -> View {
    View::attach(board.fd()).expect("the board is ours")
}

fn sit(board: &Board, slot: usize) -> Writer {
    board.take_seat(slot, Monotonic::from_nanos(slot as u64 + 1));
    let fd = board.fd().try_clone_to_owned().expect("a descriptor can be duplicated");
    Writer::attach(fd, slot, Threads::One).expect("the board is ours")
}

fn serve(writer: &Writer, n: u64) {
    writer.connection_opened();
    writer.request_started();
    writer.request_finished(200 + (n % 300) as u16, Duration::from_nanos(1_000 + n * 7_919 % 1_000_000), 10);
    writer.connection_closed();
}

fn snapshot(view: &View) -> Snapshot {
    view.snapshot().expect("no fold is under way")
}

#[test]
fn what_a_worker_counted_outlives_it() {
    let board = board();
    let view = view(&board);
    let writer = sit(&board, 3);
    (0..100).for_each(|n| serve(&writer, n));
    writer.request_started();
    writer.request_aborted();
    writer.logged_exception();
    writer.handshake_failed();
    writer.access_lines_lost(7);
    let before = snapshot(&view);
    assert_eq!(before.seats.iter().map(|seat| (seat.slot, seat.since.as_nanos())).collect::<Vec<_>>(), [(3, 4)]);
    assert_eq!((before.totals.requests, before.totals.accepted, before.totals.bytes), (100, 100, 1000));
    let totals = &before.totals;
    assert_eq!(
        (totals.aborted, totals.log, totals.handshakes_failed, totals.access_lines_lost),
        (1, [0, 0, 0, 1], 1, 7)
    );
    drop(writer);
    board.fold(3);
    let after = snapshot(&view);
    assert_eq!(after.totals, before.totals);
    assert_eq!(after.seats, []);
    let next = sit(&board, 3);
    serve(&next, 1);
    assert_eq!(snapshot(&view).totals.requests, 101);
    assert_eq!(snapshot(&board).totals.requests, 101, "the master reads the same way");
}

#[test]
fn a_seat_that_was_never_used_folds_to_nothing() {
    let board = board();
    board.take_seat(7, Monotonic::from_nanos(1));
    assert_eq!(snapshot(&view(&board)).seats[0].vitals.pid, None);
    board.fold(7);
    assert_eq!(snapshot(&view(&board)).seats, []);
    assert_eq!(snapshot(&view(&board)).totals, Counts::default());
}

#[test]
fn figures_arrive_as_they_were_published() {
    let board = board();
    let view = view(&board);
    let empty = view.master();
    assert_eq!((empty.pid, empty.beat, empty.backlog), (None, None, None));
    let figures = Figures {
        target: 4,
        generation: 9,
        restarts: [1, 2, 3, 4, 5, 6],
        recycles: [6, 7, 8, 9],
        reloads_ok: 6,
        reloads_failed: u64::MAX,
    };
    board.publish(&figures);
    board.sign_in(Pid::this(), Duration::new(1_700_000_000, 5));
    board.beat(Monotonic::from_nanos(77));
    board.publish_backlog(Some(0));
    board.publish_log([7, 8, 9]);
    let master = Master {
        pid: Some(Pid::this()),
        started: Duration::new(1_700_000_000, 5),
        beat: Some(Monotonic::from_nanos(77)),
        backlog: Some(0),
    };
    let seen = snapshot(&view);
    assert_eq!((seen.figures, seen.master, seen.totals.log), (figures, master, [7, 8, 9, 0]));
    board.publish_backlog(None);
    assert_eq!(view.master().backlog, None);
}

#[test]
fn a_view_needs_a_descriptor_for_reading_only() {
    let board = board();
    let path = format!("/proc/self/fd/{}", rustcorn_sys::fd::number(&board.fd()));
    let file = std::fs::File::open(path).expect("opened for reading");
    let view = View::attach(file.as_fd()).expect("that is enough");
    let writer = sit(&board, 0);
    serve(&writer, 0);
    assert_eq!(snapshot(&view).totals.requests, 1);
    assert!(Board::attach(file.into()).is_err(), "and nobody can write through it");
}

#[test]
fn a_master_that_died_in_the_middle_of_a_fold_is_noticed() {
    let board = board();
    let view = view(&board);
    let _writer = sit(&board, 0);
    board.ledger().fold(0, &Counts::default(), || assert_eq!(view.snapshot(), None));
    assert!(view.snapshot().is_some());
}

/// Workers count, end and are folded as fast as they can while a reader adds up: nothing ever goes back, no sum is ever more
/// than was counted, and in the end it is all there.
#[test]
fn a_reader_never_sees_a_counter_go_back() {
    const ROUNDS: u64 = 1_500;
    const EACH: u64 = 40;
    let board = board();
    let done = AtomicBool::new(false);
    let (board, done) = (&board, &done);
    thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            scope.spawn(move || {
                let view = view(board);
                let (mut last, mut reads) = (Counts::default(), 0_u64);
                loop {
                    let finished = done.load(Acquire);
                    // A reader may lose against folds that follow each other without a pause; then it reads again.
                    if let Some(Snapshot { totals, .. }) = view.snapshot() {
                        let mut sum = last.clone();
                        sum.add(&totals.since(&last));
                        assert!(sum == totals, "a counter went back after {reads} reads");
                        assert!(totals.requests <= ROUNDS * EACH * 2 && totals.accepted <= ROUNDS * EACH * 2);
                        (last, reads) = (totals, reads + 1);
                    }
                    if finished {
                        return (last, reads);
                    }
                }
            })
        });
        for round in 0..ROUNDS {
            let writers = [sit(board, 0), sit(board, 1 + round as usize % 5)];
            (0..EACH).for_each(|n| writers.iter().for_each(|writer| serve(writer, round + n)));
            drop(writers);
            board.fold(0);
            board.fold(1 + round as usize % 5);
        }
        done.store(true, Release);
        for reader in readers {
            let (last, reads) = reader.join().expect("the reader saw no counter go back");
            let all = ROUNDS * EACH * 2;
            assert_eq!((last.requests, last.accepted, last.bytes, last.durations.total()), (all, all, 10 * all, all));
            assert!(reads > 10, "{reads}");
        }
    });
}
