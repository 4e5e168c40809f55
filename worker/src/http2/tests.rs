//! HTTP/2 as a client sees it that writes its frames by hand, and may write any.

mod client;
mod corpus;
mod limits;

use std::time::{Duration, Instant};

use rustcorn_scoreboard::{Phase, State};

use self::client::*;
use super::*;
use crate::drain::Times;
use crate::run::Ended;
use crate::testing::{Options, PATIENCE, Server, eventually};
use crate::wishes::Wish;

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(60);

/// HPACK's static table: `:status 200`, `:status 404`, `:status 500`.
const OK: u8 = 8;
const NOT_FOUND: u8 = 13;
const FAILED: u8 = 14;

fn http2() -> Http2Options {
    Http2Options {
        max_concurrent_streams: 100,
        initial_window_size: 65535,
        max_frame_size: 16384,
        max_header_list_size: 65536,
        ping_every: LONG,
        ping_timeout: LONG,
    }
}

fn options() -> Options {
    Options { http2: Some(http2()), ..Options::default() }
}

fn start() -> Server {
    Server::start(options())
}

fn hello() -> (u8, String) {
    (OK, "Hello".to_owned())
}

#[test]
fn every_stream_is_a_request_that_is_counted_and_they_are_served_at_the_same_time() {
    let server = start();
    let mut client = Client::to(&server);
    client.ask(1, "/wait");
    client.ask(3, "/wait");
    assert_eq!(client.get(5, "/"), hello());
    assert_eq!(client.get(7, "/missing").0, NOT_FOUND);
    let counts = server.counts();
    assert_eq!((counts.requests, counts.accepted, counts.status[404 - 100]), (2, 1, 1));
    assert_eq!((server.vitals().connections, server.vitals().in_flight), (1, 2));
    server.gate.add_permits(2);
    assert_eq!((client.answer(1).1, client.answer(3).1), ("waited".to_owned(), "waited".to_owned()));
    let counts = server.counts();
    assert_eq!((counts.requests, counts.bytes, counts.durations.total()), (4, 5 + 6 + 6, 4));
    drop(client);
    eventually("the connection is closed", || server.vitals().connections == 0);
}

#[test]
fn a_failing_handler_is_a_500_and_a_failing_body_a_reset_of_one_stream() {
    let server = start();
    let mut client = Client::to(&server);
    assert_eq!(client.get(1, "/panic").0, FAILED);
    client.ask(3, "/stream-panic");
    assert_eq!(client.next(RST_STREAM).unwrap().stream, 3);
    assert_eq!(client.get(5, "/"), hello());
    assert_eq!(server.counts().log, [0, 0, 0, 2]);
}

#[test]
fn a_request_that_is_taken_back_is_aborted() {
    let server = start();
    let mut client = Client::to(&server);
    client.ask(1, "/wait");
    eventually("in flight", || server.vitals().in_flight == 1);
    client.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    eventually("aborted", || server.counts().aborted == 1);
    assert_eq!(client.get(3, "/"), hello());
    client.ask(5, "/wait");
    eventually("in flight", || server.vitals().in_flight == 1);
    drop(client);
    eventually("aborted too", || server.counts().aborted == 2);
    assert_eq!((server.vitals().in_flight, server.counts().requests), (0, 1));
}

#[test]
fn clients_that_speak_http1_are_served_on_the_same_address() {
    let server = start();
    let mut client = server.connect();
    assert!(client.get("/").ends_with("Hello"));
    let mut slow = server.connect();
    slow.send("P");
    assert!(!slow.closed_within(SHORT / 3), "it may become either");
    slow.send("RI / HTTP/1.1\r\nHost: test\r\n\r\n"); // a method like any other
    assert!(slow.answer().ends_with("Hello"));
    let mut broken = server.connect();
    broken.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert!(broken.rest().starts_with("HTTP/1.1 505 "));
    let plain = Server::start(Options::default());
    let mut client = plain.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(client.rest().starts_with("HTTP/1.1 505 "), "not asked for, not understood");
}

#[test]
fn a_connection_that_does_not_say_what_it_speaks_has_the_time_of_a_head() {
    let server = Server::start(Options { header_timeout: SHORT, ..options() });
    let (mut silent, mut half) = (server.connect(), server.connect());
    half.send("PRI * HT");
    assert!(half.rest().starts_with("HTTP/1.1 408 "));
    assert_eq!(silent.rest(), "", "who has said nothing is told nothing");
}

