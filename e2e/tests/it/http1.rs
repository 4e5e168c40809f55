//! What a request may look like: a corpus of good and bad ones over raw sockets.

use std::time::Duration;

use crate::corpus::{Case, read};
use crate::harness::client::{Conn, Failure};
use crate::harness::tls::{Ca, Session};
use crate::harness::{PATIENCE, Server, Setup};

const CORPUS: &str = include_str!("../../data/http1.txt");

fn setup() -> Setup {
    Setup::testapp().set("header_timeout = 2\nbody_timeout = 2\nkeepalive = 60").app("slow_ms = 100")
}

/// Sends the case in `pieces`, and judges the answers. What is wrong, if anything.
fn judge(conn: Result<Conn, Failure>, case: &Case, pieces: &[&[u8]]) -> Result<(), String> {
    let mut conn = conn.map_err(|error| format!("connect: {error}"))?;
    for piece in pieces {
        // Who is refused in the middle of a long request may be cut off while it still sends.
        match conn.send_bytes(piece) {
            Ok(()) => {}
            Err(Failure::Reset) if case.closes => break,
            Err(error) => return Err(format!("send: {error}")),
        }
    }
    let mut answers = Vec::new();
    while answers.len() < case.answers.len() {
        let response = conn.receive(false).map_err(|error| format!("after {answers:?}: {error}"))?;
        let is_last = answers.len() + 1 == case.answers.len();
        // Where the client asks for the close, the response need not say it.
        if response.status >= 400 && case.closes && is_last && !response.closes() {
            return Err(format!("{} does not say that it closes", response.status));
        }
        if response.status != 100 && response.header("date").is_none() {
            return Err(format!("{} has no date", response.status));
        }
        answers.push(response.status);
    }
    if answers != case.answers {
        return Err(format!("answers {answers:?} and not {:?}", case.answers));
    }
    if case.closes {
        return conn.wait_for_close().map_err(|error| format!("it is not closed: {error}"));
    }
    let probe = conn.request("GET", "/pid", "Connection: close\r\n", "").map_err(|error| format!("probe: {error}"))?;
    if probe.status != 200 {
        return Err(format!("the probe got {}", probe.status));
    }
    conn.wait_for_close().map_err(|error| format!("after the probe: {error}"))
}

