//! The thread of a test's server, which may be blocked for good by what it serves.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where the application runs.
pub(super) struct Thread {
    address: SocketAddr,
    handle: JoinHandle<()>,
    /// Says when the thread is about to end, by being closed.
    gone: Mutex<Receiver<Infallible>>,
}

impl Thread {
    pub(super) const fn new(address: SocketAddr, handle: JoinHandle<()>, gone: Receiver<Infallible>) -> Self {
        Self { address, handle, gone: Mutex::new(gone) }
    }

    /// Waits for its end; whether that came, and was a good one.
    pub(super) fn ends_within(self, patience: Duration) -> bool {
        let gone = self.gone.into_inner().unwrap_or_else(PoisonError::into_inner);
        if gone.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            // Where nobody can be told, the test still ends, and fails if it looks at how its server ended.
            let _ = writeln!(
                std::io::stderr(),
                "serve_test {}: the application blocks its thread, which did not end within {patience:?}; it is left behind",
                self.address
            );
            return false;
        }
        self.handle.join().is_ok()
    }
}
