//! The layers of a connection, together: PROXY protocol, TLS, HTTP/1 and HTTP/2, and the rules for requests over all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rustls::ClientConfig;

use crate::harness::client::{Conn, Failure};
use crate::harness::http2::{Http2, Outcome, run};
use crate::harness::tls::{Ca, Session};
use crate::harness::{PATIENCE, Server, Setup, Sink};

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n";

fn secure(setup: Setup) -> (Ca, Setup) {
    let ca = Ca::new();
    let setup = setup.tls(&ca.issue());
    (ca, setup)
}

fn clear(setup: Setup) -> Setup {
    setup.set("http2_cleartext = \"prior-knowledge\"")
}

fn open(server: &Server, before: &[u8], client: &Arc<ClientConfig>) -> Result<Conn, Failure> {
    Session::open_after(server.address(), before, client).map(Session::into_conn)
}

/// What one request gets over a connection of its own.
fn ask2(server: &Server, before: &[u8], tls: Option<&Arc<ClientConfig>>, headers: &[(&str, &str)]) -> Outcome {
    run(async {
        let conn = match Http2::open_after(server.address(), before, tls).await {
            Ok(conn) => conn,
            Err(error) => return Outcome::Failed(error),
        };
        conn.sender().get_with("/client", headers).await
    })
}

fn seen(address: &str, scheme: &str) -> Outcome {
    Outcome::Answered(200, format!("Some({address}) Some(127.0.0.1) {scheme}"))
}

#[test]
fn the_client_and_its_scheme_are_known_whatever_it_speaks() {
    let (ca, setup) = secure(Setup::testapp().set("proxy_protocol = \"auto\""));
    let server = setup.start();
    let (one, two) = (ca.client(None, &["http/1.1"]), ca.client(None, &["h2"]));
    let ask1 = |before: &[u8], head: &str| match open(&server, before, &one)
        .and_then(|mut conn| conn.request("GET", "/client", head, ""))
    {
        Ok(response) => Outcome::Answered(response.status, response.body),
        Err(error) => Outcome::Failed(error.to_string()),
    };
    assert_eq!(ask1(b"", ""), seen("127.0.0.1", "https"), "a health check");
    assert_eq!(ask1(V1, ""), seen("203.0.113.7", "https"));
    assert_eq!(ask1(V1, "X-Forwarded-Proto: http\r\n"), seen("203.0.113.7", "http"), "a believed proxy knows better");
    let over2 = |before: &[u8], headers: &[(&str, &str)]| ask2(&server, before, Some(&two), headers);
    assert_eq!(over2(b"", &[]), seen("127.0.0.1", "https"));
    assert_eq!(over2(V1, &[]), seen("203.0.113.7", "https"));
    let forwarded = [("x-forwarded-proto", "http"), ("x-forwarded-for", "1.1.1.1, 198.51.100.2")];
    assert_eq!(over2(V1, &forwarded), seen("198.51.100.2", "http"));

    let (ca, setup) = secure(Setup::testapp().set("forwarded_allow_ips = \"\""));
    let server = setup.start();
    let stranger = ask2(&server, b"", Some(&ca.client(None, &["h2"])), &forwarded);
    assert_eq!(stranger, seen("127.0.0.1", "https"), "strangers are not believed");
}

#[test]
fn http2_without_tls_is_for_those_who_are_believed() {
    let server = clear(Setup::testapp().set("proxy_protocol = \"v1\"")).start();
    assert_eq!(ask2(&server, b"", None, &[]), seen("127.0.0.1", "http"));
    assert_eq!(ask2(&server, V1, None, &[("x-forwarded-proto", "https")]), seen("203.0.113.7", "https"));
    let mut conn = server.connect();
    conn.send_bytes(V1).expect("sent");
    assert!(conn.get("/client").expect("HTTP/1 as ever").body.starts_with("Some(203.0.113.7)"));
    let server = clear(Setup::testapp().set("forwarded_allow_ips = \"10.0.0.0/8\"")).start();
    assert!(!matches!(ask2(&server, b"", None, &[]), Outcome::Answered(..)));
    assert_eq!(server.get("/pid").map(|response| response.status), Ok(200));
}

#[test]
fn a_bad_proxy_header_ends_a_connection_before_tls() {
    let sink = Sink::start();
    let set = format!(
        "proxy_protocol = \"v1\"\nheader_timeout = 2\nstatsd_host = \"{}\"\nstatsd_interval = 0.05",
        sink.address
    );
    let (ca, setup) = secure(Setup::testapp().set(&set));
    let server = setup.start();
    let client = ca.client(None, &["http/1.1"]);
    assert!(open(&server, b"PROXY TCP4 1.2.3.4\r\n", &client).is_err());
    server.wait_for_line("Invalid request from ip=127.0.0.1: invalid PROXY header");
    sink.wait(PATIENCE, |sums| sums.counter("rustcorn.requests.refused.proxy") == 1);
    let mut half = server.connect();
    half.send_raw("PROXY TCP4 ").expect("sent");
    let end = half.receive(false).map(|response| response.status);
    assert!(matches!(end, Err(Failure::Eof | Failure::Reset)), "it has the time of a head: {end:?}");
    assert!(open(&server, V1, &client).is_ok());
}

