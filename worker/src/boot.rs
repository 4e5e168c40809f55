//! From a handoff to a serving worker, and from its end to an exit code.

mod failure;

use std::future::{Future, poll_fn};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use rustcorn_config::Settings;
use rustcorn_scoreboard::{Siblings, State, Threads, Writer};
use rustcorn_sys::fd::raise_descriptor_limit;
use rustcorn_sys::log::{Level, Panic, describe_process, line, set_format, set_level, syslog};
use rustcorn_sys::{Monotonic, Pid};
use rustcorn_tls::Material;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tower_service::Service;

use self::failure::{Failure, cannot, exit, report};
use crate::accept::Acceptors;
use crate::access::{AccessLog, Flushed, target};
use crate::address::Address;
use crate::arm::Arms;
use crate::body::Body as RequestBody;
use crate::context::Context;
use crate::count::{BoxError, chain};
use crate::error::Error;
use crate::events::Stream;
use crate::handoff::{Handoff, Ready};
use crate::hooks::Hooks;
use crate::lanes::{HANDOVER, LanePlan, arrange};
use crate::lifeline::Lifeline;
use crate::log;
use crate::log_channel::LogChannel;
use crate::panics::{contained, say_panics};
use crate::policy::Policy;
use crate::protocols::Spawns;
use crate::run::{Core, End, Ended, Local, Runs, Threaded, Timer};
use crate::shared::{Shared, Waits};
use crate::telemetry::{QUICK_FLUSH, Telemetry};
use crate::turns::Turns;
use crate::wishes::OsWishes;

/// Runs a worker on one thread; nothing of the application has to be `Send`. Returns when the worker is done: 0 stopped as
/// asked, 3 could not boot, 4 the application refused to load.
///
/// `make` builds the service, in the runtime and after the worker's settings are known. Each request gets a clone of it.
pub fn run_local<F, Fut, S, B>(handoff: Handoff, hooks: Hooks, make: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + 'static,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let threads = handoff.settings.threads;
    if threads > 1 {
        let refusal = format!("threads = {threads} needs an application started with run_threaded; set threads = 1");
        return exit(&Boot::start(handoff, hooks).and_then(|boot| boot.fail(Failure::Refused(refusal))));
    }
    exit(&Boot::start(handoff, hooks).and_then(Boot::init).and_then(|boot| boot.local(make)))
}

/// As [`run_local`], on as many threads as the setting `threads` says.
pub fn run_threaded<F, Fut, S, B>(handoff: Handoff, hooks: Hooks, make: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    if handoff.settings.threads <= 1 {
        return run_local(handoff, hooks, make); // no price for threads that there are not
    }
    exit(&Boot::start(handoff, hooks).and_then(Boot::init).and_then(|boot| boot.threaded(make)))
}

