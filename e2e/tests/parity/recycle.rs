//! max_requests.

use crate::harness::{PATIENCE, eventually};
use crate::subject::{Gunicorn, Rustcorn, Setup, differs};

#[test]
fn a_worker_is_replaced_after_exactly_max_requests() {
    let server = Setup::new().set("workers = 1\nmax_requests = 3").start();
    let first = server.answering();
    assert_eq!(server.answering(), first);
    assert_eq!(server.log.count("Autorestarting worker"), 0);
    let mut conn = server.connect();
    let last = conn.get("/pid").expect("answered");
    assert_eq!(last.body, first.to_string());
    drop(conn); // rustcorn would keep it until graceful_timeout, for its next request
    let line = server.wait_for_line("Autorestarting worker");
    assert_eq!(line.level, "INFO");
    server.wait_for_line(&format!("Worker exiting (pid: {first})"));
    eventually("another one serves", PATIENCE, || {
        server.get("/pid").is_ok_and(|answer| answer.body != first.to_string()).then_some(())
    });
    match differs("recycling-line") {
        Gunicorn => assert_eq!((line.text.as_str(), line.pid), ("Autorestarting worker after current request.", first)),
        Rustcorn => {
            let text = format!("Autorestarting worker 0 (pid: {first}): it has served max_requests");
            assert_eq!((line.text, line.pid), (text, server.pid()));
        }
    }
    match differs("recycling-serves-on") {
        Gunicorn => assert!(last.closes(), "it takes no more"),
        Rustcorn => assert!(!last.closes(), "it serves until its successor is ready"),
    }
}

#[test]
fn who_serves_while_a_worker_is_recycled() {
    let server = Setup::new().set("workers = 1\nmax_requests = 1").app("boot_ms = 700").start();
    let before = server.answering();
    eventually("it is replaced", PATIENCE, || (!server.workers().contains(&before)).then_some(()));
    let after = *server.settled(1).first().expect("one");
    let gone = server.position(&format!("Worker exiting (pid: {before})"));
    let ready = server.position(&format!("Worker ready (pid: {after}"));
    match differs("recycling-capacity") {
        Gunicorn => assert!(gone < ready, "the successor is forked when it is gone"),
        Rustcorn => assert!(ready < gone, "the successor is ready first"),
    }
}
