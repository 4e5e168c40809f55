//! A scenario's file: its text, tables that know which keys were asked for, and the problems found on the way.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, Problems, did_you_mean, without_number};
use crate::scenario::value::parse_duration;

/// A file's name, as messages show it, and its text.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn read(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| {
            let why = without_number(&error);
            Problem::general(format!(
                "cannot read {name}: {why}; name a scenario file, or a URL that starts with http://"
            ))
        })?;
        match String::from_utf8(text) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count() + 1;
                Err(Problem { place: Some((name, line)), message: "not UTF-8 text; save the file as UTF-8".to_owned() }
                    .into())
            }
        }
    }

    /// A problem with what stands at `offset`.
    pub(crate) fn problem(&self, offset: usize, message: String) -> Problem {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        Problem { place: Some((self.name.clone(), line)), message }
    }

    /// The root table; what is no TOML is a problem, and then nothing else is looked at.
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'_>>, Problems> {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        let Some(error) = errors.first() else { return Ok(root) };
        let at = error.span().map_or(0, |span| span.start);
        Err(self.problem(at, format!("not valid TOML: {}", error.message())).into())
    }
}

/// Problems on the way, with the offset they are at.
pub(crate) struct Found<'a> {
    pub(crate) source: &'a Source,
    problems: RefCell<Vec<(usize, String)>>,
}

impl<'a> Found<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        Self { source, problems: RefCell::default() }
    }

    pub(crate) fn add(&self, at: usize, message: String) {
        self.problems.borrow_mut().push((at, message));
    }

    /// All problems in the order of the file, or none.
    pub(crate) fn finish(self) -> Result<(), Problems> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(at, _)| *at);
        if problems.is_empty() {
            return Ok(());
        }
        Err(Problems(problems.into_iter().map(|(at, message)| self.source.problem(at, message)).collect()))
    }
}

/// A table that knows which keys were asked for. When it is dropped, the others are unknown.
pub(crate) struct Table<'a> {
    found: &'a Found<'a>,
    /// Dotted path that ends in a dot; empty for the root.
    path: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(found: &'a Found<'a>, path: String, table: &'a DeTable<'a>, span: Range<usize>) -> Self {
        Self { found, path, table, span, known: RefCell::default() }
    }

    pub(crate) fn found(&self) -> &'a Found<'a> {
        self.found
    }

    pub(crate) fn problem(&self, at: usize, key: &str, text: &str) {
        self.found.add(at, format!("{}{key}: {text}", self.path));
    }

    /// The table itself lacks something.
    pub(crate) fn missing(&self, key: &str, text: &str) {
        self.problem(self.span.start, key, text);
    }

    /// The value of a key, which is known from now on, and where the key is.
    pub(crate) fn get(&self, key: &'static str) -> Option<(&'a DeValue<'a>, usize)> {
        self.known.borrow_mut().push(key);
        let (name, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((value.get_ref(), name.span().start))
    }

    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// A value by a function of its own; what that refuses is a problem.
    pub(crate) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let (value, at) = self.get(key)?;
        read(value).map_err(|text| self.problem(at, key, &text)).ok()
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<&'a str> {
        self.read(key, text)
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        self.read(key, |value| match value {
            DeValue::Boolean(flag) => Ok(*flag),
            other => Err(format!("expected true or false, found {}", other.type_str())),
        })
    }

    pub(crate) fn integer(&self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        self.read(key, |value| integer(value, least, most))
    }

    pub(crate) fn number(&self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        self.read(key, |value| number(value, least, most))
    }

    pub(crate) fn duration(&self, key: &'static str) -> Option<Duration> {
        self.read(key, duration)
    }

    /// Tables in an array (`[[key]]`), with their paths.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Self> {
        let Some((value, at)) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value else {
            self.problem(at, key, &format!("expected an array of tables ([[{key}]]), found {}", value.type_str()));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    let path = format!("{}{key}[{}].", self.path, index + 1);
                    tables.push(Self::new(self.found, path, table, item.span()));
                }
                other => self.problem(item.span().start, key, &format!("expected a table, found {}", other.type_str())),
            }
        }
        tables
    }

    /// The names in the table `inner` of each table of the array `key`. Marks nothing as known and complains about nothing.
    pub(crate) fn names_of(&self, key: &str, inner: &str) -> Vec<&'a str> {
        let Some(DeValue::Array(items)) = self.table.get(key).map(Spanned::get_ref) else { return Vec::new() };
        let tables = items.iter().filter_map(|item| item.get_ref().as_table()?.get(inner)?.get_ref().as_table());
        tables.flat_map(|table| table.keys().map(|name| name.get_ref().as_ref())).collect()
    }

    /// A table with names of the user's choice: each with its value and where it is.
    pub(crate) fn entries(&self, key: &'static str) -> Vec<(&'a str, &'a DeValue<'a>, usize)> {
        let Some((value, at)) = self.get(key) else { return Vec::new() };
        let DeValue::Table(table) = value else {
            self.problem(at, key, &format!("expected a table, found {}", value.type_str()));
            return Vec::new();
        };
        table.iter().map(|(name, value)| (name.get_ref().as_ref(), value.get_ref(), name.span().start)).collect()
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let known = self.known.borrow();
        for (name, _) in self.table {
            let text = name.get_ref().as_ref();
            if !known.contains(&text) {
                self.problem(
                    name.span().start,
                    text,
                    &format!("unknown key{}", did_you_mean(text, known.iter().copied())),
                );
            }
        }
    }
}

pub(crate) fn text<'a>(value: &'a DeValue<'a>) -> Result<&'a str, String> {
    match value {
        DeValue::String(text) => Ok(text.as_ref()),
        other => Err(format!("expected a text in quotes, found {}", other.type_str())),
    }
}

/// A text, or the digits of a number: what a variable or a header may be given as.
pub(crate) fn text_or_number(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::Integer(integer) => Ok(integer.to_string()),
        DeValue::Float(float) => Ok(float.as_str().to_owned()),
        other => text(other).map(str::to_owned),
    }
}

pub(crate) fn integer(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    let DeValue::Integer(integer) = value else {
        return Err(format!("expected a whole number, found {}", value.type_str()));
    };
    let parsed = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
    parsed
        .and_then(|integer| u64::try_from(integer).ok())
        .filter(|integer| (least..=most).contains(integer))
        .ok_or_else(|| format!("{integer} is not allowed; use a whole number from {least} to {most}"))
}

pub(crate) fn number(value: &DeValue<'_>, least: f64, most: f64) -> Result<f64, String> {
    let text = match value {
        DeValue::Integer(_) => integer(value, 0, u64::MAX)?.to_string(),
        DeValue::Float(float) => float.as_str().to_owned(),
        other => return Err(format!("expected a number, found {}", other.type_str())),
    };
    let number = text.parse().ok().filter(|number: &f64| (least..=most).contains(number));
    number.ok_or_else(|| format!("{text} is not allowed; use a number from {least} to {most}"))
}

pub(crate) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    match value {
        DeValue::String(text) => parse_duration(text),
        DeValue::Integer(_) | DeValue::Float(_) => number(value, 0.0, 3e7).map(Duration::from_secs_f64),
        other => Err(format!("expected a duration like \"10s\", found {}", other.type_str())),
    }
}
