//! What an application is given when it is built.

use std::sync::Arc;

use opentelemetry::metrics::Meter;
use rustcorn_config::{App, Settings};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::Tracer;
use crate::address::Address;
use crate::error::Error;
use crate::shared::Shared;
use crate::tasks::{self, Name};
use crate::telemetry;

/// The application's view of the worker that it runs in. A clone is as good, anywhere in the service: it is `Send` and `Sync`.
///
/// The examples use [`serve_test`](crate::serve_test), where `run` of a program's `main` would be.
#[derive(Clone)]
pub struct Context {
    slot: usize,
    generation: u32,
    workers: usize,
    threads: usize,
    app: App,
    addresses: Arc<[Address]>,
    draining: watch::Receiver<bool>,
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { slot, generation, .. } = self;
        f.debug_struct("Context").field("slot", slot).field("generation", generation).finish_non_exhaustive()
    }
}

impl Context {
    pub(crate) fn new(
        slot: usize,
        generation: u32,
        settings: &Settings,
        addresses: Vec<Address>,
        draining: watch::Receiver<bool>,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            slot,
            generation,
            workers: settings.workers,
            threads: settings.threads,
            app: settings.app.clone(),
            addresses: addresses.into(),
            draining,
            shared: Arc::clone(shared),
        }
    }

    /// The application's own keys (`[app]` in the configuration file without `handler` and `command`) as `T`. Tables in it,
    /// lists, enums and defaults are serde's.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// # fn main() -> Result<(), rustcorn::BoxError> { tokio::runtime::Runtime::new()?.block_on(async {
    /// #[derive(serde::Deserialize)]
    /// #[serde(deny_unknown_fields)]
    /// struct Config { greeting: String, #[serde(default)] shouts: bool }
    ///
    /// let server = rustcorn::serve_test("[app]\ngreeting = \"Hello\"", |ctx| async move {
    ///     let config: Config = ctx.config()?;
    ///     assert_eq!((config.greeting.as_str(), config.shouts), ("Hello", false));
    ///     Ok(axum::Router::new())
    /// });
    /// # server.await?.stop().await;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] with every key that is unknown (to a type with `deny_unknown_fields`), missing or wrong, each with file,
    /// line and key. Return it from the closure given to `run`, and the server refuses to start (or to reload) with this reason.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(self.app.read()?)
    }

    /// What is wrong with the value of a key of `[app]`, where only the application can know: an error that names file, line and
    /// key. `text` says what is wrong and what to do.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// # fn main() -> Result<(), rustcorn::BoxError> { tokio::runtime::Runtime::new()?.block_on(async {
    /// let server = rustcorn::serve_test("[app]\nuser = \"root\"", |ctx| async move {
    ///     # if false { return Ok(axum::Router::new()) }
    ///     Err(ctx.mistake("user", "root may not log in; use another").into())
    /// });
    /// let error = server.await.expect_err("as it says").to_string();
    /// assert_eq!(error, "app.toml:2: app.user: root may not log in; use another");
    /// # Ok(()) }) }
    /// ```
    #[must_use]
    pub fn mistake(&self, key: &str, text: &str) -> Error {
        self.app.problem(key, text).into()
    }

    /// The `[app]` table with the place it stands in: for the program's own handlers.
    #[doc(hidden)]
    #[must_use]
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// The seat of this worker: 0 up to the number of workers, reused by its successor.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// fn sweeps_at_night(ctx: &rustcorn::Context) -> bool {
    ///     ctx.slot() == 0 // one of all workers
    /// }
    /// ```
    #[must_use]
    pub const fn slot(&self) -> usize {
        self.slot
    }

    /// Which configuration and binary this is; goes up with every reload.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// fn cache_key(ctx: &rustcorn::Context, page: &str) -> String {
    ///     format!("{}/{page}", ctx.generation())
    /// }
    /// ```
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The setting `workers`: how many processes share what is there once, such as the connections that a database allows.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// fn connections(ctx: &rustcorn::Context, of_the_database: usize) -> usize {
    ///     (of_the_database / ctx.workers()).max(1)
    /// }
    /// ```
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.workers
    }

    /// The setting `threads`. What `run` serves has one.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// fn shards_of_a_map(ctx: &rustcorn::Context) -> usize {
    ///     4 * ctx.threads()
    /// }
    /// ```
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Where this worker accepts connections.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// # fn main() -> Result<(), rustcorn::BoxError> { tokio::runtime::Runtime::new()?.block_on(async {
    /// let server = rustcorn::serve_test("", |ctx| async move {
    ///     assert!(matches!(ctx.addresses(), [rustcorn::Address::Tcp(address)] if address.ip().is_loopback()));
    ///     Ok(axum::Router::new())
    /// });
    /// # server.await?.stop().await;
    /// # Ok(()) }) }
    /// ```
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// A tracer for spans of the application. Those started while a request is polled are children of its span, and follow
    /// its sampling decision. Without a collector to send to it makes none.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// use rustcorn::opentelemetry::trace::{Span, Tracer};
    ///
    /// async fn charge(ctx: &rustcorn::Context) {
    ///     let mut span = ctx.tracer().start("charge");
    ///     // …
    ///     span.end();
    /// }
    /// ```
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        telemetry::tracer(&self.shared)
    }

    /// A meter for metrics of the application, sent with the server's own. Without a collector to send to it counts nothing.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// use rustcorn::opentelemetry::KeyValue;
    ///
    /// fn count(ctx: &rustcorn::Context) {
    ///     ctx.meter().u64_counter("orders").build().add(1, &[KeyValue::new("kind", "book")]);
    /// }
    /// ```
    #[must_use]
    pub fn meter(&self) -> Meter {
        telemetry::meter(&self.shared)
    }

    /// Starts a background task, which a drain waits for: at most as long as `graceful_timeout`, together with the requests.
    /// `name` is what the log calls it, where it says what a drain waits for, or what was cut. A panic of the task is a line of
    /// the log and counts as exception; it ends that task alone.
    ///
    /// The task has to end by itself, which it does when what it does is done; or when [`Self::draining`] says so, if it
    /// repeats something; or when [`Self::drained`] does, if requests give it work. A channel whose senders are in the service
    /// ends then, too.
    ///
    /// Nothing has to be `Send`: it runs on the thread that builds the application, which in a worker with one thread is that of
    /// all requests.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// # fn main() -> Result<(), rustcorn::BoxError> { tokio::runtime::Runtime::new()?.block_on(async {
    /// # use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
    /// # let written = Arc::new(AtomicUsize::new(0));
    /// # let counter = Arc::clone(&written);
    /// use axum::{Router, routing::get};
    ///
    /// let server = rustcorn::serve_test("", |ctx| async move {
    ///     let (sender, mut queue) = tokio::sync::mpsc::channel(100);
    ///     ctx.spawn("writer", async move {
    ///         while let Some(visit) = queue.recv().await { // until the service is gone, and with it the last sender
    ///             // … write it
    ///             # let _: &str = visit;
    ///             # counter.fetch_add(1, Ordering::Relaxed);
    ///         }
    ///     });
    ///     let visit = async move || if sender.try_send("somebody").is_ok() { "noted" } else { "come back later" };
    ///     Ok(Router::new().route("/visit", get(visit)))
    /// })
    /// .await?;
    /// assert_eq!(server.get("/visit").await?.body(), "noted");
    /// server.stop().await; // waits for the task
    /// # assert_eq!(written.load(Ordering::Relaxed), 1);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Panics
    /// On another thread than that: see [`Self::spawn_threaded`].
    #[track_caller]
    pub fn spawn<F>(&self, name: impl Into<std::borrow::Cow<'static, str>>, task: F)
    where
        F: Future<Output = ()> + 'static,
    {
        let name: Name = name.into();
        tasks::spawn(&self.shared, name, task);
    }

    /// As [`Self::spawn`], from any thread, on any thread of the worker: for what a request of a service with several threads
    /// leaves to be done after its response.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// async fn sign_up(ctx: &rustcorn::Context) {
    ///     ctx.spawn_threaded("welcome mail", async {
    ///         // …
    ///     });
    /// }
    /// ```
    ///
    /// # Panics
    /// In `worker_init`, where there is no runtime yet.
    #[track_caller]
    pub fn spawn_threaded<F>(&self, name: impl Into<std::borrow::Cow<'static, str>>, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let name: Name = name.into();
        tasks::spawn_threaded(&self.shared, name, task);
    }

    /// Whether the worker drains.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// fn worth_warming_a_cache(ctx: &rustcorn::Context) -> bool {
    ///     !ctx.is_draining()
    /// }
    /// ```
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Ready as soon as the worker begins to drain: the moment to end long polls and event streams, which would otherwise be
    /// cut at `graceful_timeout`, and to stop what a background task repeats. Requests may still come.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// use std::time::Duration;
    ///
    /// fn refresh_every_minute(ctx: &rustcorn::Context) {
    ///     let draining = ctx.draining();
    ///     ctx.spawn("refresh", async move {
    ///         let mut draining = std::pin::pin!(draining);
    ///         while tokio::time::timeout(Duration::from_secs(60), &mut draining).await.is_err() {
    ///             // …
    ///         }
    ///     });
    /// }
    /// ```
    pub fn draining(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        wait_for(self.draining.clone())
    }

    /// Ready when the worker drains and its last request has been answered: nothing comes any more. The moment for a background
    /// task to do what is left. The service has been dropped by then.
    ///
    /// ```
    /// # use rustcorn_worker as rustcorn;
    /// fn write_the_rest_at_the_end(ctx: &rustcorn::Context) {
    ///     let drained = ctx.drained();
    ///     ctx.spawn("journal", async move {
    ///         drained.await;
    ///         // … nothing comes any more: write what is left
    ///     });
    /// }
    /// ```
    pub fn drained(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        wait_for(self.shared.tasks.drained())
    }
}

async fn wait_for(mut flag: watch::Receiver<bool>) {
    // An error means that the worker is gone, which is as good.
    let _ = flag.wait_for(|is| *is).await;
}
