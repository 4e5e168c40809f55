//! The admin process as an operator meets it: the real program, real signals, real load.
#![allow(clippy::unwrap_used)] // allow-unwrap-in-tests does not see that a test's helpers are tests, too

mod shared;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A master of its own, in a directory of its own; gone with the value.
struct Server {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    directory: PathBuf,
}

/// Starts the program on a file that begins with `settings`.
fn start(settings: &str) -> Server {
    shared::hear_hang_ups();
    let directory = shared::folder("admin");
    configure(&directory, settings);
    let mut child = Command::new(env!("CARGO_BIN_EXE_rustcorn"))
        .arg(directory.join("app.toml"))
        .current_dir(&directory)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = channel();
    thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    Server { child, lines, log: Vec::new(), directory }
}

fn configure(directory: &std::path::Path, settings: &str) {
    let text = format!("bind = \"127.0.0.1:0\"\n{settings}\n\n[app]\nhandler = \"hello\"\n");
    fs::write(directory.join("app.toml"), text).unwrap();
}

impl Server {
    /// The rest of the next line of the log that has `part` in it, after that.
    fn hears(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {part:?} in:\n{}", self.log.join("\n"))
            };
            self.log.push(line.clone());
            if let Some((_, rest)) = line.split_once(part) {
                return rest.to_owned();
            }
        }
    }

    /// Where it serves, and where its admin process answers.
    fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let app = self.hears("Listening at: http://");
        let app = app.split(' ').next().unwrap().parse().unwrap();
        (app, self.hears("Admin listening at: http://").parse().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    fn wait(&mut self) -> ExitStatus {
        until("the master leaves", || self.child.try_wait().unwrap())
    }

    /// A reload to these settings.
    fn reload(&mut self, settings: &str) {
        configure(&self.directory, settings);
        self.signal(Signal::SIGHUP);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // gone already is fine; its workers follow by the lifeline
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Sets the flag, also when the test fails: the threads that look at it have to end.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Status and body of a complete answer.
fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<(u16, String)> {
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let broken = || io::Error::other(format!("cut short: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|n| n.parse().ok());
    if length == Some(body.len()) { Ok((status, body.to_owned())) } else { Err(broken()) }
}

fn get_as(address: SocketAddr, path: &str, accept: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"))
}

fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    get_as(address, path, "*/*")
}

fn metrics(admin: SocketAddr) -> BTreeMap<String, f64> {
    let (status, text) = get(admin, "/metrics").unwrap();
    assert_eq!(status, 200);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

fn status(admin: SocketAddr) -> Value {
    serde_json::from_str(&get(admin, "/status").unwrap().1).unwrap()
}

fn is_ready(admin: SocketAddr) -> Option<()> {
    get(admin, "/readyz").is_ok_and(|(status, _)| status == 200).then_some(())
}

/// All workers that are ready.
fn ready_pids(admin: SocketAddr) -> Vec<i32> {
    let status = status(admin);
    let slots = status["slots"].as_array().unwrap().iter().filter(|slot| slot["state"] == "ready");
    slots.map(|slot| i32::try_from(slot["pid"].as_i64().unwrap()).unwrap()).collect()
}

fn child_named(master: i32, title: &str) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).ok()?;
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .find(|pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(title)))
}

const TWO: &str = "workers = 2\nadmin_bind = \"127.0.0.1:0\"";

#[test]
fn no_counter_goes_back_over_reloads_and_kills_and_in_the_end_all_is_counted() {
    let mut server = start(TWO);
    let (app, admin) = server.addresses();
    until("ready", || is_ready(admin));
    let (answered, broken, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let end = SetOnDrop(&done);
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let count = if get(app, "/").is_ok() { &answered } else { &broken };
                    count.fetch_add(1, Relaxed);
                }
            });
        }
        let watcher = scope.spawn(|| {
            let _end = SetOnDrop(&done);
            let (mut last, mut reads) = (BTreeMap::<String, f64>::new(), 0);
            while !done.load(Relaxed) {
                let now = metrics(admin);
                for (name, before) in &last {
                    let counter = ["_total", "_bucket{", "_sum", "_count"].iter().any(|part| name.contains(part));
                    let after = now.get(name);
                    assert!(!counter || after >= Some(before), "{name} went from {before} to {after:?}");
                }
                (last, reads) = (now, reads + 1);
            }
            reads
        });
        for round in 1..=5 {
            server.signal(Signal::SIGHUP);
            let name = "rustcorn_reloads_total{result=\"ok\"}";
            until("the reload", || (metrics(admin)[name] == f64::from(round)).then_some(()));
            // Of the generation in force: others are about to leave by themselves.
            let victim = until("a new worker", || {
                let status = status(admin);
                let slots = status["slots"].as_array()?;
                let new = |slot: &&Value| slot["state"] == "ready" && slot["generation"] == status["generation"];
                slots.iter().find(new).map(|slot| i32::try_from(slot["pid"].as_i64().unwrap()).unwrap())
            });
            send(victim, Signal::SIGKILL);
            let name = "rustcorn_worker_restarts_total{cause=\"killed\"}";
            until("its end", || (metrics(admin)[name] == f64::from(round)).then_some(()));
        }
        until("all settled", || {
            (ready_pids(admin).len() == 2 && status(admin)["slots"].as_array()?.len() == 2).then_some(())
        });
        drop(end);
        let reads = watcher.join().unwrap();
        assert!(reads > 20, "{reads}");
    });
    let (answered, broken) = (answered.into_inner(), broken.into_inner());
    let counted = metrics(admin);
    let total = counted["rustcorn_requests_total"] as u64;
    // A worker that is killed between counting and the last byte takes its client's answer with it.
    assert!((answered..=answered + broken).contains(&total), "{answered} answered, {broken} broken, {total} counted");
    assert!(broken <= 5 * 4, "only kills break anything: {broken}");
    assert_eq!(counted["rustcorn_responses_total{code=\"200\"}"] as u64, total);
    assert_eq!(counted["rustcorn_request_duration_seconds_count"] as u64, total);
    assert_eq!((counted["rustcorn_requests_in_flight"], counted["rustcorn_workers{state=\"ready\"}"]), (0.0, 2.0));
    assert_eq!(counted["rustcorn_worker_restarts_total{cause=\"killed\"}"], 5.0);
    assert_eq!(counted["rustcorn_worker_restarts_total{cause=\"hang\"}"], 0.0);
}

