//! Processes that die or hang, and who notices.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::client::Failure;
use crate::harness::{Conn, PATIENCE, Setup, Sig, eventually, never, proc};

#[test]
fn kill_9_of_a_worker_loses_its_own_requests_only_and_it_is_replaced() {
    let setup = Setup::testapp().set("workers = 3").app("slow_ms = 5000").expect("was sent SIGKILL!");
    let server = setup.start();
    let before = server.settled(3);
    let mut clients = Vec::new();
    let started = loop {
        let address = server.address();
        clients.push(thread::spawn(move || Conn::open(address)?.get("/slow")));
        let started = server.wait_for_journal("start", clients.len());
        let busy: BTreeSet<u32> = started.iter().copied().collect();
        if busy.len() >= 2 && started.len() >= 8 || started.len() == 100 {
            break started;
        }
    };
    let victim = started[0];
    proc::signal(victim, Sig::SIGKILL);
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().expect("no panic")).collect();

    let lost = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(lost, started.iter().filter(|pid| **pid == victim).count(), "{answers:?}");
    for answer in answers {
        match answer {
            Ok(response) => assert_ne!(response.body, victim.to_string()),
            Err(failure) => assert!([Failure::Eof, Failure::Reset].contains(&failure), "{failure}"),
        }
    }
    eventually("the victim is replaced", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
    let after = server.settled(3);
    assert_eq!(before.difference(&after).copied().collect::<Vec<_>>(), [victim], "the others are the same");
    let line = server.wait_for_line(&format!("[ERROR] Worker (pid:{victim}) was sent SIGKILL! "));
    // Which of them depends on whether the kernel counts its own victims here.
    let ends = ["Perhaps out of memory?", "Somebody sent it, not the kernel's out-of-memory killer"];
    assert!(ends.iter().any(|end| line.ends_with(end)), "{line}");
}

#[test]
fn kill_9_of_the_master_lets_workers_finish_and_frees_the_port() {
    let mut server = Setup::testapp().app("slow_ms = 800").start();
    let address = server.address();
    let mut idle = server.connect();
    assert!(idle.get("/").is_ok());
    let clients: Vec<_> = (0..4).map(|_| thread::spawn(move || Conn::open(address)?.get("/slow"))).collect();
    server.wait_for_journal("start", 4);
    server.signal(Sig::SIGKILL);
    assert_eq!(server.wait_for_exit(PATIENCE), -1);
    for client in clients {
        let answer = client.join().expect("no panic").expect("requests under way are finished");
        assert_eq!(answer.status, 200);
    }
    server.wait_for_silence(PATIENCE); // graceful_timeout is 30
    server.wait_for_line("Parent changed, shutting down");
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn a_blocked_worker_does_not_outlive_its_master() {
    let mut server = Setup::testapp().set("graceful_timeout = 0.5\nworkers = 1").start();
    let mut blocked = server.connect();
    blocked.send("GET", "/block", "", "").expect("sent");
    server.wait_for_journal("block", 1);
    server.signal(Sig::SIGKILL);
    assert_eq!(server.wait_for_exit(PATIENCE), -1);
    server.wait_for_silence(PATIENCE);
}

#[test]
fn a_worker_that_still_boots_does_not_outlive_its_master() {
    let mut server = Setup::testapp().app("hang_boot = true").launch();
    server.log.wait(0, "Booting worker", 2, PATIENCE);
    server.signal(Sig::SIGKILL);
    assert_eq!(server.wait_for_exit(PATIENCE), -1);
    server.wait_for_silence(PATIENCE);
}

#[test]
fn a_hung_worker_is_named_with_its_request_and_replaced_while_others_serve() {
    let server = Setup::testapp().set("timeout = 2").expect("WORKER TIMEOUT").start();
    let before = server.settled(2);
    let begin = Instant::now();
    let mut blocked = server.connect();
    blocked.send("GET", "/block?secret=1", "", "").expect("sent");
    server.wait_for_journal("block", 1); // a connection that the worker took before is lost with it

    let hung = eventually("the log names the hung worker", PATIENCE, || {
        assert!(server.get("/pid").is_ok(), "the other worker serves");
        server.log.find(0, "WORKER TIMEOUT")
    });
    let pid: u32 = hung.split("(pid:").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok()).expect("a pid");
    assert!(hung.contains("[CRITICAL] WORKER TIMEOUT (pid:"), "{hung}");
    assert!(hung.contains(", while handling GET /block for "), "{hung}");
    eventually("it is replaced", PATIENCE, || (!server.workers().contains(&pid)).then_some(()));
    let after = server.settled(2);
    assert!(begin.elapsed() < PATIENCE, "by default it is 30 s: {:?}", begin.elapsed());
    assert_eq!(before.difference(&after).copied().collect::<Vec<_>>(), [pid]);
    assert!(blocked.receive(false).is_err());
}

#[test]
fn an_idle_server_keeps_its_workers() {
    let server = Setup::hello().set("timeout = 2\nworkers = 4").start();
    let before = server.settled(4);
    // No metrics are sent: the master wakes only when the oldest heartbeat it knows of is due.
    never("a worker is judged", Duration::from_secs(5), || server.log.find(0, "WORKER TIMEOUT").is_some());
    assert_eq!(server.settled(4), before);
}

