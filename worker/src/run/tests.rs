//! The core as its clients see it: counts, time limits, failures, drains. Each test waits for facts.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustcorn_scoreboard::{Phase, State};

use super::Ended;
use crate::drain::Times;
use crate::testing::{BIG, Client, Options, PATIENCE, Server, eventually};
use crate::wishes::Wish;

const SHORT: Duration = Duration::from_millis(400);

fn start() -> Server {
    Server::start(Options::default())
}

fn says_close(answer: &str) -> bool {
    answer.contains("connection: close\r\n")
}

#[test]
fn every_answered_request_is_counted_once() {
    let server = start();
    let mut client = server.connect();
    assert!(client.get("/").ends_with("\r\n\r\nHello"));
    assert!(client.get("/missing").starts_with("HTTP/1.1 404"));
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.read_until("\r\n\r\n");
    // The counts are there as soon as the answer is: no waiting.
    let counts = server.counts();
    assert_eq!((counts.requests, counts.aborted, counts.bytes, counts.accepted), (3, 0, 5, 1));
    assert_eq!((counts.status[200 - 100], counts.status[404 - 100]), (2, 1));
    assert_eq!(counts.durations.total(), 3);
    assert_eq!((server.vitals().connections, server.vitals().in_flight), (1, 0));
    drop(client);
    eventually("the connection is closed", || server.vitals().connections == 0);
}

