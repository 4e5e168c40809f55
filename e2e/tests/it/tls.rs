//! TLS: certificates that are good, renewed, wrong and missing; clients that do what they should not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::harness::client::Failure;
use crate::harness::http2::{Http2, Outcome, run};
use crate::harness::tls::{Ca, Pair, Session};
use crate::harness::{Conn, PATIENCE, Server, Setup, Sig, Sink, eventually, never, proc};

/// A server with a certificate that the CA has signed.
fn secure(setup: Setup) -> (Ca, Setup) {
    let ca = Ca::new();
    let setup = setup.tls(&ca.issue());
    (ca, setup)
}

fn http1(ca: &Ca) -> Arc<ClientConfig> {
    ca.client(None, &["http/1.1"])
}

/// What `/tls` says over a connection of its own.
fn ask(server: &Server, client: &Arc<ClientConfig>) -> Result<String, Failure> {
    Ok(Session::open(server.address(), client)?.into_conn().get("/tls")?.body)
}

/// The certificate that new clients are shown. One that resumes a session is shown none.
fn shown(server: &Server, ca: &Ca) -> Vec<u8> {
    let session = Session::open(server.address(), &http1(ca)).expect("the server accepts");
    session.certificate().expect("TLS has one").to_vec()
}

fn der(pair: &Pair) -> Vec<u8> {
    CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("PEM").to_vec()
}

#[test]
fn https_is_served_told_and_ended_in_order() {
    let (ca, setup) = secure(Setup::testapp());
    let server = setup.start();
    assert!(server.log.find(0, "Listening at: https://127.0.0.1:").is_some());
    let line = server.log.find(0, "[INFO] Certificate in cert.pem is valid until 2999-01-01T00:00:00Z");
    assert!(line.is_some());
    let mut conn = Session::open(server.address(), &http1(&ca)).expect("accepted").into_conn();
    assert_eq!(conn.get("/tls").expect("answered").body, "HTTP/1.1 TLS 1.3 localhost 0");
    let body = "x".repeat(300_000);
    assert_eq!(conn.request("POST", "/echo", "", &body).expect("answered").body, body);
    let last = conn.request("GET", "/stream", "Connection: close\r\n", "").expect("answered");
    assert_eq!((last.body.as_str(), last.closes()), ("tick\ntick\ntick\ntick\ntick\n", true));
    conn.wait_for_close().expect("with close_notify");
}

#[test]
fn an_idle_connection_is_closed_with_close_notify() {
    let (ca, setup) = secure(Setup::hello().set("keepalive = 0.3\nmax_connection_age = 0"));
    let server = setup.start();
    let mut conn = Session::open(server.address(), &http1(&ca)).expect("accepted").into_conn();
    assert!(!conn.get("/").expect("answered").closes());
    conn.wait_for_close().expect("in order");
}

#[test]
fn a_response_is_sent_to_its_end_however_slowly_it_is_read() {
    let (ca, setup) = secure(Setup::testapp().set("workers = 1\nkeepalive = 0.2"));
    let server = setup.start();
    let mut conn = Session::open(server.address(), &http1(&ca)).expect("accepted").into_conn();
    let body = "x".repeat(16 << 20); // more than the kernel holds
    conn.send("POST", "/echo", "", &body).expect("sent");
    never("the server waits for its reader", Duration::from_millis(1500), || false);
    assert!(conn.receive(false).expect("all of it").body == body);
    conn.wait_for_close().expect("now it is idle");
}

#[test]
fn what_is_spoken_is_agreed_on() {
    let (ca, setup) = secure(Setup::testapp());
    let server = setup.start();
    let offer = |protocols: &[&str]| Session::open(server.address(), &ca.client(None, protocols));
    let agreed = |protocols: &[&str]| offer(protocols).map(|session| session.protocol().map(str::to_owned));
    assert_eq!(agreed(&["http/1.1", "h2"]), Ok(Some("h2".to_owned())), "the server prefers it");
    assert_eq!(agreed(&["http/1.1"]), Ok(Some("http/1.1".to_owned())));
    assert_eq!(agreed(&[]), Ok(None));
    assert!(agreed(&["spdy/3"]).is_err());
    assert_eq!(ask(&server, &ca.client(None, &[])).as_deref(), Ok("HTTP/1.1 TLS 1.3 localhost 0"));
    run(async {
        let client = ca.client(None, &["h2"]);
        let mut conn = Http2::open(server.address(), Some(&client)).await.expect("accepted");
        assert_eq!(conn.get("/tls").await, Outcome::Answered(200, "HTTP/2.0 TLS 1.3 localhost 0".to_owned()));
    });
}

