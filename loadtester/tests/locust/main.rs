//! The real program as a worker of a master that this test plays, against a server that counts what reaches it.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in what they share")]

mod bad_input;
mod life;
mod master;
mod program;
mod run;
mod target;
