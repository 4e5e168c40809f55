//! The service with all hooks there are.

use std::io::Write;
use std::process::ExitCode;

use outside::{Config, service};
use rustcorn::{Farewell, Hanging, Server, WorkerExit};

fn main() -> ExitCode {
    Server::new(service)
        .on_starting(|configuration| {
            let config: Config = configuration.app()?;
            say(&format!("on_starting: {} workers say {}", configuration.workers(), config.greeting));
            Ok(())
        })
        .on_ready(|configuration| say(&format!("on_ready: {:?}", configuration.setting("workers"))))
        .on_reload(|old, new| {
            let (before, after): (Config, Config) = (old.app()?, new.app()?);
            say(&format!("on_reload: {} to {}, {:?}", before.greeting, after.greeting, old.changes(new)));
            if after.greeting.is_empty() { Err(new.mistake("greeting", "say something").into()) } else { Ok(()) }
        })
        .worker_init(|ctx| {
            say(&format!("worker_init: {}", ctx.slot()));
            Ok(())
        })
        .worker_exit(async |exit: WorkerExit| {
            say(&format!("worker_exit: {} {}", exit.context().slot(), exit.farewell() == Farewell::Drained));
        })
        .worker_hang(|hanging: &Hanging<'_>| {
            let busy: Vec<&str> = hanging.busy_with().map(|(what, _)| what).collect();
            say(&format!("worker_hang: {} {busy:?} {}", hanging.slot(), hanging.silent().as_secs() < 60));
        })
        .run_threaded()
}

/// In one piece: several processes write to one log.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("somebody listens");
}
