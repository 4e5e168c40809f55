//! What is wrong with a configuration, where, and what would be right: one sentence each, all of them at once.

use std::fmt;

/// Where a value came from. Ranked: a later variant wins over an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Origin {
    /// Built in.
    #[default]
    Default,
    /// The setting `profile`.
    Profile(String),
    /// The configuration file; lines count from 1.
    File {
        /// Name of the file as it was given on the command line.
        name: String,
        /// Line of the key, where there is one to name.
        line: Option<usize>,
    },
    /// An environment variable; with a flag if the variable holds a command line (`RUSTCORN_CMD_ARGS`).
    Environment {
        /// Name of the variable.
        variable: String,
        /// Flag inside the variable's value.
        flag: Option<String>,
    },
    /// A flag on the command line.
    CommandLine {
        /// The flag in its long spelling.
        flag: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::File { name, line: Some(line) } => write!(f, "{name}:{line}"),
            Self::File { name, line: None } => f.write_str(name),
            Self::Environment { variable, flag: None } => write!(f, "environment {variable}"),
            Self::Environment { variable, flag: Some(flag) } => write!(f, "environment {variable} {flag}"),
            Self::CommandLine { flag } => write!(f, "command line {flag}"),
        }
    }
}

/// One thing to mend: `app.toml:7: workers: 0 is not allowed; use a number from 1 to 1024 or "auto"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    origin: Origin,
    message: String,
}

impl Problem {
    /// A problem with the value of `key` that came from `origin`. The text says what is wrong and what to do.
    /// A variable or a flag names its setting already, so the key is printed only for a file.
    #[must_use]
    pub fn new(origin: Origin, key: &str, text: &str) -> Self {
        let named = matches!(origin, Origin::Environment { .. } | Origin::CommandLine { .. }) || key.is_empty();
        let message = if named { text.to_owned() } else { format!("{key}: {text}") };
        Self { origin, message }
    }

    /// A problem that no single value is to blame for, such as a file that cannot be read.
    #[must_use]
    pub const fn general(message: String) -> Self {
        Self { origin: Origin::Default, message }
    }

    /// Where the value came from; [`Origin::Default`] if no value is to blame.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => f.write_str(&self.message),
            origin => write!(f, "{origin}: {}", self.message),
        }
    }
}

/// Everything that is wrong, in the order of the layers and of the file's lines. Displayed as one line each.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// 2 (bad command line) if the command line alone is to blame, else 1 (bad configuration).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let usage = self.0.iter().all(|problem| matches!(problem.origin, Origin::CommandLine { .. }));
        if usage { 2 } else { 1 }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// The known name that `name` is most likely meant to be: at most one edit per three letters away.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= limit && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Text for a name out of a closed list: `unknown handler "helo"; known: hello; did you mean "hello"?`.
#[must_use]
pub fn unknown(kind: &str, name: &str, known: &[&str]) -> String {
    let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("unknown {kind} {name:?}; known: {list}{}", did_you_mean(name, known.iter().copied()))
}

/// `; did you mean "x"?`, or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
}
