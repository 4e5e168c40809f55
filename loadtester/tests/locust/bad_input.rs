//! One clear message each, and an exit code where it is final.

use std::io::Write;
use std::net::TcpListener;

use nix::sys::signal::Signal;

use super::master::Master;
use super::program::{Program, ScenarioFile};

#[test]
fn a_master_that_is_not_there_is_said_once_and_waited_for() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    drop(held);
    let file = ScenarioFile::new("absent", "http://127.0.0.1:9");
    let mut program = Program::worker(port, &[file.path()]);
    let line = program.wait_for("cannot be reached");
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    assert!(line.contains("refused") && line.contains("dialling again") && !line.contains("os error"), "{line}");
    program.signal(Signal::SIGTERM);
    let (status, lines) = program.wait();
    assert!(status.success());
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn what_is_no_master_ends_the_worker() {
    let mut greeting = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0PLAIN".to_vec();
    greeting.resize(64, 0);
    let table: [(&[u8], &str); 2] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (&greeting, "demands ZeroMQ security \"PLAIN\""),
    ];
    for (first, why) in table {
        let other = Master::new();
        let file = ScenarioFile::new("other", "http://127.0.0.1:9");
        let program = Program::worker(other.port, &[file.path()]);
        other.accept_raw().write_all(first).unwrap();
        let (status, lines) = program.wait();
        assert_eq!(status.code(), Some(1), "{lines:?}");
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(line.contains(why) && line.contains("5557"), "{line}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_right() {
    let file = ScenarioFile::new("usage", "");
    let path = file.path();
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let table: [Case<'_>; 9] = [
        (&[], &[("LOCUST_MODE", "master")], "locust --master"),
        (&[], &[("LOCUST_MODE", "standalone")], "rustcorn-loadtester run"),
        (&[], &[("LOCUST_MODE", "boss")], "LOCUST_MODE=boss"),
        (&["worker", path], &[("LOCUST_MASTER_NODE_PORT", "tcp://10.0.0.1:5557")], "LOCUST_MASTER_NODE_PORT"),
        (&["worker", path], &[("TARGET_HOST", "shop")], "TARGET_HOST: \"shop\""),
        (&["worker", path, "--host", "ftp://shop"], &[], "--host: \"ftp://shop\""),
        (&["worker", path, "--master-port", "0"], &[], "--master-port"),
        (&["worker", "/nonexistent.toml"], &[], "cannot read /nonexistent.toml"),
        (&["locustfile", "/nonexistent.toml"], &[], "cannot read /nonexistent.toml"),
    ];
    for (args, env, why) in table {
        let (status, lines) = Program::start(args, env).wait();
        assert_eq!(status.code(), Some(2), "{args:?}: {lines:?}");
        assert!(lines.join("\n").contains(why), "{args:?}: {lines:?} without {why:?}");
    }
}

#[test]
fn a_health_address_that_is_taken_ends_the_worker_before_it_joins() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = ScenarioFile::new("taken", "http://127.0.0.1:9");
    let (status, lines) = Program::worker(9, &[file.path(), "--health-bind", &address]).wait();
    assert_eq!(status.code(), Some(1));
    assert!(lines.len() == 1 && lines[0].contains("--health-bind") && lines[0].contains(&address), "{lines:?}");
}
