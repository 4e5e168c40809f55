//! The peer that rustcorn's overhead is measured against: hyper on a current_thread runtime and nothing else. It answers any
//! request as rustcorn's handler `hello` does, with the same headers. No time limits, no counting, no policy.

use std::convert::Infallible;
use std::future::{Ready, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        eprintln!("Listening at: http://{} ({})", listener.local_addr()?, std::process::id());
        let mut protocol = http1::Builder::new();
        protocol.header_read_timeout(None);
        loop {
            let (stream, _) = listener.accept().await?;
            let connection = protocol.serve_connection(TokioIo::new(stream), service_fn(hello));
            drop(tokio::spawn(connection)); // the task goes on without its handle
        }
    })
}

fn hello(_: Request<Incoming>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello World!")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    ready(Ok(response))
}
