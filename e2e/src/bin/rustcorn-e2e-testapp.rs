//! A service that misbehaves on request: it hangs, panics, exits, aborts and refuses to boot. The black-box tests run it.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either as Select, select};
use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Either, Full};
use hyper_util::rt::TokioIo;
use rustcorn::BoxError;
use serde::Deserialize;
use tokio::io::AsyncWrite;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, Interval, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tower_service::Service;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Tests write another digit into a copy of this file.
const VERSION: &str = "rustcorn-e2e-version-1";

/// Keys of `[app]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// How long `/slow` takes.
    slow_ms: u64,
    /// File that gets a line when a request starts, ends, is cancelled, or blocks for ever.
    journal: Option<PathBuf>,
    /// Refuses to load, with this reason.
    fail_boot: Option<String>,
    /// Refuses to load while there is such a file.
    fail_boot_if: Option<PathBuf>,
    /// Panics while it is loaded.
    panic_boot: bool,
    /// Leaves with this code while it is loaded.
    exit_boot: Option<i32>,
    /// Is never done with loading, and blocks its thread meanwhile.
    hang_boot: bool,
    /// Time that loading takes.
    boot_ms: u64,
    /// Handles SIGTERM, by doing nothing, while it is loaded.
    deaf_boot: bool,
    /// Sets a subscriber of its own for `tracing`, with rustcorn's layer in it.
    own_subscriber: bool,
    /// Leaves with code 1 this long after it is loaded.
    die_after_ms: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slow_ms: 300,
            journal: None,
            fail_boot: None,
            fail_boot_if: None,
            panic_boot: false,
            exit_boot: None,
            hang_boot: false,
            boot_ms: 0,
            deaf_boot: false,
            own_subscriber: false,
            die_after_ms: None,
        }
    }
}

fn main() -> ExitCode {
    rustcorn::run(|ctx| async move {
        let config: Config = ctx.config()?;
        if config.own_subscriber {
            tracing_subscriber::registry().with(rustcorn::tracing_layer()).init();
        }
        if config.deaf_boot {
            drop(signal(SignalKind::terminate())?); // the default action is gone for good, as with everybody who does this
        }
        tracing::debug!("the application is being loaded");
        pause(config.boot_ms).await;
        if let Some(reason) = &config.fail_boot {
            return Err(reason.as_str().into());
        }
        if config.fail_boot_if.as_ref().is_some_and(|path| path.exists()) {
            return Err("told not to load".into());
        }
        if let Some(code) = config.exit_boot {
            exit(code);
        }
        if config.hang_boot {
            block();
        }
        assert!(!config.panic_boot, "panic_boot is set");
        if let Some(after) = config.die_after_ms {
            let death = async move {
                pause(after).await;
                exit(1);
            };
            drop(tokio::task::spawn_local(death)); // goes on without its handle
        }
        Ok::<_, BoxError>(Misbehaving(Rc::new(Inner { config, ctx })))
    })
}

/// More than the kernel takes for a client that does not read.
const BIG: usize = 16 << 20;
/// The same for everybody, so that a crowd of slow readers costs the server and not the application.
static BIG_BODY: LazyLock<Bytes> = LazyLock::new(|| "x".repeat(BIG).into());

struct Inner {
    config: Config,
    ctx: rustcorn::Context,
}

/// The service.
#[derive(Clone)]
struct Misbehaving(Rc<Inner>);

type Answer = Response<Either<Full<Bytes>, Ticks>>;

impl Service<Request<rustcorn::Body>> for Misbehaving {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<rustcorn::Body>) -> Self::Future {
        let inner = Rc::clone(&self.0);
        Box::pin(async move { Ok(inner.answer(request).await) })
    }
}

impl Inner {
    async fn answer(&self, request: Request<rustcorn::Body>) -> Answer {
        match request.uri().path() {
            "/" => text("Misbehaving on request\n"),
            "/version" => text(VERSION),
            "/pid" => text(&std::process::id().to_string()),
            "/slot" => text(&self.ctx.slot().to_string()),
            "/generation" => text(&self.ctx.generation().to_string()),
            "/slow" => {
                let mut visit = Visit::begin(self);
                pause(self.config.slow_ms).await;
                visit.done = true;
                text(&std::process::id().to_string())
            }
            "/until-drain" => {
                let mut visit = Visit::begin(self);
                self.ctx.draining().await;
                visit.done = true;
                text("draining")
            }
            "/websocket" => self.websocket(request),
            "/tls" => match request.extensions().get::<rustcorn::Tls>() {
                Some(tls) => {
                    let (name, clients) = (tls.server_name().unwrap_or("nobody"), tls.client_certificates().count());
                    text(&format!("{:?} TLS {} {name} {clients}", request.version(), tls.version()))
                }
                None => text(&format!("{:?} without", request.version())),
            },
            "/env" => text(&std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect::<String>()),
            "/echo" => match request.into_body().collect().await {
                Ok(body) => Response::new(Either::Left(Full::new(body.to_bytes()))),
                Err(error) => status(StatusCode::BAD_REQUEST, &error.to_string()),
            },
            "/client" => {
                let client = request.extensions().get::<rustcorn::Client>().expect("every request has it");
                text(&format!("{:?} {:?} {}", client.address(), client.peer().map(|peer| peer.ip()), client.scheme()))
            }
            "/headers" => {
                let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| format!("{name}: {value:?}\n");
                text(&request.headers().iter().map(line).collect::<String>())
            }
            "/big" => Response::new(Either::Left(Full::new(BIG_BODY.clone()))),
            "/stream" => {
                self.note("stream");
                Response::new(Either::Right(Ticks::new(5, Duration::from_millis(50))))
            }
            "/block" => {
                self.note("block");
                block()
            }
            "/log" => {
                log_something();
                text("logged")
            }
            "/print" => {
                println!("printed");
                eprintln!("complained");
                text("printed")
            }
            "/eat" => {
                self.note("eat");
                eat()
            }
            "/panic" => panic!("asked to panic"),
            "/panic-elsewhere" => {
                let thread = std::thread::Builder::new().name("elsewhere".to_owned());
                let thread = thread.spawn(|| panic!("asked to panic")).expect("the system has room for one more");
                text(if thread.join().is_err() { "it did" } else { "it did not" })
            }
            "/exit" => exit(7),
            "/crash" => std::process::abort(),
            "/orphan" => text(&leave_an_orphan().to_string()),
            _ => status(StatusCode::NOT_FOUND, "Not Found\n"),
        }
    }

