//! The handlers of the `rustcorn` program itself, chosen by `handler` in `[app]`; and the example of a program beside it.

mod custom_metrics;
#[cfg(feature = "static")]
mod files;
mod hello;
mod new;

pub use custom_metrics::custom_metrics_example;

use std::process::ExitCode;

use opentelemetry::KeyValue;
use rustcorn_config::{App, AppSpec, Problems, unknown};
use rustcorn_master::{Launch, Program};
use rustcorn_worker::{Handoff, Hooks};

use crate::{BoxError, as_worker_or_master, launch_command};

const HELLO: &str = "hello";
const STATIC: &str = "static";
const ALL: [&str; 2] = [HELLO, STATIC];

/// The whole program: master of a built-in handler or of a `command`, and worker of a built-in handler; and `rustcorn new`.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(wish) = new::Wish::from_args(std::env::args_os().skip(1)) {
        return wish.fulfil();
    }
    let code = as_worker_or_master(worker, launch, rustcorn_master::Hooks::default());
    if std::env::args_os().any(|word| word == "--help" || word == "-h") {
        new::mention();
    }
    code
}

/// The handler is the one that the master was configured for.
fn worker(handoff: Handoff) -> ExitCode {
    match handoff.app().spec() {
        #[cfg(feature = "static")]
        Ok(AppSpec::Handler(name)) if name == STATIC => {
            rustcorn_worker::run_threaded(handoff, Hooks::default(), |ctx| async move { files::service(ctx.app()) })
        }
        _ => rustcorn_worker::run_threaded(handoff, Hooks::default(), |ctx| async move {
            Ok::<_, BoxError>(hello::Hello::new(hello::Config::read(ctx.app())?, &ctx.meter()))
        }),
    }
}

/// A mistake in a handler's own keys is found here, by the master, before any worker is started.
fn launch(app: &App) -> Result<Launch, Problems> {
    match app.spec()? {
        AppSpec::Handler(name) if name == HELLO => {
            hello::Config::read(app)?;
            Ok(Launch { name, program: Program::ThisImage, foreign: None })
        }
        #[cfg(feature = "static")]
        AppSpec::Handler(name) if name == STATIC => {
            files::Config::read(app)?;
            Ok(Launch { name, program: Program::ThisImage, foreign: None })
        }
        #[cfg(not(feature = "static"))]
        AppSpec::Handler(name) if name == STATIC => {
            let text = "this program was built without the handler; build it with the feature \"static\"";
            Err(app.problem("handler", text).into())
        }
        AppSpec::Handler(name) => Err(app.problem("handler", &unknown("handler", &name, &ALL)).into()),
        AppSpec::Command(words) => Ok(launch_command(words, None)),
        AppSpec::Foreign { command, ready } => Ok(launch_command(command, Some(ready))),
        AppSpec::Own => Err(app.undecided().into()),
    }
}

/// Labels of the examples' metrics, from the variables `APP` and `ENVIRONMENT`.
fn labels() -> [KeyValue; 2] {
    [("app", "APP"), ("environment", "ENVIRONMENT")]
        .map(|(key, variable)| KeyValue::new(key, std::env::var(variable).unwrap_or_else(|_| "unknown".to_owned())))
}
