//! The serving core: accepts, spawns, and takes the worker through its drain. It knows nothing of handoffs or signals, so tests
//! run it in their own process.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use rustcorn_scoreboard::State;
use rustcorn_sys::Monotonic;
use rustcorn_sys::log::{Level, line};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tower_service::Service;

use crate::accept::Acceptors;
use crate::count::BoxError;
use crate::drain::{Drain, Order, Times};
use crate::io::Socket;
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
    /// Every connection was finished.
    Drained,
    /// The grace was over first.
    Cut,
    /// Asked to leave at once.
    Quit,
}

/// A worker that serves.
pub(crate) struct Core<S, X, W> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) acceptors: Acceptors,
    pub(crate) service: S,
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
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    X: Spawns<S, B>,
    W: Wishes,
{
    /// Serves until asked to leave and done with it. Calls `leaves` when a drain begins.
    pub(crate) async fn run(mut self, mut leaves: impl FnMut()) -> Ended {
        let mut leaving = None;
        loop {
            match poll_fn(|cx| self.poll_event(cx, leaving.as_mut())).await {
                Event::Accepted(socket) => {
                    self.spawn(socket);
                    continue;
                }
                Event::Wished(Wish::Quit) => return Ended::Quit,
                Event::Wished(wish) => {
                    let leaving = leaving.get_or_insert_with(|| self.begin_to_leave(&mut leaves));
                    if wish == Wish::Orphaned {
                        leaving.drain.orphaned();
                        self.acceptors.hold_all(); // nobody keeps the table any more
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
                return self.shared.registry.poll_below(cx, 1).map(|()| Event::Look);
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
        self.protocols.serve(&self.executor, &self.shared, socket, self.service.clone());
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
                    self.say_once(leaving, now);
                    return None;
                }
                Order::Done => return Some(Ended::Drained),
                Order::Cut => {
                    let left = self.shared.registry.census();
                    line(
                        Level::Warning,
                        format_args!(
                            "Graceful timeout: {} connections ({} in flight) were cut",
                            left.all, left.in_flight
                        ),
                    );
                    return Some(Ended::Cut);
                }
            }
        }
    }

    fn stop_accepting(&mut self, shut_down: bool) {
        // worker_connections does not hold here: what is in the queue has no other server at a full stop.
        let Self { acceptors, shared, service, executor, protocols, plan, .. } = self;
        acceptors.finish(shut_down, plan.queued, |socket| protocols.serve(executor, shared, socket, service.clone()));
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
        }
    }
}

/// Runs a future on this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future)); // the task goes on without its handle
    }
}

/// Runs a future on any thread of the runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threaded;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Threaded {
    fn execute(&self, future: F) {
        drop(tokio::spawn(future)); // as above
    }
}

/// The heartbeat, in a shape that every executor can name.
pub(crate) type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

#[cfg(test)]
mod tests;
