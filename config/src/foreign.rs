//! Programs that know nothing of rustcorn but systemd's socket activation (sd_listen_fds(3)), and what cannot be had with them.

use crate::access_rule::AccessLog;
use crate::app::{App, OURS};
use crate::problem::Problem;
use crate::settings::Settings;

/// When a foreign program counts as ready: systemd's types of services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForeignReady {
    /// Once it has run for a second: nobody tells. What connects earlier waits in the backlog.
    Exec,
    /// When it sends `READY=1` to `NOTIFY_SOCKET` (sd_notify(3)).
    Notify,
}

impl ForeignReady {
    pub(crate) fn parse(value: &toml::Value) -> Result<Self, &'static str> {
        match value.as_str() {
            Some("exec") => Ok(Self::Exec),
            Some("notify") => Ok(Self::Notify),
            _ => Err("not \"exec\" (it is ready once it runs) or \"notify\" (it says when, by sd_notify(3))"),
        }
    }
}

/// Keys of `[app]` that nobody would read.
pub(crate) fn unread(app: &App) -> impl Iterator<Item = Problem> {
    let others = app.table().keys().filter(|key| !OURS.contains(&key.as_str()));
    others.map(|key| app.problem(key, "a foreign program cannot read it; make it an argument, or a variable in [env]"))
}

/// Settings that a foreign program would not keep, and that somebody relies on.
pub(crate) fn not_kept(settings: &Settings) -> impl Iterator<Item = (&'static str, &'static str)> {
    let given = [
        (settings.speaks_tls(), "certfile", "a foreign program would answer without TLS; let it speak TLS itself"),
        (settings.reuse_port, "reuse_port", "a foreign program does not know the order of many sockets; remove it"),
        (
            settings.max_requests > 0,
            "max_requests",
            "a foreign program's requests are not counted; use worker_lifetime or max_rss",
        ),
        (
            settings.accesslog != AccessLog::Off,
            "accesslog",
            "nobody sees a foreign program's requests; let it have an access log itself",
        ),
    ];
    given.into_iter().filter(|(given, ..)| *given).map(|(_, key, text)| (key, text))
}
