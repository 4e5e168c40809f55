use std::time::Duration;

use http::{Method, Request, StatusCode};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};
use rustcorn_sys::log::{Value, json};

use super::*;
use crate::client::Client;

fn span(trace: u128, sampled: bool) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(sampled);
    SpanContext::new(TraceId::from(trace), SpanId::from(7), flags, true, TraceState::NONE)
}

fn object(fields: Vec<Field>) -> Value {
    fields.into_iter().map(|(name, value)| (name.into_owned(), value)).collect()
}

#[test]
fn a_trace_has_the_names_that_google_reads() {
    let expected = json!({
        "logging.googleapis.com/trace": "projects/shop-1/traces/000000000000000000000000000000ab",
        "logging.googleapis.com/spanId": "0000000000000007",
        "logging.googleapis.com/trace_sampled": true,
    });
    assert_eq!(object(fields_in(Some("shop-1"), &span(0xab, true))), expected);
    let bare = object(fields_in(None, &span(0xab, false)));
    assert_eq!(bare["logging.googleapis.com/trace"], "000000000000000000000000000000ab");
    assert_eq!(bare["logging.googleapis.com/trace_sampled"], false);
    assert_eq!(fields_in(None, &span(0, true)), [], "no trace");
}

fn http_request(request: &Request<()>, took: Duration) -> Value {
    let peer = Peer::new("[::ffff:10.0.0.1]:99".parse().unwrap());
    let (name, value) = Seen::of(request).field(Some(&peer), Some(StatusCode::INTERNAL_SERVER_ERROR), took);
    assert_eq!(name, "httpRequest");
    value
}

#[test]
fn a_request_has_googles_names_and_formats() {
    let request = Request::post("/pay?id=7&sig=secret")
        .header("host", "example.com:81")
        .header("user-agent", "curl/8 \"quoted\"")
        .body(())
        .unwrap();
    let expected = json!({
        "requestMethod": "POST", "requestUrl": "http://example.com:81/pay?id=7&sig=REDACTED", "status": 500,
        "userAgent": "curl/8 \"quoted\"", "remoteIp": "10.0.0.1", "protocol": "HTTP/1.1", "latency": "0.123000s",
    });
    assert_eq!(http_request(&request, Duration::from_millis(123)), expected);
}

#[test]
fn the_client_is_whom_a_believed_proxy_speaks_of() {
    let mut request = Request::get("/").header("host", "example.com").body(()).unwrap();
    let client = Client { address: Some("203.0.113.7".parse().unwrap()), peer: None, secure: true };
    request.extensions_mut().insert(client);
    let value = http_request(&request, Duration::ZERO);
    assert_eq!((&value["remoteIp"], &value["requestUrl"]), (&"203.0.113.7".into(), &"https://example.com/".into()));
}

#[test]
fn what_is_not_known_is_left_out() {
    let request = Request::get("/").header("user-agent", &b"\xff\xfe"[..]).body(()).unwrap();
    let value = http_request(&request, Duration::ZERO);
    assert_eq!((&value["requestUrl"], value.get("userAgent")), (&"/".into(), None));
    let (_, value) = Seen::of(&request).field(None, None, Duration::ZERO);
    assert!(value.get("remoteIp").is_none() && value.get("status").is_none());
    assert_eq!(request::sender(None, None), None);
    let refused = request::sender(None, Some(StatusCode::BAD_REQUEST)).unwrap();
    assert_eq!(refused, ("httpRequest".into(), json!({"status": 400})));
}

#[test]
fn addresses_of_all_forms_and_lengths() {
    let absolute = Request::get("http://other.example/a").header("host", "example.com").body(()).unwrap();
    assert_eq!(http_request(&absolute, Duration::ZERO)["requestUrl"], "http://other.example/a");
    let connect = Request::builder().method(Method::CONNECT).uri("example.com:443").body(()).unwrap();
    assert_eq!(http_request(&connect, Duration::ZERO)["requestUrl"], "http://example.com:443");
    let agent = "a".repeat(5000);
    let long = Request::get(format!("/{}", "é".repeat(4000))).header("user-agent", agent).body(()).unwrap();
    let value = http_request(&long, Duration::ZERO);
    assert!(value["requestUrl"].as_str().unwrap().len() <= 2048);
    assert_eq!(value["userAgent"].as_str().unwrap().len(), 512);
}
