//! The metrics that tools read: names, types and sums, for the same traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::statsd::Sums;
use crate::harness::{PATIENCE, Sig, Sink, proc};
use crate::subject::{Gunicorn, Rustcorn, Setup, differs};

fn settings(sink: &Sink, prefix: &str) -> String {
    format!("statsd_host = \"{}\"\nstatsd_prefix = \"{prefix}\"\nstatsd_interval = 0.05", sink.address)
}

/// Names that gunicorn has, too.
fn common<T: Clone>(metrics: &BTreeMap<String, T>, prefix: &str) -> Vec<String> {
    let known = format!("{prefix}gunicorn.");
    metrics.keys().filter(|name| name.starts_with(&known)).cloned().collect()
}

fn requests_of(sums: &Sums) -> u64 {
    sums.counter("shop.gunicorn.requests")
}

#[test]
fn the_same_traffic_makes_the_same_sums() {
    let sink = Sink::start();
    let mut server = Setup::new().set(&settings(&sink, "shop")).start();
    let mut conn = server.connect();
    for _ in 0..20 {
        assert_eq!(conn.get("/").map(|answer| answer.status), Ok(200));
        assert_eq!(conn.get("/no").map(|answer| answer.status), Ok(404));
        assert_eq!(conn.request("HEAD", "/", "", "").map(|answer| answer.status), Ok(200));
    }
    assert_eq!(server.get("/panic").map(|answer| answer.status), Ok(500));
    let victim = *server.settled(2).first().expect("two");
    proc::signal(victim, Sig::SIGKILL);
    sink.wait(PATIENCE, |sums| sums.counter("shop.gunicorn.log.error") > 0);
    server.settled(2);
    let gauge = |sums: &Sums| sums.gauges.get("shop.gunicorn.workers").copied();
    assert_eq!(gauge(&sink.wait(PATIENCE, |sums| gauge(sums) == Some(2.0))), Some(2.0));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);

    let sums = sink.all();
    assert_eq!(sums.malformed, [""; 0]);
    assert_eq!(common(&sums.timers, "shop."), ["shop.gunicorn.request.duration"]);
    assert_eq!(common(&sums.gauges, "shop."), ["shop.gunicorn.workers"]);
    match differs("statsd-gauge-at-the-end") {
        Gunicorn => assert_eq!(gauge(&sums), Some(2.0)),
        Rustcorn => assert_eq!(gauge(&sums), Some(0.0)),
    }
    assert_eq!((requests_of(&sums), sums.timer("shop.gunicorn.request.duration").repeated), (61, 61));
    assert_eq!(sums.statuses("shop."), BTreeMap::from([(200, 40), (404, 20), (500, 1)]));
    assert_eq!((sums.counter("shop.gunicorn.log.exception"), sums.counter("shop.gunicorn.log.error")), (1, 1));

    let others = |names: Vec<&String>| names.iter().filter(|name| !name.starts_with("shop.gunicorn.")).count();
    let own =
        others(sums.counters.keys().filter(|name| *name != "mark").collect()) + others(sums.gauges.keys().collect());
    match differs("statsd-more-metrics") {
        Gunicorn => assert_eq!(own, 0),
        Rustcorn => assert!(own > 0 && sums.gauges.contains_key("shop.rustcorn.workers.ready"), "{sums:?}"),
    }
}

#[test]
fn how_many_datagrams_a_request_costs() {
    let sink = Sink::start();
    let mut server = Setup::new().set(&settings(&sink, "shop")).start();
    let mut conn = server.connect();
    for _ in 0..300 {
        assert_eq!(conn.get("/").map(|answer| answer.status), Ok(200));
    }
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let sums = sink.all();
    assert_eq!(requests_of(&sums), 300);
    match differs("statsd-datagrams") {
        Gunicorn => assert!(sums.datagrams >= 900, "{}", sums.datagrams),
        Rustcorn => assert!(sums.datagrams < 300, "{}", sums.datagrams),
    }
}

#[test]
fn a_prefix_of_one_letter() {
    let sink = Sink::start();
    let server = Setup::new().set(&settings(&sink, "a")).start();
    let name = match differs("statsd-prefix-of-one-letter") {
        Gunicorn => "agunicorn.workers",
        Rustcorn => "a.gunicorn.workers",
    };
    let sums = sink.wait(PATIENCE, |sums| sums.gauges.contains_key(name));
    assert_eq!(sums.gauges.get(name), Some(&2.0), "{sums:?}");
    drop(server);
}

#[test]
fn the_gauge_of_workers_is_told_again() {
    let sink = Sink::start();
    let server = Setup::new().set(&settings(&sink, "shop")).start();
    let gauges = |sums: &Sums| sums.gauges.contains_key("shop.gunicorn.workers");
    assert!(gauges(&sink.wait(PATIENCE, gauges)));
    server.settled(2);
    let told = sink.all().datagrams;
    let more = |sums: &Sums| sums.datagrams > told + 3;
    match differs("statsd-gauges-repeated") {
        Gunicorn => {
            let after = sink.wait(Duration::from_millis(2500), more);
            assert_eq!(after.datagrams, told, "an idle server is silent");
        }
        Rustcorn => assert!(more(&sink.wait(PATIENCE, more))),
    }
}
