//! What all parts of one worker share: its seat on the scoreboard, its open connections, and what a drain changes.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustcorn_config::Settings;
use rustcorn_scoreboard::Writer;
use rustcorn_sys::Monotonic;

use crate::access::AccessLog;
use crate::handoff::Ready;
use crate::log;
use crate::pace::Watch;
use crate::policy::Policy;
use crate::registry::{Connection, Limits, Registry};
use crate::secure::Failures;
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;

/// One per worker process.
pub(crate) struct Shared {
    pub(crate) writer: Writer,
    /// What holds for requests and those who send them.
    pub(crate) policy: Policy,
    pub(crate) registry: Registry,
    pub(crate) tasks: Tasks,
    limits: Limits,
    connection_age: Option<Duration>,
    /// TLS handshakes that came to nothing.
    pub(crate) handshakes: Failures,
    /// Nanoseconds since boot from which no connection may be idle; 0 = not yet known.
    idle_ends: AtomicU64,
    /// Every response from now on says `Connection: close`.
    says_close: AtomicBool,
    /// The worker drains.
    leaves: AtomicBool,
    /// Set before the first connection, or never.
    telemetry: OnceLock<Telemetry>,
    /// Set before the first connection, or never.
    access: OnceLock<AccessLog>,
    /// Set before the first connection, or never.
    quota: OnceLock<Quota>,
}

/// The requests that this worker shall serve (`max_requests`).
struct Quota {
    left: AtomicU64,
    master: Ready,
}

/// How long connections may take for what; zero is no limit, but for `keepalive`: without it a connection serves one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    pub(crate) handshake: Duration,
    pub(crate) header: Duration,
    pub(crate) keepalive: Duration,
    pub(crate) connection_age: Duration,
    /// To the begin of a response.
    pub(crate) request: Duration,
    /// A body that stands still, while it could come.
    pub(crate) body: Duration,
    /// Bytes a second that a body has to come in, over that time.
    pub(crate) body_rate: u64,
    /// A response of which nothing is taken.
    pub(crate) write: Duration,
}

impl Waits {
    pub(crate) const fn of(settings: &Settings) -> Self {
        Self {
            handshake: settings.tls_handshake_timeout,
            header: settings.header_timeout,
            keepalive: settings.keepalive,
            connection_age: settings.max_connection_age,
            request: settings.request_timeout,
            body: settings.body_timeout,
            body_rate: settings.body_min_rate,
            write: settings.write_timeout,
        }
    }

    /// Those that the sweep looks at.
    pub(crate) const fn all(&self) -> [Duration; 7] {
        [self.handshake, self.header, self.keepalive, self.connection_age, self.request, self.body, self.write]
    }

    fn limits(&self) -> Limits {
        let body_least = (self.body_rate as f64 * self.body.as_secs_f64()) as u64;
        let watch = |time: Duration, least| limit(time).map(|time| Watch { time, least });
        Limits {
            handshake: limit(self.handshake),
            header: limit(self.header),
            keepalive: limit(self.keepalive),
            idle_ends: None,
            request: limit(self.request),
            body: watch(self.body, body_least),
            write: watch(self.write, 0),
        }
    }
}

fn limit(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

impl Shared {
    pub(crate) fn new(writer: Writer, policy: Policy, waits: Waits) -> Arc<Self> {
        Arc::new(Self {
            writer,
            policy,
            registry: Registry::default(),
            tasks: Tasks::default(),
            limits: waits.limits(),
            connection_age: limit(waits.connection_age),
            handshakes: Failures::default(),
            idle_ends: AtomicU64::new(0),
            says_close: AtomicBool::new(waits.keepalive.is_zero()),
            leaves: AtomicBool::new(false),
            telemetry: OnceLock::new(),
            access: OnceLock::new(),
            quota: OnceLock::new(),
        })
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

    /// From now on requests leave lines.
    pub(crate) fn log_access_with(&self, access: AccessLog) {
        let first = self.access.set(access);
        debug_assert!(first.is_ok(), "a worker has one access log");
    }

    #[inline]
    pub(crate) fn access(&self) -> Option<&AccessLog> {
        self.access.get()
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

    /// The worker drains: from now on each response is the last on its connection, and HTTP/2 gets GOAWAY.
    pub(crate) fn say_close(&self) {
        self.says_close.store(true, Relaxed);
        self.leaves.store(true, Relaxed);
        self.registry.wake_http2();
    }

    pub(crate) fn leaves(&self) -> bool {
        self.leaves.load(Relaxed)
    }

    /// The time that an application has to begin its response.
    pub(crate) const fn request_limit(&self) -> Option<Duration> {
        self.limits.request
    }

    /// When a connection that begins now shall end: up to a tenth later than the setting says, so that those that came together do
    /// not come back together.
    pub(crate) fn connection_expires(&self) -> Option<Monotonic> {
        self.connection_age.map(|age| Monotonic::now() + age + age.mul_f64(0.1 * fastrand::f64()))
    }

    /// A TLS handshake came to nothing.
    #[cold]
    pub(crate) fn handshake_failed(&self, why: &str, connection: &Connection) {
        self.writer.handshake_failed();
        let client = connection.client();
        self.handshakes.note(why, client);
        log::connection_ended(&format!("TLS handshake: {why}"), None, client, None);
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
        self.registry.sweep(now, &Limits { idle_ends, ..self.limits });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_zero_are_no_limits() {
        let mut settings = Settings::defaults();
        let limits = Waits::of(&settings).limits();
        let seconds = Duration::from_secs;
        assert_eq!(limits.body, Some(Watch { time: seconds(30), least: 7200 }));
        assert_eq!((limits.request, limits.write), (None, Some(Watch { time: seconds(60), least: 0 })));
        (settings.body_timeout, settings.write_timeout) = (Duration::ZERO, Duration::ZERO);
        let limits = Waits::of(&settings).limits();
        assert_eq!((limits.body, limits.write), (None, None));
    }
}
