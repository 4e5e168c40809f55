//! Answers as servers really write them, and servers that do not.

use std::net::TcpListener;

use super::*;

const SHORT: Duration = Duration::from_millis(200);

/// What a server that says `pieces` is understood to have said.
fn said(pieces: &'static [&'static str]) -> (io::Result<Answer>, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|read| read == 1) && byte != [b'!'] {}
        pieces.iter().for_each(|piece| stream.write_all(piece.as_bytes()).unwrap());
        if pieces.last() == Some(&"") {
            drop(stream.read(&mut byte)); // stays until the client leaves
        }
    });
    let mut connection = Connection::open("127.0.0.1", port, None, Instant::now() + SHORT * 50).unwrap();
    let answer = connection.exchange(b"x", b"!", Instant::now() + SHORT * if pieces.len() == 1 { 1 } else { 50 });
    drop(server); // ends by itself
    (answer, connection)
}

#[test]
fn bodies_of_every_length() {
    let cases: [(&'static [&'static str], u16, &str, bool); 7] = [
        (&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ""], 200, "hi", true),
        (&["HTTP/1.1 20", "0 OK\r\ncontent-le", "ngth: 2\r\n\r\nh", "i", ""], 200, "hi", true),
        (&["HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 204 x\r\n\r\n", ""], 204, "", true),
        (
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n", ""],
            200,
            "hi",
            true,
        ),
        (&["HTTP/1.1 503 x\r\nconnection: close\r\ncontent-length: 1\r\n\r\n-", ""], 503, "-", false),
        (&["HTTP/1.0 200 OK\r\n\r\nto the end", "…"], 200, "to the end…", false),
        (&["HTTP/1.0 200 OK\r\nConnection: keep-alive\r\ncontent-length: 0\r\n\r\n", ""], 200, "", true),
    ];
    for (pieces, status, body, keeps) in cases {
        let (answer, connection) = said(pieces);
        let answer = answer.unwrap();
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (status, body), "{pieces:?}");
        assert_eq!(answer.keeps, keeps, "{pieces:?}");
        assert!(!keeps || connection.is_quiet(), "{pieces:?}");
    }
}

#[test]
fn what_is_no_answer() {
    let kind = |pieces| said(pieces).0.unwrap_err().kind();
    assert_eq!(kind(&["SSH-2.0\r\n\r\n", ""]), ErrorKind::InvalidData);
    assert_eq!(kind(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ""]), ErrorKind::InvalidData);
    assert_eq!(kind(&["HTTP/1.1 200 OK\r\ncontent", "-le"]), ErrorKind::UnexpectedEof);
    assert_eq!(kind(&[""]), ErrorKind::TimedOut);
}
