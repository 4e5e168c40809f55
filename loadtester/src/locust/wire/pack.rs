//! A worker's messages as msgpack. Maps, never arrays of fields; histogram keys are numbers.

use std::collections::BTreeMap;

use rmpv::Value;

use super::{Counts, Entry, ErrorRow, Heartbeat, Report, State, ToMaster, total};
use crate::locust::rounding::Bucket;

/// What the master asks the requester of its locustfile for. It compares the first four characters with its own, and says nothing of
/// others; a number in its place would end it.
const VERSION: &str = "rustcorn";

/// The message as the worker called `node` sends it; `node` is the name it gave in ZeroMQ's handshake.
pub fn pack(message: &ToMaster, node: &str) -> Vec<u8> {
    let (kind, data) = match message {
        ToMaster::ClientReady => ("client_ready", Value::from(-1)),
        ToMaster::Heartbeat(heartbeat) => ("heartbeat", pack_heartbeat(*heartbeat)),
        ToMaster::Spawning => ("spawning", Value::Nil),
        ToMaster::SpawningComplete(users) => ("spawning_complete", map(pack_users(users))),
        ToMaster::Stats(report) => ("stats", pack_report(report)),
        ToMaster::ClientStopped => ("client_stopped", Value::Nil),
        ToMaster::Exception { message, traceback } => {
            ("exception", map([("msg", message.as_str().into()), ("traceback", traceback.as_str().into())]))
        }
        ToMaster::Logs(lines) => {
            let lines = lines.iter().map(|line| Value::from(line.as_str())).collect();
            ("logs", map([("worker_id", node.into()), ("logs", Value::Array(lines))]))
        }
        ToMaster::Quit => ("quit", Value::Nil),
        ToMaster::Locustfile => ("locustfile", map([("version", VERSION.into())])),
    };
    let mut bytes = Vec::new();
    let envelope = Value::Array(vec![kind.into(), data, node.into()]);
    rmpv::encode::write_value(&mut bytes, &envelope).expect("writing to memory cannot fail");
    bytes
}

fn map<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn pack_heartbeat(heartbeat: Heartbeat) -> Value {
    let state = match heartbeat.state {
        State::Ready => "ready",
        State::Running => "running",
    };
    map([
        ("state", state.into()),
        ("current_cpu_usage", heartbeat.cpu.into()),
        ("current_memory_usage", heartbeat.memory.into()),
    ])
}

fn pack_users(users: &Counts) -> [(&'static str, Value); 2] {
    let counts = users.iter().map(|(class, count)| (class.as_str(), Value::from(*count)));
    [("user_classes_count", map(counts)), ("user_count", total(users).into())]
}

fn pack_report(report: &Report) -> Value {
    let entries = report.entries.iter().map(pack_entry).collect();
    let errors = report.errors.iter().map(|row| (key(row), pack_error(row)));
    let fields = [
        ("stats", Value::Array(entries)),
        ("stats_total", pack_entry(&report.total)),
        ("errors", Value::Map(errors.map(|(key, value)| (key.into(), value)).collect())),
    ];
    map(fields.into_iter().chain(pack_users(&report.users)))
}

/// Any text that all workers agree on.
fn key(row: &ErrorRow) -> String {
    format!("{}.{}.{}", row.method, row.name, row.error)
}

fn pack_entry(entry: &Entry) -> Value {
    map([
        ("name", entry.name.as_str().into()),
        ("method", entry.method.as_str().into()),
        ("last_request_timestamp", optional(entry.last_request)),
        ("start_time", entry.start.into()),
        ("num_requests", entry.requests.into()),
        ("num_none_requests", entry.untimed.into()),
        ("num_failures", entry.failures.into()),
        ("total_response_time", entry.total_millis.into()),
        ("max_response_time", entry.max_millis.into()),
        ("min_response_time", optional(entry.min_millis)),
        ("total_content_length", entry.bytes.into()),
        ("response_times", histogram(&entry.buckets, |bucket| pack_bucket(*bucket))),
        ("num_reqs_per_sec", histogram(&entry.per_second, |second| (*second).into())),
        ("num_fail_per_sec", histogram(&entry.failures_per_second, |second| (*second).into())),
    ])
}

fn pack_error(row: &ErrorRow) -> Value {
    map([
        ("name", row.name.as_str().into()),
        ("method", row.method.as_str().into()),
        ("error", row.error.as_str().into()),
        ("occurrences", row.count.into()),
        ("first_seen", row.first_seen.into()),
        ("last_seen", row.last_seen.into()),
    ])
}

/// Whole milliseconds as Locust sends them, so that its console prints them alike.
fn pack_bucket(bucket: Bucket) -> Value {
    bucket.whole_millis().map_or_else(|| bucket.millis().into(), Value::from)
}

fn histogram<K>(counts: &BTreeMap<K, u64>, key: impl Fn(&K) -> Value) -> Value {
    Value::Map(counts.iter().map(|(at, count)| (key(at), (*count).into())).collect())
}

fn optional(value: Option<f64>) -> Value {
    value.map_or(Value::Nil, Value::from)
}
