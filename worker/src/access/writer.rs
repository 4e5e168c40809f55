//! The thread that writes the access log: it may wait for a disk or a reader, so that nobody else has to.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::error::without_number;
use rustcorn_sys::log::batch::{Batches, Lost};
use rustcorn_sys::log::syslog::{Sender, Trouble};

use super::queue::{Queue, Taken};
use super::target::Target;
use crate::log;
use crate::shared::Shared;

/// Least time between two lines about what was lost.
const SILENCE: Duration = Duration::from_secs(60);
/// Memory that a buffer keeps after it had to hold more.
const KEPT: usize = 64 * 1024;

pub(super) struct Writer {
    pub(super) target: Option<Target>,
    pub(super) syslog: Option<Sender>,
    pub(super) shared: Arc<Shared>,
    pub(super) losses: Losses,
}

impl Writer {
    pub(super) fn run(mut self, queue: &Queue) {
        let (mut batches, mut spare) = (Batches::default(), Vec::new());
        while let Some(Taken { mut lines, lost }) = queue.take(spare) {
            self.lost(lost, NO_ROOM);
            if let Some(target) = self.target.clone() {
                let stdout = std::io::stdout();
                let to: BorrowedFd<'_> = match &target {
                    Target::StandardOutput => stdout.as_fd(),
                    Target::File(file) => file.as_fd(),
                };
                let written = batches.write(to, &lines, || {
                    self.lost(queue.take_lost(), NO_ROOM); // also while it stands still
                    queue.may_wait()
                });
                if let Err(Lost { lines, error }) = written {
                    self.lost(lines, &error.map_or_else(|| NOT_READ.to_owned(), |error| without_number(&error)));
                }
            }
            self.tell_syslog(&lines);
            lines.clear();
            lines.shrink_to(KEPT);
            spare = lines;
        }
        self.losses.last_words().iter().for_each(say);
        queue.close(); // the process may end as soon as it knows
    }

    fn tell_syslog(&mut self, lines: &[u8]) {
        let Some(syslog) = &mut self.syslog else { return };
        for line in String::from_utf8_lossy(lines).lines() {
            if let Some(Trouble { address, error, lost }) = syslog.send(line) {
                let message = format_args!("{lost} access log lines did not reach syslog at {address}: {error}");
                log::warning(message, &[("lost".into(), lost.into())]);
            }
        }
    }

    fn lost(&self, lines: u64, why: &str) {
        if lines > 0 {
            self.shared.writer.access_lines_lost(lines);
            self.losses.add(lines, why, Monotonic::now()).iter().for_each(say);
        }
    }
}

const NO_ROOM: &str = "they come faster than they can be written";
const NOT_READ: &str = "nobody reads them";

fn say((lines, why): &(u64, String)) {
    log::warning(format_args!("{lines} access log lines were lost: {why}"), &[("lost".into(), (*lines).into())]);
}

/// What was lost and not said yet.
#[derive(Debug, Default)]
pub(super) struct Losses(std::cell::RefCell<Unsaid>);

#[derive(Debug, Default)]
struct Unsaid {
    lines: u64,
    why: String,
    said: Option<Monotonic>,
}

impl Losses {
    /// What is to be said now.
    fn add(&self, lines: u64, why: &str, now: Monotonic) -> Option<(u64, String)> {
        let mut unsaid = self.0.borrow_mut();
        unsaid.lines += lines;
        why.clone_into(&mut unsaid.why);
        if unsaid.said.is_some_and(|said| now.since(said) < SILENCE) {
            return None;
        }
        unsaid.said = Some(now);
        Some((std::mem::take(&mut unsaid.lines), why.to_owned()))
    }

    /// The rest.
    fn last_words(&self) -> Option<(u64, String)> {
        let unsaid = self.0.take();
        (unsaid.lines > 0).then_some((unsaid.lines, unsaid.why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_said_once_a_minute_and_at_the_end() {
        let (losses, at) = (Losses::default(), |seconds: u64| Monotonic::from_nanos((1 + seconds) * 1_000_000_000));
        assert_eq!(losses.add(1, "a", at(0)), Some((1, "a".to_owned())));
        assert_eq!(losses.add(2, "a", at(10)), None);
        assert_eq!(losses.add(3, "b", at(59)), None);
        assert_eq!(losses.add(4, "c", at(60)), Some((9, "c".to_owned())));
        assert_eq!(losses.add(5, "d", at(61)), None);
        assert_eq!(losses.last_words(), Some((5, "d".to_owned())));
        assert_eq!(losses.last_words(), None);
    }
}
