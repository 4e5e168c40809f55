//! How many connections a worker holds, and how long it waits for clients.

use std::time::{Duration, Instant};

use crate::harness::client::Failure;
use crate::harness::{Conn, PATIENCE, Setup, eventually};

/// Of half a second. A sweep stamps what it sees, so the clocks of both sides may be a little apart.
const LEAST: Duration = Duration::from_millis(400);

#[test]
fn beyond_worker_connections_the_kernel_queues() {
    let server = Setup::hello().set("workers = 1\nworker_connections = 2").start();
    let (mut first, mut second) = (server.connect(), server.connect());
    assert!(first.get("/").is_ok() && second.get("/").is_ok());

    let mut third = Conn::open_patient(server.address(), Duration::from_millis(300)).expect("queued by the kernel");
    assert_eq!(third.get("/").map(|response| response.status), Err(Failure::Timeout));
    drop(first);
    let answer = eventually("there is room for it now", PATIENCE, || match third.receive(false) {
        Err(Failure::Timeout) => None,
        answer => Some(answer),
    });
    assert_eq!(answer.map(|response| response.status), Ok(200));
    assert!(second.get("/").is_ok());
}

#[test]
fn an_idle_connection_is_closed_after_keepalive() {
    let server = Setup::hello().set("keepalive = 0.5").start();
    let mut conn = server.connect();
    let begin = Instant::now();
    assert!(!conn.get("/").expect("answered").closes());
    conn.wait_for_close().expect("in order, long before the 75 s of the default");
    assert!(begin.elapsed() >= LEAST, "{:?}", begin.elapsed());
}

#[test]
fn without_keepalive_each_response_closes() {
    let server = Setup::hello().set("keepalive = 0").start();
    let mut conn = server.connect();
    assert!(conn.get("/").expect("answered").closes());
    conn.wait_for_close().expect("in order");
}

#[test]
fn a_head_that_does_not_end_is_given_up_after_header_timeout() {
    let server = Setup::hello().set("header_timeout = 0.5").start();
    for beginning in ["", "GET / HT"] {
        let begin = Instant::now();
        let mut conn = server.connect();
        conn.send_raw(beginning).expect("sent");
        let end = conn.receive(false);
        assert!(begin.elapsed() >= LEAST, "{beginning:?} {:?}", begin.elapsed());
        assert!(
            matches!(&end, Err(Failure::Eof)) || end.as_ref().is_ok_and(|response| response.status == 408),
            "{end:?}"
        );
    }
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn a_request_that_takes_too_long_is_answered_504_and_its_handler_dropped() {
    let server = Setup::testapp().set("request_timeout = 0.5\nworkers = 1").start();
    let mut conn = server.connect();
    let begin = Instant::now();
    let response = conn.request("POST", "/until-drain", "", "body").expect("answered");
    assert_eq!((response.status, response.closes()), (504, true));
    assert!(begin.elapsed() >= LEAST, "{:?}", begin.elapsed());
    server.wait_for_journal("cancel", 1);
    let line = server.wait_for_line("Request timeout: ");
    assert!(line.contains("[WARNING] Request timeout: POST /until-drain had no response after "), "{line}");
    conn.wait_for_close().expect("in order");
    assert_eq!(
        server.get("/stream").map(|response| response.status),
        Ok(200),
        "a response that has begun has its time"
    );
}

#[test]
fn a_body_must_not_stand_still_nor_drip() {
    let server = Setup::testapp().set("body_timeout = 1\nbody_min_rate = 100").start();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    for drips in [false, true] {
        let begin = Instant::now();
        let mut conn = Conn::open_patient(server.address(), Duration::from_millis(50)).expect("the server accepts");
        conn.send_raw(head).expect("sent");
        let answer = loop {
            if drips {
                conn.send_raw("x").expect("it listens");
            }
            match conn.receive(false) {
                Err(Failure::Timeout) => assert!(begin.elapsed() < Duration::from_secs(20)),
                other => break other,
            }
        };
        assert_eq!(answer.map(|response| (response.status, response.closes())), Ok((408, true)), "{drips}");
        assert!(begin.elapsed() >= Duration::from_millis(800), "{:?}", begin.elapsed());
    }
    server.wait_for_line("body slower than body_timeout and body_min_rate allow");
}

#[test]
fn a_body_that_the_application_lets_wait_is_not_late() {
    let server = Setup::testapp().set("body_timeout = 0.5").app("slow_ms = 2500").start();
    let mut conn = server.connect();
    // More than is read ahead of the application, so the rest has no room.
    conn.send_raw("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").expect("sent");
    conn.send_bytes(&[b'x'; 100_000]).expect("sent");
    assert_eq!(conn.receive(false).map(|response| response.status), Ok(200));
}

#[test]
fn a_client_that_does_not_take_its_response_is_cut() {
    let server = Setup::testapp().set("write_timeout = 2\nworkers = 1").start();
    let mut conn = server.connect();
    conn.send_raw("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    server
        .wait_for_line("Connection ended: error writing a body to connection: the client took nothing of its response");
    assert!(conn.receive(false).is_err(), "it has no end");
    // Who takes it piece by piece gets all of it.
    let mut slow = server.connect();
    slow.send_raw("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    assert_eq!(slow.receive(false).map(|response| response.body.len()), Ok(16 << 20));
}
