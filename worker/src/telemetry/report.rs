//! One line in a minute about what could not be exported, however much that is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::log::{Level, line};

/// At most one line in this time.
const EVERY: Duration = Duration::from_secs(60);

/// What was lost and not yet said.
pub(crate) struct Report {
    what: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    said: Option<Monotonic>,
    failed: u64,
    no_room: u64,
    why: String,
}

impl Report {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, state: Mutex::default() }
    }

    /// `failed` were not delivered because of `why`, `no_room` found the queue full. Only noted: a line may block.
    pub(crate) fn note(&self, failed: u64, why: &str, no_room: u64) {
        let mut state = self.lock();
        state.failed += failed;
        state.no_room += no_room;
        if failed > 0 {
            why.clone_into(&mut state.why);
        }
    }

    /// Says what was noted, unless something was said within a minute.
    pub(crate) fn say_if_due(&self) {
        self.say(|said| said.is_none_or(|said| Monotonic::now().since(said) >= EVERY));
    }

    /// Says what is left to say.
    pub(crate) fn close(&self) {
        self.say(|_| true);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // numbers, never half changed
    }

    fn say(&self, due: impl FnOnce(Option<Monotonic>) -> bool) {
        let mut state = self.lock();
        if state.failed + state.no_room == 0 || !due(state.said) {
            return;
        }
        let State { failed, no_room, why, .. } = std::mem::take(&mut *state);
        state.said = Some(Monotonic::now());
        drop(state);
        line(Level::Warning, format_args!("{}", worded(self.what, failed, no_room, &why)));
    }
}

fn worded(what: &str, failed: u64, no_room: u64, why: &str) -> String {
    match (failed, no_room) {
        (0, _) => format!("OTLP: {no_room} {what} dropped: the queue was full"),
        (_, 0) => format!("OTLP: {failed} {what} could not be delivered: {why}"),
        _ => format!("OTLP: {failed} {what} could not be delivered: {why}; {no_room} more dropped: the queue was full"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_both_causes() {
        assert_eq!(worded("spans", 512, 0, "status 503"), "OTLP: 512 spans could not be delivered: status 503");
        assert_eq!(worded("spans", 0, 7, ""), "OTLP: 7 spans dropped: the queue was full");
        assert!(worded("spans", 1, 7, "refused").ends_with("refused; 7 more dropped: the queue was full"));
    }

    #[test]
    fn after_a_line_the_rest_waits_for_a_minute_or_the_end() {
        let report = Report::new("spans");
        let kept = |report: &Report| report.state.lock().unwrap().failed;
        report.note(5, "why", 0);
        report.say_if_due();
        assert_eq!(kept(&report), 0, "said at once");
        report.note(3, "why", 0);
        report.note(4, "why", 0);
        report.say_if_due();
        assert_eq!(kept(&report), 7);
        report.close();
        assert_eq!(kept(&report), 0);
    }
}
