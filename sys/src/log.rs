//! Operator log lines in gunicorn's format: `[2026-11-22 06:55:00 +0000] [PID] [INFO] message`, to standard error.
//!
//! One line is one `write(2)`, so lines of master and workers never mix on one pipe (up to `PIPE_BUF` they are atomic).

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Severity of a line, gunicorn's five.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// For someone who looks for a fault.
    Debug = 0,
    /// Normal operation.
    Info = 1,
    /// Something an operator may want to change.
    Warning = 2,
    /// Something went wrong; service goes on.
    Error = 3,
    /// Something went wrong that needs attention now.
    Critical = 4,
}

impl Level {
    /// Lower-case name, as in the `loglevel` setting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        })
    }
}

impl FromStr for Level {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical]
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(s))
            .ok_or(())
    }
}

static THRESHOLD: AtomicU8 = AtomicU8::new(Level::Info as u8);
static COUNTER: OnceLock<fn(Level)> = OnceLock::new();

/// Lines below `level` are not written from now on.
pub fn set_level(level: Level) {
    THRESHOLD.store(level as u8, Relaxed);
}

/// Calls `count` for each line of warning and above, whether or not it is written (gunicorn counts so too). Once a process.
pub fn count_with(count: fn(Level)) {
    let first = COUNTER.set(count).is_ok();
    debug_assert!(first, "log lines are counted in one place");
}

/// Writes one line. A line break inside `message` becomes `\n`, so that one event stays one line and nothing can be forged.
pub fn line(level: Level, message: fmt::Arguments<'_>) {
    if level >= Level::Warning
        && let Some(count) = COUNTER.get()
    {
        count(level);
    }
    if (level as u8) < THRESHOLD.load(Relaxed) {
        return;
    }
    let now = jiff::Zoned::now();
    let message = message.to_string().replace('\r', "\\r").replace('\n', "\\n");
    let line = format!("[{}] [{}] [{level}] {message}\n", now.strftime("%Y-%m-%d %H:%M:%S %z"), std::process::id());
    // Where the log cannot be written there is no place left to say so; serving goes on.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
