//! `balance`: how evenly workers share connections, as the most that one has over the mean. 1 is even; with 4 workers, 4 is all on one.

use std::thread;
use std::time::Duration;

use crate::Result;
use crate::load::Client;
use crate::procfs::{self, CpuTime};
use crate::server::{Contender, Kind, Server};
use crate::suites::{Bench, in_turn, pause};
use crate::table::{Table, figure, median, range};
use crate::wrk;

const WORKERS: usize = 4;
const COUNTS: [usize; 3] = [8, 64, 1000];
/// Connections of the load beside which others are opened.
const BESIDE: usize = 16;
/// So long is a worker that has just been started left alone, and one that may still have to accept.
const SETTLE: Duration = Duration::from_millis(300);

/// How clients come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All connect, then all ask.
    AtOnce,
    /// Each has its answer before the next one connects.
    OneByOne,
    /// The same beside a load of keep-alive connections.
    UnderLoad,
}

const WAYS: [(Way, &str); 3] =
    [(Way::AtOnce, "at once"), (Way::OneByOne, "one by one"), (Way::UnderLoad, "one by one, under load")];

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let lanes = bench.programs.rustcorn.iter().map(|(name, binary)| Contender {
        name: format!("{name}, reuse_port"),
        kind: Kind::RustcornLanes { binary: binary.clone() },
    });
    let nginx_lanes = bench.nginx.then(|| Contender { name: "nginx, reuseport".to_owned(), kind: Kind::NginxLanes });
    let contenders: Vec<_> = bench.rustcorn().chain(lanes).chain(bench.nginx()).chain(nginx_lanes).collect();
    let mut table = Table::new(["server", "clients come", "8: most/mean", "range", "64", "range", "1000", "range"]);
    let mut rows = Vec::new();
    for (way, name) in WAYS {
        let mut counted: Vec<Vec<Vec<f64>>> = Vec::new();
        for count in COUNTS {
            let rounds = (0..bench.options.rounds)
                .map(|first| in_turn(&contenders, first, |contender| spread(contender, way, count)))
                .collect::<Result<Vec<_>>>()?;
            counted.push((0..contenders.len()).map(|at| rounds.iter().map(|round| round[at]).collect()).collect());
        }
        for (at, contender) in contenders.iter().enumerate() {
            let cells = |count: usize| (figure(median(&counted[count][at]), 2), range(&counted[count][at], 2));
            let [(a, a_range), (b, b_range), (c, c_range)] = [cells(0), cells(1), cells(2)];
            rows.push([contender.name.clone(), name.to_owned(), a, a_range, b, b_range, c, c_range]);
        }
    }
    rows.into_iter().for_each(|row| table.row(row));
    println!(
        "{table}\nMedians of {} rounds; {WORKERS} workers; the load is wrk with {BESIDE} connections.",
        bench.options.rounds
    );
    work(bench, &contenders)
}

/// Opens connections, and gives the most that one worker has over the mean.
fn spread(contender: &Contender, way: Way, count: usize) -> Result<f64> {
    let server = contender.start(WORKERS, None)?;
    let workers = settled(&server)?;
    let before: Vec<usize> = workers.iter().map(|pid| procfs::sockets(*pid)).collect();
    let port = server.port();
    thread::scope(|scope| {
        let load = (way == Way::UnderLoad)
            .then(|| scope.spawn(move || wrk::run_at(&format!("127.0.0.1:{port}/"), 2, false, BESIDE, None)));
        if load.is_some() {
            pause(SETTLE);
        }
        let clients = open(port, way, count)?;
        if let Some(load) = load {
            load.join().map_err(|_| "the load panicked")??;
        }
        pause(SETTLE); // until those of the load are closed
        let gained = workers.iter().zip(&before).map(|(pid, before)| procfs::sockets(*pid).saturating_sub(*before));
        let gained: Vec<f64> = gained.map(|gained| gained as f64).collect();
        drop(clients);
        Ok(most_over_mean(&gained))
    })
}

fn open(port: u16, way: Way, count: usize) -> Result<Vec<Client>> {
    if way == Way::AtOnce {
        let mut clients = (0..count).map(|_| Client::connect(port)).collect::<std::io::Result<Vec<_>>>()?;
        clients.iter_mut().try_for_each(|client| client.ask(false))?;
        for client in &mut clients {
            client.answer()?;
        }
        return Ok(clients);
    }
    let one = |_| {
        let mut client = Client::connect(port)?;
        client.get(false)?;
        Ok(client)
    };
    Ok((0..count).map(one).collect::<std::io::Result<Vec<_>>>()?)
}

/// How evenly the work is shared when each request has a connection of its own: by the CPU time of the workers.
fn work(bench: &Bench<'_>, contenders: &[Contender]) -> Result<()> {
    let mut table = Table::new([
        "server",
        "CPU most/mean, keep-alive",
        "range",
        "CPU most/mean, close",
        "range",
        "requests/s, close",
        "range",
    ]);
    let rounds = (0..bench.options.rounds).map(|first| {
        in_turn(contenders, first, |contender| {
            let keep = shared_work(contender, bench.options.seconds, false)?;
            Ok((keep.0, shared_work(contender, bench.options.seconds, true)?))
        })
    });
    let rounds = rounds.collect::<Result<Vec<_>>>()?;
    for (at, contender) in contenders.iter().enumerate() {
        let of = |get: fn(&(f64, (f64, f64))) -> f64| rounds.iter().map(|round| get(&round[at])).collect::<Vec<_>>();
        let (keep, close, rate) = (of(|turn| turn.0), of(|turn| turn.1.0), of(|turn| turn.1.1));
        table.row([
            contender.name.clone(),
            figure(median(&keep), 2),
            range(&keep, 2),
            figure(median(&close), 2),
            range(&close, 2),
            figure(median(&rate), 0),
            range(&rate, 0),
        ]);
    }
    println!("\n{table}\nwrk with 64 connections, on any CPU, as are the {WORKERS} workers.");
    Ok(())
}

fn shared_work(contender: &Contender, seconds: u32, close: bool) -> Result<(f64, f64)> {
    let server = contender.start(WORKERS, None)?;
    let workers = settled(&server)?;
    let before: Vec<CpuTime> = workers.iter().map(|pid| CpuTime::of(&[*pid])).collect();
    let load = wrk::run_at(&format!("127.0.0.1:{}/", server.port()), seconds, close, 64, None)?;
    let used: Vec<f64> =
        workers.iter().zip(before).map(|(pid, before)| (CpuTime::of(&[*pid]) - before).running as f64).collect();
    Ok((most_over_mean(&used), load.rate))
}

/// The workers, once all are there and had time to come up.
fn settled(server: &Server) -> Result<Vec<u32>> {
    pause(SETTLE);
    let workers = server.workers();
    if workers.len() == WORKERS { Ok(workers) } else { Err(format!("{} workers are there", workers.len()).into()) }
}

fn most_over_mean(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    values.iter().copied().fold(0.0, f64::max) * values.len() as f64 / sum
}
