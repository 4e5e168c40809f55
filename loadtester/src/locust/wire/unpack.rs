//! A master's messages out of msgpack. Whatever is in one beyond what a worker needs is passed over, above all `parsed_options`: it may
//! hold secrets, and is neither kept nor shown.

use std::fmt;

use rmpv::Value;

use super::{ClassUpdate, Counts, FromMaster, Source, Spawn};

/// A message that is not one of Locust's. It is dropped; the connection goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Locust nests five deep. Each level is a stack frame of the reader.
const MAX_DEPTH: usize = 64;

/// Reads one message of a master.
pub fn unpack(bytes: &[u8]) -> Result<FromMaster, Unreadable> {
    let mut rest = bytes;
    let envelope = rmpv::decode::read_value_with_max_depth(&mut rest, MAX_DEPTH)
        .map_err(|error| Unreadable(format!("not msgpack: {error}")))?;
    if !rest.is_empty() {
        return Err(Unreadable(format!("{} bytes too many", rest.len())));
    }
    let Value::Array(parts) = envelope else { return Err(Unreadable("not an array".into())) };
    let [kind, data, _node] = parts.as_slice() else {
        return Err(Unreadable(format!("an array of {} instead of type, data and node id", parts.len())));
    };
    let kind = kind.as_str().ok_or_else(|| Unreadable("its type is not text".into()))?;
    let message = match kind {
        "ack" => FromMaster::Ack(field(data, "index").and_then(Value::as_u64)),
        "spawn" => FromMaster::Spawn(spawn(data).map_err(|key| Unreadable(format!("spawn without a usable {key}")))?),
        "spawning_complete" => FromMaster::SpawningComplete,
        "stop" => FromMaster::Stop,
        "quit" => FromMaster::Quit,
        "heartbeat" => FromMaster::Heartbeat,
        "reconnect" => FromMaster::Reconnect,
        "update_user_class" => FromMaster::UpdateUserClass(
            class_update(data).ok_or_else(|| Unreadable("update_user_class without a user_class_name".into()))?,
        ),
        "locustfile" => FromMaster::Locustfile(
            sources(data).ok_or_else(|| Unreadable("locustfile with neither locustfiles nor an error".into()))?,
        ),
        _ => FromMaster::Custom(kind.to_owned()),
    };
    Ok(message)
}

fn field<'a>(data: &'a Value, name: &str) -> Option<&'a Value> {
    data.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

fn text(data: &Value, name: &str) -> Option<String> {
    field(data, name)?.as_str().map(str::to_owned)
}

/// The key that cannot be used is the error.
fn spawn(data: &Value) -> Result<Spawn, &'static str> {
    let timestamp = field(data, "timestamp").and_then(Value::as_f64).filter(|at| at.is_finite()).ok_or("timestamp")?;
    let users = field(data, "user_classes_count").and_then(counts).ok_or("user_classes_count")?;
    let stop_timeout = match field(data, "stop_timeout") {
        None | Some(Value::Nil) => 0.0,
        Some(value) => value.as_f64().filter(|seconds| (0.0..=86_400.0).contains(seconds)).ok_or("stop_timeout")?,
    };
    let options = field(data, "parsed_options").unwrap_or(&Value::Nil);
    let reset_stats = field(options, "reset_stats").and_then(Value::as_bool).unwrap_or(false);
    Ok(Spawn { timestamp, users, host: text(data, "host").filter(|host| !host.is_empty()), stop_timeout, reset_stats })
}

fn counts(value: &Value) -> Option<Counts> {
    let entry =
        |(class, count): &(Value, Value)| Some((class.as_str()?.to_owned(), u32::try_from(count.as_u64()?).ok()?));
    value.as_map()?.iter().map(entry).collect()
}

fn class_update(data: &Value) -> Option<ClassUpdate> {
    let class = text(data, "user_class_name")?;
    let keys = data.as_map()?.iter().filter_map(|(key, _)| key.as_str());
    let others = keys.filter(|key| !matches!(*key, "user_class_name" | "host")).map(str::to_owned).collect();
    Some(ClassUpdate { class, host: text(data, "host").filter(|host| !host.is_empty()), others })
}

fn sources(data: &Value) -> Option<Result<Vec<Source>, String>> {
    if let Some(error) = text(data, "error") {
        return Some(Err(error));
    }
    let source = |value: &Value| match value.as_str() {
        Some(url) => Some(Source::Url(url.to_owned())),
        None => Some(Source::Text { name: text(value, "filename")?, contents: text(value, "contents")? }),
    };
    field(data, "locustfiles")?.as_array()?.iter().map(source).collect::<Option<_>>().map(Ok)
}
