//! What clients see.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::Conn;
use crate::harness::client::Failure;
use crate::subject::{Gunicorn, Rustcorn, Setup, differs};

#[test]
fn answers_bodies_and_statuses() {
    let server = Setup::new().start();
    let mut conn = server.connect();
    assert_eq!(
        conn.get("/").map(|answer| (answer.status, answer.body)),
        Ok((200, "Misbehaving on request\n".to_owned()))
    );
    assert_eq!(conn.get("/nobody/is/there").map(|answer| answer.status), Ok(404));
    let head = conn.request("HEAD", "/", "", "").expect("answered");
    assert_eq!((head.status, head.body.as_str(), head.header("content-length")), (200, "", Some("23")));
    assert_eq!(conn.request("HEAD", "/no", "", "").map(|answer| answer.status), Ok(404));
    assert_eq!(conn.request("POST", "/echo", "", "a body").map(|answer| answer.body), Ok("a body".to_owned()));
    let stream = conn.get("/stream").expect("answered");
    assert_eq!(
        (stream.header("transfer-encoding"), stream.body.as_str()),
        (Some("chunked"), "tick\n".repeat(5).as_str())
    );
    assert!(conn.get("/").expect("answered").header("date").is_some_and(|date| date.ends_with(" GMT")));
}

#[test]
fn a_chunked_body_and_expect_continue() {
    let server = Setup::new().start();
    let mut conn = server.connect();
    let head = "POST /echo HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n";
    conn.send_raw(&format!("{head}3\r\none\r\n4\r\n two\r\n0\r\n\r\n")).expect("sent");
    assert_eq!(conn.receive(false).map(|answer| answer.body), Ok("one two".to_owned()));
    conn.send_raw("POST /echo HTTP/1.1\r\nHost: e2e\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .expect("sent");
    assert_eq!(conn.receive(true).map(|answer| answer.status), Ok(100));
    conn.send_raw("body").expect("sent");
    assert_eq!(conn.receive(false).map(|answer| answer.body), Ok("body".to_owned()));
}

#[test]
fn who_names_itself() {
    let server = Setup::new().start();
    let answer = server.get("/").expect("answered");
    match differs("server-header") {
        Gunicorn => assert_eq!(answer.header("server"), Some("gunicorn")),
        Rustcorn => assert_eq!(answer.header("server"), None),
    }
}

/// How long an idle connection stays open.
fn idle_time(mut conn: Conn) -> Duration {
    assert!(!conn.get("/").expect("answered").closes());
    let begin = Instant::now();
    conn.wait_for_close().expect("closed in order");
    begin.elapsed()
}

#[test]
fn keepalive_is_how_long_an_idle_connection_stays() {
    let server = Setup::new().set("keepalive = 1").start();
    let idle = idle_time(server.connect()).as_millis();
    assert!((900..6000).contains(&idle), "{idle} ms");
}

#[test]
fn keepalive_0_closes_after_each_answer() {
    let server = Setup::new().set("keepalive = 0").start();
    let mut conn = server.connect();
    assert!(conn.get("/").expect("answered").closes());
    conn.wait_for_close().expect("in order");
}

#[test]
fn keepalive_by_default() {
    let server = Setup::new().start();
    match differs("keepalive-default") {
        Gunicorn => {
            let idle = idle_time(server.connect()).as_millis();
            assert!((1900..8000).contains(&idle), "{idle} ms");
        }
        Rustcorn => {
            let mut conn = Conn::open_patient(server.address(), Duration::from_secs(5)).expect("accepted");
            assert!(!conn.get("/").expect("answered").closes());
            assert_eq!(conn.wait_for_close(), Err(Failure::Timeout), "it is 75 seconds");
        }
    }
}

#[test]
fn keepalive_of_the_default_worker() {
    let server = Setup::new().sync().start();
    let answer = server.connect().get("/").expect("answered");
    match differs("keepalive-always") {
        Gunicorn => assert!(answer.closes(), "sync keeps no connection"),
        Rustcorn => assert!(!answer.closes()),
    }
}

#[test]
fn clients_that_do_not_come_to_the_point() {
    let server = Setup::new().set("header_timeout = 1").start();
    let mut conn = Conn::open_patient(server.address(), Duration::from_secs(4)).expect("accepted");
    conn.send_raw("GET / HTTP/1.1\r\nHost: e2e\r\n").expect("sent");
    let failure = conn.wait_for_close();
    match differs("header-timeout") {
        Gunicorn => assert_eq!(failure, Err(Failure::Timeout), "it holds a thread for as long as the client likes"),
        Rustcorn => assert_ne!(failure, Err(Failure::Timeout)),
    }
}

#[test]
fn http_1_0_ends_with_the_answer_unless_it_asks() {
    let server = Setup::new().start();
    for (head, ends) in [("", true), ("Connection: keep-alive\r\n", false)] {
        let mut stream = TcpStream::connect(server.address()).expect("accepted");
        stream.set_read_timeout(Some(Duration::from_millis(700))).expect("not zero");
        stream.write_all(format!("GET / HTTP/1.0\r\n{head}\r\n").as_bytes()).expect("sent");
        let mut answer = String::new();
        let ended = stream.read_to_string(&mut answer).is_ok();
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("Misbehaving on request\n"), "{answer}");
        assert_eq!(ended, ends, "{head:?}");
    }
}

#[test]
fn messages_that_do_not_read_are_refused_and_the_connection_ends() {
    let server = Setup::new().start();
    let refused_with = |bad: &str, status| {
        let mut conn = server.connect();
        conn.send_raw(bad).expect("sent");
        let answer = conn.receive(false).expect("answered");
        assert!(answer.status == status && answer.closes(), "{bad:?}: {answer:?}");
    };
    refused_with("GET\r\n\r\n", 400);
    refused_with("GET / HTTP/1.1\r\nHost: e2e\r\nno colon\r\n\r\n", 400);
    let unknown = "GET / HTTP/9.9\r\nHost: e2e\r\n\r\n";
    match differs("version-unknown") {
        Gunicorn => refused_with(unknown, 400),
        Rustcorn => refused_with(unknown, 505),
    }
}
