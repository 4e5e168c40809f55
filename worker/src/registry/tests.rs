//! The sweep with scripted time, without sockets.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Wake;

use super::*;
use crate::testing::seat;

const S: Duration = Duration::from_secs(1);

fn at(seconds: u32) -> Monotonic {
    Monotonic::from_nanos(1_000_000_000_000) + S * seconds
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// One connection, and whether a sweep has woken it.
struct One {
    shared: Arc<Shared>,
    registered: Registered,
    woken: Arc<Woken>,
}

impl One {
    /// Header 10 s, keepalive 60 s.
    fn new() -> Self {
        let (_board, shared) = seat(S * 60, S * 10);
        let registered = shared.registry.add(&shared, None);
        let woken = Arc::new(Woken::default());
        registered.0.set_waker(&Waker::from(Arc::clone(&woken)));
        Self { shared, registered, woken }
    }

    fn connection(&self) -> &Connection {
        &self.registered.0
    }

    /// Sweeps; whether the connection is asked to close, and was woken for it.
    fn swept(&self, now: Monotonic) -> bool {
        self.shared.sweep(now);
        let asked = self.connection().close_requested();
        assert_eq!(self.woken.0.load(SeqCst), asked);
        asked
    }
}

#[test]
fn a_silent_connection_has_the_time_of_a_head() {
    let one = One::new();
    assert!(!one.swept(at(0))); // stamps it
    assert!(!one.swept(at(9)));
    assert!(one.swept(at(10)));
}

#[test]
fn a_head_counts_from_its_first_byte() {
    let one = One::new();
    one.connection().bytes_arrived();
    assert!(!one.swept(at(0)));
    one.connection().bytes_arrived();
    assert!(!one.swept(at(9)));
    one.connection().bytes_arrived();
    assert!(one.swept(at(10)));
}

#[test]
fn idle_time_is_keepalive_and_a_request_has_no_limit() {
    let one = One::new();
    one.connection().enter(Phase::InRequest, Some(at(0)));
    assert!(!one.swept(at(1000)));
    one.connection().enter(Phase::Idle, Some(at(1000)));
    assert!(!one.swept(at(1059)));
    assert!(one.swept(at(1060)));
}

#[test]
fn a_response_on_its_way_has_no_limit_and_idle_time_begins_after_it() {
    let one = One::new();
    one.connection().enter(Phase::Idle, Some(at(0)));
    one.shared.end_idle_at(at(1));
    one.connection().has_unsent();
    assert!(!one.swept(at(1000)));
    assert_eq!(one.shared.registry.census(), Census { all: 1, in_flight: 1 });
    one.connection().all_sent();
    assert_eq!(one.shared.registry.census(), Census { all: 1, in_flight: 0 });
    one.shared.end_idle_at(at(3000));
    assert!(!one.swept(at(1000))); // stamps it
    assert!(!one.swept(at(1059)));
    assert!(one.swept(at(1060)));
}

#[test]
fn a_close_request_waits_for_the_response() {
    let one = One::new();
    one.connection().enter(Phase::Idle, Some(at(0)));
    assert!(one.swept(at(60)));
    one.connection().has_unsent(); // the sweep was on another thread
    assert!(!one.connection().close_requested());
}

#[test]
fn the_time_of_a_head_that_came_early_begins_after_the_response() {
    let one = One::new();
    one.connection().enter(Phase::Idle, Some(at(0)));
    one.connection().has_unsent();
    one.connection().bytes_arrived();
    assert!(!one.swept(at(5)));
    one.connection().all_sent();
    assert_eq!(one.connection().phase(), Phase::ReadingHead);
    assert!(!one.swept(at(20)));
    assert!(!one.swept(at(29)));
    assert!(one.swept(at(30)));
}

#[test]
fn bytes_that_arrive_after_the_close_request_void_it() {
    let one = One::new();
    one.connection().enter(Phase::Idle, Some(at(0)));
    assert!(one.swept(at(60)));
    one.connection().bytes_arrived();
    assert!(!one.connection().close_requested());
    assert_eq!(one.connection().phase(), Phase::ReadingHead);
}

#[test]
fn the_end_of_a_drain_is_for_the_idle_only() {
    for (phase, closes) in [
        (Phase::New, true),
        (Phase::Idle, true),
        (Phase::ReadingHead, false),
        (Phase::InRequest, false),
        (Phase::Upgraded, false),
    ] {
        let one = One::new();
        one.connection().enter(phase, Some(at(0)));
        one.shared.end_idle_at(at(2));
        assert!(!one.swept(at(1)), "{phase:?}");
        assert_eq!(one.swept(at(2)), closes, "{phase:?}");
    }
}

#[test]
fn connections_come_and_go_in_any_order() {
    let (board, shared) = seat(S, S);
    let mut open: Vec<Registered> = (0..5).map(|_| shared.registry.add(&shared, None)).collect();
    open[4].0.enter(Phase::InRequest, Some(at(0)));
    for index in [0, 2, 1] {
        drop(open.swap_remove(index));
    }
    assert_eq!(shared.registry.census(), Census { all: 2, in_flight: 1 });
    assert_eq!((board.counts(0).accepted, board.vitals(0).connections), (5, 2));
    open.clear();
    assert_eq!(shared.registry.len(), 0);
}

#[test]
fn whoever_waits_for_room_is_woken() {
    let (_board, shared) = seat(S, S);
    let registered = shared.registry.add(&shared, None);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert!(shared.registry.poll_below(&mut cx, 1).is_pending());
    drop(registered);
    assert!(woken.0.load(SeqCst));
    assert!(shared.registry.poll_below(&mut cx, 1).is_ready());
}
