//! Hooks and background tasks: who is called when, and what comes of those that misbehave.

use crate::harness::{PATIENCE, Server, Setup, Sig, eventually};

fn hooks() -> Setup {
    Setup::hooks().set("workers = 1")
}

/// The notes so far: what was called, in which process, with which facts.
fn notes(server: &Server) -> Vec<(String, u32, String)> {
    let notes = std::fs::read_to_string(server.dir().join("notes")).unwrap_or_default();
    let note = |line: &str| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let (what, pid) = (words.next()?, words.next()?.parse().ok()?);
        Some((what, pid, words.next()?))
    };
    notes.lines().map(|line| note(line).expect("three words")).collect()
}

/// The names alone.
fn calls(server: &Server) -> Vec<String> {
    notes(server).into_iter().map(|(what, _, _)| what).collect()
}

#[track_caller]
fn wait_for_note(server: &Server, what: &str, number: usize) -> (u32, String) {
    eventually(&format!("note {number} of {what}"), PATIENCE, || {
        let found = notes(server).into_iter().filter(|(name, _, _)| name == what).nth(number - 1);
        found.map(|(_, pid, facts)| (pid, facts))
    })
}

#[test]
fn each_hook_runs_in_its_process_at_its_moment() {
    let mut server = hooks().start();
    let master = server.pid();
    wait_for_note(&server, "on_ready", 1);
    let first: u32 = server.get("/").expect("answered").body.parse().expect("a pid");
    let (threads, slot) = ("1".to_owned(), "0".to_owned());
    assert_eq!(
        notes(&server),
        [
            ("on_starting".to_owned(), master, String::new()),
            ("worker_init".to_owned(), first, slot),
            ("built".to_owned(), first, threads),
            ("on_ready".to_owned(), master, String::new()),
        ]
    );
    server.reconfigure("keepalive = 5", "task = \"drains\"");
    assert!(server.reload().contains("Reloaded: generation 2"));
    assert_eq!(wait_for_note(&server, "worker_exit", 1), (first, "Drained".to_owned()));
    assert_eq!(wait_for_note(&server, "on_reload", 1), (master, "keepalive,app.task".to_owned()));
    let [second] = Vec::from_iter(server.settled(1))[..] else { unreachable!("settled says that it is one") };
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let last: Vec<_> = notes(&server).into_iter().rev().take(2).collect();
    assert_eq!((last[1].0.as_str(), last[1].1), ("drained", second), "tasks end before the last hook");
    assert_eq!((last[0].0.as_str(), last[0].1, last[0].2.as_str()), ("worker_exit", second, "Drained"));
    assert_eq!(calls(&server).iter().filter(|call| *call == "on_ready").count(), 1);
}

#[test]
fn on_starting_keeps_a_server_from_starting_before_it_binds() {
    for (way, reason) in
        [("refuses", "on_starting: on_starting was told to refuse"), ("panics", "on_starting panicked")]
    {
        let setup = hooks().app(&format!("misbehaves = {{ on_starting = \"{way}\" }}"));
        let mut server = setup.expect("Error: on_starting").expect("panicked").launch();
        assert_eq!(server.wait_for_exit(PATIENCE), 1);
        let line = server.wait_for_line(&format!("Error: {reason}"));
        assert!(!line.contains("[ERROR]"), "{line}");
        assert_eq!(server.log.count("Listening at"), 0);
        assert_eq!(calls(&server), ["on_starting"]);
    }
}

#[test]
fn on_reload_has_a_veto_and_its_panic_is_one() {
    let mut server = hooks().expect("Reload failed: on_reload").expect("panicked").start();
    let before = server.settled(1);
    for (way, reason) in [("refuses", "on_reload: on_reload was told to refuse"), ("panics", "on_reload panicked")] {
        server.reconfigure("", &format!("misbehaves = {{ on_reload = \"{way}\" }}"));
        let line = server.reload();
        assert!(line.contains(&format!("Reload failed: {reason}")), "{line}");
        assert!(line.ends_with("; generation 1 goes on serving, nothing was changed"), "{line}");
        assert_eq!(server.settled(1), before);
    }
    server.reconfigure("", "misbehaves = { on_starting = \"refuses\" }");
    assert!(server.reload().contains("Reloaded: "), "that is for starts");
    server.setup_expects("Upgrade failed: on_starting").signal(Sig::SIGUSR2);
    let line = server.wait_for_line("Upgrade failed: ");
    assert!(
        line.ends_with("on_starting: on_starting was told to refuse; this master goes on serving, nothing was changed"),
        "{line}"
    );
}

