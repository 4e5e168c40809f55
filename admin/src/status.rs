//! The document behind the page, and for scripts: how everything is at this moment. Durations are in seconds, sizes in bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use rustcorn_scoreboard::{Cause, Histogram, Phase, Recycle, Seat, Snapshot, State, View};
use rustcorn_sys::Monotonic;
use rustcorn_sys::clock::time_of_day;
use rustcorn_sys::procfs::resident;
use serde::Serialize;

use crate::health::{self, Census};
use crate::history::{History, INTERVAL, Point};
use crate::metrics::{LEVELS, sum};

/// What `/status` answers as JSON. Fields are only ever added.
#[derive(Serialize)]
pub(crate) struct Status<'a> {
    name: &'a str,
    version: &'static str,
    /// The admin process's time of day, since 1970.
    time: f64,
    phase: &'static str,
    ready: bool,
    /// As `/readyz` says it.
    readiness: String,
    generation: u32,
    master: Master,
    workers: Workers,
    /// Null, as the next, if all workers are foreign programs, whose requests nobody sees; so are their numbers in `slots`.
    requests: Option<Requests>,
    connections: Option<Connections>,
    /// Connections that wait to be accepted; null where only unix sockets are listened on.
    backlog: Option<u64>,
    /// Since the start.
    responses: BTreeMap<String, u64>,
    /// Since the start.
    duration: Quantiles,
    recent: Recent,
    restarts: BTreeMap<&'static str, u64>,
    recycles: BTreeMap<&'static str, u64>,
    reloads: Reloads,
    log: BTreeMap<&'static str, u64>,
    slots: Vec<Slot>,
    history: Past,
}

#[derive(Serialize)]
struct Master {
    pid: Option<i32>,
    start_time: f64,
    uptime: f64,
    heartbeat_age: Option<f64>,
}

#[derive(Serialize)]
struct Workers {
    target: u64,
    booting: usize,
    ready: usize,
    draining: usize,
    /// Null where `requests` is.
    busy: Option<usize>,
}

#[derive(Serialize)]
struct Requests {
    total: u64,
    aborted: u64,
    in_flight: u64,
    response_bytes: u64,
    /// Of the last ten seconds.
    per_second: f64,
    /// Answers with 5xx.
    errors_per_second: f64,
}

#[derive(Serialize)]
struct Connections {
    open: u64,
    accepted: u64,
    /// Of the ready worker that has most, over their mean: 1 is even.
    spread: f64,
}

#[derive(Serialize)]
struct Quantiles {
    count: u64,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
}

/// The last minutes.
#[derive(Serialize)]
struct Recent {
    seconds: f64,
    duration: Quantiles,
    /// Requests by duration, twenty steps to each power of ten: the upper end of a step, and how many. Without gaps.
    distribution: Vec<(f64, u64)>,
}

#[derive(Serialize)]
struct Reloads {
    ok: u64,
    failed: u64,
}

#[derive(Serialize)]
struct Slot {
    slot: usize,
    pid: Option<i32>,
    state: &'static str,
    generation: u32,
    age: f64,
    heartbeat_age: Option<f64>,
    in_flight: Option<u64>,
    connections: Option<u64>,
    requests: Option<u64>,
    aborted: Option<u64>,
    resident_memory: Option<u64>,
    /// What its event loop is busy with right now; as a rule nothing. Paths only, no query strings.
    polling: Vec<Polling>,
}

#[derive(Serialize)]
struct Polling {
    request: String,
    seconds: f64,
}

#[derive(Serialize)]
struct Past {
    interval: f64,
    points: Vec<Point>,
}

