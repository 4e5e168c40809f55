//! `telemetry`: what observation costs. The price of a request with spans for none, one in a hundred, or all, with and without
//! statsd, beside bare hyper, and beside gunicorn with Flask and the same telemetry.
//!
//! As in `keepalive`, rounds are interleaved and ratios taken within a round. What a server still has to send when the load ends is
//! waited for, so that it counts, too.

use std::time::{Duration, Instant};

use crate::Result;
use crate::instructions::Counter;
use crate::load::{WARM_UP, warm_up};
use crate::server::{CPU, Contender, Kind, Otlp, Server};
use crate::sink::Sink;
use crate::suites::{Bench, in_turn, pause};
use crate::table::{Table, figure, median, none, range};
use crate::wrk::{self, CONNECTIONS};

/// Share of the requests that get spans, as a setting and as a name.
const RATIOS: [(&str, &str); 3] = [("0", "0 %"), ("0.01", "1 %"), ("1", "100 %")];

struct Turn {
    /// CPU time of all its processes and threads per request, in microseconds.
    cost: f64,
    rate: f64,
    /// Share of the time that its threads stood in line for their CPU, for one another too, in percent.
    waiting: f64,
    requests: u64,
    failed: u64,
    received: u64,
    dropped: u64,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let sink = Sink::start()?;
    let contenders = contenders(bench, &sink)?;
    let mut rounds = Vec::new();
    for first in 0..bench.options.rounds {
        rounds.push(in_turn(&contenders, first, |contender| turn(contender, &sink, bench.options.seconds))?);
    }
    print(&contenders, &rounds);
    println!(
        "\n{} rounds of {} s. One worker on CPU {CPU}; wrk with {CONNECTIONS} connections and the collector on CPU {}; medians; ratios \
         within a round. waited: share of the time in which threads of the server stood in line for its CPU; with OTLP they also wait for \
         one another, so no round is called disturbed here. Requests, spans received by the collector, and spans that the log says were \
         lost are sums over all rounds, the {WARM_UP} requests of each warm-up included; requests that wrk cuts short at its end make \
         spans, too.",
        rounds.len(),
        bench.options.seconds,
        wrk::CPU,
    );
    if bench.options.python.is_none() {
        println!(
            "gunicorn + Flask + OpenTelemetry is not in the table: no --python was given (bench/peers/flask/setup makes one)."
        );
    }
    instructions(&contenders)
}

fn contenders(bench: &Bench<'_>, sink: &Sink) -> Result<Vec<Contender>> {
    let mut all = vec![bench.bare_hyper()];
    let statsd = bench.statsd.local_addr()?;
    let otlp = |ratio| Otlp { to: sink.address, ratio };
    for (build, binary) in &bench.programs.rustcorn {
        let ratios = RATIOS.map(|(ratio, name)| (Some(otlp(ratio)), format!("{build}, trace {name}")));
        for (otlp, name) in [(None, format!("{build}, otlp off"))].into_iter().chain(ratios) {
            for (statsd, suffix) in [(None, ""), (Some(statsd), ", statsd")] {
                let kind = Kind::Rustcorn { binary: binary.clone(), statsd, otlp, access_log: false };
                all.push(Contender { name: format!("{name}{suffix}"), kind });
            }
        }
    }
    if let Some(python) = &bench.options.python {
        for (ratio, name) in [RATIOS[1], RATIOS[2]] {
            for worker in ["sync", "gthread", "gevent"] {
                let kind = Kind::Flask { python: python.clone(), worker, statsd, otlp: otlp(ratio) };
                all.push(Contender { name: format!("gunicorn {worker} + Flask, trace {name}, statsd"), kind });
            }
        }
    }
    Ok(all)
}

fn turn(contender: &Contender, sink: &Sink, seconds: u32) -> Result<Turn> {
    let received = sink.spans();
    let server = contender.start(1, Some(CPU))?;
    warm_up(server.port())?;
    let before = server.cpu_time();
    let load = wrk::run(server.port(), seconds, false, CONNECTIONS)?;
    settle(&server)?;
    let used = server.cpu_time() - before;
    if load.requests == 0 {
        return Err(format!("{} answered nothing in {seconds} s: the machine is too busy", contender.name).into());
    }
    let log = server.stop()?;
    Ok(Turn {
        cost: used.running as f64 / 1e3 / load.requests as f64,
        rate: load.rate,
        waiting: used.waiting as f64 / 1e7 / f64::from(seconds),
        requests: load.requests + WARM_UP,
        failed: load.failed,
        received: sink.spans() - received,
        dropped: log.iter().map(|line| lost(line)).sum(),
    })
}

