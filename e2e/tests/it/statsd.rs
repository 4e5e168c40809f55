//! What a statsd server adds up is what was served, exactly.

use crate::harness::{Load, PATIENCE, Server, Setup, Sig, Sink, eventually, full, proc};

const PREFIX: &str = "shop.";

/// Clients of each habit, and the requests of each client.
fn size() -> (usize, u64) {
    if full() { (4, 2500) } else { (4, 250) }
}

fn start(sink: &Sink, setup: Setup) -> Server {
    let address = sink.address;
    let settings = format!("statsd_host = \"{address}\"\nstatsd_prefix = \"shop\"\nstatsd_interval = 0.05");
    setup.set(&settings).app("chaos_percent = 30").start()
}

#[test]
fn the_sums_equal_the_requests_served() {
    for threads in [1, 4] {
        let sink = Sink::start();
        let mut server = start(&sink, Setup::hello().set(&format!("threads = {threads}")));
        let (clients, limit) = size();
        let total = 2 * clients as u64 * limit;
        let tally = Load::with_limit(server.address(), "/", clients, limit).finish();
        assert_eq!((tally.failed(), tally.answered()), (0, total), "{tally:?}");
        assert!(tally.statuses.len() > 20, "{tally:?}");

        // While it runs, not only at the end.
        let sums = sink.wait(PATIENCE, |sums| sums.counter("shop.gunicorn.requests") >= total);
        assert_eq!(sums.counter("shop.gunicorn.requests"), total);
        assert_eq!(sums.gauges.get("shop.gunicorn.workers"), Some(&2.0));
        assert!(sums.datagrams < total / 2, "{} datagrams", sums.datagrams);

        server.signal(Sig::SIGTERM);
        assert_eq!(server.wait_for_exit(PATIENCE), 0);
        let sums = sink.all();
        assert_eq!(sums.counter("shop.gunicorn.requests"), total, "nothing is told twice");
        assert_eq!(sums.statuses(PREFIX), tally.statuses);
        let timer = sums.timer("shop.gunicorn.request.duration");
        assert_eq!((timer.added, timer.repeated), (total as f64, total));
        assert!(timer.total > 0.0);
        assert_eq!(sums.malformed, [""; 0]);
    }
}

#[test]
fn a_kill_9_in_the_middle_loses_only_what_was_never_answered() {
    let sink = Sink::start();
    let mut server = start(&sink, Setup::hello().expect("was sent SIGKILL!"));
    let (clients, limit) = size();
    let load = Load::with_limit(server.address(), "/", clients, limit);
    eventually("the middle", PATIENCE, || (load.answered() > clients as u64 * limit / 2).then_some(()));
    let victim = *server.settled(2).first().expect("two");
    proc::signal(victim, Sig::SIGKILL);
    let tally = load.finish();
    assert!(tally.failed() <= 2 * clients as u64, "only requests under way are lost: {tally:?}");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);

    let sums = sink.all();
    let (requests, timer) = (sums.counter("shop.gunicorn.requests"), sums.timer("shop.gunicorn.request.duration"));
    assert!((tally.answered()..=tally.answered() + tally.failed()).contains(&requests), "{requests} of {tally:?}");
    assert_eq!((timer.added, timer.repeated), (requests as f64, requests));
    assert_eq!(sums.statuses(PREFIX).values().sum::<u64>(), requests);
    for (status, count) in tally.statuses {
        let told = sums.statuses(PREFIX).get(&status).copied().unwrap_or(0);
        assert!(told >= count, "{status}: {count} were answered, {told} told");
    }
}

#[test]
fn what_was_counted_before_a_reload_is_told_once_and_to_the_old_server() {
    let (old, new) = (Sink::start(), Sink::start());
    let mut server = start(&old, Setup::hello());
    let first = Load::with_limit(server.address(), "/", 1, 50).finish();
    server.reconfigure(&format!("statsd_host = \"{}\"\nstatsd_prefix = \"\"", new.address), "");
    server.reload();
    let second = Load::with_limit(server.address(), "/", 1, 30).finish();
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    let (old, new) = (old.all(), new.all());
    assert_eq!(old.counter("shop.gunicorn.requests") + new.counter("gunicorn.requests"), 160, "{first:?} {second:?}");
    assert_eq!(new.counter("gunicorn.requests"), 60);
}

#[test]
fn a_statsd_server_that_is_not_there_yet_gets_everything_later() {
    // Nobody else can have the port, and from anyone but its peer this socket takes nothing.
    let held = std::net::UdpSocket::bind("127.0.0.3:0").expect("loopback has free ports");
    held.connect("127.0.0.3:9").expect("nothing is sent");
    let address = held.local_addr().expect("it is bound");
    let server = Setup::hello().set(&format!("statsd_host = \"{address}\"\nstatsd_interval = 0.05")).start();
    let tally = Load::with_limit(server.address(), "/", 1, 50).finish();
    server.wait_for_line(&format!("[WARNING] Cannot send metrics to {address}"));
    drop(held);
    let late = Sink::at(address);
    let sums = late.wait(PATIENCE, |sums| sums.counter("gunicorn.requests") >= tally.answered());
    assert_eq!(sums.counter("gunicorn.requests"), 100);
    assert_eq!(sums.timer("gunicorn.request.duration").repeated, 100);
}

#[test]
fn log_lines_and_exceptions_are_counted() {
    let sink = Sink::start();
    let settings = format!("statsd_host = \"{}\"\nstatsd_interval = 0.05\nworkers = 1", sink.address);
    let server = Setup::testapp().set(&settings).expect("panic").expect("was sent SIGKILL!").start();
    assert_eq!(server.get("/panic").map(|response| response.status), Ok(500));
    let sums = sink.wait(PATIENCE, |sums| sums.counter("gunicorn.log.exception") > 0);
    assert_eq!((sums.counter("gunicorn.log.exception"), sums.counter("gunicorn.log.error")), (1, 0));
    server.settled(1).iter().for_each(|pid| proc::signal(*pid, Sig::SIGKILL));
    let sums = sink.wait(PATIENCE, |sums| sums.counter("gunicorn.log.error") > 0);
    assert_eq!(sums.counter("gunicorn.log.error"), 1);
    server.settled(1);
}
