//! `static`: the price of a file, small and large, of the handler `static` and of nginx.
//!
//! As in `keepalive`: one worker on CPU 0, wrk on CPU 1, rounds interleaved, each server started anew, ratios within a round.

use crate::Result;
use crate::load::warm_up;
use crate::server::{CPU, Contender, Files, Kind};
use crate::suites::{Bench, in_turn};
use crate::table::{Table, figure, median, none, range};
use crate::wrk::{self, CONNECTIONS, Load};

/// What is asked for, and how much it is.
const FILES: [(&str, usize); 2] = [("1 KiB", 1 << 10), ("1 MiB", 1 << 20)];

#[derive(Clone, Copy)]
struct Turn {
    load: Load,
    /// CPU time of all its processes and threads per request, in microseconds.
    cost: f64,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let files = Files::new()?;
    files.write("index.html", "<h1>Home</h1>\n")?; // for the warm-up
    let root = files.path().to_owned();
    let builds = bench.programs.rustcorn.iter().map(|(name, binary)| Contender {
        name: name.clone(),
        kind: Kind::RustcornFiles { binary: binary.clone(), root: root.clone() },
    });
    let nginx =
        bench.nginx.then(|| Contender { name: "nginx".to_owned(), kind: Kind::NginxFiles { root: root.clone() } });
    let contenders: Vec<Contender> = builds.chain(nginx).collect();
    let base = bench.nginx.then(|| contenders.len() - 1);
    let mut table = Table::new([
        "server",
        "file",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "CPU µs/request",
        "least–most",
        "× nginx",
        "least–most",
        "failed",
    ]);
    for (name, size) in FILES {
        files.write("file.bin", &"x".repeat(size))?;
        let rounds: Vec<Vec<Turn>> = (0..bench.options.rounds)
            .map(|first| in_turn(&contenders, first, |contender| turn(contender, bench.options.seconds)))
            .collect::<Result<_>>()?;
        for (at, contender) in contenders.iter().enumerate() {
            let all = |of: fn(&Turn) -> f64| rounds.iter().map(|round| of(&round[at])).collect::<Vec<f64>>();
            let ratios: Vec<f64> = base
                .map_or_else(Vec::new, |base| rounds.iter().map(|round| round[at].cost / round[base].cost).collect());
            table.row([
                contender.name.clone(),
                name.to_owned(),
                figure(median(&all(|turn| turn.load.rate)), 0),
                figure(median(&all(|turn| turn.load.p50)), 0),
                figure(median(&all(|turn| turn.load.p99)), 0),
                figure(median(&all(|turn| turn.cost)), 2),
                range(&all(|turn| turn.cost), 2),
                figure(median(&ratios), 2),
                if base == Some(at) { none() } else { range(&ratios, 2) },
                rounds.iter().map(|round| round[at].load.failed).sum::<u64>().to_string(),
            ]);
        }
    }
    println!(
        "{table}\n{} rounds of {} s; medians; ratios within a round. One worker on CPU {CPU}, wrk with {CONNECTIONS} connections on CPU {}. \
         The file is in the page cache; nginx sends it by sendfile.",
        bench.options.rounds,
        bench.options.seconds,
        wrk::CPU
    );
    Ok(())
}

fn turn(contender: &Contender, seconds: u32) -> Result<Turn> {
    let server = contender.start(1, Some(CPU))?;
    warm_up(server.port())?;
    let before = server.cpu_time();
    let url = format!("127.0.0.1:{}/file.bin", server.port());
    let load = wrk::run_at(&url, seconds, false, CONNECTIONS, Some(wrk::CPU))?;
    let used = server.cpu_time() - before;
    if load.requests == 0 {
        return Err(format!("{} answered nothing in {seconds} s: the machine is too busy", contender.name).into());
    }
    Ok(Turn { load, cost: used.running as f64 / 1e3 / load.requests as f64 })
}