#[test]
fn http_protocols_chooses() {
    let (ca, setup) = secure(Setup::testapp().set("http_protocols = \"h1\""));
    let server = setup.start();
    assert!(Session::open(server.address(), &ca.client(None, &["h2"])).is_err());
    let both = Session::open(server.address(), &ca.client(None, &["h2", "http/1.1"])).expect("one fits");
    assert_eq!(both.protocol(), Some("http/1.1"));

    let (ca, setup) = secure(Setup::testapp().set("http_protocols = \"h2\""));
    let server = setup.start();
    let client = ca.client(None, &[]);
    assert!(ask(&server, &client).is_err(), "without ALPN nobody has agreed to HTTP/2");
    server.wait_for_line("the client has not agreed to HTTP/2 (ALPN)");
}

#[test]
fn clients_without_tls_are_told_and_counted_and_the_log_has_one_line_for_many() {
    let sink = Sink::start();
    let (ca, setup) = secure(Setup::testapp().set("workers = 1"));
    let setup = setup.set(&format!("statsd_host = \"{}\"\nstatsd_interval = 0.05", sink.address));
    let server = setup.start();
    for _ in 0..20 {
        let mut conn = server.connect();
        let answer = conn.get("/").expect("an answer that it understands");
        assert_eq!((answer.status, answer.closes()), (400, true));
        assert_eq!(answer.body, "This address speaks HTTPS, not HTTP");
        conn.wait_for_close().expect("in order");
    }
    let mut noise = server.connect();
    noise.send_raw("\u{16}\u{3}\u{1}\0\u{4}\u{1}\0\0\0\0").expect("sent"); // a ClientHello without anything in it
    assert!(matches!(noise.receive(false), Err(Failure::Eof | Failure::Reset | Failure::Malformed(_))));
    sink.wait(PATIENCE, |sums| sums.counter("rustcorn.tls.handshakes.failed") == 21);
    assert_eq!(server.log.count("TLS handshakes failed: "), 1);
    let line = "[INFO] TLS handshakes failed: 1 since the last such line; the latest, from 127.0.0.1: the client does not speak TLS";
    assert!(server.log.find(0, line).is_some());
    assert!(ask(&server, &http1(&ca)).is_ok());
}

#[test]
fn a_handshake_has_its_time_and_no_more() {
    let (_, setup) = secure(Setup::testapp().set("workers = 1\ntls_handshake_timeout = 0.3"));
    let server = setup.start();
    for beginning in ["", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0"] {
        let begin = Instant::now();
        let mut conn = server.connect();
        conn.send_raw(beginning).expect("sent");
        let end = conn.receive(false).map(|response| response.status); // long before header_timeout, 30 s
        assert!(matches!(end, Err(Failure::Eof | Failure::Reset)), "{beginning:?} {end:?}");
        assert!(begin.elapsed() >= Duration::from_millis(250), "{beginning:?} {:?}", begin.elapsed());
    }
    server.wait_for_line("not done within tls_handshake_timeout");
    // What comes after it has the time of a head.
    let (ca, setup) = secure(Setup::testapp().set("workers = 1\ntls_handshake_timeout = 2\nheader_timeout = 4"));
    let server = setup.start();
    let begin = Instant::now();
    let silent = Session::open(server.address(), &http1(&ca)).expect("accepted").into_conn();
    silent.wait_for_close().expect("in order");
    assert!(begin.elapsed() > Duration::from_millis(3500), "{:?}", begin.elapsed());
}

#[test]
fn clients_show_certificates_as_asked() {
    let (theirs, strangers) = (Ca::new(), Ca::new());
    for reqs in [1, 2] {
        let (ca, setup) = secure(Setup::testapp());
        setup.dir.write("clients.pem", &theirs.pem());
        let server = setup.set(&format!("ca_certs = \"clients.pem\"\ncert_reqs = {reqs}")).start();
        let with = |pair: Option<&Pair>| ask(&server, &ca.client(pair, &["http/1.1"]));
        assert_eq!(with(Some(&theirs.issue())).as_deref(), Ok("HTTP/1.1 TLS 1.3 localhost 1"));
        assert!(with(Some(&strangers.issue())).is_err(), "a certificate that is shown is verified");
        assert!(with(Some(&theirs.issue_until(2001))).is_err(), "expired");
        match reqs {
            1 => assert_eq!(with(None).as_deref(), Ok("HTTP/1.1 TLS 1.3 localhost 0")),
            _ => assert!(with(None).is_err()),
        }
    }
}

