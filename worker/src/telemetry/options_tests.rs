//! What wins, what is ignored with a word, and what turns everything off.

use super::*;

fn resolve(set: impl FnOnce(&mut Settings), variables: &[(&str, &str)]) -> Result<Option<Options>, String> {
    let mut settings = Settings::defaults();
    settings.otlp_endpoint = endpoint("http://base:4318");
    set(&mut settings);
    let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Options::resolve(&settings, &Env(&get))
}

fn endpoint(url: &str) -> Option<Endpoint> {
    let text = format!("otlp_endpoint = '{url}'");
    Settings::from_toml(&text).unwrap().otlp_endpoint
}

fn with(variables: &[(&str, &str)]) -> Options {
    resolve(|_| {}, variables).unwrap().unwrap()
}

fn urls(options: &Options) -> [Option<String>; 2] {
    [&options.traces, &options.metrics].map(|target| target.as_ref().map(|target| target.endpoint.to_string()))
}

#[test]
fn the_scheme_is_that_of_the_server() {
    assert_eq!(with(&[]).scheme, "http");
    assert_eq!(resolve(|settings| settings.certfile = "cert.pem".into(), &[]).unwrap().unwrap().scheme, "https");
}

#[test]
fn off_without_a_place_to_send_to_or_when_told() {
    assert_eq!(resolve(|settings| settings.otlp_endpoint = None, &[]), Ok(None));
    for variables in
        [&[("OTEL_SDK_DISABLED", "TRUE")][..], &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")]]
    {
        assert_eq!(resolve(|_| {}, variables), Ok(None), "{variables:?}");
    }
    assert!(resolve(|_| {}, &[("OTEL_SDK_DISABLED", "false")]).unwrap().is_some());
}

#[test]
fn a_base_gets_the_signals_path_and_a_whole_url_does_not() {
    let paths = ["http://base:4318/v1/traces", "http://base:4318/v1/metrics"];
    assert_eq!(urls(&with(&[])), paths.map(|url| Some(url.to_owned())));
    let own = |settings: &mut Settings| {
        settings.otlp_endpoint = None;
        settings.otlp_traces_endpoint = endpoint("http://whole/x");
    };
    assert_eq!(urls(&resolve(own, &[]).unwrap().unwrap()), [Some("http://whole/x".to_owned()), None]);
    assert_eq!(urls(&with(&[("OTEL_METRICS_EXPORTER", "none")]))[1], None);
}

#[test]
fn numbers_and_times() {
    let options = with(&[]);
    let queue = QueueOptions { room: 8192, batch: 512, delay: Duration::from_secs(5) };
    assert_eq!((options.queue, options.metric_interval), (queue, Duration::from_secs(60)));
    let target = options.traces.unwrap();
    assert_eq!((target.timeout, target.patience), (Duration::from_secs(10), Duration::from_secs(30)));
    assert!(options.complaints.is_empty());

    let options = with(&[
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_SCHEDULE_DELAY", "7"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "8"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "9"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "10"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "11"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "12"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "13"),
    ]);
    let millis = Duration::from_millis;
    assert_eq!(options.queue, QueueOptions { room: 100, batch: 100, delay: millis(7) });
    let (traces, metrics) = (options.traces.unwrap(), options.metrics.unwrap());
    assert_eq!((traces.timeout, traces.patience), (millis(11), millis(8)));
    assert_eq!((metrics.timeout, metrics.patience), (millis(12), millis(9)));
    assert_eq!((options.metric_interval, options.longest), (millis(10), 13));
}

#[test]
fn what_is_not_understood_is_ignored_and_said() {
    let options = with(&[
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_PROPAGATORS", "b3, tracecontext"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both"),
    ]);
    assert_eq!(options.queue.room, 8192);
    assert_eq!(options.sampling, Sampling::new(true, 1.0));
    assert_eq!(options.propagators, Propagators { trace_context: true, baggage: false });
    assert_eq!(options.temporality, Temporality::Cumulative);
    let said = options.complaints.join("\n");
    let names =
        ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_TRACES_SAMPLER", "OTEL_PROPAGATORS", "_PROTOCOL", "TEMPORALITY_PREFERENCE"];
    for name in names {
        assert!(said.contains(name), "{name}: {said}");
    }
    // Another exporter was asked for: nothing is sent, and that is said.
    let options = with(&[("OTEL_TRACES_EXPORTER", "zipkin")]);
    assert!(options.traces.is_none() && options.complaints[0].contains("OTEL_TRACES_EXPORTER"));
    assert!(with(&[("OTEL_TRACES_EXPORTER", "console,otlp")]).traces.is_some());
}

#[test]
fn samplers_of_the_specification() {
    let of = |name, ratio: f64| {
        let set = |settings: &mut Settings| settings.trace_sample_ratio = ratio;
        resolve(set, &[("OTEL_TRACES_SAMPLER", name)]).unwrap().unwrap().sampling
    };
    assert_eq!(of("parentbased_traceidratio", 0.5), Sampling::new(true, 0.5));
    assert_eq!(of("traceidratio", 0.5), Sampling::new(false, 0.5));
    assert_eq!(of("always_on", 0.5), Sampling::new(false, 1.0));
    assert_eq!(of("always_off", 0.5), Sampling::new(false, 0.0));
    assert_eq!(of("parentbased_always_on", 0.5), Sampling::new(true, 1.0));
    assert_eq!(of("parentbased_always_off", 0.5), Sampling::new(true, 0.0));
}

#[test]
fn the_protocol_is_asked_for_or_told_by_the_port() {
    let ask = |protocol: &str, url: &str| {
        let set = |settings: &mut Settings| {
            settings.otlp_protocol = protocol.to_owned();
            settings.otlp_endpoint = endpoint(url);
        };
        resolve(set, &[]).map(|options| options.unwrap().traces.unwrap())
    };
    assert_eq!(ask("http/protobuf", "http://a:4317").unwrap().protocol, Protocol::Http);
    assert!(ask("grpc", "https://a:4317").unwrap_err().contains("without TLS"));
    if cfg!(feature = "otlp-grpc") {
        let target = ask("", "http://a:4317").unwrap();
        assert_eq!((target.protocol, target.endpoint.path.as_str()), (Protocol::Grpc, ""));
        assert_eq!(ask("grpc", "http://a:1").unwrap().protocol, Protocol::Grpc);
    } else {
        assert!(ask("grpc", "http://a:1").unwrap_err().contains("otlp-grpc"));
        assert_eq!(ask("", "http://a:4317").unwrap().protocol, Protocol::Http);
    }
    let own = [("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf")];
    assert_eq!(with(&own).metrics.unwrap().protocol, Protocol::Http);
}

#[test]
fn without_a_collector_only_json_lines_ask_whose_trace_it_is() {
    let env = Env(&|_| None);
    let mut settings = Settings::defaults();
    assert!(Options::resolve(&settings, &env).unwrap().is_none());
    settings.log_format = Format::Json;
    let options = Options::resolve(&settings, &env).unwrap().unwrap();
    assert!(options.follows && options.traces.is_none() && options.metrics.is_none());
    let disabled = Env(&|name| (name == "OTEL_SDK_DISABLED").then(|| "true".to_owned()));
    assert!(Options::resolve(&settings, &disabled).unwrap().is_none());
}
