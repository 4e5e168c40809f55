//! Connections that last: HTTP/2, websockets, old ones; and what becomes of all of them while workers are replaced.

use std::net::TcpStream;

use tokio_tungstenite::tungstenite::{Error, Message, client};

use crate::harness::http2::{Http2, Outcome, Sender, run};
use crate::harness::mix::{Mix, Target, Tls};
use crate::harness::tls::Ca;
use crate::harness::{PATIENCE, Server, Setup, Sig, Sink, eventually, full, proc};
use crate::receiver::{Health, Receiver};

fn answered(body: &str) -> Outcome {
    Outcome::Answered(200, body.to_owned())
}

#[test]
fn http2_without_tls_is_understood_where_it_is_asked_for() {
    let server = Setup::testapp().start();
    run(async {
        let mut conn = Http2::open(server.address(), None).await.expect("connected");
        assert!(!matches!(conn.get("/tls").await, Outcome::Answered(..)), "off unless it is turned on");
    });
    let server = Setup::testapp().set("http2_cleartext = \"prior-knowledge\"").start();
    run(async {
        let mut conn = Http2::open(server.address(), None).await.expect("connected");
        assert_eq!(conn.get("/tls").await, answered("HTTP/2.0 without"));
        let body = "x".repeat(300_000);
        assert_eq!(conn.sender().send("POST", "/echo", &body).await, answered(&body));
    });
    assert_eq!(server.get("/tls").expect("answered").body, "HTTP/1.1 without", "on the same address");
}

#[test]
fn an_http2_connection_moves_to_the_new_workers_and_requests_under_way_are_finished() {
    let setup = Setup::testapp().set("workers = 1\nhttp2_cleartext = \"prior-knowledge\"").app("slow_ms = 700");
    let server = setup.start();
    let old = server.settled(1).first().expect("one").to_string();
    run(async {
        let mut conn = Http2::open(server.address(), None).await.expect("connected");
        assert_eq!(conn.get("/pid").await, answered(&old));
        let (mut slow, mut poll) = (conn.sender(), conn.sender());
        let reload = async {
            while server.journal("start").len() < 2 {
                tokio::task::yield_now().await; // to the connection, which sends both
            }
            server.reload();
        };
        let (slow, poll, ()) =
            futures_util::future::join3(slow.send("GET", "/slow", ""), poll.send("GET", "/until-drain", ""), reload)
                .await;
        assert_eq!((slow, poll), (answered(&old), answered("draining")));
        conn.ended().await.expect("in order");
        let mut conn = Http2::open(server.address(), None).await.expect("connected");
        assert!(matches!(conn.get("/pid").await, Outcome::Answered(200, pid) if pid != old));
    });
}

