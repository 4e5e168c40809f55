//! A service that writes down when it is called for what, and whose hooks and background tasks misbehave on request. The
//! black-box tests run it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use rustcorn::{BoxError, Configuration, Context, Server, WorkerExit};
use serde::Deserialize;

/// Keys of `[app]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The file with a line for each call.
    notes: PathBuf,
    /// By hook: `refuses`, `panics`, `dawdles` (1.1 seconds), `sleeps` (2.5 seconds) or `stays`.
    #[serde(default)]
    misbehaves: HashMap<String, String>,
    /// What the background task does: `nothing` (there is none), `drains`, `stays` or `panics`.
    #[serde(default)]
    task: Option<String>,
}

fn main() -> ExitCode {
    Server::new(service)
        .on_starting(|configuration| look(configuration)?.call("on_starting", ""))
        .on_ready(|configuration| {
            let ready = look(configuration).and_then(|config| config.call("on_ready", ""));
            ready.expect("it was read before, and cannot refuse");
        })
        .on_reload(|old, new| {
            look(old)?;
            look(new)?.call("on_reload", &old.changes(new).join(","))
        })
        .worker_init(|ctx| {
            let config: Config = ctx.config()?;
            config.call("worker_init", &ctx.slot().to_string())
        })
        .worker_exit(leave)
        .worker_hang(|hang| {
            let work: Vec<_> = hang.busy_with().map(|(what, _)| what).collect();
            let alive = Path::new(&format!("/proc/{}", hang.pid())).exists();
            let facts = format!("{} {} alive={alive} {}", hang.slot(), hang.pid(), work.join(","));
            note(Path::new("notes"), "worker_hang", &facts);
        })
        .run_threaded()
}

fn look(configuration: &Configuration<'_>) -> Result<Config, BoxError> {
    Ok(configuration.app()?)
}

impl Config {
    /// Writes a call down, and does what the hook is to do.
    fn call(&self, hook: &str, facts: &str) -> Result<(), BoxError> {
        note(&self.notes, hook, facts);
        match self.misbehaves.get(hook).map(String::as_str) {
            Some("refuses") => Err(format!("{hook} was told to refuse").into()),
            Some("panics") => panic!("{hook} was told to panic"),
            Some("dawdles") => {
                pause(1100);
                Ok(())
            }
            Some("sleeps") => {
                pause(2500);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "taking time is what is asked for")]
fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Never gives the thread back to the runtime.
fn block() -> ! {
    loop {
        std::thread::park(); // may wake for no reason
    }
}

/// A line of the notes: what, in which process, and what is known.
fn note(notes: &Path, what: &str, facts: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(notes).expect("the test made the folder");
    let line = format!("{what} {} {facts}\n", std::process::id()); // one write, so that lines of several processes do not mix
    file.write_all(line.as_bytes()).expect("the test's disk has room");
}

async fn leave(exit: WorkerExit) {
    let config: Config = exit.context().config().expect("it was read before");
    config.call("worker_exit", &format!("{:?}", exit.farewell())).expect("it cannot refuse");
    if config.misbehaves.get("worker_exit").is_some_and(|what| what == "stays") {
        std::future::pending::<()>().await;
    }
}

async fn service(
    ctx: Context,
) -> Result<
    impl tower_service::Service<Request<rustcorn::Body>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
    + Clone
    + Send,
    BoxError,
> {
    let config: Config = ctx.config()?;
    note(&config.notes, "built", &ctx.threads().to_string());
    if let Some(task) = config.task.clone() {
        let (not_send, notes, drained) = (Rc::new("drained"), config.notes.clone(), ctx.drained());
        ctx.spawn("caretaker", async move {
            match task.as_str() {
                "stays" => std::future::pending().await,
                "panics" => panic!("told to panic"),
                _ => drained.await,
            }
            note(&notes, &not_send, "");
        });
    }
    Ok(tower::service_fn(move |request: Request<rustcorn::Body>| {
        let (ctx, notes) = (ctx.clone(), config.notes.clone());
        async move {
            match request.uri().path() {
                "/block" => block(),
                "/block-later" => ctx.spawn_threaded("blocker", async { block() }),
                "/later" => {
                    let draining = ctx.draining();
                    ctx.spawn_threaded("later", async move {
                        draining.await;
                        note(&notes, "later", "");
                    });
                }
                _ => {}
            }
            Ok(Response::new(Full::from(std::process::id().to_string())))
        }
    }))
}
