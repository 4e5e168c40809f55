//! What each kind of setting accepts, and how it is written down again.

use std::fmt::Display;
use std::time::Duration;

use crate::address::{Address, StatsdHost};
use crate::duration;
use crate::endpoint::Endpoint;
use crate::input::Input;
use crate::problem::did_you_mean;

/// How values of one setting are read, described and written.
pub(crate) trait Rule<T> {
    /// Completes "use …" in a message and "Allowed: …" in the docs.
    fn allowed(&self) -> String;
    /// Reads a value; the error is what follows `key: ` in a message.
    fn parse(&self, input: &Input) -> Result<T, String>;
    /// Writes a value as TOML that [`Rule::parse`] reads back to the same value.
    fn show(&self, value: &T) -> String;
}

/// A whole number within bounds, both included.
pub(crate) struct Whole(pub(crate) u64, pub(crate) u64);

impl Whole {
    fn read<T: TryFrom<u64>>(&self, digits: &str) -> Option<T> {
        // u64's own parser would take "+1".
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())??;
        if (self.0..=self.1).contains(&number) { T::try_from(number).ok() } else { None }
    }

    fn parse_or_refuse<T: TryFrom<u64>>(&self, input: &Input, allowed: &str) -> Result<T, String> {
        if let Some(value) = input.number().and_then(|digits| self.read(digits)) {
            return Ok(value);
        }
        match input {
            Input::Text(text) if self.read::<T>(text.trim()).is_some() => {
                Err(format!("{text:?} is text; write {} without quotes", text.trim()))
            }
            _ => Err(input.refused(allowed)),
        }
    }
}

impl<T: TryFrom<u64> + Display> Rule<T> for Whole {
    fn allowed(&self) -> String {
        format!("a number from {} to {}", self.0, self.1)
    }

