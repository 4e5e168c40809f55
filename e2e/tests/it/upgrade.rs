//! USR2: a new master from the file on disk takes over without a lost request, or nothing changes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Conn, Load, PATIENCE, Server, Setup, Sig, eventually, full, get, proc};

/// Asks for a new master and waits until it serves.
fn upgrade(server: &Server) -> u32 {
    let mark = server.log.mark();
    server.signal(Sig::SIGUSR2);
    server.wait_for_heir(mark)
}

/// A program for a test that wants a bad one.
fn script(server: &Server, name: &str, text: &str) {
    server.write_file(&format!("{name}.script"), text);
    let script = server.dir().join(format!("{name}.script"));
    std::fs::remove_file(server.dir().join(name)).expect("it was installed");
    server.install(name, &script);
}

fn workers_of(master: u32) -> BTreeSet<u32> {
    let is_worker = |pid: &u32| proc::title(*pid).starts_with("rustcorn: worker");
    proc::children(master).into_iter().filter(is_worker).collect()
}

#[test]
fn usr2_and_term_ten_times_under_load_fail_no_request() {
    let mut server = Setup::hello().start();
    let load = Load::start(server.address(), "/", 2);
    for _ in 0..10 {
        let answered = load.answered();
        let heir = upgrade(&server);
        let mark = server.log.mark();
        server.signal(Sig::SIGTERM);
        server.follow(heir);
        server.log.wait(mark, "Master has been promoted.", 1, PATIENCE);
        eventually("the load goes on", PATIENCE, || (load.answered() > answered + 50).then_some(()));
    }
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally:?}");
    assert_eq!(tally.statuses.keys().copied().collect::<Vec<_>>(), [200]);
    assert_eq!(server.settled(2).len(), 2);
    assert_eq!(server.log.count("Starting rustcorn"), 11);
}

#[test]
fn with_auto_the_old_master_leaves_by_itself_and_slow_requests_are_finished() {
    let mut server = Setup::testapp().app("slow_ms = 50").set("upgrade = \"auto\"").start();
    let load = Load::start(server.address(), "/slow", 3);
    for _ in 0..if full() { 10 } else { 3 } {
        let heir = upgrade(&server);
        server.follow(heir);
    }
    let tally = load.stop();
    assert_eq!((tally.failed(), tally.statuses.len()), (0, 1), "{tally:?}");
    assert_eq!(server.journal("cancel"), [0; 0]);
}

#[test]
fn idle_connections_outlive_the_handover_until_they_were_told() {
    let mut server = Setup::hello().set("workers = 1\nupgrade = \"auto\"").start();
    let mut idle = server.connect();
    assert!(!idle.get("/").expect("answered").closes());
    let heir = upgrade(&server);
    server.wait_for_line("Draining: accepts no more; 0 in flight, 1 idle");
    assert!(idle.get("/").expect("answered by the old worker").closes());
    server.follow(heir);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn a_bad_new_program_leaves_the_old_untouched_and_says_why() {
    let expected = "Upgrade failed";
    let server = Setup::testapp().installed("app").set("boot_timeout = 3").expect(expected).start();
    let before = server.settled(2);
    let new_program = |text: &str, reason: &str| {
        script(&server, "app", text);
        let mark = server.log.mark();
        server.signal(Sig::SIGUSR2);
        let line = server.log.wait(mark, expected, 1, PATIENCE);
        assert!(line.contains(reason), "{line}");
        assert_eq!(server.settled(2), before, "the same workers");
        assert_eq!(server.get("/pid").map(|response| response.status), Ok(200));
    };
    new_program("#!/bin/sh\nexit 7\n", "the new master exited with code 7 before it was ready");
    new_program("#!/no/such/interpreter\n", "the program cannot be executed");
    new_program("#!/bin/sh\nkill -ABRT $$\n", "the new master was sent SIGABRT before it was ready");
    // It neither gets ready nor listens to what it is told.
    new_program("#!/bin/sh\ntrap '' INT TERM\nexec sleep 1000\n", "not ready within boot_timeout");
    eventually("it is killed", PATIENCE, || (proc::children(server.pid()) == before).then_some(()));
    std::fs::remove_file(server.dir().join("app")).expect("it is ours");
    let mark = server.log.mark();
    server.signal(Sig::SIGUSR2);
    let line = server.log.wait(mark, expected, 1, PATIENCE);
    assert!(line.contains("cannot run ") && line.contains("No such file"), "{line}");
    assert_eq!(server.settled(2), before);
}

#[test]
fn a_new_master_with_a_broken_file_says_what_is_broken_and_the_old_goes_on() {
    let server = Setup::testapp().expect("Upgrade failed").start_expecting(&[
        "exited with code 4",
        "failed to boot",
        "Shutting down",
        "Reason: ",
    ]);
    let before = server.settled(2);
    let good = server.text();
    let with = |text: &str, reason: &str| {
        server.write_text(text);
        let mark = server.log.mark();
        server.signal(Sig::SIGUSR2);
        let line = server.log.wait(mark, "Upgrade failed", 1, PATIENCE);
        assert!(line.contains(reason), "{line}");
        eventually("only the old workers", PATIENCE, || (server.workers() == before).then_some(()));
        assert_eq!(server.get("/pid").map(|response| response.status), Ok(200));
    };
    with(&good.replace("workers = 2", "workerz = 2"), "workerz: unknown key; did you mean \"workers\"?");
    with(&(good.clone() + "fail_boot = \"no database\"\n"), "no database");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = busy.local_addr().expect("it has one").to_string();
    with(&good.replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{taken}\"")), "the address is in use");
    server.write_text(&good);
}

