//! `start`: from exec to the first 200, with 4 workers.

use std::time::Instant;

use crate::Result;
use crate::load::first_200;
use crate::server::Contender;
use crate::suites::Bench;
use crate::table::{Table, figure, median, range};

const WORKERS: usize = 4;
/// A start is short: more of them for a round.
const STARTS: usize = 2;

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let contenders: Vec<Contender> = bench.supervised().collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    for _ in 0..bench.options.rounds * STARTS {
        for (contender, times) in contenders.iter().zip(&mut times) {
            let begin = Instant::now();
            let server = contender.start(WORKERS, None)?;
            times.push(first_200(server.port(), begin)?.as_secs_f64() * 1e3);
        }
    }
    let mut table = Table::new(["server", "exec to first 200, ms", "least–most"]);
    for (contender, times) in contenders.iter().zip(&times) {
        table.row([contender.name.clone(), figure(median(times), 1), range(times, 1)]);
    }
    println!("{table}\n{} starts each, {WORKERS} workers.", bench.options.rounds * STARTS);
    Ok(())
}
