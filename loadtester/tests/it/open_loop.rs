//! The open loop keeps to its schedule, whatever the server does.

use std::sync::Arc;
use std::time::Duration;

use rustcorn_loadtester::engine::Schedule;
use rustcorn_loadtester::scenario::Arrivals;
use rustcorn_loadtester::{Engine, EngineOptions, Scenario};

use crate::server::Server;
use crate::{run, run_to_the_end};

const STALL: Duration = Duration::from_secs(1);

/// The server answers nothing for 1 s of about 2 s.
#[test]
fn a_stall_is_in_the_response_times_of_the_open_loop_and_hardly_in_those_of_the_closed_one() {
    let server = Server::start();
    let mut scenario = Scenario::from_url(&server.url("/")).unwrap();
    (scenario.load.rate, scenario.load.duration) = (Some(200.0), Some(Duration::from_secs(2)));
    scenario.load.max_in_flight = 20;
    server.stall(Duration::from_millis(500), STALL);
    let open = run_to_the_end(scenario.clone());
    let task = &open.tasks[0];
    assert_eq!((task.requests, server.requests()), (400, 400), "every arrival was sent");
    // Half of them were due in the stall, spread over it evenly: a quarter of all waited half of it.
    let quarter = task.response.value_at_quantile(0.75);
    assert!(quarter > 400_000, "p75 {quarter} µs");
    assert!(task.response.value_at_quantile(0.99) > 900_000);
    // 20 at a time were in it; the others stood in line, and their service was quick.
    assert!(open.schedule.queued >= 150, "{}", open.schedule.queued);
    assert!(task.service.count_between(500_000, u64::MAX) <= 25);
    assert_eq!(open.schedule.due, 400);
    assert!(open.schedule.delay.max() > 800_000);

    let server = Server::start();
    (scenario.load.rate, scenario.load.users) = (None, 4);
    scenario.classes[0].host = Scenario::from_url(&server.url("/")).unwrap().classes[0].host.clone();
    server.stall(Duration::from_millis(500), STALL);
    let closed = run(scenario, Duration::from_secs(2), Duration::from_secs(20));
    let slow = closed.tasks[0].service.count_between(500_000, u64::MAX);
    assert!((1..=8).contains(&slow), "{slow} requests met the stall: one or so of each user");
    assert!(closed.tasks[0].service.max() >= 900_000);
    assert!(closed.tasks[0].service.value_at_quantile(0.9) < 400_000, "and p90 knows nothing of it");
    assert!(closed.tasks[0].response.is_empty());
}

#[test]
fn every_arrival_is_sent_or_accounted_for() {
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let server = Server::start();
        let mut scenario = Scenario::from_url(&server.url("/never")).unwrap();
        scenario.load.rate = Some(300.0);
        (scenario.load.max_in_flight, scenario.load.arrivals) = (5, arrivals);
        let interval = run(scenario, Duration::from_millis(500), Duration::ZERO);
        assert_eq!((interval.requests(), interval.unfinished), (0, 5));
        assert!(interval.unstarted > 0);
        assert_eq!(interval.schedule.due, interval.unfinished + interval.unstarted);
        assert_eq!(server.requests(), 5);
    }
}

/// What waits in line at the end is sent in the grace time, and costs CPU time then.
#[test]
fn cpu_time_counts_to_the_last_request() {
    let server = Server::start();
    let mut scenario = Scenario::from_url(&server.url("/")).unwrap();
    (scenario.load.rate, scenario.load.max_in_flight) = (Some(20_000.0), 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = EngineOptions { threads: 1, schedule: Schedule::new(&scenario.load) };
        let mut engine = Engine::start(Arc::new(scenario), options).unwrap();
        while engine.take().await.requests() == 0 {}
        engine.cpu_by_thread();
        let (interval, cpu) = engine.stop(Duration::from_secs(20)).await;
        assert!(interval.requests() > 0);
        assert!(cpu[0].running > 0, "{cpu:?}");
    });
}

#[test]
fn a_number_of_requests_ends_an_open_loop_too() {
    let server = Server::start();
    let mut scenario = Scenario::from_url(&server.url("/")).unwrap();
    (scenario.load.rate, scenario.load.requests) = (Some(2000.0), Some(321));
    let interval = run_to_the_end(scenario);
    assert_eq!((interval.requests(), interval.schedule.due, server.requests()), (321, 321, 321));
    assert_eq!(interval.tasks[0].response.len(), 321);
}
