//! Stories of leaving, with scripted time.

use super::*;

const S: Duration = Duration::from_secs(1);

fn at(seconds: u32) -> Monotonic {
    Monotonic::from_nanos(1_000_000_000_000) + S * seconds
}

fn drain(drain_delay: Duration) -> Drain {
    Drain::new(Times { graceful_timeout: S * 30, drain_delay, handover: Duration::ZERO }, at(0))
}

#[test]
fn a_replaced_worker_stops_accepting_at_once_and_lets_idle_connections_linger() {
    let mut drain = drain(S * 10);
    assert_eq!(drain.step(at(0), Phase::Running, 3), Order::StopAccepting { shut_down: false });
    assert_eq!(drain.step(at(0), Phase::Running, 3), Order::Finish { idle_ends: at(30) - CLOSING_TIME });
    assert_eq!(drain.step(at(29), Phase::Running, 1), Order::Finish { idle_ends: at(30) - CLOSING_TIME });
    assert_eq!(drain.step(at(29), Phase::Running, 0), Order::Done);
}

#[test]
fn with_lanes_of_their_own_workers_accept_until_others_do_and_that_is_part_of_the_grace() {
    let mut drain = Drain::new(Times { graceful_timeout: S * 30, drain_delay: S * 10, handover: S }, at(0));
    assert_eq!(drain.step(at(0), Phase::Running, 3), Order::Accept);
    assert_eq!(drain.step(at(1), Phase::Running, 3), Order::StopAccepting { shut_down: false });
    assert_eq!(drain.step(at(1), Phase::Running, 3), Order::Finish { idle_ends: at(30) - CLOSING_TIME });
    assert_eq!(drain.step(at(30), Phase::Running, 3), Order::Cut);
    // A full stop that comes in between has its own times.
    let mut drain = Drain::new(Times { graceful_timeout: S * 30, drain_delay: S * 10, handover: S }, at(0));
    assert_eq!(drain.step(at(0), Phase::Running, 3), Order::Accept);
    assert_eq!(drain.step(at(0), Phase::Stopping, 3), Order::Accept);
    assert_eq!(drain.step(at(10), Phase::Stopping, 3), Order::RefuseNew);
    assert_eq!(drain.step(at(11), Phase::Stopping, 3), Order::StopAccepting { shut_down: true });
    assert_eq!(drain.step(at(40), Phase::Stopping, 1), Order::Finish { idle_ends: at(12) });
    assert_eq!(drain.step(at(41), Phase::Stopping, 1), Order::Cut);
}

#[test]
fn whoever_was_told_to_go_by_others_than_the_master_waits_a_moment_for_what_that_says() {
    let mut alone = drain(S * 10);
    alone.unasked();
    assert_eq!(alone.step(at(0), Phase::Running, 0), Order::Accept);
    assert_eq!(alone.step(at(0) + HEARSAY, Phase::Running, 0), Order::StopAccepting { shut_down: false });
    assert_eq!(alone.step(at(30), Phase::Running, 1), Order::Cut, "it is part of the grace");
    let mut all = drain(S * 10);
    all.unasked();
    assert_eq!(all.step(at(0), Phase::Running, 0), Order::Accept);
    assert_eq!(all.step(at(9), Phase::Stopping, 0), Order::Accept, "with the delay of a full stop");
    assert_eq!(all.step(at(10), Phase::Stopping, 0), Order::RefuseNew);
    let mut orphan = drain(S * 10);
    orphan.unasked();
    orphan.orphaned();
    assert_eq!(
        orphan.step(at(0), Phase::Running, 0),
        Order::StopAccepting { shut_down: false },
        "nobody says anything"
    );
}

#[test]
fn a_full_stop_waits_out_the_delay_then_shuts_down_then_lingers() {
    let mut drain = drain(S * 10);
    assert_eq!(drain.step(at(0), Phase::Stopping, 0), Order::Accept);
    assert_eq!(drain.step(at(9), Phase::Stopping, 2), Order::Accept);
    assert_eq!(drain.step(at(10), Phase::Stopping, 2), Order::RefuseNew);
    assert_eq!(drain.step(at(10), Phase::Stopping, 2), Order::Accept);
    let stopped = at(10) + HANDSHAKE;
    assert_eq!(drain.step(stopped, Phase::Stopping, 2), Order::StopAccepting { shut_down: true });
    assert_eq!(drain.step(stopped, Phase::Stopping, 2), Order::Finish { idle_ends: stopped + LINGER });
    assert_eq!(drain.step(at(39), Phase::Stopping, 1), Order::Finish { idle_ends: stopped + LINGER });
    assert_eq!(drain.step(stopped + S * 30, Phase::Stopping, 1), Order::Cut);
}

