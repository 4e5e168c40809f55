//! Monotonic time as a plain number, so that it can be stored in shared memory and compared across processes; and the time of
//! day.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on `CLOCK_MONOTONIC`, in nanoseconds since boot. Every process of the machine reads the same clock, so a value
/// that a worker wrote to the scoreboard can be compared with the master's own (clock_gettime(2)).
///
/// [`std::time::Instant`] reads the same clock but cannot be taken apart, so it cannot be put in shared memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Reads the clock (by the vDSO: no system call where the clock source allows it).
    #[must_use]
    pub fn now() -> Self {
        let now =
            nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("every Linux has CLOCK_MONOTONIC");
        Self(now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
    }

    /// A point from its nanoseconds since boot: read back from shared memory, or scripted by a test.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero if `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The time of day, since 1970 in UTC: to show, never to wait by.
#[must_use]
pub fn time_of_day() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME).expect("every Linux has CLOCK_REALTIME");
    Duration::new(now.tv_sec().unsigned_abs(), u32::try_from(now.tv_nsec()).unwrap_or(0))
}

impl Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}