#[test]
fn a_request_that_only_waits_is_no_hang() {
    let server = Setup::testapp().set("timeout = 2").app("slow_ms = 4500").start();
    let before = server.settled(2);
    assert_eq!(server.get("/slow").map(|response| response.status), Ok(200));
    assert_eq!(server.settled(2), before);
}

#[test]
fn a_machine_that_was_suspended_kills_no_worker() {
    let server = Setup::hello().set("timeout = 2").start();
    let workers = server.settled(2);
    let all = || workers.iter().copied().chain([server.pid()]);
    all().for_each(|pid| proc::signal(pid, Sig::SIGSTOP));
    let stopped = || all().all(|pid| proc::state(pid) == Some('T'));
    eventually("everyone stands still", PATIENCE, || stopped().then_some(()));
    never("a stopped process goes on", Duration::from_millis(3500), || !stopped());
    proc::signal(server.pid(), Sig::SIGCONT);
    workers.iter().for_each(|pid| proc::signal(*pid, Sig::SIGCONT));
    never("a worker is judged", Duration::from_millis(3000), || server.log.find(0, "WORKER TIMEOUT").is_some());
    assert_eq!(server.settled(2), workers);
}

/// Whoever was not there to hear heartbeats gives one more period, and no more than one.
#[test]
fn a_master_that_stood_still_gives_one_more_period() {
    let server = Setup::hello().set("timeout = 2").expect("WORKER TIMEOUT").start();
    let workers = server.settled(2);
    let victim = *workers.first().expect("two");
    let stopped = || [victim, server.pid()].iter().all(|pid| proc::state(*pid) == Some('T'));
    proc::signal(victim, Sig::SIGSTOP);
    proc::signal(server.pid(), Sig::SIGSTOP);
    eventually("both stand still", PATIENCE, || stopped().then_some(()));
    never("a stopped process goes on", Duration::from_millis(3500), || !stopped());
    let begin = Instant::now();
    proc::signal(server.pid(), Sig::SIGCONT);
    server.wait_for_line(&format!("WORKER TIMEOUT (pid:{victim})"));
    assert!(begin.elapsed() > Duration::from_millis(1500), "not before its time: {:?}", begin.elapsed());
    eventually("it is replaced", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
    server.settled(2);
    assert_eq!(server.log.count("WORKER TIMEOUT"), 1);
}

/// Workers that went on serving meanwhile are none the worse for it.
#[test]
fn workers_outlast_a_master_that_stands_still() {
    let server = Setup::hello().set("timeout = 2").start();
    let workers = server.settled(2);
    proc::signal(server.pid(), Sig::SIGSTOP);
    eventually("it stands still", PATIENCE, || (proc::state(server.pid()) == Some('T')).then_some(()));
    never("a worker leaves", Duration::from_millis(3500), || {
        assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
        workers.iter().any(|pid| !proc::lives(*pid))
    });
    proc::signal(server.pid(), Sig::SIGCONT);
    never("a worker is judged", Duration::from_millis(3000), || server.log.find(0, "WORKER TIMEOUT").is_some());
    assert_eq!(server.settled(2), workers);
}

#[test]
fn a_worker_that_stands_still_is_replaced() {
    let server = Setup::hello().set("timeout = 2").expect("WORKER TIMEOUT").start();
    let workers = server.settled(2);
    let victim = *workers.first().expect("two");
    proc::signal(victim, Sig::SIGSTOP);
    let line = server.wait_for_line("WORKER TIMEOUT");
    assert!(line.contains(&format!("(pid:{victim})")) && line.ends_with("while it was handling no request"), "{line}");
    eventually("it is gone", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
    server.settled(2);
}

#[test]
fn a_panic_costs_one_request_a_crash_one_worker() {
    let setup = Setup::testapp().set("workers = 1").expect("asked to panic").expect("panicked").expect("code 7");
    let server = setup.start();
    let before = server.settled(1);
    assert_eq!(server.get("/panic").map(|response| response.status), Ok(500));
    assert_eq!(server.settled(1), before, "the same process serves on");
    server.wait_for_line("[ERROR] Error handling request GET /panic: panicked: asked to panic");

    for (path, line) in [("/crash", "was sent SIGABRT!"), ("/exit", "exited with code 7.")] {
        let before = server.settled(1);
        assert!(server.get(path).is_err());
        server.wait_for_line(line);
        eventually("it is replaced", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
        server.settled(1);
        assert_eq!(server.get("/").map(|response| response.status), Ok(200));
    }
}

#[test]
fn an_application_that_keeps_dying_is_tried_at_a_bounded_rate() {
    let setup = Setup::testapp().set("workers = 1\nrestart_backoff = 0.2").app("die_after_ms = 1").expect("code 1");
    let begin = Instant::now();
    let mut server = setup.launch();
    // At once, at once again, then after 0.2, 0.4 and 0.8 seconds.
    server.log.wait(0, "Booting worker", 5, PATIENCE);
    assert!(begin.elapsed() >= Duration::from_millis(1400), "{:?}", begin.elapsed());
    server.wait_for_line("Worker 0 keeps dying; trying again in 800.0ms");
    assert_eq!(server.exit_code(), None, "it never gives up once it has served");
}
