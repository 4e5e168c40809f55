//! Amounts of memory: bytes as a number, or text with a unit (`"512MiB"`).

use crate::input::Input;
use crate::rule::{Rule, quoted};

const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// An amount of memory in bytes, or zero for "off".
pub(crate) struct Bytes;

impl Rule<u64> for Bytes {
    fn allowed(&self) -> String {
        "0 (off), a number of bytes, or a size such as \"512MiB\" or \"2GiB\"".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<u64, String> {
        let plain = input.number().and_then(digits);
        plain.or_else(|| input.text().and_then(parse)).ok_or_else(|| input.refused(&self.allowed()))
    }

    fn show(&self, value: &u64) -> String {
        let unit = UNITS.iter().rev().find(|(_, bytes)| *value > 0 && value.is_multiple_of(*bytes));
        unit.map_or_else(|| value.to_string(), |(unit, bytes)| quoted(&format!("{}{unit}", value / bytes)))
    }
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// With a unit: powers of 1024, as memory is counted (IEC 80000-13).
fn parse(text: &str) -> Option<u64> {
    let (number, bytes) = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim_end(), *bytes)))?;
    digits(number)?.checked_mul(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped(text: &str) -> Result<u64, String> {
        Bytes.parse(&Input::Untyped(text.to_owned()))
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("1KiB", 1024), ("512 MiB", 512 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(untyped(text), Ok(bytes));
            let shown = Bytes.show(&bytes);
            assert_eq!(untyped(shown.trim_matches('"')), Ok(bytes), "{shown}");
        }
        assert_eq!(Bytes.parse(&Input::Number("4096".into())), Ok(4096));
        assert_eq!(Bytes.show(&(1536 << 20)), "\"1536MiB\"");
        for text in ["", "-1", "+1", "1.5GiB", "512MB", "512M", "MiB", "99999999999999GiB"] {
            assert!(untyped(text).is_err(), "{text}");
        }
    }
}
