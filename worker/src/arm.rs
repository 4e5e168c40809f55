//! What serving needs, put together from the settings: the same for a worker and for a test of an application.

use std::sync::Arc;
use std::time::Duration;

use rustcorn_config::Settings;
use rustcorn_tls::Material;

use crate::accept::Acceptors;
use crate::drain::Times;
use crate::protocols::Protocols;
use crate::run::{Core, Plan, Runs, Timer};
use crate::shared::{Shared, Waits};
use crate::timers::{beat_and_sweep, tick};

/// Everything but the application and what runs it.
pub(crate) struct Arms<'a, W> {
    pub(crate) settings: &'a Settings,
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) acceptors: Acceptors,
    pub(crate) tls: Option<&'a Material>,
    pub(crate) wishes: W,
    /// With `reuse_port`: see [`Times`].
    pub(crate) handover: Duration,
}

impl<S, X, W> Core<S, X, W>
where
    X: Runs<Timer> + Clone,
{
    /// Starts what beats and sweeps, and is ready to accept.
    ///
    /// # Errors
    /// One sentence about the certificate.
    pub(crate) fn armed(arms: Arms<'_, W>, service: S, executor: X) -> Result<Self, String> {
        let Arms { settings, shared, acceptors, tls, wishes, handover } = arms;
        let protocols = Protocols::new(settings, &shared.policy.rules, tls, executor.clone())?;
        let tick = tick(&[&[settings.timeout][..], &Waits::of(settings).all()].concat());
        executor.run(Box::pin(beat_and_sweep(Arc::clone(shared), tick)));
        Ok(Self {
            shared: Arc::clone(shared),
            acceptors,
            service: Some(service),
            executor,
            protocols,
            wishes,
            plan: Plan {
                worker_connections: settings.worker_connections,
                // The kernel queues one more than the backlog, and holds as many handshakes under way.
                queued: 2 * (settings.backlog as usize + 1),
                times: Times {
                    graceful_timeout: settings.graceful_timeout,
                    drain_delay: settings.drain_delay,
                    handover,
                },
            },
        })
    }
}
