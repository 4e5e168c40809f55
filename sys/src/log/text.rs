//! A line as gunicorn writes it.

use jiff::Zoned;
use serde_json::{Map, Value};

use super::{Origin, PIPE_BUF, Record, cut};

pub(super) fn line(record: &Record<'_>, now: &Zoned) -> String {
    let head = format!("[{}] [{}] [{}] ", now.strftime("%Y-%m-%d %H:%M:%S %z"), std::process::id(), record.level);
    let mut line = cut(&(head + &message(record)), PIPE_BUF - 1).into_owned();
    line.push('\n');
    line
}

/// What happened, with all that the application says about it, on one line.
pub(super) fn message(record: &Record<'_>) -> String {
    let mut said = String::new();
    if let Some(origin) = record.origin {
        add_places(&mut said, origin);
    }
    let message = record.text();
    said.push_str(&message);
    if let Some(origin) = record.origin {
        add_fields(&mut said, &origin.fields, if message.is_empty() { "" } else { " " });
    }
    printable(&said)
}

/// `outer{id=7}:inner: target: `, as `tracing` users know it.
fn add_places(line: &mut String, origin: &Origin) {
    for (at, (name, fields)) in origin.spans.iter().enumerate() {
        line.push_str(if at == 0 { "" } else { ":" });
        line.push_str(name);
        if !fields.is_empty() {
            line.push('{');
            add_fields(line, fields, "");
            line.push('}');
        }
    }
    line.push_str(if origin.spans.is_empty() { "" } else { ": " });
    line.push_str(&origin.target);
    line.push_str(if origin.target.is_empty() { "" } else { ": " });
}

/// `key=value` with blanks between.
fn add_fields(line: &mut String, fields: &Map<String, Value>, mut separator: &str) {
    for (name, value) in fields {
        line.push_str(separator);
        line.push_str(name);
        line.push('=');
        match value {
            Value::String(text) if is_word(text) => line.push_str(text),
            other => line.push_str(&other.to_string()),
        }
        separator = " ";
    }
}

/// Whether it can be told from its surroundings without quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"={}".contains(c))
}

/// Control characters as escapes: one event stays one line, nothing can be forged, and no terminal is taken over.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_debug()) } else { line.push(c) }
    }
    line
}
