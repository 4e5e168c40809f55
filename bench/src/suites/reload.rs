//! `reload`: HUP after HUP under load. A request that is not answered has failed; a connection that was open, idle and not announced
//! as closing, and yet does not answer the next request, was cut.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::Result;
use crate::load::Client;
use crate::server::{Contender, Server};
use crate::suites::{Bench, pause};
use crate::table::{Table, figure, median};

const WORKERS: usize = 2;
/// Clients that send one request after the other, on a connection that they keep, or on a new one each time.
const KEEPING: usize = 8;
const CLOSING: usize = 4;
/// Connections that are idle while the server reloads.
const IDLE: usize = 160;
/// After the new workers are there, the old ones have this long to do to idle connections whatever they do.
const SETTLE: Duration = Duration::from_millis(100);

/// What happened in all reloads of one server.
#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let mut table =
        Table::new(["server", "requests under load", "failed", "idle connections", "cut", "HUP to new workers, ms"]);
    for contender in bench.supervised() {
        let tally = Tally::default();
        let server = contender.start(WORKERS, None)?;
        let (cut, times) = thread::scope(|scope| {
            for client in 0..KEEPING + CLOSING {
                let (tally, port) = (&tally, server.port());
                scope.spawn(move || ask_on(tally, port, client >= KEEPING));
            }
            let result = reloads(&server, &tally, bench.options.reloads);
            tally.stop.store(true, Relaxed);
            result
        })?;
        row(&mut table, &contender, &tally, bench.options.reloads, cut, &times);
    }
    println!(
        "{table}\n{} reloads each, {WORKERS} workers, {KEEPING} clients that keep their connection, {CLOSING} that do not.",
        bench.options.reloads
    );
    Ok(())
}

fn row(table: &mut Table, contender: &Contender, tally: &Tally, reloads: usize, cut: usize, times: &[f64]) {
    table.row([
        contender.name.clone(),
        tally.sent.load(Relaxed).to_string(),
        tally.failed.load(Relaxed).to_string(),
        (reloads * IDLE).to_string(),
        cut.to_string(),
        figure(median(times), 0),
    ]);
}

/// Reloads again and again. Gives the number of idle connections that were cut, and how long each reload took.
fn reloads(server: &Server, tally: &Tally, reloads: usize) -> Result<(usize, Vec<f64>)> {
    let (mut cut, mut times) = (0, Vec::new());
    for _ in 0..reloads {
        let mut idle: Vec<Client> = Vec::with_capacity(IDLE);
        while idle.len() < IDLE {
            tally.sent.fetch_add(1, Relaxed);
            match Client::connect(server.port()).and_then(|mut client| client.get(false).map(|answer| (client, answer)))
            {
                // Taken by an old worker, which says that it closes: no connection to count.
                Ok((_, answer)) if answer.closes => {}
                Ok((client, _)) => idle.push(client),
                Err(_) => _ = tally.failed.fetch_add(1, Relaxed),
            }
        }
        times.push(reload(server)?);
        cut += idle.iter_mut().filter_map(|client| client.get(false).err()).count();
    }
    Ok((cut, times))
}

/// Until there are as many new workers as there shall be. In milliseconds.
fn reload(server: &Server) -> Result<f64> {
    let (before, begin) = (server.workers(), Instant::now());
    server.signal(Signal::SIGHUP)?;
    loop {
        if server.workers().iter().filter(|pid| !before.contains(pid)).count() >= WORKERS {
            break;
        }
        if begin.elapsed() > Duration::from_secs(10) {
            return Err("no new workers 10 s after HUP".into());
        }
        pause(Duration::from_millis(1));
    }
    let took = begin.elapsed();
    pause(SETTLE);
    Ok(took.as_secs_f64() * 1e3)
}

/// One client: requests without a pause until told to stop.
fn ask_on(tally: &Tally, port: u16, close: bool) {
    let mut open: Option<Client> = None;
    while !tally.stop.load(Relaxed) {
        let client = open.take().map_or_else(|| Client::connect(port), Ok);
        let answer = client.and_then(|mut client| client.get(close).map(|answer| (client, answer)));
        tally.sent.fetch_add(1, Relaxed);
        match answer {
            Ok((client, answer)) if answer.status == 200 => {
                open = (!close && !answer.closes).then_some(client);
            }
            Ok(_) | Err(_) => _ = tally.failed.fetch_add(1, Relaxed),
        }
    }
}
