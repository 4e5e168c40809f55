//! Operator log lines, to standard error: as gunicorn writes them, `[2026-11-22 06:55:00 +0000] [PID] [INFO] message`, or as
//! JSON objects that log collectors understand. Standard error may be a file ([`mod@file`]); syslog may get them, too ([`syslog`]).
//!
//! One line is one `write(2)` of at most `PIPE_BUF` bytes, so lines of master and workers never mix on one pipe. A log that
//! nobody reads stops nobody: lines that find no room are dropped, and the next one that does says how many.

pub mod batch;
pub mod file;
mod json;
mod panic;
pub mod syslog;
mod text;
mod wall_clock;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering::Relaxed};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
pub use panic::{Panic, say_panics, source_location};
/// Values of fields.
pub use serde_json::{Map, Value, json};
pub use wall_clock::Second;

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
    const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

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
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(s)).ok_or(())
    }
}

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Format {
    /// For people, as gunicorn has it.
    Text = 0,
    /// One JSON object a line, with the names that Google Cloud Logging looks for.
    Json = 1,
}

impl Format {
    /// As in the `log_format` setting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for Format {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        [Self::Text, Self::Json].into_iter().find(|format| format.name().eq_ignore_ascii_case(s)).ok_or(())
    }
}

/// A name and what it stands for.
pub type Field = (Cow<'static, str>, Value);

/// One event, for either format.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// How bad it is.
    pub level: Level,
    /// What happened, in words.
    pub message: &'a dyn Words,
    /// What code of the application says about itself; `None` for lines of the server's own.
    pub origin: Option<&'a Origin>,
    /// What the message says or implies, for machines: only in JSON, at the top of the object.
    pub fields: &'a [Field],
}

/// A message.
pub trait Words: fmt::Display + fmt::Debug {}
impl<T: fmt::Display + fmt::Debug + ?Sized> Words for T {}

/// Where in the application an event comes from, and what it carries. In both formats.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Origin {
    /// The module, or what the application named instead.
    pub target: String,
    /// Spans of `tracing` around it, the outermost first, with their fields.
    pub spans: Vec<(&'static str, Map<String, Value>)>,
    /// The event's own.
    pub fields: Map<String, Value>,
}

static THRESHOLD: AtomicU8 = AtomicU8::new(Level::Info as u8);
static FORMAT: AtomicU8 = AtomicU8::new(Format::Text as u8);
static COUNTER: OnceLock<fn(Level)> = OnceLock::new();
static PROCESS: OnceLock<Vec<Field>> = OnceLock::new();

/// Lines below `level` are not written from now on.
pub fn set_level(level: Level) {
    THRESHOLD.store(level as u8, Relaxed);
}

/// The least severity that is written.
#[must_use]
pub fn level() -> Level {
    let level = THRESHOLD.load(Relaxed);
    Level::ALL.into_iter().find(|known| *known as u8 == level).unwrap_or(Level::Info)
}

/// Lines are written so from now on.
pub fn set_format(format: Format) {
    FORMAT.store(format as u8, Relaxed);
}

/// How lines are written now. For those who would make fields for nobody.
#[must_use]
#[inline]
pub fn format() -> Format {
    if FORMAT.load(Relaxed) == Format::Json as u8 { Format::Json } else { Format::Text }
}

/// What this process is, for every JSON line after its pid. The first call is the one that counts.
pub fn describe_process(fields: Vec<Field>) {
    let _ = PROCESS.set(fields); // a process does not change what it is
}

/// Calls `count` for each line of warning and above, whether or not it is written (gunicorn counts so too). Once a process.
pub fn count_with(count: fn(Level)) {
    let first = COUNTER.set(count).is_ok();
    debug_assert!(first, "log lines are counted in one place");
}

/// Writes one line without fields.
pub fn line(level: Level, message: fmt::Arguments<'_>) {
    Record { level, message: &message, origin: None, fields: &[] }.say();
}

