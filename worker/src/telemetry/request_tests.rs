//! What a span says, and in which context the application runs.

use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{Tracer as _, TracerProvider as _};

use super::*;
use opentelemetry_sdk::metrics::PeriodicReader;

use crate::telemetry::instruments::tests::Keeps;
use crate::telemetry::tests::{get, observer, options};

const SAMPLED: &str = "00-0000000000000000000000000000abcd-0000000000000007-01";
const UNSAMPLED: &str = "00-0000000000000000000000000000abcd-0000000000000007-00";

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let builder = Request::builder().method(method).uri(uri);
    headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn attributes_of_a_request() {
    let (observer, _, ended) = observer(&options(&[("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8")]));
    let headers = [("host", "[::1]:80"), ("user-agent", "0123456789")];
    let peer = Peer::new("[::ffff:10.0.0.1]:99".parse().unwrap());
    let observed = observer.begin(&request("PUT", "/0123456789?sig=x", &headers), Some(&peer));
    observer.end(observed, Some(StatusCode::OK), SECOND);
    let span = ended.only();
    let expected = [
        ("http.request.method", "PUT"),
        ("url.scheme", "http"),
        ("url.path", "/0123456"),
        ("url.query", "sig=REDA"),
        ("network.protocol.version", "1.1"),
        ("server.address", "::1"),
        ("server.port", "80"),
        ("client.address", "10.0.0.1"),
        ("network.peer.address", "10.0.0.1"),
        ("network.peer.port", "99"),
        ("user_agent.original", "01234567"),
        ("http.response.status_code", "200"),
    ];
    let all: Vec<_> = span.attributes.iter().map(|pair| (pair.key.as_str(), pair.value.to_string())).collect();
    assert_eq!(all, expected.map(|(key, value)| (key, value.to_owned())));
    assert_eq!(
        (span.name.as_ref(), span.span_kind.clone(), span.status.clone()),
        ("PUT", SpanKind::Server, Status::Unset)
    );
    assert_eq!(span.end_time.duration_since(span.start_time).unwrap(), SECOND);
}

#[test]
fn the_client_is_whom_a_believed_proxy_speaks_of() {
    let (observer, _, ended) = observer(&options(&[]));
    let peer = "10.0.0.1:99".parse().unwrap();
    let mut request = request("GET", "/", &[]);
    let client = Client { address: Some("203.0.113.7".parse().unwrap()), peer: Some(peer), secure: true };
    request.extensions_mut().insert(client);
    let observed = observer.begin(&request, Some(&Peer::new(peer)));
    observer.end(observed, Some(StatusCode::OK), SECOND);
    let span = ended.only();
    let found = ["url.scheme", "client.address", "network.peer.address"].map(|key| get(&span, key).unwrap());
    assert_eq!(found, ["https", "203.0.113.7", "10.0.0.1"]);
}

