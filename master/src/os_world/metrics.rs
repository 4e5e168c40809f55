//! The statsd metrics: when they are due, and what is new since the last time.

use rustcorn_scoreboard::State;
use rustcorn_sys::Monotonic;

use super::OsWorld;
use super::generation::Resources;
use crate::log_counts;
use crate::notice::Notice;
use crate::statsd::{Gauges, Load, News, Statsd, Trouble};

/// The statsd server, and when it is told next.
pub(super) struct Metrics {
    statsd: Statsd,
    pub(super) due: Monotonic,
}

impl OsWorld {
    pub(super) fn start_metrics(&mut self) {
        let statsd = self.in_force().and_then(|resources| Statsd::new(&resources.settings));
        self.metrics = statsd.map(|statsd| Metrics { due: self.now() + statsd.interval(), statsd });
    }

    pub(super) fn send_metrics_if_due(&mut self) {
        let now = self.now();
        if self.metrics.as_ref().is_none_or(|metrics| now < metrics.due) {
            return;
        }
        let (news, gauges) = self.news();
        if let Some(metrics) = &mut self.metrics {
            metrics.due = now + metrics.statsd.interval();
            report(metrics.statsd.flush(&news, &gauges, now));
        }
    }

    /// The last metrics this server gets, with a little more patience.
    pub(super) fn finish_metrics(&mut self) {
        let now = self.now();
        if let Some(metrics) = self.metrics.take() {
            let (news, gauges) = self.news();
            report(metrics.statsd.finish(&news, &gauges, now));
        }
    }

    /// What happened since the last time this was asked.
    fn news(&mut self) -> (News, Gauges) {
        self.board.publish_log(log_counts::lines());
        let now = self.board.snapshot().expect("nobody else folds");
        let counted = now.counted();
        let (counts, figures) = std::mem::replace(&mut self.told, (now.totals, now.figures));
        let news = News {
            counts: self.told.0.since(&counts),
            restarts: std::array::from_fn(|cause| now.figures.restarts[cause] - figures.restarts[cause]),
            recycles: std::array::from_fn(|limit| now.figures.recycles[limit] - figures.recycles[limit]),
            reloads_ok: now.figures.reloads_ok - figures.reloads_ok,
            reloads_failed: now.figures.reloads_failed - figures.reloads_failed,
        };
        let vitals = || now.seats.iter().map(|seat| &seat.vitals);
        let asked = self.in_force().filter(|resources| resources.settings.enable_backlog_metric);
        let load = || Load {
            busy: vitals().filter(|vitals| vitals.in_flight > 0).count(),
            in_flight: vitals().map(|vitals| vitals.in_flight).sum(),
            connections: vitals().map(|vitals| vitals.connections).sum(),
        };
        let gauges = Gauges {
            workers: self.children.active(),
            ready: vitals().filter(|vitals| vitals.state == State::Ready).count(),
            target: now.figures.target,
            load: counted.then(load),
            backlog: asked.and_then(Resources::backlog),
        };
        (news, gauges)
    }
}

fn report(trouble: Option<Trouble>) {
    if let Some(Trouble { to, error, lost }) = trouble {
        Notice::StatsdTrouble { to, error, lost }.say();
    }
}
