//! The process: accepts, serves each connection for a while, and leaves when told or when the master is gone.

use std::convert::Infallible;
use std::fs::File;
use std::future::{pending, poll_fn, ready};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustcorn_scoreboard::View;
use rustcorn_sys::Pid;
use rustcorn_sys::log::file::take_next;
use rustcorn_sys::log::{Level, describe_process, line, say_panics, set_format, set_level, syslog};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe::Receiver;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::handoff::{Handoff, HandoffError};
use crate::history::INTERVAL;
use crate::site::Site;

/// Connections at a time. One more, and the oldest gives way, so that no crowd keeps a probe out.
const MOST: usize = 64;
/// Time to send a request's head, and an idle connection's life.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// A connection's life; a scraper connects anew.
const LIFE: Duration = Duration::from_secs(60);
/// Time to finish an answer when the life is over, or the process is to leave.
const GRACE: Duration = Duration::from_millis(250);
/// Time without accepting after the kernel could not.
const PAUSE: Duration = Duration::from_millis(100);
/// As a worker's that cannot boot.
const FAILED_TO_BOOT: u8 = 3;

/// Runs the admin process. Returns when it was told to leave, or when the master has died.
pub fn main(handoff: Result<Handoff, HandoffError>) -> ExitCode {
    let result = handoff.map_err(|error| error.to_string()).and_then(|handoff| {
        set_level(handoff.words.loglevel);
        set_format(handoff.words.log_format);
        describe_process(vec![("role".into(), "admin".into())]);
        say_panics();
        syslog::set(handoff.words.syslog.clone());
        let mut ready = File::from(handoff.ready.try_clone().map_err(|error| error.to_string())?);
        run(handoff).inspect_err(|reason| {
            // No reader: the master is dead, and there is nobody to tell.
            let _ = writeln!(ready, "FAILED={}", reason.replace(['\n', '\r'], " "));
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            line(Level::Error, format_args!("Admin process (pid: {}) failed: {reason}", Pid::this()));
            ExitCode::from(FAILED_TO_BOOT)
        }
    }
}

fn run(handoff: Handoff) -> Result<(), String> {
    let cannot = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    let master = handoff.ready.try_clone().map_err(cannot("copy a descriptor"))?;
    follow_log(handoff.log, File::from(master)).map_err(cannot("start a thread"))?;
    line(Level::Debug, format_args!("Booting admin process with pid: {}", Pid::this()));
    let view = View::attach(handoff.scoreboard.as_fd()).map_err(cannot("open the scoreboard"))?;
    let site = Site::new(view, handoff.words).ok_or("the master stands still")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    let runtime = runtime.map_err(cannot("start the runtime"))?;
    runtime.block_on(async {
        let wishes = Wishes::listen(handoff.lifeline).map_err(cannot("listen to signals"))?;
        let listener = Listener::new(handoff.listener).map_err(cannot("use the listening socket"))?;
        let mut ready = File::from(handoff.ready);
        ready.write_all(b"READY=1\n").map_err(cannot("tell the master"))?;
        std::mem::forget(ready); // its end-of-file is this process's death
        serve(Rc::new(site), &listener, wishes).await;
        line(Level::Debug, format_args!("Admin process exiting (pid: {})", Pid::this()));
        Ok(())
    })
}

/// Takes the log files that the master gives, as long as there are any.
fn follow_log(channel: OwnedFd, mut master: File) -> io::Result<()> {
    let follow = move || {
        loop {
            match take_next(channel.as_fd(), false).map(|taken| taken.then(|| master.write_all(b"LOG=taken\n"))) {
                Ok(Some(Ok(()))) => {}
                Ok(_) => return, // the master is gone
                Err(error) => {
                    line(Level::Error, format_args!("Cannot go over to the new log file: {error}"));
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("log".to_owned()).stack_size(128 * 1024).spawn(follow).map(drop)
}

/// A listening socket, taken over from the master.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Finds out what kind of socket `fd` is (getsockname(2)).
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let tcp = std::net::TcpListener::from(fd);
        if tcp.local_addr().is_ok() {
            tcp.set_nonblocking(true)?;
            return TcpListener::from_std(tcp).map(Self::Tcp);
        }
        let unix = std::os::unix::net::UnixListener::from(OwnedFd::from(tcp));
        unix.set_nonblocking(true)?;
        UnixListener::from_std(unix).map(Self::Unix)
    }

    /// Accepts, and has `crowd` serve it.
    fn poll_accept(&self, cx: &mut Context<'_>, crowd: &mut Crowd) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| crowd.add(stream)),
            Self::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| crowd.add(stream)),
        }
    }
}

/// What ends the process: a signal, or the death of the master.
struct Wishes {
    signals: Vec<Signal>,
    /// Never written, so it is readable only when its writer is gone. It is not read, and its flags are left alone: the
    /// workers share it and read it with patience.
    lifeline: Receiver,
}

impl Wishes {
    fn listen(lifeline: OwnedFd) -> io::Result<Self> {
        // Meant for the master, and sent to all by a terminal or by mistake: without effect here.
        for kind in [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()] {
            drop(signal(kind)?);
        }
        let ends = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()];
        let signals = ends.into_iter().map(signal).collect::<io::Result<_>>()?;
        Ok(Self { signals, lifeline: Receiver::from_owned_fd_unchecked(lifeline)? })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let told = self.signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
        if told || self.lifeline.poll_read_ready(cx).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }
}

enum Event {
    Leave,
    Sample,
    Accepted(io::Result<()>),
}

async fn serve(site: Rc<Site>, listener: &Listener, mut wishes: Wishes) {
    let mut crowd = Crowd::new(Rc::clone(&site));
    let mut samples = interval_at(Instant::now() + INTERVAL, INTERVAL);
    samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = poll_fn(|cx| {
            if wishes.poll(cx).is_ready() {
                return Poll::Ready(Event::Leave);
            }
            if samples.poll_tick(cx).is_ready() {
                return Poll::Ready(Event::Sample);
            }
            listener.poll_accept(cx, &mut crowd).map(Event::Accepted)
        });
        match event.await {
            Event::Leave => return crowd.end().await,
            Event::Sample => site.sample(),
            Event::Accepted(Ok(())) => {}
            Event::Accepted(Err(error)) => {
                line(Level::Warning, format_args!("Admin process cannot accept a connection: {error}"));
                let _ = timeout(PAUSE, pending::<()>()).await; // always runs out
            }
        }
    }
}

