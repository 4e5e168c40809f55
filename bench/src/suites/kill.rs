//! `kill`: from kill -9 of the only worker to the next 200. A client that comes in between waits in the backlog.

use std::time::Instant;

use nix::sys::signal::{self, Signal};

use crate::Result;
use crate::load::first_200;
use crate::server::{Contender, Server, raw};
use crate::suites::Bench;
use crate::table::{Table, figure, median, range};

/// A kill is short: more of them for a round.
const KILLS: usize = 2;

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let contenders: Vec<Contender> = bench.supervised().collect();
    let servers: Vec<Server> = contenders.iter().map(|contender| contender.start(1, None)).collect::<Result<_>>()?;
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    for _ in 0..bench.options.rounds * KILLS {
        for (server, times) in servers.iter().zip(&mut times) {
            first_200(server.port(), Instant::now())?; // it is up again, all of it
            let &[worker] = &*server.workers() else { return Err("there should be one worker".into()) };
            let begin = Instant::now();
            signal::kill(raw(worker), Signal::SIGKILL)?;
            times.push(first_200(server.port(), begin)?.as_secs_f64() * 1e3);
        }
    }
    let mut table = Table::new(["server", "kill -9 to next 200, ms", "least–most"]);
    for (contender, times) in contenders.iter().zip(&times) {
        table.row([contender.name.clone(), figure(median(times), 1), range(times, 1)]);
    }
    println!("{table}\n{} kills each, one worker, restart_backoff = 0.", bench.options.rounds * KILLS);
    Ok(())
}
