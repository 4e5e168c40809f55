//! What users carry from request to request, and what is sent.

use rustcorn_loadtester::Scenario;
use std::sync::atomic::Ordering::SeqCst;

use crate::run_to_the_end;
use crate::server::Server;

fn scenario(server: &Server, text: &str) -> Scenario {
    Scenario::from_text("t", &format!("host = {:?}\n{text}", server.url(""))).unwrap()
}

#[test]
fn cookies_and_saved_values_come_back() {
    let server = Server::start();
    let text = r#"
users = 3
requests = 30
[[task]]
path = "/login"
at_start = true
save = { token = "json:/user/token", key = "header:x-key" }
[[task]]
path = "/private/{{key}}"
headers = { authorization = "{{token}}" }
"#;
    let interval = run_to_the_end(scenario(&server, text));
    assert!(interval.failures.is_empty(), "{:?}", interval.failures);
    // Not always 3: quick users may spend all requests before another one has come.
    let users = server.books.connections.load(SeqCst) as u64;
    assert!((1..=3).contains(&users), "{users}");
    assert_eq!((interval.tasks[0].requests, interval.tasks[1].requests), (users, 30 - users));
}

#[test]
fn without_cookies_the_door_stays_closed() {
    let server = Server::start();
    let text = "users = 1\nrequests = 2\ncookies = false\n[[task]]\npath = \"/login\"\nat_start = true\n[[task]]\npath = \"/private/k1\"\n";
    let interval = run_to_the_end(scenario(&server, text));
    assert_eq!(interval.failures[0].message, "status 401");
}

#[test]
fn requests_are_what_the_scenario_says() {
    let server = Server::start();
    let text = r#"
users = 1
requests = 2
order = "sequence"
traceparent = 1.0
[variables]
city = ["Bern"]
[[task]]
method = "POST"
path = "/echo?c={{city}}"
headers = { x-city = "{{city}}" }
body = "in {{city}}"
[[task]]
method = "PUT"
path = "/echo"
"#;
    let interval = run_to_the_end(scenario(&server, text));
    assert!(interval.failures.is_empty(), "{:?}", interval.failures);
    let heads = server.books.heads.lock().unwrap().clone();
    let host = format!("127.0.0.1:{}", server.port);
    assert!(
        heads[0]
            .starts_with(&format!("POST /echo?c=Bern HTTP/1.1\r\nhost: {host}\r\nx-city: Bern\r\ntraceparent: 00-")),
        "{heads:?}"
    );
    assert!(heads[0].contains("-01\r\ncontent-length: 7\r\n"), "{heads:?}");
    assert!(heads[1].starts_with(&format!("PUT /echo HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n")), "{heads:?}");
    assert_eq!(interval.slowest.len(), 2);
    assert!(heads.iter().any(|head| head.contains(&interval.slowest[0].trace_id)));
}

#[test]
fn without_keepalive_each_request_has_its_connection() {
    let server = Server::start();
    let interval =
        run_to_the_end(scenario(&server, "users = 2\nrequests = 10\nkeepalive = false\n[[task]]\npath = \"/\"\n"));
    assert!(interval.failures.is_empty(), "{:?}", interval.failures);
    assert_eq!((interval.connections.opened, server.requests(), server.books.connections.load(SeqCst)), (10, 10, 10));
}

#[test]
fn weights_decide() {
    let server = Server::start();
    let text = "users = 2\nrequests = 2000\n[[task]]\npath = \"/a\"\nweight = 9\n[[task]]\npath = \"/b\"\n";
    let interval = run_to_the_end(scenario(&server, text));
    // 200 are expected, with a standard deviation of 13.4.
    assert!((120..280).contains(&interval.tasks[1].requests), "{}", interval.tasks[1].requests);
}
