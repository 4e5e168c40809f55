//! An application under test: served in the test's own process, on a port of its own, by the code that serves it in a worker.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::mpsc::channel;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustcorn_config::Settings;
use rustcorn_scoreboard::{Board, Counts, Threads, Writer};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tower_service::Service;

use self::thread::Thread;

use crate::Body as RequestBody;
use crate::accept::{Acceptors, Listener};
use crate::address::Address;
use crate::arm::Arms;
use crate::boot::build;
use crate::context::Context;
use crate::count::BoxError;
use crate::error::Error;
use crate::events::Stream;
use crate::policy::Policy;
use crate::run::{Core, Ended, Local};
use crate::shared::{Shared, Waits};
use crate::wishes::{Wish, Wishes};

/// How a text that is no file is called in messages.
const NAME: &str = "app.toml";

/// What its thread gets to end, once nothing is waited for any more: more than a busy machine needs.
const SLACK: Duration = Duration::from_secs(5);
/// The same in a test that is failing anyway.
const LEAST: Duration = Duration::from_secs(1);

/// Serves what `make` builds, in this process, for a test: on a thread and a free port of its own, with what a worker does to
/// requests (limits, refusals, time limits, counts) and to an application (`ctx`, drain, background tasks, panics).
///
/// `configuration` is the text of a configuration file; a test may have the program's own by `include_str!`. Settings of requests
/// and connections hold. Those of the master and of its surroundings do not: `bind` (it is a free port of 127.0.0.1),
/// `workers`, `threads`, TLS, logs, metrics, traces; and neither the environment nor a command line is read.
///
/// To be called inside a tokio runtime, as `#[tokio::test]` makes one. `make` runs on the server's thread; what it makes need not
/// be `Send`.
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// use axum::{Router, routing::get};
/// use rustcorn::{BoxError, Context};
///
/// #[derive(serde::Deserialize)]
/// struct Config { greeting: String }
///
/// // What `main` gives to `rustcorn::run`.
/// async fn service(ctx: Context) -> Result<Router, BoxError> {
///     let config: Config = ctx.config()?;
///     Ok(Router::new().route("/", get(|| async { config.greeting })))
/// }
///
/// // #[tokio::test]
/// async fn it_greets() -> Result<(), BoxError> {
///     let server = rustcorn::serve_test("[app]\ngreeting = 'Hello'", service).await?;
///     assert_eq!(server.get("/").await?.body(), "Hello");
///     let end = server.stop().await;
///     assert!(end.is_clean());
///     assert_eq!(end.counts().requests(), 1);
///     Ok(())
/// }
/// # fn main() -> Result<(), BoxError> { tokio::runtime::Runtime::new()?.block_on(it_greets()) }
/// ```
///
/// # Errors
/// [`Error::Config`] if the text is no good configuration, or `make` finds it wrong; [`Error::Application`] and
/// [`Error::Panicked`] if `make` fails otherwise; [`Error::System`] if there is no port or thread to be had.
pub async fn serve_test<F, Fut, S, B>(configuration: &str, make: F) -> Result<TestServer, Error>
where
    F: FnOnce(Context) -> Fut + Send + 'static,
    Fut: Future<Output = Result<S, BoxError>>,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + 'static,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let settings = Settings::from_text(NAME, configuration)?;
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::system("bind a port"))?;
    let address = listener.local_addr().map_err(Error::system("bind a port"))?;
    let board = Board::create().map_err(Error::system("make the memory for counters"))?;
    let memory = board.fd().try_clone_to_owned().map_err(Error::system("copy a descriptor"))?;
    let (wishes, wished) = mpsc::unbounded_channel();
    let (tell, told) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let (alive, gone) = channel();
    let grace = settings.graceful_timeout;
    let serve = move || {
        let _alive = alive; // dropped with all else that is here
        let run = || -> Result<_, Error> {
            let runtime = Builder::new_current_thread().enable_all().build_local(Default::default());
            let runtime = runtime.map_err(Error::system("start a runtime"))?;
            let writer =
                Writer::attach(memory, 0, Threads::One).map_err(Error::system("open the memory for counters"))?;
            let shared = Shared::new(writer, Policy::new(&settings), Waits::of(&settings));
            let (draining, receiver) = watch::channel(false);
            let addresses = vec![Address::Tcp(address)];
            let context = Context::new(0, 1, &settings, addresses, receiver, &shared);
            let core = runtime.block_on(async {
                shared.tasks.live_here();
                let service = build(make, context, &Stream::silent()).await?;
                let listener = Listener::new(listener.into()).map_err(Error::system("accept connections"))?;
                let arms = Arms {
                    settings: &settings,
                    shared: &shared,
                    acceptors: Acceptors::new(vec![listener], None),
                    tls: None,
                    wishes: Sent(wished),
                    handover: Duration::ZERO,
                };
                Ok::<_, Error>(Core::armed(arms, service, Local).expect("without TLS there is no bad certificate"))
            })?;
            Ok((runtime, core, draining))
        };
        match run() {
            Ok((runtime, core, draining)) => {
                let _ = tell.send(Ok(())); // whoever does not wait for it any more, has dropped its end of the wishes, too
                let leaves = || {
                    draining.send_replace(true);
                };
                let end = runtime.block_on(core.run(leaves));
                runtime.shutdown_background();
                let _ = ended.send(end.how); // nobody may want to know
            }
            Err(error) => drop(tell.send(Err(error))), // as above
        }
    };
    let thread = std::thread::Builder::new().name(format!("serve_test {address}")).spawn(serve);
    let handle = thread.map_err(Error::system("start a thread"))?;
    // Whoever does not wait for it leaves behind a thread that ends when the application is built.
    told.await.unwrap_or_else(|_| Err(Error::Panicked { message: "took its thread along".to_owned() }))?;
    let thread = Some(Thread::new(address, handle, gone));
    Ok(TestServer { address, board, wishes, end, thread, grace })
}

