//! gRPC: what tonic's routes are, is a service. Without one in it, each method is one that it does not have.

use std::process::ExitCode;

use tonic::service::Routes;

fn main() -> ExitCode {
    rustcorn::run_threaded(|_ctx| async { Ok(Routes::default()) })
}
