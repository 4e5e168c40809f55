//! A load generator: closed loop (users) and open loop (arrivals at a rate, latency from the intended start), for
//! HTTP/1.1, HTTP/2 and TLS, with full histograms.
//!
//! It depends on no other crate of the workspace: it measures from outside. A [`Scenario`] says what to send, an [`Engine`]
//! sends it, and [`Engine::take`] says what happened since the last time.

pub mod cli;
pub mod engine;
pub mod locust;
mod overrides;
pub mod problem;
pub mod progress;
pub mod report;
pub mod run;
pub mod scenario;
pub mod stats;
pub mod thresholds;
mod verdict;

pub use engine::{Engine, EngineOptions};
pub use problem::{Problem, Problems};
pub use scenario::Scenario;
pub use stats::Interval;