#[test]
fn the_new_master_runs_the_new_file_with_the_new_configuration() {
    let mut server = Setup::testapp().set("workers = 1\nupgrade = \"auto\"").start();
    let address = server.address();
    server.reconfigure("workers = 3\nbind = [\"127.0.0.1:0\", \"unix:new.sock\"]", "");
    let heir = upgrade(&server);
    server.follow(heir);
    assert_eq!(server.settled(3).len(), 3);
    assert_eq!(server.address_at(0), address, "the same socket for the same address");
    assert_eq!(get(server.dir().join("new.sock").as_path(), "/pid").map(|response| response.status), Ok(200));
}

#[test]
fn winch_then_going_back_by_hup_and_term_to_the_new_one_loses_nothing() {
    let server = Setup::hello().start();
    let load = Load::start(server.address(), "/", 2);
    let heir = upgrade(&server);
    server.signal(Sig::SIGWINCH);
    server.wait_for_line("graceful stop of workers");
    eventually("the old master has no workers", PATIENCE, || workers_of(server.pid()).is_empty().then_some(()));
    let answered = load.answered();
    eventually("the new one serves", PATIENCE, || (load.answered() > answered + 50).then_some(()));
    // Second thoughts.
    server.signal(Sig::SIGHUP);
    eventually("the old one has workers again", PATIENCE, || (workers_of(server.pid()).len() == 2).then_some(()));
    proc::signal(heir, Sig::SIGTERM);
    server.wait_for_line(&format!(
        "Upgrade: the new master (pid: {heir}) exited with code 0; this one serves alone again"
    ));
    let answered = load.answered();
    eventually("the old one serves", PATIENCE, || (load.answered() > answered + 50).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally:?}");
    // And forth again: nothing is left over from the first try.
    let heir = upgrade(&server);
    proc::signal(heir, Sig::SIGTERM);
    server.log.wait(0, "this one serves alone again", 2, PATIENCE);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn a_new_master_that_is_killed_gives_the_old_one_its_workers_back() {
    let server = Setup::hello().expect("SIGKILL").start();
    let heir = upgrade(&server);
    server.signal(Sig::SIGWINCH);
    eventually("the old master has no workers", PATIENCE, || workers_of(server.pid()).is_empty().then_some(()));
    proc::signal(heir, Sig::SIGKILL);
    server
        .wait_for_line(&format!("Upgrade: the new master (pid: {heir}) was sent SIGKILL; this one serves alone again"));
    server.settled(2);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn an_old_master_that_is_killed_leaves_the_new_one_promoted() {
    let mut server = Setup::hello().start();
    let heir = upgrade(&server);
    server.signal(Sig::SIGKILL);
    assert_eq!(server.wait_for_exit(PATIENCE), -1);
    server.wait_for_line("Master has been promoted.");
    server.follow_killed(heir);
    server.settled(2);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn a_second_usr2_is_refused_by_the_old_and_by_the_new() {
    let mut server = Setup::hello().start();
    let heir = upgrade(&server);
    server.signal(Sig::SIGUSR2);
    server.wait_for_line("USR2 signal ignored. Child exists.");
    proc::signal(heir, Sig::SIGUSR2);
    server.wait_for_line("USR2 signal ignored. Parent exists.");
    server.signal(Sig::SIGTERM);
    server.follow(heir);
    let next = upgrade(&server);
    server.signal(Sig::SIGTERM);
    server.follow(next);
}

#[test]
fn a_unix_socket_and_the_admin_address_stay_and_the_last_master_removes_the_file() {
    let set = "bind = \"unix:server.sock\"\nadmin_bind = \"unix:admin.sock\"\nupgrade = \"auto\"";
    let mut server = Setup::hello().set(set).start();
    let (path, admin) = (server.dir().join("server.sock"), server.dir().join("admin.sock"));
    let ready = |patience| {
        eventually("the admin process says that it is ready", patience, || {
            get(admin.as_path(), "/readyz").is_ok_and(|response| response.status == 200).then_some(())
        });
    };
    ready(PATIENCE);
    let old = server.pid();
    let heir = upgrade(&server);
    // From whichever admin process: there is no gap.
    while proc::lives(old) {
        let answer = get(admin.as_path(), "/readyz").expect("answered");
        assert_eq!(answer.status, 200, "{}", answer.body);
        if server.exit_code().is_some() {
            break;
        }
    }
    server.follow(heir);
    ready(PATIENCE);
    let mut conn = Conn::open(path.as_path()).expect("accepted");
    assert_eq!(conn.get("/").expect("answered").status, 200);
    server.signal(Sig::SIGTERM);
    server.wait_for_silence(PATIENCE);
    assert!(!path.exists() && !admin.exists());
}

#[test]
fn unix_sockets_are_as_the_new_configuration_says_once_the_old_master_is_gone() {
    let set = |name: &str, mode: &str| {
        format!("bind = [\"unix:server.sock\", \"unix:{name}.sock\"]\nsocket_mode = \"{mode}\"")
    };
    let mut server = Setup::hello().set(&set("old", "0666")).start();
    let folder = server.dir().to_owned();
    let mode = |name: &str| std::fs::metadata(folder.join(name)).ok().map(|meta| meta.permissions().mode() & 0o777);
    server.reconfigure(&set("new", "0600"), "");
    let heir = upgrade(&server);
    let modes = || ["server.sock", "old.sock", "new.sock"].map(mode);
    assert_eq!(modes(), [Some(0o666), Some(0o666), Some(0o600)], "the old master serves at both of its own");
    server.signal(Sig::SIGTERM);
    server.follow(heir);
    eventually("the new master has its way", PATIENCE, || (modes() == [Some(0o600), None, Some(0o600)]).then_some(()));
    // Both at once: the last one cleans up.
    let heir = upgrade(&server);
    server.signal(Sig::SIGTERM);
    proc::signal(heir, Sig::SIGTERM);
    server.wait_for_silence(PATIENCE);
    assert_eq!(modes(), [None; 3]);
}

/// The new one is told to reload, and is trying that, when the old one leaves.
#[test]
fn a_reload_that_begins_before_the_promotion_and_ends_after_it_has_the_names() {
    let set = "control_socket = \"ctl\"\npidfile = \"run.pid\"";
    let mut server = Setup::testapp().set(set).start();
    let heir = upgrade(&server);
    server.reconfigure(&format!("{set}\nworkers = 3"), "boot_ms = 1500");
    let mark = server.log.mark();
    proc::signal(heir, Sig::SIGHUP);
    server.log.wait(mark, "Hang up: Master", 1, PATIENCE);
    server.signal(Sig::SIGTERM);
    server.follow(heir);
    server.log.wait(mark, "Master has been promoted.", 1, PATIENCE);
    server.log.wait(mark, "Reloaded: generation 3 is serving", 1, PATIENCE);
    let files = ["ctl", "ctl.2", "run.pid", "run.pid.2"].map(|name| server.dir().join(name).exists());
    assert_eq!(files, [true, false, true, false]);
    assert_eq!(server.ctl_data("show stats")["pid"].as_u64(), Some(heir.into()));
}

#[test]
fn winch_alone_keeps_the_sockets_and_ttin_or_hup_bring_workers_back() {
    // Without a terminal of its own: setsid.
    let server = Setup::hello().wrapped(&["setsid", "-w"]).start();
    let before = server.settled(2);
    server.signal(Sig::SIGWINCH);
    eventually("no workers", PATIENCE, || server.workers().is_empty().then_some(()));
    let address = server.address();
    let waiting = std::thread::spawn(move || get(address, "/")); // the kernel queues it
    server.signal(Sig::SIGTTIN);
    assert_eq!(waiting.join().expect("no panic").map(|response| response.status), Ok(200));
    assert!(server.settled(1).is_disjoint(&before));
    assert!(server.reload().contains("Reloaded"));
    server.settled(2);
}

#[test]
fn the_pidfile_is_the_old_masters_until_the_new_one_is_promoted() {
    let mut server = Setup::hello().set("pidfile = \"run.pid\"").start();
    let folder = server.dir().to_owned();
    let pid = |name: &str| std::fs::read_to_string(folder.join(name)).ok().and_then(|text| text.trim().parse().ok());
    let old = server.pid();
    let heir = upgrade(&server);
    assert_eq!((pid("run.pid"), pid("run.pid.2")), (Some(old), Some(heir)));
    // Back: nothing is left of it.
    proc::signal(heir, Sig::SIGTERM);
    server.wait_for_line("this one serves alone again");
    assert_eq!((pid("run.pid"), pid("run.pid.2")), (Some(old), None));
    // And forth.
    let heir = upgrade(&server);
    server.signal(Sig::SIGTERM);
    server.follow(heir);
    eventually("the new master has the name", PATIENCE, || {
        (pid("run.pid") == Some(heir) && pid("run.pid.2").is_none()).then_some(())
    });
    assert!(server.reload().contains("Reloaded"), "its own pidfile is in nobody's way");
    server.signal(Sig::SIGTERM);
    server.wait_for_silence(PATIENCE);
    assert_eq!(pid("run.pid"), None);
}

#[test]
fn the_control_socket_follows_the_service() {
    let mut server = Setup::hello().set("control_socket = \"ctl\"\nupgrade = \"auto\"").start();
    let master = |server: &Server| server.ctl_data("show stats")["pid"].as_u64();
    assert_eq!(master(&server), Some(server.pid().into()));
    // Again and again: the old master lets go of the name at the very moment at which the new one takes it.
    for _ in 0..10 {
        let promoted = server.log.mark();
        let heir = upgrade(&server);
        server.follow(heir);
        server.log.wait(promoted, "Master has been promoted.", 1, PATIENCE);
        let (name, beside) = (server.dir().join("ctl"), server.dir().join("ctl.2"));
        eventually("the new master has the name", PATIENCE, || (name.exists() && !beside.exists()).then_some(()));
        assert_eq!(master(&server), Some(heir.into()));
    }
    assert_eq!(server.ctl("reload --wait").code, Some(0));
}

#[test]
fn sockets_of_each_worker_and_relative_places_survive_an_upgrade_under_load() {
    let set = "reuse_port = true\nworkers = 3\nchdir = \"place\"\nbind = [\"127.0.0.1:0\", \"unix:server.sock\"]\nupgrade = \"auto\"";
    let setup = Setup::hello().set(set);
    std::fs::create_dir(setup.dir.path().join("place")).expect("the folder is ours");
    let mut server = setup.start();
    let path = server.dir().join("place/server.sock");
    let load = Load::start(server.address(), "/", 2);
    for _ in 0..3 {
        let heir = upgrade(&server);
        server.follow(heir);
        assert_eq!(get(path.as_path(), "/").map(|response| response.status), Ok(200));
    }
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally:?}");
    server.signal(Sig::SIGTERM);
    server.wait_for_silence(PATIENCE);
    assert!(!path.exists());
}

#[test]
fn the_log_file_goes_on_across_an_upgrade() {
    let mut server = Setup::hello().set("errorlog = \"error.log\"\nupgrade = \"auto\"").launch();
    let file = server.dir().join("error.log");
    let says = |pattern: &str| {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().find(|line| line.contains(pattern)).map(str::to_owned)
    };
    eventually("it serves", PATIENCE, || says("Worker ready").and_then(|_| says("slot: 1")));
    server.signal(Sig::SIGUSR2);
    let line = eventually("the new master serves", PATIENCE, || says("Upgrade: the new master serves (pid: "));
    let heir = line.split("(pid: ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok()).expect("a pid");
    server.follow(heir);
    eventually("the new one says so in the same file", PATIENCE, || says("Master has been promoted."));
}
