//! Each way to fail has its kind, and none costs the count.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use rustcorn_loadtester::stats::ErrorKind;
use rustcorn_loadtester::{Interval, Scenario};

use crate::run_to_the_end;
use crate::server::Server;

/// Six requests by two users.
fn six(url: &str, change: impl FnOnce(&mut Scenario)) -> Interval {
    let mut scenario = Scenario::from_url(url).unwrap();
    (scenario.load.users, scenario.load.requests) = (2, Some(6));
    change(&mut scenario);
    run_to_the_end(scenario)
}

/// All six have this kind.
fn fails(interval: &Interval, kind: ErrorKind) {
    let kinds: Vec<(ErrorKind, u64)> =
        interval.failures.iter().map(|failure| (failure.kind, failure.occurrences)).collect();
    assert_eq!(kinds, [(kind, 6)], "{:?}", interval.failures);
    assert_eq!((interval.tasks[0].requests, interval.tasks[0].failures), (6, 6));
}

#[test]
fn what_the_server_does_wrong() {
    for (path, kind) in [
        ("/status/503", ErrorKind::Status),
        ("/half", ErrorKind::Incomplete),
        ("/hangup", ErrorKind::Incomplete),
        ("/garbage", ErrorKind::Protocol),
    ] {
        let server = Server::start();
        let interval = six(&server.url(path), |_| {});
        fails(&interval, kind);
        assert_eq!(server.requests(), 6, "{path}");
        let timed = interval.tasks[0].service.len();
        assert_eq!(
            timed,
            if kind == ErrorKind::Protocol || path == "/hangup" { 0 } else { 6 },
            "{path}: an answer has a time"
        );
    }
}

#[test]
fn a_reset_is_one() {
    // A listener that closes with the request unread.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.peek(&mut [0]); // wait for it to be there
        }
    });
    fails(&six(&format!("http://127.0.0.1:{port}/"), |_| {}), ErrorKind::Reset);
}

#[test]
fn a_timeout_ends_a_request_and_has_its_time() {
    let server = Server::start();
    let interval = six(&server.url("/never"), |scenario| scenario.tasks[0].timeout = Duration::from_millis(100));
    fails(&interval, ErrorKind::Timeout);
    assert_eq!(interval.tasks[0].service.len(), 6);
    assert!(interval.tasks[0].min.unwrap() >= Duration::from_millis(100));
    assert_eq!(server.books.connections.load(SeqCst), 6, "a connection with an answer outstanding is not used again");
}

#[test]
fn nobody_there() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let interval = six(&format!("http://127.0.0.1:{port}/"), |_| {});
    fails(&interval, ErrorKind::Refused);
    assert_eq!((interval.tasks[0].untimed, interval.connections.opened), (6, 0));
    // A label has 63 characters at most, so no resolver has to be asked.
    let interval = six(&format!("http://{}.invalid/", "n".repeat(64)), |_| {});
    fails(&interval, ErrorKind::Dns);
}

#[test]
fn a_full_backlog_is_a_connect_timeout() {
    // One that never accepts, with room for two, which are taken.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let held: Vec<_> =
        (0..8).map_while(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()).collect();
    assert!(!held.is_empty() && held.len() < 8);
    let interval = six(&format!("http://{address}/"), |scenario| {
        scenario.client.connect_timeout = Duration::from_millis(100);
    });
    fails(&interval, ErrorKind::ConnectTimeout);
    assert_eq!(interval.tasks[0].service.len(), 6, "who waits for a connection waits");
}

#[test]
fn framings_that_are_no_errors() {
    // Where connections are kept, each user has one; a quick user may spend all requests before another one has come.
    for (path, connections) in [("/chunked", 1..=2), ("/close", 6..=6), ("/status/204", 1..=2), ("/status/302", 1..=2)]
    {
        let server = Server::start();
        let interval = six(&server.url(path), |_| {});
        assert!(interval.failures.is_empty(), "{path}: {:?}", interval.failures);
        assert_eq!(interval.requests(), 6, "{path}");
        assert!(connections.contains(&interval.connections.opened), "{path}: {}", interval.connections.opened);
    }
}
