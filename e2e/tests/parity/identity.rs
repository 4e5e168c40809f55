//! Pidfile, umask, environment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};

use crate::harness::{PATIENCE, Sig, eventually, proc};
use crate::subject::{Gunicorn, Rustcorn, Server, Setup, differs, processes_in};

fn pid_in(server: &Server, name: &str) -> Option<u32> {
    fs::read_to_string(server.dir().join(name)).ok()?.strip_suffix('\n')?.parse().ok()
}

#[test]
fn a_pidfile_holds_the_masters_pid_and_is_removed_in_the_end() {
    for args in [["-p", "server.pid"], ["--pid", "server.pid"]] {
        let mut server = Setup::new().args(&args).start();
        assert_eq!(pid_in(&server, "server.pid"), Some(server.pid()));
        let mode = fs::metadata(server.dir().join("server.pid")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        server.signal(Sig::SIGTERM);
        assert_eq!(server.wait_for_exit(PATIENCE), 0);
        assert!(!server.dir().join("server.pid").exists());
    }
}

#[test]
fn a_pidfile_of_a_running_server_ends_the_start_with_1() {
    let first = Setup::new().set("pidfile = \"server.pid\"").start();
    let path = first.dir().join("server.pid");
    let set = format!("pidfile = \"{}\"", path.display());
    let mut second = Setup::new().set(&set).launch();
    assert_eq!(second.wait_for_exit(PATIENCE), 1);
    second.log.wait(0, &format!("Already running on PID {}", first.pid()), 1, PATIENCE);
    assert_eq!(pid_in(&first, "server.pid"), Some(first.pid()), "it is left alone");
}

#[test]
fn a_pidfile_of_a_server_that_is_gone_is_written_over() {
    let gone = Command::new("true").spawn().and_then(|mut child| {
        child.wait()?;
        Ok(child.id())
    });
    let setup = Setup::new().set("pidfile = \"server.pid\"");
    setup.dir.write("server.pid", &format!("{}\n", gone.expect("there is a true(1)")));
    let server = setup.start();
    assert_eq!(pid_in(&server, "server.pid"), Some(server.pid()));
}

#[test]
fn a_file_that_is_no_pidfile() {
    const PRECIOUS: &str = "Precious, and longer than any process id has ever been.\n";
    let setup = Setup::new().set("pidfile = \"notes.txt\"");
    setup.dir.write("notes.txt", PRECIOUS);
    let mut server = setup.launch();
    match differs("pidfile-over-something-else") {
        Gunicorn => {
            server.settled(2);
            assert_eq!(pid_in(&server, "notes.txt"), Some(server.pid()));
        }
        Rustcorn => {
            assert_eq!(server.wait_for_exit(PATIENCE), 1);
            assert_eq!(fs::read_to_string(server.dir().join("notes.txt")).expect("it is there"), PRECIOUS);
        }
    }
}

#[test]
fn a_pidfile_whose_number_went_to_another_process() {
    let setup = Setup::new().set("pidfile = \"server.pid\"");
    let other = Neighbour(Command::new("sleep").arg("300").spawn().expect("there is a sleep(1)"));
    write_as_of_long_ago(&setup.dir.path().join("server.pid"), other.0.id());
    let mut server = setup.launch();
    match differs("pidfile-stale") {
        Gunicorn => {
            assert_eq!(server.wait_for_exit(PATIENCE), 1);
            server.log.wait(0, &format!("Already running on PID {}", other.0.id()), 1, PATIENCE);
        }
        Rustcorn => {
            server.settled(2);
            assert_eq!(pid_in(&server, "server.pid"), Some(server.pid()));
        }
    }
}

/// A process that is no server. It ends with the scenario.
struct Neighbour(Child);

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it is our child");
    }
}

/// As it lies there after a power cut.
fn write_as_of_long_ago(path: &std::path::Path, pid: u32) {
    fs::write(path, format!("{pid}\n")).expect("the folder is ours");
    let file = fs::File::options().write(true).open(path).expect("it is there");
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    file.set_modified(long_ago).expect("it is ours");
}

#[test]
fn a_pidfile_that_is_somebody_elses_by_now_is_left() {
    let mut server = Setup::new().set("pidfile = \"server.pid\"").start();
    server.write_file("server.pid", "1\n");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert_eq!(pid_in(&server, "server.pid"), Some(1));
}

