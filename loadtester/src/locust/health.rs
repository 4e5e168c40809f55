//! `--health-bind`: answers to a supervisor's probes. `/livez` says that the worker's loop turns, `/readyz` that the master knows it.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::problem::without_number;

/// Opens the socket, so that an address that is taken ends the worker before it joins anything.
pub(super) fn bind(address: SocketAddr) -> Result<StdListener, String> {
    let listener = StdListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| {
        format!("cannot listen on {address} for --health-bind: {}; choose another address", without_number(&error))
    })
}

/// Answers for ever; in the worker's own runtime, so that an answer is a sign of its life.
pub(super) async fn serve(listener: StdListener, joined: Arc<AtomicBool>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say: the probe fails, as it should, and the next one may not.
            tokio::task::yield_now().await;
            continue;
        };
        let joined = Arc::clone(&joined);
        let answer = service_fn(move |request| {
            let joined = joined.load(Relaxed);
            async move { Ok::<_, Infallible>(respond(&request, joined)) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new()) // slow heads time out
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(async move {
            let _ = connection.await; // a probe that hangs up is its own affair
        });
    }
}

fn respond(request: &Request<Incoming>, joined: bool) -> Response<String> {
    let (status, text) = match (request.uri().path(), joined) {
        ("/livez", _) => (StatusCode::OK, "alive\n"),
        ("/readyz", true) => (StatusCode::OK, "joined the master\n"),
        ("/readyz", false) => (StatusCode::SERVICE_UNAVAILABLE, "no master\n"),
        _ => (StatusCode::NOT_FOUND, "there are /livez and /readyz\n"),
    };
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    response
}
