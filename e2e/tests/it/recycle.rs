//! Planned replacement: a worker that has served enough, lived long enough or grown too big goes when its successor serves.

use std::net::SocketAddr;

use crate::harness::load::Load;
use crate::harness::{PATIENCE, Server, Setup, Sig, eventually, full, get};

/// Where health is asked for.
fn admin(server: &Server) -> SocketAddr {
    let line = server.wait_for_line("Admin listening at: http://");
    let address = line.split("http://").nth(1).and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("no address in {line}"))
}

#[test]
fn max_requests_under_load_fails_no_request_and_never_lowers_the_number_of_ready_workers() {
    let set = "workers = 2\nmin_ready_workers = 2\nmax_requests = 100\nmax_requests_jitter = 20\nadmin_bind = \"127.0.0.1:0\"";
    let server = Setup::hello().set(set).start();
    let admin = admin(&server);
    eventually("ready", PATIENCE, || get(admin, "/readyz").is_ok_and(|answer| answer.status == 200).then_some(()));
    let load = Load::start(server.address(), "/", 2);
    let wanted = if full() { 100 } else { 10 };
    let mut looks = 0;
    eventually("workers were recycled", 4 * PATIENCE, || {
        let answer = get(admin, "/readyz").expect("the admin process answers");
        assert_eq!(answer.status, 200, "{}", answer.body);
        looks += 1;
        (server.log.count("Autorestarting worker") >= wanted && looks > 10).then_some(())
    });
    let tally = load.stop();
    assert_eq!((tally.failed(), tally.statuses.keys().collect::<Vec<_>>()), (0, vec![&200]), "{tally:?}");
    assert!(tally.answered() >= 100 * wanted as u64 / 2, "{tally:?}");
    let metrics = get(admin, "/metrics").expect("answered").body;
    let counted =
        |name: &str| metrics.lines().any(|line| line.strip_prefix(name).is_some_and(|count| count.trim() != "0"));
    assert!(counted("rustcorn_worker_recycles_total{limit=\"max_requests\"} "), "{metrics}");
    assert!(metrics.contains("rustcorn_worker_restarts_total{cause=\"exited\"} 0\n"), "planned, so no restart");
}

#[test]
fn a_worker_is_replaced_after_exactly_max_requests() {
    let server = Setup::testapp().set("workers = 1\nmax_requests = 3").start();
    let pid = |server: &Server| server.get("/pid").expect("answered").body;
    let first = pid(&server);
    assert_eq!(pid(&server), first);
    assert_eq!(server.log.count("Autorestarting"), 0);
    assert_eq!(pid(&server), first);
    server.wait_for_line(&format!("[INFO] Autorestarting worker 0 (pid: {first}): it has served max_requests"));
    server.wait_for_line(&format!("Worker exiting (pid: {first})"));
    assert_ne!(pid(&server), first);
}

#[test]
fn a_request_in_flight_outlives_the_recycling_of_its_worker() {
    let server = Setup::testapp().set("workers = 1\nmax_requests = 1").app("slow_ms = 4000").start();
    let mut slow = server.connect();
    slow.send("GET", "/slow", "", "").expect("sent");
    let pid = server.wait_for_journal("start", 1)[0];
    assert_eq!(server.get("/pid").expect("answered").body, pid.to_string());
    server.wait_for_line("Autorestarting worker 0");
    let answer = slow.receive(false).expect("the request is finished");
    assert_eq!((answer.status, answer.closes()), (200, true), "and its connection ends with it");
    server.wait_for_line(&format!("Worker exiting (pid: {pid})"));
}

/// It would serve on, and be killed with its requests at the end of graceful_timeout.
#[test]
fn a_worker_that_missed_the_order_to_leave_while_it_loaded_leaves_once_it_is_ready() {
    let server = Setup::testapp().set("workers = 1").app("boot_ms = 3000\ndeaf_boot = true").start();
    let mark = server.log.mark();
    server.signal(Sig::SIGTTIN);
    server.log.wait(mark, "the application is being loaded", 1, PATIENCE);
    server.signal(Sig::SIGTTOU);
    let booted = server.log.wait(mark, "Booting worker with pid: ", 1, PATIENCE);
    let pid = booted.rsplit(' ').next().expect("a pid");
    server.log.wait(mark, &format!("Worker exiting (pid: {pid})"), 1, PATIENCE);
    assert_eq!(server.log.count("did not leave"), 0);
}

#[test]
fn worker_lifetime_ends_and_another_life_begins() {
    let server = Setup::hello().set("workers = 2\nworker_lifetime = 1").start();
    let before = server.settled(2);
    server.log.wait(0, "it has served for worker_lifetime", 2, PATIENCE);
    eventually("both are others", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
    assert_eq!(server.get("/").expect("answered").status, 200);
}

/// Three looks, one in five seconds.
#[test]
fn a_worker_above_max_rss_is_replaced() {
    if !full() {
        return; // the policy's stories tell it with scripted time; this one takes 15 seconds
    }
    let server = Setup::hello().set("workers = 1\nmax_rss = \"100KiB\"").start();
    let before = server.settled(1);
    server.log.wait(0, " MiB, more than max_rss", 1, 4 * PATIENCE);
    eventually("it is replaced", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
}
