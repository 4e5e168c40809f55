//! The subcommands `worker` and `locustfile`, and the environment variables that make the program a worker without one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::worker::{self, Options};
use super::{health, locustfile};
use crate::scenario::{Host, Scenario};

/// Of a locust master.
const MASTER_PORT: u16 = 5557;

/// `rustcorn-loadtester worker`.
pub fn worker_command() -> Command {
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

/// `rustcorn-loadtester locustfile`.
pub fn locustfile_command() -> Command {
    Command::new("locustfile")
        .about("Print the locustfile that a Locust master needs for a scenario")
        .arg(Arg::new("scenario").value_name("SCENARIO.TOML").value_parser(value_parser!(PathBuf)).required(true))
}

/// What `LOCUST_MODE` asks for, if the program was called without arguments.
pub fn by_environment(env: impl Fn(&str) -> Option<String>) -> Option<ExitCode> {
    let mode = env("LOCUST_MODE").filter(|mode| !mode.is_empty())?;
    let advice = match mode.as_str() {
        "worker" => {
            let matches = worker_command().get_matches_from(["worker"]);
            return Some(run_worker(&matches, env));
        }
        "master" => {
            "the master is Locust itself; make its locustfile with `rustcorn-loadtester locustfile SCENARIO.TOML > locustfile.py`, and start \
             it with `locust --master --enable-rebalancing -f locustfile.py`"
        }
        "standalone" => "use `rustcorn-loadtester run SCENARIO.TOML` (or a URL)",
        _ => "this program can be LOCUST_MODE=worker",
    };
    Some(wrong(&format!("LOCUST_MODE={mode}: {advice}")))
}

/// Prints the locustfile.
pub fn run_locustfile(matches: &ArgMatches) -> ExitCode {
    let path: &PathBuf = matches.get_one("scenario").expect("required");
    match locustfile_of(path) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => wrong(&why),
    }
}

fn locustfile_of(path: &Path) -> Result<String, String> {
    let scenario = Scenario::from_file(path).map_err(|problems| problems.to_string())?;
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    locustfile::generate(&name, &text, &scenario).map_err(|problems| problems.to_string())
}

/// Works until the end.
pub fn run_worker(matches: &ArgMatches, env: impl Fn(&str) -> Option<String>) -> ExitCode {
    let options = match options(matches, env) {
        Ok(options) => options,
        Err(why) => return wrong(&why),
    };
    let health = match matches.get_one("health-bind").map(|address| health::bind(*address)).transpose() {
        Ok(listener) => listener,
        Err(why) => return failed(&why),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            let joined = Arc::new(AtomicBool::new(false));
            if let Some(listener) = health {
                say(&format!("probes are answered at http://{}/livez and /readyz", listener.local_addr()?));
                tokio::spawn(health::serve(listener, Arc::clone(&joined)));
            }
            worker::run(options, joined).await
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn options(matches: &ArgMatches, env: impl Fn(&str) -> Option<String>) -> Result<Options, String> {
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
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

/// The command line is wrong.
fn wrong(why: &str) -> ExitCode {
    say(&format!("error: {why}"));
    ExitCode::from(2)
}

/// The worker cannot go on.
fn failed(why: &str) -> ExitCode {
    say(&format!("error: {why}"));
    ExitCode::FAILURE
}

fn say(line: &str) {
    eprintln!("{line}");
}
