//! When the generator blames itself, and when it does not.

use super::*;
use crate::report::{Hdr, sample};
use crate::stats::histogram;

/// A result with nothing to warn of, changed.
fn said(change: impl FnOnce(&mut Report)) -> Vec<String> {
    let mut report = sample();
    let schedule = report.schedule.as_mut().unwrap();
    (schedule.due, schedule.started, schedule.queued) = (1000, 1000, 0);
    change(&mut report);
    warnings(&report, 20)
}

/// Exactly one warning, with these words in it.
fn one(words: &str, change: impl FnOnce(&mut Report)) {
    let all = said(change);
    assert!(all.len() == 1 && all[0].contains(words), "{words:?}: {all:?}");
}

fn micros(value: u64) -> Hdr {
    let mut hdr = histogram();
    hdr.record(value).unwrap();
    Hdr(hdr)
}

#[test]
fn a_generator_with_room_left_says_nothing() {
    assert_eq!(said(|_| {}), [""; 0]);
    assert_eq!(said(|report| report.schedule = None), [""; 0]);
    assert_eq!(said(|report| report.generator.cpu = vec![89.0, 50.0]), [""; 0]);
    assert_eq!(said(|report| report.schedule.as_mut().unwrap().late = micros(4_900)), [""; 0]);
}

#[test]
fn whatever_was_the_limit_is_named() {
    one("a thread used 97 % of a CPU", |report| report.generator.cpu = vec![20.0, 97.0]);
    one("1 of 2 seconds above 90 %", |report| report.seconds[0].cpu = 100.0);
    one("stood in line for a CPU 25 % of the time", |report| report.generator.waited = vec![1.0, 25.0]);
    one("taken up 6.00 ms or more after their time", |report| report.schedule.as_mut().unwrap().late = micros(6_000));
    one("only 98.0 % of the requests that were due", |report| report.schedule.as_mut().unwrap().started = 980);
    one("300 arrivals waited because all 20 permitted", |report| report.schedule.as_mut().unwrap().queued = 300);
}

/// The last piece of a run may be some milliseconds, in which a thread is easily busy all the time.
#[test]
fn a_piece_of_a_second_is_no_second_at_the_limit() {
    let ended_soon_after_a_second = |report: &mut Report| {
        report.seconds[1].length_s = 0.003;
        report.seconds[1].cpu = 100.0;
    };
    assert_eq!(said(ended_soon_after_a_second), [""; 0]);
}
