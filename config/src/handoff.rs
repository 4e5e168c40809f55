//! The settings on their way from master to worker, and what differs between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::de::DeTable;

use crate::app::App;
use crate::file::Source;
use crate::input::Input;
use crate::problem::Problems;
use crate::rule::quoted;
use crate::setting::Apply;
use crate::settings::{SETTINGS, Settings};

/// Table of the handoff that holds name and text of the configuration file.
const FILE: &str = "file";

impl Settings {
    /// The resolved settings as TOML, for [`Settings::from_toml`]. The configuration file goes along whole, so that a worker
    /// can name the line of a mistake in `[app]`; its other tables and keys are not looked at again.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for setting in SETTINGS {
            text += &format!("{} = {}\n", setting.key, (setting.show)(self));
        }
        let source = self.app.source();
        text + &format!("\n[{FILE}]\nname = {}\ntext = {}\n", quoted(&source.name), quoted(&source.text))
    }

    /// Reads what [`Settings::to_toml`] wrote. A worker may be built on another version of rustcorn than its master: a
    /// setting it does not know is ignored, one that the master does not know has its default.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let one_line = |problems: Problems| problems.to_string().replace('\n', "; ");
        // Spelt-out numbers, not toml::Value: its floats are binary, and 0.1 must stay what it is.
        let root = DeTable::parse(text).map_err(|error| error.message().to_owned())?.into_inner();
        let mut settings = Self::defaults();
        for setting in SETTINGS {
            if let Some(value) = root.get(setting.key) {
                (setting.set)(&mut settings, &Input::from_toml(value.get_ref()))
                    .map_err(|text| format!("{}: {text}", setting.key))?;
            }
        }
        if let Some(file) = root.get(FILE).and_then(|file| file.get_ref().as_table()) {
            let part = |key| file.get(key).and_then(|part| part.get_ref().as_str()).unwrap_or_default().to_owned();
            settings.app = App::from_source(Source { name: part("name"), text: part("text") }).map_err(one_line)?;
        }
        Ok(settings)
    }

    /// What a reload from `self` to `new` has to act on: the settings in the order of the docs, then keys of `[app]`.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for setting in SETTINGS {
            let (from, to) = ((setting.show)(self), (setting.show)(new));
            if setting.key == "raw_env" {
                changes.extend(hidden("env.", &self.raw_env, &new.raw_env));
            } else if from != to {
                changes.push(Change { key: setting.key.to_owned(), from, to, apply: setting.apply });
            }
        }
        let table = |settings: &Self| settings.app.table().clone().into_iter().collect();
        changes.extend(hidden("app.", &table(self), &table(new)));
        changes
    }
}

/// Differences between two tables whose values are not to be told.
fn hidden<T: PartialEq>(prefix: &str, old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Vec<Change> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let shown =
        |table: &BTreeMap<String, T>, key: &String| if table.contains_key(key) { HIDDEN } else { ABSENT }.to_owned();
    let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let change = |key: &String| Change {
        key: format!("{prefix}{key}"),
        from: shown(old, key),
        to: shown(new, key),
        apply: Apply::Workers,
    };
    changed.map(change).collect()
}

/// An application keeps secrets in its table and in its environment, and a change is logged.
pub(crate) const HIDDEN: &str = "(hidden)";
const ABSENT: &str = "(none)";

/// A difference between two configurations. Displayed as `workers: 2 → 4`, or for a key of `[app]` or `[env]` without its values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Key of the setting, or `app.` and a key of the application, or `env.` and a variable.
    pub key: String,
    /// Old value as TOML; `(hidden)` or `(none)` for a key of the application.
    pub from: String,
    /// New value, likewise.
    pub to: String,
    /// Who acts on it.
    pub apply: Apply,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from.as_str(), self.to.as_str()) {
            (HIDDEN, HIDDEN) => write!(f, "{}: changed", self.key),
            (HIDDEN, ABSENT) => write!(f, "{}: removed", self.key),
            (ABSENT, HIDDEN) => write!(f, "{}: added", self.key),
            (from, to) => write!(f, "{}: {from} → {to}", self.key),
        }
    }
}