#[test]
fn a_session_is_resumed_by_any_worker_and_after_a_reload() {
    let (ca, setup) = secure(Setup::testapp().set("workers = 4"));
    let server = setup.start();
    let client = http1(&ca);
    let visit = || {
        let session = Session::open(server.address(), &client).expect("accepted");
        let resumed = session.is_resumed();
        let pid = session.into_conn().get("/pid").expect("answered").body; // the ticket comes with the answer
        (resumed, pid)
    };
    assert!(!visit().0);
    let (mut pids, mut fresh) = (std::collections::BTreeSet::new(), 0);
    eventually("every worker was met", PATIENCE, || {
        let (resumed, pid) = visit();
        fresh += usize::from(!resumed);
        pids.insert(pid);
        (pids.len() == 4).then_some(())
    });
    assert_eq!(fresh, 0, "one handshake in full is enough for all workers");
    let old = server.workers();
    assert!(server.reload().contains("Reloaded"));
    eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
    assert!(visit().0);
}

#[test]
fn sessions_outlive_the_master() {
    let (ca, setup) = secure(Setup::testapp().set("upgrade = \"auto\""));
    let mut server = setup.start();
    let client = http1(&ca);
    let visit = |server: &Server| {
        let session = Session::open(server.address(), &client).expect("accepted");
        let resumed = session.is_resumed();
        session.into_conn().get("/pid").expect("answered");
        resumed
    };
    assert_eq!([visit(&server), visit(&server)], [false, true]);
    let mark = server.log.mark();
    server.signal(Sig::SIGUSR2);
    let heir = server.wait_for_heir(mark);
    server.follow(heir);
    server.settled(2);
    assert!(visit(&server));
}

#[test]
fn a_bad_certificate_stops_the_first_start_with_1_and_is_told_by_check_config() {
    let (ca, setup) = secure(Setup::hello());
    setup.dir.write("key.pem", &ca.issue().key);
    let message = "Error: app.toml:5: keyfile: the key in key.pem is not that of the certificate in cert.pem";
    setup.write();
    let output = setup.run_with(&["--check-config", "app.toml"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), message);
    let mut server = setup.launch();
    assert_eq!(server.wait_for_exit(PATIENCE), 1);
    server.wait_for_line(message);
}

#[test]
fn a_reload_with_a_bad_certificate_changes_nothing() {
    let (ca, setup) = secure(Setup::hello());
    let good = ca.issue();
    let server = setup.tls(&good).expect("Reload failed").start();
    let (workers, client) = (server.settled(2), http1(&ca));
    let mut kept = Session::open(server.address(), &client).expect("accepted").into_conn();
    let spoilt = [
        (
            "key.pem",
            ca.issue().key,
            "app.toml:5: keyfile: the key in key.pem is not that of the certificate in cert.pem",
        ),
        (
            "cert.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA".to_owned(),
            "app.toml:4: certfile: cannot understand cert.pem",
        ),
        ("cert.pem", String::new(), "app.toml:4: certfile: there is no certificate in cert.pem"),
    ];
    for (name, text, reason) in spoilt {
        server.write_file(name, &text);
        let line = server.reload();
        assert!(line.contains(&format!("Reload failed: {reason}")), "{line}");
        server.write_file("cert.pem", &good.certificate);
        server.write_file("key.pem", &good.key);
    }
    let old = ca.issue_until(2001);
    server.write_file("cert.pem", &old.certificate);
    server.write_file("key.pem", &old.key);
    let line = server.reload();
    let reason = "certfile: the certificate in cert.pem has expired at 2001-01-01T00:00:00Z; the one in use is good";
    assert!(line.contains(reason), "{line}");
    assert_eq!(server.workers(), workers, "the same processes");
    assert_eq!(kept.get("/").map(|response| response.status), Ok(200));
    assert_eq!(shown(&server, &ca), der(&good));
}

