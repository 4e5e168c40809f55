//! The text that Prometheus scrapes (exposition format 0.0.4). Base units, one family after the other, and no counter ever goes
//! back: they are of the whole server since its master started, whichever workers have come and gone.

use std::fmt::{Display, Write};

use rustcorn_scoreboard::{Cause, Counts, Histogram, Recycle, Refusal, Seat, Snapshot, State, Vitals};
use rustcorn_sys::Monotonic;
use rustcorn_sys::procfs::resident;

use crate::health::{Census, spread};

/// The Content-Type of the text.
pub(crate) const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the buckets, in milliseconds: half a millisecond to ten seconds, about two and a half times each. Cut from
/// a histogram that knows each duration to within 1 %.
const BOUNDS: [f64; 14] = [0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0];
/// In the order of [`Counts::log`].
pub(crate) const LEVELS: [&str; 4] = ["critical", "error", "warning", "exception"];

/// All metrics. Where nobody counts requests (foreign programs alone), those that are about them are absent, not zero.
pub(crate) fn text(snapshot: &Snapshot, now: Monotonic) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    if snapshot.counted() {
        requests(&mut page, &snapshot.totals);
        load(&mut page, snapshot);
    }
    log_lines(&mut page, &snapshot.totals);
    server(&mut page, snapshot);
    workers(&mut page, snapshot, now);
    page.0
}

struct Page(String);

/// A family that is being written: all its samples follow each other.
struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let page = &mut self.0;
        write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("a String takes any text");
        Family { page, name }
    }

    fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }
}

impl Family<'_> {
    fn is(self, value: impl Display) {
        self.line("", "", value);
    }

    /// A sample with one label, whose value needs no escapes.
    fn with(mut self, label: &str, which: impl Display, value: impl Display) -> Self {
        self.add(label, which, value);
        self
    }

    fn add(&mut self, label: &str, which: impl Display, value: impl Display) {
        self.write("", &format!("{{{label}=\"{which}\"}}"), value);
    }

    fn line(mut self, suffix: &str, labels: &str, value: impl Display) {
        self.write(suffix, labels, value);
    }

    fn write(&mut self, suffix: &str, labels: &str, value: impl Display) {
        let name = self.name;
        writeln!(self.page, "{name}{suffix}{labels} {value}").expect("a String takes any text");
    }
}

fn requests(page: &mut Page, totals: &Counts) {
    page.counter("rustcorn_requests_total", "Requests answered.").is(totals.requests);
    let mut codes = page.counter("rustcorn_responses_total", "Requests answered, by status code.");
    for (code, count) in totals.statuses() {
        match code {
            ..600 => codes.add("code", code, count),
            _ => codes.add("code", "other", count),
        }
    }
    durations(page, totals);
    page.counter("rustcorn_requests_aborted_total", "Requests whose client left before there was an answer.")
        .is(totals.aborted);
    let mut refused = page.counter("rustcorn_requests_refused_total", "Requests that HTTP's rules or limits refused.");
    Refusal::ALL.iter().zip(totals.refused).for_each(|(why, count)| refused.add("why", why.name(), count));
    page.counter("rustcorn_spans_dropped_total", "Spans that did not reach the collector.").is(totals.spans_dropped);
    page.counter("rustcorn_connections_accepted_total", "Connections accepted.").is(totals.accepted);
    page.counter("rustcorn_tls_handshakes_failed_total", "Connections whose TLS handshake came to nothing.")
        .is(totals.handshakes_failed);
    page.counter("rustcorn_access_lines_lost_total", "Lines of the access log that could not be written.")
        .is(totals.access_lines_lost);
    page.counter("rustcorn_response_bytes_total", "Bytes of the bodies of answers.").is(totals.bytes);
}

fn durations(page: &mut Page, totals: &Counts) {
    let mut below = [0; BOUNDS.len()];
    for (took, requests) in totals.durations.iter() {
        let first = BOUNDS.iter().position(|bound| took.as_secs_f64() * 1000.0 <= *bound).unwrap_or(BOUNDS.len());
        below[first..].iter_mut().for_each(|below| *below += requests);
    }
    let (count, nanos) = sum(&totals.durations);
    let help = "Time from a request's head to the end of its answer.";
    let mut family = page.family("rustcorn_request_duration_seconds", "histogram", help);
    for (bound, below) in BOUNDS.iter().zip(below) {
        family.write("_bucket", &format!("{{le=\"{}\"}}", bound / 1000.0), below);
    }
    family.write("_bucket", "{le=\"+Inf\"}", count);
    family.write("_sum", "", nanos as f64 / 1e9);
    family.write("_count", "", count);
}

