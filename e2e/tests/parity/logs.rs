//! Log files.

use std::fs;

use crate::harness::{PATIENCE, Sig, eventually};
use crate::subject::{Server, Setup};

fn text(server: &Server, name: &str) -> String {
    fs::read_to_string(server.dir().join(name)).unwrap_or_default()
}

#[test]
fn usr1_reopens_the_log_file_in_all_processes() {
    let setup = Setup::new().set("workers = 1");
    let server = setup.args(&["--error-logfile", "server.log"]).launch();
    let has = |name: &str, what: &str| text(&server, name).contains(what);
    eventually("the worker is ready", PATIENCE, || has("server.log", "Worker ready (pid: ").then_some(()));
    fs::rename(server.dir().join("server.log"), server.dir().join("server.log.1")).expect("it is there");
    server.signal(Sig::SIGUSR1);
    eventually("there is a new file", PATIENCE, || server.dir().join("server.log").exists().then_some(()));
    assert!(has("server.log.1", "Handling signal: usr1"), "said before it was reopened");
    server.signal(Sig::SIGTTIN);
    eventually("the master writes there", PATIENCE, || has("server.log", "Handling signal: ttin").then_some(()));
    eventually("and new workers do", PATIENCE, || has("server.log", "Worker ready (pid: ").then_some(()));
    server.signal(Sig::SIGTTOU);
    eventually("and old workers do", PATIENCE, || has("server.log", "Worker exiting (pid: ").then_some(()));
    assert!(!has("server.log.1", "ttin") && !has("server.log.1", "Worker exiting"));
}

#[test]
fn the_error_log_may_be_named_in_two_ways_and_a_bad_one_ends_the_start_with_1() {
    for flag in ["--error-logfile", "--log-file"] {
        let server = Setup::new().args(&[flag, "server.log"]).launch();
        eventually("the log is a file", PATIENCE, || {
            text(&server, "server.log").contains("Listening at").then_some(())
        });
    }
    let mut bad = Setup::new().args(&["--log-file", "no/such/folder/server.log"]).launch();
    assert_eq!(bad.wait_for_exit(PATIENCE), 1);
}

#[test]
fn usr1_without_a_file_harms_nobody() {
    let server = Setup::new().start();
    let before = server.settled(2);
    server.signal(Sig::SIGUSR1);
    server.wait_for_line("Handling signal: usr1");
    before.iter().for_each(|pid| crate::harness::proc::signal(*pid, Sig::SIGUSR1));
    crate::harness::never("a worker leaves", std::time::Duration::from_millis(300), || server.workers() != before);
    assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
}
