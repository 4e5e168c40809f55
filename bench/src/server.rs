//! Servers under test: started on a port of their own, with what they need in a directory of their own, gone when dropped.

mod commands;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;
use crate::procfs::{self, CpuTime};

pub(crate) use commands::has_no_access_log;

use commands::{flask, gunicorn, log_requests, nginx_config, rustcorn};

/// The CPU of a server that has one to itself.
pub(crate) const CPU: usize = 0;
/// How long a server may take to come up or to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// A kind of server, and how it is called in the tables.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Rustcorn {
        binary: PathBuf,
        statsd: Option<SocketAddr>,
        otlp: Option<Otlp>,
        /// A line for each request, in a file.
        access_log: bool,
    },
    /// One process, whatever number of workers is asked for.
    BareHyper {
        binary: PathBuf,
    },
    Nginx {
        access_log: bool,
    },
    /// rustcorn with a socket for each worker (`reuse_port`).
    RustcornLanes {
        binary: PathBuf,
    },
    /// nginx with `reuseport`.
    NginxLanes,
    /// gunicorn with workers of this class, and an application in two lines (bench/peers/plain).
    Gunicorn {
        python: PathBuf,
        class: &'static str,
        app: &'static str,
    },
    /// rustcorn with the handler `static` on this directory.
    RustcornFiles {
        binary: PathBuf,
        root: PathBuf,
    },
    /// nginx on this directory; it waits for the bodies of requests to `/upload`.
    NginxFiles {
        root: PathBuf,
    },
    /// The service of bench/axum under rustcorn.
    AxumUnderRustcorn {
        binary: PathBuf,
    },
    /// The same under `axum::serve`, with as many threads as there would be workers.
    AxumServe {
        binary: PathBuf,
    },
    /// gunicorn with one worker of this class, Flask, and OpenTelemetry, as in bench/peers/flask.
    Flask {
        python: PathBuf,
        worker: &'static str,
        statsd: SocketAddr,
        otlp: Otlp,
    },
}

/// A collector, and the share of requests that get spans.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Otlp {
    pub(crate) to: SocketAddr,
    pub(crate) ratio: &'static str,
}

impl Contender {
    /// Whether several of its threads are busy at once, so that on one CPU they wait for each other.
    pub(crate) fn is_crowded(&self) -> bool {
        match self.kind {
            Kind::Rustcorn { access_log, .. } => access_log,
            Kind::Gunicorn { class, .. } => class == "gthread",
            _ => false,
        }
    }

    /// Starts the server, on one CPU if so asked. It listens when this returns; it may not answer yet.
    pub(crate) fn start(&self, workers: usize, cpu: Option<usize>) -> Result<Server> {
        let files = Files::new()?;
        let (mut command, quit) = match &self.kind {
            // TERM drains.
            Kind::Rustcorn { binary, statsd, otlp, access_log } => {
                let mut command = rustcorn(binary, *statsd, *otlp, HELLO, workers, &files)?;
                if *access_log {
                    log_requests(&mut command, files.path());
                }
                (command, Signal::SIGINT)
            }
            Kind::RustcornFiles { binary, root } => {
                let app = format!("handler = \"static\"\nroot = {root:?}\n");
                (rustcorn(binary, None, None, &app, workers, &files)?, Signal::SIGINT)
            }
            Kind::RustcornLanes { binary } => {
                let mut command = rustcorn(binary, None, None, HELLO, workers, &files)?;
                command.arg("--reuse-port");
                (command, Signal::SIGINT)
            }
            Kind::AxumUnderRustcorn { binary } => (rustcorn(binary, None, None, "", workers, &files)?, Signal::SIGINT),
            Kind::AxumServe { binary } => {
                let mut command = Command::new(binary);
                command.args(["serve", &workers.to_string()]);
                (command, Signal::SIGTERM)
            }
            Kind::BareHyper { binary } => (Command::new(binary), Signal::SIGTERM),
            Kind::Flask { python, worker, statsd, otlp } => {
                (flask(python, worker, *statsd, *otlp, workers), Signal::SIGTERM)
            }
            Kind::Gunicorn { python, class, app } => (gunicorn(python, class, app, workers), Signal::SIGTERM),
            Kind::Nginx { access_log } => {
                let log = if *access_log {
                    format!(" access_log {}/access.log;", files.path().display())
                } else {
                    String::new()
                };
                return start_nginx(&format!("{NGINX_HELLO}{log}"), "", workers, cpu, files);
            }
            Kind::NginxLanes => return start_nginx(NGINX_HELLO, " reuseport", workers, cpu, files),
            Kind::NginxFiles { root } => {
                // As its own default configuration has it, but for tcp_nopush, which goes with sendfile.
                // A body it reads on behalf of others alone: of an upstream, asked once the body is there; here it never is.
                let upload = "location = /upload { proxy_pass http://127.0.0.1:9; }";
                let text = format!("root {}; sendfile on; tcp_nopush on; {upload}", root.display());
                return start_nginx(&text, "", workers, cpu, files);
            }
        };
        let mut server = Server::spawn(&mut command, cpu, files, quit)?;
        server.port = server.announced_port().ok_or_else(|| format!("{} did not say where it listens", self.name))?;
        Ok(server)
    }
}

