//! The command line: `rustcornctl [OPTIONS] COMMAND`.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command as Clap, value_parser};
use rustcorn_control::Command;

/// Names the socket where no option does.
pub(crate) const VARIABLE: &str = "RUSTCORN_CONTROL_SOCKET";
/// For an answer that needs no worker's time.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one that somebody looks at meanwhile.
const LIVE: Duration = Duration::from_secs(3);
const EXIT_CODES: &str = "Exit codes: 0 done, 1 the server says no or does not answer in time, 2 bad command line, 3 cannot \
    connect, 130 interrupted.";

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) socket: PathBuf,
    pub(crate) json: bool,
    timeout: Option<Duration>,
    pub(crate) action: Action,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Action {
    Ask { command: Command, until_gone: bool },
    Top(Top),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Top {
    pub(crate) once: bool,
    pub(crate) interval: Duration,
}

impl Options {
    /// How long an answer may take; `None`: as long as it takes.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.timeout.or(match self.action {
            Action::Ask { command, until_gone } if command.waits() || until_gone => None,
            Action::Ask { .. } => Some(PATIENCE),
            Action::Top(_) => Some(LIVE),
        })
    }
}

/// What to print instead.
#[derive(Debug)]
pub(crate) struct Usage {
    text: String,
    exit_code: u8,
}

impl Usage {
    fn wrong(text: &str) -> Self {
        Self { text: format!("error: {text}\n"), exit_code: 2 }
    }

    /// Prints to standard error what is wrong, to standard output what was asked for; returns the exit code for `main`.
    pub(crate) fn report(&self) -> ExitCode {
        // Where nobody can be told, the exit code still tells.
        let _ = if self.exit_code == 0 {
            std::io::stdout().write_all(self.text.as_bytes())
        } else {
            std::io::stderr().write_all(self.text.as_bytes())
        };
        ExitCode::from(self.exit_code)
    }
}

/// Reads the arguments of the process, its name first; `variable` is the environment's word.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>, variable: Option<OsString>) -> Result<Options, Usage> {
    let matches = command().try_get_matches_from(args).map_err(|error| Usage {
        text: error.to_string(),
        exit_code: if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) { 0 } else { 2 },
    })?;
    let action = action(&matches)?;
    Ok(Options {
        socket: socket(&matches, variable)?,
        json: matches.get_flag("json"),
        timeout: matches.get_one("timeout").copied(),
        action,
    })
}

fn socket(matches: &ArgMatches, variable: Option<OsString>) -> Result<PathBuf, Usage> {
    if let Some(path) = matches.get_one::<PathBuf>("socket") {
        return Ok(path.clone());
    }
    if let Some(file) = matches.get_one::<PathBuf>("config") {
        return of_file(file);
    }
    match variable.filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => Err(Usage::wrong(&format!(
            "which server? Name its control socket with -s PATH, with --config APP.TOML, or in {VARIABLE}; it is the setting \
             control_socket, without which a server has none"
        ))),
    }
}

fn of_file(file: &Path) -> Result<PathBuf, Usage> {
    match rustcorn_config::control_socket(file) {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err(Usage::wrong(&format!(
            "{}: there is no control_socket; set it, such as control_socket = \"/run/rustcorn.ctl\", and reload with SIGHUP",
            file.display()
        ))),
        Err(problem) => Err(Usage::wrong(&problem.to_string())),
    }
}

/// What the subcommands say, as the words of a command.
fn action(matches: &ArgMatches) -> Result<Action, Usage> {
    let mut words = Vec::new();
    let mut level = matches;
    while let Some((name, below)) = level.subcommand() {
        words.push(name.to_owned());
        level = below;
    }
    if words == ["top"] {
        let interval = *level.get_one::<Duration>("interval").expect("it has a default");
        let once = level.get_flag("once");
        if matches.get_flag("json") && !once {
            return Err(Usage::wrong("a live view is no JSON; use top --once --json, or show all --json"));
        }
        return Ok(Action::Top(Top { once, interval }));
    }
    let argument = level.try_get_one::<String>("ARGUMENT").ok().flatten();
    words.extend(argument.cloned());
    let wait = level.try_get_one::<bool>("wait").ok().flatten().copied().unwrap_or(false);
    let until_gone = wait && words[0] == "shutdown";
    if wait && !until_gone {
        words.push("--wait".to_owned());
    }
    let command = Command::parse(&words).map_err(|error| Usage::wrong(&error))?;
    Ok(Action::Ask { command, until_gone })
}

fn command() -> Clap {
    let path = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf)).global(true).help(help)
    };
    Clap::new("rustcornctl")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Looks at a running rustcorn server, and tells it what to do.")
        .after_help(EXIT_CODES)
        .max_term_width(100)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(path("socket", "PATH", "Control socket of the server [environment: RUSTCORN_CONTROL_SOCKET]").short('s'))
        .arg(path("config", "APP.TOML", "Read control_socket from the server's configuration file").short('c'))
        .arg(flag("json", "Print the answer as one JSON object, also if it is an error").short('j').global(true))
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(seconds)
                .global(true)
                .help("How long an answer may take [default: 10, with --wait as long as it takes]"),
        )
        .subcommand(show())
        .subcommand(worker())
        .subcommand(
            Clap::new("reload")
                .about("Read the configuration again and replace the workers, as SIGHUP does")
                .arg(wait("Wait until all workers are replaced; fails, with the reason, if nothing was changed")),
        )
        .subcommand(Clap::new("reopen").about("Open the log files again, as SIGUSR1 does"))
        .subcommand(
            Clap::new("shutdown")
                .about("Stop the server: graceful as SIGTERM (the default), quick as SIGINT")
                .arg(Arg::new("ARGUMENT").value_name("MANNER").value_parser(["graceful", "quick"]))
                .arg(wait("Wait until the server is gone")),
        )
        .subcommand(top())
}