/// As [`run_on`], without TLS.
fn run(wanted: impl Fn(&Case) -> bool, cut: impl Fn(&[u8]) -> Vec<&[u8]>) {
    let server = setup().start();
    run_on(&server, || Conn::open_patient(server.address(), PATIENCE), wanted, cut);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

/// Runs all cases that `wanted` names and fails with all that is wrong. The same workers live on.
fn run_on(
    server: &Server,
    open: impl Fn() -> Result<Conn, Failure>,
    wanted: impl Fn(&Case) -> bool,
    cut: impl Fn(&[u8]) -> Vec<&[u8]>,
) {
    let workers = server.workers();
    let cases = read(CORPUS);
    assert!(cases.len() >= 150, "{}", cases.len());
    let judged = |case: &Case| judge(open(), case, &cut(&case.bytes)).err().map(|why| format!("{}: {why}", case.name));
    let wrong: Vec<String> = cases.iter().filter(|case| wanted(case)).filter_map(judged).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(server.workers(), workers, "no worker was harmed");
}

#[test]
fn each_request_gets_its_answers_and_no_more() {
    run(|_| true, |bytes| vec![bytes]);
}

#[test]
fn also_over_tls_behind_a_proxy() {
    let ca = Ca::new();
    let server = setup().tls(&ca.issue()).set("proxy_protocol = \"v1\"").start();
    let client = ca.client(None, &["http/1.1"]);
    let proxy = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n";
    let open = || Session::open_after(server.address(), proxy, &client).map(Session::into_conn);
    // Whom the server stops listening to while it still sends does not read on, as rustls sends before it reads.
    run_on(&server, open, |case| case.bytes.len() < 200_000, |bytes| vec![bytes]);
}

#[test]
fn also_where_they_come_in_small_pieces() {
    // Of those that are refused for their body, the application would see the head, and may answer before the rest is here. If it does
    // so where the body is good and nobody wants it, hyper ends the connection: what comes after that body is another matter.
    let wanted = |case: &Case| case.bytes.len() < 1000 && !case.name.ends_with("an unread body is skipped");
    run(wanted, |bytes| bytes.chunks(1).collect());
}

#[test]
fn a_refusal_is_logged_and_counted() {
    let server = Setup::hello().set("workers = 1").start();
    let mut conn = server.connect();
    conn.send_raw("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect("sent");
    let response = conn.receive(false).expect("answered");
    assert_eq!((response.status, response.header("content-type")), (400, Some("text/plain; charset=utf-8")));
    assert_eq!(response.body, "both Content-Length and Transfer-Encoding (RFC 9112, 6.1)\n");
    server.wait_for_line(
        "[WARNING] Invalid request from ip=127.0.0.1: both Content-Length and Transfer-Encoding (RFC 9112, 6.1)",
    );
}

#[test]
fn a_client_that_goes_on_sending_still_reads_why_it_is_refused() {
    let server = Setup::testapp().set("max_body_size = 1000").start();
    let mut conn = server.connect();
    conn.send_raw("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").expect("sent");
    let (_, sent) = (0..10).fold((0, true), |(n, sent), _| (n, sent && conn.send_bytes(&[b'x'; 10_000]).is_ok()));
    assert!(sent, "it listens for a while");
    let response = conn.receive(false).expect("answered");
    assert_eq!((response.status, response.closes()), (413, true));
    assert_eq!(conn.wait_for_close(), Ok(()));
}

#[test]
fn limits_of_size_are_settings() {
    let limits = "limit_request_line = 50\nlimit_request_fields = 3\nlimit_request_field_size = 40\nmax_body_size = 10";
    let server = Setup::testapp().set(limits).args(&["--limit-request-field_size", "30"]).start();
    let status = |path: &str, head: &str, body: &str| {
        Conn::open(server.address())
            .and_then(|mut conn| conn.request("POST", path, head, body))
            .map(|response| response.status)
    };
    assert_eq!(status("/echo", "", "0123456789"), Ok(200));
    assert_eq!(status("/echo", "", "0123456789x"), Ok(413));
    assert_eq!(status(&format!("/{}", "x".repeat(50)), "", ""), Ok(414));
    assert_eq!(status("/echo", &"X: y\r\n".repeat(3), ""), Ok(431));
    assert_eq!(status("/echo", &format!("X: {}\r\n", "y".repeat(26)), ""), Ok(431), "the command line wins");
    let mut conn = server.connect();
    let chunks = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    conn.send_raw(chunks).expect("sent");
    conn.send_raw("6\r\n world\r\n0\r\n\r\n").expect("sent");
    assert_eq!(conn.receive(false).map(|response| response.status), Ok(413), "while the application reads it");
}

#[test]
fn methods_spaces_and_versions_may_be_permitted() {
    let settings = "permit_obsolete_folding = true\nstrip_header_spaces = true\npermit_unconventional_http_version = true\n\
                    permit_unconventional_http_method = true\nheader_map = \"dangerous\"";
    let server = Setup::testapp().set(settings).start();
    for request in [
        "GET /pid HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        "GET /pid HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /pid HTTP/7.3\r\nHost: a\r\n\r\n",
        "x /pid HTTP/1.1\r\nHost: a\r\nX_Y: z\r\n\r\n",
    ] {
        let mut conn = server.connect();
        conn.send_raw(request).expect("sent");
        assert_eq!(conn.receive(false).map(|response| response.status), Ok(200), "{request}");
    }
    let server = Setup::hello().set("casefold_http_method = true\nheader_map = \"refuse\"").start();
    let mut conn = server.connect();
    assert_eq!(conn.request("get", "/", "", "").map(|response| response.status), Ok(200));
    assert_eq!(conn.request("GET", "/", "X_Y: z\r\n", "").map(|response| response.status), Ok(400));
}

#[test]
fn what_cannot_become_a_request_is_refused_before_its_line_ends() {
    let server = Setup::testapp().start(); // with a header_timeout longer than the patience of the client
    let mut conn = Conn::open_patient(server.address(), Duration::from_secs(10)).expect("the server accepts");
    conn.send_bytes(b"\x16\x03\x01").expect("sent");
    assert_eq!(conn.receive(false).map(|response| response.status), Ok(400));
}
