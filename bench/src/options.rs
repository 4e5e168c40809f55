//! The command line, and the programs it leads to.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::suites::{SUITES, Suite};

pub(crate) const USAGE: &str = "\
Measures rustcorn beside its peers on this machine and prints tables.

Usage: cargo run --release -p rustcorn-bench -- [OPTIONS] [SUITE…]

Suites (all, if none is named):
  keepalive  64 connections that stay open: rate, latency, CPU time per request
  close      the same with a connection for each request
  telemetry  CPU time per request without and with spans and statsd
  start      from exec to the first 200, with 4 workers
  kill       from kill -9 of the only worker to the next 200
  reload     failed requests and cut connections when reloaded under load
  memory     memory of an idle worker, before and after load
  master     CPU time of the master: 64 idle workers, and full load
  client     CPU time per request of load generators: rustcorn-loadtester, wrk, oha, Locust
  static     files of 1 KiB and 1 MiB: rate, latency, CPU time per request
  peers      all servers in one run, with open connections and with one for each request: rate, latency, CPU time, memory,
             system calls; rustcorn with and without statsd and access log, bare hyper, axum, nginx, gunicorn
  axum       one axum service under axum::serve and under rustcorn: rate on 1 and 2 CPUs, latency, CPU time, memory
  balance    how evenly 4 workers share 8, 64 and 1,000 connections
  slow       a good client beside 2,800 idle and slow ones: latency, memory of a connection

Options:
  --rounds N              Times that each server has its turn [default: 9]
  --seconds N             Length of a run under load [default: 1]
  --reloads N             Reloads in the suite reload [default: 20]
  --rustcorn NAME=PATH    Measure this build of rustcorn; can be repeated to compare builds [default: built now]
  --python PATH           Measure gunicorn + Flask + OpenTelemetry in telemetry, with this Python (bench/peers/flask/setup)
  --help                  Print this
";

/// What to run, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) suites: Vec<Suite>,
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
    pub(crate) reloads: usize,
    /// Builds of rustcorn by name. Empty: the one of this tree.
    pub(crate) builds: Vec<(String, PathBuf)>,
    /// Of an environment that has what bench/peers/flask/requirements.txt lists.
    pub(crate) python: Option<PathBuf>,
}

impl Options {
    /// `None` is a call for help.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options =
            Self { suites: Vec::new(), rounds: 9, seconds: 1, reloads: 20, builds: Vec::new(), python: None };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match &*argument {
                "--rounds" => options.rounds = number(&value()?)?,
                "--seconds" => options.seconds = u32::try_from(number(&value()?)?)?,
                "--reloads" => options.reloads = number(&value()?)?,
                "--rustcorn" => {
                    let value = value()?;
                    let (name, path) = value.split_once('=').ok_or("--rustcorn takes NAME=PATH")?;
                    options.builds.push((name.to_owned(), path.into()));
                }
                "--python" => options.python = Some(value()?.into()),
                "--help" | "-h" => return Ok(None),
                name => match SUITES.iter().find(|suite| suite.name == name) {
                    Some(suite) => options.suites.push(*suite),
                    None => return Err(format!("there is no suite or option {name}; --help lists them").into()),
                },
            }
        }
        if options.suites.is_empty() {
            options.suites = SUITES.to_vec();
        }
        Ok(Some(options))
    }
}

fn number(text: &str) -> Result<usize> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{text} is not a number above 0").into())
}

/// The programs to run.
pub(crate) struct Programs {
    pub(crate) rustcorn: Vec<(String, PathBuf)>,
    pub(crate) bare_hyper: PathBuf,
}

impl Programs {
    /// Builds what is not named on the command line. The results lie beside this program.
    pub(crate) fn build(options: &Options) -> Result<Self> {
        let this = env::current_exe()?;
        let dir = this.parent().ok_or("this program has no directory")?;
        cargo_build(&["-p", "rustcorn-bench", "--bin", "bare-hyper"])?;
        let mut rustcorn = options.builds.clone();
        if rustcorn.is_empty() {
            // By itself: with the benchmarks it would be compiled with their features of shared dependencies too.
            cargo_build(&["-p", "rustcorn", "--bin", "rustcorn"])?;
            rustcorn.push(("rustcorn".to_owned(), dir.join("rustcorn")));
        }
        let programs = Self { rustcorn, bare_hyper: dir.join("bare-hyper") };
        let mut paths = programs.rustcorn.iter().map(|(_, path)| path).chain([&programs.bare_hyper]);
        if let Some(missing) = paths.find(|path| !path.is_file()) {
            return Err(format!("there is no {}; is this driver a release build?", missing.display()).into());
        }
        drop(paths);
        Ok(programs)
    }
}

pub(crate) fn cargo_build(package: &[&str]) -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--manifest-path"]).arg(manifest).args(package);
    if command.status().map_err(|error| format!("cannot run cargo: {error}"))?.success() {
        Ok(())
    } else {
        Err("the build failed".into())
    }
}
