//! The rustcorn master: supervises workers, owns the sockets, reports metrics.
//!
//! One thread, one blocking call, no async runtime and no HTTP. [`fleet`] decides, [`world`] acts.

pub mod fleet;
pub mod notice;
