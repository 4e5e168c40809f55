//! rustcorn: a prefork multi-process web server for Rust services, what gunicorn is to Python.
//!
//! A service built on this crate is its own server: the same program is the master, which supervises, and the workers, which
//! serve, and if asked for the admin process, which shows how they are.
//!
//! ```no_run
//! use std::convert::Infallible;
//! use std::process::ExitCode;
//!
//! use bytes::Bytes;
//! use http_body_util::Full;
//!
//! #[derive(Clone)]
//! struct Hello;
//!
//! impl tower_service::Service<http::Request<rustcorn::Body>> for Hello {
//!     type Response = http::Response<Full<Bytes>>;
//!     type Error = Infallible;
//!     type Future = std::future::Ready<Result<Self::Response, Infallible>>;
//!
//!     fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
//!         std::task::Poll::Ready(Ok(()))
//!     }
//!
//!     fn call(&mut self, _: http::Request<rustcorn::Body>) -> Self::Future {
//!         std::future::ready(Ok(http::Response::new("Hello World!".into())))
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     rustcorn::run(|_ctx| async { Ok(Hello) })
//! }
//! ```
//!
//! An `axum::Router` is such a service as it is. Run it as `my-service --workers 4 app.toml`.

pub mod builtin;

use std::io::Write;
use std::process::ExitCode;

use http::{Request, Response};
use rustcorn_config::{App, AppSpec, ForeignReady, Problems};
use rustcorn_master::{Launch, Program};
use rustcorn_worker::Handoff;
use tower_service::Service;

/// The telemetry API, in the version that [`Context::tracer`] and [`Context::meter`] speak.
pub use opentelemetry;
#[cfg(feature = "tracing")]
pub use rustcorn_worker::tracing_layer;
pub use rustcorn_worker::{Body, BodyError, BoxError, Client, Context, Route, Tls};

/// Exit code of a worker that cannot boot.
const FAILED_TO_BOOT: u8 = 3;

/// Runs `make`'s service under a master of its own. To be returned from `main`, before which nothing may be started.
///
/// Called as a program, this process becomes the master and reads its command line: `my-service [OPTIONS] APP.TOML`. As a
/// worker, it calls `make` once and serves what it returns, on one thread; nothing has to be `Send`. An error of `make` stops
/// the first start with exit code 4, and makes a reload keep what serves.
pub fn run<F, Fut, S, B>(make: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    as_worker_or_master(|handoff| rustcorn_worker::run_local(handoff, make), own_launch())
}

/// As [`run`], for a service that can be shared by the threads of a worker: it honours the setting `threads`.
pub fn run_threaded<F, Fut, S, B>(make: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    as_worker_or_master(|handoff| rustcorn_worker::run_threaded(handoff, make), own_launch())
}

fn as_worker_or_master(
    worker: impl FnOnce(Handoff) -> ExitCode,
    resolve: impl Fn(&App) -> Result<Launch, Problems> + 'static,
) -> ExitCode {
    if let Some(handoff) = rustcorn_admin::Handoff::from_env() {
        return rustcorn_admin::main(handoff);
    }
    if rustcorn_master::is_heir() {
        return rustcorn_master::main(std::env::args_os(), Box::new(resolve));
    }
    match Handoff::from_env() {
        None => rustcorn_master::main(std::env::args_os(), Box::new(resolve)),
        Some(Ok(handoff)) => worker(handoff),
        Some(Err(error)) => {
            // Where nobody can be told, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "Error: {error}");
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