#[test]
fn two_requests_in_one_packet_are_two_requests() {
    let server = start();
    let mut client = server.connect();
    client.send("GET /a HTTP/1.1\r\nHost: test\r\n\r\nGET /b HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.answer().ends_with("Hello"));
    assert!(client.answer().ends_with("Hello"));
    assert_eq!(server.counts().requests, 2);
}

#[test]
fn a_streamed_body_is_one_request_and_all_its_bytes() {
    let server = start();
    let mut client = server.connect();
    client.ask("/stream");
    client.read_until("0\r\n\r\n");
    let counts = server.counts();
    assert_eq!((counts.requests, counts.bytes), (1, 11));
}

#[test]
fn the_request_being_polled_is_shown_only_while_it_is() {
    let server = start();
    let mut client = server.connect();
    client.ask("/stream-wait");
    client.read_until("one");
    assert!(server.board.polled(0).is_empty());
    assert_eq!((server.counts().requests, server.vitals().in_flight), (0, 1));
    server.gate.add_permits(1);
    client.read_until("two");
    eventually("counted", || server.counts().requests == 1);
}

#[test]
fn a_client_that_leaves_early_aborts_its_request() {
    let server = start();
    let mut client = server.connect();
    client.ask("/wait");
    eventually("in flight", || server.vitals().in_flight == 1);
    drop(client);
    eventually("aborted", || server.counts().aborted == 1);
    eventually("closed", || server.vitals().connections == 0);
    assert_eq!((server.counts().requests, server.vitals().in_flight), (0, 0));
}

#[test]
fn a_client_that_leaves_within_the_body_was_answered() {
    let server = start();
    let mut client = server.connect();
    client.ask("/stream-wait");
    client.read_until("one");
    drop(client);
    eventually("counted", || server.counts().requests == 1);
    assert_eq!((server.counts().aborted, server.counts().bytes), (0, 3));
}

#[test]
fn a_failing_handler_is_a_500_and_the_worker_lives_on() {
    let server = start();
    for path in ["/panic", "/error"] {
        let mut client = server.connect();
        let answer = client.get(path);
        assert!(answer.starts_with("HTTP/1.1 500 ") && says_close(&answer), "{answer}");
        assert_eq!(client.rest(), "");
    }
    assert!(server.connect().get("/").ends_with("Hello"));
    let counts = server.counts();
    assert_eq!((counts.requests, counts.status[500 - 100], counts.log), (3, 2, [0, 0, 0, 2]));
}

#[test]
fn a_failing_body_breaks_the_connection_off() {
    let server = start();
    let mut client = server.connect();
    client.ask("/stream-panic");
    assert!(!client.rest().ends_with("0\r\n\r\n"));
    let counts = server.counts();
    assert_eq!((counts.requests, counts.status[200 - 100], counts.log), (1, 1, [0, 0, 0, 1]));
}

#[test]
fn an_idle_connection_is_closed_after_keepalive() {
    let server = Server::start(Options { keepalive: SHORT, ..Options::default() });
    let mut client = server.connect();
    let idle = Instant::now();
    assert!(!says_close(&client.get("/")));
    assert_eq!(client.rest(), "");
    assert!(idle.elapsed() > SHORT - Duration::from_millis(10), "{:?}", idle.elapsed());
}

#[test]
fn a_response_is_sent_to_its_end_however_slowly_it_is_read() {
    let server = Server::start(Options { keepalive: SHORT, ..Options::default() });
    let (mut slow, mut idle) = (server.connect(), server.connect());
    slow.ask("/big");
    eventually("hyper has dropped the body", || server.counts().requests == 1);
    idle.get("/");
    assert_eq!(idle.rest(), "", "closed for being idle");
    assert_eq!(slow.body(BIG), BIG);
    assert_eq!(slow.rest(), "", "now it is idle too");
}

#[test]
fn a_drain_waits_for_a_slow_reader() {
    for phase in [Phase::Running, Phase::Stopping] {
        let server = start();
        let (mut slow, mut idle) = (server.connect(), server.connect());
        slow.ask("/big");
        eventually("hyper has dropped the body", || server.counts().requests == 1);
        idle.get("/");
        server.board.set_phase(phase);
        server.wish(Wish::Drain);
        if phase == Phase::Running {
            eventually("draining", || server.vitals().state == State::Draining);
            drop(idle);
        } else {
            assert_eq!(idle.rest(), "");
        }
        assert_eq!(slow.body(BIG), BIG, "{phase:?}");
        drop(slow);
        assert_eq!(server.wait(), Ended::Drained);
    }
}

#[test]
fn a_reader_that_has_stopped_is_cut_at_the_end_of_grace() {
    let times = Times { graceful_timeout: SHORT * 2, drain_delay: Duration::ZERO, handover: Duration::ZERO };
    let server = Server::start(Options { times, ..Options::default() });
    let mut stalled = server.connect();
    stalled.ask("/big");
    eventually("hyper has dropped the body", || server.counts().requests == 1);
    server.wish(Wish::Drain);
    assert_eq!(server.wait(), Ended::Cut);
}

#[test]
fn without_keepalive_each_response_is_the_last() {
    let server = Server::start(Options { keepalive: Duration::ZERO, ..Options::default() });
    let mut client = server.connect();
    assert!(says_close(&client.get("/")));
    assert_eq!(client.rest(), "");
}

#[test]
fn a_head_must_be_there_in_time_however_it_trickles() {
    let server = Server::start(Options { header_timeout: SHORT, ..Options::default() });
    let started = Instant::now();
    let mut silent = server.connect();
    let mut trickling = server.connect();
    trickling.send("GET / HTTP/1.1\r\nHost: test\r\nX: ");
    let mut sent = 0;
    while server.counts().requests == 0 {
        assert!(started.elapsed() < PATIENCE);
        if started.elapsed() >= sent * SHORT / 200 {
            trickling.send("x"); // never so many that the line would be too long
            sent += 1;
        }
        std::thread::yield_now();
    }
    assert!(started.elapsed() > SHORT - Duration::from_millis(10));
    let answer = trickling.rest();
    assert!(answer.starts_with("HTTP/1.1 408 ") && says_close(&answer), "{answer}");
    assert!(silent.closed_within(PATIENCE), "who has said nothing is told nothing");
    assert_eq!((server.counts().requests, server.counts().status[408 - 100], server.counts().aborted), (1, 1, 0));
}

#[test]
fn what_is_refused_waits_for_the_answers_before_it_and_is_counted() {
    let server = start();
    let mut client = server.connect();
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("refused", || server.counts().refused == [0, 1, 0, 0, 0, 0]);
    assert_eq!((server.counts().requests, server.vitals().in_flight), (0, 1));
    server.gate.add_permits(1);
    assert!(client.answer().ends_with("waited"));
    let last = client.answer();
    assert!(last.starts_with("HTTP/1.1 400 Bad Request\r\n") && says_close(&last), "{last}");
    assert!(last.ends_with("no Host header (RFC 9112, 3.2)\n"), "{last}");
    assert_eq!(client.rest(), "", "and nothing for what comes after it");
    let counts = server.counts();
    assert_eq!((counts.requests, counts.status[200 - 100], counts.status[400 - 100]), (2, 1, 1));
    drop(client);
    eventually("closed", || server.vitals().connections == 0);
}

#[test]
fn a_client_that_lingers_is_not_waited_for_long() {
    let server = start();
    let mut client = server.connect();
    client.send("\0");
    assert!(client.rest().starts_with("HTTP/1.1 400 "));
    assert_eq!(server.vitals().connections, 1, "it may still be sending");
    eventually("closed", || server.vitals().connections == 0);
}

#[test]
fn a_slow_request_is_neither_idle_nor_a_slow_head() {
    let options = Options { header_timeout: SHORT, keepalive: SHORT, ..Options::default() };
    let server = Server::start(options);
    let mut client = server.connect();
    client.ask("/wait");
    assert!(!client.closed_within(SHORT * 4));
    server.gate.add_permits(1);
    assert!(client.answer().ends_with("waited"));
}

#[test]
fn an_upgraded_connection_has_no_limits_and_is_counted_until_its_end() {
    let options = Options { header_timeout: SHORT, keepalive: SHORT, ..Options::default() };
    let server = Server::start(options);
    let mut client = server.connect();
    client.send("GET /upgrade HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n");
    client.read_until("\r\n\r\n");
    client.send("not HTTP");
    assert!(!client.closed_within(SHORT * 4));
    assert_eq!((server.vitals().connections, server.counts().status[101 - 100]), (1, 1));
    drop(client);
    eventually("closed", || server.vitals().connections == 0);
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = Server::start(Options { worker_connections: 1, ..Options::default() });
    let mut first = server.connect();
    first.get("/");
    let mut second = server.connect();
    second.ask("/");
    assert!(!second.closed_within(SHORT));
    assert_eq!(server.counts().accepted, 1);
    drop(first);
    assert!(second.answer().ends_with("Hello"));
}

#[test]
fn a_replaced_worker_finishes_what_it_has_and_lets_the_idle_ask_once_more() {
    let server = start();
    let (mut idle, mut busy) = (server.connect(), server.connect());
    assert!(!says_close(&idle.get("/")));
    busy.ask("/wait");
    eventually("in flight", || server.vitals().in_flight == 1);
    server.wish(Wish::Drain);
    eventually("draining", || server.vitals().state == State::Draining);
    assert!(!idle.closed_within(SHORT), "an idle connection is not cut");
    let last = idle.get("/");
    assert!(last.ends_with("Hello") && says_close(&last));
    assert_eq!(idle.rest(), "");
    assert!(!server.ended());
    server.gate.add_permits(1);
    let last = busy.answer();
    assert!(last.ends_with("waited") && says_close(&last));
    assert!(TcpStream::connect(server.address).is_ok(), "the socket is the master's");
    assert_eq!(server.counts().requests, 3);
    assert_eq!(server.wait(), Ended::Drained);
}

#[test]
fn at_a_full_stop_the_kernel_refuses_and_the_idle_linger_briefly() {
    let server = start();
    let mut idle = server.connect();
    idle.get("/");
    server.board.set_phase(Phase::Stopping);
    let stopped = Instant::now();
    server.wish(Wish::Drain);
    eventually("refused", || TcpStream::connect(server.address).is_err());
    assert!(idle.closed_within(PATIENCE));
    assert!(stopped.elapsed() > Duration::from_millis(990), "{:?}", stopped.elapsed());
    assert_eq!(server.wait(), Ended::Drained);
}

#[test]
fn a_full_stop_under_load_answers_everyone_who_got_a_connection() {
    let server = start();
    let address = server.address;
    let client = move || {
        let mut asked = Instant::now();
        while let Ok(stream) = TcpStream::connect(address) {
            let mut client = Client::new(stream);
            client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
            assert!(client.rest().ends_with("Hello"), "connected, but not answered");
            asked = Instant::now();
        }
        asked.elapsed()
    };
    let clients: Vec<_> = (0..6).map(|_| std::thread::spawn(client)).collect();
    eventually("load", || server.counts().requests > 100);
    server.board.set_phase(Phase::Stopping);
    server.wish(Wish::Drain);
    // Before the kernel refuses, it lets handshakes wait: TCP asks again after a second.
    let refused: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(refused.iter().any(|after| *after > Duration::from_millis(500)), "{refused:?}");
    assert_eq!(server.wait(), Ended::Drained);
}

#[test]
fn the_drain_delay_serves_and_a_second_term_skips_it() {
    let times = Times { drain_delay: PATIENCE * 2, ..Options::default().times };
    let server = Server::start(Options { times, ..Options::default() });
    server.board.set_phase(Phase::Stopping);
    server.wish(Wish::Drain);
    eventually("draining", || server.vitals().state == State::Draining);
    let answer = server.connect().get("/");
    assert!(answer.ends_with("Hello") && says_close(&answer));
    server.board.set_phase(Phase::StoppingNow);
    server.wish(Wish::Drain);
    let address = server.address;
    assert_eq!(server.wait(), Ended::Drained);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn whoever_else_has_the_sockets_keeps_them() {
    for (phase, wish) in [(Phase::Leaving, Wish::Drain), (Phase::Running, Wish::Orphaned)] {
        let server = start();
        let mut idle = server.connect();
        idle.get("/");
        server.board.set_phase(phase);
        server.wish(wish);
        assert!(idle.closed_within(PATIENCE));
        eventually("ended", || server.ended());
        assert!(TcpStream::connect(server.address).is_ok(), "{phase:?}");
        assert_eq!(server.wait(), Ended::Drained);
    }
}

#[test]
fn grace_ends_and_what_is_left_is_cut() {
    let times = Times { graceful_timeout: SHORT * 2, drain_delay: Duration::ZERO, handover: Duration::ZERO };
    let server = Server::start(Options { times, ..Options::default() });
    let mut busy = server.connect();
    busy.ask("/wait");
    eventually("in flight", || server.vitals().in_flight == 1);
    server.wish(Wish::Drain);
    assert_eq!(busy.rest(), "");
    eventually("ended", || server.ended());
    assert_eq!((server.counts().aborted, server.vitals().connections), (1, 0));
    assert_eq!(server.wait(), Ended::Cut);
}

#[test]
fn quit_waits_for_nobody_even_within_a_drain() {
    let server = start();
    let mut busy = server.connect();
    busy.ask("/wait");
    eventually("in flight", || server.vitals().in_flight == 1);
    server.wish(Wish::Drain);
    eventually("draining", || server.vitals().state == State::Draining);
    server.wish(Wish::Quit);
    assert_eq!(server.wait(), Ended::Quit);
}