#[test]
fn a_websocket_is_told_of_the_drain_and_comes_back_to_a_new_worker() {
    let server = Setup::testapp().set("workers = 1").start();
    let old = server.settled(1);
    let open = || {
        let stream = TcpStream::connect(server.address()).expect("accepted");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        client("ws://localhost/websocket", stream).expect("upgraded").0
    };
    let mut socket = open();
    let mut echo = |text: &str| socket.send(Message::text(text)).and_then(|()| socket.read());
    assert_eq!(echo("before").expect("heard").to_text().expect("text"), "before");
    server.reload();
    let goodbye = socket.read().expect("the application says goodbye");
    assert!(matches!(&goodbye, Message::Close(Some(frame)) if frame.reason.as_str() == "draining"), "{goodbye:?}");
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    eventually("the old worker has left", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
    let mut socket = open();
    socket.send(Message::text("after")).expect("sent");
    assert_eq!(socket.read().expect("heard").to_text().expect("text"), "after");
}

#[test]
fn a_websocket_that_stays_is_cut_at_graceful_timeout() {
    let server = Setup::testapp().set("workers = 1\ngraceful_timeout = 1").start();
    let old = server.settled(1);
    let stream = TcpStream::connect(server.address()).expect("accepted");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    let (mut socket, _) = client("ws://localhost/websocket", stream).expect("upgraded");
    socket.send(Message::text("x")).expect("sent");
    assert!(socket.read().is_ok());
    server.reload();
    // The goodbye is not read, so not answered.
    server.wait_for_line("Graceful timeout: 1 connections (0 in flight) were cut");
    eventually("the old worker has left", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
}

#[test]
fn an_old_connection_ends_with_its_next_response() {
    let server = Setup::hello().set("max_connection_age = 2").start();
    let mut conn = server.connect();
    let mut requests = 0;
    eventually("the response that says so", PATIENCE, || {
        requests += 1;
        conn.get("/").expect("answered").closes().then_some(())
    });
    assert!(requests > 1, "{requests}");
    conn.wait_for_close().expect("in order");

    let mut idle = server.connect();
    assert!(!idle.get("/").expect("answered").closes());
    crate::harness::never("an idle one is left alone", std::time::Duration::from_secs(3), || false);
    assert!(idle.get("/").expect("answered").closes());
}

#[test]
fn an_old_http2_connection_ends_in_order() {
    let setup = Setup::testapp().set("max_connection_age = 2\nhttp2_cleartext = \"prior-knowledge\"");
    let server = setup.start();
    run(async {
        let mut conn = Http2::open(server.address(), None).await.expect("connected");
        let mut requests = 0;
        while conn.get("/pid").await != Outcome::NotSent {
            requests += 1;
        }
        assert!(requests > 1, "{requests}");
        conn.ended().await.expect("in order");
    });
}

#[test]
fn http2_on_many_threads_is_counted_like_everything_else() {
    let sink = Sink::start();
    let ca = Ca::new();
    let statsd = format!("statsd_host = \"{}\"\nstatsd_interval = 0.05", sink.address);
    let server = Setup::hello().tls(&ca.issue()).set(&format!("threads = 4\n{statsd}")).start();
    let client = ca.client(None, &["h2"]);
    let asked = run(async {
        let mut asked = 0;
        for _ in 0..4 {
            let conn = Http2::open(server.address(), Some(&client)).await.expect("connected");
            let user = |mut sender: Sender| async move {
                for _ in 0..250 {
                    assert_eq!(sender.send("GET", "/", "").await, answered("Hello World!"));
                }
                250
            };
            let (a, b, c) =
                futures_util::future::join3(user(conn.sender()), user(conn.sender()), user(conn.sender())).await;
            asked += a + b + c;
        }
        asked
    });
    let sums = sink.wait(PATIENCE, |sums| sums.counter("gunicorn.requests") >= asked);
    assert_eq!((sums.counter("gunicorn.requests"), sums.counter("gunicorn.request.status.200")), (asked, asked));
}

#[test]
fn spans_tell_the_version_and_the_scheme() {
    let (receiver, ca) = (Receiver::start(Health::Well), Ca::new());
    let server = Setup::hello().tls(&ca.issue()).set(&format!("otlp_endpoint = \"{}\"", receiver.url()));
    let server = server.env("OTEL_BSP_SCHEDULE_DELAY", "50").start();
    run(async {
        let client = ca.client(None, &["h2"]);
        let mut conn = Http2::open(server.address(), Some(&client)).await.expect("connected");
        assert_eq!(conn.get("/").await, answered("Hello World!"));
    });
    receiver.wait_until("the span", |received| {
        let spans = received.spans.iter().map(|(_, span)| &span.attributes);
        let of = |key| move |attributes: &Vec<_>| crate::receiver::text(attributes, key);
        let facts: Vec<_> = spans
            .map(|all| ["network.protocol.version", "url.scheme", "server.address"].map(|key| of(key)(all)))
            .collect();
        facts == [["2", "https", "localhost"].map(|value| Some(value.to_owned()))]
    });
}

/// Reloads under load of every kind; no exchange fails.
fn mixed(server: &Server, tls: Option<Tls>) {
    let mix = Mix::start(&Target { address: server.address(), tls }, if full() { 3 } else { 1 });
    for _ in 0..if full() { 100 } else { 8 } {
        let (workers, seen) = (server.settled(2), mix.done());
        assert!(server.reload().contains("Reloaded"));
        eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&workers).then_some(()));
        eventually("everybody goes on", PATIENCE, || mix.moves_from(&seen).then_some(()));
    }
    let (done, failures) = mix.stop();
    println!("{done:?}");
    assert_eq!(failures, [""; 0], "{done:?}");
    assert_eq!(server.log.count("were cut") + server.log.count("did not leave"), 0);
}

#[test]
fn reloads_under_mixed_load_fail_nothing() {
    let server = Setup::testapp().without("journal").set("http2_cleartext = \"prior-knowledge\"").start();
    mixed(&server, None);
}

#[test]
fn reloads_under_mixed_load_over_tls_fail_nothing() {
    let ca = Ca::new();
    let server = Setup::testapp().without("journal").tls(&ca.issue()).start();
    mixed(&server, Some(Tls { http1: ca.client(None, &["http/1.1"]), http2: ca.client(None, &["h2"]) }));
}

#[test]
fn a_stop_under_mixed_load_ends_what_it_began() {
    let ca = Ca::new();
    let mut server = Setup::testapp().without("journal").tls(&ca.issue()).start();
    let workers = server.settled(2);
    let tls = Tls { http1: ca.client(None, &["http/1.1"]), http2: ca.client(None, &["h2"]) };
    let mix = Mix::start(&Target { address: server.address(), tls: Some(tls) }, 1);
    let seen = vec![0; mix.done().len()];
    eventually("everybody is at work", PATIENCE, || mix.moves_from(&seen).then_some(()));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let (_, failures) = mix.stop();
    // Each client goes on until nobody accepts any more; nothing else may happen to it.
    let refused = |failure: &&String| {
        failure.contains("connecting: ") && (failure.contains("Refused") || failure.contains("refused"))
    };
    let others: Vec<_> = failures.iter().filter(|failure| !refused(failure)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(workers.iter().all(|pid| !proc::lives(*pid)));
    assert_eq!(server.log.count("were cut"), 0);
}
