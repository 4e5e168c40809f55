//! The time of day for lines of which there are many: its text is made once a second.

use std::time::Duration;

use jiff::Zoned;
use jiff::tz::TimeZone;

/// One second of the time of day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Second {
    /// As in the Common Log Format, in local time: `[26/Nov/2026:06:55:00 +0000]`.
    pub common: String,
    /// RFC 3339 in UTC, without its end: `2026-11-26T06:55:00`.
    pub rfc3339: String,
    /// How much of it was over when it was looked at.
    pub passed: Duration,
}

impl Second {
    /// This one.
    #[must_use]
    pub fn now() -> Self {
        Self::of(&Zoned::now())
    }

    fn of(now: &Zoned) -> Self {
        Self {
            common: now.strftime("[%d/%b/%Y:%H:%M:%S %z]").to_string(),
            rfc3339: now.with_time_zone(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string(),
            passed: Duration::from_nanos(now.subsec_nanosecond().unsigned_abs().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_and_utc() {
        let now = jiff::Timestamp::new(1_795_676_100, 250_000_000).unwrap();
        let second = Second::of(&now.to_zoned(TimeZone::fixed(jiff::tz::offset(-3))));
        assert_eq!(second.common, "[26/Nov/2026:03:55:00 -0300]");
        assert_eq!((second.rfc3339.as_str(), second.passed), ("2026-11-26T06:55:00", Duration::from_millis(250)));
    }
}
