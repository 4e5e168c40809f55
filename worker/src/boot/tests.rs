//! A whole worker. It changes its process (signals, limits), so it gets one of its own: this program again, with one test.

use std::fs::{File, read_to_string};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Command;

use rustcorn_scoreboard::Board;
use rustcorn_sys::fd::pipe;

use super::*;
use crate::testing::{App, Client};

const CHILD: &str = "RUSTCORN_TEST_CHILD";

/// Soft and hard limit of open files.
fn limits() -> (String, String) {
    let limits = read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

#[test]
fn a_worker_says_when_it_is_ready_and_when_it_leaves() {
    if std::env::var_os(CHILD).is_none() {
        let script = r#"ulimit -S -n 128 && exec "$0" --nocapture boot::tests::a_worker_says"#;
        let program = std::env::current_exe().unwrap();
        assert!(Command::new("sh").args(["-c", script]).arg(program).env(CHILD, "1").status().unwrap().success());
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let board = Board::create().unwrap();
    let (lifeline, _master) = pipe().unwrap();
    let (told, ready) = pipe().unwrap();
    let handoff = Handoff {
        slot: 0,
        generation: 1,
        listeners: vec![listener.into()],
        lanes: None,
        scoreboard: board.fd().try_clone_to_owned().unwrap(),
        lifeline,
        ready: Ready(File::from(ready)),
        log: None,
        access: None,
        tls: None,
        settings: Settings::defaults(),
    };
    let worker = std::thread::spawn(|| run_local(handoff, Hooks::default(), |_| async { Ok(App::default()) }));
    let mut told = BufReader::new(File::from(told)).lines().map(Result::unwrap);
    assert_eq!(told.next().as_deref(), Some("READY=1"));
    let (soft, hard) = limits();
    assert_eq!(soft, hard, "a worker has as many descriptors as it may");
    let mut client = Client::to(address);
    assert!(client.get("/").ends_with("Hello"));
    // Somebody else than the master asks it to go: the master has to learn of it while the worker still finishes.
    assert!(Command::new("sh").args(["-c", "kill -TERM $PPID"]).status().unwrap().success());
    assert_eq!(told.next().as_deref(), Some("LEAVING=1"));
    assert_eq!(board.vitals(0).connections, 1);
    drop(client);
    assert_eq!(told.next(), None);
    assert_eq!(worker.join().unwrap(), ExitCode::SUCCESS);
}
