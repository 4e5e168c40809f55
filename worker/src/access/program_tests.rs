//! Lines as they are written, and that nobody can write them but us.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request, StatusCode};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use rustcorn_config::{AccessFormat, DEFAULT_ACCESS_FORMAT};
use rustcorn_sys::Monotonic;
use rustcorn_sys::log::{PIPE_BUF, Value};

use super::super::asked::Asked;
use super::super::clock::Clock;
use super::super::escape::Style;
use super::*;
use crate::client::Client;
use crate::registry::Registered;
use crate::testing::seat;

const OUTCOME: Outcome = Outcome { status: Some(StatusCode::OK), bytes: 12, took: Duration::from_micros(2_345_678) };

fn connection() -> (rustcorn_scoreboard::Board, Registered) {
    let (board, shared) = seat(Duration::from_secs(1), Duration::from_secs(1));
    let connection = shared.registry.add(&shared, Some("127.0.0.1:5000".parse().unwrap()));
    (board, connection)
}

fn of(format: &str, style: Style) -> Program {
    Program::new(&AccessFormat::read(format).unwrap(), style)
}

fn finished(program: &Program, line: &Line, outcome: &Outcome) -> String {
    let (mut clock, mut out) = (Clock::default(), Vec::new());
    clock.turn_to(Monotonic::now());
    program.finish(line, outcome, &clock, &mut out);
    let text = String::from_utf8(out).expect("ASCII");
    assert!(text.len() <= PIPE_BUF && text.is_ascii(), "{} bytes: {text}", text.len());
    let line = text.strip_suffix('\n').expect("a line ends").to_owned();
    assert!(!line.contains(|c: char| c.is_control() && c != '\t'), "{line:?}");
    line
}

fn line(format: &str, request: &Request<()>) -> String {
    line_as(format, request, Style::Text)
}

fn line_as(format: &str, request: &Request<()>, style: Style) -> String {
    let (program, (_board, connection)) = (of(format, style), connection());
    let mut line = program.begin(&Asked::of(request, &connection.0, None));
    if program.wants_response() {
        let headers = [(HeaderName::from_static("x-answer"), HeaderValue::from_static("a \"b\""))];
        program.answered(&mut line, &HeaderMap::from_iter(headers));
    }
    finished(&program, &line, &OUTCOME)
}

fn request(target: &str, headers: &[(&str, &[u8])]) -> Request<()> {
    let mut request = Request::get(target).body(()).unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
    }
    let client = Client { address: Some("10.1.2.3".parse().unwrap()), peer: None, secure: true };
    request.extensions_mut().insert(client);
    request
}

