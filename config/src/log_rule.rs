//! What the settings of the log accept.

use std::path::PathBuf;

use rustcorn_sys::log::syslog::{Address, Facility, Kind, Plan};
use rustcorn_sys::log::{Format, Level};

use crate::address::{LONGEST_PATH, host_and_port};
use crate::input::Input;
use crate::problem::did_you_mean;
use crate::rule::{Rule, quoted};
use crate::settings::Settings;

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

/// The file that lines go to; `None` for standard error.
pub(crate) struct LogFile;

const STANDARD_ERROR: &str = "-";

impl Rule<Option<PathBuf>> for LogFile {
    fn allowed(&self) -> String {
        "the path of a file, or - for standard error".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Option<PathBuf>, String> {
        match input.text() {
            Some(STANDARD_ERROR) => Ok(None),
            Some(path) if !path.is_empty() && !path.contains(char::is_control) => Ok(Some(path.into())),
            _ => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &Option<PathBuf>) -> String {
        quoted(&value.as_ref().map_or_else(|| STANDARD_ERROR.to_owned(), |path| path.display().to_string()))
    }
}

/// A syslog server.
pub(crate) struct SyslogServer;

const SYSLOG_PORT: u16 = 514;
/// They end a program's name in a line of syslog.
pub(crate) const PREFIX_FORBIDDEN: &str = ":[]";

impl SyslogServer {
    fn read(text: &str) -> Result<Address, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("")?;
        if scheme == "unix" {
            let (path, kind) = match rest.rsplit_once('#') {
                Some((path, "dgram")) => (path, Kind::Datagram),
                Some((path, "stream")) => (path, Kind::Stream),
                Some(_) => return Err("after # comes dgram or stream"),
                None => (rest, Kind::Either),
            };
            return match path {
                "" => Err("the path is missing"),
                // The address is one word of what the admin process is given.
                path if path.contains(|c: char| c.is_control() || c.is_whitespace()) => {
                    Err("the path holds a blank or a control character")
                }
                path if path.len() > LONGEST_PATH => Err("a unix socket's path has at most 107 bytes"),
                path => Ok(Address::Unix { path: path.into(), kind }),
            };
        }
        // As gunicorn: no host is this one.
        let (host, port) =
            if rest.is_empty() { (String::new(), SYSLOG_PORT) } else { host_and_port(rest, SYSLOG_PORT)? };
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        match scheme {
            _ if port == 0 => Err("nothing can be sent to port 0"),
            "udp" => Ok(Address::Udp { host, port }),
            "tcp" => Ok(Address::Tcp { host, port }),
            _ => Err(""),
        }
    }
}

impl Rule<Address> for SyslogServer {
    fn allowed(&self) -> String {
        "udp://HOST:PORT, tcp://HOST:PORT, unix://PATH, unix://PATH#dgram or unix://PATH#stream".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Address, String> {
        Self::read(input.text().unwrap_or_default()).map_err(|reason| {
            let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            format!("{} is not allowed{reason}; use {}", input.shown(), self.allowed())
        })
    }

    fn show(&self, value: &Address) -> String {
        quoted(&value.to_string())
    }
}

/// A facility of syslog.
pub(crate) struct LogFacility;

impl Rule<Facility> for LogFacility {
    fn allowed(&self) -> String {
        let names: Vec<_> = Facility::names().map(quoted).collect();
        format!("one of {}", names.join(", "))
    }

    fn parse(&self, input: &Input) -> Result<Facility, String> {
        let text = input.text().unwrap_or_default();
        text.parse().map_err(|()| input.refused(&self.allowed()) + &did_you_mean(text, Facility::names()))
    }

    fn show(&self, value: &Facility) -> String {
        quoted(&value.to_string())
    }
}

impl Settings {
    /// What goes to syslog, and how; `None` if nothing does.
    #[must_use]
    pub fn syslog_plan(&self) -> Option<Plan> {
        let tag = format!("rustcorn.{}.error", self.syslog_prefix);
        self.syslog.then(|| Plan { address: self.syslog_addr.clone(), facility: self.syslog_facility, tag })
    }

    /// Gives syslog the name of what is served where there is no other.
    pub fn name_for_syslog(&mut self, name: &str) {
        if self.syslog && self.syslog_prefix.is_empty() {
            let means_something = |c: char| c.is_whitespace() || c.is_control() || PREFIX_FORBIDDEN.contains(c);
            self.syslog_prefix = name.replace(means_something, ".");
        }
    }
}