#[test]
fn methods_that_are_not_known() {
    for (known, name, method, original) in [
        (&[][..], "HTTP", "_OTHER", Some("BREW")),
        (&[("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "BREW,GET")][..], "BREW", "BREW", None),
    ] {
        let (observer, _, ended) = observer(&options(known));
        let observed = observer.begin(&request("BREW", "/", &[]), None);
        observer.end(observed, Some(StatusCode::OK), SECOND);
        let span = ended.only();
        assert_eq!((span.name.as_ref(), get(&span, "http.request.method").as_deref()), (name, Some(method)));
        assert_eq!(get(&span, "http.request.method_original").as_deref(), original);
    }
}

#[test]
fn status_and_error_type() {
    let cases = [
        (Some(200), Trouble::None, None),
        (Some(399), Trouble::None, None),
        (Some(404), Trouble::None, None),
        (Some(503), Trouble::None, Some("503")),
        (Some(500), Trouble::Panic, Some("panic")),
        (Some(200), Trouble::Body, Some("body_error")),
        (None, Trouble::None, Some("client_disconnect")),
    ];
    for (status, trouble, error) in cases {
        let (observer, _, ended) = observer(&options(&[]));
        let mut observed = observer.begin(&request("GET", "/", &[]), None);
        observed.troubled(trouble);
        observer.end(observed, status.map(|status| StatusCode::from_u16(status).unwrap()), SECOND);
        let span = ended.only();
        assert_eq!(get(&span, "error.type").as_deref(), error, "{status:?}");
        assert_eq!(span.status == Status::error(""), error.is_some(), "{status:?}");
    }
}

#[test]
fn a_route_in_the_response_wins_over_one_that_was_said() {
    for (of_response, name) in [(None, "GET /said"), (Some(Route::from("/{id}".to_owned())), "GET /{id}")] {
        let (observer, _, ended) = observer(&options(&[]));
        let mut observed = observer.begin(&request("GET", "/", &[]), None);
        Route::new("/stale").set();
        let attached = observed.attach();
        Route::new("/said").set();
        drop(attached);
        observed.polled();
        let mut response = Response::new(());
        response.extensions_mut().extend(of_response.into_iter().fold(http::Extensions::new(), |mut all, route| {
            all.insert(route);
            all
        }));
        observed.answered(&response);
        observer.end(observed, Some(StatusCode::OK), SECOND);
        assert_eq!(ended.only().name, name);
    }
}

#[test]
fn spans_of_the_application_follow_the_request() {
    for (parent, ratio, sampled) in
        [(Some(SAMPLED), "0", true), (Some(UNSAMPLED), "1", false), (None, "1", true), (None, "0", false)]
    {
        let sampler = if ratio == "1" { "parentbased_always_on" } else { "parentbased_always_off" };
        let (observer, provider, ended) = observer(&options(&[("OTEL_TRACES_SAMPLER", sampler)]));
        let headers: Vec<_> = parent.map(|parent| ("traceparent", parent)).into_iter().collect();
        let observed = observer.begin(&request("GET", "/", &headers), None);
        let attached = observed.attach();
        let current = Context::current().span().span_context().clone();
        assert!(current.is_valid() && current.is_sampled() == sampled, "what is passed on to others says the same");
        provider.tracer("application").start("inner").end();
        drop(attached);
        observer.end(observed, Some(StatusCode::OK), SECOND);
        let all = ended.all();
        assert_eq!(all.len(), if sampled { 2 } else { 0 }, "{parent:?} {ratio}");
        if let [inner, outer] = &all[..] {
            assert_eq!((inner.name.as_ref(), inner.parent_span_id), ("inner", outer.span_context.span_id()));
            assert_eq!(inner.span_context.trace_id(), outer.span_context.trace_id());
        }
    }
}

#[test]
fn spans_by_tracing_nest_too() {
    use tracing_subscriber::layer::SubscriberExt;
    for sampler in ["always_on", "always_off"] {
        let (observer, provider, ended) = observer(&options(&[("OTEL_TRACES_SAMPLER", sampler)]));
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("application"));
        let observed = observer.begin(&request("GET", "/", &[]), None);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let attached = observed.attach();
            tracing::info_span!("outer").in_scope(|| tracing::info_span!("inner").in_scope(|| {}));
            drop(attached);
        });
        observer.end(observed, Some(StatusCode::OK), SECOND);
        let all = ended.all();
        let [inner, outer, server] = &all[..] else {
            assert_eq!((sampler, all.len()), ("always_off", 0), "{all:#?}");
            continue;
        };
        assert_eq!(inner.parent_span_id, outer.span_context.span_id());
        assert_eq!(outer.parent_span_id, server.span_context.span_id());
        assert_eq!(inner.span_context.trace_id(), server.span_context.trace_id());
    }
}

#[test]
fn unsampled_roots_are_traces_of_their_own() {
    let (observer, _, _) = observer(&options(&[("OTEL_TRACES_SAMPLER", "always_off")]));
    let trace = |headers: &[(&str, &str)]| {
        let observed = observer.begin(&request("GET", "/", headers), None);
        let _attached = observed.attach();
        Context::current().span().span_context().clone()
    };
    assert_ne!(trace(&[]).trace_id(), trace(&[]).trace_id());
    let of_sampled_parent = trace(&[("traceparent", SAMPLED)]);
    assert_eq!(
        (of_sampled_parent.trace_id().to_string().as_str(), of_sampled_parent.is_sampled()),
        (&SAMPLED[3..35], false)
    );
}

