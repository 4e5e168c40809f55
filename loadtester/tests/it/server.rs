//! A server that does what the path says, counts, and knows how long everything took.
//!
//! `/` answers at once · `/wait/MS` after so long · `/status/N` · `/close` without a length · `/chunked` · `/half` of an answer ·
//! `/reset` · `/garbage` · `/never` · `/hangup` without an answer · `/login` gives a cookie and a token · `/private` wants both ·
//! `/echo` answers with the request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What it knows.
#[derive(Default)]
pub(crate) struct Books {
    /// Requests read to their end.
    pub(crate) requests: AtomicU64,
    pub(crate) connections: AtomicUsize,
    /// Connections that are open.
    open: Mutex<usize>,
    closed: Condvar,
    /// How long each request of `/wait` took, from its last byte to the answer's.
    pub(crate) waits: Mutex<Vec<Duration>>,
    /// Until when no answer is given.
    stall: Mutex<Option<(Instant, Instant)>>,
    /// Heads as they were read.
    pub(crate) heads: Mutex<Vec<String>>,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) books: Arc<Books>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let books = Arc::new(Books::default());
        let shared = Arc::clone(&books);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let books = Arc::clone(&shared);
                books.connections.fetch_add(1, SeqCst);
                *books.open.lock().unwrap() += 1;
                thread::spawn(move || {
                    let _ = serve(stream, &books); // the client may go whenever it wants
                    *books.open.lock().unwrap() -= 1;
                    books.closed.notify_all();
                });
            }
        });
        Self { port, books }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Requests, once all connections are closed, so that the figure is final.
    pub(crate) fn requests(&self) -> u64 {
        let open = self.books.open.lock().unwrap();
        let (open, timeout) =
            self.books.closed.wait_timeout_while(open, Duration::from_secs(20), |open| *open > 0).unwrap();
        assert!(!timeout.timed_out(), "{open} connections are still open");
        self.books.requests.load(SeqCst)
    }

    /// Lets all requests that come in this time wait for its end.
    pub(crate) fn stall(&self, after: Duration, length: Duration) {
        let begin = Instant::now() + after;
        *self.books.stall.lock().unwrap() = Some((begin, begin + length));
    }
}

#[expect(clippy::disallowed_methods, reason = "the delay is what is measured")]
fn pause(time: Duration) {
    thread::sleep(time);
}

fn serve(mut stream: TcpStream, books: &Books) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line)? > 0 && line != "\r\n" {
            head.push_str(&line);
            line.clear();
        }
        if head.is_empty() {
            return Ok(());
        }
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let length: usize = field("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let read = Instant::now();
        books.requests.fetch_add(1, SeqCst);
        books.heads.lock().unwrap().push(head.clone());
        let stall = *books.stall.lock().unwrap();
        if let Some((begin, end)) = stall
            && (begin..end).contains(&read)
        {
            pause(end - read);
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (first, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let mut answer = |status: u16, fields: &str, body: &str| {
            let length = body.len();
            write!(stream, "HTTP/1.1 {status} X\r\n{fields}content-length: {length}\r\n\r\n{body}")
        };
        match first {
            "wait" => {
                pause(Duration::from_millis(rest.parse().unwrap()));
                answer(200, "", "waited")?;
                books.waits.lock().unwrap().push(read.elapsed());
            }
            "status" => answer(rest.parse().unwrap(), "", "")?,
            "chunked" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")?;
            }
            "close" => return stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello"),
            "half" => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"),
            "garbage" => return stream.write_all(b"220 mail.example.org ESMTP\r\n\r\n"),
            // Closing with something unread makes the kernel reset the connection.
            "reset" => {
                while reader.get_ref().peek(&mut [0])? == 0 {}
                return Ok(());
            }
            "hangup" => return Ok(()),
            "never" => drop(reader.read(&mut [0])?),
            "login" => answer(200, "set-cookie: id=7; Path=/\r\nx-key: k1\r\n", r#"{"user":{"token":"t1"}}"#)?,
            "private" => {
                let allowed = field("cookie").as_deref() == Some("id=7")
                    && field("authorization").as_deref() == Some("t1")
                    && rest == "k1";
                answer(if allowed { 200 } else { 401 }, "", "")?;
            }
            "echo" => answer(200, "", &format!("{head}\r\n{}", String::from_utf8_lossy(&body)))?,
            _ => answer(200, "", "hello")?,
        }
        if field("connection").as_deref() == Some("close") {
            return Ok(());
        }
    }
}