#[test]
fn rules_and_limits_hold_for_http2_too() {
    let settings = "limit_request_line = 60\nlimit_request_fields = 5\nlimit_request_field_size = 50\nmax_body_size = 10\n\
                    forwarded_allow_ips = \"\"";
    let (ca, setup) = secure(Setup::testapp().set(settings));
    let server = setup.start();
    let client = ca.client(None, &["h2"]);
    let long = "x".repeat(60);
    let get = |uri: &str, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        request.body(Full::<Bytes>::default()).expect("it is whole")
    };
    let post = |body: &'static str| {
        let request = Request::post("https://localhost/echo");
        request.body(Full::<Bytes>::from(body)).expect("it is whole")
    };
    let host = "https://localhost/pid";
    let mut odd = get(host, &[]);
    *odd.method_mut() = http::Method::from_bytes(b"get").expect("a token");
    let cases = [
        ("as it should be", get(host, &[]), 200),
        ("a Host that agrees", get(host, &[("host", "LocalHost")]), 200),
        ("another Host", get(host, &[("host", "elsewhere")]), 400),
        ("two Hosts", get(host, &[("host", "localhost"), ("host", "localhost")]), 400),
        ("two Content-Types", get(host, &[("content-type", "a/b"), ("content-type", "a/b")]), 400),
        ("an expectation", get(host, &[("expect", "miracles")]), 417),
        ("a long target", get(&format!("https://localhost/{long}"), &[]), 414),
        ("a long header", get(host, &[("x", &long)]), 431),
        ("many headers", get(host, &[("x", "1"); 6]), 431),
        ("a method in lower case", odd, 400),
        ("a small body", post("0123456789"), 200),
        ("a large body", post("0123456789x"), 413),
    ];
    run(async {
        let conn = Http2::open(server.address(), Some(&client)).await.expect("accepted");
        for (name, request, status) in cases {
            let outcome = conn.sender().send_this(request).await;
            assert!(matches!(outcome, Outcome::Answered(found, _) if found == status), "{name}: {outcome:?}");
        }
        let headers = [("x_real_ip", "1"), ("x-real-ip", "2"), ("script_name", "/s")];
        let Outcome::Answered(200, body) = conn.sender().get_with("/headers", &headers).await else { panic!() };
        assert_eq!(body, "x-real-ip: \"2\"\n", "one connection through all of it");
    });
    server.wait_for_line("[WARNING] Invalid request from ip=127.0.0.1: Host header and request target differ");
}

#[test]
fn a_request_of_http2_that_takes_too_long_ends_alone() {
    let server = clear(Setup::testapp().set("request_timeout = 3\nworkers = 1").app("slow_ms = 300")).start();
    run(async {
        let conn = Http2::open(server.address(), None).await.expect("connected");
        let (mut late, mut slow, mut other) = (conn.sender(), conn.sender(), conn.sender());
        let begin = Instant::now();
        let (late, slow) =
            futures_util::future::join(late.send("POST", "/until-drain", "body"), slow.get_with("/slow", &[])).await;
        assert_eq!(late, Outcome::Answered(504, String::new()));
        assert!(begin.elapsed() >= Duration::from_millis(2900), "{:?}", begin.elapsed());
        assert!(matches!(slow, Outcome::Answered(200, _)), "{slow:?}");
        assert!(matches!(other.get_with("/stream", &[]).await, Outcome::Answered(200, _)), "the connection goes on");
    });
    server.wait_for_journal("cancel", 1);
    let line = server.wait_for_line("Request timeout: ");
    assert!(line.contains("[WARNING] Request timeout: POST /until-drain had no response after "), "{line}");
}

#[test]
fn a_reader_over_tls_who_takes_nothing_is_cut_and_a_slow_one_is_not() {
    let (ca, setup) = secure(Setup::testapp().set("write_timeout = 2\nworkers = 1"));
    let server = setup.start();
    let client = ca.client(None, &["http/1.1"]);
    let mut conn = open(&server, b"", &client).expect("accepted");
    conn.send_raw("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    server.wait_for_line("the client took nothing of its response for write_timeout");
    assert!(conn.receive(false).is_err());
    let mut slow = open(&server, b"", &client).expect("accepted");
    slow.send_raw("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    assert_eq!(slow.receive(false).map(|response| response.body.len()), Ok(16 << 20));
}

#[test]
fn a_refusal_over_tls_ends_the_session_in_order() {
    let (ca, setup) = secure(Setup::testapp());
    let server = setup.start();
    let mut conn = open(&server, b"", &ca.client(None, &["http/1.1"])).expect("accepted");
    conn.send_raw("GET / HTTP/1.1\r\nHo st: a\r\n\r\n").expect("sent");
    assert_eq!(conn.receive(false).map(|response| (response.status, response.closes())), Ok((400, true)));
    assert_eq!(conn.wait_for_close(), Ok(()), "with close_notify");
}
