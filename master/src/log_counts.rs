//! The master's own log lines of warning and above, for `gunicorn.log.*`. The workers' are on the scoreboard.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustcorn_scoreboard::Counts;
use rustcorn_sys::log::Level;

/// Critical, error, warning: the order of [`Counts::log`].
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

pub(crate) fn add_to(counts: &mut Counts) {
    for (count, lines) in counts.log.iter_mut().zip(&LINES) {
        *count += lines.load(Relaxed);
    }
}
