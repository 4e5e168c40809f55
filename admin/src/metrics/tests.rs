//! The text through a strict parser of the format, and against what was counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustcorn_scoreboard::Figures;

use super::*;
use crate::testing::World;

/// Samples by name and labels, as they are written.
type Samples = BTreeMap<String, f64>;

/// Reads the format strictly: HELP, TYPE, samples of that family, each family and each sample once, nothing else.
fn parse(text: &str) -> Samples {
    let (mut samples, mut families) = (Samples::new(), BTreeSet::new());
    let mut lines = text.lines().peekable();
    assert!(text.ends_with('\n') && !text.contains("\n\n"));
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).expect(line);
        assert!(help.ends_with('.') && !help.contains('\\'), "{help}");
        assert!(families.insert(name.to_owned()), "{name} is there twice");
        let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} "))).expect(name);
        assert!(name.starts_with("rustcorn_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').expect(line);
            let (full, labels) = sample.split_once('{').map_or((sample, None), |(name, rest)| (name, Some(rest)));
            let suffix = full.strip_prefix(name).expect("samples of one family");
            match kind {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                "counter" | "gauge" => assert_eq!(suffix, "", "{line}"),
                other => panic!("{other}"),
            }
            if let Some(labels) = labels {
                let (label, value) = labels.strip_suffix("\"}").and_then(|pair| pair.split_once("=\"")).expect(line);
                assert!(label.bytes().all(|b| b.is_ascii_lowercase()) && !label.is_empty(), "{line}");
                assert!(!value.contains(['"', '\\', '\n']) && !value.is_empty(), "{line}");
            }
            let value: f64 = value.parse().expect(line);
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{sample} is there twice");
        }
    }
    samples
}

fn now() -> Monotonic {
    Monotonic::now()
}

#[test]
fn an_idle_server_has_every_family_and_no_surprise() {
    let samples = parse(&text(&World::new().snapshot(), now()));
    for name in [
        "rustcorn_requests_total",
        "rustcorn_request_duration_seconds_count",
        "rustcorn_requests_aborted_total",
        "rustcorn_requests_refused_total{why=\"framing\"}",
        "rustcorn_requests_in_flight",
        "rustcorn_connections",
        "rustcorn_connections_accepted_total",
        "rustcorn_tls_handshakes_failed_total",
        "rustcorn_access_lines_lost_total",
        "rustcorn_response_bytes_total",
        "rustcorn_workers{state=\"ready\"}",
        "rustcorn_workers_target",
        "rustcorn_worker_restarts_total{cause=\"hang\"}",
        "rustcorn_reloads_total{result=\"failed\"}",
        "rustcorn_log_messages_total{level=\"exception\"}",
    ] {
        assert_eq!(samples.get(name), Some(&0.0), "{name}");
    }
    assert_eq!(samples[concat!("rustcorn_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")], 1.0);
    assert_eq!(samples["rustcorn_connections_spread_ratio"], 1.0, "nobody has more than others");
    assert_eq!(samples["rustcorn_master_start_time_seconds"], 1_800_000_000.0);
    assert!(!samples.contains_key("rustcorn_backlog"), "nobody could tell");
}