#[test]
fn a_second_term_skips_the_delay() {
    let mut drain = drain(S * 10);
    assert_eq!(drain.step(at(0), Phase::Stopping, 1), Order::Accept);
    assert_eq!(drain.step(at(1), Phase::StoppingNow, 1), Order::RefuseNew);
    assert_eq!(drain.step(at(2), Phase::StoppingNow, 1), Order::StopAccepting { shut_down: true });
    assert_eq!(drain.step(at(2), Phase::StoppingNow, 1), Order::Finish { idle_ends: at(3) });
}

#[test]
fn sockets_of_somebody_else_are_left_alone() {
    let mut drain = drain(S * 10);
    assert_eq!(drain.step(at(0), Phase::Leaving, 1), Order::StopAccepting { shut_down: false });
    assert_eq!(drain.step(at(0), Phase::Leaving, 1), Order::Finish { idle_ends: at(1) });
}

#[test]
fn a_full_stop_during_a_replacement_shortens_the_linger() {
    let mut drain = drain(S * 10);
    drain.step(at(0), Phase::Running, 1);
    assert_eq!(drain.step(at(5), Phase::Stopping, 1), Order::Finish { idle_ends: at(6) });
    assert_eq!(drain.step(at(7), Phase::StoppingNow, 1), Order::Finish { idle_ends: at(6) });
}

#[test]
fn an_orphan_hurries_and_never_shuts_sockets_down() {
    let mut drain = drain(S * 10);
    assert_eq!(drain.step(at(0), Phase::Stopping, 1), Order::Accept);
    drain.orphaned();
    assert_eq!(drain.step(at(1), Phase::Stopping, 1), Order::StopAccepting { shut_down: false });
    assert_eq!(drain.step(at(1), Phase::Stopping, 1), Order::Finish { idle_ends: at(1) + ORPHAN_LINGER });
}

#[test]
fn a_short_grace_still_closes_the_idle_before_it_cuts() {
    let mut drain =
        Drain::new(Times { graceful_timeout: S / 10, drain_delay: Duration::ZERO, handover: Duration::ZERO }, at(0));
    drain.step(at(0), Phase::Stopping, 1); // refuses
    drain.step(at(1), Phase::Stopping, 1); // stops accepting
    assert_eq!(drain.step(at(1), Phase::Stopping, 1), Order::Finish { idle_ends: at(1) + S / 20 });
}

#[test]
fn without_grace_everything_is_cut_at_once() {
    let mut drain = Drain::new(
        Times { graceful_timeout: Duration::ZERO, drain_delay: Duration::ZERO, handover: Duration::ZERO },
        at(0),
    );
    drain.step(at(0), Phase::Running, 1);
    assert_eq!(drain.step(at(0), Phase::Running, 1), Order::Cut);
}

#[test]
fn background_tasks_are_waited_for_and_get_time_after_the_last_connection() {
    let mut drain = drain(S * 10);
    drain.beside(1);
    assert_eq!(drain.step(at(0), Phase::Running, 1), Order::StopAccepting { shut_down: false });
    assert_eq!(drain.step(at(0), Phase::Running, 1), Order::Finish { idle_ends: at(30) - TASKS_TIME });
    assert_eq!(drain.step(at(25), Phase::Running, 0), Order::Finish { idle_ends: at(30) - TASKS_TIME });
    assert_eq!(drain.grace_left(at(25)), S * 5);
    drain.beside(0);
    assert_eq!(drain.step(at(26), Phase::Running, 0), Order::Done);
    drain.beside(1);
    assert_eq!(drain.step(at(30), Phase::Running, 0), Order::Cut, "they do not hold a worker for ever");
    assert_eq!(drain.grace_left(at(31)), Duration::ZERO);
}