#[test]
fn an_idle_connection_gets_goaway_after_keepalive() {
    let server = Server::start(Options { keepalive: SHORT, ..options() });
    let mut client = Client::to(&server);
    let asked = Instant::now();
    assert_eq!(client.get(1, "/"), hello());
    assert_eq!(client.get(3, "/"), hello());
    assert_eq!(client.next(GOAWAY).unwrap().goodbye(), (0x7fff_ffff, NO_ERROR));
    assert!(asked.elapsed() >= SHORT);
    assert_eq!(client.next(GOAWAY).unwrap().goodbye(), (3, NO_ERROR));
    assert_eq!(client.rest(), []);
}

#[test]
fn without_keepalive_a_connection_serves_its_first_moment() {
    let server = Server::start(Options { keepalive: Duration::ZERO, ..options() });
    let mut client = Client::to(&server);
    assert_eq!(client.get(1, "/"), hello());
    assert_eq!(client.next(GOAWAY).unwrap().goodbye().1, NO_ERROR);
    client.rest();
}

#[test]
fn a_client_that_never_asks_is_not_kept() {
    let server = Server::start(Options { header_timeout: SHORT, ..options() });
    let mut client = Client::to(&server);
    assert_eq!(client.next(GOAWAY).unwrap().goodbye(), (0x7fff_ffff, NO_ERROR));
    client.rest();
}

#[test]
fn one_that_does_not_answer_goaway_is_closed_all_the_same() {
    let server = Server::start(Options { keepalive: SHORT, ..options() });
    let mut client = Client::to(&server);
    client.pongs = false;
    let asked = Instant::now();
    assert_eq!(client.get(1, "/"), hello());
    assert!(client.next(GOAWAY).is_some());
    client.rest();
    assert!(asked.elapsed() > SHORT + GOODBYE_AT_LEAST, "{:?}", asked.elapsed());
}

/// Stamped by a sweep, which may be late.
const GOODBYE_AT_LEAST: Duration = Duration::from_secs(4);

/// Reads up to the end of a response; how many bytes of it came.
fn rest_of_body(client: &mut Client) -> usize {
    let mut length = 0;
    loop {
        let frame = client.next(DATA).expect("the response ends before the connection");
        length += frame.payload.len();
        if frame.flags & END_STREAM != 0 {
            return length;
        }
    }
}

#[test]
fn a_slow_reader_has_its_response_and_is_not_idle() {
    // A window lets 64 KiB of it out.
    let server = Server::start(Options { keepalive: SHORT, ..options() });
    let mut client = Client::to(&server);
    client.ask(1, "/big");
    limits::longer_than(SHORT * 3);
    assert_eq!((server.counts().requests, server.vitals().in_flight), (0, 1));
    let bytes = u32::try_from(crate::testing::BIG).unwrap().to_be_bytes();
    client.send(WINDOW_UPDATE, 0, 0, &bytes);
    client.send(WINDOW_UPDATE, 0, 1, &bytes);
    assert_eq!(rest_of_body(&mut client), crate::testing::BIG);
    assert!(client.kept.iter().all(|frame| frame.kind != GOAWAY), "{:?}", client.kept);
    assert!(client.next(GOAWAY).is_some(), "now it is idle");
    client.rest();
}

#[test]
fn the_last_of_a_response_comes_however_long_the_request_is_over() {
    const LAST: u32 = 10;
    let server = Server::start(Options { keepalive: SHORT, ..options() });
    let mut client = Client::to(&server);
    let most = u32::try_from(crate::testing::BIG).unwrap();
    limits::open(&mut client, most - LAST);
    client.send(WINDOW_UPDATE, 0, 0, &most.to_be_bytes());
    client.ask(1, "/big");
    assert!(client.next(GOAWAY).is_some(), "idle for us");
    assert_eq!(server.counts().requests, 1);
    client.send(WINDOW_UPDATE, 0, 1, &LAST.to_be_bytes());
    assert_eq!(rest_of_body(&mut client), crate::testing::BIG);
    client.rest();
}

