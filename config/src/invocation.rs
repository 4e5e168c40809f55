//! How the program was called, kept so that a reload can read everything again.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::app::AppSpec;
use crate::cli::{self, Given, Usage};
use crate::file::Source;
use crate::layers::{CMD_ARGS, Layers, Trace};
use crate::problem::{Origin, Problems};
use crate::profile::Profile;
use crate::settings::{SETTINGS, Settings};

/// What the command line asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Run a master.
    Run,
    /// `--check-config`.
    CheckConfig,
    /// `--print-config`, which checks too.
    PrintConfig,
}

/// Command line and environment as they were at start. [`Invocation::load`] reads the file anew each time, and only that.
#[derive(Clone, Debug)]
pub struct Invocation {
    args: Vec<OsString>,
    environment: BTreeMap<String, OsString>,
    file: PathBuf,
    /// What a relative `file` is relative to; empty: the directory of the process.
    directory: PathBuf,
    mode: Mode,
    given: Vec<Given>,
}

impl Invocation {
    /// Takes the arguments, the program's name first (`std::env::args_os`), and the environment (`std::env::vars_os`), of
    /// which it keeps the variables that mean something here.
    ///
    /// # Errors
    /// What to print instead of starting: help, version, or what is wrong with the command line's form. A flag's value is
    /// checked by [`Invocation::load`], with all the others.
    pub fn from_args(
        args: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Usage> {
        let args: Vec<OsString> = args.into_iter().collect();
        let parsed = cli::parse(&args)?;
        Ok(Self {
            args,
            environment: ours(environment),
            file: parsed.file,
            directory: PathBuf::new(),
            mode: parsed.mode,
            given: parsed.given,
        })
    }

    /// Keeps in mind where the program was called, so that the file is found again after `chdir`.
    #[must_use]
    pub fn called_in(self, directory: PathBuf) -> Self {
        Self { directory, ..self }
    }

    /// The arguments, the program's name first.
    #[must_use]
    pub fn args(&self) -> &[OsString] {
        &self.args
    }

    /// The program's name as it was called.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        self.args.first().map_or_else(|| OsStr::new("rustcorn"), OsString::as_os_str)
    }

    /// The configuration file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The configuration file, wherever this process is by now.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        self.directory.join(&self.file)
    }

    /// What was asked for.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Reads the file and puts all layers together: defaults, file, environment, `RUSTCORN_CMD_ARGS`, command line.
    ///
    /// # Errors
    /// Everything that is wrong in any of the layers.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let source = Source::read(&self.file, &self.directory);
        let layers = with_profile(|layers| {
            match &source {
                Ok(source) => source.apply(layers),
                Err(problem) => layers.problems.push(problem.clone()),
            }
            layers.environment(&self.environment);
            layers.flags(&self.given, |flag| Origin::CommandLine { flag });
        });
        match layers.app {
            Some(app) if layers.problems.is_empty() => {
                Ok(Loaded { settings: layers.settings, origins: Origins(layers.traces), app })
            }
            _ => Err(Problems(layers.problems)),
        }
    }
}

impl Settings {
    /// Of a text in place of a file, which messages call `name`, and of nothing else but the defaults.
    ///
    /// # Errors
    /// Everything that is wrong in the text.
    pub fn from_text(name: &str, text: &str) -> Result<Self, Problems> {
        let source = Source { name: name.to_owned(), text: text.to_owned() };
        let layers = with_profile(|layers| source.apply(layers));
        if layers.problems.is_empty() { Ok(layers.settings) } else { Err(Problems(layers.problems)) }
    }

    /// Of a program without a file: the defaults and the environment (`std::env::vars_os`).
    ///
    /// # Errors
    /// Everything that is wrong in the environment.
    pub fn from_environment(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Problems> {
        let environment = ours(environment);
        let layers = with_profile(|layers| layers.environment(&environment));
        if layers.problems.is_empty() { Ok(layers.settings) } else { Err(Problems(layers.problems)) }
    }
}

/// The layers above the defaults. Which profile there is, only they know, so they are put on once more above its values.
fn with_profile(above: impl Fn(&mut Layers)) -> Layers {
    let mut layers = Layers::new(None);
    above(&mut layers);
    if let Some(profile) = Profile::named(&layers.settings.profile) {
        layers = Layers::new(Some(profile));
        above(&mut layers);
    }
    layers.together();
    layers
}

/// The variables that mean something here.
fn ours(environment: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<String, OsString> {
    let environment = environment.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    environment.filter(|(name, _)| is_ours(name)).collect()
}

fn is_ours(variable: &str) -> bool {
    variable == CMD_ARGS || SETTINGS.iter().any(|setting| setting.variables().iter().any(|known| known == variable))
}

/// Where each value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origins(BTreeMap<&'static str, Trace>);

impl Origins {
    /// Where the value of the setting `key` came from; [`Origin::Default`] too for what is no setting.
    #[must_use]
    pub fn get(&self, key: &str) -> Origin {
        self.0.get(key).map_or(Origin::Default, |trace| trace.origin.clone())
    }

    /// Whether the value was given as `auto`.
    pub(crate) fn is_auto(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|trace| trace.auto)
    }
}

/// A configuration that is good as far as this crate can tell: whether there is a handler of that name, and what the
/// application says about its own keys, is for others to check.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// Where they came from.
    pub origins: Origins,
    /// What to run.
    pub app: AppSpec,
}

impl Loaded {
    /// The line of a key of `[app]`, counted from 1.
    #[must_use]
    pub fn app_line(&self, key: &str) -> Option<usize> {
        self.settings.app.line(key)
    }
}
