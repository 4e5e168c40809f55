//! Answers, whole and in two pieces at every place.

use super::*;

/// Status, length of the body, whether the connection is reusable; or what is wrong.
fn decode(pieces: &[&[u8]], to_head: bool, end: bool) -> std::result::Result<Option<(u16, u64, bool)>, ErrorKind> {
    let mut decoder = Decoder::default();
    decoder.begin(to_head, true);
    for piece in pieces {
        decoder.feed(piece, &mut |_, _| {}).map_err(|failure| failure.kind)?;
    }
    if end {
        decoder.end().map_err(|failure| failure.kind)?;
    }
    let Answer { status, length, complete, reusable, .. } = decoder.answer;
    Ok(complete.then_some((status, length, reusable)))
}

/// The same result wherever the bytes are cut, and nothing before the last byte.
fn check(text: &str, to_head: bool, end: bool, expected: (u16, u64, bool)) {
    let bytes = text.as_bytes();
    for cut in 0..=bytes.len() {
        let pieces = [&bytes[..cut], &bytes[cut..]];
        assert_eq!(decode(&pieces, to_head, end), Ok(Some(expected)), "{text:?} cut at {cut}");
        if cut < bytes.len() && !end {
            assert_eq!(decode(&pieces[..1], to_head, false), Ok(None), "{text:?} cut at {cut}");
        }
    }
}

#[test]
fn bodies_end_where_they_say() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, false, (200, 5, true));
    check("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, false, (200, 0, true));
    check("HTTP/1.1 204 No Content\r\n\r\n", false, false, (204, 0, true));
    check("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", false, false, (304, 0, true));
    check("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", true, false, (200, 0, true));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n";
    check(&format!("{chunked}5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"), false, false, (200, 15, true));
    check(&format!("{chunked}0\r\nx-sum: 1\r\n\r\n"), false, false, (200, 0, true));
    check("HTTP/1.1 200 OK\r\n\r\nhello", false, true, (200, 5, false));
}

#[test]
fn interim_answers_are_passed_over() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";
    check(text, false, false, (201, 2, true));
}

#[test]
fn connections_stay_open_as_agreed() {
    check("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n\r\n", false, false, (200, 0, false));
    check("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false, false, (200, 0, false));
    check("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", false, false, (200, 0, true));
    let more = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert_eq!(decode(&[more], false, false), Ok(Some((200, 0, false))), "an answer to nothing");
}

#[test]
fn nonsense_is_not_http() {
    for text in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1111111111111111\r\n",
    ] {
        assert_eq!(decode(&[text.as_bytes()], false, false), Err(ErrorKind::Protocol), "{text:?}");
    }
    let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'x'; 40_000], &[b'x'; 40_000]];
    assert_eq!(decode(&endless, false, false), Err(ErrorKind::Protocol));
}

#[test]
fn an_early_end_is_incomplete() {
    for text in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
    ] {
        assert_eq!(decode(&[text.as_bytes()], false, true), Err(ErrorKind::Incomplete), "{text:?}");
    }
}

#[test]
fn a_kept_body_is_all_of_it() {
    let mut decoder = Decoder::default();
    decoder.begin(false, true);
    let text = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{\"\r\n3\r\na\":\r\n2\r\n1}\r\n0\r\n\r\n";
    decoder.feed(text, &mut |_, _| {}).unwrap();
    assert_eq!(decoder.answer.body, b"{\"a\":1}");
}
