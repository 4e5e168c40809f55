//! A request, a reply, and the lines they are.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::Command;
use crate::{HELP, PROTOCOL};

/// One line to the master.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Comes back with the reply; any JSON value.
    #[serde(default)]
    pub id: Value,
    /// One or more words.
    pub command: String,
    /// More words: texts, or numbers.
    #[serde(default)]
    pub args: Vec<Value>,
    /// What the client speaks. A master that does not know it says so instead of guessing.
    #[serde(default = "current")]
    pub protocol: u32,
}

const fn current() -> u32 {
    PROTOCOL
}

/// One line from the master.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Reply {
    /// The request's; null if that could not be read.
    #[serde(default)]
    pub id: Value,
    /// How it went.
    pub status: Status,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// What is wrong, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the master speaks.
    pub protocol: u32,
}

/// How a request went.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As asked; there is `data`.
    Ok,
    /// Not at all; there is `error`.
    Error,
}

impl Request {
    /// A request for a command.
    #[must_use]
    pub fn new(id: u64, command: &Command) -> Self {
        let mut words = command.words();
        let args = words.split_off(command.length());
        Self {
            id: id.into(),
            command: words.join(" "),
            args: args.into_iter().map(Value::from).collect(),
            protocol: PROTOCOL,
        }
    }

    /// Reads a line. What is wrong with it is worded for whoever sent it, who may be a person with a socket in hand.
    ///
    /// # Errors
    /// The line is no request; then there is no id to answer with.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| {
            let example = r#"send one JSON object a line, such as {"command":"show workers"}"#;
            format!("not a request: {error}; {example}")
        })
    }

    /// The command.
    ///
    /// # Errors
    /// It is none, or for a protocol that is not spoken here.
    pub fn parsed_command(&self) -> Result<Command, String> {
        if self.protocol != PROTOCOL {
            let Self { protocol, .. } = self;
            return Err(format!("protocol {protocol} is not spoken here; this master speaks {PROTOCOL}"));
        }
        let mut words: Vec<String> = self.command.split_whitespace().map(str::to_owned).collect();
        for arg in &self.args {
            words.push(match arg {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                other => return Err(format!("an argument is a text or a number, and not {other}")),
            });
        }
        Command::parse(&words).map_err(|error| format!("{error}; the commands are:\n{HELP}"))
    }

    /// As it is sent.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        line(self)
    }
}

impl Reply {
    /// It went as asked.
    #[must_use]
    pub const fn ok(id: Value, data: Value) -> Self {
        Self { id, status: Status::Ok, data: Some(data), error: None, protocol: PROTOCOL }
    }

    /// It did not.
    #[must_use]
    pub const fn error(id: Value, error: String) -> Self {
        Self { id, status: Status::Error, data: None, error: Some(error), protocol: PROTOCOL }
    }

    /// As it is sent.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        line(self)
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("only strings are keys");
    line.push(b'\n');
    line
}
