//! Benchmarks of rustcorn against its peers, both sides in one run. Prints tables; judges nothing. See `bench/README.md`.

mod instructions;
mod load;
mod options;
mod procfs;
mod server;
mod sink;
mod suites;
mod syscalls;
mod table;
mod wrk;

use std::process::ExitCode;

use options::{Options, USAGE};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let result = Options::parse(std::env::args().skip(1)).and_then(|options| match options {
        Some(options) => suites::run(&options),
        None => {
            print!("{USAGE}");
            Ok(())
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}
