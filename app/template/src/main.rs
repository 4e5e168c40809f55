//! The program: master and worker in one. `cargo run -- app.toml` serves.

use std::process::ExitCode;

use {{crate}}::service;

fn main() -> ExitCode {
    rustcorn::run(service)
}
