//! Panics as lines of the log: what was said, where, and on which thread, as one event.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use serde_json::json;

use super::{Field, Level, Record};

/// A panic, as far as the hook is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panic {
    said: String,
    place: Option<Place>,
    thread: String,
    /// Only where `RUST_BACKTRACE` asks for it.
    stack: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    file: String,
    line: u32,
    column: u32,
}

/// From now on a panic of this process is a line of its log, and not several beside it.
pub fn say_panics() {
    std::panic::set_hook(Box::new(|info| Panic::of(info).say(Vec::new())));
}

impl Panic {
    /// To be called by a panic hook.
    #[must_use]
    pub fn of(info: &PanicHookInfo<'_>) -> Self {
        let place = info.location().map(|place| Place {
            file: place.file().to_owned(),
            line: place.line(),
            column: place.column(),
        });
        let stack = Backtrace::capture();
        let stack = (stack.status() == BacktraceStatus::Captured).then(|| stack.to_string());
        Self {
            said: said(info.payload()),
            place,
            thread: std::thread::current().name().unwrap_or("<unnamed>").to_owned(),
            stack,
        }
    }

    /// What is known of a panic that no hook has seen.
    #[must_use]
    pub fn from_payload(payload: &(dyn Any + Send)) -> Self {
        Self { said: said(payload), place: None, thread: String::new(), stack: None }
    }

    /// What happened, without the thread: `panicked: MESSAGE, at FILE:LINE:COLUMN`.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = "panicked".to_owned();
        if !self.said.is_empty() {
            words += &format!(": {}", self.said);
        }
        if let Some(Place { file, line, column }) = &self.place {
            words += &format!(", at {file}:{line}:{column}");
        }
        words
    }

    /// What comes after the words where somebody asked for it, with its lines.
    #[must_use]
    pub fn stack(&self) -> String {
        self.stack.as_ref().map_or_else(String::new, |stack| format!("\nstack backtrace:\n{stack}"))
    }

    /// For machines.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        self.place.iter().map(|place| source_location(&place.file, place.line)).collect()
    }

    /// Writes a line of its own.
    pub fn say(&self, mut fields: Vec<Field>) {
        fields.extend(self.fields());
        let message = format!("Thread '{}' {}{}", self.thread, self.words(), self.stack());
        Record { level: Level::Error, message: &message, origin: None, fields: &fields }.say();
    }
}

/// Where in the code: as Google Cloud Logging has it, the line as text.
#[must_use]
pub fn source_location(file: &str, line: u32) -> Field {
    ("logging.googleapis.com/sourceLocation".into(), json!({"file": file, "line": line.to_string()}))
}

fn said(payload: &(dyn Any + Send)) -> String {
    let said = payload.downcast_ref::<&str>().copied();
    said.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default().to_owned()
}
