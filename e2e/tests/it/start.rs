//! A server starts, serves, and says what it does.

use crate::harness::{PATIENCE, Setup, Sig, proc};

#[test]
fn get_and_head_of_the_root_are_answered_and_nothing_else() {
    let server = Setup::hello().start();
    let mut conn = server.connect();
    let answer = |conn: &mut crate::harness::Conn, method, path| conn.request(method, path, "", "").expect("answered");

    let hello = answer(&mut conn, "GET", "/");
    assert_eq!((hello.status, hello.body.as_str()), (200, "Hello World!"));
    let head = answer(&mut conn, "HEAD", "/");
    assert_eq!((head.status, head.body.as_str(), head.header("content-length")), (200, "", Some("12")));
    let post = answer(&mut conn, "POST", "/");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    for (method, path) in [("GET", "/nothing"), ("HEAD", "/nothing")] {
        assert_eq!(answer(&mut conn, method, path).status, 404, "{method} {path}");
    }
    assert!(!answer(&mut conn, "GET", "/?query=1").closes(), "all of this went over one connection");
}

/// `[2026-11-22 06:55:00 +0000] [PID] [INFO] message`, without a regular expression: digits become `0`.
#[track_caller]
fn assert_is_gunicorns_format(line: &str, pid: u32, level: &str, message: &str) {
    let (date, rest) = line.split_at_checked(27).unwrap_or_else(|| panic!("too short: {line}"));
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert!(["[0000-00-00 00:00:00 +0000]", "[0000-00-00 00:00:00 -0000]"].contains(&shape.as_str()), "{line}");
    assert_eq!(rest, format!(" [{pid}] [{level}] {message}"));
}

#[test]
fn the_log_of_start_and_stop_reads_like_gunicorns() {
    let mut server = Setup::hello().set("loglevel = \"info\"\nworkers = 1").launch();
    let worker = server.wait_for_line("Booting worker with pid: ");
    let worker: u32 = worker.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("the line ends in the pid");
    let (pid, address) = (server.pid(), server.address());
    assert_eq!(server.workers().into_iter().collect::<Vec<_>>(), [worker]);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    server.wait_for_silence(PATIENCE);

    let log = server.log.since(0);
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        (pid, format!("Starting rustcorn {version}")),
        (pid, format!("Listening at: http://{address} ({pid})")),
        (pid, "Using worker: hello (1 workers)".to_owned()),
        (worker, format!("Booting worker with pid: {worker}")),
        (pid, "Handling signal: term".to_owned()),
        (worker, format!("Worker exiting (pid: {worker})")),
        (pid, "Shutting down: Master".to_owned()),
    ];
    assert_eq!(log.len(), expected.len(), "{log:#?}");
    for (line, (pid, message)) in log.iter().zip(expected) {
        assert_is_gunicorns_format(line, pid, "INFO", &message);
    }
}

#[test]
fn the_master_has_one_thread_and_workers_have_their_own_names() {
    let server = Setup::hello().set("workers = 2").start();
    assert_eq!(proc::threads(server.pid()), 1);
    let mut titles: Vec<String> = server.workers().into_iter().map(proc::title).collect();
    titles.sort();
    assert_eq!(titles, ["rustcorn: worker 0 [hello]", "rustcorn: worker 1 [hello]"]);
}
