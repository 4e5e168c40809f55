//! A collector that takes everything at once: counts the spans of OTLP over HTTP, and forgets them.
//!
//! It shares the CPU of the load generator, so that its time is not the server's, and therefore looks into a request only as far as it
//! must: spans are skipped by their length.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::Result;
use crate::server::pinned;
use crate::wrk::CPU;

/// A sink that runs as long as this program.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    spans: Arc<AtomicU64>,
}

impl Sink {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let sink = Self { address: listener.local_addr()?, spans: Arc::default() };
        let spans = Arc::clone(&sink.spans);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = move || runtime.block_on(serve(listener, spans));
        pinned(Some(CPU), || std::thread::Builder::new().name("otlp-sink".to_owned()).spawn(serving))??;
        Ok(sink)
    }

    /// Spans received so far.
    pub(crate) fn spans(&self) -> u64 {
        self.spans.load(Relaxed)
    }
}

async fn serve(listener: TcpListener, spans: Arc<AtomicU64>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let spans = Arc::clone(&spans);
        let service = service_fn(move |request| take(request, Arc::clone(&spans)));
        drop(tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service))); // goes on without its handle
    }
}

async fn take(
    request: Request<Incoming>,
    spans: Arc<AtomicU64>,
) -> std::result::Result<Response<Empty<Bytes>>, Infallible> {
    let traces = request.uri().path() == "/v1/traces";
    // A request that breaks off was not taken.
    if let (true, Ok(body)) = (traces, request.into_body().collect().await) {
        spans.fetch_add(count(&body.to_bytes()), Relaxed);
    }
    Ok(Response::new(Empty::new()))
}

/// Spans of an `ExportTraceServiceRequest`: its field 1, of each its field 2, of each its field 2.
fn count(request: &[u8]) -> u64 {
    let of_resources = fields(request, 1);
    let of_scopes = of_resources.flat_map(|of_resource| fields(of_resource, 2));
    of_scopes.map(|of_scope| fields(of_scope, 2).count() as u64).sum()
}

/// The values of a field of a protobuf message that are messages or text. Ends at what it cannot read.
fn fields(mut message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let key = varint(&mut message)?;
            let length = match key & 7 {
                0 => varint(&mut message).map(|_| 0)?,
                1 => 8,
                2 => usize::try_from(varint(&mut message)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (value, rest) = message.split_at_checked(length)?;
            message = rest;
            if key == number << 3 | 2 {
                return Some(value);
            }
        }
    })
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
