//! The service, without the server around it, so that tests can call it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use rustcorn::{BoxError, Context};
use serde::{Deserialize, Serialize};

/// Keys of `[app]` in app.toml. One that is misspelt, missing or wrong keeps the server from starting, or a reload from happening.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub greeting: String,
}

#[derive(Serialize)]
struct Greeting {
    text: String,
}

/// Called once in each worker. Whatever a worker shares among its requests, such as a pool of connections, is made here.
pub async fn service(ctx: Context) -> Result<Router, BoxError> {
    let config: Config = ctx.config()?; // mistakes name file and line
    tracing::info!(greeting = config.greeting, "loaded");
    Ok(Router::new().route("/", get(root)).route("/hello/{name}", get(hello)).with_state(Arc::new(config)))
}

async fn root(State(config): State<Arc<Config>>) -> String {
    format!("{}\n", config.greeting)
}

async fn hello(State(config): State<Arc<Config>>, Path(name): Path<String>) -> Json<Greeting> {
    Json(Greeting { text: format!("{}, {name}", config.greeting) })
}
