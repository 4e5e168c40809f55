//! Programs that know nothing of rustcorn but `LISTEN_FDS`: supervised, reloaded, drained by TERM.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::binaries::{foreign, testapp};
use crate::harness::client::Failure;
use crate::harness::{Conn, Load, PATIENCE, Server, Setup, Sig, eventually, get, proc};

fn setup(argument: &str, ready: &str) -> Setup {
    let app = format!("command = [{:?}, {argument:?}]\nforeign = {ready:?}\n", foreign());
    Setup::hello().without("handler").app(&app)
}

fn ready_workers(server: &Server) -> BTreeSet<u32> {
    server.settled(2)
}

#[test]
fn it_gets_sockets_and_nothing_else() {
    let server = setup("", "exec").set("[env]\nDATABASE = \"here\"").start();
    let answer = server.get("/env").expect("answered").body;
    let pid: u32 = answer
        .lines()
        .find_map(|line| line.strip_prefix("LISTEN_PID="))
        .and_then(|pid| pid.parse().ok())
        .expect("a pid");
    assert!(server.workers().contains(&pid));
    assert!(answer.contains("LISTEN_FDS=1\n") && answer.contains("LISTEN_FDNAMES=listener-0\n"), "{answer}");
    assert!(answer.contains("DATABASE=here\n"), "{answer}");
    assert!(!answer.contains("RUSTCORN_HANDOFF") && !answer.contains("NOTIFY_SOCKET"), "{answer}");
    for pid in server.workers() {
        let numbers = (3..64)
            .filter(|number| proc::file(pid, *number).is_some_and(|file| file.to_string_lossy().contains("rustcorn")));
        assert_eq!(numbers.count(), 0, "no memory of the master's is open in it");
    }
}

#[test]
fn it_is_brought_back_and_counted_as_ready() {
    let server = setup("notify", "notify")
        .set("admin_bind = \"127.0.0.1:0\"\nrestart_backoff = 0")
        .expect("was sent SIGKILL!")
        .start();
    let admin = server.wait_for_line("Admin listening at: http://");
    let admin = admin
        .split("http://")
        .nth(1)
        .and_then(|address| address.parse::<std::net::SocketAddr>().ok())
        .expect("an address");
    eventually("all are ready for a balancer", PATIENCE, || {
        get(admin, "/readyz").is_ok_and(|answer| answer.body.contains("2 of 2 workers are ready")).then_some(())
    });
    let before = server.workers();
    let worker = before.iter().find(|pid| !proc::title(**pid).contains("admin")).expect("a worker");
    proc::signal(*worker, Sig::SIGKILL);
    server.log.wait(0, "[DEBUG] Worker ready", 3, PATIENCE);
    let metrics = get(admin, "/metrics").expect("answered").body;
    assert!(metrics.contains("rustcorn_worker_restarts_total{cause=\"killed\"} 1\n"), "{metrics}");
}

/// Nobody sees what they serve, and nobody says that it is nothing.
#[test]
fn what_it_serves_is_unknown_and_not_zero() {
    let server = setup("", "exec").set("control_socket = \"ctl\"\nadmin_bind = \"127.0.0.1:0\"").start();
    for _ in 0..5 {
        assert_eq!(server.get("/").expect("answered").status, 200);
    }
    let workers = server.ctl_data("show workers");
    let workers = workers["workers"].as_array().expect("a list");
    assert_eq!(workers.len(), 2);
    for worker in workers {
        for part in ["requests", "in_flight", "connections", "heartbeat_age"] {
            assert_eq!(worker.get(part), Some(&Value::Null), "{part}: {worker}");
        }
        assert!(worker["state"] == "ready" && worker["rss"].as_u64() > Some(100_000), "{worker}");
    }
    let table = server.ctl("show workers").ok();
    let row: Vec<&str> = table.lines().nth(1).expect("a worker").split_whitespace().collect();
    assert_eq!((row[3], &row[5..8], row[9]), ("ready", &["-", "-", "-"][..], "-"), "{table}");
    assert!(server.ctl("show stats").ok().contains("nobody sees what foreign programs serve"));
    let line = server.wait_for_line("Admin listening at: http://");
    let admin: std::net::SocketAddr =
        line.split("http://").nth(1).and_then(|address| address.parse().ok()).expect("an address");
    let status: Value = serde_json::from_str(&get(admin, "/status").expect("answered").body).expect("JSON");
    assert_eq!((&status["requests"], &status["slots"][0]["requests"]), (&Value::Null, &Value::Null), "{status}");
    let metrics = get(admin, "/metrics").expect("answered").body;
    assert!(metrics.contains("rustcorn_workers{state=\"ready\"} 2\n"), "{metrics}");
    assert!(!metrics.contains("rustcorn_requests") && !metrics.contains("rustcorn_worker_connections{"), "{metrics}");
}

