//! One connection of HTTP/2, by hyper: a request at a time, as a user of HTTP/1.1 would.

use std::error::Error;
use std::io;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use crate::engine::answer::Answer;
use crate::engine::connect::Stream;
use crate::engine::failure::Failure;
use crate::engine::values::Values;
use crate::scenario::{Host, Task};
use crate::stats::ErrorKind;

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    pub(crate) answer: Answer,
}

/// Spawns hyper's tasks on this thread.
#[derive(Clone)]
struct Here;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}

impl Connection {
    pub(crate) async fn open(stream: Stream) -> Result<Self, Failure> {
        let (sender, connection) = handshake(Here, TokioIo::new(stream)).await.map_err(|error| failure(&error))?;
        // How it ended is told to the request that was on it.
        spawn_local(async move { drop(connection.await) });
        Ok(Self { sender, answer: Answer::default() })
    }

    pub(crate) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and reads the answer to its last byte.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        keep_body: bool,
        mut field: impl FnMut(&str, &[u8]),
    ) -> Result<(), Failure> {
        let response = self.sender.send_request(request).await.map_err(|error| failure(&error))?;
        self.answer.status = response.status().as_u16();
        for (name, value) in response.headers() {
            field(name.as_str(), value.as_bytes());
        }
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.map_err(|error| failure(&error))?.data_ref() {
                self.answer.take(data, keep_body);
            }
        }
        self.answer.complete = true;
        self.answer.reusable = !self.sender.is_closed();
        Ok(())
    }
}

/// The request of a task, filled in for a user.
pub(crate) fn request(task: &Task, host: &Host, values: &Values) -> Result<Request<Full<Bytes>>, Failure> {
    let render = |template: &crate::scenario::Template, mut into: Vec<u8>| {
        template.render(&mut into, |variable| values.get(variable));
        into
    };
    let invalid = |what: &str| Failure::new(ErrorKind::Protocol, format!("{what} cannot be sent over HTTP/2"));
    let mut request = Request::new(Full::default());
    *request.method_mut() = task.method.clone();
    let path = render(&task.path, host.prefix.clone().into_bytes());
    let mut authority = host.authority.clone();
    for (name, template) in &task.headers {
        let value = render(template, Vec::new());
        if name == http::header::HOST {
            authority = String::from_utf8_lossy(&value).into_owned();
            continue;
        }
        let value = HeaderValue::from_bytes(&value).map_err(|_| invalid("a header"))?;
        request.headers_mut().insert(name.clone(), value);
    }
    let uri = Uri::builder().scheme(if host.tls { "https" } else { "http" }).authority(authority).path_and_query(path);
    *request.uri_mut() = uri.build().map_err(|_| invalid("the path or the host"))?;
    if !values.cookies.is_empty() {
        let value = HeaderValue::from_bytes(&values.cookie()).map_err(|_| invalid("a cookie"))?;
        request.headers_mut().insert(http::header::COOKIE, value);
    }
    if let Some(trace) = values.trace {
        let value = HeaderValue::from_bytes(&trace.header()).map_err(|_| invalid("a traceparent"))?;
        request.headers_mut().insert("traceparent", value);
    }
    if let Some(body) = &task.body {
        *request.body_mut() = Full::new(Bytes::from(render(body, Vec::new())));
    }
    Ok(request)
}

fn failure(error: &hyper::Error) -> Failure {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return Failure::exchange(io);
        }
        deepest = source;
    }
    let kind = if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        ErrorKind::Incomplete
    } else {
        ErrorKind::Protocol
    };
    Failure::new(kind, format!("HTTP/2: {deepest}"))
}
