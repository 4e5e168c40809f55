//! A deployment: another file in the place of the program, HUP, and not one request lost.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, spawn};

use crate::harness::binaries::{foreign, of_version, testapp};
use crate::harness::{Conn, PATIENCE, Server, Setup, Sig, eventually, full};

/// What one client saw: the version in each answer, connection by connection.
type Seen = Vec<Vec<u8>>;

/// Clients that ask for the version all the time: some on connections that they keep, some on a new one each time.
struct Askers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

impl Askers {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..4).map(|number| {
            let stop = Arc::clone(&stop);
            spawn(move || ask(address, number % 2 == 0, &stop))
        });
        Self { threads: threads.collect(), stop }
    }

    /// What they saw; each request was answered.
    fn stop(self) -> Vec<Seen> {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("no request failed")).collect()
    }
}

fn ask(address: SocketAddr, keeps: bool, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::new();
    while !stop.load(Relaxed) {
        let mut conn = Conn::open(address).expect("a connection");
        let mut versions = Vec::new();
        while !stop.load(Relaxed) {
            let head = if keeps { "" } else { "Connection: close\r\n" };
            let answer = conn.request("GET", "/version", head, "").expect("an answer");
            assert_eq!(answer.status, 200);
            versions.push(*answer.body.as_bytes().last().expect("a version") - b'0');
            if answer.closes() {
                break;
            }
        }
        seen.push(versions);
    }
    seen
}

/// The one program by both contracts: its configuration, and how the master is told to run the file.
fn services() -> [(&'static str, Setup, std::path::PathBuf); 3] {
    let command = |words: &str| format!("command = [{words}]\n");
    let hello = || Setup::hello().without("handler").set("restart_backoff = 0");
    [
        ("its own master", Setup::testapp().without("journal").installed("service"), testapp()),
        ("a command", hello().app(&command("\"./service\"")), testapp()),
        (
            "a foreign command",
            hello().app(&(command("\"./service\", \"notify\"") + "foreign = \"notify\"\n")),
            foreign(),
        ),
    ]
}

fn started(setup: Setup, program: &Path) -> Server {
    setup.dir.replace("service", &of_version(program, 1));
    setup.start()
}

#[test]
fn new_code_by_hup_under_load_loses_no_request_and_never_goes_back() {
    for (what, setup, program) in services() {
        let server = started(setup, &program);
        let askers = Askers::start(server.address());
        let newest = if full() { 9 } else { 4 };
        for version in 2..=newest {
            server.replace("service", &of_version(&program, version));
            let old = server.workers();
            let outcome = server.reload();
            assert!(outcome.contains("Reloaded: generation"), "{what}: {outcome}");
            eventually("the swap is complete", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
            let answer = server.get("/version").expect("answered");
            assert!(answer.body.ends_with(&version.to_string()), "{what}: {} after the swap to {version}", answer.body);
        }
        for client in askers.stop() {
            assert!(client.iter().flatten().any(|version| *version == newest), "{what}: {client:?}");
            for connection in &client {
                assert!(connection.is_sorted(), "{what}: one connection went back: {connection:?}");
            }
            let swapped = client.iter().map(|connection| connection.first().copied().unwrap_or(newest));
            // While a swap runs, old and new accept; but never those of before the swap before.
            let mut highest = 1;
            for first in swapped {
                assert!(first + 1 >= highest, "{what}: {first} after {highest}");
                highest = highest.max(first);
            }
        }
    }
}

#[test]
fn broken_code_leaves_the_old_serving_and_says_why() {
    for (what, setup, program) in services() {
        let mut server = started(setup, &program);
        server.setup_expects("Reload failed");
        server.setup_expects("exited with code");
        let pids = server.settled(2);
        let askers = Askers::start(server.address());
        let broken: [(&[u8], &str); 2] = [
            (b"#!/bin/sh\necho 'no database' >&2\nexit 7\n", "it exited with code 7 before it was ready"),
            (b"\x7fELF is how it begins, and that is all", "the program cannot be executed: "),
        ];
        for (code, why) in broken {
            server.replace("service", code);
            let outcome = server.reload();
            assert!(outcome.contains("Reload failed: ") && outcome.contains(why), "{what}: {outcome}");
            assert_eq!(server.workers(), pids, "{what}");
        }
        assert!(server.log.count("no database") > 0, "{what}: what the program itself says is in the log");
        assert!(askers.stop().iter().flatten().flatten().all(|version| *version == 1), "{what}");
        // A worker that dies now is brought back with the code that its generation began with.
        server.setup_expects("was sent SIGKILL!");
        crate::harness::proc::signal(*pids.first().expect("two"), Sig::SIGKILL);
        eventually("it is back", PATIENCE, || {
            let workers = server.workers();
            (workers.len() == 2 && workers != pids).then_some(())
        });
        server.settled(2);
        assert!(server.get("/version").expect("answered").body.ends_with('1'), "{what}");
    }
}
