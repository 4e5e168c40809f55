//! The serving core: accepts, spawns, and takes the worker through its drain. It knows nothing of handoffs or signals, so tests
//! run it in their own process.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::rt::Executor;
use rustcorn_scoreboard::State;
use rustcorn_sys::Monotonic;
use rustcorn_sys::log::{Level, line};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tower_service::Service;

use crate::accept::Acceptors;
use crate::body::Body as RequestBody;
use crate::count::BoxError;
use crate::drain::{Drain, Order, Times};
use crate::http2::Held;
use crate::io::Socket;
use crate::log;
use crate::panics::contained;
use crate::protocols::{Protocols, Spawns};
use crate::shared::Shared;
use crate::wishes::{Wish, Wishes};

/// How often a drain looks at the master's phase and at its deadlines.
const DRAIN_TICK: Duration = Duration::from_millis(50);
/// A drain that takes longer than this says what it waits for.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// The numbers of the settings that the core needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) worker_connections: usize,
    /// Upper bound for what is taken from a socket's queue at the end.
    pub(crate) queued: usize,
    pub(crate) times: Times,
}

/// How serving ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// Every connection and every background task was finished.
    Drained,
    /// The grace was over first.
    Cut,
    /// Asked to leave at once.
    Quit,
}

/// How serving ended, and what was left of the grace then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) how: Ended,
    pub(crate) grace_left: Duration,
}

/// A worker that serves.
pub(crate) struct Core<S, X, W> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) acceptors: Acceptors,
    /// `None` once nobody can ask any more.
    pub(crate) service: Option<S>,
    pub(crate) executor: X,
    pub(crate) protocols: Arc<Protocols<X>>,
    pub(crate) wishes: W,
    pub(crate) plan: Plan,
}

enum Event {
    Accepted(Socket),
    Wished(Wish),
    /// In a drain: time has passed, or the last connection is gone.
    Look,
}

/// A drain and its clock.
struct Leaving {
    drain: Drain,
    interval: Interval,
    said: bool,
}