#[test]
fn each_atom() {
    let both = BASE64_STANDARD.encode("jo:secret");
    let request = request(
        "/a%20b?q=1&sig=s3cret",
        &[
            ("authorization", format!("Basic {both}").as_bytes()),
            ("referer", b"https://other/?sig=s3cret"),
            ("user-agent", b"curl/8"),
            ("x-id", b"first"),
            ("x-id", b"last"),
        ],
    );
    let pid = std::process::id();
    for (format, expected) in [
        ("%(h)s", "10.1.2.3"),
        ("%(l)s", "-"),
        ("%(u)s", "jo"),
        ("%(r)s", "GET /a%20b?q=1&sig=REDACTED HTTP/1.1"),
        ("%(m)s %(H)s", "GET HTTP/1.1"),
        ("\"%(U)s\"", "\"/a b\""),
        ("%(U)s", r"/a\x20b"),
        ("%(q)s", "q=1&sig=REDACTED"),
        ("%(s)s %(b)s %(B)s", "200 12 12"),
        ("%(f)s", "https://other/?sig=REDACTED"),
        ("%({Referer}i)s", "https://other/?sig=REDACTED"),
        ("%(a)s", "curl/8"),
        ("%(T)s %(M)s %(D)s %(L)s", "2 2345 2345678 2.345678"),
        ("%({X-Id}i)s %({X-None}i)s", "last -"),
        ("\"%({X-Answer}o)s\" %({X-None}o)s", r#""a \x22b\x22" -"#),
        ("%({REQUEST_METHOD}e)s %({path_info}e)s %({wsgi.url_scheme}e)s", r"GET /a\x20b https"),
        ("%({HTTP_X_ID}e)s %({RAW_URI}e)s", "last /a%20b?q=1&sig=REDACTED"),
        ("100%% %(s)s%%", "100% 200%"),
    ] {
        assert_eq!(line(format, &request), expected, "{format}");
    }
    assert_eq!(line("%(p)s", &request), format!("<{pid}>"));
    let time = line("%(t)s", &request);
    assert!(time.starts_with('[') && time.ends_with(']') && time.len() == 28, "{time}");
}

#[test]
fn what_is_not_there_is_a_dash() {
    let request = Request::get("/").body(()).unwrap();
    assert_eq!(line("%(u)s %(q)s \"%(f)s\" \"%(a)s\"", &request), r#"- - "-" "-""#);
    assert_eq!(line("%(h)s", &request), "-", "a unix socket");
}

#[test]
fn no_status_where_the_server_has_cut_a_request() {
    let (program, (_board, connection)) = (of("%(s)s %(b)s", Style::Text), connection());
    let request = Request::get("/").body(()).unwrap();
    let line = program.begin(&Asked::of(&request, &connection.0, None));
    assert_eq!(finished(&program, &line, &Outcome { status: None, bytes: 0, ..OUTCOME }), "- 0");
}

#[test]
fn what_was_refused_has_its_first_line_and_its_sender() {
    let (program, (_board, connection)) = (Program::new(&AccessFormat::standard(), Style::Text), connection());
    let line = program.begin(&Asked::refused(b"GET /\x16\" HTTP/9.9", &connection.0));
    let outcome = Outcome { status: Some(StatusCode::BAD_REQUEST), ..OUTCOME };
    let text = finished(&program, &line, &outcome);
    assert!(
        text.starts_with("127.0.0.1 - - [") && text.ends_with(r#"] "GET /\x16\x22 HTTP/9.9" 400 12 "-" "-""#),
        "{text}"
    );
}

#[test]
fn forms_of_the_target() {
    let line_of = |request: http::request::Builder| line("%(r)s", &request.body(()).unwrap());
    assert_eq!(line_of(Request::get("http://a/b?c")), "GET http://a/b?c HTTP/1.1");
    assert_eq!(line_of(Request::options("*")), "OPTIONS * HTTP/1.1");
    assert_eq!(line_of(Request::connect("a:1").version(http::Version::HTTP_10)), "CONNECT a:1 HTTP/1.0");
    assert_eq!(line_of(Request::get("https://a/b?c").version(http::Version::HTTP_2)), "GET /b?c HTTP/2.0");
    assert_eq!(line_of(Request::connect("a:1").version(http::Version::HTTP_2)), "CONNECT a:1 HTTP/2.0");
}

#[test]
fn an_object_has_what_google_looks_for() {
    let (program, (_board, connection)) =
        (Program::json(r#""pid":7,"slot":0,"#, Some("shop".to_owned())), connection());
    let request = request("/a?sig=s3cret", &[("host", b"shop.test"), ("user-agent", b"a\"\xe9\\"), ("referer", b"")]);
    let span = SpanContext::new(TraceId::from(0xabc), SpanId::from(7), TraceFlags::SAMPLED, false, TraceState::NONE);
    let line = program.begin(&Asked::of(&request, &connection.0, Some(&span)));
    let value = |line: &Line, outcome: &Outcome| -> Value { finished(&program, line, outcome).parse().expect("JSON") };
    let object = value(&line, &OUTCOME);
    let expected = rustcorn_sys::log::json!({
        "requestMethod": "GET", "requestUrl": "https://shop.test/a?sig=REDACTED", "userAgent": "a\"é\\",
        "remoteIp": "10.1.2.3", "protocol": "HTTP/1.1", "status": 200, "responseSize": "12", "latency": "2.345678s",
    });
    assert_eq!(object["httpRequest"], expected);
    assert_eq!((&object["severity"], &object["pid"]), (&Value::from("INFO"), &Value::from(7)));
    let time = object["time"].as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    assert_eq!(object["logging.googleapis.com/trace"], "projects/shop/traces/00000000000000000000000000000abc");
    assert_eq!(object["logging.googleapis.com/spanId"], "0000000000000007");
    assert_eq!(object["logging.googleapis.com/trace_sampled"], true);

    let refused = program.begin(&Asked::refused(b"\x16\x03", &connection.0));
    let object = value(&refused, &Outcome { status: Some(StatusCode::BAD_REQUEST), ..OUTCOME });
    let keys: Vec<&String> = object["httpRequest"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["latency", "remoteIp", "responseSize", "status"]);
    assert_eq!(object["severity"], "WARNING");
    assert_eq!(value(&refused, &Outcome { status: None, ..OUTCOME })["httpRequest"]["status"], Value::Null);
    let error = Outcome { status: Some(StatusCode::BAD_GATEWAY), ..OUTCOME };
    assert_eq!(value(&refused, &error)["severity"], "ERROR");
}

#[test]
fn a_format_that_is_json_stays_json() {
    let request = request("/%22%0a", &[("user-agent", b"\"}\\")]);
    let text = line_as(r#"{"path": "%(U)s", "agent": "%(a)s", "status": %(s)s}"#, &request, Style::Json);
    let object: Value = text.parse().expect("JSON");
    assert_eq!(object, rustcorn_sys::log::json!({"path": "/\"\n", "agent": "\"}\\", "status": 200}));
}

#[test]
fn lines_are_cut_to_what_a_pipe_takes_in_one_piece() {
    let long = "x\n".repeat(4000);
    let both = BASE64_STANDARD.encode(&long);
    let agent = "\u{e9}".repeat(3000);
    let request = request(
        &format!("/{}", "%0a".repeat(1300)),
        &[("authorization", format!("Basic {both}").as_bytes()), ("user-agent", agent.as_bytes())],
    );
    let formats = [DEFAULT_ACCESS_FORMAT.to_owned(), "%(u)s%(a)s%(U)s%(r)s".repeat(8), {
        format!("{}{}", "x".repeat(650), "%({a}o)s\"%(a)s%(r)s%(t)s".repeat(8))
    }];
    for format in formats {
        for style in [Style::Text, Style::Json] {
            let text = line_as(&format, &request, style);
            assert!(text.len() > 1000 && text.contains("..."), "{text}");
        }
    }
    // Of one that fits nothing is cut.
    assert!(!line("%(u)s", &self::request("/", &[])).contains("..."));
    let (program, (_board, connection)) = (of("%({a}o)s %({a}o)s", Style::Text), connection());
    let mut line = program.begin(&Asked::of(&request, &connection.0, None));
    let huge = HeaderMap::from_iter([(HeaderName::from_static("a"), HeaderValue::from_bytes(&[0xff; 9000]).unwrap())]);
    program.answered(&mut line, &huge);
    assert!(finished(&program, &line, &OUTCOME).contains("..."));
    let objects = Program::json("", None);
    let line = objects.begin(&Asked::of(&request, &connection.0, None));
    let _: Value = finished(&objects, &line, &OUTCOME).parse().expect("JSON");
}

/// Undoes `\xHH`.
fn unescaped(field: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), field);
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend(before.bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).expect("two digits"));
        rest = &after[2..];
    }
    bytes.extend(rest.bytes());
    bytes
}

/// As parsers of such lines do: a field that begins with a quote or a bracket ends with one, any other with a blank.
fn split(line: &str) -> Vec<&str> {
    let (mut fields, mut rest) = (Vec::new(), line);
    loop {
        let close = match rest.as_bytes().first() {
            Some(b'"') => Some('"'),
            Some(b'[') => Some(']'),
            _ => None,
        };
        let end = match close {
            Some(close) => 1 + rest[1..].find(close).expect("it ends") + 1,
            None => rest.find(' ').unwrap_or(rest.len()),
        };
        fields.push(&rest[..end]);
        match rest[end..].strip_prefix(' ') {
            Some(next) => rest = next,
            None if rest.len() == end => return fields,
            None => panic!("no blank after {:?} in {line}", &rest[..end]),
        }
    }
}

/// Whatever bytes a client finds a way for, a line has as many fields as its format, and each reads back.
#[test]
fn fields_cannot_be_forged() {
    let (_board, connection) = connection();
    let program = of(r#"%(u)s "%(u)s" [%(u)s] %(U)s|%(u)s "%(U)s" "%({x}i)s" %(s)s"#, Style::Text);
    let mut rng = fastrand::Rng::with_seed(11);
    for round in 0..3000 {
        let favourites = b"\"\\ \n\r|][x\0\x7f\x80\xff";
        let mut bytes = |least: usize| -> Vec<u8> {
            let byte = |rng: &mut fastrand::Rng| {
                if rng.bool() { rng.u8(..) } else { favourites[rng.usize(..favourites.len())] }
            };
            let length = rng.usize(least..20);
            (0..length).map(|_| byte(&mut rng)).collect()
        };
        let user: Vec<u8> = bytes(1).into_iter().filter(|byte| *byte != b':').chain([b'u']).collect();
        let path: Vec<u8> = [b"/".to_vec(), bytes(0)].concat();
        let allowed = |byte: &u8| *byte == b'\t' || (*byte >= 32 && *byte != 127);
        let header: Vec<u8> = bytes(0).into_iter().filter(allowed).chain([b'h']).collect();
        let target: String = path.iter().skip(1).map(|byte| format!("%{byte:02x}")).collect();
        let credentials = BASE64_STANDARD.encode([&user[..], b":secret"].concat());
        let request = request(
            &format!("/{target}"),
            &[("authorization", format!("Basic {credentials}").as_bytes()), ("x", &header)],
        );
        let text = finished(&program, &program.begin(&Asked::of(&request, &connection.0, None)), &OUTCOME);
        let fields = split(&text);
        assert_eq!(fields.len(), 7, "round {round}: {text}");
        let bare = |field: &str| match field.as_bytes().first() {
            Some(b'"' | b'[') => unescaped(&field[1..field.len() - 1]),
            _ => unescaped(field),
        };
        let (left, right) = fields[3].split_once('|').expect("one");
        let read = [
            bare(fields[0]),
            bare(fields[1]),
            bare(fields[2]),
            bare(left),
            bare(right),
            bare(fields[4]),
            bare(fields[5]),
        ];
        assert_eq!(
            read,
            [&user, &user, &user, &path, &user, &path, &header].map(Clone::clone),
            "round {round}: {text}"
        );
        assert_eq!(fields[6], "200");
    }
}

#[test]
fn only_a_format_that_asks_for_it_looks_at_responses() {
    assert!(!Program::new(&AccessFormat::standard(), Style::Text).wants_response());
    assert!(of("%({x}o)s", Style::Text).wants_response());
}
