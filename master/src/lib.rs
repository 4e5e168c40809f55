//! The rustcorn master: supervises workers, owns the sockets, reports metrics.
//!
//! One thread, one blocking call, no async runtime and no HTTP. [`fleet`] decides (and [`admin`], for the admin process); `os_world` turns what happens into its
//! events and its actions into system calls. The seam between the two is [`fleet::Event`] and [`fleet::Action`].

pub mod admin;
mod control;
mod daemon;
mod dev;
pub mod fleet;
mod heritage;
pub mod hooks;
mod identity;
mod lanes;
mod listeners;
mod log_counts;
pub mod notice;
mod os_world;
mod pidfile;
pub mod statsd;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;

use rustcorn_config::{Invocation, Loaded, Mode};
use rustcorn_sys::daemon::Detached;

use daemon::{Part, detach_if_asked};
pub use heritage::is_heir;
pub use hooks::Hooks;
pub use os_world::{Launch, Program, Resolve};

/// Everything a master does, from the command line (the program's name first) to the exit code: 0 stopped as asked, 1
/// configuration or bind error, 2 bad command line, 3 workers failed to boot, 4 the application refused to load.
pub fn main(args: impl IntoIterator<Item = OsString>, resolve: Resolve, hooks: Hooks) -> ExitCode {
    let invocation = match Invocation::from_args(args, std::env::vars_os()) {
        Ok(invocation) => invocation.called_in(std::env::current_dir().unwrap_or_default()),
        Err(usage) => return usage.report(),
    };
    let outcome = match invocation.mode() {
        Mode::Run => match detach_if_asked(&invocation) {
            Ok(Part::Caller(code)) => Ok(code),
            Ok(Part::Master(daemon)) => {
                let code = told(run(invocation, resolve, hooks, daemon.clone()));
                if let Some(daemon) = daemon {
                    daemon.tell(code); // unless its start was over long ago
                }
                return ExitCode::from(code);
            }
            Err(refusal) => Err(refusal),
        },
        Mode::CheckConfig => {
            check(&invocation, &resolve).and_then(|loaded| print(&(invocation.check_message(&loaded.settings) + "\n")))
        }
        Mode::PrintConfig => check(&invocation, &resolve).and_then(|loaded| print(&loaded.print_config())),
    };
    ExitCode::from(told(outcome))
}

/// The exit code, after everybody could read what is wrong.
fn told(outcome: Result<u8, os_world::Refusal>) -> u8 {
    outcome.unwrap_or_else(|refusal| {
        for line in refusal.to_string().lines() {
            // One write, since the heir of a master is not the only one who writes there. Where nobody can be told, the exit code
            // still tells.
            let _ = std::io::stderr().write_all(format!("Error: {line}\n").as_bytes());
        }
        refusal.exit_code
    })
}

fn print(text: &str) -> Result<u8, os_world::Refusal> {
    let printed = std::io::stdout().write_all(text.as_bytes());
    printed.map(|()| 0).map_err(|error| format!("cannot write to standard output: {error}").into())
}

/// The configuration, if it is good.
fn check(invocation: &Invocation, resolve: &Resolve) -> Result<Loaded, os_world::Refusal> {
    let loaded = invocation.load()?;
    os_world::check(&loaded)?;
    resolve(&loaded.settings.app)?;
    Ok(loaded)
}

fn run(
    invocation: Invocation,
    resolve: Resolve,
    hooks: Hooks,
    daemon: Option<Rc<Detached>>,
) -> Result<u8, os_world::Refusal> {
    let beginning = heritage::Beginning::from_env().map_err(os_world::Refusal::from)?;
    let (mut world, plan, birth) = os_world::OsWorld::start(invocation, resolve, hooks, beginning, daemon)?;
    let mut fleet = fleet::Fleet::new(plan, birth);
    loop {
        // The master stays alive through anything but the loss of its own wait: workers are then told by the lifeline.
        let events =
            world.wait(fleet.next_deadline(world.now())).map_err(|error| format!("the master cannot wait: {error}"))?;
        for event in events {
            if let Some(code) = act(&mut fleet, &mut world, event) {
                return Ok(code);
            }
        }
        // Read now: what there was to do may have taken long (a load, a hook), and all that time workers gave signs of life.
        let beats = world.beats();
        if let Some(code) =
            act(&mut fleet, &mut world, beats).or_else(|| act(&mut fleet, &mut world, fleet::Event::Tick))
        {
            return Ok(code);
        }
        if fleet.has_started() {
            world.serves();
        }
    }
}

/// Lets the policy decide about an event, and does what it wants. The exit code, if that was the last action.
fn act(fleet: &mut fleet::Fleet, world: &mut os_world::OsWorld, event: fleet::Event) -> Option<u8> {
    let actions = fleet.step(world.now(), event);
    world.publish(&fleet.figures());
    actions.into_iter().find_map(|action| world.apply(action))
}
