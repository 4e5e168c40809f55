//! A server with hooks: [`run`](crate::run) for those who want to be called at more moments than one.

use std::fmt;
use std::process::ExitCode;

use http::{Request, Response};
use http_body::Body as HttpBody;
use rustcorn_worker::{BoxError, Context, WorkerExit, chain};
use tower_service::Service;

use crate::view::{Configuration, Hanging};
use crate::{Body, as_worker_or_master, own_launch};

/// A server of `make`'s service, with hooks for moments in the life of its processes. [`run`](crate::run) is
/// `Server::new(make).run()`.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use rustcorn::{BoxError, Context, Server};
/// # use axum::{Router, routing::get};
///
/// #[derive(serde::Deserialize)]
/// struct Config { database: String }
///
/// async fn service(ctx: Context) -> Result<Router, BoxError> {
///     let config: Config = ctx.config()?;
///     # drop(config);
///     Ok(Router::new().route("/", get(|| async { "Hello World!" })))
/// }
///
/// fn main() -> ExitCode {
///     Server::new(service)
///         .on_reload(|old, new| {
///             let (old, new): (Config, Config) = (old.app()?, new.app()?);
///             if old.database == new.database { Ok(()) } else { Err("the database cannot change while it runs".into()) }
///         })
///         .worker_exit(|exit| async move { eprintln!("worker {} says goodbye", exit.context().slot()) })
///         .run()
/// }
/// ```
///
/// # Which process runs which hook
///
/// One program is the master and all its workers, so `main` runs in each, and each has hooks of its own: what they capture is made anew
/// in each process, and nothing that a hook changes in one is seen in another.
///
/// | hook | process | when | its error or panic |
/// |---|---|---|---|
/// | [`on_starting`](Self::on_starting) | master, and the new one of an upgrade | the configuration is good; before sockets are bound | the server does not start (exit code 1) |
/// | [`on_ready`](Self::on_ready) | master | the first worker serves | a line in the log |
/// | [`on_reload`](Self::on_reload) | master | `HUP`: the new configuration is good; before anything of it is done | the reload is refused, and the log says why; nothing is changed |
/// | [`worker_init`](Self::worker_init) | worker | before the runtime and the application | as an error of `make` |
/// | [`worker_exit`](Self::worker_exit) | worker | after the last request | a line in the log; it counts as exception |
/// | [`worker_hang`](Self::worker_hang) | master | the log has said which request hangs; before `SIGABRT` | a line in the log |
///
/// The four of the master run only where the program is its own master: under `rustcorn app.toml` with `command`, the master is
/// another program, and has none.
///
/// # What a hook of the master must not do
///
/// The master is one thread, with one call in which it waits. While a hook runs it answers no signal, replaces no worker and sends no
/// metrics: look at what is given, write a file, start a program that goes on by itself. One that takes more than a second is
/// told in the log. It must start no thread: the master forks, which is safe only for a process of one thread. Nor may it wait for
/// child processes that it did not start, change signal handlers or masks, or take descriptors it did not open. (A panic ends
/// nothing only where panics unwind, which is Cargo's default.)
pub struct Server<F> {
    make: F,
    master: rustcorn_master::Hooks,
    worker: rustcorn_worker::Hooks,
}

impl<F> fmt::Debug for Server<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl<F> Server<F> {
    /// A server without hooks. `make` is as in [`run`](crate::run).
    ///
    /// ```
    /// # use axum::Router;
    /// let server = rustcorn::Server::new(|_ctx| async { Ok(Router::<()>::new()) });
    /// ```
    pub fn new<Fut, S>(make: F) -> Self
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<S, BoxError>>,
    {
        Self { make, master: Default::default(), worker: Default::default() }
    }

