//! For tests: a worker in this process, an application that misbehaves on demand, and a client that reads bytes.

mod app;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustcorn_config::Settings;
use rustcorn_scoreboard::{Board, Counts, Threads, Vitals, Writer};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};

pub(crate) use app::{App, BIG};

use crate::accept::{Acceptors, Listener};
use crate::drain::Times;
use crate::http2::Http2Options;
use crate::policy::Policy;
use crate::protocols::Protocols;
use crate::run::{Core, Ended, Local, Plan, Runs, Timer};
use crate::serve_test::Sent;
use crate::shared::{Shared, Waits};
use crate::timers::{beat_and_sweep, tick};
use crate::wishes::Wish;

/// Longer than anything a test waits for may take, on the busiest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a fact.
pub(crate) fn eventually(what: &str, fact: impl Fn() -> bool) {
    let started = Instant::now();
    while !fact() {
        assert!(started.elapsed() < PATIENCE, "never came true: {what}");
        std::thread::yield_now();
    }
}

/// A scoreboard, and a worker's shared state on its slot 0.
pub(crate) fn seat(keepalive: Duration, header_timeout: Duration) -> (Board, Arc<Shared>) {
    seat_with(Waits { keepalive, header: header_timeout, ..Waits::default() })
}

pub(crate) fn seat_with(waits: Waits) -> (Board, Arc<Shared>) {
    seat_for(waits, &Settings::defaults())
}

fn seat_for(waits: Waits, settings: &Settings) -> (Board, Arc<Shared>) {
    let board = Board::create().unwrap();
    let writer = Writer::attach(board.fd().try_clone_to_owned().unwrap(), 0, Threads::One).unwrap();
    (board, Shared::new(writer, Policy::new(settings), waits))
}

/// What a test wants to be different.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) keepalive: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) connection_age: Duration,
    pub(crate) http2: Option<Http2Options>,
    pub(crate) worker_connections: usize,
    pub(crate) max_body_size: u64,
    /// With its least rate.
    pub(crate) body_timeout: (Duration, u64),
    pub(crate) write_timeout: Duration,
    pub(crate) times: Times,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keepalive: PATIENCE * 2,
            header_timeout: PATIENCE * 2,
            connection_age: Duration::ZERO,
            http2: None,
            worker_connections: 100,
            max_body_size: 0,
            body_timeout: (Duration::ZERO, 0),
            write_timeout: Duration::ZERO,
            times: Times { graceful_timeout: PATIENCE * 2, drain_delay: Duration::ZERO, handover: Duration::ZERO },
        }
    }
}

/// A worker on a thread of its own.
pub(crate) struct Server {
    pub(crate) board: Board,
    pub(crate) address: SocketAddr,
    /// One permit lets one waiting request of the application go on.
    pub(crate) gate: Arc<Semaphore>,
    wishes: mpsc::UnboundedSender<Wish>,
    thread: JoinHandle<Ended>,
    /// The master's copy of the listening socket.
    _listener: OwnedFd,
}

impl Server {
    pub(crate) fn start(options: Options) -> Self {
        Self::start_with(options, |_| {})
    }

    /// With `prepare` done before the first connection.
    pub(crate) fn start_with(options: Options, prepare: impl FnOnce(&Arc<Shared>)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let Options { keepalive, header_timeout: header, connection_age, write_timeout: write, .. } = options;
        let (body, body_rate) = options.body_timeout;
        let waits = Waits { keepalive, header, connection_age, body, body_rate, write, ..Waits::default() };
        let mut settings = Settings::defaults();
        settings.max_body_size = options.max_body_size;
        let (board, shared) = seat_for(waits, &settings);
        prepare(&shared);
        let (wishes, receiver) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let (ours, app) = (OwnedFd::from(listener.try_clone().unwrap()), App { gate: Arc::clone(&gate) });
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
            let serve = async move {
                let timer: Timer = Box::pin(beat_and_sweep(Arc::clone(&shared), tick(&waits.all())));
                Local.run(timer);
                shared.tasks.live_here();
                let core = Core {
                    shared,
                    acceptors: Acceptors::new(vec![Listener::new(ours).unwrap()], None),
                    service: Some(app),
                    executor: Local,
                    protocols: Protocols::without_tls(options.http2),
                    wishes: Sent(receiver),
                    plan: Plan { worker_connections: options.worker_connections, queued: 128, times: options.times },
                };
                core.run(|| ()).await.how
            };
            let ended = runtime.block_on(serve);
            runtime.shutdown_background();
            ended
        });
        Self { board, address, gate, wishes, thread, _listener: listener.into() }
    }

    pub(crate) fn wish(&self, wish: Wish) {
        self.wishes.send(wish).unwrap();
    }

    pub(crate) fn ended(&self) -> bool {
        self.thread.is_finished()
    }

    pub(crate) fn wait(self) -> Ended {
        eventually("the worker ends", || self.thread.is_finished());
        self.thread.join().unwrap()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.board.counts(0)
    }

    pub(crate) fn vitals(&self) -> Vitals {
        self.board.vitals(0)
    }

    pub(crate) fn connect(&self) -> Client {
        Client::to(self.address)
    }
}

/// A client that knows just enough HTTP.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).unwrap();
    }

    pub(crate) fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }

    /// Sends a request and reads its answer.
    pub(crate) fn get(&mut self, path: &str) -> String {
        self.ask(path);
        self.answer()
    }

    /// One response with a content-length, or none if the server closes first.
    pub(crate) fn answer(&mut self) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.parse().unwrap());
                if rest.len() >= length {
                    let whole = head.len() + 4 + length;
                    return String::from_utf8(self.buffer.drain(..whole).collect()).unwrap();
                }
            }
            if self.read() == 0 {
                return text;
            }
        }
    }

    /// Everything until the server closes.
    pub(crate) fn rest(&mut self) -> String {
        while self.read() > 0 {}
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    /// Reads one response; how much of the `length` bytes of its body came.
    pub(crate) fn body(&mut self, length: usize) -> usize {
        self.read_until("\r\n\r\n");
        let head = self.buffer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        while self.buffer.len() < head + length && self.read() > 0 {}
        let whole = self.buffer.len().min(head + length);
        self.buffer.drain(..whole).skip(head).count()
    }

    /// Reads until `text` is there.
    pub(crate) fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.buffer).contains(text) {
            assert!(self.read() > 0, "closed before {text:?}: {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Whether the server closes within `time`.
    pub(crate) fn closed_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let result = self.stream.read(&mut [0; 1]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match result {
            Ok(n) => n == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Bytes read; 0 when the server has closed or reset the connection.
    fn read(&mut self) -> usize {
        let mut bytes = [0; 16384];
        let read = match self.stream.read(&mut bytes) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no answer: {error}"),
        };
        self.buffer.extend_from_slice(&bytes[..read]);
        read
    }
}
