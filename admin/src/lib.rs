//! The admin process of rustcorn: `/livez`, `/readyz`, `/metrics` and `/status`, all from the scoreboard.
//!
//! It looks at shared memory that it cannot write, and nobody waits for it: a blocked or dead admin process changes nothing
//! for the service, and a service that is drowning in work changes nothing for the admin process.
//!
//! | module | what it is |
//! |---|---|
//! | `handoff` | what the master gives |
//! | `server` | accept, connections and their limits, the end |
//! | `site` | which path answers what |
//! | `health` | alive? ready? and why not |
//! | `metrics` | the text that Prometheus scrapes |
//! | `status` | the document behind the page |
//! | `history` | the last five minutes |

mod handoff;
mod health;
mod history;
mod metrics;
mod server;
mod site;
mod status;
#[cfg(test)]
mod testing;

pub use handoff::{Handoff, HandoffError};
pub use server::main;
