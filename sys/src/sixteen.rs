//! Sixteen bytes at once: which of them are in a set that a few comparisons describe.
//!
//! By SSE2, which every x86-64 has; elsewhere by arithmetic on two words. Both ways are the same set of operations, and a test compares
//! them.

use std::ops::{BitAnd, BitOr};

#[cfg(target_arch = "x86_64")]
use sse2 as by;
#[cfg(not(target_arch = "x86_64"))]
use words as by;

/// Sixteen bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sixteen(by::Bytes);

/// Which of sixteen bytes.
#[derive(Clone, Copy, Debug)]
pub struct Which(by::Flags);

impl Sixteen {
    /// How many there are.
    pub const WIDTH: usize = 16;

    /// Takes the bytes.
    #[inline(always)]
    #[must_use]
    pub fn new(bytes: &[u8; 16]) -> Self {
        Self(by::load(bytes))
    }

    /// The bytes with these bits set in each.
    #[inline(always)]
    #[must_use]
    pub fn with(self, bits: u8) -> Self {
        Self(by::with(self.0, bits))
    }

    /// Those that are `byte`.
    #[inline(always)]
    #[must_use]
    pub fn is(self, byte: u8) -> Which {
        Which(by::is(self.0, byte))
    }

    /// Those from `least` to `most`, of ASCII.
    #[inline(always)]
    #[must_use]
    pub fn within(self, least: u8, most: u8) -> Which {
        debug_assert!(least <= most && most < 128);
        Which(by::within(self.0, least, most))
    }
}

impl Which {
    /// These, but not the others.
    #[inline(always)]
    #[must_use]
    pub fn but(self, others: Self) -> Self {
        Self(by::but(self.0, others.0))
    }

    /// A bit for each, the first byte's lowest.
    #[inline(always)]
    #[must_use]
    pub fn bits(self) -> u16 {
        by::bits(self.0)
    }
}

impl BitOr for Which {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(by::or(self.0, other.0))
    }
}

