//! What the settings of the log accept.

use rustcorn_sys::log::{Format, Level};

use crate::input::Input;
use crate::problem::did_you_mean;
use crate::rule::{Rule, quoted};

/// The severity below which nothing is logged.
pub(crate) struct LogLevel;

const LEVELS: [&str; 5] = ["debug", "info", "warning", "error", "critical"];

impl Rule<Level> for LogLevel {
    fn allowed(&self) -> String {
        "\"debug\", \"info\", \"warning\", \"error\" or \"critical\"".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Level, String> {
        let text = input.text().unwrap_or_default();
        text.parse().map_err(|()| {
            // "warn", as other loggers have it, is further away than a typing error.
            let meant = if text.eq_ignore_ascii_case("warn") { "warning" } else { text };
            input.refused(&self.allowed()) + &did_you_mean(meant, LEVELS)
        })
    }

    fn show(&self, value: &Level) -> String {
        quoted(value.name())
    }
}

/// How lines are written.
pub(crate) struct LogFormat;

impl Rule<Format> for LogFormat {
    fn allowed(&self) -> String {
        "\"text\" or \"json\"".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Format, String> {
        let text = input.text().unwrap_or_default();
        text.parse().map_err(|()| input.refused(&self.allowed()) + &did_you_mean(text, ["text", "json"]))
    }

    fn show(&self, value: &Format) -> String {
        quoted(value.name())
    }
}
