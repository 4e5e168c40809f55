//! An OTLP collector for tests: HTTP/1.1, decoded by what the specification's own files generate, and ill on demand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use socket2::{Domain, SockRef, Socket, Type};

use crate::PATIENCE;

/// How the collector is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    Well,
    /// Answers every request with this status.
    Status(u16),
    /// Takes requests and never answers.
    Hangs,
    /// Takes requests and answers them once it is something else: a process that is stopped and continues.
    Stopped,
    /// Closes each connection without an answer.
    Closes,
    /// Takes all, and says of so many spans of each request that it did not.
    Rejects(i64),
}

/// What arrived and was acknowledged.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) spans: Vec<(Resource, Span)>,
    pub(crate) metrics: Vec<ExportMetricsServiceRequest>,
    /// Requests of either kind, acknowledged or not, and connections they came on.
    pub(crate) requests: usize,
    pub(crate) connections: usize,
    /// Of those, compressed ones; and values of the header `x-key`.
    pub(crate) compressed: usize,
    pub(crate) keys: Vec<String>,
}

struct Inner {
    health: Mutex<Health>,
    recovered: Condvar,
    received: Mutex<Received>,
    changed: Condvar,
    life: Mutex<Life>,
    /// Bound and never listening, so that nobody else gets the port while the receiver is dead.
    _port: Socket,
}

/// What dies when the receiver is killed.
#[derive(Default)]
struct Life {
    /// How often it was killed. What was read in an earlier life is not answered in a later one.
    deaths: usize,
    listening: Option<(TcpListener, JoinHandle<()>)>,
    streams: Vec<TcpStream>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
}

impl Receiver {
    pub(crate) fn start(health: Health) -> Self {
        let (address, port) = reserve();
        let inner = Inner {
            health: Mutex::new(health),
            recovered: Condvar::new(),
            received: Mutex::default(),
            changed: Condvar::new(),
            life: Mutex::default(),
            _port: port,
        };
        let receiver = Self { address, inner: Arc::new(inner) };
        receiver.live();
        receiver
    }

    /// Listens, for the first time or again.
    pub(crate) fn live(&self) {
        let listener = TcpListener::bind(self.address).unwrap();
        let (accepting, serving) = (listener.try_clone().unwrap(), self.clone());
        let mut life = self.inner.life.lock().unwrap();
        let deaths = life.deaths;
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let mut life = serving.inner.life.lock().unwrap();
                if life.deaths > deaths {
                    return;
                }
                life.streams.push(stream.try_clone().unwrap());
                serving.inner.received.lock().unwrap().connections += 1;
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream, deaths));
            }
        });
        life.listening = Some((listener, thread));
    }

    /// As kill(1) does it: listener and connections are closed at once, and what was not answered never will be.
    pub(crate) fn kill(&self) {
        let mut life = self.inner.life.lock().unwrap();
        life.deaths += 1;
        for stream in life.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // the other side may have closed it
        }
        let (listener, thread) = life.listening.take().expect("it lives");
        drop(life);
        SockRef::from(&listener).shutdown(Shutdown::Both).unwrap(); // ends the waiting for connections
        thread.join().unwrap();
        drop(listener);
        assert!(TcpStream::connect(self.address).is_err(), "connections are refused");
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn becomes(&self, health: Health) {
        *self.inner.health.lock().unwrap() = health;
        self.inner.recovered.notify_all();
    }

    pub(crate) fn received(&self) -> std::sync::MutexGuard<'_, Received> {
        self.inner.received.lock().unwrap()
    }

    pub(crate) fn wait_until(&self, what: &str, fact: impl Fn(&Received) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut received = self.received();
        while !fact(&received) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never came true: {what}; {} spans", received.spans.len());
            received = self.inner.changed.wait_timeout(received, left).unwrap().0;
        }
    }

    fn serve(&self, stream: TcpStream, deaths: usize) {
        let mut stream = BufReader::new(stream);
        while let Some(Request { path, body, compressed, key }) = request(&mut stream) {
            let mut received = self.received();
            received.requests += 1;
            received.compressed += usize::from(compressed);
            received.keys.extend(key);
            drop(received);
            self.inner.changed.notify_all();
            let stopped = |health: &mut Health| *health == Health::Stopped;
            let health = *self.inner.recovered.wait_while(self.inner.health.lock().unwrap(), stopped).unwrap();
            // Taken and answered, or neither: who is killed in between would leave the other side no way to know.
            let life = self.inner.life.lock().unwrap();
            if life.deaths > deaths {
                return;
            }
            let (status, answer) = match health {
                Health::Well => (200, self.take(&path, &body, 0)),
                Health::Rejects(count) => (200, self.take(&path, &body, count)),
                Health::Status(status) => (status, Vec::new()),
                Health::Stopped => unreachable!("waited for above"),
                Health::Hangs => {
                    drop(life);
                    drop(stream.read_to_end(&mut Vec::new())); // until the other side gives up
                    return;
                }
                Health::Closes => return,
            };
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", answer.len());
            if stream.get_mut().write_all(&[head.as_bytes(), &answer].concat()).is_err() {
                return;
            }
        }
    }

    fn take(&self, path: &str, body: &[u8], reject: i64) -> Vec<u8> {
        let mut received = self.received();
        let mut answer = ExportTraceServiceResponse::default();
        match path {
            "/v1/traces" => {
                take_spans(&mut received, ExportTraceServiceRequest::decode(body).unwrap());
                let error_message = String::new();
                answer.partial_success =
                    (reject > 0).then_some(ExportTracePartialSuccess { rejected_spans: reject, error_message });
            }
            "/v1/metrics" => received.metrics.push(ExportMetricsServiceRequest::decode(body).unwrap()),
            other => panic!("nothing is sent to {other}"),
        }
        self.inner.changed.notify_all();
        answer.encode_to_vec()
    }
}

