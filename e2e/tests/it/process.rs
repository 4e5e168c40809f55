//! Who the processes are and where they live: user and groups, pidfile, directory, mask, environment, titles.

use std::fs;
use std::path::PathBuf;

use crate::harness::{PATIENCE, Server, Setup, Sig, eventually, proc};

fn identities(server: &Server) -> Vec<(String, String, String)> {
    let mut all: Vec<_> = server.workers().into_iter().map(proc::identity).collect();
    all.dedup();
    all
}

fn ids(user: &str, group: &str) -> (String, String, String) {
    (user.to_owned(), group.to_owned(), group.to_owned())
}

#[test]
fn workers_and_admin_process_take_on_user_and_group_and_live_like_others() {
    if !proc::is_root_or_says("user and group") {
        return;
    }
    let mut server = Setup::hello()
        .set("user = 54321\ngroup = 12345\nadmin_bind = \"127.0.0.1:0\"")
        .app("delay_ms = 500")
        .expect("was sent SIGKILL!")
        .start();
    assert_eq!(proc::identity(server.pid()).0, "0", "the master stays who it is");
    eventually("two workers and the admin process", PATIENCE, || (server.workers().len() == 3).then_some(()));
    assert_eq!(identities(&server), [ids("54321", "12345")]);

    // A respawn is the same, and so is a new generation; another user comes with a reload.
    let workers: Vec<u32> = server.workers().into_iter().filter(|pid| proc::title(*pid).contains("worker")).collect();
    proc::signal(workers[0], Sig::SIGKILL);
    server.log.wait(0, "Worker ready (pid: ", 3, PATIENCE);
    assert_eq!(identities(&server), [ids("54321", "12345")]);
    server.reconfigure("user = 54322", "");
    let mut slow = server.connect();
    slow.send("GET", "/", "", "").expect("sent");
    assert!(server.reload().contains("Reloaded"));
    assert_eq!(slow.receive(false).map(|response| response.status), Ok(200), "the old ones finish");
    eventually("everybody is somebody else", PATIENCE, || {
        (identities(&server) == [ids("54322", "12345")] && server.workers().len() == 3).then_some(())
    });

    // A drain finishes what is in flight.
    let mut slow = server.connect();
    slow.send("GET", "/", "", "").expect("sent");
    server.signal(Sig::SIGTERM);
    assert_eq!(slow.receive(false).map(|response| response.status), Ok(200));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn the_lifeline_reaches_workers_of_another_user() {
    if !proc::is_root_or_says("the lifeline of another user's workers") {
        return;
    }
    let mut server = Setup::hello().set("user = 54321\ngroup = 12345").start();
    assert_eq!(identities(&server), [ids("54321", "12345")]);
    server.signal(Sig::SIGKILL);
    assert_eq!(server.wait_for_exit(PATIENCE), -1);
    server.wait_for_silence(PATIENCE);
}

#[test]
fn a_program_that_knows_nothing_of_the_master_dies_with_it() {
    // It has no lifeline, so this is the parent-death signal alone, which a change of identity would take back.
    let setup = Setup::hello().without("handler").app("command = [\"sleep\", \"300\"]").set("workers = 1");
    let setup = if proc::is_root_or_says("the same with another user") {
        setup.set("user = 54321\ngroup = 12345")
    } else {
        setup
    };
    let mut server = setup.launch();
    server.wait_for_line("Using worker: sleep");
    let worker = eventually("the program runs", PATIENCE, || {
        server.workers().into_iter().find(|pid| proc::title(*pid) == "sleep")
    });
    server.signal(Sig::SIGKILL);
    assert_eq!(server.wait_for_exit(PATIENCE), -1);
    eventually("it is gone", PATIENCE, || (!proc::lives(worker)).then_some(()));
}

#[test]
fn groups_of_the_user_come_with_initgroups_only() {
    if !proc::is_root_or_says("initgroups") {
        return;
    }
    let groups = |set: &str| {
        let server = Setup::hello().set("user = \"root\"\nworkers = 1").set(set).start();
        proc::identity(*server.workers().first().expect("there is one")).2
    };
    assert_eq!(groups(""), "0");
    let database = fs::read_to_string("/etc/group").expect("every system has one");
    let member = |line: &str| line.rsplit(':').next().is_some_and(|names| names.split(',').any(|name| name == "root"));
    let mut all: Vec<u32> =
        database.lines().filter(|line| member(line)).filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect();
    all.push(0);
    all.sort_unstable();
    all.dedup();
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(groups("initgroups = true"), all.join(" "));
}

#[test]
fn a_user_that_cannot_be_is_a_mistake_in_the_configuration() {
    let setup = Setup::hello().set("user = \"no-such-user\"");
    setup.write();
    let words =
        "Error: app.toml:4: user: there is no user \"no-such-user\" on this system; create it, or write a number\n";
    for args in [&["app.toml"][..], &["--check-config", "app.toml"]] {
        let output = setup.run_with(args);
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(1), words));
    }

    // Root without the right is no better off than others.
    let setup = Setup::hello().set("user = 54321\ngroup = 12345");
    let (setup, words) = if proc::is_root() {
        (setup.wrapped(&["setpriv", "--bounding-set", "-kill,-setuid"]), "(user 0) lacks CAP_KILL, CAP_SETUID;")
    } else {
        (setup, "lacks CAP_KILL, CAP_SETGID, CAP_SETUID;")
    };
    setup.write();
    let output = setup.run_with(&["app.toml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("Error: app.toml:4: user: workers cannot become 54321: this process "), "{said}");
    assert!(said.contains(words), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_reload_to_a_user_that_is_not_there_changes_nothing() {
    let mut server = Setup::hello().expect("Reload failed").start();
    let workers = server.settled(2);
    server.reconfigure("group = \"no-such-group\"", "");
    let line = server.reload();
    assert!(line.contains("Reload failed: app.toml:4: group: there is no group \"no-such-group\""), "{line}");
    assert_eq!(server.workers(), workers);
}

fn pid_in(path: &PathBuf) -> Option<u32> {
    fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok()
}

#[test]
fn the_pidfile_keeps_a_second_server_off_and_goes_with_the_first() {
    let mut server = Setup::hello().set("pidfile = \"a.pid\"").start();
    let path = server.dir().join("a.pid");
    assert_eq!(pid_in(&path), Some(server.pid()));
    let output = server.run_another(&["app.toml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with(&format!("Error: Already running on PID {} (or pid file is stale)", server.pid())),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!(!path.exists());
}

#[test]
fn the_pidfile_of_a_master_that_was_killed_is_in_nobodys_way() {
    let mut server = Setup::hello().set("pidfile = \"a.pid\"").start();
    server.signal(Sig::SIGKILL);
    server.wait_for_exit(PATIENCE);
    server.wait_for_silence(PATIENCE);
    let left = fs::read_to_string(server.dir().join("a.pid")).expect("it is left behind");
    let other = Setup::hello().set("pidfile = \"a.pid\"");
    other.dir.write("a.pid", &left);
    let other = other.start();
    assert_eq!(pid_in(&other.dir().join("a.pid")), Some(other.pid()));
}

#[test]
fn a_reload_moves_the_pidfile_once_it_has_succeeded() {
    let mut server = Setup::hello().set("pidfile = \"a.pid\"").expect("Reload failed").start();
    let (a, b) = (server.dir().join("a.pid"), server.dir().join("b.pid"));
    server.reconfigure("pidfile = \"b.pid\"", "handler = \"helo\"");
    assert!(server.reload().contains("Reload failed"));
    assert_eq!((pid_in(&a), b.exists()), (Some(server.pid()), false));
    server.reconfigure("pidfile = \"missing/b.pid\"", "handler = \"hello\"");
    let line = server.reload();
    assert!(
        line.contains("Reload failed: cannot write the pidfile missing/b.pid: No such file or directory"),
        "{line}"
    );
    assert_eq!(pid_in(&a), Some(server.pid()));
    server.reconfigure("pidfile = \"b.pid\"", "");
    assert!(server.reload().contains("Reloaded"));
    assert_eq!((a.exists(), pid_in(&b)), (false, Some(server.pid())));
    server.reconfigure("pidfile = \"\"", "");
    assert!(server.reload().contains("Reloaded"));
    assert!(!b.exists());
}

#[test]
fn chdir_is_where_relative_paths_begin_and_a_reload_can_change_it() {
    let setup = Setup::testapp().set("chdir = \"one\"\npidfile = \"a.pid\"\nbind = [\"127.0.0.1:0\", \"unix:s.sock\"]");
    for name in ["one", "two"] {
        fs::create_dir(setup.dir.path().join(name)).expect("the folder is ours");
    }
    let mut server = setup.expect("Reload failed").start();
    let folder = fs::canonicalize(server.dir()).expect("it is there");
    let (one, two) = (folder.join("one"), folder.join("two"));
    let there = |server: &Server| server.workers().into_iter().map(|pid| proc::link(pid, "cwd")).collect::<Vec<_>>();
    assert_eq!(there(&server), [one.clone(), one.clone()]);
    assert!(one.join("a.pid").exists() && one.join("s.sock").exists());

    // The file is found again, although the master is somewhere else by now.
    server.reconfigure("chdir = \"missing\"", "");
    let line = server.reload();
    assert!(line.contains("Reload failed: app.toml:5: chdir: cannot work in missing: No such file"), "{line}");
    server.reconfigure("chdir = \"two\"", "");
    assert!(server.reload().contains("Reloaded"));
    eventually("both work in the new directory", PATIENCE, || {
        (there(&server) == [two.clone(), two.clone()]).then_some(())
    });
    eventually("the files are there and no longer here", PATIENCE, || {
        let names = |folder: &PathBuf| ["a.pid", "s.sock"].map(|name| folder.join(name).exists());
        (names(&one) == [false; 2] && names(&two) == [true; 2]).then_some(())
    });
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!(!two.join("a.pid").exists() && !two.join("s.sock").exists());
}

#[test]
fn workers_have_the_mask_and_the_environment_of_their_generation() {
    let mut server = Setup::testapp()
        .set("umask = \"0027\"\nraw_env = [\"A=1 = 1\", \"B=file\"]")
        .env("B", "master")
        .env("C", "kept")
        .start();
    let variables = |server: &Server| {
        let text = server.get("/env").expect("answered").body;
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| ["A=", "B=", "C="].iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(variables(&server), ["A=1 = 1", "B=file", "C=kept"]);
    assert!(server.workers().into_iter().all(|pid| proc::umask(pid) == "0027"));
    let before = server.settled(2);
    // What is taken out of the configuration is as it was before, or gone.
    server.reconfigure("umask = \"0077\"\nraw_env = [\"C=file\"]", "");
    assert!(server.reload().contains("Reloaded"));
    assert!(server.log.find(0, "Setting env.A: removed").is_some(), "and what it held is not told");
    eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
    server.settled(2);
    assert_eq!(variables(&server), ["B=master", "C=file"]);
    assert!(server.workers().into_iter().all(|pid| proc::umask(pid) == "0077"));
}

#[test]
fn ps_shows_what_each_process_is() {
    // The environment lies behind the arguments, and is needed still: by the workers, and by the master on a reload.
    let mut server = Setup::testapp()
        .set("admin_bind = \"127.0.0.1:0\"")
        .env("COLOUR", "green")
        .env("RUSTCORN_THREADS", "1")
        .start();
    let titles = |server: &Server| {
        let mut titles: Vec<String> = server.workers().into_iter().chain([server.pid()]).map(proc::title).collect();
        titles.sort();
        titles.dedup();
        titles
    };
    let named = |name: &str| {
        ["admin", "master", "worker 0", "worker 1"].map(|what| format!("rustcorn: {what} [{name}]")).to_vec()
    };
    eventually("the titles", PATIENCE, || (titles(&server) == named("rustcorn-e2e-testapp")).then_some(()));
    let long = "a name that is longer than the command line that was there before it ".repeat(3).trim().to_owned();
    server.reconfigure(&format!("proc_name = \"{long}\""), "");
    assert!(server.reload().contains("Reloaded"));
    eventually("the new titles", PATIENCE, || {
        let master = titles(&server).iter().any(|title| *title == format!("rustcorn: master [{long}]"));
        let others = titles(&server).iter().filter(|title| title.ends_with(&format!(" [{long}]"))).count();
        (master && others == 4).then_some(())
    });
    assert!(server.get("/env").expect("answered").body.contains("COLOUR=green\n"));
    server.reconfigure("proc_name = \"x\"", "");
    assert!(server.reload().contains("Reloaded"));
    eventually("a short title again", PATIENCE, || (proc::title(server.pid()) == "rustcorn: master [x]").then_some(()));
}

#[test]
fn a_setting_that_takes_a_restart_says_so() {
    let mut server = Setup::hello().start();
    server.reconfigure("reuse_port = true\ndaemon = true", "");
    assert!(server.reload().contains("Reloaded"));
    for line in ["reuse_port: false → true", "daemon: false → true"] {
        assert!(
            server.log.find(0, &format!("[WARNING] Setting {line}: takes a restart of the master")).is_some(),
            "{line}"
        );
    }
}
