//! The exporter's HTTP client: blocking, on the threads that export; it keeps its connection and repeats what may be repeated.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::options::Target;
use super::patience::Patience;
use super::tls::Tls;
use super::wire::{Answer, Connection};

/// Between two attempts: doubled each time, from this to that.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A client of one target; clones are handles to the same. One request at a time.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    target: Target,
    tls: Option<Tls>,
    patience: Arc<Patience>,
    idle: Mutex<Option<Connection>>,
    /// Of the last answer: spans that the collector did not take.
    rejected: AtomicU64,
    /// Why the last request failed; the exporter only says that it did.
    failure: Mutex<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.0.target).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(target: Target, patience: Arc<Patience>) -> Result<Self, String> {
        let tls = Tls::for_target(&target)?;
        let (idle, failure) = (Mutex::new(None), Mutex::new(String::new()));
        Ok(Self(Arc::new(Inner { target, tls, patience, idle, rejected: AtomicU64::new(0), failure })))
    }

    /// Spans of the last successful request that the collector did not take.
    pub(crate) fn rejected(&self) -> u64 {
        self.0.rejected.load(Relaxed)
    }

    /// Why the last request failed.
    pub(crate) fn failure(&self) -> String {
        locked(&self.0.failure).clone()
    }
}

impl Inner {
    fn send(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, String> {
        let head = head(request, &self.target.endpoint.authority());
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            // An attempt has its whole time even if the patience for all of them ends in between: one that is given up while
            // the collector is at it would be counted as lost, and yet arrive.
            let attempt = self.patience.limit(Instant::now() + self.target.timeout);
            let (why, asked) = match self.attempt(&head, request.body(), attempt) {
                Ok(answer) if matches!(answer.status, 429 | 502 | 503 | 504) => {
                    let asked = answer.header("retry-after").and_then(|value| value.parse().ok());
                    (format!("status {}", answer.status), asked.map(Duration::from_secs))
                }
                Ok(answer) if !(200..300).contains(&answer.status) => return Err(format!("status {}", answer.status)),
                Ok(answer) => return self.success(answer),
                Err(error) => (error.to_string(), None),
            };
            let wait = asked.unwrap_or(pause).max(pause);
            let until = || self.patience.limit(began + self.target.patience); // sooner once the worker leaves
            if Instant::now() + wait >= until() {
                return Err(why);
            }
            self.patience.pause(wait);
            if Instant::now() >= until() {
                return Err(why);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn attempt(&self, head: &[u8], body: &[u8], until: Instant) -> io::Result<Answer> {
        let kept = locked(&self.idle).take().filter(Connection::is_quiet);
        if let Some(mut connection) = kept {
            // The other side may close at the very moment of sending: then a new connection decides.
            if let Ok(answer) = connection.exchange(head, body, until) {
                self.keep(connection, &answer);
                return Ok(answer);
            }
        }
        let endpoint = &self.target.endpoint;
        let mut connection = Connection::open(&endpoint.host, endpoint.port_or_default(), self.tls.as_ref(), until)?;
        let answer = connection.exchange(head, body, until)?;
        self.keep(connection, &answer);
        Ok(answer)
    }

    fn keep(&self, connection: Connection, answer: &Answer) {
        *locked(&self.idle) = answer.keeps.then_some(connection);
    }

    fn success(&self, answer: Answer) -> Result<Response<Bytes>, String> {
        // The same field of the metrics' answer counts points, which nobody asks for.
        let partial = ExportTraceServiceResponse::decode(&*answer.body).ok().and_then(|body| body.partial_success);
        let rejected = partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0));
        self.rejected.store(rejected, Relaxed);
        let response = Response::builder().status(answer.status).body(answer.body.into());
        response.map_err(|error| error.to_string())
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.0.send(&request).map_err(|why| {
            why.clone_into(&mut locked(&self.0.failure));
            why.into()
        })
    }
}

fn head(request: &Request<Bytes>, authority: &str) -> Vec<u8> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let length = request.body().len();
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {length}\r\n", request.method())
        .into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner) // nothing panics while it is held
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
