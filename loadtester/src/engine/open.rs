//! The open loop of one thread: takes arrivals up when the schedule says so, whatever the server does, and gives each to a
//! user with nothing to do. When there is none and no more may be, arrivals wait in line, and their waiting counts.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};

use crate::engine::Schedule;
use crate::engine::slot::Slot;
use crate::engine::thread::{Local, Weights};
use crate::engine::user::{Ended, User};

/// The schedule begins this long after the clock, so that all threads are there.
pub const LEAD: Duration = Duration::from_millis(10);
/// After so many arrivals in a row, users get a turn.
const BATCH: usize = 32;

pub(crate) struct Dispatcher {
    local: Rc<Local>,
    /// By class.
    lanes: Vec<RefCell<Lane>>,
    weights: Weights,
    /// No more arrivals.
    exhausted: Cell<bool>,
    stopped: Notify,
    /// All arrivals that were due are accounted for.
    ended: Cell<bool>,
}

/// The users of a class, and what waits for them.
struct Lane {
    idle: Vec<Rc<Desk>>,
    /// Intended starts.
    waiting: VecDeque<u64>,
    users: usize,
    most: usize,
}

/// Where a user is given its next arrival.
struct Desk {
    slot: Rc<Slot>,
    arrival: Cell<Option<u64>>,
}

impl Dispatcher {
    pub(crate) fn start(local: Rc<Local>, schedule: &Schedule, threads: usize) -> Rc<Self> {
        let scenario = &local.scenario;
        // The share of this thread; the engine sees to it that there are no more threads than requests in flight.
        let most = scenario.load.max_in_flight as usize;
        let share = most / threads + usize::from(local.index < most % threads);
        let lane = |most: u32| {
            RefCell::new(Lane { idle: Vec::new(), waiting: VecDeque::new(), users: 0, most: most.max(1) as usize })
        };
        let lanes = scenario.split(share as u32).into_iter().map(lane).collect();
        let weights = Weights::new(scenario.classes.iter().map(|class| class.weight));
        let arrivals = schedule.share(local.index, threads, fastrand::Rng::new());
        let dispatcher = Rc::new(Self {
            local,
            lanes,
            weights,
            exhausted: Cell::new(false),
            stopped: Notify::new(),
            ended: Cell::new(false),
        });
        spawn_local(Rc::clone(&dispatcher).run(arrivals));
        dispatcher
    }

    async fn run(self: Rc<Self>, arrivals: impl Iterator<Item = Duration>) {
        let timer = Timer::new().expect("a thread can have a timer, or it cannot keep to a schedule");
        let clock = self.local.clock;
        let mut now = clock.now();
        let mut batch = 0;
        for arrival in arrivals {
            let due = (LEAD + arrival).as_nanos() as u64;
            while now < due && !self.exhausted.get() {
                tokio::select! {
                    waited = timer.wait(due - now) => waited.expect("an open timer can be waited for"),
                    () = self.stopped.notified() => {}
                }
                now = clock.now();
                batch = 0;
            }
            if self.exhausted.get() {
                // Stopped: what was due before is accounted for, what would have come later is not.
                if due > now || !self.local.shared.claim() {
                    break;
                }
                self.local.recorder.borrow_mut().missed();
                continue;
            }
            if !self.local.shared.claim() {
                break;
            }
            self.dispatch(due, now);
            batch += 1;
            if batch == BATCH {
                yield_now().await;
                now = clock.now();
                batch = 0;
            }
        }
        self.stop();
        self.ended.set(true);
        self.local.gone.notify_one();
    }

    fn dispatch(self: &Rc<Self>, due: u64, now: u64) {
        let class = if self.lanes.len() == 1 { 0 } else { self.weights.choose() };
        let mut lane = self.lanes[class].borrow_mut();
        let full = lane.idle.is_empty() && lane.users == lane.most;
        self.local.recorder.borrow_mut().arrival(now - due, full);
        if full {
            lane.waiting.push_back(due);
        } else if let Some(desk) = lane.idle.pop() {
            desk.arrival.set(Some(due));
            desk.slot.wake();
        } else {
            lane.users += 1;
            drop(lane);
            let dispatcher = Rc::clone(self);
            self.local.add_user(class, move |user| dispatcher.employ(user, class, due));
        }
    }

    /// The life of a user of an open loop.
    async fn employ(self: Rc<Self>, mut user: User, class: usize, first: u64) {
        user.slot.enlist().await;
        let desk = Rc::new(Desk { slot: Rc::clone(&user.slot), arrival: Cell::new(Some(first)) });
        loop {
            while let Some(intended) =
                desk.arrival.take().or_else(|| self.lanes[class].borrow_mut().waiting.pop_front())
            {
                let start = self.local.clock.now();
                self.local.recorder.borrow_mut().delay(start.saturating_sub(intended));
                let task = user.choose();
                if user.perform(task, intended, start).await == Ended::Aborted {
                    return;
                }
            }
            if self.exhausted.get() {
                return;
            }
            self.lanes[class].borrow_mut().idle.push(Rc::clone(&desk));
            if !desk.called().await {
                return;
            }
        }
    }

    /// No more arrivals. What waits is still sent.
    pub(crate) fn stop(&self) {
        if self.exhausted.replace(true) {
            return;
        }
        for lane in &self.lanes {
            lane.borrow_mut().idle.drain(..).for_each(|desk| desk.slot.leave(u64::MAX));
        }
        self.stopped.notify_one();
    }

    /// Whether no arrival is to come, and all that came are accounted for.
    pub(crate) fn over(&self) -> bool {
        self.ended.get()
    }

    /// Arrivals that nobody was left to take.
    pub(crate) fn left_over(&self) -> usize {
        self.lanes.iter().map(|lane| lane.borrow_mut().waiting.drain(..).count()).sum()
    }
}

impl Desk {
    /// Waits for an arrival; false if the user has to go.
    async fn called(&self) -> bool {
        std::future::poll_fn(|_| match self.arrival.get() {
            Some(_) => std::task::Poll::Ready(true),
            None if self.slot.leaving() => std::task::Poll::Ready(false),
            None => std::task::Poll::Pending,
        })
        .await
    }
}

/// A timer of the kernel: tokio's own goes in steps of a millisecond, in which a fast server answers ten times.
struct Timer(AsyncFd<Owned>);

struct Owned(TimerFd);

impl AsRawFd for Owned {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; this descriptor is owned, never replaced, and closed last"
        )]
        let registered = AsyncFd::with_interest(Owned(timer), Interest::READABLE)?;
        Ok(Self(registered))
    }

    async fn wait(&self, nanos: u64) -> io::Result<()> {
        let time = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(nanos.max(1))));
        // Setting it takes back an expiry that was not read, so none has to be.
        self.0.get_ref().0.set(time, TimerSetTimeFlags::empty())?;
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
