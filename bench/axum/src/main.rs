//! One axum service, served by `axum::serve` or by rustcorn.
//!
//! ```text
//! axum-service serve THREADS           axum::serve on a runtime of so many threads
//! axum-service [OPTIONS] APP.TOML      rustcorn
//! ```

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;

fn router() -> Router {
    Router::new()
        .route("/", get(async || "Hello World!"))
        .route("/users/{id}", get(user))
        .route("/big", get(big))
        .route("/upload", post(upload))
}

/// 16 MiB, in no buffer at any time.
async fn big() -> Body {
    static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
    Body::from_stream(stream::iter((0..256).map(|_| Ok::<_, Infallible>(Bytes::from_static(&PIECE)))))
}

/// Reads the whole body, and so waits for it.
async fn upload(body: Bytes) -> String {
    body.len().to_string()
}

#[derive(Serialize)]
struct User {
    id: u32,
    name: &'static str,
}

async fn user(Path(id): Path<u32>) -> Json<User> {
    Json(User { id, name: "Ada" })
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", threads] => match threads.parse().map_err(Into::into).and_then(serve) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("Error: {error}");
                ExitCode::FAILURE
            }
        },
        _ => rustcorn::run(|_| async { Ok(router()) }),
    }
}

/// As the documentation of axum has it, on a runtime as `#[tokio::main]` makes it; of one thread, on the simpler one.
fn serve(threads: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.max(1)).enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        eprintln!("Listening at: http://{} ({})", listener.local_addr()?, std::process::id());
        Ok(axum::serve(listener, router()).await?)
    })
}
