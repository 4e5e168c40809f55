//! Metrics to a statsd server: what was counted since the last report, packed into datagrams. What gunicorn has goes by
//! gunicorn's names, the rest by names of our own, below `rustcorn.`; `docs/metrics.md` lists them.
//!
//! A datagram that the destination refuses is held back and what is counted meanwhile is added up, so a server that starts
//! late or restarts still gets every request, once. Nothing here waits but the look-up of a host's name and, at the exit, a
//! full unix socket.
//!
//! | module | what it is |
//! |---|---|
//! | `timer` | durations as lines with a sample rate |
//! | `packer` | lines to datagrams |
//! | `destination` | the socket: names, refusals, what is known to be lost |

mod destination;
mod packer;
mod timer;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::Duration;

use cadence::StatsdClient;
use cadence::prelude::{Counted, Gauged, Histogrammed, Timed};
use rustcorn_config::Settings;
use rustcorn_scoreboard::{Cause, Counts, Recycle, Refusal};
use rustcorn_sys::Monotonic;

use destination::Destination;
use packer::Packer;

/// Time between two reports of trouble.
const QUIET: Duration = Duration::from_secs(30);
/// In the order of [`Counts::log`].
const LOG: [&str; 4] =
    ["gunicorn.log.critical", "gunicorn.log.error", "gunicorn.log.warning", "gunicorn.log.exception"];

/// Numbers as they are now. Sent with every report, not only when they change: aggregators forget a silent gauge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gauges {
    /// Worker processes, as `gunicorn.workers`.
    pub workers: usize,
    /// Of them, those that serve.
    pub ready: usize,
    /// Ready workers wanted.
    pub target: u64,
    /// What they have to do; `None`: nobody counts that.
    pub load: Option<Load>,
    /// Connections that wait to be accepted, as `gunicorn.backlog`; `None`: not to be told, or unknown.
    pub backlog: Option<u64>,
}

/// What workers have to do at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Workers with a request in flight.
    pub busy: usize,
    /// Requests without an answer yet.
    pub in_flight: u64,
    /// Open connections.
    pub connections: u64,
}

/// What happened since the last report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct News {
    /// What the workers counted, and the master's log lines.
    pub counts: Counts,
    /// Workers that ended unasked, by [`Cause`].
    pub restarts: [u64; Cause::ALL.len()],
    /// Workers that were replaced as planned, by [`Recycle`].
    pub recycles: [u64; Recycle::ALL.len()],
    /// Reloads that took effect.
    pub reloads_ok: u64,
    /// Reloads that changed nothing.
    pub reloads_failed: u64,
}

impl News {
    fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.restarts.iter_mut().zip(other.restarts).for_each(|(to, more)| *to += more);
        self.recycles.iter_mut().zip(other.recycles).for_each(|(to, more)| *to += more);
        self.reloads_ok += other.reloads_ok;
        self.reloads_failed += other.reloads_failed;
    }
}

/// Metrics cannot be sent, or some were lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// Where to, as in the setting.
    pub to: String,
    /// What the system said last.
    pub error: String,
    /// Datagrams known to be lost since the last report. With 0 everything is held back and sent later.
    pub lost: u64,
}

/// Sends metrics to one destination.
pub struct Statsd {
    client: StatsdClient,
    /// Where `client` puts its lines.
    packer: Packer,
    /// Datagrams that an earlier flush could not send: those of one flush at most, later counts stay in `unsent`.
    held: VecDeque<Vec<u8>>,
    /// Counted, in no datagram yet.
    unsent: News,
    destination: Destination,
    interval: Duration,
    /// The last gauges said what there is to do.
    told_load: bool,
    error: Option<String>,
    reported: Option<Monotonic>,
}

impl Statsd {
    /// None if `statsd_host` is not set. Sends and looks up nothing yet, so it cannot fail.
    #[must_use]
    pub fn new(settings: &Settings) -> Option<Self> {
        let destination = Destination::new(settings.statsd_host.clone()?);
        let packer = Packer::default();
        // One dot follows the prefix, however many it ends in. (gunicorn forgets the dot of a one-letter prefix.)
        let mut client = StatsdClient::builder(settings.statsd_prefix.trim_end_matches('.'), packer.clone());
        if !settings.dogstatsd_tags.is_empty() {
            // As one tag, since the text is a list of tags already.
            client = client.with_tag_value(&settings.dogstatsd_tags);
        }
        Some(Self {
            client: client.build(),
            packer,
            held: VecDeque::new(),
            unsent: News::default(),
            destination,
            interval: settings.statsd_interval,
            error: None,
            told_load: false,
            reported: None,
        })
    }

    /// Time between two calls of [`Statsd::flush`].
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Sends `news` and whatever could not be sent before. Trouble is returned at most
    /// every 30 seconds.
    pub fn flush(&mut self, news: &News, gauges: &Gauges, now: Monotonic) -> Option<Trouble> {
        self.unsent.add(news);
        match self.attempt(gauges, now) {
            Err(error) => self.error = Some(error.to_string()),
            Ok(()) if self.destination.lost == 0 => self.error = None,
            Ok(()) => {} // a loss that was not reported yet: keep its reason
        }
        let quiet = self.reported.is_some_and(|at| now.since(at) < QUIET);
        if quiet { None } else { self.trouble(now) }
    }