#[test]
fn state_and_baggage_come_along() {
    let headers = [("traceparent", SAMPLED), ("tracestate", "a=b"), ("baggage", "user=me")];
    for (propagators, valid, baggage) in [("tracecontext,baggage", true, 1), ("baggage", false, 1), ("none", false, 0)]
    {
        let (observer, _, ended) = observer(&options(&[("OTEL_PROPAGATORS", propagators)]));
        let observed = observer.begin(&request("GET", "/", &headers), None);
        let attached = observed.attach();
        assert_eq!(Context::current().baggage().len(), baggage, "{propagators}");
        drop(attached);
        observer.end(observed, Some(StatusCode::OK), SECOND);
        let span = ended.only();
        assert_eq!(span.parent_span_id.to_string() == "0000000000000007", valid);
        assert_eq!(span.span_context.trace_state().header() == "a=b", valid);
    }
    // Nonsense is none.
    let (observer, _, ended) = observer(&options(&[]));
    let observed = observer.begin(&request("GET", "/", &[("traceparent", "00-xyz")]), None);
    observer.end(observed, Some(StatusCode::OK), SECOND);
    assert_eq!(ended.only().parent_span_id, opentelemetry::trace::SpanId::INVALID);
}

/// Nanoseconds that the observation of a request takes on the thread that serves, two polls included.
#[test]
#[ignore = "prints what only a release build on a quiet machine can tell: cargo test --release -p rustcorn-worker cost -- --ignored --nocapture"]
fn cost_of_a_request() {
    const ROUNDS: u32 = 200_000;
    let headers = [("host", "localhost:8000"), ("user-agent", "wrk"), ("accept", "*/*")];
    let peer = Peer::new("10.0.0.1:99".parse().unwrap());
    let of = |variables: &[(&str, &str)], headers: &[(&str, &str)], measured: bool| {
        let options = options(variables);
        let traces = opentelemetry_sdk::trace::SdkTracerProvider::builder()
            .with_sampler(options.sampling.for_sdk())
            .with_id_generator(Ids::default())
            .build();
        let meters = opentelemetry_sdk::metrics::SdkMeterProvider::builder()
            .with_reader(PeriodicReader::builder(Keeps::default()).build())
            .build();
        let meter = opentelemetry::metrics::MeterProvider::meter(&meters, "test");
        let instruments = measured.then(|| Instruments::new(&meter, &Methods::new(None), "http"));
        let observer = Observer::new(&options, Some(&traces), instruments);
        let request = request("GET", "/", headers);
        let round = || {
            let began = std::time::Instant::now();
            for _ in 0..ROUNDS {
                let mut observed = observer.begin(&request, Some(&peer));
                drop(std::hint::black_box(observed.attach()));
                observed.polled();
                drop(std::hint::black_box(observed.attach()));
                observer.end(observed, Some(StatusCode::OK), SECOND);
            }
            began.elapsed() / ROUNDS
        };
        (0..9).map(|_| round()).min().unwrap()
    };
    let with_parent = |parent| [headers[0], headers[1], headers[2], ("traceparent", parent)];
    for (name, variables, headers, measured) in [
        ("unsampled root", &[("OTEL_TRACES_SAMPLER", "always_off")][..], &headers[..], false),
        ("unsampled root, with metrics", &[("OTEL_TRACES_SAMPLER", "always_off")], &headers, true),
        ("unsampled parent", &[], &with_parent(UNSAMPLED), false),
        ("sampled root, dropped at its end", &[], &headers, false),
        ("sampled parent, dropped at its end", &[], &with_parent(SAMPLED), false),
    ] {
        println!("{name}: {:?}", of(variables, headers, measured));
    }
}