impl<'a> Status<'a> {
    pub(crate) fn of(
        name: &'a str,
        min_ready: usize,
        snapshot: &Snapshot,
        view: &View,
        history: &History,
        now: Monotonic,
    ) -> Self {
        let Snapshot { master, figures, totals, .. } = snapshot;
        let time = time_of_day();
        let census = Census::of(snapshot);
        let counted = snapshot.counted();
        let ready = health::ready(snapshot, min_ready);
        let (per_second, errors_per_second) = history.rates();
        Self {
            name,
            version: env!("CARGO_PKG_VERSION"),
            time: time.as_secs_f64(),
            phase: match snapshot.phase {
                Phase::Running => "running",
                Phase::Stopping => "draining",
                Phase::StoppingNow => "stopping",
                Phase::Leaving => "leaving",
                Phase::HandedOver => "handed over",
            },
            ready: ready.is_ok(),
            readiness: ready.unwrap_or_else(|reason| reason),
            generation: figures.generation,
            master: Master {
                pid: master.pid.map(|pid| pid.as_raw()),
                start_time: master.started.as_secs_f64(),
                uptime: time.saturating_sub(master.started).as_secs_f64(),
                heartbeat_age: master.beat.map(|beat| now.since(beat).as_secs_f64()),
            },
            workers: Workers {
                target: figures.target,
                booting: census.booting,
                ready: census.ready,
                draining: census.draining,
                busy: counted.then_some(census.busy),
            },
            requests: counted.then_some(Requests {
                total: totals.requests,
                aborted: totals.aborted,
                in_flight: census.in_flight,
                response_bytes: totals.bytes,
                per_second,
                errors_per_second,
            }),
            connections: counted.then(|| Connections {
                open: census.connections,
                accepted: totals.accepted,
                spread: health::spread(snapshot),
            }),
            backlog: master.backlog,
            responses: totals.statuses().map(|(code, count)| (label(code), count)).collect(),
            duration: quantiles(&totals.durations),
            recent: recent(history, snapshot, now),
            restarts: Cause::ALL.iter().map(|cause| cause.name()).zip(figures.restarts).collect(),
            recycles: Recycle::ALL.iter().map(|limit| limit.name()).zip(figures.recycles).collect(),
            reloads: Reloads { ok: figures.reloads_ok, failed: figures.reloads_failed },
            log: LEVELS.into_iter().zip(totals.log).collect(),
            slots: snapshot.seats.iter().map(|seat| slot(seat, view, now)).collect(),
            history: Past { interval: INTERVAL.as_secs_f64(), points: history.points() },
        }
    }
}

fn label(code: u16) -> String {
    if code < 600 { code.to_string() } else { "other".to_owned() }
}

fn quantiles(durations: &Histogram) -> Quantiles {
    let quantile = |q| durations.quantile(q).map(|took| took.as_secs_f64());
    let (count, nanos) = sum(durations);
    Quantiles {
        count,
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: quantile(1.0),
        mean: (count > 0).then(|| nanos as f64 / 1e9 / count as f64),
    }
}

fn recent(history: &History, snapshot: &Snapshot, now: Monotonic) -> Recent {
    let (time, durations) = history.recent(now, &snapshot.totals);
    Recent { seconds: time.as_secs_f64(), duration: quantiles(&durations), distribution: distribution(&durations) }
}

fn distribution(durations: &Histogram) -> Vec<(f64, u64)> {
    const STEPS: f64 = 20.0;
    let step = |took: Duration| (took.as_secs_f64().log10() * STEPS).floor() as i32;
    let mut steps: Vec<(i32, u64)> = Vec::new();
    for (took, count) in durations.iter() {
        let this = step(took);
        while let Some((last, _)) = steps.last().filter(|(last, _)| *last < this) {
            steps.push((last + 1, 0));
        }
        match steps.last_mut() {
            Some((_, sum)) => *sum += count,
            None => steps.push((this, count)),
        }
    }
    steps.into_iter().map(|(step, count)| (10_f64.powf(f64::from(step + 1) / STEPS), count)).collect()
}

fn slot(seat: &Seat, view: &View, now: Monotonic) -> Slot {
    let vitals = &seat.vitals;
    let count = |count| vitals.counted.then_some(count);
    let polled = view.polled(seat.slot).into_iter();
    Slot {
        slot: seat.slot,
        pid: vitals.pid.map(|pid| pid.as_raw()),
        state: match vitals.state {
            State::Empty | State::Booting => "booting",
            State::Ready => "ready",
            State::Draining => "draining",
        },
        generation: vitals.generation,
        age: now.since(seat.since).as_secs_f64(),
        heartbeat_age: vitals.beat.map(|beat| now.since(beat).as_secs_f64()),
        in_flight: count(vitals.in_flight),
        connections: count(vitals.connections),
        requests: count(seat.counts.requests),
        aborted: count(seat.counts.aborted),
        resident_memory: vitals.pid.and_then(resident),
        polling: polled
            .map(|polled| Polling { request: polled.request, seconds: now.since(polled.since).as_secs_f64() })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_has_no_gaps_and_loses_nobody() {
        let mut durations = Histogram::default();
        for millis in [1, 1, 2, 50, 1000] {
            durations.record(Duration::from_millis(millis));
        }
        let steps = distribution(&durations);
        assert_eq!(steps.iter().map(|(_, count)| count).sum::<u64>(), 5);
        assert_eq!(steps.len(), 61, "a millisecond to a second");
        assert!(steps.windows(2).all(|pair| (pair[1].0 / pair[0].0 - 10_f64.powf(0.05)).abs() < 1e-9));
        assert!(steps[0].0 > 0.001 && steps[0].0 < 0.0013 && steps[0].1 == 2, "{steps:?}");
        assert_eq!(distribution(&Histogram::default()), []);
    }
}
