//! Outages in the middle of a run: the load goes on, the collector goes and comes back, and in the end not one span is unaccounted for.
//!
//! The outage lasts for a second, with `RUSTCORN_E2E_FULL=1` for ten.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::receiver::{Health, Receiver};
use crate::server::Server;
use crate::{CLIENTS, HASTY, PATIENCE, many};

const WORKERS: usize = 2;

/// What happens to the collector.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// It is killed; later another one is started.
    Killed,
    /// It is stopped, and goes on later where it was.
    Stopped,
    /// It hangs for good, is killed at last, and later another one is started.
    HangsThenKilled,
}

/// So long, and for so many requests.
fn outage() -> (Duration, usize) {
    (
        if std::env::var_os("RUSTCORN_E2E_FULL").is_some() { Duration::from_secs(10) } else { Duration::from_secs(1) },
        many(),
    )
}

/// A run with that outage in the middle; gives the number of lost spans. `rest`: the clients pause during the outage once they had
/// their share of answers, so that a queue with room for that is never full.
fn run(outage_is: Outage, variables: &[(&str, &str)], rest: bool) -> u64 {
    let receiver = Receiver::start(Health::Well);
    let statsd = Statsd::start();
    let settings = format!(
        "otlp_endpoint = '{}'\nadmin_bind = '127.0.0.1:0'\nstatsd_host = '{}'\nstatsd_interval = 0.2\nkeepalive = 1",
        receiver.url(),
        statsd.address
    );
    let mut server = Server::start(WORKERS, &settings, variables);
    let admin = server.wait_for("Admin listening at: http://").rsplit_once('/').unwrap().1.parse().unwrap();
    let (answered, paused, done) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let end = SetOnDrop(&done);
        for _ in 0..CLIENTS {
            let mut client = server.connect();
            let (answered, paused, done) = (&answered, &paused, &done);
            scope.spawn(move || {
                let _end = SetOnDrop(done);
                while !done.load(Relaxed) {
                    if paused.load(Relaxed) {
                        thread::park_timeout(Duration::from_millis(1));
                        continue;
                    }
                    assert_eq!(client.ask("GET /", "Connection: close\r\n"), 200);
                    answered.fetch_add(1, Relaxed);
                }
            });
        }
        // Only facts are waited for, and the length of the outage, which is one.
        let until = |what: &str, fact: &dyn Fn() -> bool| {
            let give_up = Instant::now() + PATIENCE;
            while !fact() {
                assert!(!done.load(Relaxed), "a client failed");
                assert!(Instant::now() < give_up, "never came true: {what}");
                thread::park_timeout(Duration::from_millis(2));
            }
        };
        let more_spans = |count| {
            let before = receiver.received().spans.len();
            until("spans arrive", &|| receiver.received().spans.len() >= before + count);
        };
        more_spans(1_000);
        match outage_is {
            Outage::Killed => receiver.kill(),
            Outage::Stopped => receiver.becomes(Health::Stopped),
            Outage::HangsThenKilled => receiver.becomes(Health::Hangs),
        }
        let (began, before, (time, requests)) = (Instant::now(), answered.load(Relaxed), outage());
        until("requests are answered during the outage", &|| answered.load(Relaxed) >= before + requests);
        paused.store(rest, Relaxed);
        until("the outage is over", &|| began.elapsed() >= time);
        match outage_is {
            Outage::Killed => receiver.live(),
            Outage::Stopped => receiver.becomes(Health::Well),
            Outage::HangsThenKilled => {
                receiver.kill();
                receiver.becomes(Health::Well);
                receiver.live();
            }
        }
        paused.store(false, Relaxed);
        more_spans(1_000);
        drop(end);
    });

    let answered = answered.into_inner() as u64;
    // The workers leave, and with them what they had to send; the master and what it counted stay.
    server.signal(Signal::SIGHUP);
    server.wait_for_count("Worker exiting (pid: ", WORKERS);
    let (dropped, requests) = settled(admin, answered);
    server.stop(Signal::SIGTERM);
    let sums = statsd.sums();

    let received = receiver.received();
    let ids: BTreeSet<&[u8]> = received.spans.iter().map(|(_, span)| &*span.span_id).collect();
    assert_eq!(ids.len(), received.spans.len(), "no span came twice");
    let log = server.lines().join("\n");
    assert_eq!(
        (ids.len() as u64 + dropped, requests),
        (answered, answered),
        "{outage_is:?}: received + dropped\n{log}"
    );
    assert_eq!(received.total("http.server.request.duration"), answered, "{outage_is:?}: metrics\n{log}");
    assert_eq!(server.lost(), dropped, "{outage_is:?}: the log\n{log}");
    assert_eq!(sums, (dropped, answered), "{outage_is:?}: statsd\n{log}");
    dropped
}

/// `rustcorn_spans_dropped_total` and `rustcorn_requests_total`, once the workers that served are gone.
fn settled(admin: SocketAddr, answered: u64) -> (u64, u64) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let page = metrics(admin);
        let sample = |name: &str| -> u64 {
            let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
        };
        let now = (sample("rustcorn_workers{state=\"ready\"}"), sample("rustcorn_workers{state=\"draining\"}"));
        if now == (WORKERS as u64, 0) && sample("rustcorn_requests_total") == answered {
            return (sample("rustcorn_spans_dropped_total"), answered);
        }
        assert!(Instant::now() < give_up, "{now:?}, {answered} answered:\n{page}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

fn metrics(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Reads what the master reports by statsd.
struct Statsd {
    address: SocketAddr,
    thread: thread::JoinHandle<(u64, u64)>,
}

impl Statsd {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (mut dropped, mut requests, mut buffer) = (0, 0, [0; 65536]);
            loop {
                let length = socket.recv(&mut buffer).unwrap();
                if length == 0 {
                    return (dropped, requests);
                }
                for line in std::str::from_utf8(&buffer[..length]).unwrap().lines() {
                    let (name, value) = line.split_once(':').unwrap();
                    let sum = match name {
                        "rustcorn.spans.dropped" => &mut dropped,
                        "gunicorn.requests" => &mut requests,
                        _ => continue,
                    };
                    *sum += value.strip_suffix("|c").unwrap().parse::<u64>().unwrap();
                }
            }
        });
        Self { address, thread }
    }

    /// Dropped spans and requests, all datagrams together. The server is gone; an empty one is the last.
    fn sums(self) -> (u64, u64) {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[], self.address).unwrap();
        self.thread.join().unwrap()
    }
}

/// Sets the flag, also when the test fails: the threads that look at it have to end.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn killed_with_a_small_queue_what_is_missing_is_what_was_dropped() {
    assert!(run(Outage::Killed, &HASTY, false) > 0, "more came than the queue could hold");
}

#[test]
fn killed_with_room_for_all_nothing_is_lost() {
    let variables = [("OTEL_BSP_MAX_QUEUE_SIZE", "100000"), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
    assert_eq!(run(Outage::Killed, &variables, true), 0, "all was sent when it was back");
}

#[test]
fn stopped_with_a_small_queue_late_answers_count_once() {
    // Patient enough for the outage: what the collector still has is answered in the end, and only the full queue loses.
    let variables = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "256"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
    ];
    assert!(run(Outage::Stopped, &variables, false) > 0, "more came than the queue could hold");
}

#[test]
fn hanging_until_it_is_killed_loses_what_was_given_up_too() {
    let variables: Vec<_> = HASTY.into_iter().chain([("OTEL_EXPORTER_OTLP_TIMEOUT", "200")]).collect();
    assert!(run(Outage::HangsThenKilled, &variables, false) > 0, "given up, and dropped");
}
