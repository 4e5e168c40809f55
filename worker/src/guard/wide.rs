//! Sets of bytes that sixteen at a time can be told to be in: the ordinary ones of a head, which is nearly all there are. What is not
//! among them is looked up in a table, byte by byte (`bytes`), so a set may be smaller than its rule, and never larger.

use rustcorn_sys::sixteen::{Sixteen, Which};

/// Letters, digits, `-` and `.`, which are in any token and in any host.
#[inline(always)]
pub(super) fn words(bytes: Sixteen) -> Which {
    bytes.with(0x20).within(b'a', b'z') | bytes.within(b'-', b'9').but(bytes.is(b'/'))
}

/// ASCII that may stand in a path.
#[inline(always)]
pub(super) fn path(bytes: Sixteen) -> Which {
    let angle = bytes.with(2).is(b'>'); // they differ in this bit
    bytes.within(b'!', b'~').but(bytes.is(b'#') | bytes.is(b'?') | bytes.is(b'`') | angle)
}

/// ASCII that may stand in a query.
#[inline(always)]
pub(super) fn query(bytes: Sixteen) -> Which {
    let (angle, quote_or_hash) = (bytes.with(2).is(b'>'), bytes.with(1).is(b'#'));
    bytes.within(b'!', b'~').but(angle | quote_or_hash)
}

/// Control characters but TAB.
#[inline(always)]
pub(super) fn controls(bytes: Sixteen) -> Which {
    bytes.within(0, 0x1f).but(bytes.is(b'\t')) | bytes.is(0x7f)
}

/// Where the first byte from `from` on stands that is not in `set`; the length where there is none. `None`: there are no sixteen bytes.
#[inline(always)]
pub(super) fn end(bytes: &[u8], mut from: usize, set: impl Fn(Sixteen) -> Which) -> Option<usize> {
    while let Some(block) = bytes.get(from..).and_then(<[u8]>::first_chunk) {
        let outside = !set(Sixteen::new(block)).bits();
        if outside != 0 {
            return Some(from + outside.trailing_zeros() as usize);
        }
        from += Sixteen::WIDTH;
    }
    let outside = last(bytes, from, |bytes| !set(bytes).bits())?;
    Some(if outside == 0 { bytes.len() } else { from + outside.trailing_zeros() as usize })
}

/// The bits of the bytes from `from` on, fewer than sixteen: they are looked at together with those before them.
#[inline(always)]
fn last(bytes: &[u8], from: usize, bits: impl Fn(Sixteen) -> u16) -> Option<u32> {
    let block = bytes.last_chunk()?;
    let before = from - (bytes.len() - Sixteen::WIDTH);
    Some(u32::from(bits(Sixteen::new(block))) >> before)
}

/// Finds the control characters, from a place on, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Controls {
    /// Where the bytes begin that were looked at last.
    begin: usize,
    /// A bit for each of them.
    found: u64,
}

impl Controls {
    /// As many as are looked at together.
    const STRETCH: usize = u64::BITS as usize;

    /// From `from` on.
    #[inline]
    pub(super) const fn new(from: usize) -> Self {
        Self { begin: from.wrapping_sub(Self::STRETCH), found: 0 } // nothing was looked at yet
    }

    /// Where the first one stands from `from` on, which is never less than before; the length where there is none. Bytes that were asked for may
    /// have changed since, later ones not.
    #[inline]
    pub(super) fn next(&mut self, bytes: &[u8], mut from: usize) -> usize {
        loop {
            let ahead = from.wrapping_sub(self.begin);
            if ahead < Self::STRETCH {
                let found = self.found >> ahead;
                if found != 0 {
                    return from + found.trailing_zeros() as usize;
                }
                from = self.begin.wrapping_add(Self::STRETCH);
            }
            if from >= bytes.len() {
                return bytes.len();
            }
            *self = Self { begin: from, found: Self::look(bytes, from) };
        }
    }

    #[inline]
    fn look(bytes: &[u8], from: usize) -> u64 {
        let bits = |at: usize| {
            let block = bytes[at..].first_chunk().expect("checked by the callers");
            u64::from(controls(Sixteen::new(block)).bits())
        };
        if from + Self::STRETCH <= bytes.len() {
            return bits(from) | bits(from + 16) << 16 | bits(from + 32) << 32 | bits(from + 48) << 48;
        }
        let (mut found, mut at) = (0, from);
        while at + Sixteen::WIDTH <= bytes.len() {
            found |= bits(at) << (at - from);
            at += Sixteen::WIDTH;
        }
        match last(bytes, at, |bytes| controls(bytes).bits()) {
            Some(bits) if at < bytes.len() => found | u64::from(bits) << (at - from),
            Some(_) => found,
            None => Self::few(bytes, from),
        }
    }

    /// Of fewer than sixteen bytes in all.
    #[cold]
    fn few(bytes: &[u8], from: usize) -> u64 {
        let mut block = [b' '; Sixteen::WIDTH];
        block[..bytes.len() - from].copy_from_slice(&bytes[from..]);
        controls(Sixteen::new(&block)).bits().into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::{CLASS, HOST, PATH, QUERY, TOKEN};
    use super::{Controls, Sixteen, controls, end, path, query, words};

    #[test]
    fn sets_are_within_the_rules() {
        for byte in 0..=u8::MAX {
            let (bytes, class) = (Sixteen::new(&[byte; 16]), CLASS[usize::from(byte)]);
            let all = |inside: bool| if inside { u16::MAX } else { 0 };
            let is_word = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
            assert!(!is_word || (class & TOKEN != 0 && class & HOST != 0), "{byte}");
            assert_eq!(words(bytes).bits(), all(is_word), "{byte}");
            assert_eq!(path(bytes).bits(), all(class & PATH != 0), "{byte}");
            assert_eq!(query(bytes).bits(), all(class & QUERY != 0), "{byte}");
            assert_eq!(controls(bytes).bits(), all(byte.is_ascii_control() && byte != b'\t'), "{byte}");
        }
    }

    #[test]
    fn an_end_is_found_wherever_it_is() {
        for (length, at) in (16..50).flat_map(|length| (0..=length).map(move |at| (length, at))) {
            let mut bytes = vec![b'a'; length];
            bytes[at..].fill(b':');
            for from in 0..=at {
                assert_eq!(end(&bytes, from, words), Some(at), "{length}, from {from}");
            }
        }
        assert_eq!(end(b"abc", 0, words), None);
    }

    #[test]
    fn every_control_is_found_in_order() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let length = rng.usize(0..200);
            let often = rng.u8(1..=60);
            let bytes: Vec<u8> =
                (0..length).map(|_| if rng.u8(0..60) < often { rng.u8(0x20..) } else { rng.u8(..0x20) }).collect();
            let mut from = rng.usize(0..=length);
            let mut scan = Controls::new(from);
            while from <= length {
                let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
                let expected = bytes[from..].iter().position(is_control).map_or(length, |index| from + index);
                assert_eq!(scan.next(&bytes, from), expected, "{bytes:?} from {from}");
                from = expected + rng.usize(1..3);
            }
        }
    }
}
