//! The access log.

use std::fs;

use crate::harness::{PATIENCE, Sig, eventually};
use crate::subject::{Gunicorn, Rustcorn, Server, Setup, differs};

const FILE: &str = "access.log";

fn started(format: &str) -> Server {
    Setup::new().set("workers = 1").args(&["--access-logfile", FILE, "--access-logformat", format]).start()
}

/// Waits for so many lines.
fn lines(server: &Server, count: usize) -> Vec<String> {
    lines_of(server, FILE, count)
}

fn lines_of(server: &Server, name: &str, count: usize) -> Vec<String> {
    let lines = eventually(&format!("{count} lines in {name}"), PATIENCE, || {
        let text = fs::read_to_string(server.dir().join(name)).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

#[test]
fn every_atom_is_the_same() {
    let format = "%(h)s|%(l)s|%(u)s|%(r)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(b)s|%(B)s|%(f)s|%(a)s|%({X-Id}i)s|\
                  %({x-none}i)s|%({X-None}o)s|%({REQUEST_METHOD}e)s|%({HTTP_X_ID}e)s|%({wsgi.url_scheme}e)s|100%%";
    let server = started(format);
    let mut conn = server.connect();
    let head = "Authorization: Basic am86c2VjcmV0\r\nReferer: http://other/\r\nUser-Agent: curl/8\r\nX-Id: 1\r\n";
    assert_eq!(conn.request("GET", "/a/b%2fc?x=1&y=%20", head, "").map(|answer| answer.status), Ok(404));
    assert_eq!(server.connect().request("POST", "/echo?z", "", "hello").map(|answer| answer.status), Ok(200));
    let expected = [
        "127.0.0.1|-|jo|GET /a/b%2fc?x=1&y=%20 HTTP/1.1|GET|/a/b/c|x=1&y=%20|HTTP/1.1|404|10|10|http://other/|curl/8|1|\
         -|-|GET|1|http|100%",
        "127.0.0.1|-|-|POST /echo?z HTTP/1.1|POST|/echo|z|HTTP/1.1|200|5|5|-|-|-|-|-|POST|-|http|100%",
    ];
    assert_eq!(lines(&server, 2), expected);
}

#[test]
fn times_and_the_process() {
    let server = started("%(T)s %(M)s %(D)s %(L)s %(p)s %(t)s");
    let worker = *server.workers().first().expect("one");
    assert_eq!(server.get("/slow").map(|answer| answer.status), Ok(200));
    let line = lines(&server, 1).remove(0);
    let fields: Vec<&str> = line.splitn(6, ' ').collect();
    let [seconds, millis, micros, decimal, process, time] = fields[..] else { panic!("{line}") };
    let micros: u64 = micros.parse().expect("a number");
    assert!((300_000..5_000_000).contains(&micros), "{line}");
    assert_eq!((seconds, millis), (&*(micros / 1_000_000).to_string(), &*(micros / 1000).to_string()), "{line}");
    assert_eq!(decimal, format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000));
    assert_eq!(process, format!("<{worker}>"));
    // [26/Nov/2026:18:35:00 +0000]
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let month = shape.get(4..7).unwrap_or_default();
    assert!(month.chars().all(char::is_alphabetic), "{time}");
    assert_eq!(shape.replace(month, "Mon").replace('-', "+"), "[00/Mon/0000:00:00:00 +0000]");
}

#[test]
fn the_default_format() {
    let server = Setup::new().set("workers = 1").args(&["--access-logfile", FILE]).start();
    assert_eq!(server.get("/x?y").map(|answer| answer.status), Ok(404));
    let line = lines(&server, 1).remove(0);
    let (who, rest) = line.split_once(" [").expect("a time");
    let (_, rest) = rest.split_once("] ").expect("its end");
    assert_eq!((who, rest), ("127.0.0.1 - -", "\"GET /x?y HTTP/1.1\" 404 10 \"-\" \"-\""));
}

#[test]
fn off_by_default_and_a_dash_is_standard_output() {
    for args in [&[][..], &["--access-logfile", "-"]] {
        let setup = Setup::new().set("workers = 1").args(args).wrapped(&["sh", "-c", "exec \"$@\" > out", "sh"]);
        let mut server = setup.start();
        assert_eq!(server.get("/x").map(|answer| answer.status), Ok(404));
        server.signal(Sig::SIGTERM);
        assert_eq!(server.wait_for_exit(PATIENCE), 0);
        let text = fs::read_to_string(server.dir().join("out")).expect("it is there");
        assert_eq!(text.matches("\"GET /x HTTP/1.1\" 404").count(), usize::from(!args.is_empty()), "{text}");
    }
}

#[test]
fn usr1_reopens_it() {
    let server = started("%(U)s");
    assert_eq!(server.get("/one").map(|answer| answer.status), Ok(404));
    lines(&server, 1);
    fs::rename(server.dir().join(FILE), server.dir().join("access.log.1")).expect("it is there");
    server.signal(Sig::SIGUSR1);
    eventually("there is a new file", PATIENCE, || server.dir().join(FILE).exists().then_some(()));
    let mut number = 0;
    eventually("lines go there", PATIENCE, || {
        number += 1;
        server.get(&format!("/{number}")).ok()?;
        fs::read_to_string(server.dir().join(FILE)).ok().filter(|text| text.contains('\n'))
    });
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_start_with_1() {
    let mut bad = Setup::new().args(&["--access-logfile", "no/such/folder/access.log"]).launch();
    assert_eq!(bad.wait_for_exit(PATIENCE), 1);
}

#[test]
fn what_a_client_sends_can_it_forge_a_line() {
    let server = started("%(U)s \"%(a)s\"");
    let head = "User-Agent: \" \\ é\r\n";
    assert_eq!(server.connect().request("GET", "/a%0ab", head, "").map(|answer| answer.status), Ok(404));
    match differs("access-log-escapes") {
        Gunicorn => assert_eq!(lines(&server, 2), ["/a", "b \"\\\" \\ Ã©\""]),
        Rustcorn => assert_eq!(lines(&server, 1), [r#"/a\x0ab "\x22 \x5c \xc3\xa9""#]),
    }
}

#[test]
fn values_that_are_empty() {
    let server = started("<%(q)s> <%({X-Empty}i)s>");
    assert_eq!(server.connect().request("GET", "/", "X-Empty: \r\n", "").map(|answer| answer.status), Ok(200));
    let expected = match differs("access-log-empty") {
        Gunicorn => "<> <>",
        Rustcorn => "<-> <->",
    };
    assert_eq!(lines(&server, 1), [expected]);
}

#[test]
fn secrets_in_a_query() {
    let server = started("%(r)s");
    assert_eq!(server.get("/?sig=s3cret&x=1").map(|answer| answer.status), Ok(200));
    let expected = match differs("access-log-secrets") {
        Gunicorn => "GET /?sig=s3cret&x=1 HTTP/1.1",
        Rustcorn => "GET /?sig=REDACTED&x=1 HTTP/1.1",
    };
    assert_eq!(lines(&server, 1), [expected]);
}

#[test]
fn an_atom_that_there_is_not() {
    let mut server =
        Setup::new().args(&["--access-logfile", FILE, "--access-logformat", "%(S)s %(s)s"]).set("workers = 1").launch();
    match differs("access-log-unknown-atom") {
        Gunicorn => {
            server.settled(1);
            assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
            assert_eq!(lines(&server, 1), ["- 200"]);
        }
        Rustcorn => {
            assert_eq!(server.wait_for_exit(PATIENCE), 2, "as any command line that is wrong");
            server.log.wait(0, "did you mean %(s)s?", 1, PATIENCE);
        }
    }
}

#[test]
fn requests_that_are_refused() {
    let server = started("%(r)s %(s)s");
    let mut conn = server.connect();
    conn.send_raw("GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n").expect("sent");
    assert_eq!(conn.receive(false).map(|answer| answer.status), Ok(400));
    assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
    match differs("access-log-refused") {
        Gunicorn => assert_eq!(lines(&server, 1), ["GET / HTTP/1.1 200"]),
        Rustcorn => assert_eq!(lines(&server, 2), [r"GET\x20/\x20HTTP/1.1 400", "GET / HTTP/1.1 200"]),
    }
}

#[test]
fn clients_that_leave_before_there_is_an_answer() {
    let server = started("%(U)s %(s)s");
    let mut conn = server.connect();
    conn.send("GET", "/slow", "", "").expect("sent");
    server.wait_for_journal("start", 1);
    drop(conn);
    match differs("access-log-aborted") {
        Gunicorn => assert_eq!(lines(&server, 1), ["/slow 200"]),
        Rustcorn => assert_eq!(lines(&server, 1), ["/slow 499"]),
    }
}
