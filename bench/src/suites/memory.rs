//! `memory`: what an idle worker occupies, as PSS: its own pages, and its share of those it has in common with others.

use crate::Result;
use crate::load::warm_up;
use crate::procfs::Memory;
use crate::server::{Contender, Kind, Server};
use crate::suites::Bench;
use crate::table::Table;
use crate::wrk::{self, CONNECTIONS};

/// Workers, and processes of the peer: with as many of each, pages of the program are divided alike.
const WORKERS: usize = 4;

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let mut table = Table::new(["server", "state", "PSS, MiB", "anonymous", "files", "shared memory"]);
    for contender in bench.supervised().chain([bench.bare_hyper()]) {
        let servers = start(&contender)?;
        servers.iter().try_for_each(|server| warm_up(server.port()))?;
        row(&mut table, &contender, "idle", &servers)?;
        for server in &servers {
            let workers = WORKERS / servers.len();
            wrk::run(server.port(), bench.options.seconds, false, workers * CONNECTIONS)?;
        }
        row(&mut table, &contender, "idle after load", &servers)?;
    }
    println!(
        "{table}\nMean of {WORKERS} workers; of bare hyper, {WORKERS} processes. Load: {CONNECTIONS} connections for each of them."
    );
    Ok(())
}

fn start(contender: &Contender) -> Result<Vec<Server>> {
    let (servers, workers) = match contender.kind {
        Kind::BareHyper { .. } => (WORKERS, 1),
        _ => (1, WORKERS),
    };
    (0..servers).map(|_| contender.start(workers, None)).collect()
}

fn row(table: &mut Table, contender: &Contender, state: &str, servers: &[Server]) -> Result<()> {
    let pids: Vec<u32> = match contender.kind {
        Kind::BareHyper { .. } => servers.iter().map(Server::pid).collect(),
        _ => servers.iter().flat_map(Server::workers).collect(),
    };
    let all: Vec<Memory> = pids.iter().map(|pid| Memory::of(*pid)).collect::<Result<_>>()?;
    let mean = |of: fn(&Memory) -> u64| {
        let sum: u64 = all.iter().map(of).sum();
        format!("{:.2}", sum as f64 / 1024.0 / all.len() as f64)
    };
    table.row([
        contender.name.clone(),
        state.to_owned(),
        mean(|memory| memory.total),
        mean(|memory| memory.anonymous),
        mean(|memory| memory.file),
        mean(|memory| memory.shared),
    ]);
    Ok(())
}
