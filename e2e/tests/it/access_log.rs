//! The access log: one line for each request, true, whole, and nobody waits for it.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::http2::{Http2, Outcome, run};
use crate::harness::{Load, LogFile, PATIENCE, Server, Setup, Sig, eventually, get, proc};

const FILE: &str = "access.log";

fn started(setup: Setup) -> (Server, LogFile) {
    let server = setup.set(&format!("accesslog = \"{FILE}\"")).start();
    let file = LogFile::of(&server, FILE);
    (server, file)
}

/// With these in front and behind, lines differ in nothing that time has a part in.
const FORMAT: &str = r#"access_log_format = '%(h)s %(u)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'"#;

/// Waits until there are so many lines, and no more.
#[track_caller]
fn lines(file: &LogFile, count: usize) -> Vec<String> {
    let lines = eventually(&format!("{count} lines in {}", file.path().display()), PATIENCE, || {
        Some(file.lines()).filter(|lines| lines.len() >= count)
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// The files that a process has open.
fn open_files(pid: u32) -> BTreeSet<PathBuf> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let links = folder.into_iter().flatten().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.collect()
}

/// Waits until all workers write to a file, and none to another.
#[track_caller]
fn wait_for_all(server: &Server, there: &Path, gone: &Path) {
    eventually(&format!("all write to {}", there.display()), PATIENCE, || {
        let settled = |pid: &u32| {
            let files = open_files(*pid);
            !proc::lives(*pid) || (files.contains(there) && !files.contains(gone))
        };
        server.workers().iter().all(settled).then_some(())
    });
}

#[test]
fn each_request_leaves_one_line_whoever_answers_it() {
    let setup =
        Setup::testapp().set(FORMAT).set("workers = 1\nrequest_timeout = 2\nforwarded_allow_ips = \"127.0.0.1\"");
    let (server, file) =
        started(setup.set("http2_cleartext = \"prior-knowledge\"").app("slow_ms = 60000").expect("asked to panic"));
    let mut conn = server.connect();
    let mut said = Vec::new();
    let mut ask = |method: &str, path: &str, head: &str, body: &str| {
        let answer = conn.request(method, path, head, body).expect("answered");
        if answer.closes() {
            conn = server.connect();
        }
        said.push(answer.status);
    };
    ask("GET", "/", "Referer: http://other/\r\nUser-Agent: a \"b\" \\\r\n", "");
    ask("POST", "/echo", "", "hello");
    ask("GET", "/nowhere?q=1&sig=s3cret", "Authorization: Basic am86c2VjcmV0\r\n", "");
    ask("GET", "/stream", "", "");
    ask("GET", "/", "X-Forwarded-For: 10.1.2.3\r\n", "");
    ask("GET", "/panic", "", "");
    ask("GET", "/slow", "", "");
    assert_eq!(said, [200, 200, 404, 200, 200, 500, 504]);
    let mut conn = server.connect();
    conn.send_raw("POST /echo HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .expect("sent");
    assert_eq!(conn.receive(false).map(|answer| answer.status), Ok(200));
    conn.send("HEAD", "/", "", "").expect("sent");
    assert_eq!(conn.receive(true).map(|answer| answer.status), Ok(200));
    // Refused by the guard: no request, too long a line, a bad body, another protocol.
    for (bytes, status) in [
        ("GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /\u{1}\" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(5000)), 414),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("\u{16}\u{3}\u{1}\n\n", 400),
    ] {
        let mut conn = server.connect();
        conn.send_raw(bytes).expect("sent");
        assert_eq!(conn.receive(false).map(|answer| answer.status), Ok(status), "{bytes:.40}");
        conn.wait_for_close().expect("closed");
    }
    // A connection that is no longer HTTP's.
    let stream = TcpStream::connect(server.address()).expect("a listening server");
    let (mut socket, _) = tokio_tungstenite::tungstenite::client("ws://localhost/websocket", stream).expect("upgraded");
    socket.close(None).expect("sent");
    while socket.read().is_ok() {}
    run(async {
        let mut conn = Http2::open(server.address(), None).await.expect("accepted");
        assert!(matches!(conn.get("/h2?x=1").await, Outcome::Answered(404, _)));
    });
    // A client that leaves before it has an answer.
    let mut impatient = server.connect();
    impatient.send("GET", "/until-drain", "", "").expect("sent");
    server.wait_for_journal("start", 2);
    drop(impatient);
    server.wait_for_journal("cancel", 2);

    let lines = lines(&file, 17);
    let long = lines.iter().position(|line| line.contains(" 414 ")).expect("it is there");
    assert!(lines[long].starts_with("127.0.0.1 - \"GET /xxxx") && lines[long].len() < 4096, "{}", lines[long]);
    let size = |line: &str| line.split("\" ").nth(1).and_then(|rest| rest.split(' ').nth(1)?.parse::<u64>().ok());
    assert!(lines.iter().all(|line| size(line).is_some()), "{lines:#?}");
    // How long a refusal's text is, is told elsewhere.
    let seen: Vec<String> = lines
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != long)
        .map(|(_, line)| match line.contains(" 400 ") {
            true => line.replacen(&format!(" 400 {} ", size(line).expect("above")), " 400 N ", 1),
            false => line.clone(),
        })
        .collect();
    let expected = [
        r#"127.0.0.1 - "GET / HTTP/1.1" 200 23 "http://other/" "a \x22b\x22 \x5c""#,
        r#"127.0.0.1 - "POST /echo HTTP/1.1" 200 5 "-" "-""#,
        r#"127.0.0.1 jo "GET /nowhere?q=1&sig=REDACTED HTTP/1.1" 404 10 "-" "-""#,
        r#"127.0.0.1 - "GET /stream HTTP/1.1" 200 25 "-" "-""#,
        r#"10.1.2.3 - "GET / HTTP/1.1" 200 23 "-" "-""#,
        r#"127.0.0.1 - "GET /panic HTTP/1.1" 500 0 "-" "-""#,
        r#"127.0.0.1 - "GET /slow HTTP/1.1" 504 0 "-" "-""#,
        r#"127.0.0.1 - "POST /echo HTTP/1.1" 200 3 "-" "-""#,
        r#"127.0.0.1 - "HEAD / HTTP/1.1" 200 0 "-" "-""#,
        r#"127.0.0.1 - "GET /bad HTTP/1.1" 400 N "-" "-""#,
        r#"127.0.0.1 - "GET /\x01\x22 HTTP/1.1" 400 N "-" "-""#,
        r#"127.0.0.1 - "POST /echo HTTP/1.1" 400 N "-" "-""#,
        r#"127.0.0.1 - "\x16\x03\x01" 400 N "-" "-""#,
        r#"127.0.0.1 - "GET /websocket HTTP/1.1" 101 0 "-" "-""#,
        r#"127.0.0.1 - "GET /h2?x=1 HTTP/2.0" 404 10 "-" "-""#,
        r#"127.0.0.1 - "GET /until-drain HTTP/1.1" 499 0 "-" "-""#,
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_default_is_no_file_and_gunicorns_flags_and_format() {
    let mut server = Setup::hello().start();
    assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let setup = Setup::hello().args(&["--access-logfile", FILE, "--access-logformat", "%(m)s %(U)s %({Host}i)s %(s)s"]);
    let server = setup.start();
    assert_eq!(server.get("/a%20b").map(|answer| answer.status), Ok(404));
    assert_eq!(lines(&LogFile::of(&server, FILE), 1), [r"GET /a\x20b e2e 404"]);
    let (server, file) = started(Setup::hello());
    assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
    let line = lines(&file, 1).remove(0);
    let time = line.strip_prefix("127.0.0.1 - - [").and_then(|rest| rest.split_once("] "));
    let (time, rest) = time.unwrap_or_else(|| panic!("{line}"));
    assert_eq!(rest, r#""GET / HTTP/1.1" 200 12 "-" "-""#);
    assert!(time.len() == 26 && time.is_ascii(), "{time}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file.path()).expect("there").permissions());
    assert_eq!(mode & 0o7137, 0, "nobody else reads it: {mode:o}");
}

#[test]
fn a_format_that_is_wrong_is_a_mistake_in_the_configuration_and_harms_no_server() {
    let (mut server, file) = started(Setup::hello());
    server.setup_expects("Reload failed");
    let good = server.text();
    server.write_text(&good.replacen("workers", "access_log_format = \"%(h)s %(S)s\"\nworkers", 1));
    let line = server.reload();
    assert!(line.contains("access_log_format: at position 7: %(S)s is not known; there are h l u"), "{line}");
    assert!(line.contains("did you mean %(s)s?"), "{line}");
    server.write_text(&good.replace(FILE, "no/such/folder/access.log"));
    let line = server.reload();
    assert!(line.contains("accesslog: cannot open no/such/folder/access.log: No such file or directory"), "{line}");
    assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
    lines(&file, 1);
    // A good one takes effect with the new generation.
    server.write_text(&good.replace(FILE, "other.log"));
    assert!(server.reload().contains("Reloaded: generation 4"));
    eventually("the old generation is gone", PATIENCE, || {
        server.workers().iter().all(|pid| !open_files(*pid).contains(file.path())).then_some(())
    });
    assert_eq!(server.get("/new").map(|answer| answer.status), Ok(404));
    let other = LogFile::of(&server, "other.log");
    assert!(other.wait("GET /new", 1).contains(" 404 "));
    lines(&file, 1);
}

/// Four workers under load, and the file is renamed again and again: each request is in one file, once, as a whole line.
#[test]
fn no_rotation_loses_or_tears_a_line() {
    let (mut server, file) = started(Setup::testapp().set("workers = 4"));
    let load = Load::start(server.address(), "/pid", 3);
    let old: Vec<LogFile> = (1..=10)
        .map(|number| {
            let before = load.answered();
            eventually("requests go on", PATIENCE, || (load.answered() > before + 50).then_some(()));
            let old = file.rotate(number);
            server.signal(Sig::SIGUSR1);
            wait_for_all(&server, file.path(), old.path());
            old
        })
        .collect();
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally:?}");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let mut count = 0;
    for log in old.iter().chain([&file]) {
        let text = std::fs::read_to_string(log.path()).expect("it is there");
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            let whole = line.starts_with("127.0.0.1 - - [") && line.contains("] \"GET /pid HTTP/1.1\" 200 ");
            assert!(whole && line.ends_with(" \"-\" \"-\""), "torn: {line}");
            count += 1;
        }
    }
    assert_eq!(count, tally.answered());
}

#[test]
fn a_worker_of_many_threads_writes_each_line_once() {
    let (mut server, file) = started(Setup::hello().set("workers = 1\nthreads = 4"));
    let tally = Load::with_limit(server.address(), "/", 4, 250).finish();
    assert_eq!((tally.answered(), tally.failed()), (2000, 0), "{tally:?}");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert_eq!(
        lines(&file, 2000).iter().filter(|line| line.ends_with("] \"GET / HTTP/1.1\" 200 12 \"-\" \"-\"")).count(),
        2000
    );
}

#[test]
fn usr1_reaches_workers_of_an_older_generation_and_one_that_asks() {
    let setup = Setup::testapp().set("workers = 1\ngraceful_timeout = 60").app("slow_ms = 8000");
    let (mut server, file) = started(setup);
    let mut slow = server.connect();
    slow.send("GET", "/slow", "", "").expect("sent");
    server.wait_for_journal("start", 1);
    server.reconfigure("keepalive = 9", "");
    assert!(server.reload().contains("Reloaded"));
    assert_eq!(server.workers().len(), 2);
    let old = file.rotate(1);
    server.signal(Sig::SIGUSR1);
    wait_for_all(&server, file.path(), old.path());
    assert_eq!(slow.receive(false).map(|answer| answer.status), Ok(200));
    file.wait("GET /slow", 1);
    eventually("one is left", PATIENCE, || (server.workers().len() == 1).then_some(()));
    let worker = *server.workers().first().expect("one");
    let old = file.rotate(2);
    proc::signal(worker, Sig::SIGUSR1);
    wait_for_all(&server, file.path(), old.path());
    assert_eq!(server.get("/again").map(|answer| answer.status), Ok(404));
    file.wait("GET /again", 1);
}

#[test]
fn the_new_master_of_an_upgrade_goes_on_with_it() {
    let (mut server, file) = started(Setup::testapp());
    assert_eq!(server.get("/before").map(|answer| answer.status), Ok(404));
    let mark = server.log.mark();
    server.signal(Sig::SIGUSR2);
    let heir = server.wait_for_heir(mark);
    server.signal(Sig::SIGTERM);
    server.follow(heir);
    assert_eq!(server.get("/after").map(|answer| answer.status), Ok(404));
    file.wait("GET /after", 1);
    assert_eq!(file.count("GET /before"), 1);
}

/// The answer is out, and the server told to go at once: its line is there all the same.
#[test]
fn the_last_line_is_written_however_the_server_is_asked_to_leave() {
    for sig in [Sig::SIGTERM, Sig::SIGINT] {
        let (mut server, file) = started(Setup::testapp().set("workers = 1"));
        let mut cut = server.connect();
        cut.send("GET", "/until-drain", "", "").expect("sent");
        server.wait_for_journal("start", 1);
        assert_eq!(server.get("/last").map(|answer| answer.status), Ok(404));
        server.signal(sig);
        assert_eq!(server.wait_for_exit(PATIENCE), 0);
        assert_eq!(file.count("GET /last"), 1, "{sig}");
        // What the server itself has cut is no client that left.
        let status = if sig == Sig::SIGTERM { " 200 " } else { " - 0 " };
        assert!(file.wait("GET /until-drain", 1).contains(status), "{:?}", file.lines());
        assert_eq!(file.lines().len(), 2);
    }
}

#[test]
fn a_master_that_dies_takes_no_lines_along() {
    let (mut server, file) = started(Setup::testapp().set("workers = 1"));
    assert_eq!(server.get("/last").map(|answer| answer.status), Ok(404));
    server.signal(Sig::SIGKILL);
    server.wait_for_exit(PATIENCE);
    file.wait("GET /last", 1);
}

#[test]
fn json_has_one_object_a_line_that_google_understands() {
    let setup = Setup::testapp().set("log_format = \"json\"\nworkers = 1").env("GOOGLE_CLOUD_PROJECT", "shop");
    let server = setup.set(&format!("accesslog = \"{FILE}\"")).launch();
    server.wait_for_line("Worker ready");
    let line = server.wait_for_line("Listening at");
    let address: std::net::SocketAddr =
        line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("an address");
    let file = LogFile::of(&server, FILE);
    let mut conn = crate::harness::Conn::open(address).expect("accepted");
    let trace = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let head = format!("{trace}User-Agent: \"}}\\u{{1}}\r\nReferer: http://other/?sig=s3cret\r\n");
    assert_eq!(conn.request("GET", "/nowhere?sig=s3cret", &head, "").map(|answer| answer.status), Ok(404));
    let mut conn = crate::harness::Conn::open(address).expect("accepted");
    conn.send_raw("BAD\r\n\r\n").expect("sent");
    assert_eq!(conn.receive(false).map(|answer| answer.status), Ok(400));
    conn.wait_for_close().expect("closed");
    let objects: Vec<Value> =
        lines(&file, 2).iter().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let request = &objects[0]["httpRequest"];
    assert_eq!(request["requestUrl"], "http://e2e/nowhere?sig=REDACTED");
    assert_eq!((&request["requestMethod"], &request["status"]), (&"GET".into(), &404.into()));
    assert_eq!((&request["responseSize"], &request["remoteIp"]), (&"10".into(), &"127.0.0.1".into()));
    assert_eq!((&request["userAgent"], &request["protocol"]), (&"\"}\\u{1}".into(), &"HTTP/1.1".into()));
    assert_eq!(request["referer"], "http://other/?sig=REDACTED");
    let latency = request["latency"].as_str().and_then(|latency| latency.strip_suffix('s')?.parse::<f64>().ok());
    assert!(latency.is_some_and(|latency| latency > 0.0 && latency < 10.0), "{request}");
    assert_eq!((&objects[0]["severity"], &objects[0]["role"]), (&"WARNING".into(), &"worker".into()));
    let (trace, span) = (&objects[0]["logging.googleapis.com/trace"], &objects[0]["logging.googleapis.com/spanId"]);
    assert_eq!(trace, "projects/shop/traces/0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span, "b7ad6b7169203331", "without a collector the caller's");
    assert_eq!((&objects[1]["httpRequest"]["status"], &objects[1]["severity"]), (&400.into(), &"WARNING".into()));
    assert_eq!(objects[1]["httpRequest"]["requestMethod"], Value::Null);
}

/// What is written to a disk that is full is lost, counted and told; requests are answered.
#[test]
fn a_full_disk_stops_nobody() {
    let setup = Setup::testapp().set("workers = 1\nadmin_bind = \"127.0.0.1:0\"\naccesslog = \"/dev/full\"");
    let server = setup.start();
    for _ in 0..10 {
        assert_eq!(server.get("/pid").map(|answer| answer.status), Ok(200));
    }
    let line = server.wait_for_line("access log lines were lost: No space left on device");
    assert!(line.contains("[WARNING]"), "{line}");
    assert_eq!(lost(&server, 10), 10);
}

/// Waits until `/metrics` tells of so many lost lines, or more.
fn lost(server: &Server, least: u64) -> u64 {
    let line = server.wait_for_line("Admin listening at: http://");
    let admin = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    let admin: std::net::SocketAddr = admin.parse().expect("an address");
    eventually("lost lines are counted", PATIENCE, || {
        let page = get(admin, "/metrics").ok()?.body;
        let count = page.lines().find_map(|line| line.strip_prefix("rustcorn_access_lines_lost_total "))?;
        count.parse().ok().filter(|count| *count >= least)
    })
}

/// A reader that never reads: what the pipe and the memory meant for it do not hold is lost, and nobody waits.
#[test]
fn a_reader_that_never_reads_stops_nobody() {
    let setup = Setup::hello().set("workers = 4\nadmin_bind = \"127.0.0.1:0\"\naccesslog = \"fifo\"");
    // Long lines fill it sooner.
    let setup = setup.set(&format!("access_log_format = '{} %(U)s'", "x".repeat(1000)));
    let fifo = setup.dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success()));
    let reader = File::options().read(true).write(true).open(&fifo).expect("a pipe");
    let mut server = setup.start();
    let load = Load::with_limit(server.address(), "/", 2, 3000);
    let tally = load.finish();
    assert_eq!((tally.answered(), tally.failed()), (12_000, 0), "{tally:?}");
    server.wait_for_line("access log lines were lost: they come faster than they can be written");
    let lost_before = lost(&server, 1);
    assert!(lost_before < 12_000);
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    // What had no room to the end is lost as well, and what the pipe holds are whole lines of both.
    server.wait_for_line("access log lines were lost: nobody reads them");
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).expect("a descriptor");
    let mut held = Vec::new();
    let _ = std::io::Read::read_to_end(&mut &reader, &mut held); // to "would block": this end also writes
    let held = String::from_utf8(held).expect("text");
    assert!(held.lines().count() > 10 && held.ends_with('\n'));
    assert!(held.lines().all(|line| line.len() == 1002 && line.ends_with("x /")), "torn");
    // Whichever worker had the pipe's last place: none is stuck in a write, and each line is there or told as lost.
    let told =
        |line: &String| line.split(" access log lines were lost").next()?.rsplit(' ').next()?.parse::<usize>().ok();
    assert!(server.log.wait_for_end(PATIENCE));
    let lines = server.log.since(0);
    let told: usize = lines.iter().filter(|line| line.contains(" access log lines were lost")).filter_map(told).sum();
    assert_eq!(held.lines().count() + told, 12_000, "{lines:?}");
}

/// `-` is standard output; two workers and the lines of both come whole through one pipe.
#[test]
fn a_dash_is_standard_output() {
    let setup = Setup::hello().set("accesslog = \"-\"").wrapped(&["sh", "-c", "exec \"$@\" > out", "sh"]);
    let mut server = setup.start();
    for _ in 0..5 {
        assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
    }
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let out = LogFile::of(&server, "out");
    assert_eq!(lines(&out, 5).iter().filter(|line| line.contains("\"GET / HTTP/1.1\" 200 12")).count(), 5);
}

#[test]
fn syslog_gets_requests_too_unless_that_is_turned_off() {
    let syslog = UdpSocket::bind("127.0.0.1:0").expect("a port");
    syslog.set_read_timeout(Some(PATIENCE)).expect("a time");
    let port = syslog.local_addr().expect("bound").port();
    let plan = format!("syslog = true\nsyslog_addr = \"udp://127.0.0.1:{port}\"\nsyslog_prefix = \"shop\"");
    let hear = |what: &str| loop {
        let mut bytes = [0; 4096];
        let length = syslog.recv(&mut bytes).unwrap_or_else(|error| panic!("no {what:?}: {error}"));
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if text.contains(what) {
            return text;
        }
    };
    let server = Setup::hello().set(&plan).set("workers = 1").start();
    let worker = *server.workers().first().expect("one");
    assert_eq!(server.get("/x").map(|answer| answer.status), Ok(404));
    let line = hear("GET /x");
    assert!(line.starts_with(&format!("<14>rustcorn.shop.access: [{worker}] 127.0.0.1 - - [")), "{line}");
    assert!(line.ends_with("] \"GET /x HTTP/1.1\" 404 10 \"-\" \"-\""), "{line}");
    drop(server);
    let mut server = Setup::hello().set(&plan).set("workers = 1\ndisable_redirect_access_to_syslog = true").start();
    assert_eq!(server.get("/y").map(|answer| answer.status), Ok(404));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let heard = std::iter::from_fn(|| Some(hear("rustcorn.shop."))).find(|line| {
        assert!(!line.contains(".access"), "{line}");
        line.contains("Shutting down: Master")
    });
    assert!(heard.is_some());
}

/// Workers that may not open it are given it.
#[test]
fn workers_that_gave_up_their_privileges_write_to_it() {
    if !proc::is_root_or_says("an access log of workers with another user") {
        return;
    }
    let setup = Setup::hello().set("user = \"nobody\"\nworkers = 1");
    std::fs::set_permissions(setup.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let (server, file) = started(setup);
    assert_eq!(server.get("/one").map(|answer| answer.status), Ok(404));
    file.wait("GET /one", 1);
    let old = file.rotate(1);
    server.signal(Sig::SIGUSR1);
    wait_for_all(&server, file.path(), old.path());
    assert_eq!(server.get("/two").map(|answer| answer.status), Ok(404));
    file.wait("GET /two", 1);
}