#[test]
fn the_numbers_are_those_of_the_scoreboard() {
    let world = World::new();
    let figures = Figures {
        target: 5,
        generation: 3,
        restarts: [1, 2, 3, 4, 5, 6],
        recycles: [8, 9, 10, 11],
        reloads_ok: 6,
        reloads_failed: 7,
    };
    world.board.publish(&figures);
    world.board.publish_backlog(Some(8));
    world.board.publish_log([1, 0, 0]);
    let worker = world.worker(2);
    worker.set_state(State::Ready);
    worker.beat(now());
    worker.connection_opened();
    worker.request_started();
    for (status, millis) in [(200, 1), (200, 7), (404, 7), (503, 30_000), (999, 0)] {
        worker.request_started();
        worker.request_finished(status, Duration::from_millis(millis), 100);
    }
    worker.logged_exception();
    world.worker(3).set_state(State::Ready);
    let samples = parse(&text(&world.snapshot(), now()));
    let expected = [
        ("rustcorn_connections_spread_ratio", 2.0),
        ("rustcorn_requests_total", 5.0),
        ("rustcorn_responses_total{code=\"200\"}", 2.0),
        ("rustcorn_responses_total{code=\"other\"}", 1.0),
        ("rustcorn_request_duration_seconds_bucket{le=\"0.0005\"}", 1.0),
        ("rustcorn_request_duration_seconds_bucket{le=\"0.005\"}", 2.0),
        ("rustcorn_request_duration_seconds_bucket{le=\"0.01\"}", 4.0),
        ("rustcorn_request_duration_seconds_bucket{le=\"10\"}", 4.0),
        ("rustcorn_request_duration_seconds_bucket{le=\"+Inf\"}", 5.0),
        ("rustcorn_request_duration_seconds_count", 5.0),
        ("rustcorn_requests_in_flight", 1.0),
        ("rustcorn_connections", 1.0),
        ("rustcorn_backlog", 8.0),
        ("rustcorn_response_bytes_total", 500.0),
        ("rustcorn_workers{state=\"booting\"}", 0.0),
        ("rustcorn_workers{state=\"ready\"}", 2.0),
        ("rustcorn_workers_busy", 1.0),
        ("rustcorn_workers_target", 5.0),
        ("rustcorn_worker_restarts_total{cause=\"exited\"}", 1.0),
        ("rustcorn_worker_restarts_total{cause=\"boot\"}", 5.0),
        ("rustcorn_worker_restarts_total{cause=\"oom\"}", 6.0),
        ("rustcorn_reloads_total{result=\"ok\"}", 6.0),
        ("rustcorn_generation", 3.0),
        ("rustcorn_log_messages_total{level=\"critical\"}", 1.0),
        ("rustcorn_log_messages_total{level=\"exception\"}", 1.0),
        ("rustcorn_worker_requests_in_flight{slot=\"2\"}", 1.0),
        ("rustcorn_worker_generation{slot=\"2\"}", 1.0),
    ];
    for (name, value) in expected {
        assert_eq!(samples.get(name), Some(&value), "{name}");
    }
    let sum = samples["rustcorn_request_duration_seconds_sum"];
    assert!((sum - 30.015).abs() < 0.3, "{sum}");
    assert!(samples["rustcorn_worker_resident_memory_bytes{slot=\"2\"}"] > 100_000.0);
    assert!(samples["rustcorn_worker_heartbeat_age_seconds{slot=\"2\"}"] < 60.0);
}

#[test]
fn nobody_claims_to_know_what_foreign_programs_serve() {
    let world = World::new();
    let deputies = [0, 1].map(|slot| world.foreign(slot));
    deputies.iter().for_each(|deputy| deputy.set_state(State::Ready));
    let samples = parse(&text(&world.snapshot(), now()));
    assert_eq!(samples["rustcorn_workers{state=\"ready\"}"], 2.0);
    assert!(samples["rustcorn_worker_resident_memory_bytes{slot=\"1\"}"] > 100_000.0);
    assert!(samples.contains_key("rustcorn_log_messages_total{level=\"error\"}"), "the master's own are known");
    let about_requests = |sample: &&String| {
        let name = sample.split('{').next().expect("a name");
        ["request", "response", "connection", "busy", "handshake", "spans"].iter().any(|word| name.contains(word))
    };
    assert_eq!(samples.keys().find(about_requests), None);

    let worker = world.worker(2);
    worker.set_state(State::Ready);
    worker.connection_opened();
    let samples = parse(&text(&world.snapshot(), now()));
    assert_eq!(samples["rustcorn_requests_total"], 0.0, "there is one who would know");
    assert_eq!(samples["rustcorn_connections_spread_ratio"], 1.0, "among those who count");
    assert_eq!(samples["rustcorn_worker_connections{slot=\"2\"}"], 1.0);
    assert!(!samples.contains_key("rustcorn_worker_connections{slot=\"0\"}"));
}

#[test]
fn buckets_are_cumulative_and_no_counter_goes_back_when_workers_do() {
    let world = World::new();
    let mut last = Samples::new();
    for round in 0..20_u64 {
        let worker = world.worker(0);
        for n in 0..50 {
            worker.request_started();
            worker.request_finished(200 + (n % 7) as u16, Duration::from_micros(100 << (n % 18)), 10);
        }
        let before = parse(&text(&world.snapshot(), now()));
        drop(worker);
        world.board.fold(0);
        let after = parse(&text(&world.snapshot(), now()));
        for (name, value) in &before {
            let counts = ["_total", "_bucket", "_count", "_sum"].iter().any(|suffix| name.contains(suffix));
            if counts {
                assert_eq!(after[name], *value, "{name} survives the worker");
                assert!(last.get(name).is_none_or(|last| last <= value), "{name}");
            }
        }
        let buckets = BOUNDS
            .map(|bound| after[&format!("rustcorn_request_duration_seconds_bucket{{le=\"{}\"}}", bound / 1000.0)]);
        assert!(buckets.is_sorted() && buckets[13] <= after["rustcorn_request_duration_seconds_count"]);
        assert_eq!(after["rustcorn_requests_total"], (round + 1) as f64 * 50.0);
        last = after;
    }
}
