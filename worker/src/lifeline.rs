//! The lifeline: a pipe whose only writer is the master. When it ends, the master is dead, however it died.
//!
//! A thread of its own waits for that, so that an application that blocks the runtime cannot keep an orphan alive. For the same
//! reason it also takes the log files that the master gives: lines of a worker that hangs go where everybody's go.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustcorn_sys::fd::wait_readable;
use rustcorn_sys::log::{Level, line};
use tokio::sync::oneshot;

use crate::log_channel::LogChannel;

/// Beyond the worker's own limits: the runtime's own chance to cut what is left.
const MARGIN: Duration = Duration::from_secs(1);

/// Time until a log file for which there was no room is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// The worker's end of the watch.
pub(crate) struct Lifeline {
    serving: Arc<AtomicBool>,
    /// Its drop tells the thread that the worker is on its way out.
    _leaving: Sender<()>,
}

impl Lifeline {
    /// Starts to watch. The receiver hears of the master's death once [`Self::serves`] was called; before that there is
    /// nothing to finish, and the process ends on the spot. After it the worker has `patience` to leave by itself. If it does
    /// not, `last` is called.
    pub(crate) fn watch(
        pipe: OwnedFd,
        logs: Vec<LogChannel>,
        patience: Duration,
        last: impl FnOnce() + Send + 'static,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (tell, told) = oneshot::channel();
        let (leaving, left) = channel();
        let serving = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&serving);
        let thread = move || {
            wait_for_end(pipe, logs);
            line(Level::Info, format_args!("Parent changed, shutting down: worker (pid: {})", std::process::id()));
            let patience = if seen.load(Relaxed) { patience + MARGIN } else { Duration::ZERO };
            let _ = tell.send(()); // no receiver: the worker is leaving as it is
            end_if_still_here(&left, patience, last);
        };
        std::thread::Builder::new().name("lifeline".to_owned()).stack_size(128 * 1024).spawn(thread)?;
        Ok((Self { serving, _leaving: leaving }, told))
    }

    /// From now on there may be requests to finish.
    pub(crate) fn serves(&self) {
        self.serving.store(true, Relaxed);
    }
}

fn wait_for_end(pipe: OwnedFd, mut logs: Vec<LogChannel>) {
    let mut pipe = File::from(pipe);
    let mut byte = [0];
    loop {
        while !logs.is_empty() {
            let all: Vec<_> = std::iter::once(pipe.as_fd()).chain(logs.iter().map(AsFd::as_fd)).collect();
            let lost = logs.iter().find(|channel| channel.has_lost());
            match wait_readable(&all, lost.map(|_| AGAIN)).as_deref() {
                Ok([true, ..]) => break,
                Ok([false, ready @ ..]) => {
                    lost.filter(|_| !ready.contains(&true)).into_iter().for_each(LogChannel::ask_again);
                    let mut ready = ready.iter().copied();
                    logs.retain(|channel| ready.next() != Some(true) || channel.take());
                }
                _ => logs.clear(), // the lifeline alone can be waited for without
            }
        }
        match pipe.read(&mut byte) {
            Ok(0) => return,
            Ok(_) => {} // nothing is ever written; it would mean nothing
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return, // a lifeline that cannot be read protects nothing
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the main thread is blocked by the application and cannot return from main"
)]
fn end_if_still_here(left: &Receiver<()>, patience: Duration, last: impl FnOnce()) {
    if left.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
        last();
        std::process::exit(0);
    }
}
