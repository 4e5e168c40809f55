//! A Locust master of one worker: the other end of the wire, as strict as the real one, whose listener a malformed message kills.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rmpv::Value;
use rustcorn_loadtester::locust::zmtp::{self, Event, Peer, Role};

/// For anything that must happen, on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Master {
    listener: TcpListener,
    pub(crate) port: u16,
}

impl Master {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// The same address again.
    pub(crate) fn restart(self) -> Self {
        let port = self.port;
        drop(self.listener);
        // The standard library sets SO_REUSEADDR: connections that linger are no obstacle.
        Self { listener: TcpListener::bind(("127.0.0.1", port)).unwrap(), port }
    }

    /// A connection before any handshake.
    pub(crate) fn accept_raw(&self) -> TcpStream {
        self.listener.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + LONG;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                    return stream;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "no worker dialled");
                    std::thread::yield_now();
                }
                Err(error) => panic!("accept: {error}"),
            }
        }
    }

    /// A worker after ZeroMQ's handshake.
    pub(crate) fn accept(&self) -> Node {
        let mut stream = self.accept_raw();
        stream.write_all(&zmtp::hello(Role::Router, "")).unwrap();
        let mut node = Node {
            stream,
            peer: Peer::new(Role::Router),
            identity: String::new(),
            beats: Vec::new(),
            logs: Vec::new(),
        };
        let Some(Event::Ready { identity }) = node.event() else { panic!("no handshake") };
        node.identity = String::from_utf8(identity).expect("the master decodes it");
        node
    }

    /// A worker that is registered.
    pub(crate) fn join(&self) -> Node {
        let mut node = self.accept();
        node.register();
        node
    }
}

/// A connected worker.
pub(crate) struct Node {
    stream: TcpStream,
    peer: Peer,
    pub(crate) identity: String,
    /// States it said it was in.
    pub(crate) beats: Vec<String>,
    /// What stands in the Logs tab.
    pub(crate) logs: Vec<String>,
}

impl Node {
    /// The next thing that arrives; none at the end of the connection.
    fn event(&mut self) -> Option<Event> {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(event) = self.peer.poll().expect("the master's socket closes on a violation") {
                return Some(event);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    // As ZeroMQ does. Only then the worker knows that its last words were read.
                    let _ = self.stream.shutdown(std::net::Shutdown::Both); // it may be closed
                    return None;
                }
                Ok(length) => self.peer.feed(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    assert!(Instant::now() < deadline, "the worker says nothing; it was {:?}", self.beats.last());
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("read: {error}"),
            }
        }
    }

    /// The next message but signs of life, which are answered, and logs.
    pub(crate) fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(message) = self.one_message()? {
                return Some(message);
            }
        }
    }

    /// The same, but nothing for those; none at the end of the connection.
    fn one_message(&mut self) -> Option<Option<(String, Value)>> {
        let Event::Message(bytes) = self.event()? else { return Some(None) };
        let (kind, data) = self.unpack(&bytes);
        match kind.as_str() {
            "heartbeat" => {
                let cpu = get(&data, "current_cpu_usage").as_f64();
                assert!(cpu.is_some_and(|cpu| (0.0..=150.0).contains(&cpu)), "{data}");
                assert!(get(&data, "current_memory_usage").as_u64().is_some_and(|bytes| bytes > 100_000), "{data}");
                self.beats.push(get(&data, "state").as_str().unwrap().to_owned());
                self.send("heartbeat", Value::Nil);
            }
            "logs" => {
                let lines = get(&data, "logs").as_array().unwrap();
                self.logs = lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect();
            }
            _ => return Some(Some((kind, data))),
        }
        Some(None)
    }

    fn unpack(&self, bytes: &[u8]) -> (String, Value) {
        let mut rest = bytes;
        let envelope = rmpv::decode::read_value(&mut rest).expect("what is no msgpack kills the master's listener");
        assert!(rest.is_empty(), "extra bytes");
        let [kind, data, node] = envelope.as_array().expect("an array").as_slice() else { panic!("{envelope}") };
        assert_eq!(node.as_str(), Some(&*self.identity), "the answers go to this name");
        (kind.as_str().expect("text").to_owned(), data.clone())
    }

    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        let (got, data) = self.next().unwrap_or_else(|| panic!("{kind}, but the connection ended"));
        assert_eq!(got, kind, "{data}");
        data
    }

    pub(crate) fn expect_end(&mut self) {
        if let Some((kind, data)) = self.next() {
            panic!("the end of the connection, but {kind}: {data}");
        }
    }

    /// Waits for a sign of life.
    pub(crate) fn beat(&mut self) -> String {
        self.beats.clear();
        while self.beats.is_empty() {
            assert!(self.one_message().is_some(), "the connection ended");
        }
        self.beats[0].clone()
    }

    pub(crate) fn register(&mut self) {
        assert_eq!(self.expect("client_ready").as_i64(), Some(-1), "any other number kills the master's listener");
        self.send("ack", map([("index", 0.into())]));
    }

    pub(crate) fn send(&mut self, kind: &str, data: Value) {
        let mut bytes = Vec::new();
        let envelope = Value::Array(vec![kind.into(), data, self.identity.as_str().into()]);
        rmpv::encode::write_value(&mut bytes, &envelope).unwrap();
        self.send_raw(&zmtp::message(&bytes));
    }

    /// Bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Targets, and the worker's confirmation: users it says it has.
    pub(crate) fn spawn(&mut self, users: &[(&str, u32)], host: Option<&str>) -> Value {
        self.send_spawn(users, host);
        self.confirmed()
    }

    pub(crate) fn send_spawn(&mut self, users: &[(&str, u32)], host: Option<&str>) {
        let counts = users.iter().map(|(class, count)| ((*class).into(), (*count).into())).collect();
        let data = map([
            ("timestamp", now().into()),
            ("user_classes_count", Value::Map(counts)),
            ("host", host.map_or(Value::Nil, Value::from)),
            ("stop_timeout", 0.0.into()),
            ("parsed_options", map([("num_users", 1.into()), ("secret", "x".into())])),
        ]);
        self.send("spawn", data);
    }

    pub(crate) fn confirmed(&mut self) -> Value {
        self.expect("spawning");
        let data = self.expect("spawning_complete");
        let counts = get(&data, "user_classes_count");
        let sum: u64 = counts.as_map().unwrap().iter().map(|(_, count)| count.as_u64().unwrap()).sum();
        assert_eq!(get(&data, "user_count").as_u64(), Some(sum), "{data}");
        counts.clone()
    }

    /// Takes reports until `enough` says so.
    pub(crate) fn stats_until(&mut self, sums: &mut Sums, enough: impl Fn(&Sums) -> bool) {
        while !enough(sums) {
            let report = self.expect("stats");
            sums.add(&report);
        }
    }

    /// Takes reports until something else comes, which must be this.
    pub(crate) fn stats_before(&mut self, sums: &mut Sums, kind: &str) {
        loop {
            match self.next() {
                Some((got, data)) if got == "stats" => sums.add(&data),
                Some((got, _)) if got == kind => return,
                other => panic!("{kind}, but {other:?}"),
            }
        }
    }
}

