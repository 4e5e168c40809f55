//! `keepalive` and `close`: the price of a request.
//!
//! The server has one CPU and wrk the other, so the server is the bottleneck and is never idle. The rounds are interleaved and
//! start with another server each time, every server is started anew in every round (where memory happens to lie makes a difference of
//! its own), and the ratio is taken within a round: what disturbs the machine then disturbs both sides of it.

use crate::Result;
use crate::instructions::Counter;
use crate::load::warm_up;
use crate::procfs::{Machine, Memory};
use crate::server::{CPU, Contender};
use crate::suites::{Bench, in_turn};
use crate::table::{Table, figure, median, none, range};
use crate::wrk::{self, CONNECTIONS, Load};

/// A turn in which others had more than this of the server's CPU, in percent, is disturbed.
const DISTURBED: f64 = 5.0;
/// At most this many rounds for each one asked for, in search of undisturbed ones.
const ATTEMPTS: usize = 3;

/// One server's turn in one round.
#[derive(Clone, Copy)]
struct Turn {
    load: Load,
    /// CPU time of all its processes per request, in microseconds.
    cost: f64,
    /// Share of the time that it stood in line for its CPU, in percent: somebody else had it.
    waiting: f64,
    /// Its own threads stand in that line, too.
    crowded: bool,
    /// Share of the time of both CPUs that the host of a virtual machine took, in percent.
    stolen: f64,
    /// PSS of all its processes after the load, in MiB.
    memory: f64,
}

impl Turn {
    fn disturbed(&self) -> bool {
        self.stolen + if self.crowded { 0.0 } else { self.waiting } > DISTURBED
    }
}

/// A turn of each server.
type Round = Vec<Turn>;

pub(super) fn run(bench: &Bench<'_>, close: bool) -> Result<()> {
    let contenders: Vec<Contender> = bench
        .rustcorn()
        .chain(bench.rustcorn_with_statsd()?)
        .chain(bench.rustcorn_logging())
        .chain([bench.bare_hyper()])
        .chain(bench.nginx())
        .collect();
    rounds(bench, &contenders, close)?;
    if close { Ok(()) } else { instructions(&contenders) }
}

/// Lets the contenders, of which bare hyper is one, take turns, and prints what came of it.
pub(super) fn rounds(bench: &Bench<'_>, contenders: &[Contender], close: bool) -> Result<()> {
    let wanted = bench.options.rounds;
    let (mut quiet, mut disturbed): (Vec<Round>, Vec<Round>) = Default::default();
    while quiet.len() < wanted && quiet.len() + disturbed.len() < wanted * ATTEMPTS {
        let first = quiet.len() + disturbed.len();
        let round = in_turn(contenders, first, |contender| turn(contender, bench.options.seconds, close))?;
        if round.iter().any(Turn::disturbed) { disturbed.push(round) } else { quiet.push(round) }
    }
    let counts = (quiet.len(), disturbed.len());
    // Too few quiet ones make no median; then the disturbed ones must do, and the reader is told.
    let rounds = if 2 * quiet.len() > wanted { quiet } else { [quiet, disturbed].concat() };
    print(bench, contenders, &rounds);
    println!(
        "\n{} rounds of {} s, after {} undisturbed and {} disturbed ones. One worker on CPU {CPU}, wrk with {CONNECTIONS} \
         connections on CPU 1; medians; ratios within a round. PSS: of all processes, after the load. waited: share of the time \
         in which something else had the server's CPU; stolen: share that the host took; above {DISTURBED} % together is a disturbance (waiting not \
         where threads of its own wait for each other).",
        rounds.len(),
        bench.options.seconds,
        counts.0,
        counts.1,
    );
    Ok(())
}

fn turn(contender: &Contender, seconds: u32, close: bool) -> Result<Turn> {
    let server = contender.start(1, Some(CPU))?;
    warm_up(server.port())?;
    let (before, machine) = (server.cpu_time(), Machine::now()?);
    let load = wrk::run(server.port(), seconds, close, CONNECTIONS)?;
    let used = server.cpu_time() - before;
    if load.requests == 0 {
        return Err(format!("{} answered nothing in {seconds} s: the machine is too busy", contender.name).into());
    }
    let memory: Vec<Memory> = server.processes().into_iter().map(Memory::of).collect::<Result<_>>()?;
    Ok(Turn {
        load,
        cost: used.running as f64 / 1e3 / load.requests as f64,
        waiting: used.waiting as f64 / 1e7 / f64::from(seconds),
        crowded: contender.is_crowded(),
        stolen: Machine::now()?.stolen_since(machine),
        memory: memory.iter().map(|memory| memory.total).sum::<u64>() as f64 / 1024.0,
    })
}

/// A table of its own: with a connection for each request, nearly all the work is the kernel's.
fn instructions(contenders: &[Contender]) -> Result<()> {
    let counter = Counter::find();
    let mut table = Table::new(["server", "instructions/request"]);
    for contender in contenders {
        let server = contender.start(1, Some(CPU))?;
        warm_up(server.port())?;
        table.row([contender.name.clone(), figure(counter.per_request(&server)?, 0)]);
    }
    println!("\n{table}\nIn user space, {}.", counter.method());
    Ok(())
}

fn print(bench: &Bench<'_>, contenders: &[Contender], rounds: &[Round]) {
    let peer = bench.bare_hyper().name;
    let base = contenders.iter().position(|contender| contender.name == peer).expect("it is always among them");
    let mut table = Table::new([
        "server",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "CPU µs/request",
        "least–most",
        "× bare hyper",
        "least–most",
        "PSS, MiB",
        "waited %",
        "stolen %",
        "failed",
    ]);
    for (at, contender) in contenders.iter().enumerate() {
        let all = |of: fn(&Turn) -> f64| rounds.iter().map(|round| of(&round[at])).collect::<Vec<f64>>();
        let ratios: Vec<f64> = rounds.iter().map(|round| round[at].cost / round[base].cost).collect();
        table.row([
            contender.name.clone(),
            figure(median(&all(|turn| turn.load.rate)), 0),
            figure(median(&all(|turn| turn.load.p50)), 0),
            figure(median(&all(|turn| turn.load.p99)), 0),
            figure(median(&all(|turn| turn.cost)), 2),
            range(&all(|turn| turn.cost), 2),
            figure(median(&ratios), 3),
            if contender.name == peer { none() } else { range(&ratios, 3) },
            figure(median(&all(|turn| turn.memory)), 2),
            figure(median(&all(|turn| turn.waiting)), 1),
            figure(median(&all(|turn| turn.stolen)), 1),
            rounds.iter().map(|round| round[at].load.failed).sum::<u64>().to_string(),
        ]);
    }
    print!("{table}");
}
