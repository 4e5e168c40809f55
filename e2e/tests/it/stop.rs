//! TERM drains, INT and QUIT are quick, and both end with 0.

use std::time::{Duration, Instant};

use crate::harness::client::Failure;
use crate::harness::{Conn, Load, PATIENCE, Server, Setup, Sig, eventually, proc};

/// Sends `GET /slow` and returns the connection once the application has it.
fn slow_request(server: &Server) -> Conn {
    let before = server.journal("start").len();
    let mut conn = server.connect();
    conn.send("GET", "/slow", "", "").expect("sent");
    server.wait_for_journal("start", before + 1);
    conn
}

fn is_refused(server: &Server) -> bool {
    matches!(Conn::open(server.address()), Err(Failure::Refused))
}

#[test]
fn term_finishes_what_is_under_way_while_the_kernel_refuses_new_connections() {
    let mut server = Setup::testapp().app("slow_ms = 4000").start();
    let mut slow = slow_request(&server);
    server.signal(Sig::SIGTERM);
    eventually("the port is closed", PATIENCE, || is_refused(&server).then_some(()));
    assert_eq!(server.journal("end"), [0; 0], "the request is still under way");
    let answer = slow.receive(false).expect("finished");
    assert_eq!((answer.status, answer.closes()), (200, true));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn term_under_load_fails_no_request_that_was_accepted() {
    let mut server = Setup::hello().start();
    let load = Load::start(server.address(), "/", 2);
    eventually("load", PATIENCE, || (load.answered() > 200).then_some(()));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let tally = load.stop();
    // Refused is what a client without a server is told. Nothing that the kernel had taken may be reset.
    assert!(tally.failures.keys().all(|failure| *failure == Failure::Refused), "{tally:?}");
}

#[test]
fn with_drain_delay_a_stop_is_announced_while_the_server_goes_on_accepting() {
    let mut server = Setup::hello().set("drain_delay = 3\nworkers = 1").start();
    let mut kept = server.connect();
    assert!(!kept.get("/").expect("answered").closes());
    let begin = Instant::now();
    server.signal(Sig::SIGTERM);
    let fresh = |server: &Server| Conn::open(server.address()).and_then(|mut conn| conn.get("/"));
    eventually("responses say close", PATIENCE, || fresh(&server).expect("accepted").closes().then_some(()));
    let last = kept.get("/").expect("answered");
    assert!(last.closes(), "connections that were open are told, too");

    let mut announced = 0;
    let end = loop {
        match fresh(&server) {
            Ok(response) => assert!(response.closes() && response.status == 200),
            Err(failure) => break failure,
        }
        announced += 1;
    };
    assert!(matches!(end, Failure::Refused | Failure::Reset), "{end:?}");
    assert!(begin.elapsed() >= Duration::from_secs(3) && announced > 0, "{announced} in {:?}", begin.elapsed());
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn a_second_term_skips_drain_delay() {
    let mut server = Setup::testapp().set("drain_delay = 60").app("slow_ms = 500").start();
    server.signal(Sig::SIGTERM);
    server.wait_for_line("Handling signal: term");
    let mut slow = slow_request(&server); // still accepted
    server.signal(Sig::SIGTERM);
    assert_eq!(slow.receive(false).map(|response| response.status), Ok(200));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn int_and_quit_leave_at_once() {
    for sig in [Sig::SIGINT, Sig::SIGQUIT] {
        let mut server = Setup::testapp().app("slow_ms = 60000").start();
        let mut slow = slow_request(&server);
        server.signal(sig);
        assert_eq!(server.wait_for_exit(PATIENCE), 0, "{sig}"); // graceful_timeout is 30
        assert_eq!(server.log.count("killing it"), 0, "{sig}: they leave by themselves");
        let failure = slow.receive(false).expect_err("dropped");
        assert!([Failure::Eof, Failure::Reset].contains(&failure), "{failure:?}");
    }
}

#[test]
fn ctrl_c_twice_is_no_worse_than_once() {
    let mut server = Setup::testapp().start();
    server.signal(Sig::SIGINT);
    // It may be gone already: then there is nothing to interrupt.
    if server.exit_code().is_none() {
        server.signal(Sig::SIGINT);
    }
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn int_cuts_a_graceful_stop_short() {
    let mut server = Setup::testapp().app("slow_ms = 60000").start();
    let _slow = slow_request(&server);
    server.signal(Sig::SIGTERM);
    server.wait_for_line("Draining: accepts no more; 1 in flight");
    assert_eq!(server.exit_code(), None);
    server.signal(Sig::SIGINT);
    assert_eq!(server.wait_for_exit(PATIENCE), 0); // graceful_timeout is 30
    assert!(server.log.find(0, "Quick shutdown requested").is_some());
}

#[test]
fn graceful_timeout_cuts_what_is_stuck_and_says_so() {
    let mut server = Setup::testapp().set("graceful_timeout = 1").app("slow_ms = 60000").start();
    let mut slow = slow_request(&server);
    let begin = Instant::now();
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    let line = server.wait_for_line("Graceful timeout: ");
    assert!(line.ends_with("[WARNING] Graceful timeout: 1 connections (1 in flight) were cut"), "{line}");
    assert!(slow.receive(false).is_err());
}

#[test]
fn a_worker_that_does_not_hear_is_killed_after_graceful_timeout() {
    let mut server = Setup::testapp().set("graceful_timeout = 0.5\nworkers = 1\ntimeout = 0").start();
    let mut blocked = server.connect();
    blocked.send("GET", "/block", "", "").expect("sent");
    server.wait_for_journal("block", 1);
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    server.wait_for_line("did not leave within graceful_timeout; killing it");
}

#[test]
fn a_client_that_leaves_cancels_its_request() {
    let server = Setup::testapp().app("slow_ms = 60000").start();
    let slow = slow_request(&server);
    drop(slow);
    let cancelled = server.wait_for_journal("cancel", 1);
    assert_eq!(cancelled, server.journal("start"));
}

#[test]
fn a_hup_that_comes_while_stopping_is_refused() {
    let mut server = Setup::testapp().app("slow_ms = 3000").start();
    let mut slow = slow_request(&server);
    server.signal(Sig::SIGTERM);
    server.wait_for_line("Handling signal: term");
    server.signal(Sig::SIGHUP);
    server.wait_for_line("Reload refused: the server is stopping");
    assert_eq!(slow.receive(false).map(|response| response.status), Ok(200));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn term_while_workers_boot_leaves_at_once() {
    let mut server = Setup::testapp().app("hang_boot = true").launch();
    server.log.wait(0, "Booting worker", 2, PATIENCE);
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0); // boot_timeout is 60
}

#[test]
fn a_streamed_response_survives_a_stop() {
    let mut server = Setup::testapp().start();
    let mut stream = server.connect();
    stream.send("GET", "/stream", "", "").expect("sent");
    server.wait_for_journal("stream", 1);
    server.signal(Sig::SIGTERM);
    let response = stream.receive(false).expect("finished");
    assert_eq!(response.body, "tick\n".repeat(5));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn idle_connections_do_not_hold_up_a_stop_and_are_closed_in_order() {
    let mut server = Setup::hello().start();
    let (mut idle, silent) = (server.connect(), server.connect());
    assert!(!idle.get("/").expect("answered").closes());
    let begin = Instant::now();
    server.signal(Sig::SIGTERM);
    idle.wait_for_close().expect("in order");
    silent.wait_for_close().expect("in order");
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!(begin.elapsed() < Duration::from_secs(25), "graceful_timeout is 30: {:?}", begin.elapsed());
    assert_eq!(server.log.count("were cut"), 0);
}

/// As systemd does with `KillMode=control-group`.
#[test]
fn a_term_to_all_processes_at_once_is_a_graceful_stop() {
    let mut server = Setup::testapp().app("slow_ms = 700").start();
    let mut slow = slow_request(&server);
    let workers = server.settled(2);
    workers.iter().for_each(|pid| proc::signal(*pid, Sig::SIGTERM));
    server.signal(Sig::SIGTERM);
    assert_eq!(slow.receive(false).map(|response| response.status), Ok(200));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

/// The worker hears it first, and waits for what the master says it means.
#[test]
fn a_term_to_all_processes_at_once_is_announced_for_drain_delay() {
    let mut server = Setup::hello().set("drain_delay = 2\nworkers = 1").start();
    let worker = *server.settled(1).first().expect("one");
    let mut kept = server.connect();
    proc::signal(server.pid(), Sig::SIGSTOP);
    eventually("the master stands still", PATIENCE, || (proc::state(server.pid()) == Some('T')).then_some(()));
    let begin = Instant::now();
    proc::signal(worker, Sig::SIGTERM);
    server.signal(Sig::SIGTERM);
    while !kept.get("/").expect("answered").closes() {}
    server.signal(Sig::SIGCONT);
    let mut announced = 0;
    let end = loop {
        match Conn::open(server.address()).and_then(|mut conn| conn.get("/")) {
            Ok(response) => announced += i32::from(response.closes() && response.status == 200),
            Err(failure) => break failure,
        }
    };
    assert!(matches!(end, Failure::Refused | Failure::Reset), "{end:?}");
    assert!(begin.elapsed() >= Duration::from_secs(2) && announced > 10, "{announced} in {:?}", begin.elapsed());
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

/// However late the master looks: their ends are no failure to boot.
#[test]
fn a_term_to_all_processes_while_workers_boot_is_a_stop_as_well() {
    let mut server = Setup::testapp().app("hang_boot = true").launch();
    server.log.wait(0, "the application is being loaded", 2, PATIENCE);
    proc::signal(server.pid(), Sig::SIGSTOP);
    eventually("the master stands still", PATIENCE, || (proc::state(server.pid()) == Some('T')).then_some(()));
    server.signal(Sig::SIGTERM);
    proc::children(server.pid()).iter().for_each(|pid| proc::signal(*pid, Sig::SIGTERM));
    eventually("the workers have ended", PATIENCE, || (proc::zombies(server.pid()) == 2).then_some(()));
    server.signal(Sig::SIGCONT);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn a_stop_does_not_wait_for_a_reload_under_way() {
    let mut server = Setup::testapp().start();
    let workers = server.settled(2);
    server.reconfigure("", "hang_boot = true");
    server.signal(Sig::SIGHUP);
    eventually("the new worker boots", PATIENCE, || (server.log.count("Booting worker") == 3).then_some(()));
    assert!(server.workers().is_superset(&workers));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0); // boot_timeout is 60
    assert_eq!(server.log.count("Reloaded") + server.log.count("Reload failed"), 0);
}
