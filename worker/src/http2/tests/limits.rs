//! Bodies that are too large or too slow, responses that nobody takes, and what comes after a body.

use super::*;

/// In HPACK's static table there are no 408 and 413: literals by the name of entry 8, in Huffman's code.
const TIMEOUT: &[u8] = &[0x48, 0x83, 0x68, 0x0f, 0x7f];
const TOO_LARGE: &[u8] = &[0x48, 0x83, 0x68, 0x2c, 0xff];
const BAD_REQUEST: u8 = 12;

const CANCEL: u32 = 8;

fn post(client: &mut Client, stream: u32, path: &str) {
    client.send(HEADERS, END_HEADERS, stream, &block("POST", path));
}

/// The head of the answer, and the frame that ends the stream on both sides.
#[track_caller]
fn is_refused(client: &mut Client, stream: u32, status: &[u8]) {
    let head = client.next(HEADERS).expect("answered");
    assert!(head.stream == stream && head.payload.starts_with(status), "{head:?}");
    let reset = client.next(RST_STREAM).expect("reset");
    assert_eq!((reset.stream, reset.payload), (stream, NO_ERROR.to_be_bytes().to_vec()));
}

fn with_size(max_body_size: u64) -> Server {
    Server::start(Options { max_body_size, ..options() })
}

#[test]
fn a_body_of_unknown_length_is_measured_on_its_way() {
    for path in ["/echo", "/swallow"] {
        let server = with_size(10);
        let mut client = Client::to(&server);
        post(&mut client, 1, path);
        client.send(DATA, 0, 1, b"12345");
        client.send(DATA, END_STREAM, 1, b"67890");
        assert_eq!(client.answer(1), (OK, "1234567890".to_owned()), "as much as is allowed");
        post(&mut client, 3, path);
        client.send(DATA, 0, 3, b"1234567890");
        client.send(DATA, 0, 3, b"!");
        is_refused(&mut client, 3, TOO_LARGE);
        assert_eq!(client.get(5, "/"), hello(), "others go on");
        let counts = server.counts();
        assert_eq!((counts.requests, counts.status[413 - 100], counts.log), (3, 1, [0; 4]), "{path}");
        assert_eq!(counts.refused.iter().sum::<u64>(), 1);
    }
}

#[test]
fn a_body_that_says_that_it_is_too_large_is_refused_before_it_comes() {
    let server = with_size(10);
    let mut client = Client::to(&server);
    let length = [&[0x0f, 13, 2][..], b"11"].concat(); // content-length is entry 28
    client.send(HEADERS, END_HEADERS, 1, &[block("POST", "/read-later"), length].concat());
    is_refused(&mut client, 1, TOO_LARGE);
}

#[test]
fn a_response_that_has_begun_is_finished() {
    let server = with_size(10);
    let mut client = Client::to(&server);
    post(&mut client, 1, "/converse");
    assert_eq!(client.next(DATA).unwrap().payload, b"well? ");
    client.send(DATA, 0, 1, b"1234567890");
    assert_eq!(client.next(DATA).unwrap().payload, b"1234567890");
    client.send(DATA, 0, 1, b"!");
    assert_eq!(client.next(RST_STREAM).unwrap().stream, 1, "as the application ends it by an error");
    assert_eq!(server.counts().refused.iter().sum::<u64>(), 1);
    assert_eq!(client.get(3, "/"), hello());
}

fn with_times(body: Duration, rate: u64, write: Duration) -> Server {
    Server::start(Options { body_timeout: (body, rate), write_timeout: write, ..options() })
}

#[test]
fn a_body_must_not_stand_still_nor_drip() {
    for drips in [false, true] {
        let server = with_times(SHORT * 2, 100, Duration::ZERO);
        let mut client = Client::to(&server);
        let (begun, mut stream) = (Instant::now(), client.stream.try_clone().unwrap());
        post(&mut client, 1, "/echo");
        let answered = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (done, drop) = (Arc::clone(&answered), frame(DATA, 0, 1, b"x"));
        let dripping = std::thread::spawn(move || {
            while drips && !done.load(std::sync::atomic::Ordering::Relaxed) {
                std::io::Write::write_all(&mut stream, &drop).unwrap();
                std::thread::park_timeout(SHORT / 3);
            }
        });
        is_refused(&mut client, 1, TIMEOUT);
        answered.store(true, std::sync::atomic::Ordering::Relaxed);
        dripping.join().unwrap();
        assert!(begun.elapsed() >= SHORT * 2, "{drips}");
        assert_eq!(client.get(3, "/"), hello());
        let counts = server.counts();
        assert_eq!((counts.status[408 - 100], counts.refused.iter().sum::<u64>()), (1, 1), "{drips}");
    }
}

/// Waits long enough for the sweep to have found a body late that is.
pub(super) fn longer_than(time: Duration) {
    let begun = Instant::now();
    eventually("time has passed", || begun.elapsed() > time);
}

#[test]
fn a_body_that_the_application_lets_wait_is_not_late() {
    let server = with_times(SHORT, 0, Duration::ZERO);
    let mut client = Client::to(&server);
    post(&mut client, 1, "/read-later");
    client.send(DATA, 0, 1, b"soon");
    longer_than(SHORT * 4);
    client.send(DATA, END_STREAM, 1, b"er");
    assert_eq!(client.get(3, "/"), hello(), "so the rest is here, too");
    server.gate.add_permits(1);
    assert_eq!(client.answer(1), (OK, "sooner".to_owned()));
}

