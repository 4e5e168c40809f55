//! Requests of HTTP/2, each with one thing that is as it should be or is not.

use rustcorn_config::{HeaderMap as Underscores, Settings};

use super::*;

/// With a body or without.
fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: bool) -> Request<bool> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = uri.parse().unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request
}

fn judge(settings: &Settings, mut request: Request<bool>, trusted: bool) -> Result<(Request<bool>, Marks), Reason> {
    Rules::new(settings).judge(&mut request, trusted).map(|marks| (request, marks))
}

#[track_caller]
fn is_refused(settings: &Settings, request: Request<bool>, reason: Reason) {
    assert_eq!(judge(settings, request, false).map(drop), Err(reason));
}

#[track_caller]
fn passes(settings: &Settings, request: Request<bool>) {
    assert_eq!(judge(settings, request, false).map(drop), Ok(()));
}

const A: &str = "http://a/";

#[test]
fn methods_and_targets() {
    let settings = Settings::defaults();
    for (method, uri) in [("GET", A), ("OPTIONS", "*"), ("CONNECT", "a:1"), ("PROPFIND", "https://[::1]:8/x%20?a=/?")] {
        let host: &[(&str, &str)] = if uri == "*" { &[("host", "a")] } else { &[] };
        passes(&settings, request(method, uri, host, false));
    }
    for (method, uri, reason) in [
        ("get", A, Reason::Method),
        ("GET", "*", Reason::Asterisk),
        ("CONNECT", "a", Reason::ConnectTarget),
        ("GET", "http://u@a/", Reason::TargetAuthority),
        ("GET", "a:1", Reason::Target),
    ] {
        is_refused(&settings, request(method, uri, &[], false), reason);
    }
    let mut settings = Settings::defaults();
    settings.casefold_http_method = true;
    let (folded, _) = judge(&settings, request("get", A, &[], false), false).unwrap();
    assert_eq!(folded.method(), Method::GET);
    let mut settings = Settings::defaults();
    settings.permit_unconventional_http_method = true;
    passes(&settings, request("get", A, &[], false));
}

#[test]
fn one_host() {
    let settings = Settings::defaults();
    for (uri, hosts) in [(A, &["a"][..]), (A, &["A"]), ("/", &["a:80"]), (A, &[])] {
        let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        passes(&settings, request("GET", uri, &hosts, false));
    }
    for (uri, hosts, reason) in [
        ("/", &[][..], Reason::NoHost),
        ("/", &[""], Reason::Host),
        ("/", &["a/b"], Reason::Host),
        (A, &["a b"], Reason::Host),
        (A, &["b"], Reason::HostDiffers),
        (A, &["a", "a"], Reason::TwoHosts),
    ] {
        let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        is_refused(&settings, request("GET", uri, &hosts, false), reason);
    }
}

#[test]
fn sizes() {
    let mut settings = Settings::defaults();
    (settings.limit_request_line, settings.limit_request_fields) = (20, 2);
    (settings.limit_request_field_size, settings.limit_request_head) = (12, 8192);
    let with = |path: &str, headers: &[(&str, &str)]| request("GET", &format!("http://a{path}"), headers, false);
    passes(&settings, with("/345678", &[("x", "1234567"), ("y", "")])); // "GET /345678 HTTP/1.1", "x: 1234567"
    is_refused(&settings, with("/3456789", &[]), Reason::LineTooLong);
    is_refused(&settings, with("/", &[("x", "12345678")]), Reason::FieldTooLarge);
    is_refused(&settings, with("/", &[("x", ""), ("x", ""), ("y", "")]), Reason::TooManyFields);
    (settings.limit_request_fields, settings.limit_request_field_size) = (0, 0);
    let (half, rest) = ("x".repeat(4096), "x".repeat(4096 - "GET / HTTP/1.1\r\na: \r\nb: \r\n\r\n".len()));
    passes(&settings, with("/", &[("a", &half), ("b", &rest)]));
    is_refused(&settings, with("/", &[("aa", &half), ("b", &rest)]), Reason::HeadTooLarge);
}

#[test]
fn headers_that_there_may_be_one_of_or_none() {
    let settings = Settings::defaults();
    let with = |headers: &[(&str, &str)]| request("POST", A, headers, true);
    passes(&settings, with(&[("content-type", "a/b"), ("content-length", "1"), ("expect", "100-Continue")]));
    is_refused(&settings, with(&[("content-type", "a/b"), ("content-type", "a/b")]), Reason::TwoContentTypes);
    is_refused(&settings, with(&[("content-length", "1"), ("content-length", "1")]), Reason::TwoLengths);
    is_refused(&settings, with(&[("content-length", "+1")]), Reason::Length);
    is_refused(&settings, with(&[("expect", "200-ok")]), Reason::Expectation);
}

#[test]
fn a_body_that_says_its_size_is_held_to_the_limit() {
    let mut settings = Settings::defaults();
    passes(&settings, request("POST", A, &[], true));
    settings.max_body_size = 10;
    passes(&settings, request("POST", A, &[("content-length", "10")], true));
    passes(&settings, request("POST", A, &[], false));
    passes(&settings, request("CONNECT", "a:1", &[], true));
    is_refused(&settings, request("POST", A, &[("content-length", "11")], true), Reason::BodyTooLarge);
    passes(&settings, request("POST", A, &[], true)); // measured on its way
}

#[test]
fn underscores() {
    let headers = [("x_a", "1"), ("x-a", "2"), ("x_a", "3"), ("script_name", "/s")];
    let names = |settings: &Settings, trusted| {
        let (request, _) = judge(settings, request("GET", A, &headers, false), trusted)?;
        let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        Ok(names.join(" "))
    };
    let mut settings = Settings::defaults();
    assert_eq!(names(&settings, false).as_deref(), Ok("x-a"));
    assert_eq!(names(&settings, true).as_deref(), Ok("script_name x-a"));
    settings.header_map = Underscores::Dangerous;
    assert_eq!(names(&settings, false).as_deref(), Ok("script_name x-a x_a"));
    settings.header_map = Underscores::Refuse;
    assert_eq!(names(&settings, true), Err(Reason::Underscore));
}

#[test]
fn what_a_believed_peer_says() {
    let settings = Settings::defaults();
    let marks = |headers: &[(&str, &str)], trusted| {
        judge(&settings, request("GET", A, headers, false), trusted).map(|(_, marks)| marks)
    };
    let headers = [("x-forwarded-proto", "https"), ("x-forwarded-for", "1.2.3.4")];
    assert_eq!(marks(&headers, false), Ok(Marks::default()));
    assert_eq!(marks(&headers, true), Ok(Marks { https: Some(true), forwarded_for: true }));
    let contradicts = [("x-forwarded-proto", "https"), ("x-forwarded-ssl", "off")];
    assert_eq!(marks(&contradicts, true), Err(Reason::SchemeConflict));
}
