//! TERM drains, INT and QUIT are quick; one after the other.

use std::time::{Duration, Instant};

use crate::harness::client::Failure;
use crate::harness::{Conn, Load, PATIENCE, Sig, eventually, proc};
use crate::subject::{Gunicorn, Rustcorn, Setup, differs};

#[test]
fn term_finishes_what_is_under_way_and_ends_with_0() {
    let mut server = Setup::new().app("slow_ms = 1500").start();
    let mut slow = server.slow_request();
    server.signal(Sig::SIGTERM);
    let answer = slow.receive(false).expect("finished");
    assert_eq!(answer.status, 200);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert_eq!(server.wait_for_line("Handling signal: term").level, "INFO");
    let last = server.wait_for_line("Shutting down: Master");
    assert_eq!((last.level.as_str(), last.pid), ("INFO", server.pid()));
    assert_eq!(server.log.count("Worker exiting (pid: "), 2);
    match differs("drain-announced") {
        Gunicorn => assert!(!answer.closes(), "decided before the application ran"),
        Rustcorn => assert!(answer.closes(), "decided when the answer is sent"),
    }
}

#[test]
fn who_connects_during_a_stop() {
    let mut server = Setup::new().app("slow_ms = 2000").start();
    let address = server.address();
    let mut slow = server.slow_request();
    server.signal(Sig::SIGTERM);
    match differs("drain-refuses") {
        Gunicorn => {
            server.wait_for_line("Handling signal: term");
            let idle = server.workers().len();
            eventually("the idle worker leaves", PATIENCE, || (server.workers().len() < idle).then_some(()));
            // Taken by the kernel for the worker that accepts no more.
            let mut late = Conn::open(address).expect("the handshake is completed");
            late.send("GET", "/pid", "", "").expect("the kernel takes it");
            assert_eq!(slow.receive(false).map(|answer| answer.status), Ok(200));
            let failure = late.receive(false).expect_err("nobody answers");
            assert!([Failure::Reset, Failure::Eof].contains(&failure), "{failure}");
        }
        Rustcorn => {
            eventually("the port is closed", PATIENCE, || {
                matches!(Conn::open(address), Err(Failure::Refused)).then_some(())
            });
            assert_eq!(server.journal("end"), [0; 0], "the request is still under way");
            assert_eq!(slow.receive(false).map(|answer| answer.status), Ok(200));
        }
    }
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn int_and_quit_drop_what_is_under_way_and_end_with_0() {
    for sig in [Sig::SIGINT, Sig::SIGQUIT] {
        let mut server = Setup::new().sync().app("slow_ms = 60000").start();
        let mut slow = server.slow_request();
        let begin = Instant::now();
        server.signal(sig);
        assert_eq!(server.wait_for_exit(PATIENCE), 0, "{sig}");
        assert!(begin.elapsed() < Duration::from_secs(9), "graceful_timeout is 10: {sig}: {:?}", begin.elapsed());
        let answer = slow.receive(false);
        match differs("quick-stop-client") {
            Gunicorn => assert_eq!(answer.map(|answer| answer.status), Ok(500)),
            Rustcorn => assert!(answer.is_err(), "{answer:?}"),
        }
        server.wait_for_line("Shutting down: Master");
        server.wait_for_silence(PATIENCE);
    }
}

#[test]
fn int_where_there_are_threads() {
    let mut server = Setup::new().app("slow_ms = 4000").start();
    let mut slow = server.slow_request();
    server.signal(Sig::SIGINT);
    let answer = slow.receive(false);
    match differs("quick-stop-with-threads") {
        Gunicorn => assert_eq!(answer.map(|answer| answer.status), Ok(200), "the interpreter waits for its threads"),
        Rustcorn => assert!(answer.is_err() && server.journal("end").is_empty(), "{answer:?}"),
    }
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn a_second_term_harms_nothing() {
    let mut server = Setup::new().app("slow_ms = 1500").start();
    let mut slow = server.slow_request();
    server.signal(Sig::SIGTERM);
    server.wait_for_line("Handling signal: term");
    server.signal(Sig::SIGTERM);
    assert_eq!(slow.receive(false).map(|answer| answer.status), Ok(200));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn int_cuts_a_graceful_stop_short() {
    let mut server = Setup::new().app("slow_ms = 60000").start();
    let mut slow = server.slow_request();
    server.signal(Sig::SIGTERM);
    server.wait_for_line("Handling signal: term");
    server.log.wait(0, "Worker exiting (pid: ", 1, PATIENCE); // the idle one
    assert_eq!(server.exit_code(), None);
    server.signal(Sig::SIGINT);
    assert_eq!(server.wait_for_exit(Duration::from_secs(9)), 0); // graceful_timeout is 10
    server.wait_for_line("Quick shutdown requested");
    assert!(slow.receive(false).is_err());
}

#[test]
fn graceful_timeout_cuts_what_is_stuck_and_ends_with_0() {
    let mut server = Setup::new().set("graceful_timeout = 1").app("slow_ms = 60000").start();
    let mut slow = server.slow_request();
    let begin = Instant::now();
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!((1..8).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    assert!(slow.receive(false).is_err());
    match differs("cut-requests-told") {
        Gunicorn => assert_eq!(server.log.count("Graceful timeout"), 0),
        Rustcorn => drop(server.wait_for_line("[WARNING] Graceful timeout: 1 connections (1 in flight) were cut")),
    }
}

#[test]
fn idle_connections_do_not_hold_up_a_stop_and_a_request_on_one_is_answered() {
    let mut server = Setup::new().set("workers = 1\nkeepalive = 30\ngraceful_timeout = 30").start();
    let (mut idle, mut other) = (server.connect(), server.connect());
    assert!(!idle.get("/").expect("answered").closes() && !other.get("/").expect("answered").closes());
    let begin = Instant::now();
    server.signal(Sig::SIGTERM);
    // The worker hears of it a moment later than the master; until then answers do not say so.
    eventually("an answer says that it is the last", PATIENCE, || {
        idle.get("/").expect("answered").closes().then_some(())
    });
    other.wait_for_close().expect("in order");
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!(begin.elapsed() < Duration::from_secs(8), "graceful_timeout is 30: {:?}", begin.elapsed());
}

#[test]
fn a_stop_under_load() {
    let mut server = Setup::new().start();
    let load = Load::start(server.address(), "/", 2);
    eventually("load", PATIENCE, || (load.answered() > 200).then_some(()));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let tally = load.stop();
    assert_eq!(tally.statuses.keys().copied().collect::<Vec<_>>(), [200]);
    let told = |failure: &Failure| match differs("drain-refuses") {
        // Whom it meets is chance.
        Gunicorn => [Failure::Refused, Failure::Reset, Failure::Eof].contains(failure),
        Rustcorn => *failure == Failure::Refused,
    };
    assert!(tally.failures.keys().all(told), "{tally:?}");
}

#[test]
fn a_streamed_response_survives_a_stop() {
    let mut server = Setup::new().start();
    let mut stream = server.connect();
    stream.send("GET", "/stream", "", "").expect("sent");
    server.wait_for_journal("stream", 1);
    server.signal(Sig::SIGTERM);
    assert_eq!(stream.receive(false).map(|answer| answer.body), Ok("tick\n".repeat(5)));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

/// As systemd does with `KillMode=control-group`.
#[test]
fn a_term_to_all_processes_at_once_is_a_graceful_stop() {
    let mut server = Setup::new().app("slow_ms = 1000").start();
    let mut slow = server.slow_request();
    server.signal(Sig::SIGTERM);
    server.workers().iter().for_each(|pid| proc::signal(*pid, Sig::SIGTERM));
    assert_eq!(slow.receive(false).map(|answer| answer.status), Ok(200));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}