impl<S, B, X, W> Core<S, X, W>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    X: Spawns<S, B>,
    W: Wishes,
{
    /// Serves until asked to leave and done with it. Calls `leaves` when a drain begins.
    pub(crate) async fn run(mut self, leaves: impl FnMut()) -> End {
        let mut leaving = None;
        let how = self.serve(&mut leaving, leaves).await;
        let grace_left = leaving.map_or(Duration::ZERO, |leaving| leaving.drain.grace_left(Monotonic::now()));
        End { how, grace_left }
    }

    async fn serve(&mut self, leaving: &mut Option<Leaving>, mut leaves: impl FnMut()) -> Ended {
        loop {
            match poll_fn(|cx| self.poll_event(cx, leaving.as_mut())).await {
                Event::Accepted(socket) => {
                    self.spawn(socket);
                    continue;
                }
                Event::Wished(Wish::Quit) => return Ended::Quit,
                Event::Wished(wish) => {
                    let leaving = leaving.get_or_insert_with(|| self.begin_to_leave(&mut leaves));
                    match wish {
                        Wish::Orphaned => {
                            leaving.drain.orphaned();
                            self.acceptors.hold_all(); // nobody keeps the table any more
                        }
                        Wish::DrainByOthers => leaving.drain.unasked(),
                        Wish::Drain | Wish::Quit => {}
                    }
                }
                Event::Look => {}
            }
            if let Some(ended) = leaving.as_mut().and_then(|leaving| self.step(leaving)) {
                return ended;
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, leaving: Option<&mut Leaving>) -> Poll<Event> {
        // Wishes first: under a flood of connections the order to stop must be heard.
        if let Poll::Ready(wish) = self.wishes.poll_next(cx) {
            return Poll::Ready(Event::Wished(wish));
        }
        if let Some(leaving) = leaving {
            if leaving.interval.poll_tick(cx).is_ready() {
                return Poll::Ready(Event::Look);
            }
            if !leaving.drain.accepts() {
                ready!(self.shared.registry.poll_below(cx, 1));
                if self.service.is_none() {
                    ready!(self.shared.tasks.poll_none(cx));
                }
                return Poll::Ready(Event::Look);
            }
        }
        if self.shared.registry.poll_below(cx, self.plan.worker_connections).is_pending() {
            return Poll::Pending; // the queue keeps them, for a sibling or for later
        }
        let accepted = self.acceptors.poll_accept(cx);
        if accepted.is_pending()
            && let Some(own) = self.acceptors.waits_with()
        {
            // One connection less, and it may be this worker's turn. If that is so already, the wait ends by itself.
            let _ = self.shared.registry.poll_below(cx, own);
        }
        accepted.map(Event::Accepted)
    }

    fn spawn(&self, socket: Socket) {
        if let Some(service) = &self.service {
            self.protocols.serve(&self.executor, &self.shared, socket, service.clone());
        }
    }

    fn begin_to_leave(&mut self, leaves: &mut impl FnMut()) -> Leaving {
        self.acceptors.take_all();
        self.shared.writer.set_state(State::Draining);
        self.shared.say_close();
        leaves();
        let mut interval = interval(DRAIN_TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Leaving { drain: Drain::new(self.plan.times, Monotonic::now()), interval, said: false }
    }

    /// Does what the drain wants now.
    fn step(&mut self, leaving: &mut Leaving) -> Option<Ended> {
        loop {
            let now = Monotonic::now();
            leaving.drain.beside(self.shared.tasks.len());
            let order = leaving.drain.step(now, self.shared.writer.phase(), self.shared.registry.len());
            match order {
                Order::Accept => return None,
                Order::RefuseNew => {
                    self.acceptors.hold_all();
                    self.acceptors.refuse_new();
                }
                Order::StopAccepting { shut_down } => self.stop_accepting(shut_down),
                Order::Finish { idle_ends } => {
                    self.shared.end_idle_at(idle_ends);
                    self.shared.sweep(now);
                    if self.shared.registry.len() == 0 {
                        self.let_go_of_service();
                    }
                    self.say_once(leaving, now);
                    return None;
                }
                Order::Done => {
                    self.let_go_of_service();
                    // Tasks that were only waiting for this moment are not there any more; one that has just begun is.
                    if self.shared.tasks.len() == 0 {
                        return Some(Ended::Drained);
                    }
                }
                Order::Cut => {
                    let (left, tasks) = (self.shared.registry.census(), self.shared.tasks.names());
                    let tasks = if tasks.is_empty() { tasks } else { format!("; background tasks still ran: {tasks}") };
                    line(
                        Level::Warning,
                        format_args!(
                            "Graceful timeout: {} connections ({} in flight) were cut{tasks}",
                            left.all, left.in_flight
                        ),
                    );
                    return Some(Ended::Cut);
                }
            }
        }
    }

    /// The last request is over. Tasks hear of it, also by what the service held: whoever reads from a channel of its comes to
    /// the channel's end.
    fn let_go_of_service(&mut self) {
        let Some(service) = self.service.take() else { return };
        if let Err(panic) = contained(|| drop(service)) {
            let (words, stack) = (panic.words(), panic.stack());
            log::exception(&self.shared, format_args!("The service {words}{stack}"), &panic.fields());
        }
        self.shared.tasks.requests_are_over();
    }

    fn stop_accepting(&mut self, shut_down: bool) {
        // worker_connections does not hold here: what is in the queue has no other server at a full stop.
        let Self { acceptors, shared, service, executor, protocols, plan, .. } = self;
        acceptors.finish(shut_down, plan.queued, |socket| {
            if let Some(service) = service {
                protocols.serve(executor, shared, socket, service.clone());
            }
        });
        let left = self.shared.registry.census();
        line(
            Level::Debug,
            format_args!("Draining: accepts no more; {} in flight, {} idle", left.in_flight, left.all - left.in_flight),
        );
    }

    /// A drain that really waits for requests says so, once.
    fn say_once(&self, leaving: &mut Leaving, now: Monotonic) {
        if leaving.said || now.since(leaving.drain.began()) < WORTH_A_LINE {
            return;
        }
        let left = self.shared.registry.census();
        if left.in_flight > 0 {
            leaving.said = true;
            line(Level::Info, format_args!("Draining: waiting for {} requests in flight", left.in_flight));
        } else if self.service.is_none() {
            leaving.said = true;
            let tasks = self.shared.tasks.names();
            line(Level::Info, format_args!("Draining: waiting for background tasks: {tasks}"));
        }
    }
}

/// Runs the tasks of a worker. Those of HTTP/2's requests are hyper's, which has [`Executor`] for them.
pub(crate) trait Runs<F> {
    fn run(&self, task: F);
}

/// Runs a future on this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local;

impl<F: Future<Output = ()> + 'static> Runs<F> for Local {
    fn run(&self, task: F) {
        drop(tokio::task::spawn_local(task)); // it goes on without its handle
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, stream: F) {
        self.run(Held::new(stream));
    }
}

/// Runs a future on any thread of the runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threaded;

impl<F: Future<Output = ()> + Send + 'static> Runs<F> for Threaded {
    fn run(&self, task: F) {
        drop(tokio::spawn(task)); // as above
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Threaded {
    fn execute(&self, stream: F) {
        self.run(Held::new(stream));
    }
}

/// The heartbeat, in a shape that every executor can name.
pub(crate) type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

#[cfg(test)]
mod tests;
