//! What all parts of one worker share: its seat on the scoreboard, its open connections, and what a drain changes.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustcorn_config::Settings;
use rustcorn_scoreboard::Writer;
use rustcorn_sys::Monotonic;

use crate::handoff::Ready;
use crate::policy::Policy;
use crate::registry::{Limits, Registry};
use crate::telemetry::Telemetry;

/// One per worker process.
pub(crate) struct Shared {
    pub(crate) writer: Writer,
    pub(crate) registry: Registry,
    header: Option<Duration>,
    keepalive: Option<Duration>,
    /// Nanoseconds since boot from which no connection may be idle; 0 = not yet known.
    idle_ends: AtomicU64,
    /// Every response from now on says `Connection: close`.
    says_close: AtomicBool,
    /// Set before the first connection, or never.
    telemetry: OnceLock<Telemetry>,
    /// Set before the first connection, or never.
    quota: OnceLock<Quota>,
    /// Set before the first connection; else that of the default settings.
    policy: OnceLock<Policy>,
}

/// The requests that this worker shall serve (`max_requests`).
struct Quota {
    left: AtomicU64,
    master: Ready,
}

impl Shared {
    /// `keepalive` zero: a connection serves one request; `header_timeout` zero: no limit.
    pub(crate) fn new(writer: Writer, keepalive: Duration, header_timeout: Duration) -> Arc<Self> {
        let limit = |limit: Duration| (!limit.is_zero()).then_some(limit);
        Arc::new(Self {
            writer,
            registry: Registry::default(),
            header: limit(header_timeout),
            keepalive: limit(keepalive),
            idle_ends: AtomicU64::new(0),
            says_close: AtomicBool::new(keepalive.is_zero()),
            telemetry: OnceLock::new(),
            quota: OnceLock::new(),
            policy: OnceLock::new(),
        })
    }

    /// What holds for requests and those who send them.
    pub(crate) fn obey(&self, policy: Policy) {
        let first = self.policy.set(policy).is_ok();
        debug_assert!(first, "a worker has one policy");
    }

    #[inline]
    pub(crate) fn policy(&self) -> &Policy {
        self.policy.get_or_init(|| Policy::new(&Settings::defaults()))
    }

    /// From now on requests are observed.
    pub(crate) fn observe_with(&self, telemetry: Telemetry) {
        let first = self.telemetry.set(telemetry);
        debug_assert!(first.is_ok(), "a worker has one telemetry");
    }

    #[inline]
    pub(crate) fn telemetry(&self) -> Option<&Telemetry> {
        self.telemetry.get()
    }

    /// After `requests` answers the master is told on `master`; it decides what follows.
    pub(crate) fn limit_requests(&self, requests: u64, master: &Ready) -> io::Result<()> {
        let quota = Quota { left: AtomicU64::new(requests), master: master.try_clone()? };
        let first = self.quota.set(quota).is_ok();
        debug_assert!(first, "a worker has one quota");
        Ok(())
    }

    /// A request has been answered and counted.
    #[inline]
    pub(crate) fn request_answered(&self) {
        if let Some(quota) = self.quota.get() {
            // It wraps after the last one: the worker goes on serving until its successor is ready, and told the master once.
            if quota.left.fetch_sub(1, Relaxed) == 1 {
                quota.master.spent();
            }
        }
    }

    pub(crate) fn says_close(&self) -> bool {
        self.says_close.load(Relaxed)
    }

    /// From now on each response is the last on its connection.
    pub(crate) fn say_close(&self) {
        self.says_close.store(true, Relaxed);
    }

    /// From `end` on connections that are idle are closed.
    pub(crate) fn end_idle_at(&self, end: Monotonic) {
        self.idle_ends.store(end.as_nanos(), Relaxed);
    }

    /// Asks the connections that are over a limit to close.
    pub(crate) fn sweep(&self, now: Monotonic) {
        let idle_ends = match self.idle_ends.load(Relaxed) {
            0 => None,
            nanos => Some(Monotonic::from_nanos(nanos)),
        };
        let times = self.policy().times;
        self.registry.sweep(now, &Limits { header: self.header, keepalive: self.keepalive, idle_ends, times });
    }
}
