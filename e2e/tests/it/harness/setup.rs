//! What a test says about the server it wants.

use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use super::Server;
use super::binaries;
use super::dir::Dir;

/// A server to be.
pub(crate) struct Setup {
    pub(crate) dir: Dir,
    program: PathBuf,
    /// Words before the program: another program that runs it.
    wrapper: Vec<String>,
    top: String,
    app: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    pub(crate) expected: Vec<String>,
    /// Standard input; none: nothing.
    stdin: Option<OwnedFd>,
}

impl Setup {
    /// The `rustcorn` program with its handler `hello`, on a port that the kernel chooses.
    pub(crate) fn hello() -> Self {
        Self::new(binaries::rustcorn(), "handler = \"hello\"\n")
    }

    /// The misbehaving application, its own master.
    pub(crate) fn testapp() -> Self {
        Self::new(binaries::testapp(), "journal = \"journal\"\n")
    }

    /// The application that writes its hooks down.
    pub(crate) fn hooks() -> Self {
        Self::new(binaries::hooks(), "notes = \"notes\"\n")
    }

    /// One of the examples.
    pub(crate) fn example(name: &str, app: &str) -> Self {
        Self::new(binaries::example(name), app)
    }

    /// A copy of another program that is its own master.
    pub(crate) fn program(name: &str, program: &std::path::Path, app: &str) -> Self {
        Self::new(program.to_owned(), app).installed(name)
    }

    fn new(program: PathBuf, app: &str) -> Self {
        let dir = Dir::new();
        // Debug lines are facts that tests can wait for.
        let top = "bind = \"127.0.0.1:0\"\nworkers = 2\nloglevel = \"debug\"\n".to_owned();
        Self {
            dir,
            program,
            wrapper: Vec::new(),
            top,
            app: app.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            expected: Vec::new(),
            stdin: None,
        }
    }

    /// Runs a copy of the program, `name` in its own folder, which a test can replace.
    pub(crate) fn installed(mut self, name: &str) -> Self {
        self.dir.install(name, &self.program);
        self.program = self.dir.path().join(name);
        self
    }

    /// Adds settings, or replaces those of the same name.
    pub(crate) fn set(mut self, lines: &str) -> Self {
        self.change(lines, "");
        self
    }

    /// The same for the `[app]` table.
    pub(crate) fn app(mut self, lines: &str) -> Self {
        self.change("", lines);
        self
    }

    pub(super) fn change(&mut self, set: &str, app: &str) {
        self.top = merged(&self.top, set);
        self.app = merged(&self.app, app);
    }

    /// Takes a setting or a key of `[app]` away.
    pub(crate) fn without(mut self, key: &str) -> Self {
        let keep = |text: &str| text.lines().filter(|line| key_of(line) != key).fold(String::new(), with_line);
        (self.top, self.app) = (keep(&self.top), keep(&self.app));
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

    /// Starts the server in the way of systemd: with this socket as descriptor 3 (sd_listen_fds(3)).
    pub(crate) fn activated_by(self, listener: impl Into<OwnedFd>) -> Self {
        self.with_descriptor_3(listener, "LISTEN_FDS=1 LISTEN_PID=$$ ")
    }

    /// Starts the server with this socket as descriptor 3. Safe Rust can only place it on 0; the shell moves it to 3.
    pub(crate) fn with_descriptor_3(mut self, listener: impl Into<OwnedFd>, variables: &str) -> Self {
        self.stdin = Some(listener.into());
        let script = format!("exec 3<&0 </dev/null; {variables}exec \"$@\"");
        self.wrapped(&["sh", "-c", &script, "sh"])
    }

    /// Starts it and waits until all workers are ready; all these lines are part of the story.
    pub(crate) fn start_expecting(self, patterns: &[&str]) -> Server {
        patterns.iter().fold(self, |setup, pattern| setup.expect(pattern)).start()
    }

    /// Lines of level ERROR and above that contain this text are part of the story. All others fail the test in the end.
    pub(crate) fn expect(mut self, pattern: &str) -> Self {
        self.expected.push(pattern.to_owned());
        self
    }

    /// The file as it stands now.
    pub(crate) fn text(&self) -> String {
        let mut text = self.top.clone();
        write!(text, "\n[app]\n{}", self.app).expect("a string takes all");
        text
    }

    pub(crate) fn write(&self) {
        self.dir.write("app.toml", &self.text());
    }

    /// Starts it and waits until all workers are ready.
    pub(crate) fn start(self) -> Server {
        Server::started(self)
    }

    /// Starts it and does not wait for anything.
    pub(crate) fn launch(self) -> Server {
        Server::launched(self)
    }

    /// Runs the program to its end with these arguments, and returns what it said.
    pub(crate) fn run_with(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("the program was built")
    }

    /// The same, run by other words.
    pub(crate) fn run_wrapped(&self, wrapper: &[&str], args: &[&str]) -> Output {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(&self.program).args(args).current_dir(self.dir.path());
        command.stdin(Stdio::null()).output().expect("the wrapper is there")
    }

    pub(crate) fn spawn(&self) -> Child {
        self.command().arg("app.toml").stderr(Stdio::piped()).spawn().expect("the program was built")
    }

    /// In its own folder, with an environment of its own. It stays in the terminal's process group, so that a Ctrl-C ends the
    /// tests and the servers.
    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.push(self.program.to_str().expect("a path as cargo makes it").to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(&self.args);
        let stdin = self.stdin.as_ref().map(|fd| fd.try_clone().expect("there are descriptors left"));
        command.current_dir(self.dir.path()).stdin(stdin.map_or_else(Stdio::null, Stdio::from)).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
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