    /// Sends back what it gets, until the client has enough or the worker drains.
    fn websocket(&self, mut request: Request<rustcorn::Body>) -> Answer {
        let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes())) else {
            return status(StatusCode::BAD_REQUEST, "no websocket\n");
        };
        let (upgrade, draining) = (hyper::upgrade::on(&mut request), self.ctx.draining());
        drop(tokio::task::spawn_local(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            let mut draining = pin!(draining);
            loop {
                match select(socket.next(), draining.as_mut()).await {
                    Select::Left((Some(Ok(message @ Message::Text(_))), _)) => {
                        if socket.send(message).await.is_err() {
                            return;
                        }
                    }
                    Select::Left((Some(Ok(_)), _)) => {}
                    Select::Left(_) => return,
                    Select::Right(_) => break,
                }
            }
            let goodbye = CloseFrame { code: CloseCode::Away, reason: "draining".into() };
            if socket.close(Some(goodbye)).await.is_ok() {
                while let Some(Ok(_)) = socket.next().await {} // until the client agrees
                // TLS has a goodbye of its own. A client that did not wait for it has what it wanted.
                let _ = poll_fn(|cx| Pin::new(socket.get_mut()).poll_shutdown(cx)).await;
            }
        })); // goes on without its handle
        let mut answer = status(StatusCode::SWITCHING_PROTOCOLS, "");
        for (name, value) in [(UPGRADE, "websocket"), (CONNECTION, "upgrade"), (SEC_WEBSOCKET_ACCEPT, &key)] {
            answer.headers_mut().insert(name, value.parse().expect("it is text"));
        }
        answer
    }

    /// A line in the journal: what happens, and in which process.
    fn note(&self, what: &str) {
        let Some(path) = &self.config.journal else { return };
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the test made the folder");
        // One write a line, so that lines of several processes do not mix.
        let line = format!("{what} {}\n", std::process::id());
        file.write_all(line.as_bytes()).expect("the test's disk has room");
    }
}

/// Takes memory until there is none left.
fn eat() -> ! {
    let mut eaten = Vec::new();
    loop {
        eaten.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

/// One event of each kind, with what could be taken for lines of others.
fn log_something() {
    tracing::info_span!("checkout", cart = 7).in_scope(|| {
        tracing::warn!(rows = 3, forged = "a\n[1] forged", "stock is low");
        tracing::error!("out of stock");
    });
    log::info!(target: "library", "by way of log");
    tracing::debug!("for someone who looks for a fault");
    tracing::trace!("too much");
}

fn text(text: &str) -> Answer {
    status(StatusCode::OK, text)
}

fn status(status: StatusCode, text: &str) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(Bytes::copy_from_slice(text.as_bytes()))));
    *response.status_mut() = status;
    response
}

#[expect(clippy::disallowed_methods, reason = "taking time is what is asked for")]
async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Never gives the thread back to the runtime.
fn block() -> ! {
    loop {
        std::thread::park(); // may wake for no reason
    }
}

#[expect(clippy::disallowed_methods, reason = "an application that ends its process is what is asked for")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}

/// Starts a process whose parent ends at once, and returns that parent's exit code.
fn leave_an_orphan() -> i32 {
    let shell = std::process::Command::new("/bin/sh").args(["-c", "(exit 3) &"]).status();
    shell.ok().and_then(|status| status.code()).unwrap_or(-1)
}

/// A request under way; its drop before it is done is a fact for the journal.
struct Visit<'a> {
    inner: &'a Inner,
    done: bool,
}

impl<'a> Visit<'a> {
    fn begin(inner: &'a Inner) -> Self {
        inner.note("start");
        Self { inner, done: false }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.inner.note(if self.done { "end" } else { "cancel" });
    }
}

/// A body of a few lines with time between them.
struct Ticks {
    left: usize,
    interval: Interval,
}

impl Ticks {
    fn new(left: usize, every: Duration) -> Self {
        Self { left, interval: interval_at(Instant::now() + every, every) }
    }
}

impl Body for Ticks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.interval.poll_tick(cx));
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"tick\n")))))
    }
}
