//! Telemetry as a collector sees it: the real program, real processes, an independent receiver.
//!
//! `RUSTCORN_E2E_FULL=1` sends 10,000 requests where it is 2,000 otherwise.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in what they share")]

#[cfg(feature = "otlp-grpc")]
#[path = "otlp/h2.rs"]
mod h2;
#[path = "otlp/outage.rs"]
mod outage;
#[path = "otlp/receiver.rs"]
mod receiver;
#[path = "otlp/server.rs"]
mod server;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use receiver::{Health, Receiver, number, text};
use server::Server;

/// Longer than anything a test waits for may take, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(60);
const CLIENTS: usize = 4;

fn many() -> usize {
    if std::env::var_os("RUSTCORN_E2E_FULL").is_some() { 10_000 } else { 2_000 }
}

/// Asks `count` times from several connections at once; `request` makes line and headers of the nth.
fn load(server: &Server, count: usize, request: impl Fn(usize) -> (String, String) + Sync) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|thread| {
                let (request, mut client) = (&request, server.connect());
                scope.spawn(move || -> Vec<u16> {
                    let mine = (thread..count).step_by(CLIENTS);
                    mine.map(request).map(|(line, headers)| client.ask(&line, &headers)).collect()
                })
            })
            .collect();
        for status in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *statuses.entry(status).or_default() += 1;
        }
    });
    statuses
}