/// What rustcorn's own handler is told.
const HELLO: &str = "handler = \"hello\"\n";
/// And nginx, to answer the same.
const NGINX_HELLO: &str = "default_type \"text/plain; charset=utf-8\"; return 200 \"Hello World!\";";

/// nginx does not tell which port the kernel chose for it, so one is chosen before; and it writes no line when it is up.
fn start_nginx(location: &str, listen: &str, workers: usize, cpu: Option<usize>, files: Files) -> Result<Server> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let config =
        nginx_config(location, workers, port, &files.0).replace("backlog=2048", &format!("backlog=2048{listen}"));
    let config = files.write("nginx.conf", &config)?;
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(&files.0).arg("-c").arg(config);
    let mut server = Server::spawn(&mut command, cpu, files, Signal::SIGTERM)?;
    server.port = port;
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if Instant::now() > end {
            return Err("nginx does not listen".into());
        }
        thread::park_timeout(Duration::from_micros(100));
    }
    Ok(server)
}

/// Whether there is an nginx to compare with.
pub(crate) fn has_nginx() -> bool {
    Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A running server, stopped on drop together with its workers.
pub(crate) struct Server {
    child: Child,
    port: u16,
    /// What makes it stop at once, workers included.
    quit: Signal,
    /// What it writes; disconnected once the last of its processes is gone.
    lines: Receiver<String>,
    /// Removed after the processes: fields are dropped in order, after `drop`.
    _files: Files,
}

impl Server {
    fn spawn(command: &mut Command, cpu: Option<usize>, files: Files, quit: Signal) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = pinned(cpu, || command.spawn())?
            .map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))?;
        let stderr = child.stderr.take().expect("piped above");
        let (sender, lines) = channel();
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(std::result::Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, port: 0, quit, lines, _files: files })
    }

    /// From `Listening at: http://127.0.0.1:PORT (PID)`. `None` when it ends, or takes its time, without such a line.
    fn announced_port(&self) -> Option<u16> {
        let end = Instant::now() + PATIENCE;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
            if let Some((_, rest)) = line.split_once("Listening at: http://127.0.0.1:") {
                return rest.split(' ').next()?.parse().ok();
            }
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The process that was started: the master where there is one.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that answer requests.
    pub(crate) fn workers(&self) -> Vec<u32> {
        procfs::children(self.pid())
    }

    /// All its processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut pids = self.workers();
        pids.push(self.pid());
        pids
    }

    /// CPU time of all its processes.
    pub(crate) fn cpu_time(&self) -> CpuTime {
        CpuTime::of(&self.processes())
    }

    /// Sends a signal to the process that was started, which is a child of this one and not reaped, so the pid is its own.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(raw(self.pid()), signal)?)
    }

    /// Stops it, and gives what it wrote since it said where it listens.
    pub(crate) fn stop(self) -> Result<Vec<String>> {
        self.signal(self.quit)?;
        let end = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return Ok(lines),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("a server does not stop; it wrote {lines:#?}").into());
                }
            }
        }
    }

    /// Whether every process is gone within `time`: then nobody holds the pipe any more.
    fn ends_within(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(error) => return error == RecvTimeoutError::Disconnected,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let processes = self.processes();
        let _ = self.signal(self.quit); // it may have ended by itself
        if !self.ends_within(PATIENCE) {
            for pid in processes {
                let _ = kill(raw(pid), Signal::SIGKILL); // as above
            }
        }
        let _ = self.child.wait(); // there is nothing left to do about an error
    }
}

/// A pid for nix.
pub(crate) fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

/// Runs `spawn` with this thread, and so its children, kept on one CPU. Without a number: on any, as before.
pub(crate) fn pinned<T>(cpu: Option<usize>, spawn: impl FnOnce() -> T) -> Result<T> {
    let Some(cpu) = cpu else { return Ok(spawn()) };
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this)?;
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(this, &only)
        .map_err(|error| format!("cannot use CPU {cpu}: {error}; this suite needs two CPUs"))?;
    let result = spawn();
    sched_setaffinity(this, &before)?;
    Ok(result)
}

/// A directory of our own, removed on drop.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rustcorn-bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let dir = env::temp_dir().join(name);
        fs::create_dir(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // a leftover in the temporary directory harms nobody
    }
}