fn show() -> Clap {
    let sub = |name: &'static str, about: &'static str| Clap::new(name).about(about);
    Clap::new("show")
        .about("Look at the server")
        .subcommand_required(true)
        .subcommand(sub("workers", "Each worker: what it is, does, and has done"))
        .subcommand(sub("stats", "The server as a whole"))
        .subcommand(sub("config", "Every setting, its value and where it came from"))
        .subcommand(sub("listeners", "The addresses, and how many connections wait at each"))
        .subcommand(sub("durations", "How long requests took"))
        .subcommand(sub("all", "All of these but the durations"))
}

fn worker() -> Clap {
    let sub = |name: &'static str, about: &'static str, argument: &'static str, required| {
        Clap::new(name).about(about).arg(Arg::new("ARGUMENT").value_name(argument).required(required))
    };
    const WHICH: &str = "PID|SLOT";
    Clap::new("worker")
        .about("Change the number of workers, or replace some")
        .subcommand_required(true)
        .subcommand(sub("add", "N workers more (1)", "N", false).arg(wait("Wait until they are ready")))
        .subcommand(sub("remove", "N workers less (1), never below 1", "N", false))
        .subcommand(
            sub(
                "restart",
                "Replace one worker, or all; a successor is ready before the old one leaves",
                "SLOT|PID|all",
                false,
            )
            .arg(wait("Wait until they are replaced")),
        )
        .subcommand(
            sub("kill", "Let one worker finish and leave at once; its successor comes afterwards", WHICH, true)
                .arg(wait("Wait until its successor is ready")),
        )
}

fn top() -> Clap {
    Clap::new("top").about("Watch the server live").arg(flag("once", "Print one picture as text and leave")).arg(
        Arg::new("interval")
            .long("interval")
            .value_name("SECONDS")
            .default_value("1")
            .value_parser(seconds)
            .help("Time between two looks"),
    )
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn wait(help: &'static str) -> Arg {
    flag("wait", help)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=1e6).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use a number of seconds, such as 30 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Options, Usage> {
        parse(line.split(' ').map(OsString::from), None)
    }

    #[test]
    fn the_declaration_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn commands_and_options_in_any_order() {
        let options = of("rustcornctl worker kill 7 --wait -s /run/a --timeout 0.5 -j").unwrap();
        let Action::Ask { command, until_gone: false } = options.action else { panic!("{options:?}") };
        assert_eq!((command.to_string().as_str(), options.json), ("worker kill 7 --wait", true));
        assert_eq!((options.socket.to_str(), options.patience()), (Some("/run/a"), Some(Duration::from_millis(500))));
        for line in [
            "show workers",
            "show durations",
            "worker add",
            "worker add 3",
            "worker restart slot:1",
            "reopen",
            "reload",
        ] {
            let options = of(&format!("rustcornctl -s x {line}")).unwrap_or_else(|usage| panic!("{line}: {usage:?}"));
            assert_eq!(options.patience(), Some(PATIENCE), "{line}");
        }
        assert_eq!(of("rustcornctl -s x reload --wait").unwrap().patience(), None);
        let stop = of("rustcornctl -s x shutdown quick --wait").unwrap().action;
        assert_eq!(stop, Action::Ask { command: Command::Shutdown { quick: true }, until_gone: true });
        let top = Top { once: true, interval: Duration::from_millis(200) };
        assert_eq!(of("rustcornctl top --once --interval 0.2 -s x").unwrap().action, Action::Top(top));
    }

    #[test]
    fn what_is_wrong_is_told_with_exit_code_2() {
        let told = |line: &str| match of(line) {
            Err(usage) if usage.exit_code == 2 => usage.text,
            other => panic!("{line}: {other:?}"),
        };
        assert!(told("rustcornctl show stats").contains("which server? Name its control socket with -s PATH"));
        assert!(told("rustcornctl -s x worker kill").contains("PID|SLOT"));
        assert!(told("rustcornctl -s x worker kill x").contains("\"x\" is no worker"));
        assert!(told("rustcornctl -s x fly").contains("unrecognized subcommand 'fly'"));
        assert!(told("rustcornctl -s x shutdown now").contains("[possible values: graceful, quick]"));
        assert!(told("rustcornctl -s x top --json").contains("a live view is no JSON"));
        assert!(told("rustcornctl -c /nowhere.toml reload").contains("cannot read /nowhere.toml"));
        assert!(told("rustcornctl -s x reload --timeout 0").contains("use a number of seconds"));
        assert!(matches!(of("rustcornctl --version"), Err(Usage { exit_code: 0, .. })));
    }

    #[test]
    fn the_environment_names_the_socket_where_nobody_else_does() {
        let of = |line: &str| parse(line.split(' ').map(OsString::from), Some("/run/env".into())).unwrap().socket;
        assert_eq!(of("rustcornctl reload"), Path::new("/run/env"));
        assert_eq!(of("rustcornctl reload -s /run/flag"), Path::new("/run/flag"));
    }
}
