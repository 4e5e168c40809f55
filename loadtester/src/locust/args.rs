//! The subcommands `worker` and `locustfile`, and the environment variables that make the program a worker without one.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::worker::{self, Options};
use super::{health, locustfile};
use crate::cli::{Failure, OK, raise_limits};
use crate::problem::without_number;
use crate::scenario::{Host, Scenario};

/// Of a locust master.
const MASTER_PORT: u16 = 5557;

/// Both subcommands.
pub(crate) fn commands() -> [Command; 2] {
    [worker_command(), locustfile_command()]
}

fn worker_command() -> Command {
    Command::new("worker")
        .about("Work for a Locust master")
        .after_help(
            "Environment: LOCUST_MASTER or LOCUST_MASTER_NODE_HOST for --master-host, LOCUST_MASTER_NODE_PORT for --master-port, \
             TARGET_HOST for --host. With LOCUST_MODE=worker the subcommand may be left out.",
        )
        .args([
            Arg::new("scenario")
                .value_name("SCENARIO.TOML")
                .value_parser(value_parser!(PathBuf))
                .help("What to send; left out: the scenario in the master's locustfile"),
            Arg::new("master-host").long("master-host").value_name("HOST").help("Name or address of the master [default: 127.0.0.1]"),
            Arg::new("master-port")
                .long("master-port")
                .value_name("PORT")
                .value_parser(value_parser!(u16).range(1..))
                .help("Its --master-bind-port [default: 5557]"),
            Arg::new("host")
                .long("host")
                .value_name("URL")
                .help("Target where the master names none; goes before the scenario's"),
            Arg::new("threads")
                .long("threads")
                .value_name("N")
                .value_parser(value_parser!(u16).range(1..=1024))
                .help("Threads that send [default: one for each CPU that may be used]"),
            Arg::new("persist")
                .long("persist")
                .action(ArgAction::SetTrue)
                .help("When the master says quit, wait for the next master instead of ending"),
            Arg::new("health-bind")
                .long("health-bind")
                .value_name("ADDR")
                .value_parser(value_parser!(SocketAddr))
                .help("Answer /livez and /readyz (joined a master) here"),
        ])
}

fn locustfile_command() -> Command {
    Command::new("locustfile")
        .about("Print the locustfile that a Locust master needs for a scenario")
        .arg(Arg::new("scenario").value_name("SCENARIO.TOML").value_parser(value_parser!(PathBuf)).required(true))
}

/// The arguments, or if there are none, what `LOCUST_MODE` asks for.
pub(crate) fn or_by_environment(mut arguments: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let Some(mode) = env("LOCUST_MODE").filter(|_| arguments.len() == 1) else { return Ok(arguments) };
    let advice = match mode.as_str() {
        "worker" => {
            arguments.push("worker".into());
            return Ok(arguments);
        }
        "master" => {
            "the master is Locust itself; make its locustfile with `rustcorn-loadtester locustfile SCENARIO.TOML > locustfile.py`, \
             and start it with `locust --master --enable-rebalancing -f locustfile.py`"
        }
        "standalone" => "use `rustcorn-loadtester run SCENARIO.TOML` (or a URL)",
        _ => "this program can be LOCUST_MODE=worker",
    };
    Err(Failure::usage(format!("LOCUST_MODE={mode}: {advice}")))
}

/// Prints the locustfile.
pub(crate) fn locustfile(matches: &ArgMatches) -> Result<u8, Failure> {
    let path: &PathBuf = matches.get_one("scenario").expect("clap demands it");
    let text = locustfile_of(path).map_err(Failure::usage)?;
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::run(format!("cannot write the locustfile: {}", without_number(&error))))?;
    Ok(OK)
}

fn locustfile_of(path: &Path) -> Result<String, String> {
    let scenario = Scenario::from_file(path).map_err(|problems| problems.to_string())?;
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    locustfile::generate(&name, &text, &scenario).map_err(|problems| problems.to_string())
}

/// Works until the end.
pub(crate) fn worker(matches: &ArgMatches) -> Result<u8, Failure> {
    let options = options(matches).map_err(Failure::usage)?;
    let health =
        matches.get_one("health-bind").map(|address| health::bind(*address)).transpose().map_err(Failure::run)?;
    raise_limits();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::run(format!("cannot start: {error}")))?;
    let work = async {
        let joined = Arc::new(AtomicBool::new(false));
        if let Some(listener) = health {
            eprintln!("probes are answered at http://{}/livez and /readyz", listener.local_addr()?);
            tokio::spawn(health::serve(listener, Arc::clone(&joined)));
        }
        worker::run(options, joined).await
    };
    let result = runtime.block_on(work);
    runtime.shutdown_background(); // a name that is being looked up may take its time; nobody waits for it
    result.map_err(|error| Failure::run(error.to_string()))?;
    Ok(OK)
}

/// A variable that is set and not empty.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn options(matches: &ArgMatches) -> Result<Options, String> {
    let host = matches.get_one::<String>("master-host").cloned();
    let host = host.or_else(|| env("LOCUST_MASTER")).or_else(|| env("LOCUST_MASTER_NODE_HOST"));
    let port = match (matches.get_one::<u16>("master-port"), env("LOCUST_MASTER_NODE_PORT")) {
        (Some(port), _) => *port,
        (None, Some(text)) => match text.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(format!("LOCUST_MASTER_NODE_PORT={text:?} is not a port; set a number from 1 to 65535")),
        },
        (None, None) => MASTER_PORT,
    };
    let target = match (matches.get_one::<String>("host"), env("TARGET_HOST")) {
        (Some(text), _) => Some(Host::parse(text).map_err(|why| format!("--host: {why}"))?),
        (None, Some(text)) => Some(Host::parse(&text).map_err(|why| format!("TARGET_HOST: {why}"))?),
        (None, None) => None,
    };
    let scenario = match matches.get_one::<PathBuf>("scenario") {
        Some(path) => Some(Scenario::from_file(path).map_err(|problems| problems.to_string())?),
        None => None,
    };
    Ok(Options {
        host: host.unwrap_or_else(|| "127.0.0.1".to_owned()),
        port,
        scenario,
        target,
        threads: matches.get_one::<u16>("threads").map_or(0, |threads| usize::from(*threads)),
        persist: matches.get_flag("persist"),
    })
}