#[test]
fn reloads_under_load_fail_no_request() {
    for (argument, ready) in [("notify", "notify"), ("", "exec")] {
        let server = setup(argument, ready).start();
        let before = ready_workers(&server);
        let load = Load::start(server.address(), "/", 2);
        for _ in 0..2 {
            assert!(server.reload().contains("Reloaded: generation"));
        }
        eventually("the old ones are gone", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
        let tally = load.stop();
        assert_eq!((tally.failed(), tally.statuses.keys().collect::<Vec<_>>()), (0, vec![&200]), "{tally:?}");
    }
}

#[test]
fn upgrades_under_load_fail_no_request() {
    for (argument, ready) in [("notify", "notify"), ("", "exec")] {
        let mut server = setup(argument, ready).set("upgrade = \"manual\"").start();
        let load = Load::start(server.address(), "/pid", 2);
        for _ in 0..2 {
            let (old, mark) = (ready_workers(&server), server.log.mark());
            server.signal(Sig::SIGUSR2);
            let heir = server.wait_for_heir(mark);
            assert_eq!(server.workers().len(), 3, "the old ones and the heir: nobody was told to leave");
            server.signal(Sig::SIGTERM);
            server.follow(heir);
            server.log.wait(mark, "Master has been promoted.", 1, PATIENCE);
            assert!(ready_workers(&server).is_disjoint(&old));
            let answered = load.answered();
            eventually("the load goes on", PATIENCE, || (load.answered() > answered + 50).then_some(()));
        }
        let tally = load.stop();
        assert_eq!((tally.failed(), tally.statuses.keys().collect::<Vec<_>>()), (0, vec![&200]), "{tally:?}");
    }
}

#[test]
fn one_that_dies_at_boot_fails_the_start_and_a_reload() {
    let mut server = setup("die", "exec")
        .expect("failed to boot")
        .expect("exited with code")
        .expect("Shutting down")
        .expect("Reason: ")
        .launch();
    assert_eq!(server.wait_for_exit(PATIENCE), 3);
    assert!(server.log.count("foreign: no database") > 0);

    let mut server = setup("", "exec").expect("Reload failed").expect("exited with code").start();
    let before = ready_workers(&server);
    server.reconfigure("", &format!("command = [{:?}, \"die\"]", foreign()));
    let outcome = server.reload();
    assert!(outcome.contains("it exited with code 1 before it was ready"), "{outcome}");
    assert_eq!(server.workers(), before);
    assert_eq!(server.get("/").expect("answered").status, 200);
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_int_does_not_wait() {
    for (sig, finishes) in [(Sig::SIGTERM, true), (Sig::SIGINT, true)] {
        let mut server = setup("notify", "notify").start();
        ready_workers(&server);
        let mut slow = server.connect();
        slow.send("GET", "/slow", "", "").expect("sent");
        // Accepted: an answer to somebody who asked later, on the other socket of each worker.
        for _ in 0..20 {
            server.get("/").expect("answered");
        }
        server.signal(sig);
        let answer = slow.receive(false);
        assert_eq!(answer.is_ok_and(|answer| answer.body == "done"), finishes, "{sig}");
        assert_eq!(server.wait_for_exit(PATIENCE), 0);
        assert_eq!(server.log.count("core dumped"), 0);
    }
}

/// They close their sockets, which the master has open still.
#[test]
fn a_stop_lets_nobody_wait_for_those_who_accept_no_more() {
    let mut server = setup("notify", "notify").set("workers = 1").start();
    server.settled(1);
    let mut slow = server.connect();
    slow.send("GET", "/slow", "", "").expect("sent");
    server.get("/").expect("answered"); // so the one before was accepted
    server.signal(Sig::SIGTERM);
    let refused = || matches!(Conn::open(server.address()), Err(Failure::Refused));
    eventually("the port is closed", PATIENCE, || refused().then_some(()));
    assert_eq!(server.exit_code(), None, "the request is still under way");
    assert_eq!(slow.receive(false).map(|answer| answer.body).as_deref(), Ok("done"));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

/// As a program that puts itself into the background: its parent says that all is well.
#[test]
fn each_start_and_each_end_nobody_asked_for_is_told() {
    let script = format!("#!/bin/sh\n[ -e gone ] || {{ : >gone; sleep 2; exit 0; }}\nexec {:?}\n", foreign());
    let app = "command = [\"./service\"]\nforeign = \"exec\"\n";
    let setup = Setup::hello().without("handler").set("workers = 1").app(app);
    setup.dir.replace("service", script.as_bytes());
    let mut server = setup.start();
    let line = server.wait_for_line("exited with code 0, though nobody had told it to.");
    assert!(line.contains("[WARNING]"), "{line}");
    server.log.wait(0, "[DEBUG] Worker ready", 2, PATIENCE);
    let worker = server.settled(1).pop_first().expect("one");
    server.wait_for_line(&format!("Booting worker with pid: {worker}"));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert_eq!(server.log.count("though nobody had told it to"), 1, "that one was asked for");
}

#[test]
fn what_one_leaves_behind_ends_with_it() {
    let server = setup("family", "exec").set("workers = 1\nrestart_backoff = 0").expect("was sent SIGKILL!").start();
    let worker = server.settled(1).pop_first().expect("one");
    let child = server.get("/child").expect("answered").body.parse().expect("a pid");
    assert!(proc::lives(child));
    proc::signal(worker, Sig::SIGKILL);
    eventually("its child is gone", PATIENCE, || (!proc::lives(child)).then_some(()));
    server.log.wait(0, "[DEBUG] Worker ready", 2, PATIENCE);
}

#[test]
fn the_master_ends_and_they_do() {
    let server = setup("", "exec").start();
    let workers = ready_workers(&server);
    let server = std::mem::ManuallyDrop::new(server);
    proc::signal(server.pid(), Sig::SIGKILL);
    eventually("all are gone", PATIENCE, || workers.iter().all(|pid| !proc::lives(*pid)).then_some(()));
}

/// A release that speaks another contract: here the master's words are changed on their way.
#[test]
fn a_program_of_another_release_says_so() {
    let script = format!("#!/bin/sh\nRUSTCORN_HANDOFF=\"v=99 ${{RUSTCORN_HANDOFF#v=1 }}\" exec {:?}\n", testapp());
    let setup =
        Setup::hello().without("handler").app("command = [\"./service\"]").expect("failed to boot").expect("Reason: ");
    setup.dir.replace("service", script.as_bytes());
    let mut server = setup.expect("exited with code 3").expect("Shutting down").launch();
    assert_eq!(server.wait_for_exit(PATIENCE), 3);
    let said = "the master hands over with version 99, this program understands version 1: build both with the same rustcorn release";
    assert!(server.log.count(said) > 0, "{:?}", server.log.since(0));
}
