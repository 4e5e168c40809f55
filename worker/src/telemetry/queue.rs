//! Ended spans on their way to the exporter: a bounded queue, one thread that sends, and exact books of what was lost.
//!
//! The SDK's own batch processor loses spans without a word (a full queue, a failed export). Here each span that ended is
//! either delivered, or counted as lost on the scoreboard; one that still waits when the process is killed is counted by the
//! master. A request never waits for any of it: it takes a lock that is held for the time of a push, or of a swap.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::options::QueueOptions;
use super::report::Report;
use crate::shared::Shared;

/// Delivers a batch, or says in a few words why not. Blocks for a bounded time.
pub(crate) trait Deliver: Send + 'static {
    /// How many of the batch the collector did not take.
    fn deliver(&mut self, batch: Vec<SpanData>) -> Result<u64, String>;
}

/// The queue; clones are handles to the same.
#[derive(Clone)]
pub(crate) struct SpanQueue(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// For the sender: there is something to do. For those who flush: something is done.
    changed: Condvar,
    options: QueueOptions,
    /// Where the books are kept.
    shared: Arc<Shared>,
    report: Report,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<SpanData>,
    /// When the oldest of `waiting` came.
    since: Option<Instant>,
    /// Taken out, fate unknown.
    sending: usize,
    /// Send what there is without waiting for more.
    hurry: bool,
    /// Lost for want of room since the last report.
    no_room: u64,
    /// The books are closed: whatever the sender does now is not counted any more.
    closed: bool,
}

impl fmt::Debug for SpanQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanQueue").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl SpanQueue {
    /// Starts the thread that sends.
    pub(crate) fn start(options: QueueOptions, shared: Arc<Shared>, deliver: impl Deliver) -> std::io::Result<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let inner = Arc::new(Inner { state, changed, options, shared, report: Report::new("spans") });
        let sender = Arc::clone(&inner);
        std::thread::Builder::new().name("otlp-spans".to_owned()).spawn(move || sender.send_all(deliver))?;
        Ok(Self(inner))
    }

    /// Waits until all spans that ended before are delivered or lost; false if that was not so by `until`.
    fn flush(&self, until: Instant) -> bool {
        let mut state = self.0.lock();
        state.hurry = !state.is_empty();
        self.0.changed.notify_all();
        while !state.is_empty() && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.wait(state, left);
        }
        true
    }

    /// The end: sends what there is, and at `until` counts as lost what could not be sent. Spans that end later are lost.
    pub(crate) fn finish(&self, until: Instant) {
        self.flush(until);
        let mut state = self.0.lock();
        let left = (state.waiting.len() + state.sending) as u64;
        state.closed = true;
        state.waiting = VecDeque::new();
        let no_room = std::mem::take(&mut state.no_room);
        drop(state);
        self.0.changed.notify_all();
        self.0.shared.writer.spans_lost(left, left);
        self.0.report.note(left, "not sent in time", no_room);
        self.0.report.close();
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sending == 0
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // each change is complete before anything can panic
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn add(&self, span: SpanData) {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= self.options.room {
            state.no_room += u64::from(!state.closed);
            drop(state);
            return self.shared.writer.spans_lost(1, 0);
        }
        self.shared.writer.span_waits();
        state.waiting.push_back(span);
        let first = state.since.is_none();
        if first {
            state.since = Some(Instant::now());
        }
        // A wake-up is a system call: one for the first of a batch, one when it is full.
        let wake = first || state.waiting.len() == self.options.batch;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    /// The sender's thread.
    fn send_all(&self, mut deliver: impl Deliver) {
        while let Some(batch) = self.next_batch() {
            let sent = batch.len() as u64;
            let result = deliver.deliver(batch);
            let (lost, why) = match result {
                Ok(rejected) => (rejected.min(sent), "rejected by the collector".to_owned()),
                Err(why) => (sent, why),
            };
            let mut state = self.lock();
            if state.closed {
                return; // counted as lost already
            }
            state.sending = 0;
            state.hurry &= !state.waiting.is_empty();
            let no_room = std::mem::take(&mut state.no_room);
            // Under the lock, so that nobody finds the queue empty and the books not yet written.
            self.shared.writer.spans_sent(sent - lost);
            self.shared.writer.spans_lost(lost, lost);
            self.report.note(lost, &why, no_room);
            drop(state);
            self.changed.notify_all();
            self.report.say_if_due();
        }
    }

    /// The next batch, when it is full or has waited long enough; `None` at the end.
    fn next_batch(&self) -> Option<Vec<SpanData>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let due = state.since.map(|since| since + self.options.delay);
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            let ready =
                state.hurry || state.waiting.len() >= self.options.batch || left.is_some_and(|left| left.is_zero());
            if ready && !state.waiting.is_empty() {
                break;
            }
            state = match left {
                Some(left) => self.wait(state, left),
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        let count = state.waiting.len().min(self.options.batch);
        let batch: Vec<SpanData> = state.waiting.drain(..count).collect();
        state.sending = count;
        // The rest is younger than this batch was, by how much is not known: it gets a delay of its own.
        state.since = (!state.waiting.is_empty()).then(Instant::now);
        Some(batch)
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.add(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        let limit = Duration::from_secs(5); // the specification wants one; the SDK's own is as long
        if self.flush(Instant::now() + limit) { Ok(()) } else { Err(OTelSdkError::Timeout(limit)) }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.finish(Instant::now() + timeout);
        Ok(())
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
