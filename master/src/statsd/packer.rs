//! Lines to datagrams, as a sink of cadence.
//!
//! Not one of cadence's own sinks: those send as soon as a datagram is full, and drop lines when that fails.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use cadence::MetricSink;

/// A handle: clones share the datagrams.
#[derive(Clone, Default)]
pub(super) struct Packer(Arc<Mutex<Packed>>);

#[derive(Default)]
struct Packed {
    limit: usize,
    full: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Packer {
    /// Sets how many bytes a datagram may have. A single line that is longer still gets a datagram of its own.
    pub(super) fn set_limit(&self, limit: usize) {
        self.packed().limit = limit;
    }

    /// All datagrams, in the order of their lines.
    pub(super) fn take(&self) -> Vec<Vec<u8>> {
        let mut packed = self.packed();
        packed.close();
        mem::take(&mut packed.full)
    }

    fn packed(&self) -> MutexGuard<'_, Packed> {
        self.0.lock().expect("no holder of the lock panics")
    }
}

impl MetricSink for Packer {
    fn emit(&self, line: &str) -> io::Result<usize> {
        let mut packed = self.packed();
        if packed.open.len() + 1 + line.len() > packed.limit {
            packed.close();
        }
        if !packed.open.is_empty() {
            packed.open.push(b'\n');
        }
        packed.open.extend_from_slice(line.as_bytes());
        Ok(line.len())
    }
}

impl Packed {
    fn close(&mut self) {
        if !self.open.is_empty() {
            let fresh = Vec::with_capacity(self.limit);
            self.full.push(mem::replace(&mut self.open, fresh));
        }
    }
}
