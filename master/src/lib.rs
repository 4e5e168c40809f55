//! The rustcorn master: supervises workers, owns the sockets, reports metrics.
//!
//! One thread, one blocking call, no async runtime and no HTTP. [`fleet`] decides (and [`admin`], for the admin process); `os_world` turns what happens into its
//! events and its actions into system calls. The seam between the two is [`fleet::Event`] and [`fleet::Action`].

pub mod admin;
mod dev;
pub mod fleet;
mod heritage;
mod listeners;
mod log_counts;
pub mod notice;
mod os_world;
pub mod statsd;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use rustcorn_config::{Invocation, Mode};

pub use heritage::is_heir;
pub use os_world::{Launch, Program, Resolve};

/// Everything a master does, from the command line (the program's name first) to the exit code: 0 stopped as asked, 1
/// configuration or bind error, 2 bad command line, 3 workers failed to boot, 4 the application refused to load.
pub fn main(args: impl IntoIterator<Item = OsString>, resolve: Resolve) -> ExitCode {
    let invocation = match Invocation::from_args(args, std::env::vars_os()) {
        Ok(invocation) => invocation,
        Err(usage) => return usage.report(),
    };
    let outcome = match invocation.mode() {
        Mode::Run => run(invocation, resolve),
        Mode::CheckConfig => check(&invocation, &resolve).and_then(|_| print(&(invocation.check_message() + "\n"))),
        Mode::PrintConfig => check(&invocation, &resolve).and_then(|config| print(&config)),
    };
    ExitCode::from(outcome.unwrap_or_else(|refusal| {
        for line in refusal.to_string().lines() {
            // Where nobody can be told, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "Error: {line}");
        }
        refusal.exit_code
    }))
}

fn print(text: &str) -> Result<u8, os_world::Refusal> {
    let printed = std::io::stdout().write_all(text.as_bytes());
    printed.map(|()| 0).map_err(|error| format!("cannot write to standard output: {error}").into())
}

/// The effective configuration as TOML, if it is good.
fn check(invocation: &Invocation, resolve: &Resolve) -> Result<String, os_world::Refusal> {
    let loaded = invocation.load()?;
    resolve(&loaded.settings.app)?;
    Ok(loaded.print_config())
}

fn run(invocation: Invocation, resolve: Resolve) -> Result<u8, os_world::Refusal> {
    let beginning = heritage::Beginning::from_env().map_err(os_world::Refusal::from)?;
    let (mut world, plan, birth) = os_world::OsWorld::start(invocation, resolve, beginning)?;
    let mut fleet = fleet::Fleet::new(plan, birth);
    loop {
        // The master stays alive through anything but the loss of its own wait: workers are then told by the lifeline.
        let events =
            world.wait(fleet.next_deadline(world.now())).map_err(|error| format!("the master cannot wait: {error}"))?;
        for event in events {
            let actions = fleet.step(world.now(), event);
            world.publish(&fleet.figures());
            for action in actions {
                if let Some(code) = world.apply(action) {
                    return Ok(code);
                }
            }
        }
    }
}
