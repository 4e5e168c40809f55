//! A server that counts the requests that reach it: 200, or 404 below /missing. A connection at a time is a thread.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::master::LONG;

pub(crate) struct Target {
    pub(crate) url: String,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    missing: AtomicU64,
    open: AtomicU64,
}

impl Target {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let counts = Arc::clone(&shared);
                std::thread::spawn(move || {
                    counts.open.fetch_add(1, SeqCst);
                    serve(&stream.unwrap(), &counts);
                    counts.open.fetch_sub(1, SeqCst);
                });
            }
        });
        Self { url, counts }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.counts.requests.load(SeqCst)
    }

    pub(crate) fn missing(&self) -> u64 {
        self.counts.missing.load(SeqCst)
    }

    /// Waits until nobody is connected any more.
    pub(crate) fn wait_until_left(&self) {
        let deadline = Instant::now() + LONG;
        while self.counts.open.load(SeqCst) > 0 {
            assert!(Instant::now() < deadline, "somebody still sends");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Until the client goes away, in whichever way.
fn serve(stream: &TcpStream, counts: &Counts) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => head.push_str(&line),
            }
        }
        counts.requests.fetch_add(1, SeqCst);
        let missing = head.starts_with("GET /missing");
        if missing {
            counts.missing.fetch_add(1, SeqCst);
        }
        let status = if missing { "404 Not Found" } else { "200 OK" };
        let mut stream = stream;
        if write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}
