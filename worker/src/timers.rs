//! The one timer of a worker: it beats the heart, looks for connections that are over a limit, and gives back what crowds have left.

use std::sync::Arc;
use std::time::Duration;

use rustcorn_sys::{Monotonic, memory};
use tokio::time::{MissedTickBehavior, interval};

use crate::ebb::Ebb;
use crate::shared::Shared;

/// The longest time between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// The shortest: more precision is not worth waking the worker for.
const FINEST: Duration = Duration::from_millis(50);

/// How often to look: eight times within the shortest limit, `timeout` (the master's patience) included. Zero limits are off.
pub(crate) fn tick(limits: &[Duration]) -> Duration {
    let shortest = limits.iter().filter(|limit| !limit.is_zero()).min();
    shortest.map_or(BEAT, |limit| (*limit / 8).clamp(FINEST, BEAT))
}

/// Runs for as long as the worker does, as a task beside the requests: when those block the runtime, the heart stops, and the
/// master sees it.
pub(crate) async fn beat_and_sweep(shared: Arc<Shared>, tick: Duration) {
    let mut interval = interval(tick);
    let mut ebb = Ebb::default();
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = Monotonic::now();
        shared.writer.beat(now);
        shared.sweep(now);
        let registry = &shared.registry;
        let (most, open) = registry.most();
        if ebb.look(now, most, open, || registry.census().in_flight > 0) {
            memory::give_back();
        }
    }
}

#[cfg(test)]
mod tests;