    /// In the master, at its start: the configuration is good, and nothing is bound yet. An error keeps the server from starting. What it
    /// says goes to standard error; a log file is not in use yet.
    ///
    /// ```
    /// # use axum::Router;
    /// # let server = rustcorn::Server::new(|_ctx| async { Ok(Router::<()>::new()) });
    /// server.on_starting(|configuration| {
    ///     if configuration.workers() > 64 { Err("the licence is for 64 workers".into()) } else { Ok(()) }
    /// });
    /// ```
    #[must_use]
    pub fn on_starting(mut self, hook: impl Fn(&Configuration<'_>) -> Result<(), BoxError> + 'static) -> Self {
        self.master.on_starting =
            Some(Box::new(move |settings| hook(&Configuration(settings)).map_err(|error| chain(&*error))));
        self
    }

    /// In the master, once: the first worker serves. Other workers may still boot.
    ///
    /// ```
    /// # use axum::Router;
    /// # let server = rustcorn::Server::new(|_ctx| async { Ok(Router::<()>::new()) });
    /// server.on_ready(|configuration| eprintln!("{:?} is served", configuration.setting("bind")));
    /// ```
    #[must_use]
    pub fn on_ready(mut self, hook: impl Fn(&Configuration<'_>) + 'static) -> Self {
        self.master.on_ready = Some(Box::new(move |settings| hook(&Configuration(settings))));
        self
    }

    /// In the master, at each reload (`HUP`, `rustcornctl reload`, `--dev`): the new configuration is good, and nothing of it is done yet. An
    /// error refuses the reload: the log, and whoever asked, are told `Reload failed: on_reload: …`, and everything stays as it was.
    ///
    /// ```
    /// # use axum::Router;
    /// # let server = rustcorn::Server::new(|_ctx| async { Ok(Router::<()>::new()) });
    /// server.on_reload(|old, new| {
    ///     let fixed = old.changes(new).iter().any(|key| key == "app.shard");
    ///     if fixed { Err("the shard cannot change while it runs".into()) } else { Ok(()) }
    /// });
    /// ```
    #[must_use]
    pub fn on_reload(
        mut self,
        hook: impl Fn(&Configuration<'_>, &Configuration<'_>) -> Result<(), BoxError> + 'static,
    ) -> Self {
        self.master.on_reload = Some(Box::new(move |old, new| {
            hook(&Configuration(old), &Configuration(new)).map_err(|error| chain(&*error))
        }));
        self
    }

    /// In the master: a worker's event loop stands still for longer than `timeout`. The log has told, and the worker is aborted next, so
    /// this is the last moment to look at it. The master waits for the hook: to have a debugger write down where the worker stands,
    /// start it and leave.
    ///
    /// ```
    /// # use axum::Router;
    /// # let server = rustcorn::Server::new(|_ctx| async { Ok(Router::<()>::new()) });
    /// server.worker_hang(|hang| {
    ///     for (request, time) in hang.requests() {
    ///         eprintln!("worker {} (pid {}) hangs in {request} since {time:?}", hang.slot(), hang.pid());
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn worker_hang(mut self, hook: impl Fn(&Hanging<'_>) + 'static) -> Self {
        self.master.worker_hang = Some(Box::new(move |hang| hook(&Hanging(hang))));
        self
    }

    /// In each worker, before its runtime is there and before `make`: for what has to hold for all threads of the runtime, such as
    /// their CPUs, a seccomp filter, or a profiler. The threads that the server has for itself (one for the master's death,
    /// those of telemetry) run already. An error is one of `make`: exit code 4 at the first start, later the reload fails.
    ///
    /// ```
    /// # use axum::Router;
    /// # let server = rustcorn::Server::new(|_ctx| async { Ok(Router::<()>::new()) });
    /// server.worker_init(|ctx| {
    ///     eprintln!("worker {} of {}", ctx.slot(), ctx.workers());
    ///     Ok(())
    /// });
    /// ```
    #[must_use]
    pub fn worker_init(mut self, hook: impl FnOnce(&Context) -> Result<(), BoxError> + 'static) -> Self {
        self.worker.worker_init = Some(Box::new(hook));
        self
    }

    /// In each worker that served, after its last request and its background tasks, in the runtime; telemetry is sent after it. The
    /// service has been dropped. It has what is left of `graceful_timeout`, but at least a second, and is dropped then. A worker that
    /// is killed or crashes runs none.
    ///
    /// For work that goes on while the worker serves, [`Context::spawn`] is the better place: it ends in good order, too.
    ///
    /// ```
    /// # use axum::Router;
    /// # let server = rustcorn::Server::new(|_ctx| async { Ok(Router::<()>::new()) });
    /// server.worker_exit(|exit| async move {
    ///     if exit.farewell() != rustcorn::Farewell::Drained {
    ///         eprintln!("worker {} did not finish", exit.context().slot());
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn worker_exit<Fut>(mut self, hook: impl FnOnce(WorkerExit) -> Fut + 'static) -> Self
    where
        Fut: Future<Output = ()> + 'static,
    {
        self.worker.worker_exit = Some(Box::new(move |exit| Box::pin(hook(exit))));
        self
    }

    /// As [`run`](crate::run).
    pub fn run<Fut, S, B>(self) -> ExitCode
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<S, BoxError>>,
        S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
        S::Future: 'static,
        S::Error: Into<BoxError>,
        B: HttpBody + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { make, master, worker } = self;
        as_worker_or_master(|handoff| rustcorn_worker::run_local(handoff, worker, make), own_launch(), master)
    }

    /// As [`run_threaded`](crate::run_threaded).
    pub fn run_threaded<Fut, S, B>(self) -> ExitCode
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
        let Self { make, master, worker } = self;
        as_worker_or_master(|handoff| rustcorn_worker::run_threaded(handoff, worker, make), own_launch(), master)
    }
}
