//! The corpus of HTTP/2: `e2e/data/http2.txt`, each case on a connection of its own.

use super::*;
use crate::guard::corpus::unescaped;

const CORPUS: &str = include_str!("../../../../e2e/data/http2.txt");

const ERRORS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// A length with a prefix of seven bits (RFC 7541, 5.1).
fn integer(value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![u8::try_from(value).unwrap()];
    }
    let (mut bytes, mut rest) = (vec![127], value - 127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// A field without indexing, with a name of its own.
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &integer(name.len()), name, &integer(value.len()), value].concat()
}

fn fields(text: &str) -> Vec<u8> {
    let request = |method, path| fields(&format!(":method={method};:scheme=http;:path={path};:authority=a"));
    let one = |token: &str| match token {
        "" => Vec::new(),
        "get" => request("GET", "/"),
        "echo" => request("POST", "/echo"),
        "hold" => request("POST", "/read-later"),
        _ if token.starts_with('!') => unescaped(&token[1..]),
        _ if token.split_once('*').is_some_and(|(times, _)| times.parse::<usize>().is_ok()) => {
            let (times, token) = token.split_once('*').unwrap();
            fields(token).repeat(times.parse().unwrap())
        }
        _ => {
            let at = token.find('=').unwrap_or_else(|| panic!("no = in {token}"));
            field(&unescaped(&token[..at]), &unescaped(&token[at + 1..]))
        }
    };
    text.split(';').flat_map(one).collect()
}

/// `KIND FLAGS STREAM PAYLOAD`; in a repetition `+` is the stream of this round.
fn bytes_of(text: &str, round: u32) -> Vec<u8> {
    let mut words = text.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (kind, flags, stream, payload) = (word(), word(), word(), word());
    let kinds = ["DATA", "HEADERS", "PRIORITY", "RST", "SETTINGS", "PUSH", "PING", "GOAWAY", "WINDOW", "CONT"];
    let known = kinds.iter().position(|name| *name == kind).and_then(|at| u8::try_from(at).ok());
    let number = known.or_else(|| kind.parse().ok()).unwrap_or_else(|| panic!("unknown frame: {text}"));
    let flags = flags.bytes().fold(0, |flags, letter| {
        flags
            | match letter {
                b's' | b'a' => 1,
                b'h' => 4,
                b'p' => 8,
                b'r' => 32,
                b'-' => 0,
                _ => panic!("unknown flag: {text}"),
            }
    });
    let stream = if stream == "+" { 2 * round + 1 } else { stream.parse().unwrap_or_else(|_| panic!("{text}")) };
    let payload = if matches!(kind, "HEADERS" | "CONT") { fields(payload) } else { unescaped(payload) };
    frame(number, flags, stream, &payload)
}

fn all_bytes(text: &str) -> Vec<u8> {
    let item = |item: &str| {
        let (times, frames) = match item.split_once("* ") {
            Some((times, frames)) if times.parse::<u32>().is_ok() => (times.parse().unwrap(), frames),
            _ => (1, item),
        };
        (0..times).flat_map(|round| frames.split(" & ").flat_map(move |one| bytes_of(one, round))).collect::<Vec<u8>>()
    };
    text.split(" | ").flat_map(item).collect()
}

/// A status as h2 writes it: an entry of the static table, or three digits in Huffman's code.
fn status(head: &[u8]) -> u16 {
    match head {
        [entry @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(entry - 0x88)],
        [0x48, length, rest @ ..] => {
            let bits: Vec<u8> = rest[..usize::from(length & 0x7f)]
                .iter()
                .flat_map(|byte| (0..8).map(move |at| byte >> (7 - at) & 1))
                .collect();
            let (mut at, mut value) = (0, 0);
            for _ in 0..3 {
                let take =
                    |length: usize| bits[at..at + length].iter().fold(0_u16, |all, bit| all << 1 | u16::from(*bit));
                let (digit, length) = if take(5) < 3 { (take(5), 5) } else { (take(6) - 0b01_1001 + 3, 6) };
                value = value * 10 + digit;
                at += length;
            }
            value
        }
        _ => panic!("unknown status: {head:?}"),
    }
}

/// What becomes of the frames first: an answer, a stream that is reset, or the end of the connection.
fn outcome(client: &mut Client) -> String {
    let error = |bytes: &[u8]| ERRORS[usize::from(bytes[3])];
    loop {
        let frame = match client.try_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return "closed".to_owned(),
            Err(error) => return format!("nothing: {error}"),
        };
        match frame.kind {
            HEADERS => return status(&frame.payload).to_string(),
            RST_STREAM => return format!("stream {}", error(&frame.payload)),
            GOAWAY => return format!("connection {}", error(&frame.payload[4..])),
            _ => {}
        }
    }
}

#[test]
fn every_case_has_the_outcome_that_the_corpus_says() {
    let lines = CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut wrong, mut count) = (Vec::new(), 0);
    let server = start();
    for line in lines {
        let columns: Vec<&str> = line.split('\t').collect();
        let [expected, rule, name, frames] = columns[..] else { panic!("not four columns: {line}") };
        count += 1;
        let mut client = Client::to(&server);
        client.write(&all_bytes(frames));
        let found = outcome(&mut client);
        if !expected.split(" or ").any(|expected| found == expected) {
            wrong.push(format!("{rule}, {name}: {found} instead of {expected}"));
        } else if found.starts_with("connection") {
            assert!(
                client.rest().iter().all(|frame| frame.kind != HEADERS),
                "{name}: nothing is answered after its end"
            );
        } else {
            client.kept.clear();
            client.ask(0x7001, "/");
            let head = loop {
                let frame = client.frame().unwrap_or_else(|| panic!("{name}: the connection has ended"));
                if frame.stream == 0x7001 {
                    break frame;
                }
            };
            assert!(head.kind == HEADERS && status(&head.payload) == 200, "{name}: others go on: {head:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 130, "{count}");
}
