//! HUP, with good and bad news.

use std::net::TcpListener;

use crate::harness::{Load, PATIENCE, Sig, eventually, never};
use crate::subject::{Gunicorn, Rustcorn, Server, Setup, differs};

#[test]
fn hup_replaces_all_workers_and_keeps_the_address() {
    let mut server = Setup::new().start();
    let (before, address) = (server.settled(2), server.address());
    server.reconfigure("workers = 3", "");
    server.signal(Sig::SIGHUP);
    let after = server.replaced(&before, 3);
    assert_eq!(server.address(), address);
    assert!(after.contains(&server.answering()));
    let line = server.wait_for_line("Handling signal: hup");
    assert_eq!((line.level.as_str(), line.pid), ("INFO", server.pid()));
    server.wait_for_line("Hang up: Master");
    before.iter().for_each(|pid| drop(server.wait_for_line(&format!("Worker exiting (pid: {pid})"))));
}

#[test]
fn hup_under_load() {
    let server = Setup::new().start();
    let load = Load::start(server.address(), "/", 2);
    for _ in 0..3 {
        let (before, answered) = (server.settled(2), load.answered());
        server.signal(Sig::SIGHUP);
        server.replaced(&before, 2);
        eventually("the load goes on", PATIENCE, || (load.answered() > answered + 50).then_some(()));
    }
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally:?}");
}

#[test]
fn a_request_under_way_outlives_a_reload() {
    let server = Setup::new().app("slow_ms = 1500").start();
    let before = server.settled(2);
    let mut slow = server.slow_request();
    server.signal(Sig::SIGHUP);
    server.wait_for_line("Hang up: Master");
    let answer = slow.receive(false).expect("answered");
    assert!(answer.status == 200 && before.contains(&answer.body.parse().expect("a pid")), "{answer:?}");
    server.replaced(&before, 2);
}

#[test]
fn who_serves_while_new_workers_load() {
    let mut server = Setup::new().set("workers = 1").start();
    let before = *server.settled(1).first().expect("one");
    server.reconfigure("", "boot_ms = 1000");
    server.signal(Sig::SIGHUP);
    eventually("it is replaced", PATIENCE, || (!server.workers().contains(&before)).then_some(()));
    let after = *server.settled(1).first().expect("one");
    let gone = server.position(&format!("Worker exiting (pid: {before})"));
    let ready = server.position(&format!("Worker ready (pid: {after}"));
    match differs("reload-waits-for-ready") {
        Gunicorn => assert!(gone < ready, "for a second nobody serves"),
        Rustcorn => assert!(ready < gone, "the old one stays until the new one is ready"),
    }
}

/// rustcorn: the reload is refused, the same workers serve on.
#[track_caller]
fn is_refused(server: &mut Server, mark: usize, reason: &str) {
    let before = server.settled(2);
    let line = server.wait_for_line_from(mark, "Reload failed: ");
    assert!(line.level == "ERROR" && line.text.contains(reason) && line.text.contains("goes on serving"), "{line:?}");
    assert_eq!(server.settled(2), before);
    assert!(before.contains(&server.answering()));
    assert_eq!(server.exit_code(), None);
}

#[test]
fn hup_with_a_broken_file() {
    let mut server = Setup::new().start();
    let mark = server.log.mark();
    server.spoil("workers = = 3");
    server.signal(Sig::SIGHUP);
    match differs("reload-broken-file") {
        Gunicorn => {
            assert_eq!(server.wait_for_exit(PATIENCE), 1, "the whole server ends");
            server.wait_for_line("Parent changed, shutting down");
            server.wait_for_silence(PATIENCE);
        }
        Rustcorn => is_refused(&mut server, mark, "app.toml:1"),
    }
}

#[test]
fn hup_with_a_bad_value() {
    let mut server = Setup::new().start();
    let mark = server.log.mark();
    server.reconfigure("workers = -1", "");
    server.signal(Sig::SIGHUP);
    match differs("reload-bad-value") {
        Gunicorn => {
            assert_eq!(server.wait_for_exit(PATIENCE), 1, "the whole server ends");
            server.wait_for_silence(PATIENCE);
        }
        Rustcorn => is_refused(&mut server, mark, "workers"),
    }
}

#[test]
fn hup_with_an_application_that_does_not_load() {
    let mut server = Setup::new().start();
    let mark = server.log.mark();
    server.reconfigure("", "fail_boot = \"no database at db:5432\"");
    server.signal(Sig::SIGHUP);
    match differs("reload-broken-application") {
        Gunicorn => {
            let code = server.wait_for_exit(PATIENCE);
            // 1 with a traceback when the second failure is seen before the end.
            assert!([1, 3].contains(&code), "the whole server ends, with {code}");
            server.wait_for_line("exited with code 3.");
            server.wait_for_silence(PATIENCE);
        }
        Rustcorn => is_refused(&mut server, mark, "no database at db:5432"),
    }
}

#[test]
fn hup_to_an_address_that_is_in_use() {
    let busy = TcpListener::bind("127.0.0.1:0").and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (address, _socket) = busy.expect("a free port");
    let mut server = Setup::new().start();
    let mark = server.log.mark();
    server.reconfigure(&format!("bind = \"{address}\""), "");
    server.signal(Sig::SIGHUP);
    match differs("reload-address-in-use") {
        Gunicorn => {
            assert_eq!(server.wait_for_exit(PATIENCE), 1, "the whole server ends");
            server.wait_for_silence(PATIENCE);
        }
        Rustcorn => is_refused(&mut server, mark, "the address is in use"),
    }
}

#[test]
fn hup_moves_to_another_address() {
    let mut server = Setup::new().start();
    let (before, old) = (server.settled(2), server.address());
    server.reconfigure("bind = \"127.0.0.2:0\"", "");
    server.signal(Sig::SIGHUP);
    server.replaced(&before, 2);
    eventually("the new address is told", PATIENCE, || (server.address() != old).then_some(()));
    assert_eq!(server.address().ip().to_string(), "127.0.0.2");
    assert!(server.get("/").is_ok());
    eventually("the old one is closed", PATIENCE, || crate::harness::Conn::open(old).is_err().then_some(()));
}

#[test]
fn signals_that_come_during_a_reload() {
    let mut server = Setup::new().app("slow_ms = 2500").start();
    let _slow = server.slow_request();
    server.signal(Sig::SIGHUP);
    server.wait_for_line("Hang up: Master");
    server.signal(Sig::SIGTTIN);
    match differs("heard-during-reload") {
        // One thing after the other: the reload waits for the old worker, up to graceful_timeout.
        Gunicorn => never("it is heard", std::time::Duration::from_millis(1000), || {
            server.log.find(0, "Handling signal: ttin").is_some() && server.journal("end").is_empty()
        }),
        Rustcorn => {
            server.wait_for_line("Handling signal: ttin");
            assert_eq!(server.journal("end"), [0; 0], "while the old worker is still busy");
        }
    }
    server.signal(Sig::SIGINT);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}
