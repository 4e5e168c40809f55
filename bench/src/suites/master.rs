//! `master`: what supervision costs. The master's CPU time must not depend on the number of requests.

use std::time::{Duration, Instant};

use crate::Result;
use crate::load::warm_up;
use crate::procfs::CpuTime;
use crate::server::{Contender, Server};
use crate::suites::{Bench, pause};
use crate::table::Table;
use crate::wrk::{self, CONNECTIONS};

const IDLE_WORKERS: usize = 64;
const IDLE_TIME: Duration = Duration::from_secs(20);
/// Long enough for several reports of metrics.
const LOAD_SECONDS: u32 = 5;

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let mut table = Table::new(["master", "state", "CPU, % of a core", "requests in that time"]);
    for contender in bench.rustcorn_with_statsd()?.chain(bench.rustcorn()) {
        idle(&contender, &mut table)?;
        under_load(&contender, &mut table)?;
    }
    println!("{table}\n{} s without requests, {LOAD_SECONDS} s under load.", IDLE_TIME.as_secs());
    Ok(())
}

fn idle(contender: &Contender, table: &mut Table) -> Result<()> {
    let server = contender.start(IDLE_WORKERS, None)?;
    all_up(&server, IDLE_WORKERS)?;
    let (begin, before) = (Instant::now(), CpuTime::of(&[server.pid()]));
    pause(IDLE_TIME);
    row(table, contender, &format!("{IDLE_WORKERS} idle workers"), &server, before, begin, 0);
    Ok(())
}

fn under_load(contender: &Contender, table: &mut Table) -> Result<()> {
    let server = contender.start(2, None)?;
    all_up(&server, 2)?;
    let (begin, before) = (Instant::now(), CpuTime::of(&[server.pid()]));
    let load = wrk::run(server.port(), LOAD_SECONDS, false, CONNECTIONS)?;
    row(table, contender, "2 workers at full load", &server, before, begin, load.requests);
    Ok(())
}

/// Past the work of starting: all processes are there, one has answered, and the others had as long again.
fn all_up(server: &Server, workers: usize) -> Result<()> {
    let begin = Instant::now();
    while server.workers().len() < workers {
        if begin.elapsed() > Duration::from_secs(10) {
            return Err(format!("{workers} workers do not come up").into());
        }
        pause(Duration::from_millis(10));
    }
    warm_up(server.port())?;
    pause(Duration::from_secs(1));
    Ok(())
}

fn row(
    table: &mut Table,
    contender: &Contender,
    state: &str,
    server: &Server,
    before: CpuTime,
    begin: Instant,
    requests: u64,
) {
    let used = CpuTime::of(&[server.pid()]) - before;
    let percent = 100.0 * used.running as f64 / begin.elapsed().as_nanos() as f64;
    table.row([contender.name.clone(), state.to_owned(), format!("{percent:.3}"), requests.to_string()]);
}
