//! What the answers say: the fleet's part, and what only the scoreboard and the system know.

use std::collections::BTreeMap;
use std::time::Duration;

use rustcorn_config::Shown;
use rustcorn_control::data;
use rustcorn_scoreboard::{Board, Cause, Phase, Recycle, Seat, Snapshot, State, spread};
use rustcorn_sys::procfs::resident;
use rustcorn_sys::{Monotonic, Pid};
use serde::Serialize;
use serde_json::Value;

use crate::fleet::{Outcome, Seen, Slot};

/// Any of the data as what a reply holds.
pub(crate) fn value(data: &impl Serialize) -> Value {
    serde_json::to_value(data).expect("only strings are keys")
}

/// What the fleet decided, where that is all there is to say.
pub(crate) fn outcome(outcome: &Outcome) -> Result<Value, String> {
    let name = |(slot, pid): &(Slot, Option<Pid>)| data::WorkerName { slot: slot.0, pid: pid.map(|pid| pid.as_raw()) };
    Ok(match outcome {
        Outcome::Target { previous, target } => value(&data::Target { previous: *previous, target: *target }),
        Outcome::Replaced { workers, done } => {
            value(&data::Replaced { workers: workers.iter().map(name).collect(), done: *done })
        }
        Outcome::ReloadAsked => value(&data::Reloaded { done: false, generation: None, draining: 0 }),
        Outcome::Reloaded { generation, draining } => {
            value(&data::Reloaded { done: true, generation: Some(generation.0), draining: *draining })
        }
        Outcome::Stopping => value(&data::Asked { asked: true }),
        Outcome::Seen(_) => Value::Null, // told with what the world knows
        Outcome::Refused(refusal) => return Err(refusal.to_string()),
    })
}

/// All that the scoreboard knows at one moment, and the fleet's view of it.
pub(crate) struct Scene<'a> {
    pub(crate) now: Monotonic,
    pub(crate) board: &'a Board,
    pub(crate) snapshot: Snapshot,
    pub(crate) seen: &'a [Seen],
}

impl Scene<'_> {
    pub(crate) fn workers(&self) -> data::Workers {
        let seats: BTreeMap<usize, &Seat> = self.snapshot.seats.iter().map(|seat| (seat.slot, seat)).collect();
        let worker = |seen: &Seen| self.worker(seen, seats.get(&seen.id.slot.0).copied());
        let mut workers: Vec<data::Worker> = self.seen.iter().map(worker).collect();
        workers.sort_by_key(|worker| worker.slot);
        data::Workers { workers }
    }

    /// One whose end is known to the system but not yet to the fleet has no seat any more.
    fn worker(&self, seen: &Seen, seat: Option<&Seat>) -> data::Worker {
        let since = |at| self.now.since(at).as_secs_f64();
        let vitals = seat.map(|seat| seat.vitals);
        let counted = vitals.is_none_or(|vitals| vitals.counted);
        let polling = if seat.is_some() { self.board.polled(seen.id.slot.0) } else { Vec::new() };
        data::Worker {
            slot: seen.id.slot.0,
            pid: seen.pid.map(|pid| pid.as_raw()),
            generation: seen.id.generation.0,
            state: seen.state.to_owned(),
            due: seen.due,
            age: seat.map_or(0.0, |seat| since(seat.since)),
            heartbeat_age: vitals.and_then(|vitals| vitals.beat).map(since),
            requests: counted.then(|| seat.map_or(0, |seat| seat.counts.requests)),
            in_flight: counted.then(|| vitals.map_or(0, |vitals| vitals.in_flight)),
            connections: counted.then(|| vitals.map_or(0, |vitals| vitals.connections)),
            rss: seen.pid.and_then(resident),
            polling: polling
                .into_iter()
                .map(|polled| data::Polling { request: polled.request, seconds: since(polled.since) })
                .collect(),
        }
    }

    pub(crate) fn stats(&self, name: &str, uptime: Duration) -> data::Stats {
        let Snapshot { phase, figures, totals, seats, .. } = &self.snapshot;
        let count = |state: &str| self.seen.iter().filter(|seen| seen.state == state).count();
        let (ready, booting) = (count("ready"), count("booting"));
        let mut responses: BTreeMap<String, u64> =
            ["1xx", "2xx", "3xx", "4xx", "5xx", "other"].map(|class| (class.to_owned(), 0)).into();
        let counted = self.snapshot.counted();
        if !counted {
            responses.clear();
        }
        for (status, count) in totals.statuses().filter(|_| counted) {
            let class = if status < 600 { format!("{}xx", status / 100) } else { "other".to_owned() };
            *responses.entry(class).or_default() += count;
        }
        let ready_seats = seats.iter().filter(|seat| seat.vitals.counted && seat.vitals.state == State::Ready);
        data::Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            pid: std::process::id(),
            uptime: uptime.as_secs_f64(),
            phase: if *phase == Phase::Running { "running" } else { "stopping" }.to_owned(),
            generation: figures.generation,
            workers: data::WorkerCounts {
                target: usize::try_from(figures.target).unwrap_or(usize::MAX),
                ready,
                booting,
                draining: self.seen.len() - ready - booting,
            },
            requests: counted.then(|| data::RequestCounts {
                total: totals.requests,
                aborted: totals.aborted,
                in_flight: seats.iter().map(|seat| seat.vitals.in_flight).sum(),
                response_bytes: totals.bytes,
            }),
            connections: counted.then(|| data::ConnectionCounts {
                open: seats.iter().map(|seat| seat.vitals.connections).sum(),
                accepted: totals.accepted,
                spread: spread(ready_seats.map(|seat| seat.vitals.connections)),
            }),
            responses,
            restarts: Cause::ALL.iter().map(|cause| cause.name().to_owned()).zip(figures.restarts).collect(),
            recycles: Recycle::ALL.iter().map(|why| why.name().to_owned()).zip(figures.recycles).collect(),
            reloads: data::ReloadCounts { ok: figures.reloads_ok, failed: figures.reloads_failed },
        }
    }

    pub(crate) fn durations(&self) -> data::Durations {
        let nanos = |took: Duration| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let durations = self.snapshot.totals.durations.iter().map(|(took, count)| (nanos(took), count));
        data::Durations { durations: durations.collect() }
    }
}

pub(crate) fn config(shown: &[Shown]) -> data::Config {
    let setting = |shown: &Shown| data::Setting {
        key: shown.key.clone(),
        value: value(&shown.value),
        origin: shown.origin.clone(),
    };
    data::Config { settings: shown.iter().map(setting).collect() }
}
