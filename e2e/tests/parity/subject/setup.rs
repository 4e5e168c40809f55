//! A server to be. The settings are lines that mean the same in TOML and in Python, which is what gunicorn's file is.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::pty::openpty;

use super::{Gunicorn, Rustcorn, Server, who};
use crate::harness::binaries;
use crate::harness::dir::Dir;

pub(crate) struct Setup {
    pub(crate) dir: Dir,
    top: String,
    app: String,
    /// Instead of the usual one.
    program: Option<PathBuf>,
    /// gunicorn's way to work: threads, or one request at a time.
    worker: &'static str,
    controlled: bool,
    args: Vec<String>,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
    /// Standard input; none: nothing.
    stdin: Option<OwnedFd>,
}

impl Setup {
    /// Two workers on a port that the kernel chooses. A stop takes less than the patience of a test, whatever becomes of a worker:
    /// now and then one of gunicorn's with threads does not act on its QUIT, and is killed when graceful_timeout is over.
    pub(crate) fn new() -> Self {
        Self {
            dir: Dir::new(),
            top: "bind = \"127.0.0.1:0\"\nworkers = 2\ngraceful_timeout = 10\n".to_owned(),
            app: "journal = \"journal\"\n".to_owned(),
            program: None,
            worker: "worker_class = \"gthread\"\nthreads = 8\n",
            controlled: false,
            args: Vec::new(),
            env: Vec::new(),
            wrapper: Vec::new(),
            stdin: None,
        }
    }

    /// gunicorn's default worker, which serves one request at a time and keeps no connection.
    pub(crate) fn sync(mut self) -> Self {
        self.worker = "";
        self
    }

    pub(crate) fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// Runs a copy of the program, `name` in its own folder, which a test can replace.
    pub(crate) fn installed(mut self, name: &str) -> Self {
        self.dir.install(name, &usual_program());
        self.program = Some(self.dir.path().join(name));
        self
    }

    /// Lets gunicorn have a control socket. By default it has one, at a path that is the same for all servers of a user.
    pub(crate) fn controlled(mut self) -> Self {
        self.controlled = true;
        self
    }

    /// Adds settings, or replaces those of the same name.
    pub(crate) fn set(mut self, lines: &str) -> Self {
        self.change(lines, "");
        self
    }

    /// The same for what belongs to the application.
    pub(crate) fn app(mut self, lines: &str) -> Self {
        self.change("", lines);
        self
    }

    pub(super) fn change(&mut self, set: &str, app: &str) {
        self.top = merged(&self.top, set);
        self.app = merged(&self.app, app);
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.top = self.top.lines().filter(|line| key_of(line) != key).fold(String::new(), with_line);
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn wrapped(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Gives it a terminal of its own, whose other end is returned.
    pub(crate) fn on_a_terminal(mut self) -> (Self, OwnedFd) {
        let pty = openpty(None, None).expect("the system has pseudo-terminals");
        self.stdin = Some(pty.slave);
        (self.wrapped(&["setsid", "-w", "-c"]), pty.master)
    }

    /// Starts the server in the way of systemd: with this socket as descriptor 3 (sd_listen_fds(3)).
    pub(crate) fn activated_by(mut self, listener: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(listener.into());
        self.wrapped(&["sh", "-c", "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"", "sh"])
    }

    /// How many workers the file asks for.
    pub(super) fn workers(&self) -> usize {
        let line = self.top.lines().find(|line| key_of(line) == "workers");
        let number = line.and_then(|line| line.split_once('=')?.1.trim().parse().ok());
        number.expect("the settings say how many workers")
    }

    pub(super) fn file(&self) -> &'static str {
        match who() {
            Rustcorn => "app.toml",
            Gunicorn => "gunicorn.conf.py",
        }
    }

    pub(crate) fn text(&self) -> String {
        let (top, app) = (&self.top, &self.app);
        match who() {
            Rustcorn => format!("{top}loglevel = \"debug\"\n\n[app]\n{app}"),
            Gunicorn => {
                let control = if self.controlled { "" } else { "control_socket_disable = True\n" };
                format!("{top}{}{control}{}", self.worker, include_str!("../gunicorn.conf.part.py"))
            }
        }
    }

    pub(crate) fn write(&self) {
        if who() == Gunicorn {
            self.dir.write("app.py", include_str!("../app.py"));
            self.dir.write("e2e_settings.py", &format!("true, false = True, False\n{}", self.app));
        }
        self.dir.write(self.file(), &self.text());
    }

    /// Starts it and waits until all workers are ready.
    pub(crate) fn start(self) -> Server {
        let workers = self.workers();
        let server = self.launch();
        server.settled(workers);
        server
    }

    /// Starts it and does not wait for anything.
    pub(crate) fn launch(self) -> Server {
        Server::launched(self)
    }

    /// Runs the program with these arguments to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.write();
        self.command(args).output().expect("the program is there")
    }

    pub(super) fn spawn(&self) -> Child {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut command = self.command(&args);
        command.args(self.what_to_run()).stderr(Stdio::piped()).spawn().expect("the program is there")
    }

    /// The end of a usual command line: the file, and the application.
    pub(crate) fn what_to_run(&self) -> &'static [&'static str] {
        match who() {
            Rustcorn => &["app.toml"],
            Gunicorn => &["-c", "gunicorn.conf.py", "app:application"],
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut words = self.wrapper.clone();
        words
            .push(self.program.clone().unwrap_or_else(usual_program).to_str().expect("a path that is text").to_owned());
        let mut command = Command::new(&words[0]);
        let stdin = self.stdin.as_ref().map(|fd| fd.try_clone().expect("there are descriptors left"));
        command.args(&words[1..]).args(args).current_dir(self.dir.path());
        command.stdin(stdin.map_or_else(Stdio::null, Stdio::from)).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // Python would take the file of a second ago for the new one.
        command.env("PYTHONDONTWRITEBYTECODE", "1").envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn usual_program() -> PathBuf {
    match who() {
        Rustcorn => binaries::testapp(),
        Gunicorn => gunicorn(),
    }
}

/// The file of the gunicorn under test.
pub(crate) fn gunicorn() -> PathBuf {
    on_path(std::env::var_os("GUNICORN").map_or_else(|| PathBuf::from("gunicorn"), PathBuf::from))
}

/// Where the shell would find it.
fn on_path(program: PathBuf) -> PathBuf {
    if program.components().count() > 1 {
        return program;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(&program)).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{} is not on PATH", program.display()))
}

fn merged(text: &str, lines: &str) -> String {
    let replaced: Vec<&str> = lines.lines().map(key_of).collect();
    let kept = text.lines().filter(|line| !replaced.contains(&key_of(line)));
    kept.chain(lines.lines()).fold(String::new(), with_line)
}

fn key_of(line: &str) -> &str {
    line.split_once('=').map_or("", |(key, _)| key.trim())
}

fn with_line(mut text: String, line: &str) -> String {
    text.push_str(line);
    text.push('\n');
    text
}
