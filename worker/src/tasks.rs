//! Background tasks of the application: they have names, a drain waits for them, and a panic of one is told and counted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::log;
use crate::panics::contained;
use crate::shared::Shared;

/// A task's name.
pub(crate) type Name = Cow<'static, str>;

/// The tasks of one worker.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Mutex<Running>,
    /// Where they run, once there is a runtime.
    home: OnceLock<(Handle, ThreadId)>,
    /// The last request has been answered.
    drained: watch::Sender<bool>,
}

#[derive(Default)]
struct Running {
    names: BTreeMap<u64, Name>,
    next: u64,
    /// The run loop, when it waits for the last one.
    watcher: Option<Waker>,
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner) // no code of others runs in between
    }

    /// Tasks run in this runtime, and those that are not `Send` on this thread.
    pub(crate) fn live_here(&self) {
        let first = self.home.set((Handle::current(), std::thread::current().id())).is_ok();
        debug_assert!(first, "a worker has one runtime");
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().names.len()
    }

    /// The names of those that run, as in `mailer, writer (2)`.
    pub(crate) fn names(&self) -> String {
        let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
        for name in self.lock().names.values() {
            *counts.entry(name.clone()).or_default() += 1;
        }
        let names = counts.iter().map(|(name, count)| match count {
            1 => name.to_string(),
            count => format!("{name} ({count})"),
        });
        names.collect::<Vec<_>>().join(", ")
    }

    /// Ready when no task runs.
    pub(crate) fn poll_none(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut running = self.lock();
        if running.names.is_empty() {
            return Poll::Ready(());
        }
        running.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Tells those who wait for it that the last request has been answered.
    pub(crate) fn requests_are_over(&self) {
        self.drained.send_replace(true);
    }

    /// To be ready then.
    pub(crate) fn drained(&self) -> watch::Receiver<bool> {
        self.drained.subscribe()
    }
}

/// Starts a task on this thread, which has to be the one that built the application.
///
/// # Panics
/// On any other thread: it could not be waited for.
#[track_caller]
pub(crate) fn spawn<F: Future<Output = ()> + 'static>(shared: &Arc<Shared>, name: Name, task: F) {
    match shared.tasks.home.get() {
        Some((_, thread)) if *thread == std::thread::current().id() => {}
        Some(_) => panic!(
            "Context::spawn is for the thread that builds the application; from this one start {name:?} with spawn_threaded"
        ),
        None => panic!("Context::spawn: there is no runtime yet; start {name:?} where the application is built"),
    }
    drop(tokio::task::spawn_local(Background::new(shared, name, task))); // goes on without its handle
}

/// Starts a task on any thread of the worker, from any thread.
///
/// # Panics
/// Before there is a runtime.
#[track_caller]
pub(crate) fn spawn_threaded<F: Future<Output = ()> + Send + 'static>(shared: &Arc<Shared>, name: Name, task: F) {
    let Some((runtime, _)) = shared.tasks.home.get() else {
        panic!("Context::spawn_threaded: there is no runtime yet; start {name:?} where the application is built");
    };
    drop(runtime.spawn(Background::new(shared, name, task))); // as above
}

/// Takes a task off the list when it is dropped, wherever that happens.
struct Listed {
    shared: Arc<Shared>,
    id: u64,
    name: Name,
}

impl Listed {
    fn new(shared: &Arc<Shared>, name: Name) -> Self {
        let mut running = shared.tasks.lock();
        let id = running.next;
        running.next += 1;
        running.names.insert(id, name.clone());
        Self { shared: Arc::clone(shared), id, name }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut running = self.shared.tasks.lock();
        running.names.remove(&self.id);
        let watcher = if running.names.is_empty() { running.watcher.take() } else { None };
        drop(running); // a waker may run code of the runtime
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }
}

pin_project! {
    /// A task of the application. What it holds is dropped before it is off the list: that may be what a drain waits for.
    struct Background<F> {
        #[pin]
        task: F,
        listed: Listed,
    }
}

impl<F> Background<F> {
    fn new(shared: &Arc<Shared>, name: Name, task: F) -> Self {
        Self { task, listed: Listed::new(shared, name) }
    }
}

impl<F: Future<Output = ()>> Future for Background<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // Unwind safe: a task that panicked is not polled again.
        contained(|| this.task.poll(cx)).unwrap_or_else(|panic| {
            let (name, words, stack) = (&this.listed.name, panic.words(), panic.stack());
            let message = format_args!("Background task {name} {words}{stack}");
            log::exception(&this.listed.shared, message, &panic.fields());
            Poll::Ready(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::seat;

    #[test]
    fn tasks_are_listed_by_name_while_they_are_there() {
        let (_board, shared) = seat(Duration::ZERO, Duration::ZERO);
        let begin = |name: &'static str| Background::new(&shared, name.into(), async {});
        let (one, two, other) = (begin("writer"), begin("writer"), begin("mailer"));
        assert_eq!((shared.tasks.names().as_str(), shared.tasks.len()), ("mailer, writer (2)", 3));
        drop(two);
        assert_eq!(shared.tasks.names(), "mailer, writer");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(shared.tasks.poll_none(&mut cx).is_pending());
        drop((one, other));
        assert!(shared.tasks.poll_none(&mut cx).is_ready() && shared.tasks.names().is_empty());
    }
}
