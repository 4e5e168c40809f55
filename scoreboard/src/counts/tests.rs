//! Sums that agree, and the laws of adding and subtracting.

use super::*;

fn some(seed: u64, requests: u64) -> Counts {
    let mut counts = Counts {
        accepted: seed,
        aborted: seed / 2,
        log: [seed, 1, 2, 3],
        spans_dropped: seed * 3,
        handshakes_failed: seed * 5,
        access_lines_lost: seed * 7,
        refused: [seed, 0, 1, 2, 3, 4],
        ..Counts::default()
    };
    for n in 0..requests {
        counts.record((90 + (seed + n * 37) % 600) as u16, Duration::from_micros(1 + n * n), n);
    }
    counts
}

#[test]
fn since_undoes_add_and_never_goes_below_zero() {
    let (earlier, extra) = (some(5, 1_000), some(9, 777));
    let mut later = earlier.clone();
    later.add(&extra);
    assert_eq!(later.requests, 1_777);
    assert_eq!(later.since(&earlier), extra);
    assert_eq!(extra.since(&later), Counts::default());
    let mut again = earlier.clone();
    again.add(&later.since(&earlier));
    assert_eq!(again, later);
}

#[test]
fn the_three_sums_agree() {
    let counts = some(3, 5_000);
    assert_eq!(counts.requests, 5_000);
    assert_eq!(counts.statuses().map(|(_, count)| count).sum::<u64>(), 5_000);
    assert_eq!(counts.durations.total(), 5_000);
}

#[test]
fn every_code_has_its_place() {
    for code in 100..=599 {
        assert_eq!(status_index(code), usize::from(code) - 100);
    }
    for code in [0, 1, 99, 600, 601, 999, u16::MAX] {
        assert_eq!(status_index(code), OTHER_STATUS, "{code}");
    }
    let mut counts = Counts::default();
    [404, 999, 100, 7, 599].into_iter().for_each(|code| counts.record(code, Duration::ZERO, 0));
    assert_eq!(counts.statuses().collect::<Vec<_>>(), [(100, 1), (404, 1), (599, 1), (600, 2)]);
}