#[test]
fn in_a_conversation_a_client_may_be_silent() {
    let server = with_times(SHORT, 1000, Duration::ZERO);
    let mut client = Client::to(&server);
    post(&mut client, 1, "/converse");
    longer_than(SHORT * 4);
    client.send(DATA, END_STREAM, 1, b"yes");
    assert_eq!(client.answer(1), (OK, "well? yes".to_owned()));
}

#[test]
fn a_body_is_not_late_while_others_may_have_taken_its_room() {
    // One unread body can fill the window of the connection.
    let http2 = Http2Options { initial_window_size: CONNECTION_WINDOW, ..http2() };
    let body_timeout = (SHORT, 0);
    let server = Server::start(Options { http2: Some(http2), body_timeout, ..options() });
    let mut client = Client::to(&server);
    post(&mut client, 1, "/read-later");
    post(&mut client, 3, "/echo");
    eventually("both are there", || server.vitals().in_flight == 2);
    longer_than(SHORT * 4);
    assert_eq!(server.counts().refused.iter().sum::<u64>(), 0);
    server.gate.add_permits(1); // now somebody waits for both
    let mut ended: Vec<_> = (0..2).map(|_| client.next(RST_STREAM).expect("both are late").stream).collect();
    ended.sort_unstable();
    assert_eq!(ended, [1, 3]);
}

/// Makes the windows of all streams so large.
pub(super) fn open(client: &mut Client, window: u32) {
    client.send(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
}

#[test]
fn a_response_whose_client_makes_no_room_is_ended() {
    // Of one byte: a frame in pieces, and one that is all there is.
    for (window, path) in [(0, "/"), (0, "/big"), (1, "/big"), (0, "/stream")] {
        let server = with_times(Duration::ZERO, 0, SHORT * 2);
        let mut client = Client::to(&server);
        open(&mut client, window);
        let begun = Instant::now();
        client.ask(1, path);
        let reset = client.next(RST_STREAM).expect("reset");
        assert_eq!((reset.stream, reset.payload), (1, CANCEL.to_be_bytes().to_vec()), "{path}");
        assert!(begun.elapsed() >= SHORT * 2);
        let counts = server.counts();
        assert_eq!((counts.requests, server.vitals().in_flight), (1, 0), "{path}: it is over, and was answered");
        open(&mut client, 65535);
        assert_eq!(client.get(3, "/"), hello(), "others go on");
    }
}

#[test]
fn a_response_that_waits_for_the_application_is_not_late() {
    let server = with_times(Duration::ZERO, 0, SHORT);
    let mut client = Client::to(&server);
    client.ask(1, "/wait");
    client.ask(3, "/stream-wait");
    longer_than(SHORT * 4);
    server.gate.add_permits(2);
    assert_eq!((client.answer(1).1, client.answer(3).1), ("waited".to_owned(), "onetwo".to_owned()));
    // Nor is one that had to wait for its client before.
    let server = with_times(Duration::ZERO, 0, SHORT * 4);
    let mut client = Client::to(&server);
    open(&mut client, 0);
    client.ask(1, "/stream-wait");
    assert_eq!(client.next(HEADERS).expect("a head").stream, 1);
    open(&mut client, 65535);
    assert_eq!(client.next(DATA).expect("data").payload, b"one");
    longer_than(SHORT * 12);
    server.gate.add_permits(1);
    assert_eq!(client.next(DATA).expect("more").payload, b"two");
}

#[test]
fn a_response_that_is_taken_bit_by_bit_comes_whole() {
    let limit = Duration::from_secs(2);
    let server = with_times(Duration::ZERO, 0, limit);
    let mut client = Client::to(&server);
    let (begun, mut taken) = (Instant::now(), 0);
    client.ask(1, "/big");
    loop {
        let frame = client.next(DATA).expect("data");
        taken += frame.payload.len();
        if frame.flags & END_STREAM != 0 {
            break;
        }
        if taken < 1 << 20 {
            std::thread::park_timeout(limit / 50); // at first slowly: 64 times
        }
        let bytes = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
        client.send(WINDOW_UPDATE, 0, 0, &bytes);
        client.send(WINDOW_UPDATE, 0, 1, &bytes);
    }
    assert_eq!(taken, crate::testing::BIG);
    assert!(begun.elapsed() > limit, "longer than a stop may be");
}

#[test]
fn trailers_are_held_to_the_rules_of_http1() {
    let server = start();
    let mut client = Client::to(&server);
    // Never indexed, with new names.
    let field = |name: &str, value: &str| {
        let mut field = vec![0x10, u8::try_from(name.len()).unwrap()];
        field.extend(name.bytes());
        field.push(u8::try_from(value.len()).unwrap());
        field.extend(value.bytes());
        field
    };
    let mut stream = 1;
    for (name, status) in [("x-sum", OK), ("x_sum", OK), ("host", BAD_REQUEST), ("authorization", BAD_REQUEST)] {
        post(&mut client, stream, "/echo");
        client.send(DATA, 0, stream, b"four");
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &field(name, "x"));
        assert_eq!(client.answer(stream).0, status, "{name}");
        stream += 2;
    }
    assert_eq!(server.counts().refused.iter().sum::<u64>(), 2);
}
