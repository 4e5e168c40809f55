//! A rustcorn worker: takes over the sockets, serves a tower service on hyper, counts, drains.
//!
//! | module | what it is |
//! |---|---|
//! | `handoff` | what the master gives: descriptors, settings |
//! | `boot`, `arm` | from there to a serving worker, and to an exit code |
//! | `context`, `address`, `error` | what the application is given, and what it may be told |
//! | `hooks`, `tasks` | what it wants to be called for, and what it does in the background |
//! | `serve_test` | the same application served in its own tests |
//! | `run` | the serving core: accept, spawn, drain |
//! | `accept` | the listening sockets |
//! | `protocols` | what a connection speaks, and how that is found out |
//! | `preamble`, `proxy` | the PROXY protocol, before everything else |
//! | `secure` | TLS |
//! | `serve`, `http2`, `io` | one connection of HTTP/1 or HTTP/2: hyper, and the stream under it |
//! | `guard`, `guarded` | what hyper may read: strict framing and header policy, of HTTP/2 too, and refusals |
//! | `policy`, `conduct`, `client` | what the settings say about requests; what is known of a connection; who sent a request |
//! | `pace` | how slowly bodies and responses may go |
//! | `body` | the body of a request, as the application gets it |
//! | `count` | requests on their way through the application, counted; its failures contained |
//! | `registry` | open connections and their time limits |
//! | `shared` | what all of these share |
//! | `timers` | heartbeat and sweep |
//! | `ebb` | when memory goes back to the kernel |
//! | `drain` | the policy of leaving: no clock, no socket |
//! | `wishes`, `lifeline` | signals, and the death of the master |
//! | `log` | log lines, counted, with the request and the trace they are about |
//! | `events` | what the application says through `tracing` |
//! | `panics` | panics of the application, caught and told |
//! | `telemetry` | spans and metrics by OTLP |
//!
//! A request costs no system call, lock or timer beyond those of hyper and tokio.

mod accept;
mod access;
mod address;
mod arm;
mod balance;
mod body;
mod boot;
mod client;
mod conduct;
mod context;
mod count;
mod drain;
mod ebb;
mod error;
#[cfg_attr(not(feature = "tracing"), path = "no_events.rs")]
mod events;
mod guard;
mod guarded;
mod handoff;
mod hooks;
mod http2;
mod io;
mod lanes;
mod lifeline;
mod log;
mod log_channel;
mod pace;
mod panics;
mod policy;
mod preamble;
mod protocols;
mod proxy;
mod registry;
mod run;
mod secure;
mod serve;
mod serve_test;
mod shared;
mod tasks;
mod telemetry;
#[cfg(test)]
mod testing;
mod timers;
mod turns;
mod wishes;

pub use address::Address;
pub use body::{Body, BodyError};
pub use boot::{run_local, run_threaded};
pub use client::Client;
pub use context::Context;
pub use count::BoxError;
#[doc(hidden)] // for the facade
pub use count::chain;
pub use error::{Error, Mistake};
#[cfg(feature = "tracing")]
pub use events::tracing_layer;
pub use handoff::{Handoff, HandoffError};
pub use hooks::{Farewell, Hooks, WorkerExit};
/// The telemetry API, in the version that [`Context::tracer`] and [`Context::meter`] speak.
pub use opentelemetry;
/// What [`Context::tracer`] gives.
pub use opentelemetry_sdk::trace::SdkTracer as Tracer;
pub use secure::Tls;
pub use serve_test::{TestCounts, TestEnd, TestServer, serve_test};
#[doc(hidden)] // for the example that the app package ships; not part of what users are promised
pub use telemetry::Companion;
pub use telemetry::Route;
