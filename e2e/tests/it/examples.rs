//! The examples: each does what it is there to show.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::client::Response;
use crate::harness::{PATIENCE, Server, Setup, Sig, eventually};
use crate::receiver::{Health, Receiver, text};

fn post(server: &Server, path: &str) -> Response {
    server.connect().request("POST", path, "", "").expect("answered")
}

#[test]
fn state_loses_no_visit_in_reloads_and_in_a_stop() {
    let mut server = Setup::example("state", "database = \"visits\"\n").start();
    let names: BTreeSet<String> = (0..60).map(|number| format!("visitor-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        assert_eq!(post(&server, &format!("/visits/{name}")).status, 202);
        if number % 20 == 10 {
            server.reload();
        }
    }
    eventually("visits are listed", PATIENCE, || {
        let list = server.get("/visits").expect("answered");
        (list.status == 200 && list.body.lines().count() >= 10).then_some(())
    });
    assert_eq!(post(&server, "/visits/the-last").status, 202);
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let written = std::fs::read_to_string(server.dir().join("visits")).expect("it was written");
    let written: Vec<String> = written.lines().map(str::to_owned).collect();
    assert_eq!(written.len(), names.len() + 1, "none twice");
    assert!(written.iter().all(|name| names.contains(name) || name == "the-last"), "{written:?}");
}

#[test]
fn state_without_its_database_does_not_load() {
    let setup = Setup::example("state", "database = \"nowhere/visits\"\n");
    let expected = ["App failed to load", "no database nowhere/visits", "exited with code 4", "Shutting down"];
    let mut server = expected.iter().fold(setup, |setup, line| setup.expect(line)).launch();
    assert_eq!(server.wait_for_exit(PATIENCE), 4);
}

#[test]
fn grpc_answers_by_grpc_web() {
    let server = Setup::example("grpc", "greeting = \"Hello\"\n").start();
    let call = |method: &str, message: &str| {
        let frame = format!("\0\0\0\0{}{message}", char::from(u8::try_from(message.len()).expect("short")));
        let head = "Content-Type: application/grpc-web+proto\r\n";
        server.connect().request("POST", &format!("/hello.Greeter/{method}"), head, &frame).expect("answered")
    };
    let reply = call("SayHello", "\n\u{5}world");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/grpc-web+proto")));
    assert!(reply.body.contains("\n\u{c}Hello, world"), "{:?}", reply.body);
    assert!(reply.body.contains("grpc-status:0"), "{:?}", reply.body);
    let refused = call("SayHello", "");
    assert_eq!(refused.header("grpc-status"), Some("3"), "{refused:?}");
    assert_eq!(call("SayGoodbye", "").header("grpc-status"), Some("12"));
}

#[test]
fn not_send_counts_by_worker() {
    let server = Setup::example("not-send", "").set("workers = 1").start();
    let mut conn = server.connect();
    for count in 1..4 {
        assert_eq!(conn.get("/here").expect("answered").body, format!("/here: {count}\n"));
    }
    assert_eq!(server.get("/there").expect("answered").body, "/there: 1\n");
}

/// Sends a request and returns the stream after the head of the answer, with what was read beyond it.
fn begin(server: &Server, request: &str) -> (String, TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return (String::from_utf8(bytes).expect("text"), stream, rest);
        }
        read_more(&mut stream, &mut bytes);
    }
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) {
    let mut more = [0; 1024];
    let length = stream.read(&mut more).expect("in time");
    assert!(length > 0, "ended after {:?}", String::from_utf8_lossy(bytes));
    bytes.extend_from_slice(&more[..length]);
}

#[test]
fn streams_sends_events_until_the_worker_leaves_and_says_that_it_does() {
    let server = Setup::example("streams", "").set("workers = 1").start();
    let old = server.settled(1);
    let (head, mut stream, mut bytes) =
        begin(&server, "GET /events HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
    while !String::from_utf8_lossy(&bytes).contains("data: 2\n") {
        read_more(&mut stream, &mut bytes);
    }
    server.reload();
    stream.read_to_end(&mut bytes).expect("it ends in order, long before graceful_timeout");
    let events = String::from_utf8(bytes).expect("text");
    assert!(events.contains("event: end\nretry: 0\n") && events.ends_with("0\r\n\r\n"), "{events}");
    eventually("the old worker has left", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
}

#[test]
fn streams_echoes_by_websocket_and_takes_its_leave() {
    let server = Setup::example("streams", "").set("workers = 1").start();
    let old = server.settled(1);
    let (head, mut stream, mut bytes) = begin(
        &server,
        "GET /echo HTTP/1.1\r\nHost: e2e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    // RFC 6455, 1.3.
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    let mut frame = |stream: &mut TcpStream| {
        while bytes.len() < 2 || bytes.len() < 2 + usize::from(bytes[1]) {
            read_more(stream, &mut bytes);
        }
        let rest = bytes.split_off(2 + usize::from(bytes[1]));
        std::mem::replace(&mut bytes, rest)
    };
    stream.write_all(b"\x81\x82\0\0\0\0Hi").expect("sent"); // masked, with zeros
    assert_eq!(frame(&mut stream), b"\x81\x02Hi");
    server.reload();
    let farewell = frame(&mut stream);
    assert_eq!((&farewell[..1], &farewell[2..4]), (&b"\x88"[..], &1001_u16.to_be_bytes()[..]), "going away");
    stream.write_all(b"\x88\x82\0\0\0\0\x03\xe9").expect("sent");
    eventually("the old worker has left", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
}

#[test]
fn telemetry_has_spans_below_the_requests_and_a_metric_of_its_own() {
    let collector = Receiver::start(Health::Well);
    let settings = format!("workers = 1\notlp_endpoint = \"{}\"\nresource_detection = \"\"", collector.url());
    let setup = Setup::example("telemetry", "").set(&settings).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let mut server = setup.env("OTEL_METRIC_EXPORT_INTERVAL", "100").start();
    assert_eq!(post(&server, "/orders/7").body, "order 7: 7.99 EUR\n");
    assert_eq!(post(&server, "/orders/13").status, 402);
    server.wait_for_line("cannot charge: no credit");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    collector.wait_until("all spans and the metric", |received| {
        received.spans.len() == 6 && received.metric("shop.order.value").is_some()
    });
    let received = collector.received();
    let requests: Vec<_> = received.spans.iter().filter(|(_, span)| span.name == "POST /orders/{id}").collect();
    assert_eq!(requests.len(), 2);
    for (_, request) in requests {
        assert_eq!(text(&request.attributes, "http.route").as_deref(), Some("/orders/{id}"));
        let children = received.spans.iter().filter(|(_, span)| span.parent_span_id == request.span_id);
        let names: BTreeSet<&str> = children.map(|(_, span)| span.name.as_str()).collect();
        assert_eq!(names, ["charge the customer", "look up the price"].into());
    }
}
