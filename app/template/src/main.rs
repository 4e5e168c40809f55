//! The program: master and worker in one. `cargo run -- app.toml` serves.

use std::process::ExitCode;

use {{crate}}::{Config, router};

fn main() -> ExitCode {
    // Called once in each worker. Whatever a worker shares among its requests, such as a pool of connections, is made here.
    rustcorn::run(|ctx| async move {
        let config: Config = ctx.config()?; // mistakes name file and line
        tracing::info!(greeting = config.greeting, "loaded");
        Ok(router(config))
    })
}