impl Record<'_> {
    /// Writes the line, unless it is below the level that was set. Nothing in it can begin a line of its own.
    pub fn say(&self) {
        if self.level >= level() {
            self.say_at_any_level();
        } else {
            self.count();
        }
    }

    /// As [`Self::say`], where somebody else has decided that the event is wanted.
    pub fn say_at_any_level(&self) {
        self.write();
        if let Some(syslog::Trouble { address, error, lost }) = syslog::say(self) {
            let message = format_args!("{lost} log lines did not reach syslog at {address}: {error}");
            let fields = [("lost".into(), lost.into())];
            // To standard error alone: it is no news for syslog.
            Record { level: Level::Warning, message: &message, origin: None, fields: &fields }.write();
        }
    }

    /// To standard error, whatever the level.
    fn write(&self) {
        self.count();
        let lost = LOST.swap(0, Relaxed);
        if lost > 0 {
            let why = match ERRNO.load(Relaxed) {
                0 => "nobody read standard error".to_owned(),
                errno => nix::errno::Errno::from_raw(errno).desc().to_owned(),
            };
            let message = format_args!("{lost} log lines were lost: {why}");
            let fields = [("lost".into(), lost.into())];
            if !write(&Record { level: Level::Warning, message: &message, origin: None, fields: &fields }.rendered()) {
                LOST.fetch_add(lost, Relaxed);
            }
        }
        if !write(&self.rendered()) {
            LOST.fetch_add(1, Relaxed);
        }
    }

    fn count(&self) {
        if self.level >= Level::Warning
            && let Some(count) = COUNTER.get()
        {
            count(self.level);
        }
    }

    /// The message. What an application's own `Display` refuses to say is missing.
    fn text(&self) -> String {
        let mut text = String::new();
        let _ = write!(text, "{}", self.message);
        text
    }

    fn rendered(&self) -> Vec<u8> {
        let now = jiff::Zoned::now();
        match format() {
            Format::Text => text::line(self, &now).into_bytes(),
            Format::Json => json::line(self, &now, PROCESS.get().map_or(&[], Vec::as_slice)),
        }
    }
}

/// Lines that found no room since the last that did.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Why the last of them was: 0, or the number of an error.
static ERRNO: AtomicI32 = AtomicI32::new(0);

/// A line was written in part (the disk is full), so the next one begins with an end of line.
static TORN: AtomicBool = AtomicBool::new(false);

/// What a pipe takes in one piece (pipe(7)).
pub const PIPE_BUF: usize = 4096;

/// Whether the line was written, or can never be (standard error is closed). A pipe that is ready takes `PIPE_BUF` bytes
/// without waiting; only another process that fills it in the same instant could still make us wait.
fn write(line: &[u8]) -> bool {
    let stderr = std::io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut ready, PollTimeout::ZERO) == Ok(0) {
        ERRNO.store(0, Relaxed);
        return false;
    }
    let mut stderr = stderr.lock(); // one thread at a time from here on
    let whole = if TORN.load(Relaxed) { [b"\n", line].concat().into() } else { Cow::Borrowed(line) };
    let mut rest = &*whole;
    while !rest.is_empty() {
        match stderr.write(rest) {
            Ok(written @ 1..) => rest = &rest[written..],
            Ok(0) => return false, // not known to happen; not to be tried for ever
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Where the log cannot be written there is no place left to say so; serving goes on.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return true,
            Err(error) => {
                TORN.fetch_or(rest.len() < whole.len(), Relaxed);
                ERRNO.store(error.raw_os_error().unwrap_or(0), Relaxed);
                return false;
            }
        }
    }
    TORN.store(false, Relaxed);
    true
}

/// As much of the beginning as fits into `room` bytes, the sign for "there was more" included.
fn cut(text: &str, room: usize) -> Cow<'_, str> {
    const MORE: &str = "…";
    if text.len() <= room {
        return text.into();
    }
    let end = text.floor_char_boundary(room.saturating_sub(MORE.len()));
    format!("{}{MORE}", &text[..end]).into()
}

#[cfg(test)]
mod tests;
