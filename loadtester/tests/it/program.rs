//! The program: exit codes, messages, files, Ctrl-C.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustcorn_loadtester::report::{EndedBy, Report};

use crate::server::Server;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustcorn-loadtester"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = program(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The histograms of all seconds, read as another tool would.
fn added_up(report: &Report) -> Histogram<u64> {
    let mut sum = rustcorn_loadtester::stats::histogram();
    for times in report.seconds.iter().filter_map(|second| second.times.as_ref()) {
        let bytes = BASE64_STANDARD.decode(&times.hdr).unwrap();
        let second: Histogram<u64> = Deserializer::new().deserialize(&mut &*bytes).unwrap();
        sum.add(second).unwrap();
    }
    sum
}

/// A directory of its own, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rustcorn-loadtester-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // a leftover in the temporary directory harms nobody
    }
}

#[test]
fn a_run_with_all_its_files() {
    let (server, folder) = (Server::start(), Folder::new("files"));
    let [json, csv, html, again] = ["r.json", "r.csv", "r.html", "again.html"].map(|name| folder.file(name));
    let url = server.url("/");
    let arguments = ["run", &url, "-n", "500", "-u", "5", "--json", &json, "--csv", &csv, "--html", &html];
    let (code, out, err) =
        run(&[&arguments[..], &["--threshold", "errors = 0", "--threshold", "requests = 500"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("GET /       500       0"), "{out}");
    assert!(out.contains("ok     errors = 0: 0"), "{out}");
    let report = Report::from_file(json.as_ref()).unwrap();
    assert_eq!((report.total.requests, report.total.service.0.len(), server.requests()), (500, 500, 500));
    assert_eq!(report.ended_by, EndedBy::Requests);
    assert_eq!(report.seconds.iter().map(|second| second.requests).sum::<u64>(), 500);
    assert_eq!(added_up(&report), report.total.service.0, "the seconds' histograms are all of it");
    assert!(fs::read_to_string(&csv).unwrap().lines().count() >= 2);
    let (code, table, _) = run(&["report", &json, "--html", &again]);
    assert_eq!((code, table), (0, out));
    assert_eq!(fs::read_to_string(&again).unwrap(), fs::read_to_string(&html).unwrap());
}

/// The run is over when it turns out that a result cannot be written: whatever else there is has to be kept.
#[test]
fn a_file_that_cannot_be_written_costs_neither_the_table_nor_the_other_files() {
    let (server, folder) = (Server::start(), Folder::new("full"));
    let csv = folder.file("r.csv");
    let (code, out, err) =
        run(&["run", &server.url("/"), "-n", "5", "-u", "1", "-q", "--json", "/dev/full", "--csv", &csv]);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.starts_with("Error: cannot write /dev/full: No space left on device"), "{err}");
    assert!(out.contains("GET /         5       0"), "{out}");
    assert!(fs::read_to_string(&csv).unwrap().lines().count() >= 2);
}

#[test]
fn a_device_can_be_written_to() {
    let server = Server::start();
    let (code, out, err) = run(&["run", &server.url("/"), "-n", "5", "-u", "1", "-q", "--html", "/dev/null"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn a_threshold_that_does_not_hold_is_exit_code_3() {
    let server = Server::start();
    let (code, out, _) = run(&["run", &server.url("/status/500"), "-n", "10", "-u", "1", "--threshold", "errors < 10"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("FAILED errors < 10: 10") && out.contains("status: status 500"), "{out}");
}

#[test]
fn nobody_there_is_exit_code_1() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, _, err) = run(&["run", &format!("http://127.0.0.1:{port}/"), "-n", "3", "-q"]);
    assert_eq!(code, 1);
    assert_eq!(err, format!("Error: nobody could be reached: connection to 127.0.0.1:{port} refused\n"));
}

#[test]
fn mistakes_are_exit_code_2_and_one_clear_line() {
    let folder = Folder::new("mistakes");
    let file = folder.file("bad.toml");
    fs::write(&file, "usrs = 3\n[[task]]\npath = \"/\"\n").unwrap();
    let no_host = folder.file("no-host.toml");
    fs::write(&no_host, "[[task]]\npath = \"/\"\n").unwrap();
    let unknown_task = ["run", "http://localhost/a", "--threshold", "p99[/b] < 1s"];
    for (arguments, message) in [
        (&["run", &file][..], format!("{file}:1: usrs: unknown key; did you mean \"users\"?")),
        (
            &["run", &no_host],
            "class \"default\" has no host; set host = \"http://…\" in the scenario, or use --host".to_owned(),
        ),
        (&["run", "http://"], "\"http://\" is not a URL: ".to_owned()),
        (&["run", "http://localhost/", "--rate", "0"], "--rate: \"0\" is not allowed; ".to_owned()),
        (&["run", "http://localhost/", "--rate", "5", "--users", "5"], "--users is for a closed loop, ".to_owned()),
        (
            &["run", "http://localhost/", "--threshold", "p99 < 5"],
            "threshold \"p99 < 5\": \"5\" has no unit".to_owned(),
        ),
        (&["run", "http://localhost/", "--json", "/nowhere/x"], "--json: cannot write /nowhere/x: ".to_owned()),
        (&["run", "http://localhost/", "-H", "Content-Length: 3"], "--header \"Content-Length: 3\": ".to_owned()),
        (
            &["run", "https://localhost/", "--cacert", "/nowhere"],
            "cannot use the certificates of /nowhere: ".to_owned(),
        ),
        (&["run", "missing.toml"], "cannot read missing.toml: No such file or directory; ".to_owned()),
        (&unknown_task, "threshold \"p99[/b] < 1s\": there is no task \"/b\"".to_owned()),
        (&["report", &file], format!("{file} is no result of rustcorn-loadtester run --json: ")),
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {out}{err}");
        assert!(err.starts_with(&format!("Error: {message}")), "{arguments:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let (code, _, err) = run(&["run", "http://localhost/", "--usrs", "3"]);
    assert!(code == 2 && err.contains("--users"), "{err}");
}

#[test]
fn an_interrupt_ends_a_run_with_its_full_report() {
    let (server, folder) = (Server::start(), Folder::new("interrupt"));
    let json = folder.file("r.json");
    let mut child = program(&["run", &server.url("/wait/30"), "-d", "1h", "-u", "6", "--grace", "0", "--json", &json])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().expect("a line of progress after a second").unwrap();
    assert!(first.contains("6 users") && first.contains("errors: 0"), "{first}");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{out}");
    assert!(out.contains("interrupted"), "{out}");
    let report = Report::from_file(json.as_ref()).unwrap();
    assert_eq!(report.ended_by, EndedBy::Interrupt);
    assert!(report.total.requests > 0);
    assert_eq!(report.total.requests + report.unfinished, server.requests());
}

/// As many connections as the system gives, not as the shell gives at first.
#[test]
fn users_beyond_the_shells_limit_of_descriptors_have_connections() {
    let server = Server::start();
    let limited = "ulimit -Sn 50; exec \"$0\" run \"$1\" -u 100 -n 200 -q --threshold 'errors = 0'";
    let arguments = ["-c", limited, env!("CARGO_BIN_EXE_rustcorn-loadtester"), &server.url("/wait/50")];
    let Output { status, stdout, stderr } = Command::new("sh").args(arguments).output().unwrap();
    assert_eq!(status.code(), Some(0), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
}

#[test]
fn an_open_loop_says_how_it_kept_to_its_schedule() {
    let (server, folder) = (Server::start(), Folder::new("open"));
    let json = folder.file("r.json");
    let (code, out, _) =
        run(&["run", &server.url("/"), "-r", "200", "-d", "1s", "--json", &json, "--threshold", "achieved >= 100%"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("schedule: 200 of 200 due requests started (100.00 %)"), "{out}");
    let report = Report::from_file(json.as_ref()).unwrap();
    assert_eq!((report.total.requests, report.total.rate), (200, 200.0));
    assert_eq!(report.tasks[0].response.as_ref().unwrap().0.len(), 200);
}
