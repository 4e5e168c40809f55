//! Runs: what the master adds up is what the server counted.

use nix::sys::signal::Signal;
use rmpv::Value;

use super::master::{Master, Sums, map};
use super::program::{Program, ScenarioFile, scenario};
use super::target::Target;

fn users(counts: &[(&str, u32)]) -> Value {
    Value::Map(counts.iter().map(|(class, count)| ((*class).into(), (*count).into())).collect())
}

#[test]
fn a_run_from_ramp_to_stop_and_another_one() {
    let (master, target) = (Master::new(), Target::new());
    let file = ScenarioFile::new("ramp", &target.url);
    let program = Program::worker(master.port, &[file.path()]);
    let mut node = master.join();
    let mut sums = Sums::default();
    assert_eq!(node.spawn(&[("Browse", 1), ("Buy", 0)], None), users(&[("Browse", 1), ("Buy", 0)]));
    assert_eq!(node.spawn(&[("Browse", 6), ("Buy", 2)], None), users(&[("Browse", 6), ("Buy", 2)]));
    node.send("spawning_complete", map([("user_count", 8.into())]));
    node.stats_until(&mut sums, |sums| sums.reports == 2 && sums.failures > 0);
    assert_eq!(sums.users, 8);
    assert_eq!(node.beats.last().map(String::as_str), Some("running"));
    node.send("stop", Value::Nil);
    node.stats_before(&mut sums, "client_stopped");
    assert_eq!(sums.users, 0, "the last report has no users");
    node.beats.clear();
    node.register();
    sums.assert_consistent();
    assert_eq!((sums.requests, sums.failures), (target.requests(), target.missing()), "exactly");
    // A second run begins at zero, in the same connection.
    let before = target.requests();
    let mut again = Sums::default();
    node.spawn(&[("Buy", 3)], None);
    assert!(node.beats.iter().all(|state| state == "ready"), "no running after client_ready: {:?}", node.beats);
    node.stats_until(&mut again, |sums| sums.requests > 0);
    node.send("quit", Value::Nil);
    node.stats_before(&mut again, "quit");
    node.expect_end();
    again.assert_consistent();
    assert_eq!(again.requests, target.requests() - before, "exactly, though the master waits half a second only");
    program.assert_success();
}

#[test]
fn a_signal_flushes_what_was_measured_and_says_quit() {
    let (master, target) = (Master::new(), Target::new());
    let file = ScenarioFile::new("signal", &target.url);
    let program = Program::worker(master.port, &[file.path(), "--persist"]);
    let mut node = master.join();
    let mut sums = Sums::default();
    node.spawn(&[("Browse", 4)], None);
    node.stats_until(&mut sums, |sums| sums.requests > 0);
    program.signal(Signal::SIGTERM);
    node.stats_before(&mut sums, "quit");
    node.expect_end();
    sums.assert_consistent();
    assert_eq!((sums.requests, sums.users), (target.requests(), 0));
    program.assert_success();
}

#[test]
fn the_master_says_where_to_and_nowhere_is_an_exception() {
    let (master, target) = (Master::new(), Target::new());
    let file = ScenarioFile::new("host", "");
    let program = Program::worker(master.port, &[file.path()]);
    let mut node = master.join();
    let mut sums = Sums::default();
    for (host, why) in [(None, "has no host"), (Some("shop:8000"), "shop:8000")] {
        node.send_spawn(&[("Buy", 2)], host);
        node.confirmed();
        let exception = node.expect("exception");
        assert!(exception.to_string().contains(why), "{exception}");
        let data = node.expect("spawning_complete");
        assert!(data.to_string().contains("\"user_count\": 0"), "nobody works: {data}");
    }
    node.spawn(&[("Buy", 2)], Some(&target.url));
    node.stats_until(&mut sums, |sums| sums.requests > 0);
    node.send_spawn(&[("Buy", 3)], Some("shop:8000"));
    node.expect("spawning");
    node.expect("spawning_complete");
    let data = node.expect("spawning_complete");
    assert!(data.to_string().contains("\"user_count\": 0"), "it was said before, but nobody works: {data}");
    target.wait_until_left();
    node.send("stop", Value::Nil);
    node.stats_before(&mut sums, "client_stopped");
    sums.assert_consistent();
    assert_eq!((sums.requests, sums.failures), (target.requests(), 0));
    node.register();
    program.signal(Signal::SIGTERM);
    node.expect("quit");
    node.expect_end();
    program.assert_success();
}

