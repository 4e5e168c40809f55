//! From a handoff to a serving worker, and from its end to an exit code.

use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use std::{fmt, io};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use rustcorn_config::Settings;
use rustcorn_scoreboard::{Siblings, State, Threads, Writer};
use rustcorn_sys::fd::raise_descriptor_limit;
use rustcorn_sys::log::{Level, Panic, describe_process, line, set_format, set_level, syslog};
use rustcorn_sys::{Monotonic, Pid};
use rustcorn_tls::Material;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tower_service::Service;

use crate::accept::Acceptors;
use crate::context::Context;
use crate::count::{BoxError, chain};
use crate::drain::Times;
use crate::events::Stream;
use crate::handoff::{Handoff, Ready};
use crate::lanes::{HANDOVER, LanePlan, arrange};
use crate::lifeline::Lifeline;
use crate::log;
use crate::log_channel::LogChannel;
use crate::panics::{contained, say_panics};
use crate::policy::Policy;
use crate::protocols::{Protocols, Spawns};
use crate::run::{Core, Ended, Local, Plan, Threaded, Timer};
use crate::shared::{Shared, Waits};
use crate::telemetry::{QUICK_FLUSH, Telemetry};
use crate::timers::{beat_and_sweep, tick};
use crate::turns::Turns;
use crate::wishes::OsWishes;

/// Runs a worker on one thread; nothing of the application has to be `Send`. Returns when the worker is done: 0 stopped as
/// asked, 3 could not boot, 4 the application refused to load.
///
/// `make` builds the service, in the runtime and after the worker's settings are known. Each request gets a clone of it.
pub fn run_local<F, Fut, S, B>(handoff: Handoff, make: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let threads = handoff.settings.threads;
    if threads > 1 {
        let refusal = format!("threads = {threads} needs an application started with run_threaded; set threads = 1");
        return exit(&Boot::start(handoff).and_then(|boot| boot.fail(Failure::Refused(refusal))));
    }
    exit(&Boot::start(handoff).and_then(|boot| boot.local(make)))
}

/// As [`run_local`], on as many threads as the setting `threads` says.
pub fn run_threaded<F, Fut, S, B>(handoff: Handoff, make: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    if handoff.settings.threads <= 1 {
        return run_local(handoff, make); // no price for threads that there are not
    }
    exit(&Boot::start(handoff).and_then(|boot| boot.threaded(make)))
}

fn exit(result: &Result<(), Failure>) -> ExitCode {
    line(Level::Info, format_args!("Worker exiting (pid: {})", Pid::this()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Boot(_)) => ExitCode::from(3),
        Err(Failure::Refused(_)) => ExitCode::from(4),
    }
}

/// Why a worker does not serve. Exit codes 3 and 4, as in gunicorn.
#[derive(Debug)]
enum Failure {
    /// Something between master and worker is broken.
    Boot(String),
    /// The application does not want to.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot(reason) | Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// Words an error of the operating system.
fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Boot(format!("cannot {what}: {error}"))
}

/// A worker that does not serve yet.
struct Boot {
    settings: Settings,
    tls: Option<Material>,
    context: Context,
    draining: watch::Sender<bool>,
    listeners: Vec<std::os::fd::OwnedFd>,
    lanes: Option<LanePlan>,
    /// Until it accepts.
    turns: Option<Turns>,
    shared: Arc<Shared>,
    ready: Ready,
    /// The master may give it another log file.
    reopens: bool,
    lifeline: Lifeline,
    orphaned: oneshot::Receiver<()>,
}

