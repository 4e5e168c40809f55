//! The log of a server, line by line as it is written.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// All lines so far. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads `pipe` to its end, on a thread of its own.
    pub(crate) fn capture(pipe: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                writer.lock().lines.push(text);
                writer.0.1.notify_all();
                line.clear();
            }
            writer.lock().ended = true;
            writer.0.1.notify_all();
        });
        log
    }

    /// The same for a terminal, which has no lines: all bytes so far are one.
    pub(crate) fn capture_bytes(mut pipe: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut bytes) {
                all.extend_from_slice(&bytes[..length]);
                writer.lock().lines = vec![String::from_utf8_lossy(&all).into_owned()];
                writer.0.1.notify_all();
            }
            writer.lock().ended = true;
            writer.0.1.notify_all();
        });
        log
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.0.lock().expect("nobody panics while holding the lock")
    }

    /// How many lines there are: a place to search from.
    pub(crate) fn mark(&self) -> usize {
        self.lock().lines.len()
    }

    /// The lines from a mark on.
    pub(crate) fn since(&self, mark: usize) -> Vec<String> {
        self.lock().lines[mark..].to_vec()
    }

    /// How many lines contain `pattern`.
    pub(crate) fn count(&self, pattern: &str) -> usize {
        self.lock().lines.iter().filter(|line| line.contains(pattern)).count()
    }

    /// The first line from `mark` on that contains `pattern`.
    pub(crate) fn find(&self, mark: usize, pattern: &str) -> Option<String> {
        self.lock().lines[mark..].iter().find(|line| line.contains(pattern)).cloned()
    }

    /// Waits for the `number`th line from `mark` on that contains `pattern`, and returns it.
    #[track_caller]
    pub(crate) fn wait(&self, mark: usize, pattern: &str, number: usize, patience: Duration) -> String {
        let found = self.wait_until(patience, |lines| {
            lines.lines[mark..].iter().filter(|line| line.contains(pattern)).nth(number - 1).cloned()
        });
        found.unwrap_or_else(|| panic!("the log has no {pattern:?} (number {number}) within {patience:?}"))
    }

    /// Waits until nobody holds the log's pipe any more: the master and all its workers are gone.
    pub(crate) fn wait_for_end(&self, patience: Duration) -> bool {
        self.wait_until(patience, |lines| lines.ended.then_some(())).is_some()
    }

    fn wait_until<T>(&self, patience: Duration, fact: impl Fn(&Lines) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut lines = self.lock();
        loop {
            if let Some(found) = fact(&lines) {
                return Some(found);
            }
            if lines.ended {
                return None; // no more will come
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            lines = self.0.1.wait_timeout(lines, left).expect("nobody panics while holding the lock").0;
        }
    }
}
