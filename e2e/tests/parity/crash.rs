//! Workers that die or hang, and a master that does.

use std::net::TcpListener;
use std::time::Duration;

use crate::harness::client::Failure;
use crate::harness::{PATIENCE, Sig, eventually, never, proc};
use crate::subject::{Gunicorn, Rustcorn, Setup, differs};

#[test]
fn kill_9_of_a_worker_is_told_and_it_is_replaced() {
    let server = Setup::new().start();
    let before = server.settled(2);
    let victim = *before.first().expect("two");
    proc::signal(victim, Sig::SIGKILL);
    let line = server.wait_for_line(&format!("Worker (pid:{victim}) was sent SIGKILL!"));
    assert_eq!((line.level.as_str(), line.pid), ("ERROR", server.pid()));
    let text = |who: &str| format!("Worker (pid:{victim}) was sent SIGKILL! {who}");
    match differs("sigkill-cause") {
        Gunicorn => assert_eq!(line.text, text("Perhaps out of memory?")),
        // Where the cgroup cannot tell, it says the same.
        Rustcorn => assert!(
            line.text == text("Somebody sent it, not the kernel's out-of-memory killer")
                || line.text == text("Perhaps out of memory?"),
            "{line:?}"
        ),
    }
    eventually("it is replaced", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
    let after = server.settled(2);
    assert_eq!(before.difference(&after).copied().collect::<Vec<_>>(), [victim], "the other is the same");
}

#[test]
fn a_worker_that_gets_a_term_leaves_in_order_and_is_replaced() {
    let server = Setup::new().start();
    let before = server.settled(2);
    let victim = *before.first().expect("two");
    proc::signal(victim, Sig::SIGTERM);
    let line = server.wait_for_line(&format!("Worker exiting (pid: {victim})"));
    assert_eq!((line.level.as_str(), line.pid), ("INFO", victim), "it says so itself");
    eventually("it is replaced", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
    server.settled(2);
    assert_eq!(server.log.count("[ERROR]"), 0);
}

#[test]
fn signals_for_the_master_that_reach_a_worker() {
    let server = Setup::new().set("workers = 1").start();
    for sig in [Sig::SIGHUP, Sig::SIGUSR2] {
        let before = server.settled(1);
        let victim = *before.first().expect("one");
        proc::signal(victim, sig);
        match differs("signals-to-workers") {
            Gunicorn => {
                server.wait_for_line(&format!("[WARNING] Worker (pid:{victim}) was sent {sig}!"));
                server.replaced(&before, 1);
            }
            Rustcorn => {
                server.wait_for_line(&format!("A worker does not act on {sig}"));
                assert_eq!(server.settled(1), before);
            }
        }
    }
    let before = server.settled(1);
    proc::signal(*before.first().expect("one"), Sig::SIGWINCH);
    never("WINCH ends a worker", Duration::from_millis(300), || server.workers() != before);
}

#[test]
fn an_application_that_ends_its_process_or_is_aborted() {
    let server = Setup::new().set("workers = 1").start();
    for (path, level, text) in [("/exit", "ERROR", "exited with code 7."), ("/crash", "WARNING", "was sent SIGABRT!")] {
        let before = server.settled(1);
        let victim = *before.first().expect("one");
        assert!([Failure::Eof, Failure::Reset].contains(&server.get(path).expect_err("nobody is left to answer")));
        let line = server.wait_for_line(&format!("Worker (pid:{victim}) {text}"));
        assert_eq!((line.level.as_str(), line.pid), (level, server.pid()));
        server.replaced(&before, 1);
    }
}

#[test]
fn an_exception_costs_one_request() {
    let server = Setup::new().set("workers = 1").start();
    let before = server.settled(1);
    assert_eq!(server.get("/panic").map(|answer| answer.status), Ok(500));
    assert_eq!(server.settled(1), before, "the same process serves on");
    assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
    let line = server.wait_for_line("[ERROR] Error handling request ");
    match differs("exception-line") {
        Gunicorn => {
            assert_eq!(line.text, "Error handling request GET /panic");
            server.log.wait(0, "Traceback (most recent call last):", 1, PATIENCE);
        }
        Rustcorn => {
            assert!(line.text.starts_with("Error handling request GET /panic: panicked: asked to panic"), "{line:?}");
        }
    }
}

#[test]
fn a_worker_that_hangs_is_told_and_replaced() {
    let server = Setup::new().sync().set("timeout = 1").start();
    let before = server.settled(2);
    let mut blocked = server.connect();
    blocked.send("GET", "/block", "", "").expect("sent");
    let victim = server.wait_for_journal("block", 1)[0];
    let line = server.wait_for_line(&format!("WORKER TIMEOUT (pid:{victim})"));
    assert_eq!((line.level.as_str(), line.pid), ("CRITICAL", server.pid()));
    eventually("it is replaced", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
    let after = server.settled(2);
    assert_eq!(before.difference(&after).copied().collect::<Vec<_>>(), [victim]);
    match differs("hang-names-request") {
        Gunicorn => assert_eq!(line.text, format!("WORKER TIMEOUT (pid:{victim})")),
        Rustcorn => assert!(line.text.contains("while handling GET /block for "), "{line:?}"),
    }
    match differs("hang-client") {
        Gunicorn => assert_eq!(blocked.receive(false).map(|answer| answer.status), Ok(500)),
        Rustcorn => assert!(blocked.receive(false).is_err()),
    }
}

#[test]
fn a_handler_that_blocks_where_there_are_threads() {
    let server = Setup::new().set("timeout = 3\nworkers = 1\ngraceful_timeout = 1").start();
    let mut blocked = server.connect();
    blocked.send("GET", "/block", "", "").expect("sent");
    let victim = server.wait_for_journal("block", 1)[0];
    match differs("hang-of-a-thread") {
        Gunicorn => never("it is judged", Duration::from_secs(6), || server.log.find(0, "WORKER TIMEOUT").is_some()),
        Rustcorn => drop(server.wait_for_line(&format!("WORKER TIMEOUT (pid:{victim})"))),
    }
}

#[test]
fn a_request_that_takes_longer_than_timeout() {
    let server = Setup::new().sync().set("timeout = 1\nworkers = 1").app("slow_ms = 3500").start();
    let before = server.settled(1);
    let answer = server.get("/slow");
    match differs("timeout-is-no-request-limit") {
        Gunicorn => {
            assert_eq!(answer.map(|answer| answer.status), Ok(500));
            server.wait_for_line("[CRITICAL] WORKER TIMEOUT");
            server.replaced(&before, 1);
        }
        Rustcorn => {
            assert_eq!(answer.map(|answer| answer.status), Ok(200));
            assert_eq!(server.settled(1), before, "a worker that waits is alive");
        }
    }
}

#[test]
fn an_application_that_dies_again_and_again() {
    let mut server = Setup::new().set("workers = 1\nrestart_backoff = 0.5").app("die_after_ms = 1").launch();
    match differs("respawn-backoff") {
        Gunicorn => {
            server.log.wait(0, "Booting worker", 12, PATIENCE);
            assert_eq!(server.log.count("trying again in"), 0);
        }
        Rustcorn => drop(server.wait_for_line("Worker 0 keeps dying; trying again in 1.0s")),
    }
    assert_eq!(server.exit_code(), None, "it does not give up");
}

#[test]
fn a_worker_that_does_not_boot_later_on() {
    let mut server = Setup::new().app("fail_boot_if = \"disk-is-full\"\nboot_ms = 300").start();
    let victim = *server.settled(2).first().expect("two");
    server.write_file("disk-is-full", "");
    proc::signal(victim, Sig::SIGKILL);
    match differs("late-boot-failure") {
        Gunicorn => assert_eq!(server.wait_for_exit(PATIENCE), 3, "the whole server ends, with a healthy worker in it"),
        Rustcorn => {
            server.wait_for_line("failed to boot: ");
            assert_eq!(server.get("/").map(|answer| answer.status), Ok(200), "the other one serves");
            server.remove_file("disk-is-full");
            server.settled(2);
        }
    }
}

#[test]
fn what_a_worker_that_is_replaced_runs() {
    let mut server = Setup::new().start();
    let before = server.settled(2);
    let victim = *before.first().expect("two");
    server.reconfigure("", "fail_boot = \"half of a deployment\"");
    proc::signal(victim, Sig::SIGKILL);
    match differs("respawn-same-generation") {
        Gunicorn => assert_eq!(server.wait_for_exit(PATIENCE), 3, "what is on the disk now"),
        Rustcorn => {
            eventually("it is replaced", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
            server.settled(2); // what its generation started with
        }
    }
}

#[test]
fn kill_9_of_the_master_lets_workers_finish_and_frees_the_port() {
    let mut server = Setup::new().app("slow_ms = 1500").start();
    let address = server.address();
    let mut slow = server.slow_request();
    server.signal(Sig::SIGKILL);
    assert_eq!(server.wait_for_exit(PATIENCE), -1);
    assert_eq!(slow.receive(false).map(|answer| answer.status), Ok(200));
    server.wait_for_line("Parent changed, shutting down");
    server.wait_for_silence(PATIENCE);
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn how_long_orphans_of_a_killed_master_stay() {
    let mut server = Setup::new().sync().set("timeout = 12").start();
    server.signal(Sig::SIGKILL);
    assert_eq!(server.wait_for_exit(PATIENCE), -1);
    match differs("orphans-leave-at-once") {
        Gunicorn => {
            never("they leave", Duration::from_millis(500), || server.processes().is_empty());
            server.wait_for_silence(PATIENCE); // timeout / 2
        }
        Rustcorn => server.wait_for_silence(Duration::from_secs(5)),
    }
}
