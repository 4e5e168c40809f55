//! What a black-box test needs: the built programs, a server that cleans up after itself, clients, and waiting for facts.

use std::io::Write;

pub(crate) mod binaries;
pub(crate) mod client;
pub(crate) mod ctl;
pub(crate) mod dir;
pub(crate) mod file;
pub(crate) mod http2;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod mix;
pub(crate) mod proc;
pub(crate) mod project;
pub(crate) mod server;
pub(crate) mod setup;
pub(crate) mod statsd;
pub(crate) mod tls;
pub(crate) mod wait;

pub(crate) use client::{Conn, get};
pub(crate) use file::LogFile;
pub(crate) use load::Load;
pub(crate) use server::Server;
pub(crate) use setup::Setup;
pub(crate) use statsd::Sink;
pub(crate) use wait::{PATIENCE, eventually, never};

/// Signals, under a short name.
pub(crate) use nix::sys::signal::Signal as Sig;

/// Says what this machine cannot show, past the capture of test output: a test that passes shows nothing else.
pub(crate) fn not_tested(what: &str) {
    let line = format!("NOT TESTED: {what}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error takes it");
}

/// Whether to run the full sizes of the tests that count: minutes instead of seconds.
pub(crate) fn full() -> bool {
    std::env::var_os("RUSTCORN_E2E_FULL").is_some_and(|value| value != "0")
}