#[test]
fn while_draining_it_is_alive_but_not_ready_and_still_serves() {
    let mut server = start(&format!("{TWO}\ndrain_delay = 4"));
    let (app, admin) = server.addresses();
    until("ready", || is_ready(admin));
    server.signal(Signal::SIGTERM);
    let reason = until("not ready", || get(admin, "/readyz").ok().filter(|(status, _)| *status == 503));
    assert_eq!(reason.1, "draining: the server is stopping\n");
    assert_eq!(get(app, "/").unwrap().0, 200);
    assert_eq!(get(admin, "/livez").unwrap().0, 200);
    assert_eq!(status(admin)["phase"], "draining");
    assert_eq!(server.wait().code(), Some(0));
    drop(TcpListener::bind(admin).expect("the next master finds the address free"));
}

#[test]
fn the_reason_is_told_while_booting_and_below_the_minimum() {
    let mut server = start("workers = 2\nmin_ready_workers = 2\nrestart_backoff = 5\nadmin_bind = \"127.0.0.1:0\"");
    let (_, admin) = server.addresses();
    until("ready", || is_ready(admin));
    // The second death in a row makes the seat rest.
    let reason = until("below", || {
        let pids = ready_pids(admin);
        if let [one, _] = pids[..] {
            send(one, Signal::SIGKILL);
        }
        get(admin, "/readyz").ok().filter(|(status, text)| *status == 503 && text.starts_with("1 of 2"))
    });
    assert!(reason.1.ends_with("min_ready_workers is 2\n"), "{}", reason.1);
}

#[test]
fn an_admin_process_that_was_killed_is_back_and_no_worker_noticed() {
    let mut server = start(TWO);
    let (app, admin) = server.addresses();
    until("ready", || (ready_pids(admin).len() == 2).then_some(()));
    get(app, "/").unwrap();
    let workers = ready_pids(admin);
    let before = child_named(server.pid(), "rustcorn: admin [hello]").expect("it has a title");
    send(before, Signal::SIGKILL);
    // The socket stays open in the master, so nobody is refused meanwhile.
    until("another one", || child_named(server.pid(), "rustcorn: admin [hello]").filter(|pid| *pid != before));
    until("ready", || is_ready(admin));
    assert_eq!(ready_pids(admin), workers);
    assert_eq!(metrics(admin)["rustcorn_requests_total"], 1.0);
    server.hears(&format!("Admin process (pid:{before}) was sent SIGKILL; starting another"));
}

