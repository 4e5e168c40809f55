//! HUP: new workers before the old ones leave, without a lost request; or nothing at all.

use std::net::TcpListener;

use crate::harness::client::Failure;
use crate::harness::{Conn, Load, PATIENCE, Server, Setup, Sig, eventually, get, proc};

#[test]
fn twenty_reloads_under_load_fail_no_request() {
    let server = Setup::hello().start();
    let before = server.settled(2);
    let load = Load::start(server.address(), "/", 2);
    for _ in 0..20 {
        let line = server.reload();
        assert!(line.contains("Reloaded: generation"), "{line}");
    }
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally:?}");
    assert_eq!(tally.statuses.keys().copied().collect::<Vec<_>>(), [200]);
    assert!(tally.answered() > 100, "{tally:?}");
    let after = server.settled(2);
    assert!(after.is_disjoint(&before), "{before:?} {after:?}");
}

#[test]
fn reloads_under_load_of_requests_that_take_time_fail_none() {
    let server = Setup::testapp().app("slow_ms = 30").start();
    let load = Load::start(server.address(), "/slow", 4);
    for _ in 0..5 {
        let before = server.workers();
        server.reload();
        eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
    }
    let tally = load.stop();
    assert_eq!((tally.failed(), tally.statuses.len()), (0, 1), "{tally:?}");
    assert_eq!(server.journal("cancel"), [0; 0]);
}

