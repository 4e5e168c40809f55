//! The command line: what it overrides in a scenario, what is written where, and the exit code.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::locust;
use crate::overrides;
use crate::problem::{Problem, Problems};
use crate::progress::Progress;
use crate::report::{Report, csv, html, table};
use crate::run;
use crate::scenario::Scenario;
use crate::thresholds::Threshold;

/// The run took place and all thresholds held.
pub const OK: u8 = 0;
/// Nobody could be reached, or a result could not be written.
pub const FAILED: u8 = 1;
/// The command line or the scenario is wrong.
pub const USAGE: u8 = 2;
/// A threshold did not hold.
pub const THRESHOLD: u8 = 3;

const EXIT_CODES: &str = "\
Exit codes: 0 done, and all thresholds held; 1 nobody could be reached, or a result could not be written; \
2 the command line or the scenario is wrong; 3 a threshold did not hold.";

fn command() -> Command {
    Command::new("rustcorn-loadtester")
        .about("Load generator: closed and open loop, latency from the intended start, thresholds, reports")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .subcommand(
            Command::new("run")
                .about("Run a scenario, or GET a URL over and over")
                .after_help(EXIT_CODES)
                .arg(Arg::new("scenario").value_name("SCENARIO.TOML|URL").required(true).help("What to send"))
                .args(overrides::arguments())
                .arg(
                    Arg::new("threads")
                        .long("threads")
                        .short('t')
                        .value_name("N")
                        .help("Threads that send [default: one for each CPU]"),
                )
                .args(outputs())
                .arg(Arg::new("quiet").long("quiet").short('q').action(ArgAction::SetTrue).help("No progress")),
        )
        .subcommand(
            Command::new("report")
                .about("Show a result again, or write it in another form")
                .arg(Arg::new("result").value_name("RESULT.JSON").required(true).help("What run --json wrote"))
                .args(outputs()),
        )
        .subcommands(locust::args::commands())
}

fn outputs() -> [Arg; 3] {
    let file = |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("FILE").help(help);
    [
        file("json", "Write everything, histograms included"),
        file("csv", "Write a line for each second"),
        file("html", "Write a page with charts, complete in itself"),
    ]
}

/// Does what the arguments say; the first one is the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match locust::args::or_by_environment(arguments.into_iter().collect()) {
        Ok(arguments) => arguments,
        Err(failure) => return failure.exit(),
    };
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { OK };
            let _ = error.print(); // there is nowhere else to say it
            return ExitCode::from(code);
        }
    };
    let result = match matches.subcommand() {
        Some(("run", matches)) => run_command(matches),
        Some(("report", matches)) => report_command(matches),
        Some(("worker", matches)) => locust::args::worker(matches),
        Some(("locustfile", matches)) => locust::args::locustfile(matches),
        _ => unreachable!("clap demands one of the subcommands"),
    };
    result.map_or_else(Failure::exit, ExitCode::from)
}

/// What went wrong, and the exit code for it.
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    pub(crate) const fn usage(text: String) -> Self {
        Self { text, code: USAGE }
    }

    pub(crate) const fn run(text: String) -> Self {
        Self { text, code: FAILED }
    }

    fn exit(self) -> ExitCode {
        for line in self.text.lines() {
            eprintln!("Error: {line}");
        }
        ExitCode::from(self.code)
    }
}

/// Each user has a connection, and most shells allow 1024 of them at first: asks for as many as the system would give.
pub(crate) fn raise_limits() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most); // where it is refused, connections say that there are too many
    }
}

fn run_command(matches: &ArgMatches) -> Result<u8, Failure> {
    let what: &String = matches.get_one("scenario").expect("clap demands it");
    let is_url = what.contains("://");
    let mut scenario = if is_url {
        Scenario::from_url(what).map_err(|problem| Failure::usage(problem.to_string()))?
    } else {
        Scenario::from_file(Path::new(what)).map_err(|problem| Failure::usage(problem.to_string()))?
    };
    overrides::apply(&mut scenario, matches, is_url).map_err(|problem| Failure::usage(problem.to_string()))?;
    for text in &scenario.thresholds {
        Threshold::parse(text)
            .and_then(|threshold| threshold.check(&scenario))
            .map_err(|problem| Failure::usage(problem.to_string()))?;
    }
    let threads = match matches.get_one::<String>("threads") {
        None => 0,
        Some(text) => match text.parse() {
            Ok(threads @ 1..=1024) => threads,
            _ => {
                return Err(Failure::usage(format!("--threads: {text:?} is not allowed; use a number from 1 to 1024")));
            }
        },
    };
    // What cannot be written is better known before the run than after it.
    let outputs = Outputs::open(matches).map_err(|problem| Failure::usage(problem.to_string()))?;
    raise_limits();
    let progress = Progress::new(matches.get_flag("quiet"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::run(format!("cannot start: {error}")))?;
    let report = runtime
        .block_on(run::run(scenario, threads, progress))
        .map_err(|problem| Failure::usage(problem.to_string()))?;
    outputs.write(&report).map_err(|problems| Failure::run(problems.to_string()))?;
    if report.unreachable() {
        let why = report.errors.first().map_or("", |error| error.message.as_str());
        return Err(Failure::run(format!("nobody could be reached: {why}")));
    }
    Ok(if report.thresholds.iter().all(|threshold| threshold.held) { OK } else { THRESHOLD })
}

fn report_command(matches: &ArgMatches) -> Result<u8, Failure> {
    let path: &String = matches.get_one("result").expect("clap demands it");
    let report = Report::from_file(Path::new(path)).map_err(Failure::usage)?;
    let outputs = Outputs::open(matches).map_err(|problem| Failure::run(problem.to_string()))?;
    outputs.write(&report).map_err(|problems| Failure::run(problems.to_string()))?;
    Ok(OK)
}

type Render = fn(&Report) -> String;

/// Files to write, already open.
struct Outputs(Vec<(PathBuf, std::fs::File, Render)>);

impl Outputs {
    fn open(matches: &ArgMatches) -> Result<Self, Problem> {
        let forms: [(&str, Render); 3] = [("json", Report::json), ("csv", csv), ("html", html)];
        let mut files = Vec::new();
        for (name, render) in forms {
            let Some(path) = matches.get_one::<String>(name).map(PathBuf::from) else { continue };
            // Not truncated before there is something to put into it.
            let file = std::fs::File::options().write(true).create(true).truncate(false).open(&path);
            let file =
                file.map_err(|error| Problem::general(format!("--{name}: cannot write {}: {error}", path.display())))?;
            files.push((path, file, render));
        }
        Ok(Self(files))
    }

    /// Writes the table to standard output, and the files. One that cannot be written takes none of the others with it: the run
    /// is over, and this is all there is of it.
    fn write(self, report: &Report) -> Result<(), Problems> {
        let mut problems = Vec::new();
        let mut note = |what: String, written: std::io::Result<()>| {
            problems.extend(written.err().map(|error| Problem::general(format!("cannot write {what}: {error}"))));
        };
        note("the table".to_owned(), std::io::stdout().write_all(table(report).as_bytes()));
        for (path, mut file, render) in self.0 {
            // Only a file has something to truncate; a device or a pipe has not.
            let emptied = file.metadata().and_then(|data| if data.is_file() { file.set_len(0) } else { Ok(()) });
            note(path.display().to_string(), emptied.and_then(|()| file.write_all(render(report).as_bytes())));
        }
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}
