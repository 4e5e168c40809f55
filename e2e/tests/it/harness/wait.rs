//! Waiting for facts, always with a deadline.

use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

/// For what should happen at once. Long, since it is only spent when something is wrong, or the machine is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// How often a fact is looked at that nobody announces.
const LOOK: Duration = Duration::from_millis(5);

/// Looks at `fact` until it is there; panics with `what` when it is not there in time.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, patience: Duration, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        look_again_soon();
    }
}

/// Watches for `period` that `fact` does not come true; panics with `what` when it does.
#[track_caller]
pub(crate) fn never(what: &str, period: Duration, mut fact: impl FnMut() -> bool) {
    let end = Instant::now() + period;
    while Instant::now() < end {
        assert!(!fact(), "it did happen: {what}");
        look_again_soon();
    }
}

/// Gives the processor away for a moment. For a loop that looks at a fact, not for waiting in general.
pub(crate) fn look_again_soon() {
    // Interrupted is as good as waited.
    let _ = poll(&mut [], PollTimeout::try_from(LOOK).expect("a short time"));
}
