//! The program; what it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    rustcorn_loadtester::cli::main(std::env::args_os())
}