/// Until the server has nothing more to do: full batches are sent, what is less than one may wait for its time.
fn settle(server: &Server) -> Result<()> {
    const STEP: Duration = Duration::from_millis(50);
    let begin = Instant::now();
    loop {
        let before = server.cpu_time();
        pause(STEP);
        if u128::from((server.cpu_time() - before).running) < STEP.as_nanos() / 100 {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_secs(10) {
            return Err("the server is still busy 10 s after the load".into());
        }
    }
}

/// Spans that a line of rustcorn's log says were lost: `OTLP: 64 spans could not be delivered: …; 7 more dropped: the queue was full`.
fn lost(line: &str) -> u64 {
    let Some((_, said)) = line.split_once("OTLP: ") else { return 0 };
    let Some((first, rest)) = said.split_once(" spans ") else { return 0 };
    let more = rest.split_once("; ").and_then(|(_, more)| more.split(" more dropped").next()?.parse().ok());
    first.parse().unwrap_or(0) + more.unwrap_or(0_u64)
}

fn print(contenders: &[Contender], rounds: &[Vec<Turn>]) {
    let mut table = Table::new([
        "server",
        "requests/s",
        "CPU µs/request",
        "least–most",
        "× bare hyper",
        "least–most",
        "waited %",
        "failed",
        "requests",
        "spans received",
        "lost",
    ]);
    for (at, contender) in contenders.iter().enumerate() {
        let all = |of: fn(&Turn) -> f64| rounds.iter().map(|round| of(&round[at])).collect::<Vec<f64>>();
        let sum = |of: fn(&Turn) -> u64| rounds.iter().map(|round| of(&round[at])).sum::<u64>();
        let ratios: Vec<f64> = rounds.iter().map(|round| round[at].cost / round[0].cost).collect();
        table.row([
            contender.name.clone(),
            figure(median(&all(|turn| turn.rate)), 0),
            figure(median(&all(|turn| turn.cost)), 2),
            range(&all(|turn| turn.cost), 2),
            figure(median(&ratios), 3),
            if at == 0 { none() } else { range(&ratios, 3) },
            figure(median(&all(|turn| turn.waiting)), 1),
            sum(|turn| turn.failed).to_string(),
            sum(|turn| turn.requests).to_string(),
            sum(|turn| turn.received).to_string(),
            // Flask's side does not count what it loses.
            if matches!(contender.kind, Kind::Rustcorn { .. }) { sum(|turn| turn.dropped).to_string() } else { none() },
        ]);
    }
    print!("{table}");
}

/// Of the thread that serves; what exports is another one. Not of Python: it makes so many that stepping through them takes minutes.
fn instructions(contenders: &[Contender]) -> Result<()> {
    let counter = Counter::find();
    let mut table = Table::new(["server", "instructions/request"]);
    for contender in contenders.iter().filter(|contender| !matches!(contender.kind, Kind::Flask { .. })) {
        let server = contender.start(1, Some(CPU))?;
        warm_up(server.port())?;
        table.row([contender.name.clone(), figure(counter.per_request(&server)?, 0)]);
    }
    println!("\n{table}\nIn user space, {}.", counter.method());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_what_was_lost() {
        let lines = [
            (
                "[…] [7] [WARNING] OTLP: 64 spans could not be delivered: status 503; 1052 more dropped: the queue was full",
                1116,
            ),
            ("[…] [7] [WARNING] OTLP: 512 spans could not be delivered: refused", 512),
            ("[…] [7] [WARNING] OTLP: 7 spans dropped: the queue was full", 7),
            ("[…] [7] [WARNING] OTLP: 3 exports of metrics could not be delivered: refused", 0),
            ("[…] [7] [INFO] Booting worker with pid: 7", 0),
        ];
        for (line, expected) in lines {
            assert_eq!(lost(line), expected, "{line}");
        }
    }
}
