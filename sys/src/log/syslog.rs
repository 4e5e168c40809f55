//! Log lines to syslog, beside standard error, as gunicorn sends them: `<14>rustcorn.shop.error: [23602] Booting worker …`.
//!
//! Nothing waits for syslog: sockets never block, and a line that cannot be sent is lost there and counted. That is said on
//! standard error, at most once a minute. The crate `syslog` blocks when it connects and when it sends, and has UTC for
//! local time where there are threads; of what gunicorn sends it would be left with three characters to write.

mod address;
mod link;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use address::{Address, Facility, Kind};
use link::Link;

use super::{Level, PIPE_BUF, Record, cut, text};
use crate::Monotonic;
use crate::error::without_number;

/// Least time between two lines about what was lost.
const SILENCE: Duration = Duration::from_secs(60);

/// Where lines go, and as whose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The server.
    pub address: Address,
    /// What kind of program this is.
    pub facility: Facility,
    /// The program's name there.
    pub tag: String,
}

/// Whether there is anything behind [`SYSLOG`], so that everybody else pays no lock.
static WANTED: AtomicBool = AtomicBool::new(false);
static SYSLOG: Mutex<Option<Syslog>> = Mutex::new(None);

/// From now on lines go there, too, or nowhere else. Looks the server's name up, once, and waits a moment for a connection where
/// that is needed; later nothing waits.
pub fn set(plan: Option<Plan>) {
    let syslog = plan.map(|plan| Syslog::new(plan, Monotonic::now()));
    WANTED.store(syslog.is_some(), Relaxed);
    *SYSLOG.lock().unwrap_or_else(PoisonError::into_inner) = syslog;
}

/// Sends a line, if there is somebody to send it to; returns what should be said about earlier ones.
pub(super) fn say(record: &Record<'_>) -> Option<Trouble> {
    if !WANTED.load(Relaxed) {
        return None;
    }
    let message = text::message(record); // what it says is the application's code, which may want to log, too
    let mut syslog = SYSLOG.lock().unwrap_or_else(PoisonError::into_inner);
    syslog.as_mut()?.say(record.level, &message, Monotonic::now())
}

/// A way of its own to a server, for lines that are no log lines of this process. It, too, never waits but for its connection.
#[derive(Debug)]
pub struct Sender(Syslog);

impl Sender {
    /// As [`set`].
    #[must_use]
    pub fn open(plan: Plan) -> Self {
        Self(Syslog::new(plan, Monotonic::now()))
    }

    /// Sends a line at level info; returns what should be said about earlier ones.
    pub fn send(&mut self, message: &str) -> Option<Trouble> {
        self.0.say(Level::Info, message, Monotonic::now())
    }
}

/// Lines did not get there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// The server's.
    pub address: String,
    /// Why the last one did not.
    pub error: String,
    /// Since this was last said.
    pub lost: u64,
}

#[derive(Debug)]
struct Syslog {
    plan: Plan,
    link: Link,
    lost: u64,
    /// Why the last one was.
    error: String,
    said: Option<Monotonic>,
}

impl Syslog {
    fn new(plan: Plan, now: Monotonic) -> Self {
        let link = Link::open(&plan.address, now);
        Self { plan, link, lost: 0, error: String::new(), said: None }
    }

    fn say(&mut self, level: Level, message: &str, now: Monotonic) -> Option<Trouble> {
        let line = self.line(level, message);
        // The kernel tells of a datagram that was refused when the next one is sent.
        let (late, sent) = (self.link.late_refusal(), self.link.send(line.as_bytes(), now));
        for error in [late, sent].into_iter().filter_map(Result::err) {
            self.lost += 1;
            self.error = error_words(&error);
        }
        let due = self.lost > 0 && self.said.is_none_or(|said| now.since(said) >= SILENCE);
        due.then(|| {
            self.said = Some(now);
            let (address, error) = (self.plan.address.to_string(), self.error.clone());
            Trouble { address, error, lost: std::mem::take(&mut self.lost) }
        })
    }

    fn line(&self, level: Level, message: &str) -> String {
        let severity = match level {
            Level::Debug => 7,
            Level::Info => 6,
            Level::Warning => 4,
            Level::Error => 3,
            Level::Critical => 2,
        };
        let priority = self.plan.facility.number() * 8 + severity;
        let line = format!("<{priority}>{}: [{}] {message}", self.plan.tag, std::process::id());
        cut(&line, PIPE_BUF).into_owned()
    }
}

fn error_words(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::WouldBlock {
        return "it does not take them as fast as they come".to_owned();
    }
    without_number(error)
}

#[cfg(test)]
mod tests;
