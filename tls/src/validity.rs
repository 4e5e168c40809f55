//! From when to when a certificate is good. Read by hand, as nothing else of a certificate is wanted but these two times, and
//! rustls does not show them.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustcorn_sys::clock::time_of_day;

/// A certificate's `notBefore` and `notAfter` (RFC 5280, 4.1.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    from: Timestamp,
    until: Timestamp,
}

/// How a certificate's time relates to now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    Early,
    Good,
    Late,
}

impl Validity {
    /// Of a certificate as DER.
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let (mut certificate, _) = take(certificate, SEQUENCE)?;
        let (mut inner, _) = take(certificate, SEQUENCE)?;
        certificate = inner;
        if let Some((_version, rest)) = take(certificate, VERSION) {
            inner = rest;
        }
        let (_serial, rest) = take(inner, INTEGER)?;
        let (_algorithm, rest) = take(rest, SEQUENCE)?;
        let (_issuer, rest) = take(rest, SEQUENCE)?;
        let (validity, _) = take(rest, SEQUENCE)?;
        let (from, rest) = time(validity)?;
        let (until, _) = time(rest)?;
        Some(Self { from, until })
    }

    fn when(&self, now: Timestamp) -> When {
        match now {
            now if now < self.from => When::Early,
            now if now > self.until => When::Late,
            _ => When::Good,
        }
    }

    fn now(&self) -> When {
        let seconds = i64::try_from(time_of_day().as_secs()).unwrap_or(i64::MAX);
        self.when(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
    }

    /// Whether clients accept it now, as far as time goes.
    #[must_use]
    pub fn is_now(&self) -> bool {
        self.now() == When::Good
    }
}

/// `is valid until 2027-01-31T00:00:00Z`
impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.now() {
            When::Good => write!(f, "is valid until {}", self.until),
            When::Late => write!(f, "has expired at {}", self.until),
            When::Early => write!(f, "is not valid before {}", self.from),
        }
    }
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Contents of the first element, which must have this tag, and what follows it.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let digits = usize::from(length & 0x7f);
        if digits > size_of::<u32>() || digits > rest.len() {
            return None;
        }
        let (digits, rest) = rest.split_at(digits);
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    rest.split_at_checked(length)
}

/// The first element as a time, and what follows it.
fn time(der: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (text, rest, format) = match take(der, UTC_TIME) {
        // RFC 5280: 50 to 99 are years of the last century.
        Some((text, rest)) => {
            let century = if *text.first()? >= b'5' { "19" } else { "20" };
            (format!("{century}{}", std::str::from_utf8(text).ok()?), rest, "%Y%m%d%H%M%SZ")
        }
        None => {
            let (text, rest) = take(der, GENERALIZED_TIME)?;
            (std::str::from_utf8(text).ok()?.to_owned(), rest, "%Y%m%d%H%M%SZ")
        }
    };
    let time = DateTime::strptime(format, &text).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some((time.timestamp(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(from: (i32, u8), until: (i32, u8)) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, 1);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let validity = Validity::of(&certificate((2020, 2), (2055, 12))).unwrap();
        assert_eq!(validity.from.to_string(), "2020-02-01T00:00:00Z");
        assert_eq!(validity.until.to_string(), "2055-12-01T00:00:00Z");
        let old = Validity::of(&certificate((1999, 1), (2001, 1))).unwrap();
        assert_eq!(old.to_string(), "has expired at 2001-01-01T00:00:00Z");
        let new = Validity::of(&certificate((2999, 1), (3001, 1))).unwrap();
        assert_eq!(new.to_string(), "is not valid before 2999-01-01T00:00:00Z");
        assert!(!old.is_now() && !new.is_now() && validity.is_now());
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        let good = certificate((2020, 2), (2055, 12));
        for length in 0..good.len() {
            let _ = Validity::of(&good[..length]); // does not panic
        }
        assert_eq!(Validity::of(b""), None);
        assert_eq!(Validity::of(&[0x30, 0xff, 0xff]), None);
        assert_eq!(Validity::of(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
