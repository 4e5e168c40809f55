//! A service as somebody else would write it: outside of the workspace, by the documented interface alone, all of that.

use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Extension, Router};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustcorn::opentelemetry::KeyValue;
use rustcorn::opentelemetry::trace::{Span, Tracer};
use rustcorn::{Address, BoxError, Client, Context, Route};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{Sender, channel};

/// Keys of `[app]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub greeting: String,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub database: Database,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Quiet,
    Loud,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub connections: usize,
}

impl Default for Database {
    fn default() -> Self {
        Self { connections: 4 }
    }
}

#[derive(Clone)]
struct App {
    ctx: Context,
    config: Config,
    visits: Sender<&'static str>,
}

/// What a worker serves.
pub async fn service(ctx: Context) -> Result<Router, BoxError> {
    let config: Config = ctx.config()?;
    if config.database.connections < ctx.workers() {
        return Err(ctx.mistake("database", "each worker needs a connection").into());
    }
    let (visits, mut queue) = channel(100);
    ctx.spawn("writer", async move {
        let mut written = 0;
        while queue.recv().await.is_some() {
            written += 1;
        }
        tracing::info!(written, "the writer is done");
    });
    let draining = ctx.draining();
    ctx.spawn("refresh", async move {
        let mut draining = std::pin::pin!(draining);
        while tokio::time::timeout(Duration::from_secs(60), &mut draining).await.is_err() {}
    });
    let app = App { ctx, config, visits };
    Ok(Router::new()
        .route("/", get(greet))
        .route("/who", get(who))
        .route("/where", get(place))
        .route("/user/{id}", get(user))
        .route("/panic", get(async || -> &'static str { panic!("as asked") }))
        .route("/hang", get(hang))
        .route("/until-drain", get(until_drain))
        .route("/echo", axum::routing::post(echo))
        .route("/upgrade", get(upgrade))
        .with_state(app))
}

async fn greet(State(app): State<App>) -> String {
    app.visits.send("somebody").await.expect("the writer outlives the service");
    let mut span = app.ctx.tracer().start("greet");
    app.ctx.meter().u64_counter("greetings").build().add(1, &[KeyValue::new("mode", format!("{:?}", app.config.mode))]);
    span.end();
    match app.config.mode {
        Mode::Quiet => app.config.greeting,
        Mode::Loud => app.config.greeting.to_uppercase(),
    }
}

async fn who(Extension(client): Extension<Client>) -> String {
    let address = client.address().map(|address| address.to_string()).unwrap_or_default();
    format!("{address} {} {}", client.scheme(), client.peer().is_some())
}

async fn place(State(App { ctx, .. }): State<App>) -> String {
    let addresses: Vec<String> = ctx.addresses().iter().map(Address::to_string).collect();
    let (slot, generation, workers, threads) = (ctx.slot(), ctx.generation(), ctx.workers(), ctx.threads());
    format!("{slot} {generation} {workers} {threads} {} {}", ctx.is_draining(), addresses.join(","))
}

async fn user(request: Request<axum::body::Body>) -> String {
    const USER: Route = Route::new("/user/{id}");
    USER.set();
    request.uri().path().to_owned()
}

/// As nobody should: it keeps its thread.
async fn hang() -> &'static str {
    loop {
        std::thread::park();
    }
}

async fn until_drain(State(App { ctx, .. }): State<App>) -> &'static str {
    ctx.draining().await;
    "it drains"
}

async fn echo(body: axum::body::Body) -> Result<Vec<u8>, StatusCode> {
    body.collect().await.map(|body| body.to_bytes().to_vec()).map_err(|_| StatusCode::BAD_REQUEST)
}

/// A protocol of its own on the connection.
async fn upgrade(mut request: Request<axum::body::Body>) -> Response<axum::body::Body> {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.expect("it was asked for"));
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    response.header("connection", "upgrade").header("upgrade", "echo").body(Default::default()).expect("it is whole")
}

/// The examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../examples.md")]
mod examples {}
