//! What the settings of the process itself accept: permissions, paths, accounts, variables, profiles.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::input::Input;
use crate::problem::did_you_mean;
use crate::profile::PROFILES;
use crate::rule::{Rule, quoted};

/// Permission bits in octal; empty for what the setting says of that.
pub(crate) struct Octal;

impl Rule<Option<u32>> for Octal {
    fn allowed(&self) -> String {
        "octal digits with a 0 in front, such as 0027, from 0 to 0777, or nothing".to_owned()
    }

    /// Without the 0 in front it is refused: gunicorn and TOML read 27 as decimal, and everybody means octal.
    fn parse(&self, input: &Input) -> Result<Option<u32>, String> {
        let digits = match input {
            Input::Octal(digits, _) => Some(digits.as_str()),
            Input::Number(digits) => Some(digits.as_str()).filter(|digits| *digits == "0"),
            _ => match input.text() {
                Some("") => return Ok(None),
                text => text.and_then(|text| text.strip_prefix('0')).map(|rest| rest.strip_prefix('o').unwrap_or(rest)),
            },
        };
        let value = digits.and_then(|digits| match digits {
            "" => Some(0), // "0" without its 0
            digits if digits.bytes().all(|byte| (b'0'..b'8').contains(&byte)) => u32::from_str_radix(digits, 8).ok(),
            _ => None,
        });
        value.filter(|value| *value <= 0o777).map(Some).ok_or_else(|| input.refused(&self.allowed()))
    }

    fn show(&self, value: &Option<u32>) -> String {
        quoted(&value.map_or_else(String::new, |value| format!("{value:04o}")))
    }
}

/// A path, or nothing.
pub(crate) struct Place;

impl Rule<Option<PathBuf>> for Place {
    fn allowed(&self) -> String {
        "a path without control characters, or nothing".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Option<PathBuf>, String> {
        match input.text() {
            Some("") => Ok(None),
            Some(text) if text.len() < 4096 && !text.contains(char::is_control) => Ok(Some(text.into())),
            _ => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &Option<PathBuf>) -> String {
        quoted(&value.as_ref().map_or_else(String::new, |path| path.display().to_string()))
    }
}

/// Name or number of a user or group, or nothing. Whether there is one, the master looks up.
pub(crate) struct Account;

impl Rule<String> for Account {
    fn allowed(&self) -> String {
        "a name or a number, or nothing".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<String, String> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == ':';
        match input.text().or_else(|| input.number()) {
            Some(text) if text.len() <= 255 && !text.starts_with(['-', '+']) && !text.contains(bad) => {
                Ok(text.to_owned())
            }
            _ => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Variables of the environment.
pub(crate) struct Variables;

/// How the master tells a worker what it is given; nobody else can know.
const OURS: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "RUSTCORN_HANDOFF"];

impl Variables {
    fn add(found: &mut BTreeMap<String, String>, name: &str, value: &str) -> Result<(), String> {
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control()) {
            return Err(format!("{name:?} is not the name of a variable; use KEY=VALUE"));
        }
        if value.contains('\0') {
            return Err(format!("the value of {name} holds a zero byte, which no variable can"));
        }
        if OURS.contains(&name) {
            return Err(format!("{name} is set by the master; remove it"));
        }
        match found.insert(name.to_owned(), value.to_owned()) {
            None => Ok(()),
            Some(_) => Err(format!("{name} is set twice; remove one")),
        }
    }
}

impl Rule<BTreeMap<String, String>> for Variables {
    fn allowed(&self) -> String {
        "KEY=VALUE (several: a list, the flag again, or the table [env])".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<BTreeMap<String, String>, String> {
        let mut found = BTreeMap::new();
        let mut pair = |item: &Input| {
            let text = match item {
                Input::Untyped(text) | Input::Text(text) => text,
                other => return Err(other.refused(&self.allowed())),
            };
            // The value is not shown: it may be a secret.
            let (name, value) =
                text.split_once('=').ok_or_else(|| format!("no equals sign; use {}", self.allowed()))?;
            Self::add(&mut found, name, value)
        };
        match input {
            Input::Untyped(text) | Input::Text(text) if text.is_empty() => {}
            Input::List(items) => items.iter().try_for_each(pair)?,
            Input::Table(items) => items.iter().try_for_each(|(name, value)| match value {
                Input::Text(text) | Input::Number(text) => Self::add(&mut found, name, text),
                Input::Boolean(boolean) => Self::add(&mut found, name, &boolean.to_string()),
                _ => Err(format!("{name} is not text; write {name} = \"VALUE\"")),
            })?,
            other => pair(other)?,
        }
        Ok(found)
    }

    fn show(&self, value: &BTreeMap<String, String>) -> String {
        let items: Vec<String> = value.iter().map(|(name, value)| quoted(&format!("{name}={value}"))).collect();
        format!("[{}]", items.join(", "))
    }
}

/// The name of a profile, or nothing.
pub(crate) struct Profile;

impl Rule<String> for Profile {
    fn allowed(&self) -> String {
        let names: Vec<String> = PROFILES.iter().map(|profile| quoted(profile.name)).collect();
        format!("{} or nothing", names.join(", "))
    }

    fn parse(&self, input: &Input) -> Result<String, String> {
        let known = || PROFILES.iter().map(|profile| profile.name);
        match input.text() {
            Some(text) if text.is_empty() || known().any(|name| name == text) => Ok(text.to_owned()),
            text => Err(input.refused(&self.allowed()) + &did_you_mean(text.unwrap_or_default(), known())),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}