/// All that time they give signs of life, which nobody reads.
#[test]
fn a_hook_that_takes_longer_than_timeout_costs_no_worker() {
    let mut server = hooks().set("timeout = 2").start();
    server.reconfigure("", "misbehaves = { on_reload = \"sleeps\" }");
    assert!(server.reload().contains("Reloaded: generation 2"));
    server.settled(1);
    server.wait_for_line("Hook on_reload took 2.");
    assert_eq!(server.log.count("WORKER TIMEOUT"), 0);
}

#[test]
fn hooks_that_only_hear_cannot_hurt_the_master() {
    let setup = hooks().app("misbehaves = { on_ready = \"panics\", on_starting = \"dawdles\" }");
    let server = setup.start_expecting(&["on_ready was told to panic"]);
    let line = server.wait_for_line("Hook on_ready panicked");
    assert!(line.ends_with("on_ready was told to panic; the master goes on"), "{line}");
    server.wait_for_line("Hook on_starting took ");
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn worker_hang_is_called_with_the_facts_while_the_worker_is_there() {
    let setup = hooks().set("timeout = 2");
    let server = setup.start_expecting(&["WORKER TIMEOUT", "was sent SIGABRT", "was sent SIGKILL"]);
    let victim = server.settled(1).pop_first().expect("one");
    let mut client = server.connect();
    client.send("GET", "/block", "", "").expect("sent");
    let (pid, facts) = wait_for_note(&server, "worker_hang", 1);
    assert_eq!((pid, facts), (server.pid(), format!("0 {victim} alive=true GET /block")));
    eventually("it is replaced", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
    server.settled(1);
    assert_eq!(server.get("/block-later").map(|response| response.status), Ok(200));
    let (_, facts) = wait_for_note(&server, "worker_hang", 2);
    assert!(facts.ends_with("alive=true background task blocker"), "{facts}");
    let line = server.wait_for_line("while handling background task blocker for ");
    assert!(line.contains("WORKER TIMEOUT"), "{line}");
    eventually("it is replaced, too", PATIENCE, || (server.log.count("Worker ready") == 3).then_some(()));
}

#[test]
fn worker_init_is_part_of_loading_the_application() {
    for (way, reason) in
        [("refuses", "worker_init: worker_init was told to refuse"), ("panics", "worker_init panicked")]
    {
        let setup = hooks().app(&format!("misbehaves = {{ worker_init = \"{way}\" }}"));
        let expected = ["failed to boot", "App failed to load", "exited with code 4", "Shutting down", "panicked"];
        let mut server = expected.iter().fold(setup, |setup, line| setup.expect(line)).launch();
        assert_eq!(server.wait_for_exit(PATIENCE), 4);
        server.wait_for_line(reason);
        assert!(!calls(&server).contains(&"built".to_owned()));
    }
}

#[test]
fn worker_exit_has_a_deadline_and_its_panic_is_told() {
    let setup = hooks().app("misbehaves = { worker_exit = \"stays\" }").set("graceful_timeout = 1.5");
    let mut server = setup.expect("worker_exit panicked").start();
    server.signal(Sig::SIGINT);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    server.wait_for_line("worker_exit was not done within 1.0s and is dropped; the worker leaves");
    assert_eq!(wait_for_note(&server, "worker_exit", 1).1, "Quit");

    let mut server = hooks().app("misbehaves = { worker_exit = \"panics\" }").expect("worker_exit panicked").start();
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    server.wait_for_line("worker_exit was told to panic");
}

#[test]
fn a_drain_waits_for_background_tasks_of_one_thread_and_of_several() {
    for threads in [1, 2] {
        let mut server = hooks().set(&format!("threads = {threads}")).app("task = \"drains\"").start();
        assert_eq!(wait_for_note(&server, "built", 1).1, threads.to_string());
        assert_eq!(server.get("/later").map(|response| response.status), Ok(200));
        server.signal(Sig::SIGTERM);
        assert_eq!(server.wait_for_exit(PATIENCE), 0);
        let mut last: Vec<String> = calls(&server).into_iter().rev().take(3).collect();
        assert_eq!(last.remove(0), "worker_exit");
        last.sort();
        assert_eq!(last, ["drained", "later"]);
    }
}

#[test]
fn a_task_that_stays_is_named_and_cut_and_one_that_panics_is_told() {
    let mut server = hooks().set("graceful_timeout = 1.5").app("task = \"stays\"").start();
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    server.wait_for_line("Draining: waiting for background tasks: caretaker");
    let cut = server.wait_for_line("Graceful timeout: ");
    assert!(cut.ends_with("0 connections (0 in flight) were cut; background tasks still ran: caretaker"), "{cut}");
    assert_eq!(wait_for_note(&server, "worker_exit", 1).1, "Cut");

    let server = hooks().app("task = \"panics\"").expect("Background task caretaker panicked").start();
    let line = server.wait_for_line("Background task caretaker panicked");
    assert!(line.contains("[ERROR]") && line.contains("told to panic"), "{line}");
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}
