//! Response times in the buckets Locust counts them in: two significant digits, halves to the even side as Python rounds.
//! Finer than Locust below 10 ms: its whole milliseconds would show a fast server's every percentile as 0. The master takes any number
//! as a key, and shows fractions in its page (its CSV and its console cut them off).

/// A bucket in hundredths of a millisecond: exact, so that equal buckets of two workers are equal numbers at the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u64);

impl Bucket {
    /// Of a response time in microseconds.
    pub fn of_micros(micros: u64) -> Self {
        // Up to but not including this many microseconds, rounded to that many.
        const STEPS: [(u64, u64); 5] =
            [(1_000, 10), (10_000, 100), (100_000, 1_000), (1_000_000, 10_000), (10_000_000, 100_000)];
        let step = STEPS.iter().find(|(below, _)| micros < *below).map_or(1_000_000, |(_, step)| *step);
        Self(half_even(micros, step) * (step / 10))
    }

    /// The bucket's milliseconds where they are whole, as all of Locust's own are.
    pub fn whole_millis(self) -> Option<u64> {
        self.0.is_multiple_of(100).then_some(self.0 / 100)
    }

    /// The bucket in milliseconds.
    pub fn millis(self) -> f64 {
        self.0 as f64 / 100.0
    }
}

/// `value / step`, rounded; a half goes to the even neighbour.
fn half_even(value: u64, step: u64) -> u64 {
    let (whole, rest) = (value / step, value % step);
    match (rest * 2).cmp(&step) {
        std::cmp::Ordering::Less => whole,
        std::cmp::Ordering::Equal => whole + whole % 2,
        std::cmp::Ordering::Greater => whole + 1,
    }
}

#[cfg(test)]
#[path = "rounding_tests.rs"]
mod tests;
