//! Log lines of this worker are counted on its scoreboard, as gunicorn counts them.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rustcorn_sys::log::{self, Level, line};

use crate::shared::Shared;

static COUNTED_BY: OnceLock<Arc<Shared>> = OnceLock::new();

thread_local! {
    /// The line being written is an exception's: it is counted as that and not as error, as in gunicorn.
    static EXCEPTION: Cell<bool> = const { Cell::new(false) };
}

/// Counts every line of warning and above from now on. A process is one worker, so the first call is the one that counts.
pub(crate) fn count_on(shared: &Arc<Shared>) {
    if COUNTED_BY.set(Arc::clone(shared)).is_ok() {
        log::count_with(count);
    }
}

fn count(level: Level) {
    if !EXCEPTION.get()
        && let Some(shared) = COUNTED_BY.get()
    {
        shared.writer.logged(level);
    }
}

/// An error line about a failure of the application.
pub(crate) fn exception(shared: &Shared, message: fmt::Arguments<'_>) {
    shared.writer.logged_exception();
    EXCEPTION.set(true);
    line(Level::Error, message);
    EXCEPTION.set(false);
}