/// How much there is to do at this moment.
fn load(page: &mut Page, snapshot: &Snapshot) {
    let census = Census::of(snapshot);
    page.gauge("rustcorn_requests_in_flight", "Requests that have no answer yet.").is(census.in_flight);
    page.gauge("rustcorn_connections", "Open connections.").is(census.connections);
    page.gauge(
        "rustcorn_connections_spread_ratio",
        "Connections of the ready worker that has most, over their mean: 1 is even.",
    )
    .is(spread(snapshot));
    page.gauge("rustcorn_workers_busy", "Workers with a request in flight.").is(census.busy);
}

fn log_lines(page: &mut Page, totals: &Counts) {
    let mut log =
        page.counter("rustcorn_log_messages_total", "Log lines, by level; exceptions are panics of the application.");
    LEVELS.iter().zip(totals.log).for_each(|(level, count)| log.add("level", level, count));
}

fn server(page: &mut Page, snapshot: &Snapshot) {
    let Snapshot { figures, master, .. } = snapshot;
    let census = Census::of(snapshot);
    if let Some(backlog) = master.backlog {
        page.gauge("rustcorn_backlog", "Connections that wait to be accepted, on all TCP sockets.").is(backlog);
    }
    let help = "Worker processes, by state. Draining ones finish their requests and leave.";
    page.gauge("rustcorn_workers", help)
        .with("state", "booting", census.booting)
        .with("state", "ready", census.ready)
        .with("state", "draining", census.draining);
    page.gauge("rustcorn_workers_target", "Ready workers that are wanted.").is(figures.target);
    let mut restarts =
        page.counter("rustcorn_worker_restarts_total", "Workers that ended without being asked to, by cause.");
    for (cause, count) in Cause::ALL.iter().zip(figures.restarts) {
        restarts.add("cause", cause.name(), count);
    }
    let mut recycles =
        page.counter("rustcorn_worker_recycles_total", "Workers that were replaced although they were well, by limit.");
    for (limit, count) in Recycle::ALL.iter().zip(figures.recycles) {
        recycles.add("limit", limit.name(), count);
    }
    page.counter("rustcorn_reloads_total", "Reloads, by result. A failed one changes nothing.")
        .with("result", "ok", figures.reloads_ok)
        .with("result", "failed", figures.reloads_failed);
    page.gauge("rustcorn_generation", "Generation in force: one more with each reload that was tried.")
        .is(figures.generation);
    page.gauge("rustcorn_build_info", "Always 1; the version is in the label.").with(
        "version",
        env!("CARGO_PKG_VERSION"),
        1,
    );
    page.gauge("rustcorn_master_start_time_seconds", "When the master started, in seconds since 1970.")
        .is(master.started.as_secs_f64());
}

fn workers(page: &mut Page, snapshot: &Snapshot, now: Monotonic) {
    let mut each = |name, help, value: &dyn Fn(&Seat) -> Option<f64>| {
        let mut family = page.gauge(name, help);
        for seat in &snapshot.seats {
            if let Some(value) = value(seat) {
                family.add("slot", seat.slot, value);
            }
        }
    };
    let vital = |of: fn(&Vitals) -> u64| move |seat: &Seat| seat.vitals.counted.then_some(of(&seat.vitals) as f64);
    let generation = |seat: &Seat| (seat.vitals.state != State::Empty).then(|| f64::from(seat.vitals.generation));
    let beat = |seat: &Seat| seat.vitals.beat.map(|beat| now.since(beat).as_secs_f64());
    let memory = |seat: &Seat| seat.vitals.pid.and_then(resident).map(|bytes| bytes as f64);
    each("rustcorn_worker_requests_in_flight", "Requests that a worker has no answer to yet.", &vital(|v| v.in_flight));
    each("rustcorn_worker_connections", "Open connections of a worker.", &vital(|v| v.connections));
    each("rustcorn_worker_heartbeat_age_seconds", "Time since a worker's last sign of life.", &beat);
    each("rustcorn_worker_age_seconds", "Time since a worker was started.", &|seat| {
        Some(now.since(seat.since).as_secs_f64())
    });
    each("rustcorn_worker_generation", "Generation that a worker was started for.", &generation);
    each(
        "rustcorn_worker_resident_memory_bytes",
        "Memory of a worker in RAM, pages shared with others included.",
        &memory,
    );
}

/// How many, and how long together, in nanoseconds.
pub(crate) fn sum(durations: &Histogram) -> (u64, u128) {
    durations.iter().fold((0, 0), |(count, nanos), (took, requests)| {
        (count + requests, nanos + took.as_nanos() * u128::from(requests))
    })
}

#[cfg(test)]
mod tests;
