//! The `rustcorn` program: a master for the built-in handlers, or for programs built on the rustcorn crate.

fn main() -> std::process::ExitCode {
    rustcorn::builtin::main()
}
