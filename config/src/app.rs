//! The `[app]` table: which application to run, and what belongs to the application itself.
//!
//! It stays text until somebody reads it, in the master or, after the handoff, in a worker: so a mistake that only the
//! application can see is still reported with its line.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::file::{Source, path_at};
use crate::foreign::ForeignReady;
use crate::problem::{Origin, Problem, Problems, did_you_mean};
use crate::setting::Setting;

const WHICH: &str = "handler = \"NAME\" (a built-in one) or command = [\"PROGRAM\", \"ARGUMENT\", …]";
/// Keys of `[app]` that are the master's, not the application's.
pub(crate) const OURS: [&str; 3] = ["handler", "command", "foreign"];

/// Which application the workers run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppSpec {
    /// `handler`: one of the handlers in the program itself. Whether there is one of this name is the master's to check.
    Handler(String),
    /// `command`: a program built on the rustcorn crate, and its arguments. Never empty.
    Command(Vec<String>),
    /// `command` and `foreign`: a program that knows systemd's socket activation only.
    Foreign {
        /// As in [`AppSpec::Command`].
        command: Vec<String>,
        /// How the master knows that it serves.
        ready: ForeignReady,
    },
    /// Neither: the program that reads the file is itself the application. Whether it is one, is for it to know.
    Own,
}

/// The `[app]` table with the file it stands in. Two are equal if their tables are, wherever they stand.
#[derive(Clone, Debug, Default)]
pub struct App {
    source: Source,
    table: toml::Table,
}

impl PartialEq for App {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl App {
    /// Takes `[app]` out of a file that is valid TOML.
    pub(crate) fn read_from(source: &Source) -> Result<(Self, AppSpec), Problems> {
        let mut app = Self { source: source.clone(), table: toml::Table::new() };
        match app.parsed() {
            None => return Ok((app, AppSpec::Own)),
            Some((key, value)) if !value.get_ref().is_table() => {
                let text = format!("not a table; write [app] on a line of its own, below it {WHICH}");
                return Err(Problem::new(source.origin(key.span().start), "app", &text).into());
            }
            Some(_) => {}
        }
        // A number beyond 64 bits is valid TOML that no table can hold.
        app.table = app.deserialize(&[])?;
        let spec = app.spec()?;
        Ok((app, spec))
    }

    /// The other side of [`App::source`]: out of the text of a handoff.
    pub(crate) fn from_source(source: Source) -> Result<Self, Problems> {
        let mut app = Self { source, table: toml::Table::new() };
        if app.parsed().is_some() {
            app.table = app.deserialize(&[])?;
        }
        Ok(app)
    }

    pub(crate) const fn source(&self) -> &Source {
        &self.source
    }

    /// The whole table, the server's keys included.
    #[must_use]
    pub const fn table(&self) -> &toml::Table {
        &self.table
    }

    /// Which application to run.
    ///
    /// # Errors
    /// If `handler` and `command` are both there, or a key is of a wrong type. Never after a successful load.
    pub fn spec(&self) -> Result<AppSpec, Problem> {
        let spec = self.handler_or_command()?;
        let Some(foreign) = self.table.get("foreign") else { return Ok(spec) };
        let ready = ForeignReady::parse(foreign).map_err(|text| self.problem("foreign", text))?;
        match spec {
            AppSpec::Command(command) => Ok(AppSpec::Foreign { command, ready }),
            _ => Err(self.problem("foreign", "only a program started by command can be foreign; remove the key")),
        }
    }

    fn handler_or_command(&self) -> Result<AppSpec, Problem> {
        match (self.table.get("handler"), self.table.get("command")) {
            (Some(toml::Value::String(name)), None) if !name.trim().is_empty() => {
                Ok(AppSpec::Handler(name.trim().to_owned()))
            }
            (Some(_), None) => Err(self.problem("handler", "not the name of a handler; write handler = \"NAME\"")),
            (None, Some(command)) => words(command).map(AppSpec::Command).ok_or_else(|| {
                let text = "not a list of words; write command = [\"PROGRAM\", \"ARGUMENT\", …]";
                self.problem("command", text)
            }),
            (Some(_), Some(_)) => Err(self.problem("command", "not allowed beside handler; keep one of them")),
            (None, None) => Ok(AppSpec::Own),
        }
    }