#[test]
fn a_peer_that_is_gone_without_a_word_is_found_out() {
    let http2 = Http2Options { ping_every: SHORT, ping_timeout: SHORT, ..http2() };
    let server = Server::start(Options { http2: Some(http2), ..options() });
    let mut gone = Client::to(&server);
    gone.pongs = false;
    assert_eq!(gone.get(1, "/"), hello());
    let rest = gone.rest();
    assert!(rest.iter().any(|frame| frame.kind == PING), "{rest:?}");
    // It answers while it waits for its response.
    let mut alive = Client::to(&server);
    alive.ask(1, "/wait");
    let (gate, waiting) = (std::sync::Arc::clone(&server.gate), std::thread::spawn(move || alive.answer(1)));
    let begun = Instant::now();
    eventually("several pings", || begun.elapsed() > SHORT * 6);
    gate.add_permits(1);
    assert_eq!(waiting.join().unwrap().1, "waited");
}

#[test]
fn a_drain_lets_requests_end_and_tells_idle_connections_at_once() {
    for phase in [Phase::Running, Phase::Stopping] {
        let server = start();
        let (mut idle, mut busy) = (Client::to(&server), Client::to(&server));
        assert_eq!(idle.get(1, "/"), hello());
        busy.ask(1, "/wait");
        eventually("in flight", || server.vitals().in_flight == 1);
        server.board.set_phase(phase);
        server.wish(Wish::Drain);
        assert_eq!(idle.next(GOAWAY).unwrap().goodbye(), (0x7fff_ffff, NO_ERROR));
        assert_eq!(idle.next(GOAWAY).unwrap().goodbye(), (1, NO_ERROR));
        assert_eq!(idle.rest(), []);
        assert_eq!(busy.next(GOAWAY).unwrap().goodbye(), (0x7fff_ffff, NO_ERROR));
        assert!(!server.ended());
        server.gate.add_permits(1);
        assert_eq!(busy.answer(1), (OK, "waited".to_owned()));
        busy.rest();
        assert_eq!(server.wait(), Ended::Drained, "{phase:?}");
    }
}

#[test]
fn a_request_that_crosses_the_goaway_is_served() {
    let server = start();
    let mut client = Client::to(&server);
    client.pongs = false; // as if the network were slow
    assert_eq!(client.get(1, "/"), hello());
    server.wish(Wish::Drain);
    assert!(client.next(GOAWAY).is_some());
    assert_eq!(client.get(3, "/"), hello());
    let ping = client.next(PING).unwrap();
    client.send(PING, ACK, 0, &ping.payload);
    assert_eq!(client.next(GOAWAY).unwrap().goodbye(), (3, NO_ERROR));
    client.rest();
    assert_eq!(server.wait(), Ended::Drained);
}

#[test]
fn whoever_comes_in_a_drain_has_its_first_request_served() {
    let times = Times { drain_delay: PATIENCE * 2, ..Options::default().times };
    let server = Server::start(Options { times, ..options() });
    server.board.set_phase(Phase::Stopping);
    server.wish(Wish::Drain);
    eventually("draining", || server.vitals().state == State::Draining);
    let mut client = Client::to(&server);
    assert!(client.kept.is_empty());
    assert_eq!(client.get(1, "/"), hello());
    assert_eq!(client.next(GOAWAY).unwrap().goodbye().1, NO_ERROR);
    client.rest();
}

#[test]
fn what_is_under_way_at_the_end_of_grace_is_cut() {
    let times = Times { graceful_timeout: SHORT * 2, drain_delay: Duration::ZERO, handover: Duration::ZERO };
    let server = Server::start(Options { times, ..options() });
    let mut client = Client::to(&server);
    client.ask(1, "/wait");
    eventually("in flight", || server.vitals().in_flight == 1);
    server.wish(Wish::Drain);
    client.rest();
    assert_eq!(server.wait(), Ended::Cut);
}

#[test]
fn an_old_connection_is_told_to_end() {
    let server = Server::start(Options { connection_age: SHORT, ..options() });
    let mut client = Client::to(&server);
    let mut stream = 1;
    while client.kept.iter().all(|frame| frame.kind != GOAWAY) {
        assert_eq!(client.get(stream, "/"), hello());
        stream += 2;
    }
    client.rest();
}

