//! Durations as text: seconds as a number (`30`, `0.5`), or a number with a unit (`500ms`, `1.5s`, `2m`, `1h`).
//!
//! Decimal all the way, never through a float, so that what is written is what is read back.

use std::time::Duration;

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const UNITS: [(&str, u128); 4] = [
    // "ms" before "m" and "s": the first suffix that fits is taken.
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3600 * NANOS_PER_SECOND),
];

/// Reads a number of seconds without unit.
pub(crate) fn parse_seconds(text: &str) -> Option<Duration> {
    decimal(text, NANOS_PER_SECOND)
}

/// Reads a number that ends in a unit.
pub(crate) fn parse_with_unit(text: &str) -> Option<Duration> {
    let (number, nanos) =
        UNITS.iter().find_map(|&(unit, nanos)| text.strip_suffix(unit).map(|number| (number.trim_end(), nanos)))?;
    decimal(number, nanos)
}

/// The number of seconds, in digits that are a TOML integer or float and read back to the same duration.
pub(crate) fn show(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `text` × `unit` nanoseconds; none if it is no plain decimal, or not a whole number of nanoseconds.
fn decimal(text: &str, unit: u128) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 18 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let whole = whole.parse::<u128>().ok()? * unit;
    let fraction = fraction.parse::<u128>().ok()? * unit;
    if !fraction.is_multiple_of(scale) {
        return None;
    }
    let nanos = whole + fraction / scale;
    let seconds = u64::try_from(nanos / NANOS_PER_SECOND).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % NANOS_PER_SECOND).ok()?))
}