impl Boot {
    /// What comes before the application.
    fn start(handoff: Handoff) -> Result<Self, Failure> {
        let Handoff { slot, generation, listeners, lanes, scoreboard, lifeline, ready, log, settings, tls } = handoff;
        set_level(settings.loglevel);
        set_format(settings.log_format);
        describe_process(vec![
            ("role".into(), "worker".into()),
            ("slot".into(), slot.into()),
            ("generation".into(), generation.into()),
        ]);
        say_panics();
        syslog::set(settings.syslog_plan());
        log::traces_are_in(std::env::var("GOOGLE_CLOUD_PROJECT").ok());
        line(Level::Info, format_args!("Booting worker with pid: {}", Pid::this()));
        if let Err(error) = raise_descriptor_limit() {
            line(Level::Debug, format_args!("Cannot raise the limit of open files: {error}"));
        }
        let prepare = || {
            let threads = if settings.threads > 1 { Threads::Many } else { Threads::One };
            let siblings = Siblings::attach(scoreboard.as_fd()).map_err(cannot("open the scoreboard"))?;
            let writer = Writer::attach(scoreboard, slot, threads).map_err(cannot("open the scoreboard"))?;
            writer.boot(Pid::this(), generation);
            let shared = Shared::new(writer, Policy::new(&settings), Waits::of(&settings));
            log::count_on(&shared);
            if let Some(telemetry) = Telemetry::start(&settings, slot, &shared).map_err(Failure::Boot)? {
                telemetry.publish();
                shared.observe_with(telemetry);
            }
            let flush = if settings.exports_telemetry() { settings.otlp_flush_timeout } else { Duration::ZERO };
            let patience = settings.graceful_timeout + flush;
            let log = log.map(|channel| LogChannel::new(channel, &ready, settings.capture_output));
            let log = log.transpose().map_err(cannot("copy a descriptor"))?;
            let reopens = log.is_some();
            let lifeline = Lifeline::watch(lifeline, log, patience).map_err(cannot("start a thread"))?;
            Ok((shared, Turns::new(siblings, slot), lifeline, reopens))
        };
        let (shared, turns, (lifeline, orphaned), reopens) =
            prepare().inspect_err(|failure| report(&ready, failure))?;
        let (draining, receiver) = watch::channel(false);
        let context =
            Context { slot, generation, app: settings.app.clone(), draining: receiver, shared: Arc::clone(&shared) };
        let turns = Some(turns);
        Ok(Self {
            settings,
            tls,
            context,
            draining,
            listeners,
            lanes,
            turns,
            shared,
            ready,
            reopens,
            lifeline,
            orphaned,
        })
    }

    fn fail<T>(self, failure: Failure) -> Result<T, Failure> {
        report(&self.ready, &failure);
        Err(failure)
    }

    fn local<F, Fut, S, B>(self, make: F) -> Result<(), Failure>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<S, BoxError>>,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
        S::Future: 'static,
        S::Error: Into<BoxError>,
        B: Body + 'static,
        B::Error: Into<BoxError>,
    {
        let runtime = match Builder::new_current_thread().enable_all().build_local(Default::default()) {
            Ok(runtime) => runtime,
            Err(error) => return self.fail(cannot("start the runtime")(error)),
        };
        let flush = self.flush();
        let result = runtime.block_on(self.serve(make, Local));
        runtime.shutdown_background(); // what an application left on blocking threads does not hold up the exit
        flush(&result?); // after the runtime, and with it the last request, is gone
        Ok(())
    }

