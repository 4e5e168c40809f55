//! How many connections a worker holds, and how long it waits for clients.

use std::time::{Duration, Instant};

use crate::harness::client::Failure;
use crate::harness::{Conn, Setup};

#[test]
fn beyond_worker_connections_the_kernel_queues() {
    let server = Setup::hello().set("workers = 1\nworker_connections = 2").start();
    let (mut first, mut second) = (server.connect(), server.connect());
    assert!(first.get("/").is_ok() && second.get("/").is_ok());

    let mut third = Conn::open_patient(server.address(), Duration::from_millis(300)).expect("queued by the kernel");
    assert_eq!(third.get("/").map(|response| response.status), Err(Failure::Timeout));
    drop(first);
    assert_eq!(third.receive(false).map(|response| response.status), Ok(200), "there is room for it now");
    assert!(second.get("/").is_ok());
}

#[test]
fn an_idle_connection_is_closed_after_keepalive() {
    let server = Setup::hello().set("keepalive = 0.5").start();
    let mut conn = server.connect();
    assert!(!conn.get("/").expect("answered").closes());
    let begin = Instant::now();
    conn.wait_for_close().expect("in order");
    assert!((400..3000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
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
        let mut conn = server.connect();
        conn.send_raw(beginning).expect("sent");
        let begin = Instant::now();
        let end = conn.receive(false);
        assert!((400..3000).contains(&begin.elapsed().as_millis()), "{beginning:?} {:?}", begin.elapsed());
        assert!(
            matches!(&end, Err(Failure::Eof)) || end.as_ref().is_ok_and(|response| response.status == 408),
            "{end:?}"
        );
    }
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}
