//! Golden bytes, every split of a conversation, and malformed input.

use super::*;

/// What libzmq 4.3.5 (pyzmq 27) sends as ROUTER after the 64 bytes of its greeting: READY, with an empty identity.
const LIBZMQ_READY: &[u8] = b"\x04\x29\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER\x08Identity\x00\x00\x00\x00";

fn greeting(minor: u8) -> Vec<u8> {
    let mut bytes = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL".to_vec();
    bytes[11] = minor;
    bytes.resize(GREETING, 0);
    bytes
}

/// A ROUTER's side of a conversation: a short message, a ping, a long message.
fn conversation() -> Vec<u8> {
    let mut bytes = greeting(1);
    bytes.extend_from_slice(LIBZMQ_READY);
    bytes.extend(message(b"short"));
    bytes.extend(frame(COMMAND, b"\x04PING\x00\x0actx"));
    bytes.extend(frame(COMMAND, b"\x09SUBSCRIBE"));
    bytes.extend(message(&[7; 300]));
    bytes
}

fn events(chunks: &[&[u8]]) -> Result<Vec<Event>, Violation> {
    let (mut peer, mut events) = (Peer::new(Role::Dealer), Vec::new());
    for chunk in chunks {
        peer.feed(chunk);
        while let Some(event) = peer.poll()? {
            events.push(event);
        }
    }
    Ok(events)
}

fn expected() -> Vec<Event> {
    vec![
        Event::Ready { identity: Vec::new() },
        Event::Message(b"short".to_vec()),
        Event::Reply(b"\x04\x08\x04PONGctx".to_vec()),
        Event::Message(vec![7; 300]),
    ]
}

#[test]
fn a_dealers_first_bytes() {
    let mut golden = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL".to_vec();
    golden.resize(64, 0);
    golden.extend_from_slice(b"\x04\x2c\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x03w_1");
    assert_eq!(hello(Role::Dealer, "w_1").escape_ascii().to_string(), golden.escape_ascii().to_string());
}

#[test]
fn both_forms_of_a_length() {
    assert_eq!(message(b""), b"\x00\x00");
    assert_eq!(message(&[1; 255])[..2], *b"\x00\xff");
    assert_eq!(message(&[1; 256])[..9], *b"\x02\0\0\0\0\0\0\x01\0");
}

#[test]
fn a_conversation_means_the_same_however_it_is_cut() {
    let bytes = conversation();
    assert_eq!(events(&[&bytes]), Ok(expected()));
    let each: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(events(&each), Ok(expected()), "byte by byte");
    for first in 0..=bytes.len() {
        let (a, rest) = bytes.split_at(first);
        assert_eq!(events(&[a, rest]), Ok(expected()), "cut at {first}");
        let (b, c) = rest.split_at(rest.len() / 2);
        assert_eq!(events(&[a, b, c]), Ok(expected()), "cut at {first} and halfway from there");
    }
}

#[test]
fn a_conversation_that_ends_early_is_no_error_and_no_more_than_was_said() {
    let (bytes, all) = (conversation(), expected());
    for end in 0..bytes.len() {
        let so_far = events(&[&bytes[..end]]).expect("a beginning is not a violation");
        assert!(all.starts_with(&so_far) && so_far.len() < all.len(), "cut at {end}");
    }
}

#[test]
fn a_bent_byte_is_a_violation_or_another_message_and_never_a_panic() {
    let bytes = conversation();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x02, 0x04, 0x08, 0x80, 0xff] {
            let mut bent = bytes.clone();
            bent[at] ^= flip;
            if let Ok(events) = events(&[&bent]) {
                assert!(events.len() <= 10, "byte {at} made {} events of it", events.len());
            }
        }
    }
}

#[test]
fn what_is_not_a_masters_socket_is_named() {
    let after = |rest: &[u8]| [&greeting(1), rest].concat();
    let ready = |kind: &str| {
        let mut body = b"\x05READY".to_vec();
        property(&mut body, "Socket-Type", kind);
        after(&frame(COMMAND, &body))
    };
    let mut plain = greeting(0);
    plain[12..17].copy_from_slice(b"PLAIN");
    let mut old = greeting(0);
    old[10] = 1;
    let long = |length: u64| after(&[&[COMMAND | LONG][..], &length.to_be_bytes()].concat());
    let table = [
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), Violation::NotZmtp(b"HTTP/1.1 400 Bad Request\r\n".to_vec()), true),
        (b"\xff\0\0\0\0\0\0\0\0\0".to_vec(), Violation::NotZmtp(b"\xff\0\0\0\0\0\0\0\0\0".to_vec()), true),
        (old, Violation::Version(1), true),
        (plain, Violation::Mechanism("PLAIN".into()), true),
        (ready("PUB"), Violation::SocketType("PUB".into()), true),
        (ready(""), Violation::SocketType(String::new()), true),
        (after(&frame(COMMAND, b"\x05ERROR\x04nope")), Violation::Refused("nope".into()), true),
        (after(&frame(COMMAND, b"\x05HELLO")), Violation::Handshake, false),
        (after(&frame(COMMAND, b"\x05READY\x0bSocket")), Violation::Handshake, false),
        (after(&frame(COMMAND, b"\x05READY\x0bSocket-Type\xff\xff\xff\xffROUTER")), Violation::Handshake, false),
        (after(&frame(COMMAND, b"")), Violation::Handshake, false),
        (after(&message(b"too early")), Violation::Handshake, false),
        (after(b"\x80\x00"), Violation::Flags(0x80), false),
        (after(&[LIBZMQ_READY, b"\x01\x01a"].concat()), Violation::Multipart, false),
        (long(MAX_FRAME + 1), Violation::TooLong(MAX_FRAME + 1), false),
        (long(u64::MAX), Violation::TooLong(u64::MAX), false),
    ];
    for (bytes, violation, wrong_peer) in table {
        assert_eq!(events(&[&bytes]), Err(violation.clone()));
        assert_eq!(violation.is_wrong_peer(), wrong_peer, "{violation}");
    }
}

#[test]
fn a_dealer_and_a_router_understand_each_other() {
    let (mut dealer, mut router) = (Peer::new(Role::Dealer), Peer::new(Role::Router));
    router.feed(&hello(Role::Dealer, "w_1"));
    dealer.feed(&hello(Role::Router, ""));
    assert_eq!(router.poll(), Ok(Some(Event::Ready { identity: b"w_1".to_vec() })));
    assert_eq!(dealer.poll(), Ok(Some(Event::Ready { identity: Vec::new() })));
    dealer.feed(&message(b"hi"));
    assert_eq!((dealer.poll(), dealer.poll()), (Ok(Some(Event::Message(b"hi".to_vec()))), Ok(None)));
}
