//! The request that a worker is polling right now, as text under a sequence lock: what to name when the worker hangs.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use rustcorn_sys::Monotonic;

/// Bytes of text, in words of eight.
const WORDS: usize = 15;
const LENGTH: usize = WORDS * 8;
/// Tries before a reader gives up on a record: its writer died, or stands still, between the two sequence stores.
const ATTEMPTS: u32 = 64;

/// `METHOD path`, at most 120 bytes, cut at a character's end. Made once for a request, shown at each of its polls.
#[derive(Clone, Copy)]
pub struct PolledText {
    length: u64,
    words: [u64; WORDS],
}

impl PolledText {
    /// The text of a request.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        let mut bytes = [0; LENGTH];
        let method = &method[..method.floor_char_boundary(LENGTH)];
        bytes[..method.len()].copy_from_slice(method.as_bytes());
        let mut length = method.len();
        if length < LENGTH {
            bytes[length] = b' ';
            length += 1;
            let path = &path[..path.floor_char_boundary(LENGTH - length)];
            bytes[length..length + path.len()].copy_from_slice(path.as_bytes());
            length += path.len();
        }
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Self { length: length as u64, words }
    }
}

impl std::fmt::Debug for PolledText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", text(self.length, &self.words))
    }
}

/// A request being polled, as a reader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Polled {
    /// `METHOD path`, cut at 120 bytes.
    pub request: String,
    /// When this poll began.
    pub since: Monotonic,
}

/// One thread's request, in shared memory. A short text touches one cache line.
#[repr(C, align(64))]
pub(crate) struct Record {
    /// Odd while the rest is being written.
    sequence: AtomicU64,
    /// Nanoseconds since boot of the machine; 0 = nothing is being polled.
    since: AtomicU64,
    length: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Record {
    /// Shows `text`. The caller is the record's only writer at this moment.
    #[inline]
    pub(crate) fn begin(&self, text: &PolledText, now: Monotonic) {
        // `| 1` and not `+ 1`: where a writer died in the middle, its odd number is taken over and ends up even.
        let odd = self.sequence.load(Relaxed) | 1;
        self.sequence.store(odd, Relaxed);
        fence(Release); // a reader that sees any of what follows sees the odd number, or a later one
        self.since.store(now.as_nanos().max(1), Relaxed);
        self.length.store(text.length, Relaxed);
        for (to, from) in self.words.iter().zip(&text.words).take(used(text.length)) {
            to.store(*from, Relaxed);
        }
        self.sequence.store(odd.wrapping_add(1), Release);
    }

    /// Shows nothing. One store needs no sequence: a reader finds the request, or finds it over.
    #[inline]
    pub(crate) fn end(&self) {
        self.since.store(0, Relaxed);
    }

    /// What is being polled. `None` if nothing is, or if the record stays half written.
    pub(crate) fn read(&self) -> Option<Polled> {
        for _ in 0..ATTEMPTS {
            let before = self.sequence.load(Acquire);
            if before & 1 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let since = self.since.load(Relaxed);
            if since == 0 {
                return None;
            }
            let length = self.length.load(Relaxed);
            let mut words = [0; WORDS];
            for (to, from) in words.iter_mut().zip(&self.words).take(used(length)) {
                *to = from.load(Relaxed);
            }
            fence(Acquire);
            if self.sequence.load(Relaxed) == before {
                return Some(Polled { request: text(length, &words), since: Monotonic::from_nanos(since) });
            }
        }
        None
    }

    /// Back to zero, a half-written record included. Nobody may be writing.
    pub(crate) fn reset(&self) {
        let words = [&self.since, &self.length, &self.sequence];
        self.words.iter().chain(words).for_each(|word| word.store(0, Relaxed));
    }
}

/// Words that hold `length` bytes; shared memory is not trusted with the bound.
#[inline]
fn used(length: u64) -> usize {
    (length.min(LENGTH as u64) as usize).div_ceil(8)
}

fn text(length: u64, words: &[u64; WORDS]) -> String {
    let bytes: Vec<u8> =
        words.iter().flat_map(|word| word.to_ne_bytes()).take(length.min(LENGTH as u64) as usize).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