#[test]
fn users_of_a_class_that_is_not_there_are_an_exception() {
    let (master, target) = (Master::new(), Target::new());
    let file = ScenarioFile::new("unknown", &target.url);
    let program = Program::worker(master.port, &[file.path()]);
    let mut node = master.join();
    node.send_spawn(&[("Browse", 1), ("Sell", 2)], None);
    node.expect("spawning");
    let exception = node.expect("exception");
    assert!(exception.to_string().contains("Sell"), "{exception}");
    let confirmed = node.expect("spawning_complete");
    assert!(!confirmed.to_string().contains("Sell"), "{confirmed}");
    program.signal(Signal::SIGTERM);
    node.stats_before(&mut Sums::default(), "quit");
    node.expect_end();
    program.assert_success();
}

#[test]
fn the_scenario_comes_out_of_the_masters_locustfile() {
    let (master, target) = (Master::new(), Target::new());
    let file = ScenarioFile::new("fetched", &target.url);
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_rustcorn-loadtester"))
        .args(["locustfile", file.path()])
        .output()
        .unwrap();
    assert!(printed.status.success());
    let contents = String::from_utf8(printed.stdout).unwrap();
    assert!(contents.contains("class Browse("), "{contents}");
    let mut program = Program::worker(master.port, &[]);
    let mut node = master.accept();
    node.expect("locustfile");
    let source = map([("filename", "locustfile.py".into()), ("contents", contents.into())]);
    node.send("locustfile", map([("locustfiles", Value::Array(vec![source]))]));
    node.register();
    program.wait_for("joined");
    let mut sums = Sums::default();
    node.spawn(&[("Browse", 1), ("Buy", 1)], None);
    node.stats_until(&mut sums, |sums| sums.requests > 0);
    node.send("quit", Value::Nil);
    node.stats_before(&mut sums, "quit");
    node.expect_end();
    assert_eq!(sums.requests, target.requests());
    assert!(node.logs.iter().any(|line| line.contains("comes from the master")), "{:?}", node.logs);
    program.assert_success();
}

#[test]
fn a_locustfile_without_a_scenario_ends_the_worker() {
    let master = Master::new();
    let program = Program::worker(master.port, &[]);
    let mut node = master.accept();
    node.expect("locustfile");
    let source = map([("filename", "locustfile.py".into()), ("contents", "from locust import User".into())]);
    node.send("locustfile", map([("locustfiles", Value::Array(vec![source]))]));
    node.expect_end();
    let (status, lines) = program.wait();
    assert_eq!(status.code(), Some(1));
    assert!(lines.last().is_some_and(|line| line.contains("rustcorn-loadtester locustfile")), "{lines:?}");
}

#[test]
fn the_environment_makes_a_worker() {
    let (master, target) = (Master::new(), Target::new());
    let port = master.port.to_string();
    // Kubernetes puts this one into every container next to a service called locust-master.
    let injected = ("LOCUST_MASTER_PORT", "tcp://10.0.0.1:5557");
    let env = [
        ("LOCUST_MODE", "worker"),
        ("LOCUST_MASTER", "127.0.0.1"),
        ("LOCUST_MASTER_NODE_PORT", &port),
        ("TARGET_HOST", &target.url),
        injected,
    ];
    let program = Program::start([""; 0], &env);
    let mut node = master.accept();
    node.expect("locustfile");
    let text = scenario("").lines().fold("# --- scenario s\n".to_owned(), |text, line| text + "#|" + line + "\n");
    let source = map([("filename", "l.py".into()), ("contents", (text + "# --- end of scenario\n").into())]);
    node.send("locustfile", map([("locustfiles", Value::Array(vec![source]))]));
    node.register();
    let mut sums = Sums::default();
    node.spawn(&[("Buy", 1)], None);
    node.stats_until(&mut sums, |sums| sums.requests > 0);
    node.send("quit", Value::Nil);
    node.stats_before(&mut sums, "quit");
    node.expect_end();
    assert_eq!((sums.requests, sums.failures), (target.requests(), 0));
    program.assert_success();
}