    fn parse(&self, input: &Input) -> Result<T, String> {
        self.parse_or_refuse(input, &Rule::<T>::allowed(self))
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A number of processes, or `auto` for one per CPU that this process may use.
pub(crate) struct Workers(pub(crate) Whole);

impl Rule<usize> for Workers {
    fn allowed(&self) -> String {
        format!("{} or \"auto\"", Rule::<usize>::allowed(&self.0))
    }

    fn parse(&self, input: &Input) -> Result<usize, String> {
        if input.text().is_some_and(|text| text.eq_ignore_ascii_case("auto")) {
            // The affinity mask and the cgroup's quota. Where neither can be read, one worker serves anyhow.
            return Ok(rustcorn_sys::cpus::usable().min(usize::try_from(self.0.1).unwrap_or(usize::MAX)));
        }
        self.0.parse_or_refuse(input, &self.allowed())
    }

    fn show(&self, value: &usize) -> String {
        value.to_string()
    }
}

/// A duration within bounds, both included, in milliseconds.
pub(crate) struct Time(pub(crate) u64, pub(crate) u64);

impl Rule<Duration> for Time {
    fn allowed(&self) -> String {
        format!("{}, such as 10, 0.5, \"500ms\" or \"2m\"", self.span())
    }

    fn parse(&self, input: &Input) -> Result<Duration, String> {
        time(input, |value| self.contains(value), || self.allowed())
    }

    fn show(&self, value: &Duration) -> String {
        duration::show(*value)
    }
}

impl Time {
    fn contains(&self, value: Duration) -> bool {
        (Duration::from_millis(self.0)..=Duration::from_millis(self.1)).contains(&value)
    }

    fn span(&self) -> String {
        let bound = |millis| duration::show(Duration::from_millis(millis));
        format!("a time from {} to {} seconds", bound(self.0), bound(self.1))
    }
}

/// As [`Time`], or zero for "off".
pub(crate) struct TimeOrOff(pub(crate) Time);

impl Rule<Duration> for TimeOrOff {
    fn allowed(&self) -> String {
        format!("0 (off) or {}, such as 10, 1.5 or \"2m\"", self.0.span())
    }

    fn parse(&self, input: &Input) -> Result<Duration, String> {
        time(input, |value| value.is_zero() || self.0.contains(value), || self.allowed())
    }

    fn show(&self, value: &Duration) -> String {
        duration::show(*value)
    }
}

/// Reads a time in any of its forms.
fn time(input: &Input, fits: impl Fn(Duration) -> bool, allowed: impl Fn() -> String) -> Result<Duration, String> {
    let plain = input.number().and_then(duration::parse_seconds);
    let value = plain.or_else(|| input.text().and_then(duration::parse_with_unit));
    match (value, input) {
        (Some(value), _) if fits(value) => Ok(value),
        (None, Input::Text(text)) if duration::parse_seconds(text.trim()).is_some() => {
            let number = text.trim();
            Err(format!("{text:?} is text without a unit; write {number} or \"{number}s\""))
        }
        _ => Err(input.refused(&allowed())),
    }
}

/// One or more addresses to listen on: a list, or text with commas.
pub(crate) struct Addresses;

impl Rule<Vec<Address>> for Addresses {
    fn allowed(&self) -> String {
        Address::ALLOWED.to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Vec<Address>, String> {
        let mut addresses = Vec::new();
        let mut add = |text: &str| {
            let address = Address::parse(text)?;
            if !address.is_any_port() && addresses.contains(&address) {
                return Err(format!("{text} is listed twice; remove one"));
            }
            addresses.push(address);
            Ok(())
        };
        match input {
            Input::Untyped(text) | Input::Text(text) => text.split(',').try_for_each(|item| add(item.trim()))?,
            Input::List(items) => {
                for item in items {
                    match item {
                        // A list needs no commas inside, and a path may hold one.
                        Input::Text(text) => add(text.trim())?,
                        Input::Untyped(text) => text.split(',').try_for_each(|item| add(item.trim()))?,
                        other => return Err(other.refused(&self.allowed())),
                    }
                }
            }
            other => return Err(other.refused(&self.allowed())),
        }
        if addresses.is_empty() {
            return Err(format!("an empty list is not allowed; use {}", self.allowed()));
        }
        Ok(addresses)
    }

    fn show(&self, value: &Vec<Address>) -> String {
        let items: Vec<String> = value.iter().map(|address| quoted(&address.to_setting())).collect();
        format!("[{}]", items.join(", "))
    }
}

/// Where metrics go; empty for nowhere.
pub(crate) struct Statsd;

impl Rule<Option<StatsdHost>> for Statsd {
    fn allowed(&self) -> String {
        StatsdHost::ALLOWED.to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Option<StatsdHost>, String> {
        match input.text() {
            None => Err(input.refused(&self.allowed())),
            Some("") => Ok(None),
            Some(text) => StatsdHost::parse(text).map(Some),
        }
    }

    fn show(&self, value: &Option<StatsdHost>) -> String {
        quoted(&value.as_ref().map_or_else(String::new, ToString::to_string))
    }
}

/// One address to listen on, or none.
pub(crate) struct MaybeAddress;

impl Rule<Option<Address>> for MaybeAddress {
    fn allowed(&self) -> String {
        format!("{}, or nothing", Address::FORMS)
    }

    fn parse(&self, input: &Input) -> Result<Option<Address>, String> {
        match input.text() {
            Some("") => Ok(None),
            Some(text) if text.starts_with("fd://") || text.contains(',') => Err(input.refused(&self.allowed())),
            Some(text) => Address::parse(text).map(Some),
            None => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &Option<Address>) -> String {
        quoted(&value.as_ref().map_or_else(String::new, Address::to_setting))
    }
}

/// On or off.
pub(crate) struct Switch;

impl Rule<bool> for Switch {
    fn allowed(&self) -> String {
        "true or false".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<bool, String> {
        match input {
            Input::Boolean(on) => Ok(*on),
            Input::Untyped(text) if matches!(text.trim(), "true" | "1") => Ok(true),
            Input::Untyped(text) if matches!(text.trim(), "false" | "0") => Ok(false),
            _ => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// Text that becomes part of a statsd line, so without the characters that mean something there.
pub(crate) struct Words {
    /// Characters with a meaning of their own at this place.
    pub(crate) forbidden: &'static str,
}

impl Rule<String> for Words {
    fn allowed(&self) -> String {
        let list: Vec<String> = self.forbidden.chars().map(String::from).collect();
        format!("text without blanks and without {}", list.join(" "))
    }

    fn parse(&self, input: &Input) -> Result<String, String> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || self.forbidden.contains(c);
        match input.text() {
            Some(text) if text.len() <= 1024 && !text.contains(bad) => Ok(text.to_owned()),
            _ => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// The URL of a collector; empty for none.
pub(crate) struct Otlp;

impl Rule<Option<Endpoint>> for Otlp {
    fn allowed(&self) -> String {
        format!("{}, or nothing", Endpoint::ALLOWED)
    }

    fn parse(&self, input: &Input) -> Result<Option<Endpoint>, String> {
        match input.text() {
            Some("") => Ok(None),
            Some(text) => Endpoint::parse(text).map(Some).ok_or_else(|| input.refused(&self.allowed())),
            None => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &Option<Endpoint>) -> String {
        quoted(&value.as_ref().map_or_else(String::new, ToString::to_string))
    }
}

/// A share of a whole.
pub(crate) struct Ratio;

impl Rule<f64> for Ratio {
    fn allowed(&self) -> String {
        "a number from 0 to 1, such as 0.01".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<f64, String> {
        let decimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE-".contains(&byte));
        let number = input.number().filter(|digits| decimal(digits)).and_then(|digits| digits.parse::<f64>().ok());
        number.filter(|number| (0.0..=1.0).contains(number)).ok_or_else(|| input.refused(&self.allowed()))
    }

    fn show(&self, value: &f64) -> String {
        value.to_string() // the shortest text that reads back to the same number
    }
}

/// Free text on one line.
pub(crate) struct Line;

impl Rule<String> for Line {
    fn allowed(&self) -> String {
        "text of at most 255 characters without control characters".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<String, String> {
        match input.text() {
            Some(text) if text.chars().count() <= 255 && !text.contains(char::is_control) => Ok(text.to_owned()),
            _ => Err(input.refused(&Rule::<String>::allowed(self))),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// One of a few words, or nothing.
pub(crate) struct OneOf(pub(crate) &'static [&'static str]);

impl Rule<String> for OneOf {
    fn allowed(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|word| quoted(word)).collect();
        format!("{} or nothing", words.join(", "))
    }

    fn parse(&self, input: &Input) -> Result<String, String> {
        match input.text() {
            Some(text) if text.is_empty() || self.0.contains(&text) => Ok(text.to_owned()),
            text => {
                Err(input.refused(&self.allowed()) + &did_you_mean(text.unwrap_or_default(), self.0.iter().copied()))
            }
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// One of some words.
pub(crate) struct Choice(pub(crate) &'static [&'static str]);

impl Rule<String> for Choice {
    fn allowed(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|word| quoted(word)).collect();
        words.join(" or ")
    }

    fn parse(&self, input: &Input) -> Result<String, String> {
        match input.text() {
            Some(text) if self.0.contains(&text) => Ok(text.to_owned()),
            text => {
                Err(input.refused(&self.allowed()) + &did_you_mean(text.unwrap_or_default(), self.0.iter().copied()))
            }
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
