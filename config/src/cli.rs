//! The command line, made from the table of settings: `PROGRAM [OPTIONS] APP.TOML`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::input::Input;
use crate::invocation::Mode;
use crate::setting::Setting;
use crate::settings::SETTINGS;

const FILE: &str = "APP.TOML";
const CHECK: &str = "check-config";
const PRINT: &str = "print-config";
const LAYERS: &str = "Each setting is read from the defaults, the file, the environment (RUSTCORN_<KEY>), \
    RUSTCORN_CMD_ARGS and these options; the last one wins.";

/// A setting and what a command line says about it.
pub(crate) type Given = (&'static Setting, Input);

/// What to print instead of starting: help, the version, or what is wrong with the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usage {
    text: String,
    wrong: bool,
}

impl Usage {
    /// 2 for a bad command line, 0 for help and version.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        if self.wrong { 2 } else { 0 }
    }

    /// Prints to standard error what is wrong, to standard output what was asked for; returns the exit code for `main`.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        use std::io::Write;
        // Where the text cannot be written (`| head`) there is nobody to tell; the exit code still says it.
        let _ = if self.wrong {
            std::io::stderr().write_all(self.text.as_bytes())
        } else {
            std::io::stdout().write_all(self.text.as_bytes())
        };
        ExitCode::from(self.exit_code())
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Usage {}

/// What a command line says.
pub(crate) struct Parsed {
    pub(crate) file: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) given: Vec<Given>,
}

/// Reads the arguments of the process, its name first.
pub(crate) fn parse(args: &[OsString]) -> Result<Parsed, Usage> {
    let program = args.first().and_then(|arg| Path::new(arg).file_name()).and_then(|name| name.to_str());
    let matches = command()
        .bin_name(program.unwrap_or("rustcorn").to_owned())
        .try_get_matches_from(if args.is_empty() { &[][..] } else { args })
        .map_err(|error| Usage {
            text: error.to_string(),
            wrong: !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion),
        })?;
    let mode = match (matches.get_flag(PRINT), matches.get_flag(CHECK)) {
        (true, _) => Mode::PrintConfig,
        (false, true) => Mode::CheckConfig,
        (false, false) => Mode::Run,
    };
    let file = matches.get_one::<PathBuf>(FILE).expect("clap has made sure of a required argument");
    Ok(Parsed { file: file.clone(), mode, given: given(&matches) })
}

/// Reads the words of `RUSTCORN_CMD_ARGS`: settings only. The error is one line.
pub(crate) fn parse_variable(words: Vec<String>) -> Result<Vec<Given>, String> {
    let matches = options(Command::new("rustcorn").no_binary_name(true).disable_help_flag(true))
        .try_get_matches_from(words)
        .map_err(|error| {
            let text = error.to_string();
            let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
            let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
            lines.join("; ").trim_start_matches("error: ").to_owned()
        })?;
    Ok(given(&matches))
}

fn given(matches: &ArgMatches) -> Vec<Given> {
    let input = |setting: &'static Setting| {
        let mut values: Vec<Input> = matches.get_many::<String>(setting.key)?.cloned().map(Input::Untyped).collect();
        let input = if values.len() == 1 { values.remove(0) } else { Input::List(values) };
        Some((setting, input))
    };
    SETTINGS.iter().filter_map(input).collect()
}

/// The whole command line.
pub(crate) fn command() -> Command {
    let file = Arg::new(FILE).required(true).value_parser(value_parser!(PathBuf)).help("Configuration file");
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    options(Command::new("rustcorn"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs a web application in supervised worker processes.")
        .after_help(LAYERS)
        .max_term_width(100)
        .arg(file)
        .arg(flag(CHECK, "Check the configuration and exit: 0 if it is good, 1 if not"))
        .arg(flag(PRINT, "Print every setting with its origin, then as --check-config"))
}

/// One option per setting; given again, the last one counts.
fn options(command: Command) -> Command {
    SETTINGS.iter().fold(command.args_override_self(true), |command, setting| command.arg(option(setting)))
}

fn option(setting: &'static Setting) -> Arg {
    let spellings = setting.spellings();
    let default = if setting.default.is_empty() { String::new() } else { format!("default: {}, ", setting.default) };
    let arg = Arg::new(setting.key)
        .long(spellings.long)
        .aliases(spellings.aliases.iter().map(String::as_str))
        .value_name(if setting.value.is_empty() { "BOOL" } else { setting.value })
        .value_parser(value_parser!(String))
        // So that "-1" is refused by the setting, which says what is allowed.
        .allow_negative_numbers(true)
        .action(if ["bind", "dev_watch", "raw_env"].contains(&setting.key) {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
        .help(format!("{} [{default}environment: {}]", setting.help, setting.variables().join(", ")));
    // A switch is on where it is named, as in gunicorn; a value takes an equals sign, so that APP.TOML is not taken for one.
    let switch = setting.value.is_empty();
    // gunicorn's flag was a switch before it took a version.
    let bare = if switch { Some("true") } else { (setting.key == "proxy_protocol").then_some("auto") };
    let arg = match bare {
        Some(bare) => arg.num_args(0..=1).require_equals(true).default_missing_value(bare),
        None => arg,
    };
    match spellings.short {
        Some(short) => arg.short(short),
        None => arg,
    }
}
