//! The configuration for people to read: `--print-config`, `--check-config`, and the page of settings in `docs/`.

use std::fmt::Write;
use std::time::Duration;

use crate::app::OURS;
use crate::duration;
use crate::handoff::HIDDEN;
use crate::invocation::{Invocation, Loaded};
use crate::setting::Setting;
use crate::settings::{SETTINGS, Settings};

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

impl Settings {
    /// The value of a setting by its name, as TOML; `None`: there is no such setting.
    #[must_use]
    pub fn value_of(&self, key: &str) -> Option<String> {
        Setting::find(key).map(|setting| (setting.show)(self))
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
        // What an application finds in its environment are secrets as likely as what is in its table.
        let settings = SETTINGS.iter().map(setting).map(|shown| match shown.value {
            toml::Value::Table(table) => {
                let hidden = table.into_iter().map(|(key, _)| (key, HIDDEN.to_owned().into()));
                Shown { value: toml::Value::Table(hidden.collect()), ..shown }
            }
            _ => shown,
        });
        settings.chain(app.table().iter().map(key)).collect()
    }
}

impl Invocation {
    /// What `--check-config` prints for a configuration without problems: that, and the sums that have to fit what is around it.
    #[must_use]
    pub fn check_message(&self, settings: &Settings) -> String {
        format!("{}: the configuration is good\n{}\n{}", self.file().display(), stop(settings), keepalive(settings))
    }
}

/// Beyond the sum: starting up the end of the pod, and the last bytes on the wire.
const MARGIN: Duration = Duration::from_secs(10);

fn stop(settings: &Settings) -> String {
    let mut parts = vec![("drain_delay", settings.drain_delay), ("graceful_timeout", settings.graceful_timeout)];
    if settings.exports_telemetry() {
        parts.push(("otlp_flush_timeout", settings.otlp_flush_timeout));
    }
    let sum: Duration = parts.iter().map(|(_, time)| time).sum();
    let parts: Vec<String> = parts.iter().map(|(key, time)| format!("{key} {}", duration::show(*time))).collect();
    let enough = (sum + MARGIN).as_secs_f64().ceil();
    format!(
        "stop: takes up to {} s ({}); in Kubernetes set terminationGracePeriodSeconds to {enough} or more",
        duration::show(sum),
        parts.join(" + ")
    )
}

/// Google's external load balancers, fixed. The largest of the usual ones: AWS's have 60 s, nginx 60 s.
const BALANCER: Duration = Duration::from_secs(600);

/// Whoever closes an idle connection first cuts a request that is on its way, so it has to be the balancer.
fn keepalive(settings: &Settings) -> String {
    let kept = duration::show(settings.keepalive);
    let balancer = duration::show(BALANCER);
    match settings.keepalive {
        time if time.is_zero() => "keepalive: off, each response closes its connection".to_owned(),
        time if time > BALANCER => format!("keepalive: {kept} s, longer than a Google load balancer's {balancer} s"),
        _ => format!(
            "keepalive: {kept} s; a load balancer in front has to close idle connections sooner than that. Google's do after \
             {balancer} s: set 620, or profile = \"gke\""
        ),
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

1. the default, or that of the setting `profile`;
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
- `command = [\"PROGRAM\", \"ARGUMENT\", …]`: a program built on the `rustcorn` crate, or with
  `foreign = \"notify\"` or `\"exec\"` any program that takes its socket from systemd ([foreign.md](foreign.md)).

All other keys of `[app]` belong to the application. A change of any of them is applied by new workers.
";
