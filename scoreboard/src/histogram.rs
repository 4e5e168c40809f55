//! Durations on a log-linear scale: 64 buckets to each power of two of nanoseconds, so a bucket's middle is within 0.8 % of
//! every duration in it.

use std::time::Duration;

/// Buckets to a power of two, as bits.
const FINE: u32 = 6;
const SHORTEST: u64 = 1_000; // 1 µs
const LONGEST: u64 = 3_600_000_000_000; // 1 h
const FIRST: usize = scale(SHORTEST);
pub(crate) const BUCKETS: usize = scale(LONGEST) - FIRST + 1;

/// Position on the unbounded scale: the exponent, then the [`FINE`] bits after the leading one. Nanoseconds ≥ 64.
const fn scale(nanos: u64) -> usize {
    let exponent = 63 - nanos.leading_zeros();
    ((exponent as usize) << FINE) + (nanos >> (exponent - FINE)) as usize - (1 << FINE)
}

/// The bucket that counts `took`.
#[inline]
pub(crate) const fn bucket(took: Duration) -> usize {
    // Not as_nanos, which is 128 bits wide.
    let nanos = took.as_secs().saturating_mul(1_000_000_000).saturating_add(took.subsec_nanos() as u64);
    let clamped = if nanos < SHORTEST {
        SHORTEST
    } else if nanos > LONGEST {
        LONGEST
    } else {
        nanos
    };
    scale(clamped) - FIRST
}

/// The middle of a bucket.
const fn representative(bucket: usize) -> Duration {
    let position = bucket + FIRST;
    let width = 1_u64 << ((position >> FINE) as u32 - FINE);
    let low = ((1 << FINE) + (position as u64 & ((1 << FINE) - 1))) * width;
    Duration::from_nanos(low + width / 2)
}

/// How many requests took how long: 1 µs to 1 h, each known to within 1 %; shorter and longer ones count at the ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram(Box<[u64; BUCKETS]>);

impl Default for Histogram {
    fn default() -> Self {
        Self(Box::new([0; BUCKETS]))
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, took: Duration) {
        self.0[bucket(took)] += 1;
    }

    /// What was counted, shortest first: a representative duration and how many; empty buckets are left out.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, count)| (representative(bucket), *count))
    }

    /// How many durations were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Takes over what `other` counted.
    pub fn add(&mut self, other: &Self) {
        self.add_buckets(&other.0[..]);
    }

    pub(crate) fn add_buckets(&mut self, buckets: &[u64]) {
        for (to, from) in self.0.iter_mut().zip(buckets) {
            *to += from;
        }
    }

    pub(crate) fn buckets(&self) -> &[u64; BUCKETS] {
        &self.0
    }

    pub(crate) fn buckets_mut(&mut self) -> &mut [u64; BUCKETS] {
        &mut self.0
    }

    /// What was counted after `earlier`; a bucket that went down (its slot was reset) counts as unchanged.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (to, from) in since.0.iter_mut().zip(&*earlier.0) {
            *to = to.saturating_sub(*from);
        }
        since
    }

    /// The duration that the fraction `q` (0 to 1) of all did not exceed, to within 1 %; `None` if nothing was counted.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((q.clamp(0.0, 1.0) * self.total() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.iter()
            .find(|(_, count)| {
                seen += count;
                seen >= rank
            })
            .map(|(took, _)| took)
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
