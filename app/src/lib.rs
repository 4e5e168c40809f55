//! rustcorn: a prefork multi-process web server for Rust services, what gunicorn is to Python.
//!
//! A service built on this crate is its own server: the same program is the master, which supervises, and the workers, which
//! serve, and if asked for the admin process, which shows how they are.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use axum::{Router, routing::get};
//!
//! fn main() -> ExitCode {
//!     rustcorn::run(|_ctx| async { Ok(Router::new().route("/", get(|| async { "Hello World!" }))) })
//! }
//! ```
//!
//! Run it as `my-service --workers 4 app.toml`. The closure is called once in each worker, with a [`Context`]: the configuration, who the
//! worker is, when it drains, background tasks. [`Server`] is the same with hooks; [`serve_test`] serves the application in its
//! own tests.
//!
//! # Any service
//!
//! Any [`tower_service::Service`] of [`http::Request`] with a [`Body`] will do, with a response body of any type, `Send` or not. A function is
//! one by `tower::service_fn`:
//!
//! ```no_run
//! use std::cell::Cell;
//! use std::convert::Infallible;
//! use std::process::ExitCode;
//! use std::rc::Rc;
//!
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use rustcorn::Body;
//!
//! fn main() -> ExitCode {
//!     rustcorn::run(|_ctx| async {
//!         let count = Rc::new(Cell::new(0)); // nobody else has this thread
//!         Ok(tower::service_fn(move |_: Request<Body>| {
//!             count.set(count.get() + 1);
//!             let text = format!("request {}\n", count.get());
//!             async move { Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from(text))) }
//!         }))
//!     })
//! }
//! ```
//!
//! gRPC by tonic is `tonic::service::Routes`, as it is.

#[doc(hidden)] // the handlers of the program `rustcorn`; not part of what users are promised
pub mod builtin;
mod server;
mod view;

use std::io::Write;
use std::process::ExitCode;

use http::{Request, Response};
use http_body::Body as HttpBody;
use rustcorn_config::{App, AppSpec, ForeignReady, Problems};
use rustcorn_master::{Launch, Program};
use rustcorn_worker::Handoff;
use tower_service::Service;

pub use rustcorn_worker::opentelemetry;
#[cfg(feature = "tracing")]
#[doc(inline)]
pub use rustcorn_worker::tracing_layer;
#[doc(inline)]
pub use rustcorn_worker::{
    Address, Body, BodyError, BoxError, Client, Context, Error, Farewell, Mistake, Route, TestCounts, TestEnd,
    TestServer, Tls, Tracer, WorkerExit, serve_test,
};
pub use server::Server;
pub use view::{Configuration, Hanging};

/// The version of this crate, which is the one that a worker's master should have.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit code of a worker that cannot boot.
const FAILED_TO_BOOT: u8 = 3;

/// Runs `make`'s service under a master of its own. To be returned from `main`, before which nothing may be started.
///
/// Called as a program, this process becomes the master and reads its command line: `my-service [OPTIONS] APP.TOML`. As a
/// worker, it calls `make` once and serves what it returns, on one thread; nothing has to be `Send`. An error of `make` stops
/// the first start with exit code 4, and makes a reload keep what serves.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Config { greeting: String }
///
/// fn main() -> std::process::ExitCode {
///     rustcorn::run(|ctx| async move {
///         let config: Config = ctx.config()?; // mistakes name file and line
///         Ok(Router::new().route("/", get(|| async { config.greeting })))
///     })
/// }
/// ```
pub fn run<F, Fut, S, B>(make: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    Server::new(make).run()
}

/// As [`run`], for a service that can be shared by the threads of a worker: it honours the setting `threads`.
///
/// ```no_run
/// use axum::{Router, routing::get};
///
/// fn main() -> std::process::ExitCode {
///     rustcorn::run_threaded(|_ctx| async { Ok(Router::new().route("/", get(|| async { "Hello World!" }))) })
/// }
/// ```
pub fn run_threaded<F, Fut, S, B>(make: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    Server::new(make).run_threaded()
}

fn as_worker_or_master(
    worker: impl FnOnce(Handoff) -> ExitCode,
    resolve: impl Fn(&App) -> Result<Launch, Problems> + 'static,
    hooks: rustcorn_master::Hooks,
) -> ExitCode {
    if let Some(handoff) = rustcorn_admin::Handoff::from_env() {
        return rustcorn_admin::main(handoff);
    }
    if rustcorn_master::is_heir() {
        return rustcorn_master::main(std::env::args_os(), Box::new(resolve), hooks);
    }
    match Handoff::from_env() {
        None => rustcorn_master::main(std::env::args_os(), Box::new(resolve), hooks),
        Some(Ok(handoff)) => worker(handoff),
        Some(Err(error)) => {
            // In one write: several workers may end so at the same time, and pieces would mix. Where nobody can be told, the exit
            // code still tells.
            let _ = std::io::stderr().write_all(format!("Error: {error}\n").as_bytes());
            ExitCode::from(FAILED_TO_BOOT)
        }
    }
}

/// [`launch_own`] for this program. Its name is asked for now: the master's title takes the place of its arguments.
fn own_launch() -> impl Fn(&App) -> Result<Launch, Problems> + 'static {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    move |app| launch_own(app, &name)
}

/// What a program with an application of its own launches: itself, unless told otherwise.
fn launch_own(app: &App, name: &str) -> Result<Launch, Problems> {
    match app.spec()? {
        AppSpec::Own => Ok(Launch { name: name.to_owned(), program: Program::ThisFile, foreign: None }),
        AppSpec::Command(words) => Ok(launch_command(words, None)),
        AppSpec::Foreign { command, ready } => Ok(launch_command(command, Some(ready))),
        AppSpec::Handler(_) => {
            let text = "this program is its own application and has no handlers; remove the key";
            Err(app.problem("handler", text).into())
        }
    }
}

fn launch_command(words: Vec<String>, foreign: Option<ForeignReady>) -> Launch {
    let name = words[0].rsplit('/').next().unwrap_or_default().to_owned();
    Launch { name, program: Program::Command(words), foreign }
}