impl BitAnd for Which {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(by::and(self.0, other.0))
    }
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_and_si128, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8,
        _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };

    pub(super) type Bytes = __m128i;
    pub(super) type Flags = __m128i;

    #[inline(always)]
    pub(super) fn load(bytes: &[u8; 16]) -> Bytes {
        // SAFETY: x86-64 has SSE2; sixteen bytes are there to be read, aligned or not.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn each(byte: u8) -> Bytes {
        // SAFETY: x86-64 has SSE2.
        unsafe { _mm_set1_epi8(byte.cast_signed()) }
    }

    #[inline(always)]
    pub(super) fn with(bytes: Bytes, bits: u8) -> Bytes {
        or(bytes, each(bits))
    }

    #[inline(always)]
    pub(super) fn is(bytes: Bytes, byte: u8) -> Flags {
        // SAFETY: x86-64 has SSE2.
        unsafe { _mm_cmpeq_epi8(bytes, each(byte)) }
    }

    #[inline(always)]
    pub(super) fn within(bytes: Bytes, least: u8, most: u8) -> Flags {
        // SAFETY: x86-64 has SSE2.
        unsafe {
            let above = _mm_add_epi8(bytes, each(least.wrapping_neg())); // those below wrap around
            _mm_cmpeq_epi8(_mm_min_epu8(above, each(most - least)), above)
        }
    }

    #[inline(always)]
    pub(super) fn but(some: Flags, others: Flags) -> Flags {
        // SAFETY: x86-64 has SSE2.
        unsafe { _mm_andnot_si128(others, some) }
    }

    #[inline(always)]
    pub(super) fn or(some: Flags, others: Flags) -> Flags {
        // SAFETY: x86-64 has SSE2.
        unsafe { _mm_or_si128(some, others) }
    }

    #[inline(always)]
    pub(super) fn and(some: Flags, others: Flags) -> Flags {
        // SAFETY: x86-64 has SSE2.
        unsafe { _mm_and_si128(some, others) }
    }

    #[inline(always)]
    pub(super) fn bits(flags: Flags) -> u16 {
        // SAFETY: x86-64 has SSE2.
        unsafe { _mm_movemask_epi8(flags) as u16 }
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod words {
    pub(super) type Bytes = [u64; 2];
    /// The highest bit of each byte.
    pub(super) type Flags = [u64; 2];

    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    const LOW: u64 = !HIGH;

    #[inline(always)]
    pub(super) fn load(bytes: &[u8; 16]) -> Bytes {
        let both = u128::from_le_bytes(*bytes);
        [both as u64, (both >> 64) as u64]
    }

    #[inline(always)]
    pub(super) fn with(bytes: Bytes, bits: u8) -> Bytes {
        bytes.map(|word| word | (ONES * u64::from(bits)))
    }

    #[inline(always)]
    pub(super) fn is(bytes: Bytes, byte: u8) -> Flags {
        bytes.map(|word| {
            let other = word ^ (ONES * u64::from(byte));
            !(((other & LOW) + LOW) | other) & HIGH // no sum carries into the next byte
        })
    }

    #[inline(always)]
    pub(super) fn within(bytes: Bytes, least: u8, most: u8) -> Flags {
        let from = |word: u64, least: u8| (word & LOW) + ONES * u64::from(128 - least);
        bytes.map(|word| from(word, least) & !from(word, most + 1) & !word & HIGH)
    }

    #[inline(always)]
    pub(super) fn but(some: Flags, others: Flags) -> Flags {
        [some[0] & !others[0], some[1] & !others[1]]
    }

    #[inline(always)]
    pub(super) fn or(some: Flags, others: Flags) -> Flags {
        [some[0] | others[0], some[1] | others[1]]
    }

    #[inline(always)]
    pub(super) fn and(some: Flags, others: Flags) -> Flags {
        [some[0] & others[0], some[1] & others[1]]
    }

    #[inline(always)]
    pub(super) fn bits(flags: Flags) -> u16 {
        // The product brings each byte's bit to its place in the topmost byte.
        let [low, high] = flags.map(|word| (word >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56);
        (low | (high << 8)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::{Sixteen, words};

    /// `byte` at each place among others of each kind.
    fn blocks() -> impl Iterator<Item = [u8; 16]> {
        (0..=u8::MAX).flat_map(|byte| {
            (0..16).flat_map(move |at| {
                [0, 9, b'/', b'a', 0x7f, 0x80, 0xff].map(|rest| {
                    let mut block = [rest; 16];
                    block[at] = byte;
                    block
                })
            })
        })
    }

    fn expected(block: &[u8; 16], inside: impl Fn(u8) -> bool) -> u16 {
        block.iter().enumerate().map(|(at, byte)| u16::from(inside(*byte)) << at).sum()
    }

    #[test]
    fn each_operation_is_what_it_says_in_both_ways() {
        for block in blocks() {
            let (bytes, plain) = (Sixteen::new(&block), words::load(&block));
            for (least, most) in [(0, 0x1f), (b'a', b'z'), (b'-', b'9'), (0, 127), (b'!', b'~'), (127, 127)] {
                let flags = expected(&block, |byte| (least..=most).contains(&byte));
                assert_eq!(bytes.within(least, most).bits(), flags, "{block:?}");
                assert_eq!(words::bits(words::within(plain, least, most)), flags, "{block:?}");
            }
            for byte in [0, 9, b'/', 0x7f, 0x80, 0xff] {
                let flags = expected(&block, |other| other == byte);
                assert_eq!(bytes.is(byte).bits(), flags, "{block:?}");
                assert_eq!(words::bits(words::is(plain, byte)), flags, "{block:?}");
                let flags = expected(&block, |other| other | 0x20 == byte);
                assert_eq!(bytes.with(0x20).is(byte).bits(), flags, "{block:?}");
                assert_eq!(words::bits(words::is(words::with(plain, 0x20), byte)), flags, "{block:?}");
            }
            let (some, others) = (bytes.within(0, 0x40), bytes.within(0x20, 0x7f));
            assert_eq!((some | others).bits(), some.bits() | others.bits());
            assert_eq!((some & others).bits(), some.bits() & others.bits());
            assert_eq!(some.but(others).bits(), some.bits() & !others.bits());
            let (some, others) = (words::within(plain, 0, 0x40), words::within(plain, 0x20, 0x7f));
            assert_eq!(words::bits(words::or(some, others)), words::bits(some) | words::bits(others));
            assert_eq!(words::bits(words::and(some, others)), words::bits(some) & words::bits(others));
            assert_eq!(words::bits(words::but(some, others)), words::bits(some) & !words::bits(others));
        }
    }
}
