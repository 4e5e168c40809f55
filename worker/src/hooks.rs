//! What an application wants to be called for in a worker, besides being built.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustcorn_sys::log::{Level, line};
use tokio::time::timeout;

use crate::context::Context;
use crate::count::{BoxError, chain};
use crate::log;
use crate::panics::contained;
use crate::run::{End, Ended};
use crate::shared::Shared;

/// What `worker_exit` has time for at least, however a worker ends. The master grants a second more (its `EXIT_TIME`).
const LEAST: Duration = Duration::from_secs(1);

type Init = Box<dyn FnOnce(&Context) -> Result<(), BoxError>>;
type Exit = Box<dyn FnOnce(WorkerExit) -> Pin<Box<dyn Future<Output = ()>>>>;

/// The hooks of a worker. Each is called once, if it is there.
#[derive(Default)]
pub struct Hooks {
    /// Before the runtime, and before the application is built.
    pub worker_init: Option<Init>,
    /// In the runtime, after the last request.
    pub worker_exit: Option<Exit>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker_init, worker_exit } = self;
        let there = (worker_init.is_some(), worker_exit.is_some());
        f.debug_struct("Hooks").field("worker_init", &there.0).field("worker_exit", &there.1).finish()
    }
}

/// How a worker left.
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// fn is_worth_a_line(exit: &rustcorn::WorkerExit) -> bool {
///     exit.farewell() == rustcorn::Farewell::Cut
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Farewell {
    /// Every request was answered, and every background task was done.
    Drained,
    /// `graceful_timeout` was over first: what was left is cut.
    Cut,
    /// It was told to leave at once (`INT` or `QUIT`).
    Quit,
}

/// What the hook `worker_exit` is given.
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// async fn say_goodbye(exit: rustcorn::WorkerExit) {
///     eprintln!("worker {} leaves: {:?}", exit.context().slot(), exit.farewell());
/// }
/// ```
#[derive(Debug)]
pub struct WorkerExit {
    pub(crate) context: Context,
    pub(crate) farewell: Farewell,
}

impl WorkerExit {
    /// The context that the application was built with.
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// How the worker left.
    #[must_use]
    pub const fn farewell(&self) -> Farewell {
        self.farewell
    }
}

impl Hooks {
    /// Calls `worker_init`. The error is what keeps the worker from serving, in words.
    pub(crate) fn init(&mut self, context: &Context) -> Result<(), String> {
        let Some(hook) = self.worker_init.take() else { return Ok(()) };
        match contained(|| hook(context)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("worker_init: {}", chain(&*error))),
            Err(panic) => {
                if !panic.stack().is_empty() {
                    panic.say(Vec::new()); // the reason goes through a pipe to the master, where it would be too long
                }
                Err(format!("worker_init {}", panic.words()))
            }
        }
    }

    /// Calls `worker_exit`, and waits for it as long as there is time.
    pub(crate) async fn exit(&mut self, context: Context, end: End) {
        let Some(hook) = self.worker_exit.take() else { return };
        let (limit, farewell) = match end.how {
            Ended::Drained => (end.grace_left.max(LEAST), Farewell::Drained),
            Ended::Cut => (LEAST, Farewell::Cut),
            Ended::Quit => (LEAST, Farewell::Quit),
        };
        let shared = Arc::clone(&context.shared);
        let exit = WorkerExit { context, farewell };
        let work = async {
            let mut future = pin!(contained(|| hook(exit))?);
            poll_fn(|cx| match contained(|| future.as_mut().poll(cx)) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
                Err(panic) => Poll::Ready(Err(panic)),
            })
            .await
        };
        match timeout(limit, work).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => told(&shared, &panic),
            Err(_) => {
                let message =
                    format_args!("worker_exit was not done within {limit:.1?} and is dropped; the worker leaves");
                line(Level::Warning, message);
            }
        }
    }
}

fn told(shared: &Shared, panic: &rustcorn_sys::log::Panic) {
    let (words, stack) = (panic.words(), panic.stack());
    log::exception(shared, format_args!("worker_exit {words}{stack}"), &panic.fields());
}
