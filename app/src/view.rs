//! What the hooks of the master are shown.

use std::time::Duration;

use rustcorn_config::Settings;
use rustcorn_master::hooks::Hang;
use serde::de::DeserializeOwned;

use crate::Error;

/// A configuration as a hook of the master sees it.
///
/// ```
/// use rustcorn::{BoxError, Configuration};
///
/// #[derive(serde::Deserialize)]
/// struct Config { shard: u16 }
///
/// /// For `Server::on_starting`.
/// fn check(configuration: &Configuration<'_>) -> Result<(), BoxError> {
///     let Config { shard } = configuration.app()?;
///     if shard < 16 { Ok(()) } else { Err(configuration.mistake("shard", "there are 16; use 0 to 15").into()) }
/// }
/// ```
#[derive(Debug)]
pub struct Configuration<'a>(pub(crate) &'a Settings);

impl Configuration<'_> {
    /// The application's own keys (`[app]`) as `T`, as [`Context::config`](crate::Context::config) reads them in a worker.
    ///
    /// # Errors
    /// [`Error::Config`] with every key that is unknown, missing or wrong, each with file, line and key.
    pub fn app<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(self.0.app.read()?)
    }

    /// What is wrong with the value of a key of `[app]`: an error that names file, line and key, as
    /// [`Context::mistake`](crate::Context::mistake) makes it in a worker.
    #[must_use]
    pub fn mistake(&self, key: &str, text: &str) -> Error {
        self.0.app.problem(key, text).into()
    }

    /// The value of a setting of the server by its name, as `--print-config` shows it, in TOML: `workers` is `4`, `bind` is
    /// `["0.0.0.0:8080"]`. `None` if there is no such setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<String> {
        self.0.value_of(name)
    }

    /// The setting `workers`.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.0.workers
    }

    /// The names of what is different in `new`: settings, and keys of `[app]` as `app.KEY`.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Vec<String> {
        self.0.changes(new.0).into_iter().map(|change| change.key).collect()
    }
}

/// A worker that hangs: what [`Server::worker_hang`](crate::Server::worker_hang) is told.
///
/// ```
/// /// For `Server::worker_hang`.
/// fn look(hang: &rustcorn::Hanging<'_>) {
///     let requests: Vec<_> = hang.requests().map(|(request, _)| request).collect();
///     eprintln!("pid {} hangs for {:?} in {requests:?}", hang.pid(), hang.silent());
/// }
/// ```
#[derive(Debug)]
pub struct Hanging<'a>(pub(crate) &'a Hang);

impl Hanging<'_> {
    /// Its seat.
    #[must_use]
    pub const fn slot(&self) -> usize {
        self.0.slot.0
    }

    /// Its process, which still is as it hangs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid.as_raw().unsigned_abs()
    }

    /// For how long it has not shown a heartbeat.
    #[must_use]
    pub const fn silent(&self) -> Duration {
        self.0.silent
    }

    /// The requests that it is in the middle of, as `GET /path`, and for how long. None, if it is something else that hangs.
    pub fn requests(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.0.polled.iter().map(|(request, time)| (request.as_str(), *time))
    }
}