/// A port of 127.0.0.1 that is ours, whether somebody listens there or not.
pub(crate) fn reserve() -> (SocketAddr, Socket) {
    let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    port.set_reuse_address(true).unwrap(); // as std does for those that listen
    port.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    (port.local_addr().unwrap().as_socket().unwrap(), port)
}

pub(crate) fn take_spans(received: &mut Received, request: ExportTraceServiceRequest) {
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap();
        let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        received.spans.extend(spans.map(|span| (resource.clone(), span)));
    }
}

struct Request {
    path: String,
    body: Vec<u8>,
    compressed: bool,
    key: Option<String>,
}

/// The next request; `None` at the end.
fn request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut request = Request { path, body: Vec::new(), compressed: false, key: None };
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        match line.trim().split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("content-encoding", value)) => request.compressed = value == "gzip",
            Some(("x-key", value)) => request.key = Some(value.to_owned()),
            Some(_) => {}
        }
    }
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).ok()?;
    if request.compressed {
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(&*request.body).read_to_end(&mut body).unwrap();
        request.body = body;
    }
    Some(request)
}

impl Received {
    /// The last cumulative value of a metric for each instance and set of attributes, summed: the count of a histogram, the
    /// value of a sum.
    pub(crate) fn total(&self, name: &str) -> u64 {
        let mut last = std::collections::BTreeMap::new();
        for request in &self.metrics {
            for of_resource in &request.resource_metrics {
                let resource = of_resource.resource.as_ref().unwrap();
                // A respawned worker has the instance of the one before, and counts anew.
                let instance =
                    (text(&resource.attributes, "service.instance.id"), number(&resource.attributes, "process.pid"));
                for metric in of_resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                    for (attributes, value) in points(metric).filter(|_| metric.name == name) {
                        last.insert((instance.clone(), format!("{attributes:?}")), value);
                    }
                }
            }
        }
        last.values().sum()
    }

    pub(crate) fn metric(&self, name: &str) -> Option<Metric> {
        let all = self.metrics.iter().flat_map(|request| &request.resource_metrics);
        let all = all.flat_map(|of_resource| &of_resource.scope_metrics).flat_map(|scope| &scope.metrics);
        all.rev().find(|metric| metric.name == name).cloned()
    }
}

fn points(metric: &Metric) -> impl Iterator<Item = (&[KeyValue], u64)> {
    let whole = |value: &Option<number_data_point::Value>| match value {
        Some(number_data_point::Value::AsInt(value)) => u64::try_from(*value).unwrap(),
        other => panic!("not a whole number: {other:?}"),
    };
    let points: Vec<(&[KeyValue], u64)> = match metric.data.as_ref().unwrap() {
        Data::Histogram(data) => data.data_points.iter().map(|point| (&*point.attributes, point.count)).collect(),
        Data::Sum(data) => data.data_points.iter().map(|point| (&*point.attributes, whole(&point.value))).collect(),
        _ => Vec::new(),
    };
    points.into_iter()
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref().and_then(|AnyValue { value }| value.as_ref())
}

pub(crate) fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text.clone()),
        other => panic!("{key} is no text: {other:?}"),
    }
}

pub(crate) fn number(attributes: &[KeyValue], key: &str) -> Option<i64> {
    match value(attributes, key)? {
        Value::IntValue(number) => Some(*number),
        other => panic!("{key} is no number: {other:?}"),
    }
}