/// The open connections.
struct Crowd {
    site: Rc<Site>,
    tasks: JoinSet<()>,
    /// Oldest first.
    handles: Vec<AbortHandle>,
    leaving: watch::Sender<bool>,
}

impl Crowd {
    fn new(site: Rc<Site>) -> Self {
        Self { site, tasks: JoinSet::new(), handles: Vec::new(), leaving: watch::Sender::new(false) }
    }

    fn add(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.handles.retain(|handle| !handle.is_finished());
        if self.handles.len() >= MOST {
            self.handles.remove(0).abort();
        }
        let task = connection(stream, Rc::clone(&self.site), self.leaving.subscribe());
        self.handles.push(self.tasks.spawn_local(task));
    }

    /// Answers that are under way are finished.
    async fn end(mut self) {
        self.leaving.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(GRACE, all).await; // who does not read gets no more
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    site: Rc<Site>,
    mut leaving: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(site.answer(request.method(), request.uri().path(), request.headers())))
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(16 * 1024);
    let mut http = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut end = pin!(timeout(LIFE, leaving.wait_for(|leaving| *leaving)));
    let mut ending = false;
    let serving = poll_fn(|cx| {
        if !ending && end.as_mut().poll(cx).is_ready() {
            ending = true;
            http.as_mut().graceful_shutdown();
        }
        http.as_mut().poll(cx)
    });
    // A client that does not read its answer is left alone in the end; what it sent wrong was answered by hyper.
    let _ = timeout(LIFE + GRACE, serving).await;
}
