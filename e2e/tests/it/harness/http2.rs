//! A client of HTTP/2, by hyper, for one thread.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalRuntime};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::PATIENCE;

/// How a request went.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Answered, with this status and body.
    Answered(u16, String),
    /// Never sent: the server had said that the connection ends. To be asked on another.
    NotSent,
    Failed(String),
}

/// One connection.
pub(crate) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<Result<(), hyper::Error>>,
    scheme: &'static str,
}

/// Spawns hyper's tasks on this thread.
#[derive(Clone)]
pub(crate) struct Here;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, task: F) {
        drop(spawn_local(task)); // goes on without its handle
    }
}

/// Runs a client to its end.
pub(crate) fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime: LocalRuntime =
        Builder::new_current_thread().enable_all().build_local(Default::default()).expect("a runtime");
    runtime.block_on(async { timeout(PATIENCE * 20, client).await.expect("a client is done at some time") })
}

impl Http2 {
    /// Connects: over TLS, or to a server that is known to understand HTTP/2 without.
    pub(crate) async fn open(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self, String> {
        Self::open_after(address, b"", tls).await
    }

    /// As [`Self::open`], with `before` sent before everything else.
    pub(crate) async fn open_after(
        address: SocketAddr,
        before: &[u8],
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| format!("connecting: {error:?}");
        let mut socket = TcpStream::connect(address).await.map_err(|error| text(&error))?;
        socket.write_all(before).await.map_err(|error| text(&error))?;
        socket.set_nodelay(true).map_err(|error| text(&error))?;
        let Some(config) = tls else {
            let (sender, connection) = handshake(Here, TokioIo::new(socket)).await.map_err(|error| text(&error))?;
            return Ok(Self { sender, task: spawn_local(connection), scheme: "http" });
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let stream =
            TlsConnector::from(Arc::clone(config)).connect(name, socket).await.map_err(|error| text(&error))?;
        let (sender, connection) = handshake(Here, TokioIo::new(stream)).await.map_err(|error| text(&error))?;
        Ok(Self { sender, task: spawn_local(connection), scheme: "https" })
    }

    /// Another user of the same connection.
    pub(crate) fn sender(&self) -> Sender {
        Sender { sender: self.sender.clone(), scheme: self.scheme }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Outcome {
        self.sender().send("GET", path, "").await
    }

    /// Waits for the connection's end; whether it was in order.
    pub(crate) async fn ended(self) -> Result<(), String> {
        let Self { sender, task, .. } = self;
        let ended = timeout(PATIENCE, task).await;
        drop(sender); // not before: the last one that goes ends the connection from our side
        match ended {
            Ok(Ok(ended)) => ended.map_err(|error| format!("{error:?}")),
            Ok(Err(panic)) => Err(panic.to_string()),
            Err(_) => Err("it does not end".to_owned()),
        }
    }
}

/// Sends requests on a connection.
#[derive(Clone)]
pub(crate) struct Sender {
    sender: SendRequest<Full<Bytes>>,
    scheme: &'static str,
}

impl Sender {
    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &str) -> Outcome {
        let request = Request::builder().method(method).uri(format!("{}://localhost{path}", self.scheme));
        self.send_this(request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("it is whole")).await
    }

    /// A GET with these headers.
    pub(crate) async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Outcome {
        let request = Request::builder().uri(format!("{}://localhost{path}", self.scheme));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send_this(request.body(Full::default()).expect("it is whole")).await
    }

    /// Sends a request as it is.
    pub(crate) async fn send_this(&mut self, request: Request<Full<Bytes>>) -> Outcome {
        if self.sender.ready().await.is_err() {
            return Outcome::NotSent;
        }
        let response = match timeout(PATIENCE, self.sender.try_send_request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.message().is_some() => return Outcome::NotSent,
            Ok(Err(error)) => return Outcome::Failed(format!("{:?}", error.into_error())),
            Err(_) => return Outcome::Failed("timeout".to_owned()),
        };
        let status = response.status().as_u16();
        match timeout(PATIENCE, response.into_body().collect()).await {
            Ok(Ok(body)) => Outcome::Answered(status, String::from_utf8_lossy(&body.to_bytes()).into_owned()),
            Ok(Err(error)) => Outcome::Failed(format!("body: {error:?}")),
            Err(_) => Outcome::Failed("timeout in the body".to_owned()),
        }
    }
}
