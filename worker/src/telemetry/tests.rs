//! Requests on their way through a real connection, as their spans tell of it.

use std::sync::Mutex;

use opentelemetry::Context;
use opentelemetry::trace::{SpanId, Status, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::*;
use crate::testing::{Options as Serving, Server, eventually};

/// Spans that have ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Ended {
    pub(super) fn all(&self) -> Vec<SpanData> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn only(&self) -> SpanData {
        let all = self.all();
        assert_eq!(all.len(), 1, "{all:#?}");
        all[0].clone()
    }
}

pub(super) fn get(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

/// Options with a collector that nobody calls, and these variables.
pub(super) fn options(variables: &[(&str, &str)]) -> Options {
    let settings = Settings::from_toml("otlp_endpoint = 'http://127.0.0.1:1'").unwrap();
    let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Options::resolve(&settings, &Env(&get)).unwrap().unwrap()
}

/// An observer, and the spans that end under it.
pub(super) fn observer(options: &Options) -> (Observer, SdkTracerProvider, Ended) {
    let ended = Ended::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(options.sampling.for_sdk())
        .with_id_generator(sampling::Ids::default())
        .with_span_processor(ended.clone())
        .build();
    (Observer::new(options, Some(&provider), None), provider, ended)
}

fn server(variables: &[(&str, &str)]) -> (Server, Ended) {
    let options = options(variables);
    let (observer, _, ended) = observer(&options);
    let telemetry = Telemetry {
        observer,
        traces: None,
        metrics: None,
        patience: Arc::default(),
        service: String::new(),
        propagators: options.propagators,
    };
    (Server::start_with(Serving::default(), |shared| shared.observe_with(telemetry)), ended)
}

const PARENT: &str = "00-0000000000000000000000000000abcd-0000000000000007-01";

#[test]
fn handler_and_body_run_in_the_requests_context() {
    let (server, ended) = server(&[]);
    let mut client = server.connect();
    client.send(&format!("GET /context?x HTTP/1.1\r\nHost: a:1\r\ntraceparent: {PARENT}\r\n\r\n"));
    let trace = "0000000000000000000000000000abcd";
    client.read_until(&format!("{trace}\r\n20\r\n{trace}\r\n0\r\n\r\n"));
    let span = ended.only();
    assert_eq!((span.name.as_ref(), span.span_context.trace_id()), ("GET /context", TraceId::from(0xabcd)));
    assert_eq!((span.parent_span_id, span.parent_span_is_remote), (SpanId::from(7), true));
    assert_eq!(get(&span, "http.route").as_deref(), Some("/context"));
    assert_eq!((get(&span, "url.query").as_deref(), get(&span, "error.type")), (Some("x"), None));
    assert_eq!(get(&span, "client.address").as_deref(), Some("127.0.0.1"));
}

#[test]
fn an_unsampled_request_has_a_trace_of_its_own_and_no_span() {
    let (server, ended) = server(&[("OTEL_TRACES_SAMPLER", "always_off")]);
    let trace = || {
        let mut client = server.connect();
        client.send("GET /context HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = client.rest();
        answer.lines().find(|line| line.len() == 32).unwrap().to_owned()
    };
    let [first, second] = [trace(), trace()];
    assert!(first != second && !first.starts_with("0000000000000000"), "{first} {second}");
    assert!(ended.all().is_empty());
}

#[test]
fn what_goes_wrong_is_told() {
    let cases = [
        ("/panic", Some("500"), Some("panic")),
        ("/error", Some("500"), Some("application_error")),
        ("/stream-panic", Some("200"), Some("panic")),
        ("/missing", Some("404"), None),
        ("/stream", Some("200"), None),
    ];
    for (path, status, error) in cases {
        let (server, ended) = server(&[]);
        let mut client = server.connect();
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client.rest();
        let span = ended.only();
        assert_eq!(get(&span, "http.response.status_code").as_deref(), status, "{path}");
        assert_eq!(get(&span, "error.type").as_deref(), error, "{path}");
        assert_eq!(span.status, if error.is_some() { Status::error("") } else { Status::Unset }, "{path}");
    }
}

#[test]
fn a_client_that_leaves_ends_the_span() {
    for (path, status) in [("/wait", None), ("/stream-wait", Some("200"))] {
        let (server, ended) = server(&[]);
        let mut client = server.connect();
        client.ask(path);
        eventually("in flight", || server.vitals().in_flight == 1);
        if status.is_some() {
            client.read_until("one");
        }
        drop(client);
        eventually("over", || ended.all().len() == 1);
        let span = ended.only();
        assert_eq!(get(&span, "error.type").as_deref(), Some("client_disconnect"), "{path}");
        assert_eq!(get(&span, "http.response.status_code").as_deref(), status, "{path}");
    }
}

#[test]
fn a_whole_answer_is_no_disconnect() {
    let (server, ended) = server(&[]);
    let mut client = server.connect();
    client.get("/");
    client.send("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("\r\n\r\n");
    eventually("both ended", || ended.all().len() == 2);
    assert!(ended.all().iter().all(|span| get(span, "error.type").is_none()), "{:#?}", ended.all());
}

#[test]
fn heads_that_http_refuses() {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let cases = [("GET / HTTP/1.1\r\nb@d: x\r\n\r\n", "400"), ("G@T / HTTP/9\r\n\r\n", "400"), (&long, "414")];
    for (head, status) in cases {
        let (server, ended) = server(&[]);
        let mut client = server.connect();
        client.send(head);
        assert!(client.rest().starts_with(&format!("HTTP/1.1 {status}")));
        eventually("the connection is over", || server.vitals().connections == 0);
        let span = ended.only();
        assert_eq!((span.name.as_ref(), get(&span, "http.response.status_code").as_deref()), ("HTTP", Some(status)));
        assert_eq!((span.status.clone(), get(&span, "error.type")), (Status::Unset, None));
    }
}
