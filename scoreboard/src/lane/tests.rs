//! The protocol, store by store: a writer that stops anywhere leaves sums that agree.

use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;
use crate::Counts;

fn lane() -> Box<Lane> {
    let zeroes = || AtomicU64::new(0);
    Box::new(Lane {
        commit: zeroes(),
        bytes: zeroes(),
        status: std::array::from_fn(|_| zeroes()),
        durations: std::array::from_fn(|_| zeroes()),
    })
}

fn counts(lane: &Lane) -> Counts {
    let mut counts = Counts::default();
    counts.add_lane(&lane.read());
    counts
}

fn agree(counts: &Counts, requests: u64) {
    let statuses: u64 = counts.status.iter().sum();
    assert_eq!((counts.requests, statuses, counts.durations.total()), (requests, requests, requests));
}

#[test]
fn a_writer_killed_after_any_store_leaves_sums_that_agree() {
    for earlier in [0, 1, 1_000] {
        for stores in 0..=4 {
            let lane = lane();
            (0..earlier).for_each(|n| lane.count(100 + n % 3, n % 7, 10));
            // The stores of `count`, in its order, cut short.
            let stages: [&dyn Fn(); 4] = [
                &|| lane.commit(404 - 100, 1_234),
                &|| bump(&lane.status[304], 1),
                &|| bump(&lane.durations[1_234], 1),
                &|| bump(&lane.bytes, 10),
            ];
            stages[..stores].iter().for_each(|store| store());

            let counted = u64::from(stores > 0);
            let read = counts(&lane);
            agree(&read, earlier as u64 + counted);
            assert_eq!(read.status[304], counted, "stopped after {stores} stores");
            assert_eq!(read, counts(&lane), "reading again completes again, not twice");
        }
    }
}

#[test]
fn the_next_request_of_a_live_writer_takes_up_where_it_was_read_half_done() {
    let lane = lane();
    lane.commit(100, 5);
    let half = counts(&lane);
    agree(&half, 1);
    bump(&lane.status[100], 1);
    bump(&lane.durations[5], 1);
    lane.count(101, 6, 0);
    let both = counts(&lane);
    agree(&both, 2);
    agree(&both.since(&half), 1);
}

#[test]
fn the_count_in_the_commit_word_may_wrap() {
    let lane = lane();
    lane.commit.store(COUNT_MASK << COUNT_SHIFT, Relaxed);
    lane.status[100].store(COUNT_MASK, Relaxed);
    lane.durations[3].store(COUNT_MASK, Relaxed);
    lane.count(100, 3, 0);
    lane.commit(100, 3);
    agree(&counts(&lane), COUNT_MASK + 2);
}

#[test]
fn no_word_of_a_spoilt_lane_makes_the_reader_panic() {
    let lane = lane();
    lane.count(100, 3, 0);
    for commit in [u64::MAX, 0, 1 << 63, 12_345] {
        lane.commit.store(commit, Relaxed);
        assert_eq!(lane.read().status[100], 1, "the numbers are told as they are");
    }
}

#[test]
fn a_reader_beside_a_writer_never_sees_a_count_go_back_nor_ahead() {
    const REQUESTS: u64 = 300_000;
    let (lane, done) = (lane(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            (0..REQUESTS).for_each(|n| lane.count(100 + (n & 3) as usize, (n & 63) as usize, 1));
            done.store(true, Release);
        });
        let (mut last, mut steps) = (Counts::default(), Counts::default());
        loop {
            let finished = done.load(Acquire);
            let now = counts(&lane);
            let step = now.since(&last);
            steps.add(&step);
            // `since` saturates, so the steps only add up if nothing went back.
            assert_eq!(steps, now);
            last = now;
            if finished {
                break;
            }
        }
        agree(&last, REQUESTS);
        assert_eq!(last.bytes, REQUESTS);
    });
}

#[test]
fn reset_empties() {
    let lane = lane();
    lane.count(100, 3, 7);
    lane.commit(OTHER, BUCKETS - 1);
    lane.reset();
    assert_eq!(counts(&lane), Counts::default());
}

const OTHER: usize = crate::OTHER_STATUS;
