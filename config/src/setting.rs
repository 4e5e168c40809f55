//! What is declared about one setting, and how it is found by its names.

use std::sync::LazyLock;

use crate::input::Input;
use crate::problem::did_you_mean;
use crate::settings::{SETTINGS, Settings};

/// Who acts on a changed value when the configuration is reloaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Apply {
    /// The master, at once; running workers need not be replaced for it.
    Master,
    /// Workers that start from now on: those that run must be replaced.
    Workers,
    /// Both of them, each for its own part.
    Both,
    /// Nobody: it takes another start.
    Restart,
}

impl Apply {
    /// Whether running workers must be replaced for the change to take full effect.
    #[must_use]
    pub const fn needs_new_workers(self) -> bool {
        matches!(self, Self::Workers | Self::Both)
    }

    /// For the docs.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Master => "applied by the master at once",
            Self::Workers => "applied by new workers",
            Self::Both => "applied by the master at once and by new workers",
            Self::Restart => "not applied; it takes a restart",
        }
    }
}

/// A variable that other platforms set and that stands for a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fallback {
    pub(crate) variable: &'static str,
    /// Turns the variable's value into the setting's text; `None` if it says nothing about it. The error is a sentence.
    pub(crate) convert: fn(&str) -> Result<Option<String>, String>,
}

/// The declaration of one setting. Parser, flags, variables, help and docs all come from it.
pub struct Setting {
    /// Name in the file. The flag and the variable derive from it.
    pub key: &'static str,
    /// Stands for the value in help texts; empty for a switch, whose flag needs none.
    pub value: &'static str,
    /// Default, as one would write it in a variable.
    pub default: &'static str,
    /// What it does, in one or more sentences.
    pub help: &'static str,
    /// What a reload does with a change.
    pub apply: Apply,
    /// Spellings of gunicorn's command line, the first long one being the one shown in messages.
    pub(crate) flags: &'static str,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) allowed: fn() -> String,
    pub(crate) set: fn(&mut Settings, &Input) -> Result<(), String>,
    pub(crate) show: fn(&Settings) -> String,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Setting {
    /// The setting with this key.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// `RUSTCORN_` and the key in upper case.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("RUSTCORN_{}", self.key.to_ascii_uppercase())
    }

    /// The variables it is read from, the one that wins first.
    pub(crate) fn variables(&self) -> Vec<String> {
        [self.variable()].into_iter().chain(self.fallback.map(|other| other.variable.to_owned())).collect()
    }

    /// All spellings of the flag.
    pub(crate) fn spellings(&self) -> &'static Spellings {
        let index = SETTINGS.iter().position(|setting| setting.key == self.key);
        &SPELLINGS[index.expect("every Setting is an element of the table")]
    }
}

/// How a setting's flag may be written.
#[derive(Debug)]
pub(crate) struct Spellings {
    /// The letter of `-w`.
    pub(crate) short: Option<char>,
    /// The long flag of help and messages, without dashes.
    pub(crate) long: &'static str,
    /// gunicorn's other long ones, the key with dashes and the key itself, where they differ from `long`.
    pub(crate) aliases: Vec<String>,
}

static SPELLINGS: LazyLock<Vec<Spellings>> = LazyLock::new(|| SETTINGS.iter().map(spell).collect());

fn spell(setting: &Setting) -> Spellings {
    let long = setting.flags.split(' ').find_map(|flag| flag.strip_prefix("--"));
    let long = long.expect("every setting has a long flag");
    let short = setting.flags.split(' ').find(|flag| !flag.starts_with("--")).and_then(|flag| flag.chars().nth(1));
    let others = setting.flags.split(' ').filter_map(|flag| flag.strip_prefix("--")).filter(|flag| *flag != long);
    let mut aliases: Vec<String> = others.map(str::to_owned).collect();
    for alias in [setting.key.replace('_', "-"), setting.key.to_owned()] {
        if alias != long && !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }
    Spellings { short, long, aliases }
}

/// Text for a key that is no setting.
pub(crate) fn unknown_key(key: &str) -> String {
    let hint = did_you_mean(key, SETTINGS.iter().map(|setting| setting.key));
    if !hint.is_empty() {
        return format!("unknown key{hint}");
    }
    if matches!(key, "handler" | "command") {
        return "unknown key; it belongs below an [app] line".to_owned();
    }
    "unknown key; --help lists the settings, and an application's own keys go below [app]".to_owned()
}
