//! Counts and times against those of the server.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use rustcorn_loadtester::Scenario;

use crate::server::Server;
use crate::{run, run_to_the_end};

/// What the machine does between the two clocks is a matter of luck, and only ever makes the client's times longer: one try
/// out of these that is within a hundredth is proof.
const TRIES: usize = 8;

/// Every percentile of the client's is at most 1 % above that of the server's own clock.
fn within_one_percent(body: &str) {
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let server = Server::start();
        let text = format!("host = {:?}\nusers = 10\nrequests = 60\n{body}", server.url(""));
        let interval = run_to_the_end(Scenario::from_text("t", &text).unwrap());
        let mut all = rustcorn_loadtester::stats::histogram();
        interval.tasks.iter().for_each(|task| all.add(&task.service).unwrap());
        assert_eq!(server.requests(), 60); // once the server is done, and has written its times down
        let mut waits = server.books.waits.lock().unwrap().clone();
        waits.sort_unstable();
        assert_eq!((all.len(), waits.len()), (60, 60));
        let ratios: Vec<f64> = [0.1, 0.5, 0.75, 0.9]
            .iter()
            .map(|quantile| {
                let server = waits[(quantile * waits.len() as f64).ceil() as usize - 1].as_micros() as f64;
                all.value_at_quantile(*quantile) as f64 / server
            })
            .collect();
        assert!(ratios.iter().all(|ratio| *ratio > 0.99), "shorter than it can be: {ratios:?}");
        if ratios.iter().all(|ratio| *ratio < 1.01) {
            return;
        }
        seen.push(ratios);
    }
    panic!("client's percentiles by the server's: {seen:.3?}");
}

#[test]
fn percentiles_of_a_constant_delay_are_the_servers() {
    within_one_percent("[[task]]\npath = \"/wait/200\"\n");
}

#[test]
fn percentiles_of_two_delays_are_the_servers() {
    within_one_percent("[[task]]\npath = \"/wait/100\"\nweight = 2\n[[task]]\npath = \"/wait/300\"\n");
}

#[test]
fn a_number_of_requests_is_that_number() {
    let server = Server::start();
    let mut scenario = Scenario::from_url(&server.url("/")).unwrap();
    (scenario.load.users, scenario.load.requests) = (7, Some(1000));
    let interval = run_to_the_end(scenario);
    assert_eq!((interval.requests(), server.requests()), (1000, 1000));
    assert_eq!((interval.tasks[0].service.len(), interval.tasks[0].bytes), (1000, 5000));
    // Not always 7: quick users may spend all requests before another one has come.
    let opened = interval.connections.opened;
    assert!(opened == server.books.connections.load(SeqCst) as u64 && (1..=7).contains(&opened), "{opened}");
    assert_eq!(interval.tasks[0].seconds.iter().map(|second| second.requests).sum::<u64>(), 1000);
}

#[test]
fn what_is_cut_off_is_accounted_for() {
    let server = Server::start();
    let mut scenario = Scenario::from_url(&server.url("/wait/50")).unwrap();
    scenario.load.users = 9;
    // Not one of the nine can be between two requests when all are stopped at once.
    let interval = run(scenario, Duration::from_millis(180), Duration::ZERO);
    assert!(interval.unfinished > 0);
    assert_eq!(interval.requests() + interval.unfinished, server.requests());
    assert!(interval.failures.is_empty(), "{:?}", interval.failures);
}

#[test]
fn grace_lets_requests_finish() {
    let server = Server::start();
    let mut scenario = Scenario::from_url(&server.url("/wait/300")).unwrap();
    scenario.load.users = 4;
    let interval = run(scenario, Duration::from_millis(100), Duration::from_secs(20));
    assert_eq!((interval.requests(), interval.unfinished, server.requests()), (4, 0, 4));
}

#[test]
fn users_come_and_go() {
    let server = Server::start();
    let text = format!(
        "host = {:?}\n[[class]]\nname = \"a\"\n[[class.task]]\npath = \"/\"\n[[class]]\nname = \"b\"\n[[class.task]]\npath = \"/wait/5\"\n",
        server.url("")
    );
    let scenario = std::sync::Arc::new(Scenario::from_text("t", &text).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = rustcorn_loadtester::EngineOptions { threads: 2, schedule: None };
        let mut engine = rustcorn_loadtester::Engine::start(scenario, options).unwrap();
        let mut total = rustcorn_loadtester::Interval::empty(2);
        for targets in [[3, 0], [5, 2], [0, 7], [1, 1]] {
            engine.set_users(&targets);
            while engine.users() != targets {
                tokio::task::yield_now().await;
            }
            total.merge(engine.take().await);
        }
        total.merge(engine.stop(Duration::from_secs(20)).await.0);
        assert_eq!(total.requests() + total.unfinished, server.requests());
        assert!(total.tasks.iter().all(|task| task.requests > 0));
    });
}
