//! A line as a JSON object: the special fields of Google Cloud Logging where there is one for a thing, plain names otherwise.
//!
//! All escaping is serde's. A line that is too long stays an object: first the message is cut, then long texts in fields, then
//! fields are left out, the last first.

use jiff::Zoned;
use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::{Map, Value};

use super::{Field, PIPE_BUF, Record, cut};

/// What a long message keeps while there are fields to cut.
const MESSAGE: usize = 1024;
/// What texts in fields are cut to, more and more.
const TEXTS: [usize; 4] = [usize::MAX, 512, 128, 32];

pub(super) fn line(record: &Record<'_>, now: &Zoned, process: &[Field]) -> Vec<u8> {
    let mut object = Object {
        time: format!("{:.6}", now.timestamp()),
        severity: record.level.to_string(),
        process,
        fields: fields(record),
        truncated: false,
    };
    let message = record.text();
    let line = object.line(&message);
    if line.len() <= PIPE_BUF { line } else { object.shortened(&message) }
}

/// What comes after the process.
fn fields(record: &Record<'_>) -> Vec<Field> {
    let mut fields = record.fields.to_vec();
    if let Some(origin) = record.origin {
        let span = |(name, fields): &(&'static str, Map<String, Value>)| {
            let mut span = Map::from_iter([("name".to_owned(), Value::from(*name))]);
            if !fields.is_empty() {
                span.insert("fields".to_owned(), fields.clone().into());
            }
            Value::from(span)
        };
        let spans: Vec<Value> = origin.spans.iter().map(span).collect();
        let parts = [
            ("target", Value::from(origin.target.as_str()), origin.target.is_empty()),
            // In an object of their own, where no name can clash with ours.
            ("fields", origin.fields.clone().into(), origin.fields.is_empty()),
            ("spans", spans.into(), origin.spans.is_empty()),
        ];
        fields.extend(parts.into_iter().filter(|part| !part.2).map(|(name, value, _)| (name.into(), value)));
    }
    fields
}

struct Object<'a> {
    time: String,
    severity: String,
    process: &'a [Field],
    fields: Vec<Field>,
    truncated: bool,
}

impl Object<'_> {
    fn line(&self, message: &str) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        self.serialize(message, &mut line).expect("memory takes all, and all names are text");
        line.push(b'\n');
        line
    }

    fn serialize(&self, message: &str, line: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut serializer = serde_json::Serializer::new(line);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("severity", &self.severity)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("message", message)?;
        map.serialize_entry("pid", &std::process::id())?;
        for (name, value) in self.process.iter().chain(&self.fields) {
            map.serialize_entry(name, value)?;
        }
        if self.truncated {
            map.serialize_entry("truncated", &true)?;
        }
        map.end()
    }

    fn shortened(&mut self, message: &str) -> Vec<u8> {
        self.truncated = true;
        for longest in TEXTS {
            self.fields.iter_mut().for_each(|(_, value)| shorten(value, longest));
            if let Some(line) = self.with_cut(message) {
                return line;
            }
        }
        while self.fields.pop().is_some() {
            if let Some(line) = self.with_cut(message) {
                return line;
            }
        }
        self.line("") // not reached: a process is described by a few words
    }

    /// The line, if it fits with as much of the message as it should have.
    fn with_cut(&self, message: &str) -> Option<Vec<u8>> {
        let room = PIPE_BUF.checked_sub(self.line("").len())?;
        let longest = message.len().min(room);
        if room < MESSAGE && escaped(message) > room {
            return None;
        }
        // Escapes make it longer, by how much only serde knows.
        let (mut fits, mut too_long) = (0, longest + 1);
        while too_long - fits > 1 {
            let middle = usize::midpoint(fits, too_long);
            if escaped(&cut(message, middle)) <= room { fits = middle } else { too_long = middle }
        }
        Some(self.line(&cut(message, fits)))
    }
}

/// The length of a text between its quotes.
fn escaped(text: &str) -> usize {
    serde_json::to_string(text).map_or(usize::MAX, |text| text.len() - 2)
}

/// Cuts all texts in a value.
fn shorten(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) if text.len() > longest => *text = cut(text, longest).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(|value| shorten(value, longest)),
        Value::Object(map) => map.values_mut().for_each(|value| shorten(value, longest)),
        _ => {}
    }
}
