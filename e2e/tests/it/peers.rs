//! Who is believed what: scheme and client from a proxy's headers, and the client by the PROXY protocol.

use crate::harness::client::{Conn, Failure};
use crate::harness::{Server, Setup};

/// What the application knows of who asks: address, peer and scheme.
fn client(server: &Server, before: &[u8], head: &str) -> Result<String, Failure> {
    let mut conn = Conn::open(server.address())?;
    conn.send_bytes(before)?;
    conn.request("GET", "/client", head, "").map(|response| response.body)
}

fn seen(address: &str, scheme: &str) -> Result<String, Failure> {
    Ok(format!("Some({address}) Some(127.0.0.1) {scheme}"))
}

const BEHIND_TLS: &str = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 198.51.100.1, 203.0.113.7, 127.0.0.1\r\n";

#[test]
fn headers_of_a_proxy_are_believed_from_forwarded_allow_ips() {
    let server = Setup::testapp().start(); // loopback is in it by default
    assert_eq!(client(&server, b"", ""), seen("127.0.0.1", "http"));
    assert_eq!(client(&server, b"", BEHIND_TLS), seen("203.0.113.7", "https"));
    assert_eq!(client(&server, b"", "X-Forwarded-Proto: http\r\n"), seen("127.0.0.1", "http"));
    assert_eq!(client(&server, b"", "X-Forwarded-For: nonsense\r\n"), seen("127.0.0.1", "http"));
    assert_eq!(client(&server, b"", "X-Scheme: https\r\n"), seen("127.0.0.1", "http"), "not in secure_scheme_headers");
    // The next request on the same connection is another matter.
    let mut conn = server.connect();
    assert!(conn.request("GET", "/client", BEHIND_TLS, "").expect("answered").body.ends_with("https"));
    assert!(conn.get("/client").expect("answered").body.ends_with("http"));
    // So are two in one packet, where the second head is here before the first request is answered.
    let two = format!("GET /client HTTP/1.1\r\nHost: a\r\n{BEHIND_TLS}\r\nGET /client HTTP/1.1\r\nHost: a\r\n\r\n");
    conn.send_raw(&two).expect("sent");
    let schemes = [conn.receive(false), conn.receive(false)].map(|response| response.expect("answered").body);
    assert!(schemes[0].ends_with("https") && schemes[1].ends_with("http"), "{schemes:?}");
}

#[test]
fn others_are_not_believed() {
    let setup = || Setup::testapp().set("forwarded_allow_ips = [\"10.0.0.0/8\"]");
    let server = setup().start();
    assert_eq!(client(&server, b"", BEHIND_TLS), seen("127.0.0.1", "http"));
    let conflict = "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n";
    assert_eq!(client(&server, b"", conflict), seen("127.0.0.1", "http"), "nor held to it");
    let server = Setup::testapp().env("FORWARDED_ALLOW_IPS", "").start();
    assert_eq!(client(&server, b"", BEHIND_TLS), seen("127.0.0.1", "http"));
    let server = Setup::testapp().env("FORWARDED_ALLOW_IPS", "*").start();
    assert_eq!(client(&server, b"", BEHIND_TLS), seen("198.51.100.1", "https"), "everybody is a proxy");
    let scheme = "forwarded_allow_ips = \"127.0.0.0/8\"\nsecure_scheme_headers = { X-Scheme = \"tls\" }";
    let server = Setup::testapp().set(scheme).start();
    assert_eq!(client(&server, b"", "X-Scheme: tls\r\nX-Forwarded-Proto: http\r\n"), seen("127.0.0.1", "https"));
}

#[test]
fn peers_on_a_unix_socket_are_believed() {
    let server = Setup::testapp().set("bind = \"unix:server.sock\"\nforwarded_allow_ips = \"\"").start();
    let path = server.dir().join("server.sock");
    let ask = |head: &str| {
        let mut conn = Conn::open(path.as_path()).expect("the server accepts");
        conn.request("GET", "/client", head, "").expect("answered").body
    };
    assert_eq!(ask(""), "None None http");
    assert_eq!(ask("X-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.7\r\n"), "Some(203.0.113.7) None https");
}

#[test]
fn headers_with_underscores() {
    let head = "X_Real_IP: 1\r\nSCRIPT_NAME: /app\r\nX-Real-IP: 2\r\n";
    let seen = |server: &Server| {
        let body = server.connect().request("GET", "/headers", head, "").expect("answered").body;
        ["x_real_ip", "script_name", "x-real-ip"].map(|name| body.contains(&format!("{name}: ")))
    };
    let strangers = "forwarded_allow_ips = \"\"";
    assert_eq!(seen(&Setup::testapp().set(strangers).start()), [false, false, true]);
    assert_eq!(seen(&Setup::testapp().start()), [false, true, true], "forwarder_headers of a believed peer");
    let set = format!("{strangers}\nheader_map = \"dangerous\"");
    assert_eq!(seen(&Setup::testapp().set(&set).start()), [true, true, true]);
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc0\0\x02\x01\x12\x67\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[test]
fn the_proxy_protocol_says_who_the_client_is() {
    let server = Setup::testapp().set("proxy_protocol = \"auto\"").start();
    for header in [V1, V2] {
        assert_eq!(client(&server, header, ""), seen("203.0.113.7", "http"));
        assert_eq!(
            client(&server, header, "X-Forwarded-Proto: https\r\n"),
            seen("203.0.113.7", "https"),
            "by the TCP peer"
        );
    }
    for header in [LOCAL, b"PROXY UNKNOWN\r\n", b""] {
        assert_eq!(client(&server, header, ""), seen("127.0.0.1", "http"));
    }
    // In pieces, with the request right behind it.
    let request = [V2, b"GET /client HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let mut conn = server.connect();
    request.chunks(1).for_each(|piece| conn.send_bytes(piece).expect("sent"));
    assert_eq!(conn.receive(false).map(|response| response.body), seen("203.0.113.7", "http"));
    assert!(conn.get("/client").expect("kept").body.contains("203.0.113.7"), "for all requests of the connection");
    conn.send_bytes(V1).expect("sent");
    assert_eq!(conn.receive(false).map(|response| response.status), Ok(400), "once a connection");
}

#[test]
fn the_proxy_protocol_where_it_is_not_wanted() {
    let status = |server: &Server, header: &[u8]| {
        let mut conn = server.connect();
        conn.send_bytes(header).and_then(|()| conn.request("GET", "/client", "", "")).map(|response| response.status)
    };
    let server = Setup::testapp().set("proxy_protocol = \"v1\"\nproxy_allow_ips = \"10.0.0.0/8\"").start();
    assert_eq!(status(&server, V1), Ok(403));
    assert_eq!(status(&server, V2), Ok(400), "version 2 is not asked for");
    assert_eq!(status(&server, b""), Ok(200), "a health check");
    server.wait_for_line("Invalid request from ip=127.0.0.1: PROXY header from a peer that is not in proxy_allow_ips");
    let server = Setup::testapp().args(&["--proxy-protocol"]).start();
    assert_eq!(status(&server, V1), Ok(200), "the flag alone means auto");
    assert_eq!(status(&server, b"PROXY TCP4 1.2.3.4\r\n"), Ok(400));
    server.wait_for_line("Invalid request from ip=127.0.0.1: invalid PROXY header");
}

#[test]
fn the_time_for_a_proxy_header_is_limited() {
    let server = Setup::testapp().set("proxy_protocol = \"v1\"\nheader_timeout = 0.5").start();
    let mut conn = server.connect();
    conn.send_raw("PROXY TC").expect("sent");
    assert_eq!(conn.wait_for_close(), Ok(()));
}
