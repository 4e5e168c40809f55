//! The service manager (systemd), if one wants to know how this server is: sd_notify(3).

use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::error::without_number;
use rustcorn_sys::notify::Notifier;

use crate::fleet::Status;
use crate::notice::Notice;

#[derive(Debug)]
pub(super) struct Manager {
    notifier: Option<Notifier>,
    /// How often it wants a sign of life.
    watchdog: Option<Duration>,
    next_sign: Option<Monotonic>,
}

impl Manager {
    /// `watchdog`: it wants a sign of life at least so often.
    pub(super) fn from_env(watchdog: Option<Duration>) -> Self {
        let notifier = Notifier::from_env().unwrap_or_else(|error| {
            complain(&error);
            None
        });
        Self { watchdog: watchdog.filter(|_| notifier.is_some()), notifier, next_sign: None }
    }

    /// When the next sign of life is due.
    pub(super) const fn next_deadline(&self) -> Option<Monotonic> {
        self.next_sign
    }

    /// The master's loop turns.
    pub(super) fn tend(&mut self, now: Monotonic) {
        if self.next_sign.is_some_and(|due| now >= due) {
            self.live(now);
        }
    }

    /// Says that the master lives, and again in half the time that the manager waits (sd_watchdog_enabled(3)).
    fn live(&mut self, now: Monotonic) {
        self.send("WATCHDOG=1");
        self.next_sign = self.watchdog.map(|watchdog| now + watchdog / 2);
    }

    pub(super) fn notify(&mut self, now: Monotonic, status: Status) {
        match status {
            // By its number too: after an upgrade the manager has been told so by the old master, but that may be lost.
            Status::Ready => {
                self.send(&format!("MAINPID={}\nREADY=1\nSTATUS=Serving", std::process::id()));
                self.live(now);
            }
            // The time tells the manager that this answers its request and no earlier one. In microseconds.
            Status::Reloading => self.send(&format!(
                "RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=Reloading: the old workers serve until the new ones are ready",
                now.as_nanos() / 1000
            )),
            Status::Stopping => self.send("STOPPING=1\nSTATUS=Stopping: requests in flight are finished"),
            Status::MainPid(pid) => self.send(&format!("MAINPID={pid}")),
        }
    }

    fn send(&self, state: &str) {
        if let Some(Err(error)) = self.notifier.as_ref().map(|notifier| notifier.send(state)) {
            complain(&error);
        }
    }
}

fn complain(error: &std::io::Error) {
    Notice::SystemTrouble { what: "tell the service manager".to_owned(), error: without_number(error) }.say();
}
