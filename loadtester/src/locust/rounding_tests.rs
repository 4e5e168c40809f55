//! Rounding against what Python answers, and below 10 ms against what this file promises.

use super::*;

/// Microseconds and what `bucket_response_time` of Locust 2.47.0 makes of them, in milliseconds (run with Python 3.11).
#[rustfmt::skip]
const PYTHON: &[(u64, u64)] = &[
    (10_000, 10), (10_400, 10), (10_500, 10), (11_500, 12), (12_500, 12), (13_500, 14), (10_501, 11), (99_400, 99),
    (99_500, 100), (99_499, 99), (99_999, 100), (100_000, 100), (104_999, 100), (105_000, 100), (105_001, 110),
    (115_000, 120), (125_000, 120), (135_000, 140), (145_000, 140), (147_000, 150), (994_999, 990), (995_000, 1000),
    (985_000, 980), (999_999, 1000), (1_000_000, 1000), (1_049_999, 1000), (1_050_000, 1000), (1_050_001, 1100),
    (1_150_000, 1200), (1_250_000, 1200), (3_432_000, 3400), (9_949_999, 9900), (9_950_000, 10000),
    (9_850_000, 9800), (9_999_999, 10000), (10_000_000, 10000), (10_499_999, 10000), (10_500_000, 10000),
    (10_500_001, 11000), (11_500_000, 12000), (12_500_000, 12000), (58_760_000, 59000), (60_000_000, 60000),
    (62_500_000, 62000), (63_500_000, 64000), (599_999_999, 600000), (39_145, 39), (23_576, 24), (68_584, 69),
    (16_519, 17), (58_229, 58), (42_912, 43), (152_199, 150), (556_692, 560), (133_746, 130), (490_281, 490),
    (162_870, 160), (181_642, 180), (4_820_673, 4800), (8_441_669, 8400), (2_114_218, 2100), (3_009_151, 3000),
    (6_646_899, 6600), (9_529_380, 9500), (61_939_265, 62000), (45_701_243, 46000), (97_862_960, 98000),
    (14_192_441, 14000), (87_262_161, 87000), (36_064_836, 36000),
];

#[test]
fn from_ten_milliseconds_on_buckets_are_locusts() {
    for (micros, bucket) in PYTHON {
        assert_eq!(Bucket::of_micros(*micros).whole_millis(), Some(*bucket), "{micros} us");
    }
}

#[test]
fn below_ten_milliseconds_two_digits_are_kept() {
    let table = [
        (0, 0.0),
        (4, 0.0),
        (5, 0.0),
        (6, 0.01),
        (15, 0.02),
        (25, 0.02),
        (235, 0.24),
        (994, 0.99),
        (995, 1.0),
        (999, 1.0),
        (1_000, 1.0),
        (1_049, 1.0),
        (1_050, 1.0),
        (1_051, 1.1),
        (1_150, 1.2),
        (9_849, 9.8),
        (9_850, 9.8),
        (9_950, 10.0),
        (9_999, 10.0),
    ];
    for (micros, millis) in table {
        assert_eq!(Bucket::of_micros(micros).millis(), millis, "{micros} us");
    }
    assert_eq!(Bucket::of_micros(235).whole_millis(), None);
    assert_eq!(Bucket::of_micros(9_999).whole_millis(), Some(10), "the same key as from above");
}

#[test]
fn a_report_stays_small() {
    let mut buckets: Vec<_> = (0..10_000).chain((10_000..100_000_000).step_by(500)).map(Bucket::of_micros).collect();
    assert!(buckets.is_sorted(), "a longer time never lands in a smaller bucket");
    buckets.dedup();
    assert!(buckets.len() < 570, "{} keys up to 100 s", buckets.len());
}