#[test]
fn rapid_resets_end_the_connection_and_nothing_else() {
    let server = start();
    let mut bystander = Client::to(&server);
    assert_eq!(bystander.get(1, "/"), hello());
    let mut attacker = Client::to(&server);
    let burst: Vec<u8> = (0..200)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            let headers = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block("GET", "/wait"));
            [headers, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .collect();
    attacker.write(&burst);
    assert_eq!(attacker.next(GOAWAY).unwrap().goodbye().1, ENHANCE_YOUR_CALM);
    attacker.rest();
    assert_eq!(bystander.get(3, "/"), hello());
    eventually("nothing is left", || server.vitals().in_flight == 0 && server.vitals().connections == 1);
}

#[test]
fn a_head_without_end_is_not_collected() {
    let server = start();
    let mut bystander = Client::to(&server);
    assert_eq!(bystander.get(1, "/"), hello());
    let mut attacker = Client::to(&server);
    attacker.send(HEADERS, 0, 1, &block("GET", "/"));
    // Never indexed, name and value of 100 bytes each.
    let field = [&[0x10, 100][..], &[b'x'; 100], &[100], &[b'y'; 100]].concat();
    let chunk = frame(CONTINUATION, 0, 1, &field.repeat(80));
    let sent = (0..10_000).take_while(|_| attacker.write(&chunk)).count();
    assert!(sent < 10_000, "160 MB were taken");
    attacker.rest();
    for size in [0, 1] {
        let mut attacker = Client::to(&server);
        attacker.send(HEADERS, 0, 1, &block("GET", "/"));
        let bytes = frame(CONTINUATION, 0, 1, &vec![0x10; size]).repeat(100);
        attacker.write(&bytes);
        let goodbye = attacker.next(GOAWAY).map(|frame| frame.goodbye().1);
        assert!(goodbye.is_some_and(|why| why != NO_ERROR), "{size} {goodbye:?}");
    }
    assert_eq!(bystander.get(3, "/"), hello());
}

#[test]
fn a_head_that_is_too_long_is_431() {
    let http2 = Http2Options { max_header_list_size: 1000, ..http2() };
    let server = Server::start(Options { http2: Some(http2), ..options() });
    let mut client = Client::to(&server);
    let field = [&[0x10, 100][..], &[b'x'; 100], &[100], &[b'y'; 100]].concat();
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &[block("GET", "/"), field.repeat(10)].concat());
    let frame = client.next(HEADERS).unwrap();
    // A literal by the name of entry 8 of the table, "431" in Huffman's code.
    assert_eq!(frame.payload[..5], [0x48, 0x83, 0x69, 0x90, 0xff], "{frame:?}");
    assert_eq!(client.get(3, "/"), hello());
    assert_eq!(server.counts().requests, 1);
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let http2 = Http2Options { max_concurrent_streams: 3, ..http2() };
    let server = Server::start(Options { http2: Some(http2), ..options() });
    let mut client = Client::to(&server);
    // The client must know the limit before it can be held to it.
    assert_eq!(client.get(1, "/"), hello());
    (1..5).for_each(|number| client.ask(2 * number + 1, "/wait"));
    let refused = client.next(RST_STREAM).unwrap();
    assert_eq!((refused.stream, refused.payload), (9, 7_u32.to_be_bytes().to_vec()));
    server.gate.add_permits(3);
    assert_eq!(client.answer(7).1, "waited");
}

#[test]
fn a_hundred_thousand_streams_on_one_connection() {
    let server = start();
    let mut client = Client::to(&server);
    const BATCH: u32 = 50;
    for batch in 0..100_000 / BATCH {
        let first = 2 * batch * BATCH + 1;
        let bytes: Vec<u8> = (0..BATCH)
            .flat_map(|number| frame(HEADERS, END_HEADERS | END_STREAM, first + 2 * number, &block("GET", "/")))
            .collect();
        assert!(client.write(&bytes));
        let mut ended = 0;
        while ended < BATCH {
            let frame = client.frame().unwrap();
            ended += u32::from(frame.flags & END_STREAM != 0 && frame.stream != 0);
        }
        client.send(WINDOW_UPDATE, 0, 0, &(BATCH * 5).to_be_bytes());
    }
    assert_eq!((server.counts().requests, server.vitals().in_flight), (100_000, 0));
}
