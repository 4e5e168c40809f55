//! Mixed load: clients of every kind that a server may have, none of which forgives anything.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use rustls::ClientConfig;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

use super::PATIENCE;
use super::client::{Conn, Failure, Stream};
use super::http2::{Http2, Outcome, run};
use super::tls::Session;
use super::wait::look_again_soon;

/// Where to, and how.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Tls>,
}

/// Clients over TLS, by what they offer to speak.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) http2: Arc<ClientConfig>,
}

impl Target {
    fn stream(&self) -> Result<Box<dyn Stream>, Failure> {
        match &self.tls {
            Some(tls) => Session::open(self.address, &tls.http1).map(Session::into_stream),
            None => {
                let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
        }
    }

    fn connect(&self) -> Result<Conn, Failure> {
        self.stream().map(Conn::over)
    }
}

/// What the clients of one kind do.
type Work = fn(&Client) -> Result<(), String>;

/// Every kind of client.
const KINDS: [(&str, Work); 6] = [
    ("keep-alive", keep_alive),
    ("pipelining", pipelining),
    ("close", close),
    ("chunked upload", chunked_upload),
    ("http2", http2),
    ("websocket", websocket),
];

struct Client {
    target: Target,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Client {
    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    /// One more exchange went well.
    fn done(&self) {
        self.done.fetch_add(1, Relaxed);
    }
}

/// Clients at work.
pub(crate) struct Mix {
    stop: Arc<AtomicBool>,
    clients: Vec<AtWork>,
}

/// Its kind, its exchanges so far, and its thread.
type AtWork = (&'static str, Arc<AtomicU64>, JoinHandle<Result<(), String>>);

impl Mix {
    /// Starts so many clients of each kind.
    pub(crate) fn start(target: &Target, each: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |(kind, work): (&'static str, Work)| {
            let client = Client { target: target.clone(), stop: Arc::clone(&stop), done: Arc::default() };
            let done = Arc::clone(&client.done);
            (kind, done, std::thread::spawn(move || work(&client)))
        };
        let clients = KINDS.iter().flat_map(|kind| std::iter::repeat_n(*kind, each)).map(start).collect();
        Self { stop, clients }
    }

    /// Whether every client has done something since it was asked last, or has failed.
    pub(crate) fn moves_from(&self, seen: &[u64]) -> bool {
        self.clients
            .iter()
            .zip(seen)
            .all(|((_, done, thread), seen)| done.load(Relaxed) > *seen || thread.is_finished())
    }

    pub(crate) fn done(&self) -> Vec<u64> {
        self.clients.iter().map(|(_, done, _)| done.load(Relaxed)).collect()
    }

    /// Lets everyone finish what is under way; exchanges by kind, and what failed.
    pub(crate) fn stop(self) -> (BTreeMap<&'static str, u64>, Vec<String>) {
        self.stop.store(true, Relaxed);
        let (mut done, mut failures) = (BTreeMap::<_, u64>::new(), Vec::new());
        for (kind, count, thread) in self.clients {
            if let Err(failure) = thread.join().expect("a client does not panic") {
                failures.push(format!("{kind}: {failure}"));
            }
            *done.entry(kind).or_default() += count.load(Relaxed);
        }
        (done, failures)
    }
}

fn keep_alive(client: &Client) -> Result<(), String> {
    let mut conn = None;
    while client.goes_on() {
        let mut open = match conn.take() {
            Some(open) => open,
            None => client.target.connect().map_err(|failure| format!("connecting: {failure}"))?,
        };
        let response = open.get("/pid").map_err(|failure| failure.to_string())?;
        expect(response.status == 200, || response.body.clone())?;
        client.done();
        if !response.closes() {
            conn = Some(open);
        }
    }
    Ok(())
}

/// Three requests at once. The server may answer fewer if it says that it closes: then the others were not looked at.
fn pipelining(client: &Client) -> Result<(), String> {
    while client.goes_on() {
        let mut conn = client.target.connect().map_err(|failure| format!("connecting: {failure}"))?;
        let mut closes = false;
        while client.goes_on() && !closes {
            conn.send_raw(&"GET /pid HTTP/1.1\r\nHost: e2e\r\n\r\n".repeat(3))
                .map_err(|failure| failure.to_string())?;
            for _ in 0..3 {
                let response = conn.receive(false).map_err(|failure| failure.to_string())?;
                expect(response.status == 200, || response.body.clone())?;
                client.done();
                closes = response.closes();
                if closes {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn close(client: &Client) -> Result<(), String> {
    while client.goes_on() {
        let mut conn = client.target.connect().map_err(|failure| format!("connecting: {failure}"))?;
        let response =
            conn.request("GET", "/pid", "Connection: close\r\n", "").map_err(|failure| failure.to_string())?;
        expect(response.status == 200, || response.body.clone())?;
        conn.wait_for_close().map_err(|failure| format!("the end: {failure}"))?;
        client.done();
    }
    Ok(())
}

/// A body in pieces with time between them, so that a drain begins in its middle.
fn chunked_upload(client: &Client) -> Result<(), String> {
    const PIECES: usize = 8;
    let mut conn = None;
    while client.goes_on() {
        let mut open = match conn.take() {
            Some(open) => open,
            None => client.target.connect().map_err(|failure| format!("connecting: {failure}"))?,
        };
        let mut send = |text: &str| open.send_raw(text).map_err(|failure| format!("sending: {failure}"));
        send("POST /echo HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..PIECES {
            look_again_soon();
            send("5\r\npiece\r\n")?;
        }
        send("0\r\n\r\n")?;
        let response = open.receive(false).map_err(|failure| failure.to_string())?;
        expect(response.body == "piece".repeat(PIECES), || response.body.clone())?;
        client.done();
        if !response.closes() {
            conn = Some(open);
        }
    }
    Ok(())
}

/// Four users of one connection, as long as it lasts.
fn http2(client: &Client) -> Result<(), String> {
    run(async {
        while client.goes_on() {
            let tls = client.target.tls.as_ref().map(|tls| &tls.http2);
            let conn = Http2::open(client.target.address, tls).await?;
            let user = |number: usize| {
                let mut sender = conn.sender();
                async move {
                    let body = "body".repeat(number * 1000);
                    while client.goes_on() {
                        match sender.send("POST", "/echo", &body).await {
                            Outcome::Answered(200, echo) if echo == body => client.done(),
                            Outcome::NotSent => return Ok(()),
                            other => return Err(format!("{other:?}").chars().take(300).collect()),
                        }
                    }
                    Ok(())
                }
            };
            let (a, b, c, d) = futures_util::future::join4(user(0), user(1), user(2), user(30)).await;
            [a, b, c, d].into_iter().collect::<Result<(), String>>()?;
        }
        Ok(())
    })
}

/// Says something and hears it again, until the server says goodbye. What crosses the goodbye is said again, to somebody else.
fn websocket(client: &Client) -> Result<(), String> {
    while client.goes_on() {
        let stream = client.target.stream().map_err(|failure| format!("connecting: {failure}"))?;
        let (mut socket, _) = client_handshake(stream)?;
        loop {
            if !client.goes_on() {
                let _ = socket.close(None); // nobody waits for the answer
                return Ok(());
            }
            look_again_soon();
            let text = format!("message {}", client.done.load(Relaxed));
            match socket.send(Message::text(&text)) {
                Ok(()) => {}
                Err(error) => return Err(format!("sending: {error}")),
            }
            match socket.read() {
                Ok(Message::Text(echo)) if echo.as_str() == text => client.done(),
                Ok(Message::Close(Some(frame))) if frame.reason.as_str() == "draining" => break,
                other => return Err(format!("{other:?}")),
            }
        }
        // Our side of the goodbye goes out; then the server ends the connection.
        match socket.read() {
            Err(Error::ConnectionClosed) => {}
            other => return Err(format!("after the goodbye: {other:?}")),
        }
    }
    Ok(())
}

type Socket = WebSocket<Box<dyn Stream>>;

fn client_handshake(stream: Box<dyn Stream>) -> Result<(Socket, u16), String> {
    let (socket, response) =
        client("ws://localhost/websocket", stream).map_err(|error| format!("handshake: {error}"))?;
    Ok((socket, response.status().as_u16()))
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("not what was asked for: {}", what())) }
}
