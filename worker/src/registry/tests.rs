//! The sweep with scripted time, without sockets.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Wake;

use super::*;
use crate::shared::Waits;
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
        (Phase::Handshake, true),
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

/// A connection that speaks HTTP/2.
fn multiplexed() -> One {
    let one = One::new();
    assert!(one.connection().http2.set(Multiplexed::default()).is_ok());
    one
}

impl One {
    /// Sweeps; whether the connection should now say GOAWAY.
    fn should_go(&self, now: Monotonic) -> bool {
        self.shared.sweep(now);
        assert!(!self.connection().close_requested(), "GOAWAY first");
        self.connection().should_go_away()
    }
}

#[test]
fn a_handshake_has_a_time_of_its_own_and_is_not_waited_for_at_the_end() {
    let (_board, shared) = crate::testing::seat_with(Waits { handshake: S * 5, header: S * 10, ..Waits::default() });
    let registered = shared.registry.add(&shared, None);
    let connection = &registered.0;
    connection.enter(Phase::Handshake, Some(at(0)));
    connection.bytes_arrived();
    shared.sweep(at(4));
    assert!(!connection.is_overdue());
    shared.sweep(at(5));
    assert!(connection.is_overdue());
    connection.enter(Phase::Handshake, Some(at(100)));
    shared.end_idle_at(at(101));
    shared.sweep(at(101));
    assert!(connection.is_overdue());
    assert_eq!(shared.registry.census(), Census { all: 1, in_flight: 0 });
}

#[test]
fn several_requests_are_idle_when_the_last_one_is_over() {
    let one = multiplexed();
    one.connection().request_begins(at(0));
    one.connection().request_begins(at(1));
    one.connection().request_ends(false, at(2));
    assert!(!one.should_go(at(500)));
    assert_eq!(one.shared.registry.census(), Census { all: 1, in_flight: 1 });
    one.connection().request_ends(false, at(500));
    one.connection().bytes_arrived(); // a PING, say
    assert!(!one.should_go(at(559)));
    assert!(one.should_go(at(560)));
    // The client has some time for its answer, and none beyond.
    one.connection().goes_away();
    assert!(!one.connection().should_go_away(), "said once");
    assert!(!one.should_go(at(561))); // stamps it
    assert!(!one.should_go(at(565)));
    one.shared.sweep(at(566));
    assert!(one.connection().close_requested());
}

#[test]
fn after_goaway_requests_are_finished_and_slow_readers_have_their_time() {
    let one = multiplexed();
    one.connection().request_begins(at(0));
    one.shared.say_close();
    assert!(one.should_go(at(1)));
    one.connection().goes_away();
    assert!(!one.should_go(at(1000)), "a request is under way");
    one.connection().request_ends(false, at(1000));
    one.shared.end_idle_at(at(1010));
    assert!(!one.should_go(at(1008)), "the drain waits for what is idle");
    one.connection().enter(Phase::Idle, Some(at(1008))); // something was sent
    assert!(!one.should_go(at(1012)));
    one.shared.sweep(at(1013));
    assert!(one.connection().close_requested());
}

#[test]
fn a_drain_lets_a_new_connection_ask_first_and_leaves_a_tunnel_alone() {
    let one = multiplexed();
    one.shared.say_close();
    assert!(!one.should_go(at(0)));
    one.connection().request_begins(at(1));
    assert!(one.connection().should_go_away());
    one.connection().goes_away();
    one.connection().request_ends(true, at(2));
    one.shared.end_idle_at(at(3));
    assert!(!one.should_go(at(10_000)));
}

#[test]
fn an_aborted_request_is_over_too() {
    let one = multiplexed();
    one.connection().request_begins(at(0));
    one.connection().request_aborted();
    assert_eq!(one.shared.registry.census(), Census { all: 1, in_flight: 0 });
    one.shared.sweep(at(0) + S * 100_000_000);
    assert!(one.connection().should_go_away());
}

#[test]
fn an_old_connection_says_so_whatever_it_does() {
    for http2 in [false, true] {
        let (_board, shared) =
            crate::testing::seat_with(Waits { connection_age: S * 10, keepalive: S, ..Waits::default() });
        let registered = shared.registry.add(&shared, None);
        let (connection, woken) = (&registered.0, Arc::new(Woken::default()));
        connection.set_waker(&Waker::from(Arc::clone(&woken)));
        if http2 {
            assert!(connection.http2.set(Multiplexed::default()).is_ok());
        }
        let born = Monotonic::now();
        connection.request_begins(born);
        shared.sweep(born + S * 9);
        assert!(!connection.says_close() && !connection.should_go_away());
        shared.sweep(born + S * 12); // a tenth later at most
        assert_eq!((connection.says_close(), connection.should_go_away()), (!http2, http2));
        assert_eq!(woken.0.load(SeqCst), http2);
    }
}

#[test]
fn a_crowd_that_went_between_two_looks_is_remembered_once() {
    let (_board, shared) = seat(S, S);
    let crowd = [(); 3].map(|()| shared.registry.add(&shared, None));
    drop(crowd);
    let _stays = shared.registry.add(&shared, None);
    assert_eq!(shared.registry.most(), (3, 1));
    assert_eq!(shared.registry.most(), (1, 1));
}
