//! TTIN and TTOU; settings from other places than the file.

use crate::harness::{PATIENCE, Setup, Sig, never, proc};

#[test]
fn ttin_adds_a_worker_and_ttou_takes_one_away_down_to_the_last() {
    let server = Setup::hello().set("workers = 1").start();
    let first = server.settled(1);
    server.signal(Sig::SIGTTIN);
    assert!(server.settled(2).is_superset(&first));
    server.signal(Sig::SIGTTIN);
    let three = server.settled(3);
    server.signal(Sig::SIGTTOU);
    let two = server.settled(2);
    assert!(two.is_subset(&three) && two.is_disjoint(&first), "the oldest goes first");
    server.signal(Sig::SIGTTOU);
    let one = server.settled(1);
    server.signal(Sig::SIGTTOU);
    server.log.wait(0, "Handling signal: ttou", 3, PATIENCE);
    assert_eq!(server.settled(1), one, "never below one");
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn the_environment_wins_over_the_file_and_the_command_line_over_the_environment() {
    let workers = |setup: Setup| {
        let server = setup.start();
        server.workers().len()
    };
    let file = || Setup::hello().set("workers = 1");
    assert_eq!(workers(file()), 1);
    assert_eq!(workers(file().env("WEB_CONCURRENCY", "2")), 2);
    assert_eq!(workers(file().env("WEB_CONCURRENCY", "2").env("RUSTCORN_WORKERS", "3")), 3);
    assert_eq!(workers(file().env("RUSTCORN_WORKERS", "3").env("RUSTCORN_CMD_ARGS", "-w 4")), 4);
    assert_eq!(workers(file().env("RUSTCORN_CMD_ARGS", "-w 4").args(&["--workers", "2"])), 2);
}

#[test]
fn chaos_target_percent_wins_over_the_file() {
    let server = Setup::hello().app("chaos_percent = 0").env("CHAOS_TARGET_PERCENT", "100").start();
    for _ in 0..20 {
        let status = server.get("/").expect("answered").status;
        assert!((400..=500).contains(&status), "{status}");
    }
}

#[test]
fn workers_have_the_masters_environment_and_their_handoff() {
    let server = Setup::testapp().set("workers = 1").env("GREETING", "hello there").start();
    let worker = *server.settled(1).first().expect("one");
    let env = server.get("/env").expect("answered").body;
    let has = |line: &str| env.lines().any(|known| known == line);
    assert!(has("GREETING=hello there") && has("LISTEN_FDS=1") && has(&format!("LISTEN_PID={worker}")), "{env}");
    assert!(env.contains("RUSTCORN_HANDOFF=v=1 slot=0 generation=1 "), "{env}");
    assert_eq!(server.get("/slot").expect("answered").body, "0");
    assert_eq!(server.get("/generation").expect("answered").body, "1");
}

#[test]
fn signals_that_are_meant_for_the_master_do_not_end_a_worker() {
    let server = Setup::hello().start();
    let workers = server.settled(2);
    for sig in [Sig::SIGHUP, Sig::SIGUSR1, Sig::SIGUSR2, Sig::SIGWINCH, Sig::SIGTTIN, Sig::SIGTTOU] {
        workers.iter().for_each(|pid| proc::signal(*pid, sig));
    }
    server.wait_for_line("A worker does not act on SIGHUP (reload): send it to the master");
    never("a worker leaves", std::time::Duration::from_millis(200), || server.workers() != workers);
    assert_eq!(server.settled(2), workers);
}

#[test]
fn a_worker_that_gets_a_term_from_somebody_else_is_replaced() {
    let server = Setup::hello().start();
    let before = server.settled(2);
    let victim = *before.first().expect("two");
    proc::signal(victim, Sig::SIGTERM);
    server.wait_for_line(&format!("Worker exiting (pid: {victim})"));
    assert_eq!(server.log.count("keeps dying"), 0);
    crate::harness::eventually("it is replaced", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
    server.settled(2);
}

#[test]
fn the_seat_of_a_worker_that_somebody_else_drains_is_filled_before_it_has_left() {
    let server = Setup::hello().set("workers = 1").start();
    let victim = *server.settled(1).first().expect("one");
    let mut idle = server.connect(); // an idle connection, which the old worker keeps as long as it may
    assert_eq!(idle.get("/").map(|response| response.status), Ok(200));
    proc::signal(victim, Sig::SIGTERM);
    crate::harness::eventually("a successor beside it", PATIENCE, || (server.workers().len() == 2).then_some(()));
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
    let last = idle.get("/").expect("its next request is answered");
    assert!(last.closes());
}

#[test]
fn a_worker_with_many_threads_serves() {
    let server = Setup::hello().set("workers = 1\nthreads = 3").start();
    let worker = *server.settled(1).first().expect("one");
    assert!(server.log.find(0, "Using worker: hello (1 workers, 3 threads each)").is_some());
    assert!(proc::threads(worker) > 3);
    let load = crate::harness::Load::with_limit(server.address(), "/", 4, 50);
    let tally = load.finish();
    assert_eq!((tally.failed(), tally.answered()), (0, 400), "{tally:?}");
}
