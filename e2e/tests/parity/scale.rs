//! TTIN and TTOU change the number of workers; WINCH.

use crate::harness::{PATIENCE, Sig, eventually, never};
use crate::subject::{Gunicorn, Rustcorn, Setup, differs};

#[test]
fn ttin_adds_a_worker_and_ttou_takes_the_oldest_away_down_to_the_last() {
    let server = Setup::new().set("workers = 1").start();
    let first = server.settled(1);
    server.signal(Sig::SIGTTIN);
    assert!(server.settled(2).is_superset(&first));
    server.signal(Sig::SIGTTIN);
    let three = server.settled(3);
    server.signal(Sig::SIGTTOU);
    let two = server.settled(2);
    assert!(two.is_subset(&three) && two.is_disjoint(&first), "the oldest goes first");
    server.signal(Sig::SIGTTOU);
    let one = server.settled(1);
    server.signal(Sig::SIGTTOU);
    server.log.wait(0, "Handling signal: ttou", 3, PATIENCE);
    never("the last one leaves", std::time::Duration::from_millis(300), || server.workers() != one);
    assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
    assert_eq!(server.log.count("Handling signal: ttin"), 2);
}

#[test]
fn a_reload_goes_back_to_the_configured_number() {
    let server = Setup::new().set("workers = 1").start();
    let first = server.settled(1);
    server.signal(Sig::SIGTTIN);
    let two = server.settled(2);
    assert!(two.is_superset(&first));
    server.signal(Sig::SIGHUP);
    server.replaced(&two, 1);
}

#[test]
fn winch_is_ignored_where_it_may_be_a_terminal_that_was_resized() {
    let (setup, _terminal) = Setup::new().on_a_terminal();
    let server = setup.start();
    let before = server.settled(2);
    server.signal(Sig::SIGWINCH);
    let line = server.wait_for_line("SIGWINCH ignored. Not daemonized");
    let level = match differs("winch-ignored-told") {
        Gunicorn => "DEBUG",
        Rustcorn => "WARNING",
    };
    assert_eq!(line.level, level);
    assert_eq!(server.settled(2), before);
}

#[test]
fn winch_without_a_terminal_and_without_being_a_daemon() {
    let server = Setup::new().wrapped(&["setsid", "-w"]).start();
    let before = server.settled(2);
    server.signal(Sig::SIGWINCH);
    match differs("winch-without-terminal") {
        Gunicorn => {
            server.wait_for_line("SIGWINCH ignored. Not daemonized");
            assert_eq!(server.settled(2), before);
        }
        Rustcorn => {
            server.wait_for_line("graceful stop of workers");
            eventually("no workers", PATIENCE, || server.workers().is_empty().then_some(()));
        }
    }
}

#[test]
fn winch_stops_the_workers_of_a_daemon_and_hup_brings_them_back() {
    let set = "pidfile = \"server.pid\"\nerrorlog = \"server.log\"";
    let mut server = Setup::new().set(set).args(&["--daemon"]).launch();
    server.follow_daemon("server.pid", "server.log");
    let before = server.settled(2);
    server.signal(Sig::SIGWINCH);
    server.wait_for_line("graceful stop of workers");
    eventually("no workers", PATIENCE, || server.workers().is_empty().then_some(()));
    server.signal(Sig::SIGHUP);
    assert!(server.settled(2).is_disjoint(&before));
    server.signal(Sig::SIGTERM);
    server.wait_for_silence(PATIENCE);
    assert!(!server.dir().join("server.pid").exists());
}
