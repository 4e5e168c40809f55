//! What is kept of an answer.

/// Most bytes of a body that are kept for `save`.
const LONGEST_KEPT: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Answer {
    /// 0 until there is one.
    pub(crate) status: u16,
    /// Bytes of the body so far.
    pub(crate) length: u64,
    /// The body so far, if it is kept.
    pub(crate) body: Vec<u8>,
    /// The last byte has come.
    pub(crate) complete: bool,
    /// The connection can take another request.
    pub(crate) reusable: bool,
}

impl Answer {
    /// A piece of the body.
    pub(crate) fn take(&mut self, bytes: &[u8], keep: bool) {
        self.length += bytes.len() as u64;
        if keep {
            let room = LONGEST_KEPT - self.body.len();
            self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}
