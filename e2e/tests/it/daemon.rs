//! In the background: the command returns when the server serves, or says why it does not.

use std::path::Path;
use std::process::Output;

use crate::harness::{PATIENCE, Setup, Sig, eventually, get, proc};

/// A server in the background. Ended when dropped.
struct Daemon {
    pid: u32,
    setup: Setup,
}

impl Daemon {
    /// Starts it; what the command said and how it ended.
    fn start(setup: Setup) -> (Self, Output) {
        setup.write();
        let output = setup.run_with(&["-D", "-p", "a.pid", "app.toml"]);
        let pid =
            std::fs::read_to_string(setup.dir.path().join("a.pid")).expect("a server that serves has its pidfile");
        (Self { pid: pid.trim().parse().expect("a number"), setup }, output)
    }

    fn folder(&self) -> &Path {
        self.setup.dir.path()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It is not our child, so somebody else takes its end; the file says that it is still the one.
        if std::fs::read_to_string(self.folder().join("a.pid")).is_ok() && proc::lives(self.pid) {
            proc::signal(self.pid, Sig::SIGINT);
            eventually("the daemon leaves", PATIENCE, || (!proc::lives(self.pid)).then_some(()));
        }
    }
}

/// Field of /proc/PID/stat, counted from 1 (proc(5)).
fn stat(pid: u32, field: usize) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields = stat.rsplit_once(") ").expect("it has a name").1;
    fields.split(' ').nth(field - 3).and_then(|field| field.parse().ok()).expect("a number")
}

#[test]
fn the_command_returns_when_the_daemon_serves_and_leaves_nothing_on_the_terminal() {
    let (daemon, output) =
        Daemon::start(Setup::hello().set("bind = \"unix:server.sock\"\nadmin_bind = \"unix:admin.sock\""));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{said}");
    assert!(said.contains(&format!("[{}] [INFO] Listening at: unix:server.sock", daemon.pid)), "{said}");
    assert!(said.contains("[WARNING] daemon without a log file: from the start on, log lines go nowhere"), "{said}");
    let path = daemon.folder().join("server.sock");
    assert_eq!(get(path.as_path(), "/").map(|response| response.status), Ok(200), "it serves already");

    // A session of its own, which it does not lead, so no terminal can become its own.
    let (session, own) = (stat(daemon.pid, 6), stat(std::process::id(), 6));
    assert!(session != own && session != daemon.pid, "{session} {own} {}", daemon.pid);
    assert_eq!(proc::threads(daemon.pid), 1);
    let processes = eventually("workers and admin process", PATIENCE, || {
        Some(proc::children(daemon.pid)).filter(|children| children.len() == 3)
    });
    for pid in processes.into_iter().chain([daemon.pid]) {
        for number in 0..3 {
            assert_eq!(proc::link(pid, &format!("fd/{number}")), Path::new("/dev/null"), "{pid} {number}");
        }
    }
    assert_eq!(proc::title(daemon.pid), "rustcorn: master [hello]");

    proc::signal(daemon.pid, Sig::SIGTERM);
    eventually("the daemon leaves", PATIENCE, || (!proc::lives(daemon.pid)).then_some(()));
    assert!(!path.exists() && !daemon.folder().join("a.pid").exists());
}

#[test]
fn a_daemon_reloads_and_replaces_its_workers() {
    let (daemon, output) = Daemon::start(Setup::hello().set("bind = \"unix:server.sock\""));
    assert_eq!(output.status.code(), Some(0));
    let before = eventually("two workers", PATIENCE, || Some(proc::children(daemon.pid)).filter(|all| all.len() == 2));
    proc::signal(daemon.pid, Sig::SIGHUP);
    eventually("two others", PATIENCE, || {
        let now = proc::children(daemon.pid);
        (now.len() == 2 && now.is_disjoint(&before)).then_some(())
    });
    let path = daemon.folder().join("server.sock");
    assert_eq!(get(path.as_path(), "/").map(|response| response.status), Ok(200));
}

#[test]
fn a_start_that_fails_is_told_to_whoever_called() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = busy.local_addr().expect("it is bound");
    let mistakes = [
        (Setup::hello().set("workerz = 1"), 1, "Error: app.toml:4: workerz: unknown key; did you mean \"workers\"?"),
        (Setup::hello().set(&format!("bind = \"{address}\"")), 1, "the address is in use; is another server running?"),
        (
            Setup::testapp().set("workers = 1").app("fail_boot = \"no database\""),
            4,
            "[ERROR] Worker 0 failed to boot: no database",
        ),
    ];
    for (setup, code, words) in mistakes {
        setup.write();
        let output = setup.run_with(&["--daemon", "-p", "a.pid", "app.toml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!setup.dir.path().join("a.pid").exists());
    }
}