/// Orders to the server of a test. That nobody can give any more is one, too.
pub(crate) struct Sent(pub(crate) mpsc::UnboundedReceiver<Wish>);

impl Wishes for Sent {
    fn poll_next(&mut self, cx: &mut TaskContext<'_>) -> Poll<Wish> {
        match self.0.poll_recv(cx) {
            Poll::Ready(wish) => Poll::Ready(wish.unwrap_or(Wish::Quit)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// An application that is served for a test, by [`serve_test`].
///
/// [`Self::stop`] drains it. Dropped, it is drained, too, which blocks for as long as its requests and background tasks take; but
/// if the test is failing, it is ended. One that blocks its thread is left behind when its time is over, so that the test still ends;
/// a line on standard error says so.
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// # fn main() -> Result<(), rustcorn::BoxError> { tokio::runtime::Runtime::new()?.block_on(async {
/// use axum::{Router, routing::post};
///
/// let make = |ctx: rustcorn::Context| async move {
///     let echo = async move |text: String| if ctx.is_draining() { "no more".to_owned() } else { text };
///     Ok(Router::new().route("/echo", post(echo)))
/// };
/// let server = rustcorn::serve_test("max_body_size = 100", make).await?;
/// let ask = |text: String| server.send(http::Request::post("/echo").body(text).expect("a request"));
/// assert_eq!(ask("Hi".to_owned()).await?.body(), "Hi");
/// assert_eq!(ask("x".repeat(101)).await?.status(), 413);
/// assert_eq!(server.counts().refused(), 1);
/// # let _ = server.url("/echo"); // for a client of your own
/// # Ok(()) }) }
/// ```
pub struct TestServer {
    address: SocketAddr,
    board: Board,
    wishes: mpsc::UnboundedSender<Wish>,
    end: oneshot::Receiver<Ended>,
    /// None once it was waited for.
    thread: Option<Thread>,
    /// `graceful_timeout`
    grace: Duration,
}

impl TestServer {
    /// Where it serves, for a client of your own.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path: `http://127.0.0.1:PORT/path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was counted so far. A request whose answer is there has been counted.
    #[must_use]
    pub fn counts(&self) -> TestCounts {
        TestCounts(self.board.counts(0))
    }

    /// Asks for a path by `GET`.
    ///
    /// # Errors
    /// [`Error::Request`] if no whole answer came.
    pub async fn get(&self, path: &str) -> Result<Response<Bytes>, Error> {
        let request = Request::get(path).body(String::new()).map_err(|error| Error::Request(error.into()))?;
        self.send(request).await
    }

    /// Sends a request on a connection of its own, by HTTP/1.1, and reads the whole answer. The URI is a path; `Host` is added
    /// if it is not there.
    ///
    /// # Errors
    /// [`Error::Request`] if no whole answer came.
    pub async fn send<B>(&self, mut request: Request<B>) -> Result<Response<Bytes>, Error>
    where
        B: Body + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let host = HeaderValue::from_str(&self.address.to_string()).expect("an address is text");
        request.headers_mut().entry(HOST).or_insert(host);
        let failed = |error: hyper::Error| Error::Request(error.into());
        let stream = TcpStream::connect(self.address).await.map_err(|error| Error::Request(error.into()))?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let mut connection = pin!(connection);
        let mut answer = pin!(async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok(Response::from_parts(head, whole(body).await?))
        });
        let mut connected = true;
        let answer = poll_fn(|cx| {
            // What goes wrong with the connection, the answer is told.
            connected = connected && connection.as_mut().poll(cx).is_pending();
            answer.as_mut().poll(cx)
        });
        answer.await.map_err(failed)
    }

    /// Tells it to drain, as a worker that is to leave, and does not wait: `ctx.draining()` is ready from now on.
    pub fn drain(&self) {
        let _ = self.wishes.send(Wish::Orphaned); // the quickest of the drains; no receiver: it has ended
    }

    /// Drains it, and waits until its requests and background tasks are done, or `graceful_timeout` is over. An application that
    /// blocks its thread is not waited for much longer: that end is not clean, and a line on standard error says why.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn stop(mut self) -> TestEnd {
        self.drain();
        let (thread, patience) = (self.thread.take(), self.grace.saturating_add(SLACK));
        // Not by the time of tokio, which a test may have stopped.
        let wait = tokio::task::spawn_blocking(move || thread.is_none_or(|thread| thread.ends_within(patience)));
        let ended = wait.await.unwrap_or(false);
        let clean = ended && self.end.try_recv() == Ok(Ended::Drained);
        TestEnd { counts: self.counts(), clean }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let patience = if std::thread::panicking() {
            let _ = self.wishes.send(Wish::Quit); // no receiver: it has ended
            LEAST
        } else {
            self.drain();
            self.grace.saturating_add(SLACK)
        };
        thread.ends_within(patience);
    }
}

impl fmt::Debug for TestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn whole(mut body: hyper::body::Incoming) -> hyper::Result<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(data.chunk());
        }
    }
    Ok(bytes.freeze())
}

