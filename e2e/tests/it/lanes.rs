//! reuse_port: a socket for each worker, and still nobody's connection is lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use crate::harness::{Load, PATIENCE, Server, Setup, Sig, eventually, proc};

/// How many sockets listen on a port (proc(5), net/tcp; state 0A).
fn listening(address: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("there is a network");
    let port = format!(":{:04X}", address.port());
    let is_ours =
        |fields: &[&str]| fields.get(1).is_some_and(|local| local.ends_with(&port)) && fields.get(3) == Some(&"0A");
    table.lines().filter(|line| is_ours(&line.split_ascii_whitespace().collect::<Vec<_>>())).count()
}

/// Connections of their own, by the worker that answered.
fn by_worker(server: &Server, count: usize) -> BTreeMap<u32, usize> {
    let mut workers = BTreeMap::new();
    for _ in 0..count {
        let pid = server.get("/pid").expect("answered").body.parse().expect("a number");
        *workers.entry(pid).or_default() += 1;
    }
    workers
}

#[test]
fn each_worker_has_a_socket_and_connections_spread_evenly() {
    const EACH: usize = 200;
    let start = |reuse_port: bool| Setup::testapp().set(&format!("workers = 4\nreuse_port = {reuse_port}")).start();
    let spread = |server: &Server| {
        server.settled(4);
        by_worker(server, 4 * EACH).into_values().collect::<Vec<usize>>()
    };
    let shared = start(false);
    assert_eq!(listening(shared.address()), 1);
    let shared = spread(&shared);
    let server = start(true);
    assert_eq!(listening(server.address()), 4);
    // A hash, not a turn-taking. But nobody is left without; though where a busy machine lets a worker wait, others help its lane out.
    let is_fair = |_| {
        let own = spread(&server);
        eprintln!("{} connections, one after the other: shared socket {shared:?}, reuse_port {own:?}", 4 * EACH);
        own.len() == 4 && own.iter().all(|count| *count > EACH / 4)
    };
    assert!((0..5).any(is_fair));
}

#[test]
fn reloads_and_changes_of_number_under_load_fail_no_request() {
    let server = Setup::hello().set("reuse_port = true").start();
    server.settled(2);
    let (address, load) = (server.address(), Load::start(server.address(), "/", 3));
    for round in 0..6 {
        let line = server.reload();
        assert!(line.contains("Reloaded: generation"), "{line}");
        let (sig, count) = if round % 2 == 0 { (Sig::SIGTTIN, 3) } else { (Sig::SIGTTOU, 1) };
        server.signal(sig);
        server.settled(count);
        assert_eq!(listening(address), 2, "the sockets are for ever");
    }
    // A worker that somebody else sends away.
    server.reload();
    let workers = server.settled(2);
    proc::signal(*workers.first().expect("two"), Sig::SIGTERM);
    eventually("it was replaced", PATIENCE, || (server.workers() != workers).then_some(()));
    server.settled(2);
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally:?}");
    assert_eq!(tally.statuses.keys().copied().collect::<Vec<_>>(), [200]);
    assert!(tally.answered() > 100, "{tally:?}");
}

#[test]
fn recycling_under_load_fails_no_request() {
    let server = Setup::hello().set("reuse_port = true\nmax_requests = 200\nmax_requests_jitter = 50").start();
    let load = Load::start(server.address(), "/", 2);
    server.log.wait(0, "it has served max_requests", 6, 4 * PATIENCE);
    let tally = load.stop();
    assert_eq!((tally.failed(), tally.statuses.len()), (0, 1), "{tally:?}");
}

#[test]
fn what_waits_for_a_worker_that_dies_is_served_by_its_successor() {
    let server = Setup::testapp().set("reuse_port = true").expect("was sent SIGKILL!").start();
    let workers = server.settled(2);
    workers.iter().for_each(|pid| proc::signal(*pid, Sig::SIGSTOP)); // so that they cannot accept
    let mut clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send("GET", "/", "", "").expect("sent"));
    workers.iter().for_each(|pid| proc::signal(*pid, Sig::SIGKILL));
    for client in &mut clients {
        assert_eq!(client.receive(false).map(|response| response.status), Ok(200));
    }
}

#[test]
fn the_lane_of_a_worker_that_hangs_is_taken_care_of() {
    let server = Setup::testapp().set("reuse_port = true").start();
    let stopped = *server.settled(2).first().expect("two");
    proc::signal(stopped, Sig::SIGSTOP);
    let begin = Instant::now();
    let answers = by_worker(&server, 20);
    eprintln!("20 connections, one after the other, with one of two workers stopped: {:.1?}", begin.elapsed());
    assert_eq!((answers.len(), answers.contains_key(&stopped)), (1, false), "{answers:?}");
    proc::signal(stopped, Sig::SIGCONT);
    eventually("it serves its lane again", PATIENCE, || by_worker(&server, 20).contains_key(&stopped).then_some(()));
}

#[test]
fn one_worker_alone_takes_care_of_all_lanes() {
    let server = Setup::testapp().set("workers = 3\nreuse_port = true").start();
    server.settled(3);
    server.signal(Sig::SIGTTOU);
    server.settled(2);
    server.signal(Sig::SIGTTOU);
    let last = server.settled(1);
    assert_eq!(listening(server.address()), 3);
    let answers = by_worker(&server, 60);
    assert_eq!(answers.into_keys().collect::<Vec<_>>(), last.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_stop_under_load_answers_everyone_who_got_a_connection() {
    let mut server = Setup::hello().set("workers = 3\nreuse_port = true").start();
    server.settled(3);
    let load = Load::start(server.address(), "/", 2);
    eventually("some load", PATIENCE, || (load.answered() > 200).then_some(()));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let tally = load.stop();
    let only_refused = tally.failures.keys().all(|failure| *failure == crate::harness::client::Failure::Refused);
    assert!(only_refused, "{tally:?}");
}