    /// The problem of a program that has no application of its own ([`AppSpec::Own`]) and is not told which to run.
    #[must_use]
    pub fn undecided(&self) -> Problem {
        match self.parsed() {
            None => Problem::new(self.source.whole(), "[app]", &format!("missing; add [app] with {WHICH}")),
            Some((key, _)) => {
                let text = format!("says not what to run; add {WHICH}");
                Problem::new(self.source.origin(key.span().start), "[app]", &text)
            }
        }
    }

    /// The line of a key of `[app]`, counted from 1.
    #[must_use]
    pub fn line(&self, key: &str) -> Option<usize> {
        match self.origin_of(key)? {
            Origin::File { line, .. } => line,
            _ => None,
        }
    }

    /// A problem with a key of `[app]`: `app.toml:9: app.handler: TEXT`. The text says what is wrong and what to do.
    #[must_use]
    pub fn problem(&self, key: &str, text: &str) -> Problem {
        let origin = self.origin_of(key).unwrap_or_else(|| self.source.whole());
        Problem::new(origin, &format!("app.{key}"), text)
    }

    /// The application's own keys as its own type: all of the table but the server's (`handler`, `command`, `foreign`).
    ///
    /// # Errors
    /// Every key that is unknown (to a type with `deny_unknown_fields`), missing, or wrong, each with file, line and key.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        self.deserialize(&OURS)
    }

    /// Key and value of `app`, as they stand in the file.
    fn parsed(&self) -> Option<(Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)> {
        let (root, _) = DeTable::parse_recoverable(&self.source.text);
        root.into_inner().remove_entry("app")
    }

    pub(crate) fn origin_of(&self, key: &str) -> Option<Origin> {
        let (_, value) = self.parsed()?;
        let (name, _) = value.get_ref().as_table()?.get_key_value(key)?;
        Some(self.source.origin(name.span().start))
    }

    /// serde stops at the first mistake, so a wrong key is noted, taken out, and the rest is tried again.
    fn deserialize<T: DeserializeOwned>(&self, without: &[&str]) -> Result<T, Problems> {
        let (span, mut table) = match self.parsed().map(|(key, value)| (key.span(), value.into_inner())) {
            Some((span, DeValue::Table(table))) => (span, table),
            _ => (0..0, DeTable::new()),
        };
        for key in without {
            table.remove(*key);
        }
        let mut problems = Vec::new();
        let mut removed: Vec<String> = Vec::new();
        loop {
            let whole = Spanned::new(span.clone(), DeValue::Table(table.clone()));
            let error = match T::deserialize(ValueDeserializer::from(whole)) {
                Ok(value) if problems.is_empty() => return Ok(value),
                Ok(_) => break,
                Err(error) => error,
            };
            let offset = error.span().map_or(span.start, |span| span.start);
            let path = path_at(&table, offset).unwrap_or_default();
            let (key, text) = worded(&path, error.message());
            // A field that is missing because it was taken out has been reported as what it is.
            if !removed.contains(&key) {
                problems.push((offset, Problem::new(self.source.origin(offset), &format!("app{key}"), &text)));
            }
            match path.first().and_then(|first| table.remove_entry(first.as_str())) {
                Some((name, _)) => removed.push(format!(".{}", name.get_ref())),
                None => break,
            }
        }
        problems.sort_by_key(|&(offset, _)| offset);
        Err(Problems(problems.into_iter().map(|(_, problem)| problem).collect()))
    }
}

/// A program and its arguments: no empty list, no empty program, no NUL (which execve cannot pass).
fn words(value: &toml::Value) -> Option<Vec<String>> {
    let words: Option<Vec<String>> = value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect();
    words.filter(|words| {
        words.first().is_some_and(|program| !program.is_empty()) && !words.iter().any(|word| word.contains('\0'))
    })
}

/// `.key` (or nothing, for the table as a whole) and a sentence, out of serde's message.
fn worded(path: &[String], message: &str) -> (String, String) {
    let mut key: String = path.iter().map(|part| format!(".{part}")).collect();
    let mut names = message.split('`').skip(1).step_by(2);
    if message.starts_with("missing field `") {
        key = format!("{key}.{}", names.next().unwrap_or_default());
        return (key, "missing; add it".to_owned());
    }
    if message.starts_with("unknown field `") {
        let name = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        if Setting::find(name).is_some() {
            return (key, "unknown key; a setting of the server goes above the [app] line".to_owned());
        }
        let list = if known.is_empty() { String::new() } else { format!("; known: {}", known.join(", ")) };
        return (key, format!("unknown key{list}{}", did_you_mean(name, known)));
    }
    (key, message.trim_end().replace('\n', " "))
}
