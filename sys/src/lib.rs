//! Thin, safe calls to the operating system: processes, signals, descriptors, sockets, time, log lines. And what the
//! CPU has beyond the language: sixteen bytes at once.
//!
//! Everything here is mechanism; no policy. Together with the scoreboard this is the only crate with `unsafe`, and its
//! whole interface is safe to call.
#![allow(unsafe_code)] // system calls and vectors that neither std nor nix makes safe; each block says why it is sound

pub mod beneath;
pub mod cgroup;
pub mod clock;
pub mod cpus;
pub mod daemon;
pub mod directory;
pub mod error;
pub mod fd;
pub mod file;
pub mod held_socket;
pub mod identity;
pub mod log;
pub mod memory;
pub mod notify;
pub mod passing;
pub mod pid;
pub mod procfs;
pub mod signal;
pub mod sixteen;
pub mod socket;
pub mod spawn;
pub mod title;
pub mod watch;

pub use clock::Monotonic;
pub use pid::Pid;

#[cfg(test)]
mod tests;