/// What the real master adds up.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Sums of the rows, which must be the total.
    pub(crate) rows: u64,
    pub(crate) histogram: u64,
    pub(crate) per_second: u64,
    pub(crate) errors: u64,
    pub(crate) users: u64,
    pub(crate) reports: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, report: &Value) {
        let total = get(report, "stats_total");
        check_entry(total);
        self.requests += number(total, "num_requests");
        self.failures += number(total, "num_failures");
        self.histogram += number(total, "num_none_requests") + values(get(total, "response_times"));
        self.per_second += values(get(total, "num_reqs_per_sec"));
        for entry in get(report, "stats").as_array().unwrap() {
            check_entry(entry);
            self.rows += number(entry, "num_requests");
        }
        for (_, error) in get(report, "errors").as_map().unwrap() {
            self.errors += number(error, "occurrences");
            assert!(get(error, "error").as_str().is_some_and(|text| !text.is_empty()), "{error}");
        }
        let users = get(report, "user_classes_count").as_map().unwrap();
        self.users = users.iter().map(|(_, count)| count.as_u64().unwrap()).sum();
        assert_eq!(number(report, "user_count"), self.users);
        self.reports += 1;
    }

    /// Every number agrees with every other.
    pub(crate) fn assert_consistent(&self) {
        let requests = self.requests;
        assert_eq!((self.rows, self.histogram, self.per_second), (requests, requests, requests), "{self:?}");
        assert_eq!(self.errors, self.failures, "{self:?}");
    }
}

fn check_entry(entry: &Value) {
    let start = get(entry, "start_time").as_f64().unwrap();
    assert!((now() - start).abs() < 60.0, "counted since {start}");
    let idle = number(entry, "num_requests") == 0;
    assert_eq!(get(entry, "min_response_time").is_nil(), idle, "a 0 would be the least for ever: {entry}");
    assert_eq!(get(entry, "last_request_timestamp").is_nil(), idle, "{entry}");
    for key in ["name", "method"] {
        assert!(get(entry, key).as_str().is_some(), "{entry}");
    }
    for key in ["total_response_time", "max_response_time", "total_content_length"] {
        assert!(get(entry, key).as_f64().is_some_and(|value| value >= 0.0), "{key} in {entry}");
    }
    for key in ["response_times", "num_reqs_per_sec", "num_fail_per_sec"] {
        assert!(get(entry, key).as_map().unwrap().iter().all(|(key, _)| key.is_number()), "{key} in {entry}");
    }
}

/// The key must be there: the real master raises otherwise.
pub(crate) fn get<'a>(data: &'a Value, key: &str) -> &'a Value {
    let fields = data.as_map().unwrap_or_else(|| panic!("no map: {data}"));
    let field = fields.iter().find(|(name, _)| name.as_str() == Some(key));
    &field.unwrap_or_else(|| panic!("no {key} in {data}")).1
}

fn number(data: &Value, key: &str) -> u64 {
    get(data, key).as_u64().unwrap_or_else(|| panic!("{key} in {data}"))
}

fn values(histogram: &Value) -> u64 {
    histogram.as_map().unwrap().iter().map(|(_, count)| count.as_u64().unwrap()).sum()
}

pub(crate) fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

#[expect(clippy::disallowed_methods, reason = "the master's messages carry the time of day")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
