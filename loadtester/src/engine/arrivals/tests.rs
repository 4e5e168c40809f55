//! Schedules against what can be worked out by hand.

use super::*;
use crate::scenario::Stage;

fn schedule(load: &Load) -> Schedule {
    Schedule::new(load).unwrap()
}

fn starts(schedule: &Schedule, threads: usize) -> Vec<f64> {
    let random = || fastrand::Rng::with_seed(7);
    let mut all: Vec<f64> = (0..threads)
        .flat_map(|thread| schedule.share(thread, threads, random()).map(|time| time.as_secs_f64()))
        .collect();
    all.sort_by(f64::total_cmp);
    all
}

fn load(rate: f64, seconds: u64) -> Load {
    Load { rate: Some(rate), duration: Some(Duration::from_secs(seconds)), ..Load::default() }
}

#[test]
fn a_constant_rate_has_equal_distances_however_many_threads_there_are() {
    for threads in [1, 2, 7] {
        let starts = starts(&schedule(&load(1000.0, 5)), threads);
        assert_eq!(starts.len(), 5000, "{threads} threads");
        for (at, start) in starts.iter().enumerate() {
            assert!((start - at as f64 / 1000.0).abs() < 1e-6, "{at}: {start}");
        }
    }
}

#[test]
fn a_ramp_has_half_the_arrivals_of_its_end_rate() {
    let ramp = Load { ramp_up: Duration::from_secs(4), ..load(100.0, 10) };
    let starts = starts(&schedule(&ramp), 3);
    assert_eq!(starts.len(), 200 + 600);
    // The count rises with the square of the time.
    let first_half = starts.iter().filter(|start| **start < 2.0).count();
    assert_eq!(first_half, 50);
    assert!((schedule(&ramp).due(Duration::from_secs(2)) - 50.0).abs() < 1e-9);
}

#[test]
fn stages_go_from_target_to_target() {
    let stage = |secs, target| Stage { duration: Duration::from_secs(secs), target };
    let stages = Load { stages: vec![stage(2, 100.0), stage(1, 100.0), stage(2, 0.0)], ..load(1.0, 1) };
    let starts = starts(&schedule(&stages), 2);
    assert_eq!(starts.len(), 100 + 100 + 100);
    assert!(starts[299] < 5.0);
}

#[test]
fn a_test_that_ends_in_its_ramp_stays_below_the_rate() {
    let ramp = Load { ramp_up: Duration::from_secs(10), ..load(100.0, 5) };
    assert_eq!(starts(&schedule(&ramp), 1).len(), 125);
}

#[test]
fn poisson_arrivals_have_the_rate_and_the_spread_of_poisson() {
    let poisson = Load { arrivals: Arrivals::Poisson, ..load(1000.0, 50) };
    let starts = starts(&schedule(&poisson), 1);
    let count = starts.len() as f64;
    // Five standard deviations of 50,000; the seed is fixed.
    assert!((count - 50_000.0).abs() < 5.0 * 50_000_f64.sqrt(), "{count}");
    let gaps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "exponential gaps spread as wide as their mean");
}

#[test]
fn without_an_end_it_goes_on() {
    let endless = Load { rate: Some(10.0), ..Load::default() };
    let time = schedule(&endless).share(0, 1, fastrand::Rng::with_seed(1)).nth(10_000_000);
    assert_eq!(time, Some(Duration::from_secs(1_000_000)));
}
