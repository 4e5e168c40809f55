//! A worker for an unmodified Locust master. From the wire up: [`zmtp`] frames, [`wire`] messages, [`session`] decides, [`worker`] acts.

pub(crate) mod args;
mod connection;
mod health;
pub mod locustfile;
mod measured;
pub mod notice;
pub mod rounding;
pub mod session;
pub mod wire;
pub mod worker;
pub mod zmtp;
