//! For tests: a worker in this process, an application that misbehaves on demand, and a client that reads bytes.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use opentelemetry::trace::TraceContextExt;
use rustcorn_scoreboard::{Board, Counts, Threads, Vitals, Writer};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tower_service::Service;

use crate::accept::{Acceptors, Listener};
use crate::count::BoxError;
use crate::drain::Times;
use crate::run::{Core, Ended, Local, Plan, Timer};
use crate::shared::Shared;
use crate::timers::{beat_and_sweep, tick};
use crate::wishes::{Wish, Wishes};

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
    let board = Board::create().unwrap();
    let writer = Writer::attach(board.fd().try_clone_to_owned().unwrap(), 0, Threads::One).unwrap();
    (board, Shared::new(writer, keepalive, header_timeout))
}

/// What a test wants to be different.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) keepalive: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) worker_connections: usize,
    pub(crate) times: Times,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keepalive: PATIENCE * 2,
            header_timeout: PATIENCE * 2,
            worker_connections: 100,
            times: Times { graceful_timeout: PATIENCE * 2, drain_delay: Duration::ZERO, handover: Duration::ZERO },
        }
    }
}

struct Sent(mpsc::UnboundedReceiver<Wish>);

impl Wishes for Sent {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Wish> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(wish)) => Poll::Ready(wish),
            _ => Poll::Pending,
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
        let (board, shared) = seat(options.keepalive, options.header_timeout);
        prepare(&shared);
        let (wishes, receiver) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let (ours, app) = (OwnedFd::from(listener.try_clone().unwrap()), App { gate: Arc::clone(&gate) });
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
            let serve = async move {
                let tick = tick(&[options.keepalive, options.header_timeout]);
                let timer: Timer = Box::pin(beat_and_sweep(Arc::clone(&shared), tick));
                Local.execute(timer);
                let core = Core {
                    shared,
                    acceptors: Acceptors::new(vec![Listener::new(ours).unwrap()], None),
                    service: app,
                    executor: Local,
                    wishes: Sent(receiver),
                    plan: Plan { worker_connections: options.worker_connections, queued: 128, times: options.times },
                };
                core.run(|| ()).await
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

/// More than the kernel holds for a client that does not read.
pub(crate) const BIG: usize = 16 << 20;

/// The application. `Clone` and `poll_ready` as a tower service has them.
#[derive(Clone)]
pub(crate) struct App {
    gate: Arc<Semaphore>,
}

impl Default for App {
    fn default() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)) }
    }
}

impl Service<Request<Incoming>> for App {
    type Response = Response<Chunks>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Chunks>, BoxError>>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let chunks = match request.uri().path() {
                "/panic" => panic!("as asked"),
                "/error" => return Err("as asked".into()),
                "/wait" => {
                    gate.acquire().await?.forget();
                    vec![Chunk::Data("waited")]
                }
                "/context" => {
                    crate::telemetry::Route::new("/context").set();
                    vec![Chunk::Data(current_trace()), Chunk::Context]
                }
                "/stream" => vec![Chunk::Data("one"), Chunk::Data("two"), Chunk::Data("three")],
                "/stream-wait" => vec![Chunk::Data("one"), Chunk::Wait(gate), Chunk::Data("two")],
                "/stream-panic" => vec![Chunk::Data("one"), Chunk::Panic],
                "/big" => vec![Chunk::Data("x".repeat(BIG).leak())],
                "/upgrade" => return Ok(upgrade(request)),
                "/missing" => {
                    let mut response = Response::new(Chunks::from(vec![]));
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    return Ok(response);
                }
                _ => vec![Chunk::Data("Hello")],
            };
            Ok(Response::new(Chunks::from(chunks)))
        })
    }
}

/// Answers 101 and keeps the connection until the client leaves.
fn upgrade(mut request: Request<Incoming>) -> Response<Chunks> {
    let upgrade = hyper::upgrade::on(&mut request);
    drop(tokio::task::spawn_local(async move {
        let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
        let mut byte = [0];
        loop {
            let mut buf = tokio::io::ReadBuf::new(&mut byte);
            let read =
                std::future::poll_fn(|cx| tokio::io::AsyncRead::poll_read(Pin::new(&mut io), cx, &mut buf)).await;
            if read.is_err() || buf.filled().is_empty() {
                return;
            }
        }
    }));
    let mut response = Response::new(Chunks::from(vec![]));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(http::header::UPGRADE, http::HeaderValue::from_static("test"));
    response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("upgrade"));
    response
}

/// A piece of a response body.
pub(crate) enum Chunk {
    Data(&'static str),
    Wait(Arc<Semaphore>),
    Panic,
    /// The trace that is current when this piece is asked for.
    Context,
}

/// The trace that code of the application is in.
fn current_trace() -> &'static str {
    let trace = opentelemetry::Context::map_current(|context| context.span().span_context().trace_id());
    trace.to_string().leak()
}

/// A response body in pieces. One piece has its length told beforehand.
pub(crate) struct Chunks {
    left: VecDeque<Chunk>,
    waiting: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl From<Vec<Chunk>> for Chunks {
    fn from(left: Vec<Chunk>) -> Self {
        Self { left: left.into(), waiting: None }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            match self.left.pop_front() {
                None => return Poll::Ready(None),
                Some(Chunk::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data.into())))),
                Some(Chunk::Panic) => panic!("as asked"),
                Some(Chunk::Context) => return Poll::Ready(Some(Ok(Frame::data(current_trace().into())))),
                Some(Chunk::Wait(gate)) => {
                    self.waiting = Some(Box::pin(async move { gate.acquire().await.unwrap().forget() }));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.left.front(), self.left.len()) {
            (None, _) => SizeHint::with_exact(0),
            (Some(Chunk::Data(data)), 1) => SizeHint::with_exact(data.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
