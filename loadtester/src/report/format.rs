//! Figures for people.

/// `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `312 µs`, `1.23 ms`, `45.1 s`: three digits, of a time in µs.
#[must_use]
pub fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", digits(micros as f64 / 1e3)),
        _ => format!("{} s", digits(micros as f64 / 1e6)),
    }
}

/// `1,234` or `12.3`: at least three digits.
pub(crate) fn rate(rate: f64) -> String {
    if rate >= 100.0 { count(rate.round() as u64) } else { digits(rate) }
}

/// `1.2 MB`, in powers of ten.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", digits(bytes as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", digits(bytes as f64 / 1e6)),
        _ => format!("{} GB", digits(bytes as f64 / 1e9)),
    }
}

pub(crate) fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 * 100.0 / whole.max(1) as f64;
    if part > 0 && share < 0.01 { "<0.01 %".to_owned() } else { format!("{share:.2} %") }
}

fn digits(number: f64) -> String {
    if number < 9.995 {
        format!("{number:.2}")
    } else if number < 99.95 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}
