//! `axum`: one and the same axum service under `axum::serve` and under rustcorn.
//!
//! On one CPU: one thread against one worker, with wrk on the other CPU. On two: two threads against two workers, with wrk beside
//! them, so that the rate is what the machine gives to both; the CPU time of a request is the server's alone.

use std::path::PathBuf;

use crate::Result;
use crate::load::warm_up;
use crate::options::cargo_build;
use crate::procfs::Memory;
use crate::server::{CPU, Contender, Kind};
use crate::suites::{Bench, in_turn};
use crate::table::{Table, figure, median, none, range};
use crate::wrk::{self, CONNECTIONS, Load};

/// A route with a parameter and a small document in JSON.
const PATH: &str = "/users/7";

#[derive(Clone, Copy)]
struct Turn {
    load: Load,
    /// CPU time of all its processes per request, in microseconds.
    cost: f64,
    /// PSS of all its processes in MiB, before and after the load.
    idle: f64,
    after: f64,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let binary = service()?;
    let contenders = [
        Contender { name: "axum::serve".to_owned(), kind: Kind::AxumServe { binary: binary.clone() } },
        Contender { name: "rustcorn".to_owned(), kind: Kind::AxumUnderRustcorn { binary } },
    ];
    let mut table = Table::new([
        "server",
        "CPUs",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "CPU µs/request",
        "least–most",
        "× axum::serve",
        "least–most",
        "PSS idle, MiB",
        "after load",
        "failed",
    ]);
    for cpus in [1, 2] {
        let rounds: Vec<Vec<Turn>> = (0..bench.options.rounds)
            .map(|first| in_turn(&contenders, first, |contender| turn(contender, cpus, bench.options.seconds)))
            .collect::<Result<_>>()?;
        for (at, contender) in contenders.iter().enumerate() {
            let all = |of: fn(&Turn) -> f64| rounds.iter().map(|round| of(&round[at])).collect::<Vec<f64>>();
            let ratios: Vec<f64> = rounds.iter().map(|round| round[at].cost / round[0].cost).collect();
            table.row([
                contender.name.clone(),
                cpus.to_string(),
                figure(median(&all(|turn| turn.load.rate)), 0),
                figure(median(&all(|turn| turn.load.p50)), 0),
                figure(median(&all(|turn| turn.load.p99)), 0),
                figure(median(&all(|turn| turn.cost)), 2),
                range(&all(|turn| turn.cost), 2),
                figure(median(&ratios), 3),
                if at == 0 { none() } else { range(&ratios, 3) },
                figure(median(&all(|turn| turn.idle)), 2),
                figure(median(&all(|turn| turn.after)), 2),
                rounds.iter().map(|round| round[at].load.failed).sum::<u64>().to_string(),
            ]);
        }
    }
    println!(
        "{table}\n{} rounds of {} s; medians; ratios within a round; GET {PATH}, {CONNECTIONS} connections for each CPU. As many threads, \
         or workers, as CPUs. With 1 CPU, it is CPU {CPU} and wrk has the other; with 2, wrk shares them. PSS of all processes, \
         rustcorn's master included.",
        bench.options.rounds, bench.options.seconds
    );
    Ok(())
}

/// Builds the service, by itself, with its own features.
pub(super) fn service() -> Result<PathBuf> {
    cargo_build(&["-p", "rustcorn-bench-axum"])?;
    let this = std::env::current_exe()?;
    Ok(this.parent().ok_or("this program has no directory")?.join("axum-service"))
}

fn turn(contender: &Contender, cpus: usize, seconds: u32) -> Result<Turn> {
    let alone = cpus == 1;
    let server = contender.start(cpus, alone.then_some(CPU))?;
    warm_up(server.port())?;
    let memory = || {
        let all: Vec<Memory> = server.processes().iter().map(|pid| Memory::of(*pid)).collect::<Result<_>>()?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            all.iter().map(|memory| memory.total).sum::<u64>() as f64 / 1024.0,
        )
    };
    let (idle, before) = (memory()?, server.cpu_time());
    let url = format!("127.0.0.1:{}{PATH}", server.port());
    let load = wrk::run_at(&url, seconds, false, cpus * CONNECTIONS, alone.then_some(wrk::CPU))?;
    let used = server.cpu_time() - before;
    if load.requests == 0 {
        return Err(format!("{} answered nothing in {seconds} s: the machine is too busy", contender.name).into());
    }
    Ok(Turn { load, cost: used.running as f64 / 1e3 / load.requests as f64, idle, after: memory()? })
}
