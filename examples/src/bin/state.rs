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
use std::time::Duration;

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
    rustcorn::run(|ctx| async move {
        let config: Config = ctx.config()?;
        // An error here keeps the server from starting, and a reload from happening. The log says why.
        let pool = Pool::connect(&config)?;
        let visits = Writer::start(&ctx, &config)?;
        let routes = Router::new().route("/visits", get(list)).route("/visits/{name}", post(visit));
        Ok(routes.with_state(Service { pool, visits }))
    })
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

/// Writes visits in batches, behind the requests.
struct Writer {
    visits: mpsc::Receiver<String>,
    database: File,
    batch: String,
}

impl Writer {
    fn start(ctx: &Context, config: &Config) -> Result<mpsc::Sender<String>, BoxError> {
        let database = OpenOptions::new().append(true).open(&config.database)?;
        let (sender, visits) = mpsc::channel(10_000);
        let mut writer = Self { visits, database, batch: String::new() };
        let draining = ctx.draining();
        tokio::spawn(async move {
            let mut draining = std::pin::pin!(draining);
            // A second's worth at a time. Once the worker drains, each as it comes: there may be no other second.
            while tokio::time::timeout(Duration::from_secs(1), &mut draining).await.is_err() {
                writer.write();
            }
            while let Some(visit) = writer.visits.recv().await {
                writer.add(&visit);
                writer.write();
            }
        });
        Ok(sender)
    }

    fn add(&mut self, visit: &str) {
        self.batch.push_str(visit);
        self.batch.push('\n');
    }

    /// A few lines appended to a file do not block for long; a request to a database would be `await`ed.
    fn write(&mut self) {
        while let Ok(visit) = self.visits.try_recv() {
            self.add(&visit);
        }
        if let Err(error) = self.database.write_all(self.batch.as_bytes()) {
            tracing::error!("visits are lost: {error}");
        }
        self.batch.clear();
    }
}

/// After the last request the runtime drops its tasks, and with this one what it still holds.
impl Drop for Writer {
    fn drop(&mut self) {
        self.write();
    }
}
