//! Lines on their way to the thread that writes them: whole ones, batched, and never so many that a file that stands still fills the
//! memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustcorn_sys::Monotonic;

use super::clock::Clock;

/// A batch of so many bytes goes out at once,
const BATCH: usize = 32 * 1024;
/// any other when its first line has waited this long.
const INTERVAL: Duration = Duration::from_millis(250);
/// Beyond so many bytes lines are lost.
const MOST: usize = 1024 * 1024;
/// Time that a file which takes nothing has left at the end.
const PATIENCE: Duration = Duration::from_millis(500);

/// What waits, and since when.
#[derive(Debug, Default)]
pub(super) struct Batch {
    lines: Vec<u8>,
    oldest: Option<Monotonic>,
    /// For which there was no room.
    lost: u64,
}

/// When a batch is to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Never,
    In(Duration),
    Now,
}

impl Batch {
    /// Adds what `line` writes. Whether the thread has to hear of it.
    fn add(&mut self, now: Monotonic, line: impl FnOnce(&mut Vec<u8>)) -> bool {
        let before = self.lines.len();
        if before >= MOST {
            self.lost += 1;
            return false;
        }
        line(&mut self.lines);
        if self.oldest.is_none() {
            self.oldest = Some(now);
            return true;
        }
        before < BATCH && self.lines.len() >= BATCH
    }

    fn due(&self, now: Monotonic) -> Due {
        match self.oldest {
            _ if self.lines.len() >= BATCH => Due::Now,
            None if self.lost > 0 => Due::Now,
            None => Due::Never,
            Some(oldest) => match INTERVAL.checked_sub(now.since(oldest)) {
                None | Some(Duration::ZERO) => Due::Now,
                Some(rest) => Due::In(rest),
            },
        }
    }
}

/// What the thread gets.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) lines: Vec<u8>,
    /// Lines for which there was no room.
    pub(super) lost: u64,
}

#[derive(Default)]
struct State {
    batch: Batch,
    clock: Clock,
    /// The worker leaves: what there is goes out, and then the thread ends.
    closing: bool,
    /// Nobody takes lines (any more).
    over: bool,
    /// There is no thread (any more), and it has said what it had to say.
    ended: bool,
}

/// Between the threads that serve and the one that writes. Both hold the lock for as long as a line takes to copy.
pub(super) struct Queue {
    state: Mutex<State>,
    added: Condvar,
    ended: Condvar,
    /// In nanoseconds since boot: when waiting for room ends.
    gives_up: AtomicU64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            added: Condvar::new(),
            ended: Condvar::new(),
            gives_up: AtomicU64::new(u64::MAX),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // no code of others runs in between
    }

    /// Adds a line. False if it is lost and nobody is there to say so.
    pub(super) fn add(&self, now: Monotonic, line: impl FnOnce(&Clock, &mut Vec<u8>)) -> bool {
        let mut state = self.lock();
        if state.over {
            return false;
        }
        let State { batch, clock, .. } = &mut *state;
        clock.turn_to(now);
        let news = batch.add(now, |lines| line(clock, lines));
        drop(state);
        if news {
            self.added.notify_one();
        }
        true
    }

    /// Waits for a batch. `spare` is used for the next. `None`: there will be none, and [`Self::close`] is to follow.
    pub(super) fn take(&self, spare: Vec<u8>) -> Option<Taken> {
        let mut state = self.lock();
        loop {
            let due = state.batch.due(Monotonic::now());
            state = match due {
                Due::Now => break,
                Due::Never if state.closing => {
                    state.over = true;
                    return None;
                }
                _ if state.closing => break,
                Due::Never => self.added.wait(state).unwrap_or_else(PoisonError::into_inner),
                Due::In(rest) => self.added.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        let Batch { lines, lost, .. } = std::mem::replace(&mut state.batch, Batch { lines: spare, ..Batch::default() });
        Some(Taken { lines, lost })
    }

    /// Lines that found no room since this was last asked.
    pub(super) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.lock().batch.lost)
    }

    /// Whether it is worth waiting for room in the file.
    pub(super) fn may_wait(&self) -> bool {
        Monotonic::now().as_nanos() < self.gives_up.load(Relaxed)
    }

    /// Has everything written, if that is possible soon. Returns when the thread is done.
    pub(super) fn finish(&self) {
        let now = Monotonic::now();
        self.gives_up.fetch_min((now + PATIENCE).as_nanos(), Relaxed);
        let mut state = self.lock();
        state.closing = true;
        self.added.notify_one();
        // Twice the time, for a disk that is slow to say that it takes nothing.
        let ended = self.ended.wait_timeout_while(state, PATIENCE * 2, |state| !state.ended);
        ended.unwrap_or_else(PoisonError::into_inner).0.over = true;
    }

    /// There is no thread, or it has nothing left to do.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        (state.over, state.ended) = (true, true);
        self.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    fn line(lines: &mut Vec<u8>) {
        lines.extend([b'x'; 99]);
        lines.push(b'\n');
    }

    #[test]
    fn a_batch_goes_out_when_its_first_line_has_waited_long_enough() {
        let mut batch = Batch::default();
        assert_eq!(batch.due(at(0)), Due::Never);
        assert!(batch.add(at(0), line), "the thread has to set a clock");
        assert!(!batch.add(at(100), line), "it is set");
        assert_eq!(batch.due(at(100)), Due::In(Duration::from_millis(150)));
        assert_eq!(batch.due(at(250)), Due::Now);
    }

    #[test]
    fn a_batch_goes_out_when_it_is_large() {
        let mut batch = Batch::default();
        let told: Vec<usize> = (0..400).filter(|_| batch.add(at(0), line)).collect();
        assert_eq!(told, [0, BATCH / 100], "at the first line, and when it is full");
        assert_eq!(batch.due(at(0)), Due::Now);
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_counted() {
        let mut batch = Batch::default();
        for _ in 0..20_000 {
            batch.add(at(0), line);
        }
        assert_eq!(batch.lines.len() as u64 / 100 + batch.lost, 20_000);
        assert!((MOST..MOST + 100).contains(&batch.lines.len()));
    }

    #[test]
    fn at_the_end_everything_is_taken_and_later_lines_are_lost() {
        let (queue, said) = (Queue::new(), Mutex::new(false));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let mut all = Vec::new();
                while let Some(taken) = queue.take(Vec::new()) {
                    all.extend(taken.lines);
                }
                *said.lock().unwrap() = true;
                queue.close();
                all
            });
            for _ in 0..1000 {
                assert!(queue.add(Monotonic::now(), |_, lines| line(lines)));
            }
            queue.finish();
            assert!(*said.lock().unwrap(), "its last words come first: the process may end now");
            assert!(!queue.add(Monotonic::now(), |_, lines| line(lines)));
            assert_eq!(thread.join().unwrap().len(), 100_000);
        });
    }
}
