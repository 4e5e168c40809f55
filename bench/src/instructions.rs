//! Instructions per request: a figure that is the same on a busy machine as on a quiet one.
//!
//! The CPU can count them, but many virtual machines have no such counter. Then the worker is single-stepped through some requests,
//! which is exact too (an instruction that repeats itself, such as `rep movsb`, counts each time).

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;

use crate::Result;
use crate::load::Client;
use crate::server::{CPU, Server, pinned, raw};
use crate::wrk::{self, CONNECTIONS};

const EVENT: &str = "instructions:u";
/// Connections that ask at the same time when the worker is stepped: it then finds several requests at once, as under load.
const CLIENTS: usize = 16;
/// Requests of each.
const WAVES: usize = 2;

/// How instructions are counted here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counter {
    Perf,
    Steps,
}

impl Counter {
    /// `perf` where it is here, permitted, and has a counter to read.
    pub(crate) fn find() -> Self {
        let output = Command::new("perf").args(["stat", "-x,", "-e", EVENT, "true"]).output();
        let works = output.is_ok_and(|output| parse(&String::from_utf8_lossy(&output.stderr)).is_some());
        if works { Self::Perf } else { Self::Steps }
    }

    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Perf => "counted by the CPU, under load",
            Self::Steps => "counted by single-stepping the worker",
        }
    }

    /// Instructions in user space per request on connections that stay open. Nothing is to be timed meanwhile.
    pub(crate) fn per_request(self, server: &Server) -> Result<f64> {
        match self {
            Self::Perf => perf(server),
            Self::Steps => steps(server),
        }
    }
}

fn perf(server: &Server) -> Result<f64> {
    let pids: Vec<String> = server.processes().iter().map(u32::to_string).collect();
    let mut command = Command::new("perf");
    command.args(["stat", "-x,", "-e", EVENT, "-p", &pids.join(",")]);
    let perf = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let load = wrk::run(server.port(), 1, false, CONNECTIONS);
    kill(raw(perf.id()), Signal::SIGINT)?; // then it prints
    let output = perf.wait_with_output()?;
    let counted = parse(&String::from_utf8_lossy(&output.stderr)).ok_or("perf counted nothing")?;
    Ok(counted / load?.requests as f64)
}

/// From a line such as `1234,,instructions:u,…`; what has no counter says `<not supported>` instead.
fn parse(printed: &str) -> Option<f64> {
    printed.lines().find(|line| line.contains(EVENT))?.split(',').next()?.parse().ok()
}

fn steps(server: &Server) -> Result<f64> {
    let worker = server.workers().first().copied().unwrap_or(server.pid());
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|_| Client::connect(server.port())).collect::<std::io::Result<_>>()?;
    wave(&mut clients)?; // all are accepted before anything is counted
    let (attached, is_attached) = channel();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // On the CPU of the worker: the two take turns, and to wake the other CPU each time is slow.
        let counting = scope.spawn(|| pinned(Some(CPU), || step_until(worker, &done, &attached))?);
        let asked =
            is_attached.recv().map_err(Into::into).and_then(|()| (0..WAVES).try_for_each(|_| wave(&mut clients)));
        done.store(true, Relaxed);
        let woken = wave(&mut clients); // the worker waits for work, and the counting thread for the worker
        let steps = counting.join().map_err(|_| "the counting thread panicked")??;
        asked.and(woken)?;
        Ok(steps as f64 / (CLIENTS * WAVES) as f64)
    })
}

/// One request on each connection.
fn wave(clients: &mut [Client]) -> Result<()> {
    clients.iter_mut().try_for_each(|client| client.ask(false))?;
    clients.iter_mut().try_for_each(|client| client.answer().map(drop))?;
    Ok(())
}

/// Lets the main thread of `pid` run, instruction by instruction.
fn step_until(pid: u32, done: &AtomicBool, attached: &Sender<()>) -> Result<u64> {
    let pid = raw(pid);
    ptrace::seize(pid, ptrace::Options::empty()).map_err(|error| format!("cannot step through the worker: {error}"))?;
    ptrace::interrupt(pid)?;
    waitpid(pid, None)?;
    attached.send(())?;
    let mut steps = 0;
    while !done.load(Relaxed) {
        ptrace::step(pid, None)?;
        waitpid(pid, None)?;
        steps += 1;
    }
    ptrace::detach(pid, None)?;
    Ok(steps)
}
