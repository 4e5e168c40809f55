//! axum with state: a pool that each worker fills once, and a background task that loses nothing when the worker leaves.
//!
//! ```console
//! $ curl -X POST http://127.0.0.1:8000/visits/alice; curl http://127.0.0.1:8000/visits
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use rustcorn::{BoxError, Context};
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};

/// Keys of `[app]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Stands for a database: a file with a line for each visit.
    database: PathBuf,
    #[serde(default = "four")]
    connections: usize,
}

const fn four() -> usize {
    4
}

fn main() -> ExitCode {
    rustcorn::run(service)
}

async fn service(ctx: Context) -> Result<Router, BoxError> {
    let config: Config = ctx.config()?;
    // An error here keeps the server from starting, and a reload from happening. The log says why.
    let pool = Pool::connect(&config)?;
    let visits = write_behind(&ctx, &config)?;
    let routes = Router::new().route("/visits", get(list)).route("/visits/{name}", post(visit));
    Ok(routes.with_state(Service { pool, visits }))
}

/// What requests share. Each worker has its own: processes share nothing.
#[derive(Clone)]
struct Service {
    pool: Pool,
    visits: mpsc::Sender<String>,
}

async fn visit(State(service): State<Service>, Path(name): Path<String>) -> StatusCode {
    match service.visits.try_send(name) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE, // the queue is full
    }
}

async fn list(State(service): State<Service>) -> Result<String, StatusCode> {
    service.pool.query().await.map_err(|error| {
        tracing::error!("cannot read the visits: {error}");
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

/// A fixed number of connections, which requests take in turn. With sqlx or deadpool it is theirs that is made here.
#[derive(Clone)]
struct Pool {
    idle: Arc<Mutex<Vec<File>>>,
    turns: Arc<Semaphore>,
}

impl Pool {
    fn connect(config: &Config) -> Result<Self, BoxError> {
        let connect = |_| OpenOptions::new().read(true).append(true).create(true).open(&config.database);
        let idle: Result<Vec<File>, _> = (0..config.connections).map(connect).collect();
        let idle = idle.map_err(|error| format!("no database {}: {error}", config.database.display()))?;
        Ok(Self { turns: Arc::new(Semaphore::new(idle.len())), idle: Arc::new(Mutex::new(idle)) })
    }

    async fn query(&self) -> Result<String, BoxError> {
        let _turn = self.turns.acquire().await?;
        let mut connection = self.idle.lock().expect("nobody panics while holding it").pop().expect("as many as turns");
        // What blocks goes to a thread that may: this one serves all other requests of the worker.
        let (connection, text) = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            let read = connection.rewind().and_then(|()| connection.read_to_string(&mut text));
            (connection, read.map(|_| text))
        })
        .await?;
        self.idle.lock().expect("as above").push(connection);
        Ok(text?)
    }
}

/// Writes visits in batches, behind the requests. When the worker leaves, the service is dropped after its last request, and with it
/// the last sender: the task comes to the end of the channel, and the worker waits for that.
fn write_behind(ctx: &Context, config: &Config) -> Result<mpsc::Sender<String>, BoxError> {
    let mut database = OpenOptions::new().append(true).open(&config.database)?;
    let (sender, mut visits) = mpsc::channel(10_000);
    ctx.spawn("write visits", async move {
        let mut batch = Vec::new();
        while visits.recv_many(&mut batch, 1000).await > 0 {
            let lines: String = batch.drain(..).flat_map(|visit: String| [visit, "\n".to_owned()]).collect();
            // A few lines appended to a file do not block for long; a request to a database would be `await`ed.
            if let Err(error) = database.write_all(lines.as_bytes()) {
                tracing::error!("visits are lost: {error}");
            }
        }
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;

    use super::*;

    #[tokio::test]
    async fn what_was_accepted_is_written_when_the_worker_has_left() -> Result<(), BoxError> {
        let database = std::env::temp_dir().join(format!("rustcorn-example-{}", std::process::id()));
        let server = rustcorn::serve_test(&format!("[app]\ndatabase = {database:?}"), service).await?;
        for name in ["alice", "bob"] {
            let response = server.send(Request::post(format!("/visits/{name}")).body(Body::empty())?).await?;
            assert_eq!(response.status(), StatusCode::ACCEPTED);
        }
        let end = server.stop().await;
        assert!(end.is_clean());
        assert_eq!(end.counts().requests(), 2);
        assert_eq!(std::fs::read_to_string(&database)?, "alice\nbob\n");
        Ok(std::fs::remove_file(database)?)
    }

    #[tokio::test]
    async fn without_its_database_it_does_not_load() {
        let error =
            rustcorn::serve_test("[app]\ndatabase = \"nowhere/visits\"", service).await.expect_err("it is nowhere");
        assert!(error.to_string().starts_with("no database nowhere/visits: "), "{error}");
    }
}
