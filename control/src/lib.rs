//! What rustcornctl and a rustcorn master say to each other over the control socket: one JSON object a line, each way.
//! `docs/control.md` is the same for people.
//!
//! | module | what it is |
//! |---|---|
//! | `envelope` | a request, a reply, and the lines they are |
//! | `command` | the commands, as words and as a type |
//! | `data` | what a reply's `data` holds, by command |

mod command;
pub mod data;
mod envelope;

pub use command::{Command, HELP, Which};
pub use envelope::{Reply, Request, Status};

/// Goes up when an old client would misunderstand a new master, or the other way round. New fields of a reply and new
/// commands do not need that.
pub const PROTOCOL: u32 = 1;

#[cfg(test)]
mod tests;
