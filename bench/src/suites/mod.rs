//! The suites: what is measured, each in a file of its own.

mod axum;
mod balance;
mod client;
mod files;
mod kill;
mod master;
mod memory;
mod peers;
mod reload;
mod slow;
mod start;
mod telemetry;
mod throughput;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::Result;
use crate::options::{Options, Programs};
use crate::procfs;
use crate::server::{Contender, Kind, has_nginx};

/// One suite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    run: fn(&Bench<'_>) -> Result<()>,
}

pub(crate) const SUITES: [Suite; 14] = [
    Suite { name: "keepalive", run: |bench| throughput::run(bench, false) },
    Suite { name: "close", run: |bench| throughput::run(bench, true) },
    Suite { name: "telemetry", run: telemetry::run },
    Suite { name: "start", run: start::run },
    Suite { name: "kill", run: kill::run },
    Suite { name: "reload", run: reload::run },
    Suite { name: "memory", run: memory::run },
    Suite { name: "master", run: master::run },
    Suite { name: "client", run: client::run },
    Suite { name: "static", run: files::run },
    Suite { name: "axum", run: axum::run },
    Suite { name: "balance", run: balance::run },
    Suite { name: "slow", run: slow::run },
    Suite { name: "peers", run: peers::run },
];

/// What the suites have in common.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    programs: Programs,
    /// Where rustcorn sends its metrics. Nobody reads them: the kernel drops what does not fit, and the sender never waits.
    statsd: UdpSocket,
    nginx: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let programs = Programs::build(options)?;
    let statsd = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let bench = Bench { options, programs, statsd, nginx: has_nginx() };
    println!("{}", procfs::machine()?);
    if !bench.nginx {
        println!("nginx is not on PATH and so not in the tables.");
    }
    for suite in &options.suites {
        println!("\n## {}\n", suite.name);
        (suite.run)(&bench).map_err(|error| format!("suite {}: {error}", suite.name))?;
    }
    Ok(())
}

impl Bench<'_> {
    /// Each build of rustcorn, without metrics.
    fn rustcorn(&self) -> impl Iterator<Item = Contender> {
        let builds = self.programs.rustcorn.iter();
        builds.map(|(name, binary)| Contender {
            name: name.clone(),
            kind: Kind::Rustcorn { binary: binary.clone(), statsd: None, otlp: None, access_log: false },
        })
    }

    /// Each build of rustcorn, with metrics.
    fn rustcorn_with_statsd(&self) -> Result<impl Iterator<Item = Contender>> {
        let statsd = Some(self.statsd.local_addr()?);
        let builds = self.programs.rustcorn.iter();
        Ok(builds.map(move |(name, binary)| Contender {
            name: format!("{name}, statsd"),
            kind: Kind::Rustcorn { binary: binary.clone(), statsd, otlp: None, access_log: false },
        }))
    }

    /// Each build of rustcorn, with a line for each request.
    fn rustcorn_logging(&self) -> impl Iterator<Item = Contender> {
        let builds = self.programs.rustcorn.iter();
        builds.map(|(name, binary)| Contender {
            name: format!("{name}, access log"),
            kind: Kind::Rustcorn { binary: binary.clone(), statsd: None, otlp: None, access_log: true },
        })
    }

    fn bare_hyper(&self) -> Contender {
        Contender { name: "bare hyper".to_owned(), kind: Kind::BareHyper { binary: self.programs.bare_hyper.clone() } }
    }

    /// None where it is not installed.
    fn nginx(&self) -> Option<Contender> {
        self.nginx.then(|| Contender { name: "nginx".to_owned(), kind: Kind::Nginx { access_log: false } })
    }

    /// Those with a master and workers.
    fn supervised(&self) -> impl Iterator<Item = Contender> {
        self.rustcorn().chain(self.nginx())
    }
}

/// One round: a turn of each server, starting with another one each time.
fn in_turn<T>(contenders: &[Contender], first: usize, mut turn: impl FnMut(&Contender) -> Result<T>) -> Result<Vec<T>> {
    let mut round: Vec<(usize, T)> = Vec::new();
    for place in 0..contenders.len() {
        let at = (first + place) % contenders.len();
        round.push((at, turn(&contenders[at])?));
    }
    round.sort_by_key(|(at, _)| *at);
    Ok(round.into_iter().map(|(_, turn)| turn).collect())
}

/// Lets time pass: where what happens meanwhile, or fails to happen, is what is measured.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
