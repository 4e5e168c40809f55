//! The configuration for people to read: `--print-config`, `--check-config`, and the page of settings in `docs/`.

use std::fmt::Write;

use crate::app::OURS;
use crate::handoff::HIDDEN;
use crate::invocation::{Invocation, Loaded};
use crate::setting::Setting;
use crate::settings::SETTINGS;

impl Loaded {
    /// Every setting by name with its origin, then `[app]`; a TOML file that loads to the same configuration.
    #[must_use]
    pub fn print_config(&self) -> String {
        let mut settings: Vec<&Setting> = SETTINGS.iter().collect();
        settings.sort_by_key(|setting| setting.key);
        let mut text = String::new();
        for setting in settings {
            let auto = if self.origins.is_auto(setting.key) { " (auto)" } else { "" };
            let value = (setting.show)(&self.settings);
            text += &format!("{} = {value}  # {}{auto}\n", setting.key, self.origins.get(setting.key));
        }
        let mut app = toml::Table::new();
        app.insert("app".to_owned(), toml::Value::Table(self.settings.app.table().clone()));
        text + "\n" + &app.to_string()
    }
}

/// A setting, or a key of `[app]`, for people to look at.
#[derive(Clone, PartialEq, Debug)]
pub struct Shown {
    /// Its name; with `app.` in front for a key of `[app]`.
    pub key: String,
    /// What it is; text that says so where it is not shown.
    pub value: toml::Value,
    /// Where it came from, as [`crate::Origin`] is displayed.
    pub origin: String,
}

impl Loaded {
    /// Every setting in the order of the docs, then `[app]` without its values, since applications keep secrets there. What
    /// is run is none: anybody sees it among the processes.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let value = |text: String| {
            let key = "value";
            let table: Option<toml::Table> = format!("{key} = {text}").parse().ok();
            table.and_then(|mut table| table.remove(key)).unwrap_or(toml::Value::String(text))
        };
        let setting = |setting: &Setting| Shown {
            key: setting.key.to_owned(),
            value: value((setting.show)(&self.settings)),
            origin: self.origins.get(setting.key).to_string(),
        };
        let app = &self.settings.app;
        let key = |(key, value): (&String, &toml::Value)| Shown {
            key: format!("app.{key}"),
            value: if OURS.contains(&key.as_str()) { value.clone() } else { HIDDEN.to_owned().into() },
            origin: app.origin_of(key).unwrap_or_default().to_string(),
        };
        SETTINGS.iter().map(setting).chain(app.table().iter().map(key)).collect()
    }
}

impl Invocation {
    /// What `--check-config` prints for a configuration without problems.
    #[must_use]
    pub fn check_message(&self) -> String {
        format!("{}: the configuration is good", self.file().display())
    }
}

/// The text of `docs/settings.md`.
#[must_use]
pub fn settings_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for setting in SETTINGS {
        section(&mut page, setting).expect("a String takes any text");
    }
    page + APP
}

fn section(page: &mut String, setting: &Setting) -> std::fmt::Result {
    let spellings = setting.spellings();
    let aliases = spellings.aliases.iter().map(|alias| format!("--{alias}"));
    let flags: Vec<String> = spellings.short.map(|short| format!("-{short}")).into_iter().collect();
    let flags = flags.into_iter().chain([format!("--{}", spellings.long)]).chain(aliases);
    let flags: Vec<String> = flags.map(|flag| format!("`{flag}`")).collect();
    let variables: Vec<String> = setting.variables().iter().map(|variable| format!("`{variable}`")).collect();
    let default = if setting.default.is_empty() { "empty".to_owned() } else { format!("`{}`", setting.default) };
    writeln!(page, "## {}\n\n{}\n", setting.key, setting.help)?;
    writeln!(page, "- Default: {default}")?;
    writeln!(page, "- Allowed: {}", (setting.allowed)())?;
    writeln!(page, "- Command line: {}", flags.join(", "))?;
    writeln!(page, "- Environment: {}", variables.join(", below it "))?;
    writeln!(page, "- Reload: {}\n", setting.apply.sentence())
}

const INTRODUCTION: &str = "\
# Settings

Generated from the table in `config/src/settings.rs`; after a change there, write this page anew with
`RUSTCORN_BLESS=1 cargo test -p rustcorn-config`.

A setting has one name: it is the key in the file, and the flag and the environment variable derive from it. It is read
from these layers, the last of which wins:

1. the default;
2. the file named on the command line, `APP.TOML`;
3. the environment: `PORT`, `WEB_CONCURRENCY` and OpenTelemetry's `OTEL_*` where a setting names one, above them `RUSTCORN_<KEY>`, above these `RUSTCORN_CMD_ARGS`, which holds
   flags, split as a shell would;
4. the command line.

A list of a higher layer replaces the list of a lower one. `--print-config` shows every value with its layer. A wrong key or
value in any layer is an error, and all errors are reported at once. A variable `RUSTCORN_…` that is no setting is ignored.

A time is a number of seconds, such as `30` or `0.5`, or text with a unit: `\"500ms\"`, `\"1.5s\"`, `\"2m\"`, `\"1h\"`.

A reload (SIGHUP) reads the file again, with the command line and the environment of the start.

";

const APP: &str = "\
## The `[app]` table

The file says below `[app]` what the workers run, by one of

- `handler = \"NAME\"`: a handler that is built into the program;
- `command = [\"PROGRAM\", \"ARGUMENT\", …]`: a program built on the `rustcorn` crate.

All other keys of `[app]` belong to the application. A change of any of them is applied by new workers.
";