/// A worker that does not serve yet.
struct Boot {
    settings: Settings,
    tls: Option<Material>,
    context: Context,
    hooks: Hooks,
    stream: Stream,
    draining: watch::Sender<bool>,
    listeners: Vec<OwnedFd>,
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
    fn start(handoff: Handoff, hooks: Hooks) -> Result<Self, Failure> {
        let Handoff { slot, generation, listeners, lanes, scoreboard, lifeline, ready, log, access, settings, tls } =
            handoff;
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
            let mut logs: Vec<LogChannel> = log.into_iter().collect();
            if settings.logs_access() {
                let (target, channel) = target(&settings, access, &ready).map_err(Failure::Boot)?;
                logs.extend(channel);
                let started = AccessLog::start(&settings, slot, generation, target, &shared);
                started.map_err(cannot("start a thread"))?;
            }
            let last = Flushed(Arc::clone(&shared));
            let addresses = Address::of(&listeners).map_err(cannot("use a listening socket"))?;
            let lifeline =
                Lifeline::watch(lifeline, logs, patience, || drop(last)).map_err(cannot("start a thread"))?;
            Ok((shared, addresses, Turns::new(siblings, slot), lifeline, reopens))
        };
        let (shared, addresses, turns, (lifeline, orphaned), reopens) =
            prepare().inspect_err(|failure| report(&ready, failure))?;
        let (draining, receiver) = watch::channel(false);
        let context = Context::new(slot, generation, &settings, addresses, receiver, &shared);
        let (stream, turns) = (Stream::open(slot == 0), Some(turns));
        Ok(Self {
            settings,
            tls,
            context,
            hooks,
            stream,
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

    /// What the application wants to be done before there is a runtime with threads.
    fn init(mut self) -> Result<Self, Failure> {
        match self.stream.hears(|| self.hooks.init(&self.context)) {
            Ok(()) => Ok(self),
            Err(reason) => self.fail(Failure::Refused(reason)),
        }
    }

    fn fail<T>(self, failure: Failure) -> Result<T, Failure> {
        report(&self.ready, &failure);
        Err(failure)
    }

    fn local<F, Fut, S, B>(self, make: F) -> Result<(), Failure>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<S, BoxError>>,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + 'static,
        S::Future: 'static,
        S::Error: Into<BoxError>,
        B: Body + 'static,
        B::Error: Into<BoxError>,
    {
        let access = Flushed(Arc::clone(&self.shared)); // also if the runtime ends in a panic
        let runtime = match Builder::new_current_thread().enable_all().build_local(Default::default()) {
            Ok(runtime) => runtime,
            Err(error) => return self.fail(cannot("start the runtime")(error)),
        };
        let (flush, shared) = (self.flush(), Arc::clone(&self.shared));
        let result = runtime.block_on(self.serve(make, Local));
        shared.access().iter().for_each(|access| access.cut());
        runtime.shutdown_background(); // what an application left on blocking threads does not hold up the exit
        drop(access); // after the runtime, and with it the last request, is gone
        flush(&result?);
        Ok(())
    }

    fn threaded<F, Fut, S, B>(self, make: F) -> Result<(), Failure>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<S, BoxError>>,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let access = Flushed(Arc::clone(&self.shared)); // as above
        let runtime = match Builder::new_multi_thread().worker_threads(self.settings.threads).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.fail(cannot("start the runtime")(error)),
        };
        let (flush, shared) = (self.flush(), Arc::clone(&self.shared));
        // For background tasks that are not Send.
        let local = LocalSet::new();
        let result = runtime.block_on(local.run_until(self.serve(make, Threaded)));
        drop(local); // and them, before what they may still send
        shared.access().iter().for_each(|access| access.cut());
        runtime.shutdown_background(); // as above
        drop(access); // as above
        flush(&result?);
        Ok(())
    }

    /// Sends the telemetry that is left, once serving has ended.
    fn flush(&self) -> impl FnOnce(&End) + use<> {
        let (shared, limit) = (Arc::clone(&self.shared), self.settings.otlp_flush_timeout);
        move |end| {
            if let Some(telemetry) = shared.telemetry() {
                telemetry.finish(if end.how == Ended::Quit { limit.min(QUICK_FLUSH) } else { limit });
            }
        }
    }

    /// Builds the application, then serves until the end. Until the application is built, signals have their default
    /// actions: there is nothing to lose yet, and an application that blocks while it is built must not outlive a TERM.
    async fn serve<F, Fut, S, B, X>(mut self, make: F, executor: X) -> Result<End, Failure>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<S, BoxError>>,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
        S::Error: Into<BoxError>,
        B: Body + 'static,
        B::Error: Into<BoxError>,
        X: Spawns<S, B> + Runs<Timer>,
    {
        self.shared.tasks.live_here();
        let service = match build(make, self.context.clone(), &self.stream).await {
            Ok(service) => service,
            Err(error) => return self.fail(Failure::Refused(chain(&error))),
        };
        self.stream.publish();
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
        let end = core.run(leaves).await;
        self.hooks.exit(self.context, end).await;
        Ok(end)
    }

    /// Arms everything that serving needs.
    fn core<S, X>(&mut self, service: S, executor: X) -> Result<Core<S, X, OsWishes>, Failure>
    where
        X: Runs<Timer> + Clone,
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
        let arms = Arms { settings, shared, acceptors, tls: self.tls.as_ref(), wishes, handover };
        Core::armed(arms, service, executor).map_err(Failure::Boot)
    }
}

/// Builds the application. That it panics is a refusal like any other.
pub(crate) async fn build<F, Fut, S>(make: F, context: Context, stream: &Stream) -> Result<S, Error>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
{
    let refused = |panic: Box<Panic>| {
        if !panic.stack().is_empty() {
            panic.say(Vec::new()); // the reason goes through a pipe to the master, where it would be too long
        }
        Error::Panicked { message: panic.words() }
    };
    // Unwind safe: after a panic nothing of the application is used again.
    let made = contained(|| stream.hears(|| make(context)));
    let mut future = pin!(made.map_err(refused)?);
    let built = poll_fn(|cx| match contained(|| stream.hears(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(built)) => Poll::Ready(built.map_err(Error::of)),
        Err(panic) => Poll::Ready(Err(refused(panic))),
    });
    built.await
}

#[cfg(test)]
mod tests;
