//! A worker's life beside its runs: masters that go away, come back, say nothing or nonsense.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use rmpv::Value;
use rustcorn_loadtester::locust::zmtp;

use super::master::{LONG, Master, Sums};
use super::program::{Program, ScenarioFile};
use super::target::Target;

#[test]
fn a_master_that_is_restarted_gets_a_worker_with_a_new_name_and_no_old_numbers() {
    let (master, target) = (Master::new(), Target::new());
    let file = ScenarioFile::new("restart", &target.url);
    let mut program = Program::worker(master.port, &[file.path()]);
    let mut node = master.join();
    node.spawn(&[("Browse", 5)], None);
    node.stats_until(&mut Sums::default(), |sums| sums.requests > 0);
    let first = node.identity.clone();
    drop(node);
    let master = master.restart();
    target.wait_until_left();
    let before = target.requests();
    let mut node = master.join();
    assert_ne!(node.identity, first, "a name that the master has seen is ignored for ever");
    assert_eq!(node.identity.split('_').next(), first.split('_').next(), "the host's name stays");
    let mut sums = Sums::default();
    node.spawn(&[("Buy", 1)], None);
    node.stats_until(&mut sums, |sums| sums.requests > 0);
    node.send("quit", Value::Nil);
    node.stats_before(&mut sums, "quit");
    node.expect_end();
    assert_eq!((sums.requests, sums.failures), (target.requests() - before, 0));
    program.wait_for("the master said quit");
    assert_eq!(program.seen.iter().filter(|line| line.contains("joined the master")).count(), 2, "{:?}", program.seen);
    program.assert_success();
}

#[test]
fn without_an_ack_it_comes_again_under_another_name() {
    let master = Master::new();
    let file = ScenarioFile::new("no-ack", "http://127.0.0.1:9");
    let mut program = Program::worker(master.port, &[file.path()]);
    let mut deaf = master.accept();
    deaf.expect("client_ready");
    deaf.expect_end();
    let node = master.join();
    assert_ne!(node.identity, deaf.identity);
    program.wait_for("did not register this worker within 5 s");
    program.wait_for("joined");
}

#[test]
fn persist_outlives_a_quit() {
    let master = Master::new();
    let file = ScenarioFile::new("persist", "http://127.0.0.1:9");
    let program = Program::worker(master.port, &[file.path(), "--persist"]);
    let mut first = master.join();
    first.send("quit", Value::Nil);
    first.expect("quit");
    first.expect_end();
    let mut second = master.join();
    assert_ne!(second.identity, first.identity);
    program.signal(Signal::SIGINT);
    second.expect("quit");
    second.expect_end();
    program.assert_success();
}

#[test]
fn a_master_that_asks_for_a_new_connection_gets_one() {
    let (master, target) = (Master::new(), Target::new());
    let file = ScenarioFile::new("reconnect", &target.url);
    let program = Program::worker(master.port, &[file.path()]);
    let mut node = master.join();
    let mut sums = Sums::default();
    node.spawn(&[("Buy", 1)], None);
    node.stats_until(&mut sums, |sums| sums.requests > 0);
    node.send("reconnect", Value::Nil);
    node.stats_until(&mut sums, |sums| sums.users == 0);
    node.expect_end();
    assert_ne!(master.join().identity, node.identity);
    drop(program);
}

#[test]
fn nonsense_in_a_message_is_passed_over_and_nonsense_in_a_frame_ends_the_connection() {
    let (master, target) = (Master::new(), Target::new());
    let file = ScenarioFile::new("nonsense", &target.url);
    let mut program = Program::worker(master.port, &[file.path()]);
    let mut node = master.join();
    for nonsense in [&b""[..], b"\xc1", b"\x92\xa4stop\xc0", b"\x93\xa5spawn\xc0\xa1x", b"\x93\xa5hello\xc0\xa1x"] {
        node.send_raw(&zmtp::message(nonsense));
    }
    let mut sums = Sums::default();
    node.spawn(&[("Buy", 1)], None);
    node.stats_until(&mut sums, |sums| sums.requests > 0);
    node.send_raw(b"\xff\xff");
    while node.next().is_some() {}
    let mut again = master.join();
    again.spawn(&[("Buy", 1)], None);
    program.wait_for("reserved flags");
    program.wait_for("joined");
    assert_eq!(program.seen.iter().filter(|line| line.contains("passed over")).count(), 5, "{:#?}", program.seen);
}

#[test]
fn probes_are_answered_ready_once_the_master_knows_the_worker() {
    let master = Master::new();
    let file = ScenarioFile::new("health", "http://127.0.0.1:9");
    let mut program = Program::worker(master.port, &[file.path(), "--health-bind", "127.0.0.1:0"]);
    let line = program.wait_for("probes are answered at http://");
    let address = line.split('/').nth(2).unwrap().to_owned();
    let mut node = master.accept();
    let probe = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!((probe("/livez").as_str(), probe("/readyz").as_str(), probe("/").as_str()), ("200", "503", "404"));
    node.register();
    assert_eq!(node.beat(), "ready");
    assert_eq!(probe("/readyz"), "200");
    drop(program);
}
