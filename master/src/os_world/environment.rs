//! The variables that children find in their environment.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use rustcorn_sys::notify;

use super::generation::c_string;

/// The environment for workers: the master's, less what was meant for the master alone and what the configuration sets anew.
pub(crate) fn environment(set: &BTreeMap<String, String>) -> Vec<CString> {
    let inherited = environment_without(&notify::VARIABLES);
    let inherited = inherited.filter(|(name, _)| name.to_str().is_none_or(|name| !set.contains_key(name)));
    let set = set.iter().map(|(name, value)| (name.into(), value.into()));
    inherited.chain(set).map(assignment).collect()
}

/// The environment for a new master: what this one was given, less what it got for itself.
pub(crate) fn heirs_environment() -> Vec<CString> {
    // The old one's pid is in it. How often to give a sign of life is in the heritage.
    environment_without(&["WATCHDOG_PID", "WATCHDOG_USEC"]).map(assignment).collect()
}

fn environment_without(these: &'static [&'static str]) -> impl Iterator<Item = (OsString, OsString)> {
    let own = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "RUSTCORN_HANDOFF"];
    std::env::vars_os().filter(move |(name, _)| !own.iter().chain(these).any(|own| name == own))
}

fn assignment((name, value): (OsString, OsString)) -> CString {
    c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat())
}
