//! The program under test: killed when the test ends, its output kept for the message of a failure.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::master::LONG;

const BINARY: &str = env!("CARGO_BIN_EXE_rustcorn-loadtester");

pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    pub(crate) seen: Vec<String>,
}

impl Program {
    /// A worker of the master at this port.
    pub(crate) fn worker(port: u16, args: &[&str]) -> Self {
        let port = port.to_string();
        Self::start([&["worker", "--master-port", &port, "--threads", "1"], args].concat(), &[])
    }

    pub(crate) fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(BINARY);
        for name in
            ["LOCUST_MODE", "LOCUST_MASTER", "LOCUST_MASTER_NODE_HOST", "LOCUST_MASTER_NODE_PORT", "TARGET_HOST"]
        {
            command.env_remove(name);
        }
        command.args(args).envs(env.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line that contains this.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {text:?} among {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Its end, and all it said.
    pub(crate) fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + LONG;
        // The end of its output is the end of the program.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it does not end: {:#?}", self.seen),
            }
        }
        (self.child.wait().unwrap(), std::mem::take(&mut self.seen))
    }

    pub(crate) fn assert_success(self) {
        let (status, lines) = self.wait();
        assert!(status.success(), "{status}: {lines:#?}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait(); // as above
    }
}

/// A scenario file: class Browse (`/` and a `/missing` that is expected to be there), and class Buy.
pub(crate) struct ScenarioFile(PathBuf);

impl ScenarioFile {
    pub(crate) fn new(test: &str, host: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.toml"));
        std::fs::write(&path, scenario(host)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

pub(crate) fn scenario(host: &str) -> String {
    let host = if host.is_empty() { String::new() } else { format!("host = \"{host}\"") };
    format!(
        r#"
wait = "2ms"
{host}
[[class]]
name = "Browse"
weight = 3
task = [{{ path = "/" }}, {{ path = "/missing" }}]
[[class]]
name = "Buy"
task = [{{ method = "PUT", path = "/cart" }}]
"#
    )
}