#[test]
fn the_pidfile_of_a_new_master_ends_in_2_until_it_is_promoted() {
    let mut server = Setup::new().set("pidfile = \"server.pid\"").start();
    let heir = server.upgrade();
    assert_eq!((pid_in(&server, "server.pid"), pid_in(&server, "server.pid.2")), (Some(server.pid()), Some(heir)));
    server.signal(Sig::SIGTERM);
    server.follow(heir);
    eventually("the file is renamed", PATIENCE, || (pid_in(&server, "server.pid") == Some(heir)).then_some(()));
    assert!(!server.dir().join("server.pid.2").exists());
    server.signal(Sig::SIGTERM);
    server.wait_for_silence(PATIENCE);
    assert!(!server.dir().join("server.pid").exists());
}

#[test]
fn the_pidfile_of_a_new_master_that_leaves_again_goes_with_it() {
    let server = Setup::new().set("pidfile = \"server.pid\"").start();
    let heir = server.upgrade();
    proc::signal(heir, Sig::SIGTERM);
    eventually("the new master leaves", PATIENCE, || (!proc::lives(heir)).then_some(()));
    assert!(!server.dir().join("server.pid.2").exists());
    assert_eq!(pid_in(&server, "server.pid"), Some(server.pid()));
}

#[test]
fn a_pidfile_moves_with_a_reload() {
    let mut server = Setup::new().set("pidfile = \"server.pid\"").start();
    let before = server.settled(2);
    server.reconfigure("pidfile = \"other.pid\"", "");
    server.signal(Sig::SIGHUP);
    server.replaced(&before, 2);
    assert_eq!(pid_in(&server, "other.pid"), Some(server.pid()));
    assert!(!server.dir().join("server.pid").exists());
}

#[test]
fn workers_have_the_masters_environment() {
    let server = Setup::new().env("GREETING", "hello there").start();
    let env = server.get("/env").expect("answered").body;
    assert!(env.lines().any(|line| line == "GREETING=hello there"), "{env}");
}

#[test]
fn env_flags_add_to_the_environment_of_workers() {
    let server =
        Setup::new().env("GREETING", "hello").args(&["-e", "GREETING=bye", "--env", "COLOUR=blue=ish"]).start();
    let env = server.get("/env").expect("answered").body;
    for wanted in ["GREETING=bye", "COLOUR=blue=ish"] {
        assert!(env.lines().any(|line| line == wanted), "no {wanted} in {env}");
    }
    assert!(!env.lines().any(|line| line == "GREETING=hello"), "{env}");
}

#[test]
fn chdir_is_where_the_workers_are() {
    let setup = Setup::new().set("chdir = \"inside\"");
    let inside = setup.dir.path().join("inside");
    fs::create_dir(&inside).expect("the folder is ours");
    let modules = setup.dir.path().to_str().expect("text").to_owned();
    let server = setup.env("PYTHONPATH", &modules).start();
    let worker = *server.settled(2).first().expect("two");
    for pid in [worker, server.pid()] {
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("it lives"), inside);
    }
}

#[test]
fn what_umask_means_to_workers_and_how_it_is_written() {
    let mask = |server: &Server| {
        let worker = *server.settled(2).first().expect("two");
        let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("it lives");
        status.lines().find_map(|line| Some(line.strip_prefix("Umask:")?.trim().to_owned())).expect("proc(5)")
    };
    let octal = Setup::new().args(&["-m", "0027"]).start();
    match differs("umask-of-workers") {
        Gunicorn => assert_eq!(mask(&octal), mask_of_tests(), "only the files of its own are made with it"),
        Rustcorn => assert_eq!(mask(&octal), "0027"),
    }
    let mut decimal = Setup::new().set("umask = 27\nbind = \"unix:server.sock\"").launch();
    match differs("umask-decimal") {
        Gunicorn => {
            decimal.settled(2);
            let mode = fs::metadata(decimal.dir().join("server.sock")).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o777 & !0o33);
        }
        Rustcorn => assert_eq!(decimal.wait_for_exit(PATIENCE), 1),
    }
}

fn mask_of_tests() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("proc(5)");
    status.lines().find_map(|line| Some(line.strip_prefix("Umask:")?.trim().to_owned())).expect("proc(5)")
}

#[test]
fn what_starts_a_daemon_that_cannot_serve() {
    let setup = Setup::new().app("fail_boot = \"no database\"");
    let output = setup.run(&[&["--daemon"][..], setup.what_to_run()].concat());
    let gone = || processes_in(setup.dir.path()).is_empty().then_some(());
    eventually("it is gone", PATIENCE, gone);
    match differs("daemon-tells-how-it-went") {
        Gunicorn => assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0)),
        Rustcorn => {
            assert_eq!(output.status.code(), Some(4));
            assert!(String::from_utf8_lossy(&output.stderr).contains("no database"), "{output:?}");
        }
    }
}
