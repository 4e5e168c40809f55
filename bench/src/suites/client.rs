//! `client`: the price of a request for whoever sends it, of the load generators that are there.
//!
//! The fastest server at hand has CPU 0, the generator CPU 1. Rounds are interleaved as in `keepalive`. What is measured is the CPU
//! time of the generator's process from start to end, divided by the requests that it says it has made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::Result;
use crate::load::warm_up;
use crate::options::cargo_build;
use crate::server::{CPU, Contender, Files, pinned};
use crate::suites::Bench;
use crate::table::{Table, figure, median, none, range};
use crate::wrk::{self, CONNECTIONS};

/// The CPU of the generators.
const OWN_CPU: usize = 1;
/// A user that asks for the same page, for ever.
const LOCUSTFILE: &str = "\
from locust import task
from locust.contrib.fasthttp import FastHttpUser

class Visitor(FastHttpUser):
    @task
    def page(self):
        self.client.get(\"/\")
";

/// A load generator.
enum Client {
    Loadtester(PathBuf),
    Wrk,
    Oha,
    Locust,
}

impl Client {
    const fn name(&self) -> &'static str {
        match self {
            Self::Loadtester(_) => "rustcorn-loadtester",
            Self::Wrk => "wrk",
            Self::Oha => "oha",
            Self::Locust => "Locust FastHttpUser",
        }
    }

    fn command(&self, url: &str, seconds: u32, files: &Path) -> Command {
        let (connections, seconds) = (CONNECTIONS.to_string(), seconds.to_string());
        let time = format!("{seconds}s");
        let (program, arguments): (&Path, Vec<&str>) = match self {
            Self::Loadtester(binary) => (binary, vec!["run", url, "-q", "-t", "1", "-u", &connections, "-d", &time]),
            Self::Wrk => (Path::new("wrk"), vec!["-t1", "--latency", "-c", &connections, "-d", &time, url]),
            Self::Oha => (Path::new("oha"), vec!["--no-tui", "-c", &connections, "-z", &time, url]),
            Self::Locust => (
                Path::new("locust"),
                vec![
                    "--headless",
                    "--only-summary",
                    "-H",
                    url.trim_end_matches('/'),
                    "-u",
                    &connections,
                    "-r",
                    &connections,
                    "-t",
                    &time,
                ],
            ),
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(files).stdin(Stdio::null());
        command
    }

    /// Requests, as this generator words it.
    fn requests(&self, output: &str) -> Option<f64> {
        let after = |name: &str| output.lines().find_map(|line| line.trim().strip_prefix(name).map(str::trim));
        let first = |text: &str| text.split_ascii_whitespace().next()?.replace(',', "").parse::<f64>().ok();
        match self {
            Self::Loadtester(_) => first(after("GET /")?),
            Self::Wrk => wrk::requests(output),
            Self::Oha => first(after("[200]")?),
            Self::Locust => first(after("Aggregated")?),
        }
    }
}

/// One client's turn in one round.
struct Turn {
    requests: f64,
    /// CPU time in µs.
    used: f64,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let server = bench.nginx().or_else(|| bench.rustcorn().next()).ok_or("there is no server to load")?;
    let clients = clients()?;
    let mut turns: Vec<Vec<Turn>> = clients.iter().map(|_| Vec::new()).collect();
    for round in 0..bench.options.rounds {
        for place in 0..clients.len() {
            let at = (round + place) % clients.len();
            turns[at].push(turn(&server, &clients[at], bench.options.seconds)?);
        }
    }
    let mut table = Table::new(["client", "requests/s", "CPU µs/request", "least–most", "× wrk", "least–most"]);
    let base = clients.iter().position(|client| matches!(client, Client::Wrk));
    for (client, own) in clients.iter().zip(&turns) {
        let costs: Vec<f64> = own.iter().map(|turn| turn.used / turn.requests).collect();
        let rates: Vec<f64> = own.iter().map(|turn| turn.requests / f64::from(bench.options.seconds)).collect();
        let ratios: Vec<f64> = base.map_or_else(Vec::new, |base| {
            costs.iter().zip(&turns[base]).map(|(cost, turn)| cost * turn.requests / turn.used).collect()
        });
        table.row([
            client.name().to_owned(),
            figure(median(&rates), 0),
            figure(median(&costs), 2),
            range(&costs, 2),
            figure(median(&ratios), 3),
            if matches!(client, Client::Wrk) { none() } else { range(&ratios, 3) },
        ]);
    }
    println!(
        "{table}\n{} rounds of {} s; medians; ratios within a round. {CONNECTIONS} connections to {} on CPU {CPU}, the client with one \
         thread on CPU {OWN_CPU}; CPU time of the whole process, its start included.",
        bench.options.rounds, bench.options.seconds, server.name
    );
    Ok(())
}

/// Ours, built now, and those on PATH.
fn clients() -> Result<Vec<Client>> {
    cargo_build(&["-p", "rustcorn-loadtester"])?;
    let this = std::env::current_exe()?;
    let binary = this.parent().ok_or("this program has no directory")?.join("rustcorn-loadtester");
    let mut clients = vec![Client::Loadtester(binary)];
    let peers = [
        (Client::Wrk, "wrk", "apt install wrk"),
        (Client::Oha, "oha", "cargo install oha"),
        (Client::Locust, "locust", "pip install locust"),
    ];
    for (client, program, remedy) in peers {
        let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        match asked {
            Ok(_) => clients.push(client), // wrk answers with exit code 1
            Err(_) => println!("{program} is not on PATH and so not in the table ({remedy})."),
        }
    }
    Ok(clients)
}

fn turn(contender: &Contender, client: &Client, seconds: u32) -> Result<Turn> {
    let server = contender.start(1, Some(CPU))?;
    warm_up(server.port())?;
    let files = Files::new()?;
    fs::write(files.path().join("locustfile.py"), LOCUSTFILE)?;
    let mut command = client.command(&format!("http://127.0.0.1:{}/", server.port()), seconds, files.path());
    let before = children()?;
    let output = pinned(Some(OWN_CPU), || command.output())?
        .map_err(|error| format!("cannot run {}: {error}", client.name()))?;
    let used = children()? - before;
    // Locust writes its table to the log.
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let requests = client.requests(&text).filter(|requests| *requests > 0.0);
    // Its last words; some have many.
    let last = || text.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
    let requests = requests.ok_or_else(|| format!("cannot read what {} printed: {}", client.name(), last()))?;
    Ok(Turn { requests, used })
}

/// CPU time of children that have ended, in µs. The server has not.
fn children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64)
}

#[cfg(test)]
mod tests;