    /// The last [`Statsd::flush`], at the exit or before another destination takes over: what cannot be sent now is lost, and
    /// trouble is always returned. May wait up to 200 ms for a unix socket whose reader is behind.
    #[must_use]
    pub fn finish(mut self, news: &News, gauges: &Gauges, now: Monotonic) -> Option<Trouble> {
        self.unsent.add(news);
        if let Err(error) = self.last_attempt(gauges, now) {
            self.error = Some(error.to_string());
        }
        if self.unsent != News::default() {
            self.encode(gauges);
        }
        self.destination.lost += self.held.len() as u64;
        self.trouble(now)
    }

    fn attempt(&mut self, gauges: &Gauges, now: Monotonic) -> io::Result<()> {
        let heard = self.destination.listen();
        self.destination.open(now)?;
        if self.destination.doubtful() {
            // Only a gauge is at stake: the counters wait until a flush has passed in which nobody refused it.
            self.gauge(gauges);
            for datagram in self.packer.take() {
                self.destination.probe(&datagram)?;
            }
            return heard;
        }
        self.send(gauges)
    }

    fn last_attempt(&mut self, gauges: &Gauges, now: Monotonic) -> io::Result<()> {
        let heard = self.destination.listen();
        self.destination.open(now)?;
        self.destination.make_patient()?;
        self.send(gauges).and(heard)
    }

    /// What was held first; if that went through, everything else.
    fn send(&mut self, gauges: &Gauges) -> io::Result<()> {
        self.send_held()?;
        if self.held.is_empty() {
            self.encode(gauges);
            self.send_held()?;
        }
        Ok(())
    }

    fn send_held(&mut self) -> io::Result<()> {
        let before = self.held.len();
        while let Some(datagram) = self.held.front() {
            match self.destination.send(datagram) {
                Ok(()) => {}
                // A reader that is a little behind is no trouble, one that reads nothing is.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.held.len() < before => return Ok(()),
                Err(error) => return Err(error),
            }
            self.held.pop_front();
        }
        Ok(())
    }

    /// Turns all that is not sent into datagrams.
    fn encode(&mut self, gauges: &Gauges) {
        self.packer.set_limit(self.destination.limit());
        let News { counts, restarts, recycles, reloads_ok, reloads_failed } = mem::take(&mut self.unsent);
        self.count("gunicorn.requests", counts.requests);
        for (code, count) in counts.statuses() {
            match code {
                ..600 => self.count(&format!("gunicorn.request.status.{code}"), count),
                _ => self.count("gunicorn.request.status.other", count),
            }
        }
        LOG.iter().zip(counts.log).for_each(|(name, count)| self.count(name, count));
        for (took, count) in timer::values(&counts.durations) {
            for stands_for in timer::parts(count) {
                let line = self.client.time_with_tags("gunicorn.request.duration", took);
                if stands_for == 1 { line } else { line.with_sampling_rate(1.0 / stands_for as f64) }.send();
            }
        }
        self.count("rustcorn.requests.aborted", counts.aborted);
        for (why, count) in Refusal::ALL.iter().zip(counts.refused) {
            self.count(&format!("rustcorn.requests.refused.{}", why.name()), count);
        }
        self.count("rustcorn.spans.dropped", counts.spans_dropped);
        self.count("rustcorn.connections.accepted", counts.accepted);
        self.count("rustcorn.tls.handshakes.failed", counts.handshakes_failed);
        self.count("rustcorn.access_lines.lost", counts.access_lines_lost);
        self.count("rustcorn.response.bytes", counts.bytes);
        for (cause, count) in Cause::ALL.iter().zip(restarts) {
            self.count(&format!("rustcorn.worker.restarts.{}", cause.name()), count);
        }
        for (limit, count) in Recycle::ALL.iter().zip(recycles) {
            self.count(&format!("rustcorn.worker.recycles.{}", limit.name()), count);
        }
        self.count("rustcorn.reloads.ok", reloads_ok);
        self.count("rustcorn.reloads.failed", reloads_failed);
        self.gauge(gauges);
        self.held.extend(self.packer.take());
    }

    // `send` of those below hands the line to the packer, which cannot fail.

    fn count(&self, name: &str, count: u64) {
        if count > 0 {
            self.client.count_with_tags(name, count).send();
        }
    }

    fn gauge(&mut self, gauges: &Gauges) {
        let Gauges { workers, ready, target, load, backlog } = *gauges;
        let of_workers = [
            ("gunicorn.workers", workers as u64),
            ("rustcorn.workers.ready", ready as u64),
            ("rustcorn.workers.target", target),
        ];
        // Aggregators hold the last value of a gauge: once nobody counts any more, that must not go on.
        let told = mem::replace(&mut self.told_load, load.is_some());
        let of_load = load.or_else(|| told.then(Load::default)).map(|Load { busy, in_flight, connections }| {
            [
                ("rustcorn.workers.busy", busy as u64),
                ("rustcorn.requests.in_flight", in_flight),
                ("rustcorn.connections.open", connections),
            ]
        });
        for (name, value) in of_workers.into_iter().chain(of_load.into_iter().flatten()) {
            self.client.gauge_with_tags(name, value).send();
        }
        if let Some(backlog) = backlog {
            self.client.histogram_with_tags("gunicorn.backlog", backlog).send(); // gunicorn's type
        }
    }

    fn trouble(&mut self, now: Monotonic) -> Option<Trouble> {
        let lost = mem::take(&mut self.destination.lost);
        let error = self.error.take().or_else(|| (lost > 0).then(|| "the reader is too slow".to_owned()))?;
        self.reported = Some(now);
        Some(Trouble { to: self.destination.to_string(), error, lost })
    }
}

#[cfg(test)]
mod tests;