#[test]
fn reloads_and_deaths_at_the_same_time_end_in_order() {
    let setup = Setup::hello().set("restart_backoff = 0");
    let expected = ["was sent SIGKILL!", "Reload failed", "failed to boot"];
    let server = expected.iter().fold(setup, |setup, line| setup.expect(line)).start();
    let descriptors = proc::descriptors(server.pid());
    for number in 0..30 {
        let workers = server.workers();
        let victim = workers.iter().nth(number % workers.len().max(1));
        if number % 3 != 0 {
            server.signal(Sig::SIGHUP);
        }
        if let Some(victim) = victim.filter(|pid| proc::lives(**pid)) {
            proc::signal(*victim, Sig::SIGKILL);
        }
        let _ = server.get("/"); // may have been with the victim
    }
    eventually("a reload that nobody disturbs", PATIENCE, || server.reload().contains("Reloaded").then_some(()));
    eventually("two workers of the last generation", PATIENCE, || {
        let lines = server.log.since(0);
        let last = lines.iter().rev().find_map(|line| line.split("Reloaded: generation ").nth(1)?.split(' ').next())?;
        let ready = |pid: &u32| {
            let mut said = lines.iter().filter(|line| line.contains(&format!("Worker ready (pid: {pid}, ")));
            said.any(|line| line.ends_with(&format!("generation: {last})")))
        };
        let workers = server.workers();
        (workers.len() == 2 && workers.iter().all(ready)).then_some(())
    });
    eventually("no descriptor is left over", PATIENCE, || {
        (proc::descriptors(server.pid()) == descriptors).then_some(())
    });
    assert_eq!(proc::zombies(server.pid()), 0);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn connections_that_stay_idle_are_closed_in_order_before_graceful_timeout() {
    let server = Setup::hello().set("graceful_timeout = 3\nworkers = 1").start();
    let old = server.settled(1);
    let mut idle = server.connect();
    assert!(!idle.get("/").expect("answered").closes());
    server.reload();
    idle.wait_for_close().expect("in order");
    eventually("the old worker has left", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
    assert_eq!(server.log.count("were cut") + server.log.count("did not leave"), 0);
}

#[test]
fn an_idle_connection_is_answered_once_more_by_the_worker_that_leaves() {
    let server = Setup::testapp().set("workers = 1").start();
    let mut idle = server.connect();
    let old = idle.get("/pid").expect("answered").body;
    server.reload();
    server.wait_for_line("Draining: accepts no more");
    assert_ne!(server.get("/pid").expect("answered").body, old, "new connections go to the new worker");

    let last = idle.get("/pid").expect("not cut while idle");
    assert_eq!((last.body.as_str(), last.closes()), (old.as_str(), true));
    idle.wait_for_close().expect("in order");
    eventually("the old worker is gone", PATIENCE, || (!proc::lives(old.parse().expect("a pid"))).then_some(()));
}

#[test]
fn requests_under_way_are_finished_by_the_worker_that_leaves() {
    let server = Setup::testapp().set("workers = 1").app("slow_ms = 700").start();
    let old = server.settled(1);
    let (mut slow, mut poll) = (server.connect(), server.connect());
    slow.send("GET", "/slow", "", "").expect("sent");
    poll.send("GET", "/until-drain", "", "").expect("sent");
    server.wait_for_journal("start", 2);
    server.reload();
    let poll = poll.receive(false).expect("the application hears of the drain and answers");
    assert_eq!((poll.body.as_str(), poll.closes()), ("draining", true));
    let slow = slow.receive(false).expect("finished");
    assert_eq!(Some(slow.body), old.first().map(ToString::to_string));
    assert!(server.settled(1).is_disjoint(&old));
    assert_eq!(server.get("/generation").expect("answered").body, "2");
}

#[test]
fn a_reload_adds_and_removes_addresses_and_changes_the_number_of_workers() {
    let mut server = Setup::hello().start();
    let first = server.address();
    let inode = |pid| std::fs::read_link(format!("/proc/{pid}/fd/3")).expect("the first listener");
    let socket = inode(*server.settled(2).first().expect("two"));

    server.reconfigure("bind = [\"127.0.0.1:0\", \"127.0.0.2:0\", \"unix:extra.sock\"]\nworkers = 3", "");
    let line = server.reload();
    assert!(line.contains("Reloaded"), "{line}");
    let workers = server.settled(3);
    let (extra, path) = (server.address_at(1), server.dir().join("extra.sock"));
    assert_eq!(server.address(), first, "an address that did not change keeps its socket, and so its port");
    assert!(workers.iter().all(|pid| inode(*pid) == socket), "it was never closed");
    assert!(server.log.find(0, "Setting workers: 2 → 3").is_some());
    assert!(get(first, "/").is_ok() && get(extra, "/").is_ok() && get(path.as_path(), "/").is_ok());

    server.reconfigure("bind = \"127.0.0.1:0\"\nworkers = 1", "");
    server.reload();
    server.settled(1);
    assert!(get(first, "/").is_ok());
    assert_eq!(get(extra, "/").map(|_| ()), Err(Failure::Refused));
    assert_eq!(get(path.as_path(), "/").map(|_| ()), Err(Failure::Refused));
    assert!(!path.exists(), "a unix socket that is given up is removed");
}

#[test]
fn several_hups_at_once_end_with_the_last_configuration() {
    let mut server = Setup::hello().start();
    for workers in [3, 1, 4] {
        server.reconfigure(&format!("workers = {workers}"), "");
        server.signal(Sig::SIGHUP);
    }
    server.settled(4);
}

/// Spoils the configuration, reloads, and checks that nothing has changed but one line in the log; then that a good
/// configuration is still taken.
#[track_caller]
fn refused(server: &mut Server, spoil: impl FnOnce(&mut Server), reason: &str) {
    let workers = server.settled(2);
    let descriptors = proc::descriptors(server.pid());
    let good = server.text();
    let (mark, address) = (server.log.mark(), server.address());
    let mut idle = server.connect();
    assert_eq!(idle.get("/").map(|response| response.status), Ok(200));
    let load = Load::start(address, "/", 1);

    spoil(server);
    let line = server.reload();
    assert!(line.contains("[ERROR] Reload failed: ") && line.contains(reason), "{line}");
    assert!(line.ends_with("goes on serving, nothing was changed"), "{line}");

    let answered = load.answered();
    eventually("requests go on", PATIENCE, || (load.answered() > answered + 20).then_some(()));
    let tally = load.stop();
    assert_eq!((tally.failed(), tally.statuses.len()), (0, 1), "{tally:?}");
    assert_eq!(idle.get("/").map(|response| (response.status, response.closes())), Ok((200, false)));
    assert_eq!(server.settled(2), workers, "the same processes");
    let failed = server.log.since(mark).iter().filter(|line| line.contains("Reload failed")).count();
    assert_eq!(failed, 1);
    eventually("no descriptor is left over", PATIENCE, || {
        (proc::descriptors(server.pid()) == descriptors).then_some(())
    });

    drop(idle);
    server.write_text(&good);
    let line = server.reload();
    assert!(line.contains("Reloaded"), "{line}");
    eventually("all workers are replaced", PATIENCE, || server.workers().is_disjoint(&workers).then_some(()));
}

#[test]
fn a_reload_with_broken_toml_changes_nothing() {
    let mut server = Setup::hello().expect("Reload failed").start();
    let spoil = |server: &mut Server| server.write_text("bind = [\n[app]\nhandler = \"hello\"\n");
    refused(&mut server, spoil, "app.toml:");
}

#[test]
fn a_reload_with_an_unknown_key_changes_nothing() {
    let mut server = Setup::hello().expect("Reload failed").start();
    let spoil = |server: &mut Server| server.write_text(&format!("wrokers = 3\n{}", server.text()));
    refused(&mut server, spoil, "app.toml:1: wrokers: unknown key; did you mean \"workers\"?");
}

#[test]
fn a_reload_with_a_busy_address_changes_nothing() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let busy = busy.local_addr().map(|address| (busy, address)).expect("it is bound");
    let mut server = Setup::hello().expect("Reload failed").start();
    let text = server.text();
    let bind = format!("[\"127.0.0.1:0\", \"unix:added.sock\", \"{}\"]", busy.1);
    let spoil = |server: &mut Server| server.write_text(&text.replace("\"127.0.0.1:0\"", &bind));
    refused(&mut server, spoil, &format!("cannot listen on http://{}: the address is in use", busy.1));
    assert!(!server.dir().join("added.sock").exists(), "what was bound before the failure is removed");
}

#[test]
fn a_reload_whose_handler_refuses_its_configuration_changes_nothing() {
    let mut server = Setup::hello().expect("Reload failed").start();
    let spoil = |server: &mut Server| server.write_text(&format!("{}chaos_percent = 200\n", server.text()));
    refused(&mut server, spoil, "app.chaos_percent: 200 is not allowed; use a number from 0 to 100");
}

#[test]
fn a_reload_whose_application_refuses_to_load_changes_nothing() {
    let setup = Setup::testapp().expect("Reload failed").expect("failed to boot").expect("exited with code 4");
    let mut server = setup.start();
    let spoil = |server: &mut Server| server.write_text(&format!("{}fail_boot = \"no database\"\n", server.text()));
    refused(&mut server, spoil, "the new worker failed to boot: no database");
}

#[test]
fn a_reload_whose_worker_dies_while_it_boots_changes_nothing() {
    let mut server = Setup::testapp().expect("Reload failed").expect("exited with code 9").start();
    let spoil = |server: &mut Server| server.write_text(&format!("{}exit_boot = 9\n", server.text()));
    refused(&mut server, spoil, "the new worker failed to boot: it exited with code 9 before it was ready");
}

#[test]
fn a_reload_whose_worker_never_gets_ready_changes_nothing() {
    let setup =
        Setup::testapp().set("boot_timeout = 3").expect("Reload failed").expect("not ready within boot_timeout");
    let mut server = setup.start();
    let spoil = |server: &mut Server| server.write_text(&format!("{}hang_boot = true\n", server.text()));
    refused(&mut server, spoil, "the new worker failed to boot: it was not ready within boot_timeout");
}

#[test]
fn a_worker_is_restarted_from_the_program_it_began_with_and_a_reload_takes_the_one_on_disk() {
    let setup = Setup::hello().without("handler").app("command = [\"./service\"]").expect("was sent SIGKILL!");
    setup.dir.install("service", &crate::harness::binaries::testapp());
    let server = setup.expect("Reload failed").set("workers = 1").start();
    assert!(server.log.find(0, "Using worker: service (1 workers)").is_some());
    let old = server.settled(1);

    std::fs::remove_file(server.dir().join("service")).expect("it is there");
    old.iter().for_each(|pid| proc::signal(*pid, Sig::SIGKILL));
    eventually("another worker", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
    server.settled(1);
    assert_eq!(server.get("/generation").expect("answered").body, "1");

    let line = server.reload();
    assert!(line.contains("Reload failed: app.toml:6: app.command: there is no file ./service"), "{line}");
    server.install("service", &crate::harness::binaries::testapp());
    let line = server.reload();
    assert!(line.contains("Reloaded: generation 3"), "{line}");
    let mut conn = Conn::open(server.address()).expect("the server accepts");
    assert_eq!(conn.get("/").expect("answered").body, "Misbehaving on request\n");
}