    fn threaded<F, Fut, S, B>(self, make: F) -> Result<(), Failure>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<S, BoxError>>,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let runtime = match Builder::new_multi_thread().worker_threads(self.settings.threads).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.fail(cannot("start the runtime")(error)),
        };
        let flush = self.flush();
        let result = runtime.block_on(self.serve(make, Threaded));
        runtime.shutdown_background(); // as above
        flush(&result?); // as above
        Ok(())
    }

    /// Sends the telemetry that is left, once serving has ended.
    fn flush(&self) -> impl FnOnce(&Ended) + use<> {
        let (shared, limit) = (Arc::clone(&self.shared), self.settings.otlp_flush_timeout);
        move |ended| {
            if let Some(telemetry) = shared.telemetry() {
                telemetry.finish(if *ended == Ended::Quit { limit.min(QUICK_FLUSH) } else { limit });
            }
        }
    }

    /// Builds the application, then serves until the end. Until the application is built, signals have their default
    /// actions: there is nothing to lose yet, and an application that blocks while it is built must not outlive a TERM.
    async fn serve<F, Fut, S, B, X>(mut self, make: F, executor: X) -> Result<Ended, Failure>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<S, BoxError>>,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone,
        S::Error: Into<BoxError>,
        B: Body + 'static,
        B::Error: Into<BoxError>,
        X: Spawns<S, B> + Executor<Timer>,
    {
        let stream = Stream::open(self.context.slot == 0);
        let service = match build(make, self.context.clone(), &stream).await {
            Ok(service) => service,
            Err(failure) => return self.fail(failure),
        };
        stream.publish();
        let core = match self.core(service, executor) {
            Ok(core) => core,
            Err(failure) => {
                report(&self.ready, &failure);
                return Err(failure);
            }
        };
        let (quota, jitter) = (self.settings.max_requests, self.settings.max_requests_jitter);
        if quota > 0
            && let Err(error) = core.shared.limit_requests(quota + fastrand::u64(0..=jitter), &self.ready)
        {
            return self.fail(cannot("copy a descriptor")(error));
        }
        core.shared.writer.beat(Monotonic::now());
        core.shared.writer.set_state(State::Ready);
        self.lifeline.serves();
        self.ready.ready();
        let leaves = || {
            self.ready.leaving();
            self.draining.send_replace(true);
        };
        Ok(core.run(leaves).await)
    }

    /// Arms everything that serving needs.
    fn core<S, X>(&mut self, service: S, executor: X) -> Result<Core<S, X, OsWishes>, Failure>
    where
        X: Executor<Timer> + Clone,
    {
        let (settings, shared) = (&self.settings, &self.shared);
        let orphaned = std::mem::replace(&mut self.orphaned, oneshot::channel().1);
        let log = self.reopens.then(|| self.ready.try_clone()).transpose().map_err(cannot("copy a descriptor"))?;
        let wishes = OsWishes::listen(orphaned, log).map_err(cannot("listen to signals"))?;
        let lanes = self.lanes.take();
        let handover = if lanes.is_some() { HANDOVER.min(settings.graceful_timeout / 2) } else { Duration::ZERO };
        let arranged = arrange(std::mem::take(&mut self.listeners), lanes);
        let (shared_by_all, lanes) = arranged.map_err(cannot("use a listening socket"))?;
        let mut acceptors = Acceptors::new(shared_by_all, lanes);
        if let Some(turns) = self.turns.take() {
            acceptors.take_turns(turns);
        }
        let protocols = Protocols::new(settings, &shared.policy.rules, self.tls.as_ref(), executor.clone());
        let protocols = protocols.map_err(Failure::Boot)?;
        let tick = tick(&[&[settings.timeout][..], &Waits::of(settings).all()].concat());
        executor.execute(Box::pin(beat_and_sweep(Arc::clone(shared), tick)));
        Ok(Core {
            shared: Arc::clone(shared),
            acceptors,
            service,
            executor,
            protocols,
            wishes,
            plan: Plan {
                worker_connections: settings.worker_connections,
                // The kernel queues one more than the backlog, and holds as many handshakes under way.
                queued: 2 * (settings.backlog as usize + 1),
                times: Times {
                    graceful_timeout: settings.graceful_timeout,
                    drain_delay: settings.drain_delay,
                    handover,
                },
            },
        })
    }
}

/// Tells the master, and with it the operator, why this worker does not come up.
fn report(ready: &Ready, failure: &Failure) {
    line(Level::Error, format_args!("Worker (pid: {}) failed to boot: {failure}", Pid::this()));
    ready.failed(&failure.to_string());
}

/// Builds the application. That it panics is a refusal like any other.
async fn build<F, Fut, S>(make: F, context: Context, stream: &Stream) -> Result<S, Failure>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
{
    let refused = |panic: Box<Panic>| {
        if !panic.stack().is_empty() {
            panic.say(Vec::new()); // the reason goes through a pipe to the master, where it would be too long
        }
        Failure::Refused(format!("the application {}", panic.words()))
    };
    // Unwind safe: after a panic nothing of the application is used again.
    let made = contained(|| stream.hears(|| make(context)));
    let mut future = pin!(made.map_err(refused)?);
    let built = poll_fn(|cx| match contained(|| stream.hears(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(built)) => Poll::Ready(built.map_err(|error| Failure::Refused(chain(&*error)))),
        Err(panic) => Poll::Ready(Err(refused(panic))),
    });
    built.await
}

#[cfg(test)]
mod tests;
