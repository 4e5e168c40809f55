//! Black-box tests: the library and the program against a server that knows exactly what it was sent and how long it took.

#![allow(clippy::unwrap_used)] // allow-unwrap-in-tests does not see that a test's helpers are tests, too

mod accuracy;
mod dependencies;
mod errors;
mod open_loop;
mod program;
mod server;
mod state;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use rustcorn_loadtester::engine::Schedule;
use rustcorn_loadtester::{Engine, EngineOptions, Interval, Scenario};

/// Runs a scenario for this long, then stops it; everything that happened.
fn run(scenario: Scenario, time: Duration, grace: Duration) -> Interval {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let schedule = Schedule::new(&scenario.load);
        let open = schedule.is_some();
        let scenario = Arc::new(scenario);
        let options = EngineOptions { threads: 2, schedule };
        let mut engine = Engine::start(Arc::clone(&scenario), options).unwrap();
        if !open {
            engine.set_users(&scenario.split(scenario.load.users));
        }
        // Ends earlier if there is nothing left to do.
        let _ = tokio::time::timeout(time, engine.finished()).await;
        let mut interval = engine.take().await;
        interval.merge(engine.stop(grace).await.0);
        interval
    })
}

/// Until all is done.
fn run_to_the_end(scenario: Scenario) -> Interval {
    run(scenario, Duration::from_secs(60), Duration::from_secs(10))
}
