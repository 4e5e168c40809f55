//! What a worker counts is what the master reads, with one thread and with many.

use std::thread;

use rustcorn_sys::log::Level;

use super::*;
use crate::{Board, Counts, Polled};

fn attach(board: &Board, slot: usize, threads: Threads) -> Writer {
    let fd = board.fd().try_clone_to_owned().expect("a descriptor can be duplicated");
    Writer::attach(fd, slot, threads).expect("the board is ours")
}

/// One turn of everything a worker counts.
fn turn(writer: &Writer, n: u64) {
    writer.connection_opened();
    writer.request_started();
    writer.request_started();
    writer.request_finished([200, 404, 503, 777][n as usize % 4], Duration::from_micros(n % 5_000), n % 100);
    writer.request_aborted();
    writer.connection_closed();
    [Level::Critical, Level::Error, Level::Warning, Level::Info, Level::Debug]
        .into_iter()
        .for_each(|level| writer.logged(level));
    writer.logged_exception();
    writer.handshake_failed();
    writer.access_lines_lost(3);
    Refusal::ALL.into_iter().for_each(|why| writer.request_refused(why));
    (0..4).for_each(|_| writer.span_waits());
    writer.spans_sent(3);
    writer.spans_lost(2, 1); // one that waited, one for which there was no room
}

fn expected(turns: u64) -> Counts {
    let mut counts = Counts {
        accepted: turns,
        aborted: turns,
        log: [turns; 4],
        spans_dropped: 2 * turns,
        handshakes_failed: turns,
        access_lines_lost: 3 * turns,
        refused: [turns; 6],
        ..Counts::default()
    };
    (0..turns)
        .for_each(|n| counts.record([200, 404, 503, 777][n as usize % 4], Duration::from_micros(n % 5_000), n % 100));
    counts
}

#[test]
fn one_thread_and_many_agree() {
    const TURNS: u64 = 20_000;
    let board = Board::create().expect("memfd");
    let one = attach(&board, 0, Threads::One);
    (0..TURNS).for_each(|n| turn(&one, n));

    let many = attach(&board, 1, Threads::Many);
    let threads = 2 * LANES as u64 + 2;
    thread::scope(|scope| {
        for thread in 0..threads {
            let many = &many;
            scope.spawn(move || (thread..TURNS).step_by(threads as usize).for_each(|n| turn(many, n)));
        }
    });
    assert_eq!(board.counts(0), expected(TURNS));
    assert_eq!(board.counts(1), expected(TURNS));
    for slot in [0, 1] {
        assert_eq!((board.vitals(slot).connections, board.vitals(slot).in_flight), (0, 0));
    }
}

#[test]
fn phase_and_state_are_seen_at_once() {
    let board = Board::create().expect("memfd");
    let writer = attach(&board, 5, Threads::One);
    for phase in [Phase::Running, Phase::Stopping, Phase::StoppingNow, Phase::Leaving, Phase::HandedOver] {
        board.set_phase(phase);
        assert_eq!((writer.phase(), board.phase()), (phase, phase));
    }
    assert_eq!(board.vitals(5).state, State::Empty);
    writer.boot(Pid::this(), 2);
    for state in [State::Booting, State::Ready, State::Draining] {
        writer.set_state(state);
        assert_eq!(board.vitals(5).state, state);
    }
}

#[test]
fn a_poll_ends_with_its_guard_even_by_panic() {
    let board = Board::create().expect("memfd");
    let (text, now) = (PolledText::new("GET", "/block"), Monotonic::from_nanos(11));
    for (slot, threads) in [(0, Threads::One), (1, Threads::Many)] {
        let writer = attach(&board, slot, threads);
        let poll = writer.poll_begin(&text, now);
        assert_eq!(board.polled(slot), [Polled { request: "GET /block".into(), since: now }]);
        drop(poll);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _poll = writer.poll_begin(&text, now);
            std::panic::resume_unwind(Box::new("the handler panicked"));
        }));
        assert!(panicked.is_err());
        assert_eq!(board.polled(slot), []);
    }
}

#[test]
fn many_polls_show_up_to_the_number_of_records() {
    let board = Board::create().expect("memfd");
    let writer = attach(&board, 0, Threads::Many);
    let text = PolledText::new("GET", "/");
    let polls: Vec<_> = (0..RECORDS + 3).map(|_| writer.poll_begin(&text, Monotonic::from_nanos(1))).collect();
    assert_eq!(board.polled(0).len(), RECORDS);
    drop(polls);
    assert_eq!(board.polled(0), []);
    let _again = writer.poll_begin(&text, Monotonic::from_nanos(1));
    assert_eq!(board.polled(0).len(), 1);
}

#[test]
fn spans_that_a_dead_worker_held_are_lost() {
    let board = Board::create().expect("memfd");
    let writer = attach(&board, 0, Threads::One);
    (0..5).for_each(|_| writer.span_waits());
    writer.spans_sent(2);
    writer.spans_lost(1, 1);
    drop(writer);
    assert_eq!((board.counts(0).spans_dropped, board.last_counts(0).spans_dropped), (1, 3));
    board.reset(0);
    assert_eq!(board.last_counts(0), Counts::default());
}
