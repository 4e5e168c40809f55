//! Operator log lines in gunicorn's format: `[2026-11-22 06:55:00 +0000] [PID] [INFO] message`, to standard error.
//!
//! One line is one `write(2)` of at most `PIPE_BUF` bytes, so lines of master and workers never mix on one pipe. A log that
//! nobody reads stops nobody: lines that find no room are dropped, and the next one that does says how many.

use std::fmt;
use std::io::Write;
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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
    let lost = LOST.swap(0, Relaxed);
    if lost > 0 && !write(&format(Level::Warning, &format!("{lost} log lines were lost: nobody read standard error"))) {
        LOST.fetch_add(lost, Relaxed);
    }
    if !write(&format(level, &message.to_string())) {
        LOST.fetch_add(1, Relaxed);
    }
}

/// Lines that found no room since the last that did.
static LOST: AtomicU64 = AtomicU64::new(0);

/// What a pipe takes in one piece (pipe(7)).
const PIPE_BUF: usize = 4096;

fn format(level: Level, message: &str) -> String {
    let now = jiff::Zoned::now();
    let message = message.replace('\r', "\\r").replace('\n', "\\n");
    let mut line = format!("[{}] [{}] [{level}] {message}", now.strftime("%Y-%m-%d %H:%M:%S %z"), std::process::id());
    if line.len() >= PIPE_BUF {
        line.truncate(line.floor_char_boundary(PIPE_BUF - 4));
        line.push('…');
    }
    line.push('\n');
    line
}

/// Whether the line was written, or can never be (standard error is closed). A pipe that is ready takes `PIPE_BUF` bytes
/// without waiting; only another process that fills it in the same instant could still make us wait.
fn write(line: &str) -> bool {
    let stderr = std::io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut ready, PollTimeout::ZERO) {
        Ok(0) => false,
        _ => {
            // Where the log cannot be written there is no place left to say so; serving goes on.
            let _ = stderr.lock().write_all(line.as_bytes());
            true
        }
    }
}