#[test]
fn a_busy_address_is_a_bind_error() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap();
    let mut server = start(&format!("admin_bind = \"{address}\""));
    let reason = server.hears("Error: ");
    assert_eq!(server.wait().code(), Some(1));
    assert_eq!(
        reason,
        format!(
            "cannot listen on http://{address}: the address is in use; is another server running? Stop it, or choose another \
             address with --admin-bind"
        )
    );
}

#[test]
fn a_reload_moves_it_and_takes_it_away_and_brings_it_back() {
    let mut server = start(TWO);
    let (app, admin) = server.addresses();
    until("ready", || is_ready(admin));
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    server.reload(&format!("workers = 2\nadmin_bind = \"{}\"", busy.local_addr().unwrap()));
    assert!(server.hears("Reload failed: ").contains("--admin-bind; generation 1 goes on serving"));
    assert_eq!(metrics(admin)["rustcorn_reloads_total{result=\"failed\"}"], 1.0);

    server.reload("workers = 2\nadmin_bind = \"unix:admin.sock\"");
    server.hears("Admin listening at: unix:admin.sock");
    let path = server.directory.join("admin.sock");
    let request = "GET /readyz HTTP/1.0\r\n\r\n";
    until("ready", || {
        let (status, _) = exchange(UnixStream::connect(&path).ok()?, request).ok()?;
        (status == 200).then_some(())
    });
    until("the old address is closed", || get(admin, "/livez").is_err().then_some(()));

    server.reload("workers = 2");
    until("no admin process", || child_named(server.pid(), "rustcorn: admin").is_none().then_some(()));
    assert!(!path.exists());
    server.reload(TWO);
    let admin = server.hears("Admin listening at: http://").parse().unwrap();
    until("ready", || is_ready(admin));
    assert_eq!(get(app, "/").unwrap().0, 200);
    assert_eq!(metrics(admin)["rustcorn_generation"], 5.0);
}

#[test]
fn it_does_not_outlive_its_master() {
    let mut server = start(TWO);
    let (_, admin) = server.addresses();
    until("ready", || is_ready(admin));
    server.signal(Signal::SIGKILL);
    server.wait();
    until("gone", || TcpStream::connect(admin).is_err().then_some(()));
}

#[test]
fn a_crowd_does_not_keep_a_probe_out() {
    let mut server = start(TWO);
    let (_, admin) = server.addresses();
    let mut crowd: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(admin).unwrap()).collect();
    for stream in &mut crowd {
        let _ = stream.write_all(b"GET /livez HT"); // those who had to give way find out by this
    }
    assert_eq!(get(admin, "/livez").unwrap(), (200, "alive\n".into()));
    let refused = exchange(TcpStream::connect(admin).unwrap(), "POST /livez HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(refused.unwrap(), (405, "only GET and HEAD\n".into()));
}

#[test]
fn the_status_document_has_the_fields_that_were_promised() {
    let mut server = start(TWO);
    let (app, admin) = server.addresses();
    until("ready", || (ready_pids(admin).len() == 2).then_some(()));
    for path in ["/", "/", "/missing"] {
        get(app, path).unwrap();
    }
    let status = status(admin);
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        fields(&status),
        "backlog connections duration generation history log master name phase readiness ready recent recycles reloads \
         requests responses restarts slots time version workers"
    );
    assert_eq!(
        fields(&status["slots"][0]),
        "aborted age connections generation heartbeat_age in_flight pid polling requests resident_memory slot state"
    );
    assert_eq!(fields(&status["connections"]), "accepted open spread");
    assert_eq!(fields(&status["master"]), "heartbeat_age pid start_time uptime");
    assert_eq!(status["responses"], serde_json::json!({"200": 2, "404": 1}));
    assert_eq!(status["master"]["pid"], server.pid());
    assert_eq!((&status["phase"], &status["generation"]), (&"running".into(), &1.into()));
    assert!(status["slots"][0]["resident_memory"].as_u64().unwrap() > 100_000);
    let page = get_as(admin, "/status", "text/html").unwrap().1;
    assert!(page.starts_with("<!doctype html>"));
}
