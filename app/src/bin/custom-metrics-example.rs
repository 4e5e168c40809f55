//! A program beside the server that sends a metric of its own.

fn main() -> std::process::ExitCode {
    rustcorn::builtin::custom_metrics_example()
}
