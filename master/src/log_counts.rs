//! The master's own log lines of warning and above, for `gunicorn.log.*`. The workers' are on the scoreboard.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustcorn_sys::log::Level;

/// Critical, error, warning: the order of `Counts::log`.
static LINES: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

pub(crate) fn count(level: Level) {
    let index = match level {
        Level::Critical => 0,
        Level::Error => 1,
        Level::Warning => 2,
        Level::Info | Level::Debug => return,
    };
    LINES[index].fetch_add(1, Relaxed);
}

/// How many there were.
pub(crate) fn lines() -> [u64; 3] {
    LINES.each_ref().map(|lines| lines.load(Relaxed))
}
