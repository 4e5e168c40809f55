//! Where the lines of requests go, as the settings and the master say.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustcorn_config::{AccessLog, Settings};

use crate::handoff::Ready;
use crate::log_channel::LogChannel;

/// A place for lines.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Whatever that is when they are written.
    StandardOutput,
    /// A file, in whose place another may come.
    File(Arc<OwnedFd>),
}

/// Where requests are logged, and how another file may come. `given`: file and channel, if the master gave them.
pub(crate) fn target(
    settings: &Settings,
    given: Option<(OwnedFd, OwnedFd)>,
    ready: &Ready,
) -> Result<(Option<Target>, Option<LogChannel>), String> {
    match (&settings.accesslog, given) {
        (AccessLog::Off, _) => Ok((None, None)),
        (AccessLog::StandardOutput, _) => Ok((Some(Target::StandardOutput), None)),
        (AccessLog::File(_), Some((file, channel))) => {
            let file = Arc::new(file);
            let channel = LogChannel::access_log(channel, ready, Arc::clone(&file));
            let channel = channel.map_err(|error| format!("cannot copy a descriptor: {error}"))?;
            Ok((Some(Target::File(file)), Some(channel)))
        }
        (AccessLog::File(_), None) => {
            let why = "the master has not handed over the file of accesslog: build both with the same rustcorn release";
            Err(why.to_owned())
        }
    }
}