fn plain(_: usize) -> (String, String) {
    ("GET /".to_owned(), String::new())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn trace_of(n: usize) -> String {
    format!("{:032x}", 0xabcd_0000 + n)
}

#[test]
fn each_request_is_one_span_and_all_sums_agree() {
    let receiver = Receiver::start(Health::Well);
    let settings = format!("otlp_endpoint = '{}'\nservice_name = 'shop'\nservice_version = '1.2'", receiver.url());
    let variables = [
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=a%20b,service.name=loses"),
        ("NAMESPACE", "ns"),
        ("POD_NAME", "pod-1"),
        ("CONTAINER_NAME", "web"),
        ("APP", "demo"),
        ("ENVIRONMENT", "test"),
    ];
    let mut server = Server::start(2, &settings, &variables);
    let count = many();
    // One in four each: a root, a root that is not found, a child, a child of an unsampled parent.
    let statuses = load(&server, count, |n| match n % 4 {
        0 => plain(n),
        1 => ("GET /nothing?a=1&sig=secret".to_owned(), String::new()),
        2 => (
            "GET /".to_owned(),
            format!("traceparent: 00-{}-00000000000000{:02x}-01\r\ntracestate: a=b\r\n", trace_of(n), 1 + n % 200),
        ),
        _ => ("GET /".to_owned(), format!("traceparent: 00-{}-0000000000000001-00\r\n", trace_of(n))),
    });
    assert_eq!(statuses, BTreeMap::from([(200, count / 4 * 3), (404, count / 4)]));
    server.stop(Signal::SIGTERM);

    let received = receiver.received();
    assert_eq!((received.spans.len(), server.lost()), (count / 4 * 3, 0), "{}", server.lines().join("\n"));
    let ids: BTreeSet<&[u8]> = received.spans.iter().map(|(_, span)| &*span.span_id).collect();
    assert_eq!(ids.len(), received.spans.len(), "each span has an id of its own");
    let (mut roots, mut missed, mut children) = (BTreeSet::new(), 0, BTreeSet::new());
    for (resource, span) in &received.spans {
        check(span);
        assert_eq!(text(&resource.attributes, "service.name").as_deref(), Some("shop"));
        let n = u64::from_str_radix(&hex(&span.trace_id[8..]), 16).unwrap().wrapping_sub(0xabcd_0000);
        if !span.parent_span_id.is_empty() {
            assert_eq!(hex(&span.parent_span_id), format!("00000000000000{:02x}", 1 + n % 200));
            assert_eq!((span.trace_state.as_str(), hex(&span.trace_id)), ("a=b", trace_of(n as usize)));
            assert!(n % 4 == 2 && children.insert(n), "a child for each sampled parent");
        } else if span.name == "GET" {
            assert_eq!(text(&span.attributes, "url.query").as_deref(), Some("a=1&sig=REDACTED"));
            missed += 1;
        } else {
            assert!(roots.insert(span.trace_id.clone()), "a trace of its own");
        }
    }
    assert_eq!((roots.len(), missed, children.len()), (count / 4, count / 4, count / 4));
    // Sampled or not, all are measured.
    assert_eq!(received.total("http.server.request.duration"), count as u64);
    assert_eq!(received.total("rustcorn_app_hello_requests"), (count / 4 * 3) as u64);
    assert_eq!(received.total("http.server.active_requests"), 0);
    let Some(Data::Histogram(duration)) = received.metric("http.server.request.duration").unwrap().data else {
        panic!()
    };
    assert_eq!(duration.data_points[0].explicit_bounds.len(), 14);
    assert_eq!(text(&duration.data_points[0].attributes, "http.request.method").as_deref(), Some("GET"));
    let Some(Data::Sum(hello)) = received.metric("rustcorn_app_hello_requests").unwrap().data else { panic!() };
    let labels = ["app", "environment"].map(|label| text(&hello.data_points[0].attributes, label).unwrap());
    assert_eq!(labels, ["demo", "test"]);
    // Of the metrics, which an idle worker sends too.
    let resources = received.metrics.iter().flat_map(|request| &request.resource_metrics);
    let resources = resources.map(|of_resource| &of_resource.resource.as_ref().unwrap().attributes);
    let instances: BTreeSet<_> = resources.clone().map(|all| text(all, "service.instance.id").unwrap()).collect();
    assert_eq!(instances.iter().map(String::as_str).collect::<Vec<_>>(), ["ns.pod-1.web.0", "ns.pod-1.web.1"]);
    let pids: BTreeSet<_> = resources.map(|all| number(all, "process.pid").unwrap()).collect();
    assert_eq!(pids, server.workers().into_iter().map(i64::from).collect());
    let all = &received.spans[0].0.attributes;
    let known = ["deployment.environment.name", "service.version", "k8s.namespace.name", "telemetry.sdk.language"];
    assert_eq!(known.map(|key| text(all, key).unwrap()), ["a b", "1.2", "ns", "rust"]);
}

/// What all spans of the built-in handler have in common.
fn check(span: &Span) {
    assert_eq!(span.kind, SpanKind::Server as i32);
    let get = |key| text(&span.attributes, key);
    let status = number(&span.attributes, "http.response.status_code").unwrap();
    let expected = match span.name.as_str() {
        "GET /" => (Some("/"), Some("/"), 200),
        "GET" => (None, Some("/nothing"), 404),
        other => panic!("{other}"),
    };
    assert_eq!((get("http.route").as_deref(), get("url.path").as_deref(), status), expected);
    let plain = [
        ("http.request.method", "GET"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("server.address", "example.com"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "test"),
    ];
    for (key, value) in plain {
        assert_eq!(get(key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(number(&span.attributes, "server.port"), Some(81));
    assert_eq!((get("error.type"), span.status.as_ref().map_or(0, |status| status.code)), (None, 0));
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
}

/// A small queue that is given up quickly, so that a test need not wait for it.
const HASTY: [(&str, &str); 3] =
    [("OTEL_BSP_MAX_QUEUE_SIZE", "256"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64"), ("OTEL_BSP_EXPORT_TIMEOUT", "300")];

fn hasty<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    HASTY.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn what_is_missing_after_an_outage_is_what_was_counted_as_lost() {
    for outage in [Health::Closes, Health::Status(503), Health::Status(400)] {
        let receiver = Receiver::start(Health::Well);
        let settings = format!("otlp_endpoint = '{}'", receiver.url());
        let mut server = Server::start(2, &settings, &hasty(&[]));
        let count = many();
        for (health, share) in [(Health::Well, 4), (outage, 2), (Health::Well, 4)] {
            receiver.becomes(health);
            assert_eq!(load(&server, count / share, plain), BTreeMap::from([(200, count / share)]), "{outage:?}");
        }
        server.stop(Signal::SIGTERM);
        let arrived = receiver.received().spans.len() as u64;
        assert!(server.lost() > 0, "{outage:?}: the outage was noticed");
        assert_eq!(arrived + server.lost(), count as u64, "{outage:?}\n{}", server.lines().join("\n"));
    }
}

#[test]
fn spans_that_the_collector_does_not_take_are_lost() {
    let receiver = Receiver::start(Health::Rejects(2));
    let settings = format!("otlp_endpoint = '{}'", receiver.url());
    let mut server = Server::start(1, &settings, &[("OTEL_METRICS_EXPORTER", "none")]);
    load(&server, 100, plain);
    server.stop(Signal::SIGTERM);
    let received = receiver.received();
    assert_eq!((received.spans.len(), server.lost()), (100, 2 * received.requests as u64));
    assert!(received.metrics.is_empty());
}

#[test]
fn a_collector_that_hangs_holds_up_neither_requests_nor_the_end() {
    let receiver = Receiver::start(Health::Hangs);
    let settings = format!("otlp_endpoint = '{}'\notlp_flush_timeout = 0.5", receiver.url());
    // As patient as by default: the exporter is blocked all the time.
    let mut server =
        Server::start(1, &settings, &[("OTEL_BSP_MAX_QUEUE_SIZE", "256"), ("OTEL_BSP_SCHEDULE_DELAY", "1")]);
    server.connect().ask("GET /", "");
    receiver.wait_until("the exporter waits for an answer", |received| received.requests > 0);
    let count = many();
    assert_eq!(load(&server, count, plain), BTreeMap::from([(200, count)]));
    assert_eq!(receiver.received().requests, 1, "all were answered while the exporter was blocked");
    let began = Instant::now();
    server.stop(Signal::SIGTERM);
    assert!(began.elapsed() < PATIENCE / 2, "bounded by otlp_flush_timeout, not by the exporter's patience");
    assert_eq!((receiver.received().spans.len(), server.lost()), (0, count as u64 + 1));
    assert!(server.lines().iter().any(|line| line.contains("the queue was full")), "memory is bounded by the queue");
    assert!(!server.lines().iter().any(|line| line.contains("did not leave")), "{}", server.lines().join("\n"));
}

#[test]
fn compressed_with_headers_over_few_connections() {
    let receiver = Receiver::start(Health::Well);
    let settings = format!("otlp_endpoint = '{}'", receiver.url());
    let variables = [
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "50"),
    ];
    let mut server = Server::start(1, &settings, &variables);
    load(&server, 500, plain);
    server.stop(Signal::SIGTERM);
    let received = receiver.received();
    assert_eq!(received.spans.len(), 500);
    assert!(received.requests > 10 && received.compressed == received.requests);
    assert_eq!(received.connections, 2, "one for each signal");
    assert!(received.keys.len() == received.requests && received.keys.iter().all(|key| key == "a b"));
}

#[test]
fn nobody_at_the_endpoint() {
    let (address, _held) = receiver::reserve(); // so no other test has it, and nobody listens
    let settings = format!("otlp_endpoint = 'http://{address}'");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start(1, &settings, &hasty(&[]));
        load(&server, 100, plain);
        server.stop(signal);
        assert_eq!(server.lost(), 100, "{}", server.lines().join("\n"));
    }
}

#[test]
fn replaced_workers_lose_no_span_of_an_answered_request() {
    let receiver = Receiver::start(Health::Well);
    let settings = format!("otlp_endpoint = '{}'\nkeepalive = 1", receiver.url());
    let mut server = Server::start(2, &settings, &[]);
    let count = many();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&server, count, plain));
        for generation in 2..=3 {
            server.signal(Signal::SIGHUP);
            server.wait_for(&format!("Reloaded: generation {generation} "));
        }
        server.signal(Signal::SIGTTIN);
        server.signal(Signal::SIGTTOU);
        assert_eq!(load.join().unwrap(), BTreeMap::from([(200, count)]));
    });
    server.stop(Signal::SIGTERM);
    let received = receiver.received();
    assert_eq!((received.spans.len(), server.lost()), (count, 0), "{}", server.lines().join("\n"));
    assert_eq!(received.total("http.server.request.duration"), count as u64);
}

#[test]
fn a_quick_stop_still_flushes_if_the_collector_is_there() {
    let receiver = Receiver::start(Health::Well);
    let mut server = Server::start(1, &format!("otlp_endpoint = '{}'", receiver.url()), &[]);
    load(&server, 50, plain);
    server.stop(Signal::SIGINT);
    assert_eq!(receiver.received().spans.len(), 50);
}

#[test]
fn a_refused_request_is_a_span_too() {
    use std::io::{Read, Write};
    let receiver = Receiver::start(Health::Well);
    let mut server = Server::start(1, &format!("otlp_endpoint = '{}'", receiver.url()), &[]);
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nb@d header: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    server.stop(Signal::SIGTERM);
    let received = receiver.received();
    let [(_, span)] = &received.spans[..] else { panic!("{:?}", received.spans) };
    assert_eq!((span.name.as_str(), number(&span.attributes, "http.response.status_code")), ("HTTP", Some(400)));
    assert_eq!(text(&span.attributes, "http.request.method").as_deref(), Some("_OTHER"));
}

#[test]
fn the_ratio_is_for_roots_and_variables_of_opentelemetry_work() {
    let receiver = Receiver::start(Health::Well);
    let url = receiver.url();
    let sampled = "traceparent: 00-0000000000000000000000000000abcd-0000000000000001-01\r\n";
    let half = |n: usize| ("GET /".to_owned(), if n.is_multiple_of(2) { sampled.to_owned() } else { String::new() });
    let arrived = |variables: &[(&str, &str)], settings: &str| {
        let before = receiver.received().spans.len();
        let mut server = Server::start(1, settings, variables);
        load(&server, 200, half);
        server.stop(Signal::SIGTERM);
        receiver.received().spans.len() - before
    };
    let to = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    assert_eq!(arrived(&[to], "trace_sample_ratio = 0"), 100);
    assert_eq!(arrived(&[to, ("OTEL_TRACES_SAMPLER_ARG", "0")], "trace_sample_ratio = 1"), 100);
    assert_eq!(arrived(&[to, ("OTEL_TRACES_SAMPLER", "always_on")], "trace_sample_ratio = 0"), 200);
    assert_eq!(arrived(&[to, ("OTEL_TRACES_SAMPLER", "always_off")], ""), 0);
    assert_eq!(arrived(&[to, ("OTEL_PROPAGATORS", "none")], "trace_sample_ratio = 0"), 0);
    assert_eq!(arrived(&[to, ("OTEL_SDK_DISABLED", "true")], ""), 0);
    assert_eq!(arrived(&[to, ("OTEL_TRACES_EXPORTER", "none")], ""), 0);
}

#[test]
fn without_an_endpoint_there_is_nothing() {
    let server = Server::start(1, "", &[]);
    server.connect().ask("GET /", "");
    let [pid] = server.workers()[..] else { panic!() };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
    let names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    assert!(!names.iter().any(|name| name.contains("otlp") || name.contains("OpenTel")), "{names:?}");
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn over_grpc_too_each_request_is_one_span_and_what_is_missing_was_lost() {
    let (address, received) = h2::start();
    let url = format!("http://{address}");
    let metrics = Receiver::start(Health::Well);
    let settings = format!(
        "otlp_traces_endpoint = '{url}'\notlp_metrics_endpoint = '{}/v1/metrics'\notlp_protocol = 'grpc'",
        metrics.url()
    );
    for (threads, signal) in [(1, Signal::SIGTERM), (2, Signal::SIGTERM), (1, Signal::SIGINT)] {
        let before = received.lock().unwrap().spans.len();
        let settings = format!("{settings}\nthreads = {threads}");
        let http = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf");
        let mut server = Server::start(1, &settings, &[http, ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")]);
        let count = many() / 4;
        load(&server, count, plain);
        server.stop(signal);
        let arrived = received.lock().unwrap().spans.len() - before;
        assert_eq!((arrived, server.lost()), (count, 0), "{}", server.lines().join("\n"));
    }
    // Nobody there: the end is not held up, and all is lost.
    let settings = "otlp_endpoint = 'http://127.0.0.1:1'\notlp_protocol = 'grpc'\notlp_flush_timeout = 0.5";
    let mut server = Server::start(1, settings, &[]);
    load(&server, 100, plain);
    server.stop(Signal::SIGTERM);
    assert_eq!(server.lost(), 100, "{}", server.lines().join("\n"));
    assert!(!server.lines().iter().any(|line| line.contains("did not leave")), "{}", server.lines().join("\n"));
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    if cfg!(feature = "otlp-grpc") {
        return; // then it works
    }
    let server = Server::start(1, "otlp_endpoint = 'http://127.0.0.1:1'\notlp_protocol = 'grpc'", &[]);
    server.wait_for("built without the feature otlp-grpc");
}

#[test]
fn the_example_of_custom_metrics_counts_and_sends_the_last_sum_on_term() {
    let receiver = Receiver::start(Health::Well);
    let mut command = Command::new(env!("CARGO_BIN_EXE_custom-metrics-example"));
    command.env_clear().stderr(Stdio::piped()).env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url());
    command.envs([("APP", "demo"), ("ENVIRONMENT", "test"), ("POD_UID", "uid-1"), ("CONTAINER_NAME", "ticks")]);
    command.env("OTEL_SERVICE_NAME", "custom-metrics-example");
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.next().unwrap().ends_with("[INFO] custom_metric_example is 1"), "at once");
    assert!(log.next().unwrap().ends_with("[INFO] custom_metric_example is 2"), "five seconds later");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(log.next().unwrap().ends_with("[INFO] Handling signal: term"));
    assert_eq!((child.wait().unwrap().code(), log.next()), (Some(0), None));

    let received = receiver.received();
    assert_eq!(received.total("custom_metric_example"), 2, "the minute of the interval is not waited for");
    let Some(Data::Sum(sum)) = received.metric("custom_metric_example").unwrap().data else { panic!() };
    assert!(sum.is_monotonic);
    let labels = ["app", "environment"].map(|label| text(&sum.data_points[0].attributes, label).unwrap());
    assert_eq!(labels, ["demo", "test"]);
    let resource = received.metrics.last().unwrap().resource_metrics[0].resource.clone().unwrap().attributes;
    let identity = ["service.name", "service.instance.id", "k8s.container.name", "telemetry.sdk.language"];
    let identity = identity.map(|key| text(&resource, key).unwrap());
    assert_eq!(identity, ["custom-metrics-example", "uid-1.ticks.0", "ticks", "rust"]);
}

#[test]
fn the_example_of_custom_metrics_says_what_is_wrong_or_missing() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custom-metrics-example"));
        command.env_clear().stderr(Stdio::piped()).envs(variables.iter().copied());
        let mut child = command.spawn().unwrap();
        let line = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
        if line.contains("[WARNING]") {
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        }
        (line.split("] ").skip(2).collect::<Vec<_>>().join("] "), child.wait().unwrap().code())
    };
    let missing = "[WARNING] Nothing is sent: set OTEL_EXPORTER_OTLP_ENDPOINT to a collector's address";
    assert_eq!(run(&[]), (missing.to_owned(), Some(0)));
    let (line, code) = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense")]);
    assert!(line.starts_with("[CRITICAL] environment OTEL_EXPORTER_OTLP_ENDPOINT: nonsense"), "{line}");
    assert_eq!(code, Some(1));
}