/// How a [`TestServer`] ended.
#[derive(Debug)]
pub struct TestEnd {
    counts: TestCounts,
    clean: bool,
}

impl TestEnd {
    /// Whether all requests were answered and all background tasks done; not, if `graceful_timeout` was over first.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.clean
    }

    /// All that was counted.
    #[must_use]
    pub const fn counts(&self) -> &TestCounts {
        &self.counts
    }
}

/// What a [`TestServer`] has counted, as a worker does for the metrics.
#[derive(Debug)]
pub struct TestCounts(Counts);

impl TestCounts {
    /// Connections that were accepted.
    #[must_use]
    pub const fn connections(&self) -> u64 {
        self.0.accepted
    }

    /// Requests that were answered.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.0.requests
    }

    /// Requests that were answered with this status.
    #[must_use]
    pub fn status(&self, status: u16) -> u64 {
        let index = usize::from(status).checked_sub(100);
        index.and_then(|index| self.0.status.get(index)).copied().unwrap_or(0)
    }

    /// Requests whose client left before the answer.
    #[must_use]
    pub const fn aborted(&self) -> u64 {
        self.0.aborted
    }

    /// Requests that were refused, for their form or their size.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.iter().sum()
    }

    /// Failures of the application: panics and errors of its service, and panics of background tasks.
    #[must_use]
    pub const fn exceptions(&self) -> u64 {
        self.0.log[3]
    }
}

mod thread;

#[cfg(test)]
mod tests;