#[test]
fn a_renewed_certificate_is_served_after_a_reload_and_costs_no_request() {
    let (ca, setup) = secure(Setup::testapp());
    let server = setup.start();
    let client = http1(&ca);
    let target = crate::harness::mix::Target {
        address: server.address(),
        tls: Some(crate::harness::mix::Tls { http1: http1(&ca), http2: ca.client(None, &["h2"]) }),
    };
    let mix = crate::harness::mix::Mix::start(&target, 1);
    let mut kept = Session::open(server.address(), &client).expect("accepted").into_conn();
    for round in 1..=3 {
        let (workers, renewed) = (server.settled(2), ca.issue());
        assert_ne!(shown(&server, &ca), der(&renewed));
        server.write_file("cert.pem", &renewed.certificate);
        server.write_file("key.pem", &renewed.key);
        assert!(server.reload().contains("Reloaded"));
        server.log.wait(0, "Certificate in cert.pem is valid until", round + 1, PATIENCE);
        eventually("the last response", PATIENCE, || {
            let response = kept.get("/pid").expect("a connection of before keeps its session to its last request");
            response.closes().then_some(())
        });
        eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&workers).then_some(()));
        assert_eq!(shown(&server, &ca), der(&renewed));
        kept = Session::open(server.address(), &client).expect("accepted").into_conn();
        let seen = mix.done();
        eventually("everybody goes on", PATIENCE, || mix.moves_from(&seen).then_some(()));
    }
    let (done, failures) = mix.stop();
    assert_eq!((failures, done.values().all(|count| *count > 0)), (vec![], true), "{done:?}");
}

#[test]
fn only_the_master_needs_the_files() {
    let (ca, setup) = secure(Setup::testapp().set("workers = 1").expect("was sent SIGKILL!"));
    let server = setup.start();
    let old = server.settled(1);
    for name in ["cert.pem", "key.pem"] {
        std::fs::remove_file(server.dir().join(name)).expect("it is there");
    }
    old.iter().for_each(|pid| proc::signal(*pid, Sig::SIGKILL));
    eventually("another worker", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
    server.settled(1);
    assert!(ask(&server, &http1(&ca)).is_ok());
    let workers = server.workers();
    let shows_key = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.windows(7).any(|w| w == b"PRIVATE"))
    };
    assert!(!workers.iter().any(shows_key), "the key is in no environment");
}

#[test]
fn an_expired_certificate_is_served_with_a_warning_where_there_is_no_other() {
    let ca = Ca::new();
    let server = Setup::hello().tls(&ca.issue_until(2001)).start();
    server.wait_for_line("[WARNING] Certificate in cert.pem has expired at 2001-01-01T00:00:00Z");
    assert!(server.reload().contains("Reloaded"), "it is no worse than the one in use");
}

#[test]
fn a_reload_turns_tls_on_and_off() {
    let (ca, setup) = secure(Setup::testapp());
    let mut server = setup.without("certfile").without("keyfile").start();
    assert_eq!(server.get("/tls").expect("answered").body, "HTTP/1.1 without");
    let address = server.address();
    let replaced = |server: &mut Server, set: &str| {
        let workers = server.workers();
        server.reconfigure(set, "");
        assert!(server.reload().contains("Reloaded"));
        eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&workers).then_some(()));
    };
    replaced(&mut server, "certfile = \"cert.pem\"\nkeyfile = \"key.pem\"");
    assert!(server.log.find(0, &format!("Listening at: https://{address}")).is_some());
    assert!(ask(&server, &http1(&ca)).is_ok());
    replaced(&mut server, "certfile = \"\"\nkeyfile = \"\"");
    assert_eq!(server.get("/tls").expect("answered").body, "HTTP/1.1 without");
}

#[test]
fn a_stop_waits_for_no_handshake_and_finishes_requests() {
    let (ca, setup) = secure(Setup::testapp().set("tls_handshake_timeout = 3600").app("slow_ms = 2000"));
    let mut server = setup.start();
    let mut half = server.connect();
    half.send_raw("\u{16}\u{3}\u{1}").expect("sent");
    let mut busy = Session::open(server.address(), &http1(&ca)).expect("accepted").into_conn();
    busy.send("GET", "/slow", "", "").expect("sent");
    server.wait_for_journal("start", 1);
    server.signal(Sig::SIGTERM);
    let last = busy.receive(false).expect("finished");
    assert!(last.closes());
    busy.wait_for_close().expect("with close_notify");
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert_eq!(server.log.count("were cut"), 0);
}

#[test]
fn unix_sockets_speak_tls_too() {
    let (_, setup) = secure(Setup::hello().set("bind = [\"127.0.0.1:0\", \"unix:http.sock\"]"));
    let server = setup.start();
    let answer = Conn::open(server.dir().join("http.sock").as_path()).and_then(|mut conn| conn.get("/"));
    assert_eq!(answer.map(|answer| answer.status), Ok(400));
}
