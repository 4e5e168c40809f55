//! The engine of one run, and how far its end is.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Engine, EngineOptions};
use crate::problem::Problem;
use crate::scenario::Scenario;
use crate::stats::Interval;

/// A run's engine. Each run has its own: an idle worker holds no threads and no connections.
pub(super) enum Load {
    None,
    Running {
        engine: Engine,
        host: Option<String>,
    },
    /// Requests in flight are being waited for.
    Ending(Pin<Box<dyn Future<Output = Interval>>>),
    /// What is left to report.
    Ended(Box<Interval>),
}

impl Load {
    pub(super) fn start(scenario: Scenario, threads: usize, host: Option<&str>) -> Result<Self, Problem> {
        let mut scenario = scenario;
        if let Some(host) = host {
            let host = crate::scenario::Host::parse(host).map_err(Problem::general)?;
            scenario
                .classes
                .iter_mut()
                .filter(|class| class.host.is_none())
                .for_each(|class| class.host = Some(host.clone()));
        }
        let engine = Engine::start(Arc::new(scenario), EngineOptions { threads, schedule: None })?;
        Ok(Self::Running { engine, host: None })
    }

    /// `host` is instead of all of the scenario's. If it is none, there are no users.
    pub(super) fn set_users(&mut self, targets: &[u32], host: Option<&str>) -> Result<(), Problem> {
        let Self::Running { engine, host: current } = self else { return Ok(()) };
        if current.as_deref() != host {
            engine.set_host(host).inspect_err(|_| engine.set_users(&vec![0; targets.len()]))?;
            *current = host.map(str::to_owned);
        }
        engine.set_users(targets);
        Ok(())
    }

    /// What was measured since the last time, if anything runs or ran.
    pub(super) async fn take(&mut self) -> Option<Interval> {
        match self {
            Self::Running { engine, .. } => Some(engine.take().await),
            Self::Ended(_) => match std::mem::replace(self, Self::None) {
                Self::Ended(interval) => Some(*interval),
                _ => unreachable!("matched above"),
            },
            Self::None | Self::Ending(_) => None,
        }
    }

    /// Ends at once, and returns what nobody has asked for yet.
    pub(super) async fn abandon(&mut self) -> Option<Interval> {
        match std::mem::replace(self, Self::None) {
            Self::Running { engine, .. } => Some(engine.stop(Duration::ZERO).await.0),
            Self::Ended(interval) => Some(*interval),
            // Its threads are told when it is dropped, here.
            Self::None | Self::Ending(_) => None,
        }
    }

    /// Starts no more requests.
    pub(super) fn halt(&mut self, grace: Duration) {
        *self = match std::mem::replace(self, Self::None) {
            Self::Running { engine, .. } => Self::Ending(Box::pin(async move { engine.stop(grace).await.0 })),
            // Nothing was started: the end is here already.
            Self::None => Self::Ending(Box::pin(std::future::ready(Interval::empty(0)))),
            other => other,
        };
    }

    /// Waits for the end of [`Self::halt`].
    pub(super) async fn ended(&mut self) {
        let Self::Ending(stop) = self else { return pending().await };
        let interval = stop.await;
        *self = Self::Ended(Box::new(interval));
    }

    /// Percent of what the engine's threads may use at most.
    pub(super) fn cpu(&mut self) -> f64 {
        match self {
            Self::Running { engine, .. } => engine.cpu(),
            _ => 0.0,
        }
    }
}
