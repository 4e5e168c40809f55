//! A server under test: real processes, ended and checked when the test is over.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Child;
use std::time::Duration;

use super::client::{Failure, Response};
use super::log::Log;
use super::wait::{PATIENCE, eventually};
use super::{Conn, LogFile, Setup, Sig, proc};

/// A running server. Its drop ends it, and fails the test if the log holds an error that no one expected, if a worker
/// outlives the master, or if the master does not leave with 0.
pub(crate) struct Server {
    setup: Setup,
    child: Child,
    pub(crate) log: Log,
    /// The master: the child, or the child's child if something runs it, or who took over from it.
    master: Option<u32>,
    /// Where its log does not come this way.
    address: Option<SocketAddr>,
    /// The master is no child of ours, so that its exit code is unknown.
    foreign: bool,
    exit: Option<i32>,
}

impl Server {
    pub(super) fn launched(setup: Setup) -> Self {
        setup.write();
        let mut child = setup.spawn();
        let log = Log::capture(child.stderr.take().expect("it is piped"));
        let master = Some(child.id());
        Self { setup, child, log, master, address: None, foreign: false, exit: None }
    }

    pub(super) fn started(setup: Setup) -> Self {
        let server = Self::launched(setup);
        let line = server.log.wait(0, "Using worker: ", 1, PATIENCE);
        let count = line.split(['(', ' ']).find_map(|word| word.parse::<usize>().ok());
        // The date has no word that is a number, so the first one is the number of workers.
        server.log.wait(0, "Worker ready (pid: ", count.expect("the line says how many workers"), PATIENCE);
        server
    }

    pub(crate) fn dir(&self) -> &std::path::Path {
        self.setup.dir.path()
    }

    /// The address on the `number`th place of the last line that lists them.
    pub(crate) fn address_at(&self, number: usize) -> SocketAddr {
        let lines = self.log.since(0);
        let line =
            lines.iter().rev().find(|line| line.contains("Listening at: ")).expect("a server that listens says so");
        let list = line.split("Listening at: ").nth(1).and_then(|rest| rest.split(' ').next());
        let url = list
            .and_then(|list| list.split(',').nth(number))
            .and_then(|url| url.split_once("://"))
            .map(|(_, address)| address);
        url.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no TCP address {number} in {line}"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap_or_else(|| self.address_at(0))
    }

    /// Its log is a file: waits until `count` workers are ready, and takes its address from there.
    pub(crate) fn logs_to(&mut self, file: &LogFile, count: usize) {
        file.wait("Worker ready (pid: ", count);
        let line = file.wait("Listening at: ", 1);
        let url = line.split("Listening at: http://").nth(1).and_then(|rest| rest.split(' ').next());
        self.address = url.and_then(|address| address.parse().ok());
    }

    /// The master and all its children.
    pub(crate) fn everybody(&self) -> BTreeSet<u32> {
        self.workers().into_iter().chain([self.pid()]).collect()
    }

    pub(crate) fn connect(&self) -> Conn {
        Conn::open(self.address()).expect("the server accepts")
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Result<Response, Failure> {
        super::get(self.address(), path)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.master.expect("a server that was started has a master")
    }

    /// The master is not our child but the child of it.
    pub(crate) fn master_is_child_of_child(&mut self) {
        let child = self.child.id();
        let found = eventually("the child of the wrapper", PATIENCE, || proc::children(child).first().copied());
        self.master = Some(found);
    }

    /// Waits until the new master serves, and returns its pid.
    #[track_caller]
    pub(crate) fn wait_for_heir(&self, mark: usize) -> u32 {
        let line = self.log.wait(mark, "Upgrade: the new master serves", 1, PATIENCE);
        let pid = line.split("(pid: ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
        pid.unwrap_or_else(|| panic!("no pid in {line}"))
    }

    /// From now on the new master is the server; the old one is gone or goes, with 0.
    #[track_caller]
    pub(crate) fn follow(&mut self, heir: u32) {
        if self.foreign {
            let old = self.pid();
            eventually("the old master leaves", PATIENCE, || (!proc::lives(old)).then_some(()));
        } else {
            assert_eq!(self.wait_for_exit(PATIENCE), 0, "the old master leaves in order");
        }
        (self.master, self.foreign, self.exit) = (Some(heir), true, None);
    }

    /// The same after the old master was killed.
    pub(crate) fn follow_killed(&mut self, heir: u32) {
        (self.master, self.foreign, self.exit) = (Some(heir), true, None);
    }

    pub(crate) fn signal(&self, sig: Sig) {
        assert_eq!(self.exit, None, "the master is gone");
        proc::signal(self.pid(), sig);
    }

    /// The processes that the master has now, whatever their state.
    pub(crate) fn workers(&self) -> BTreeSet<u32> {
        proc::children(self.pid())
    }

    /// Waits until there are exactly `count` workers, all of them ready, and returns their pids.
    #[track_caller]
    pub(crate) fn settled(&self, count: usize) -> BTreeSet<u32> {
        eventually(&format!("{count} workers, all ready"), PATIENCE, || {
            let workers = self.workers();
            let ready = |pid: &u32| self.log.count(&format!("Worker ready (pid: {pid},")) > 0;
            (workers.len() == count && workers.iter().all(ready)).then_some(workers)
        })
    }

    /// Sends HUP and waits for the line that says how it went.
    #[track_caller]
    pub(crate) fn reload(&self) -> String {
        let mark = self.log.mark();
        self.signal(Sig::SIGHUP);
        eventually("the outcome of the reload", PATIENCE, || {
            self.log.find(mark, "Reloaded: ").or_else(|| self.log.find(mark, "Reload failed: "))
        })
    }

    /// Writes a new configuration: the old one with other settings and keys of `[app]`.
    pub(crate) fn reconfigure(&mut self, set: &str, app: &str) {
        self.setup.change(set, app);
        self.setup.write();
    }

    /// Writes this configuration, good or bad. [`Server::reconfigure`] goes on from the last good one.
    pub(crate) fn write_text(&self, text: &str) {
        self.setup.dir.write("app.toml", text);
    }

    /// Writes a file into the server's folder.
    pub(crate) fn write_file(&self, name: &str, text: &str) {
        self.setup.dir.write(name, text);
    }

    /// Puts a program in the place of one that may run.
    pub(crate) fn replace(&self, name: &str, code: &[u8]) {
        self.setup.dir.replace(name, code);
    }

    /// From now on lines that contain this are part of the story, see [`Setup::expect`].
    pub(crate) fn setup_expects(&mut self, pattern: &str) -> &Self {
        self.setup.expected.push(pattern.to_owned());
        self
    }

    /// Runs the program again, to its end, in the server's folder and with its configuration file.
    pub(crate) fn run_another(&self, args: &[&str]) -> std::process::Output {
        self.setup.run_with(args)
    }

    /// Puts a program into the server's folder.
    pub(crate) fn install(&self, name: &str, program: &std::path::Path) {
        self.setup.dir.install(name, program);
    }

    pub(crate) fn text(&self) -> String {
        self.setup.text()
    }

    /// Whether there is such a line already.
    pub(crate) fn said(&self, pattern: &str) -> bool {
        self.log.count(pattern) > 0
    }

    /// Waits for a line from now on.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, pattern: &str) -> String {
        self.log.wait(0, pattern, 1, PATIENCE)
    }

    /// Lines that `/slow` wrote: `start PID`, `end PID`, `cancel PID`.
    pub(crate) fn journal(&self, what: &str) -> Vec<u32> {
        let journal = std::fs::read_to_string(self.dir().join("journal")).unwrap_or_default();
        journal.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect()
    }

    #[track_caller]
    pub(crate) fn wait_for_journal(&self, what: &str, count: usize) -> Vec<u32> {
        eventually(&format!("{count} times {what:?} in the journal"), PATIENCE, || {
            let pids = self.journal(what);
            (pids.len() >= count).then_some(pids)
        })
    }

    /// Whether the master has left, and how: -1 for a signal. Of one that is no child of ours the code is unknown; 0 stands for
    /// that.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        if self.foreign {
            return (!proc::lives(self.pid())).then_some(0);
        }
        if self.exit.is_none() {
            let status = self.child.try_wait().expect("it is our child");
            self.exit = status.map(|status| status.code().unwrap_or(-1));
        }
        self.exit
    }

    /// Waits for the master to leave.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self, patience: Duration) -> i32 {
        eventually("the master leaves", patience, || self.exit_code())
    }

    /// Waits until the master and every worker is gone.
    #[track_caller]
    pub(crate) fn wait_for_silence(&self, patience: Duration) {
        assert!(self.log.wait_for_end(patience), "a process of the server is left after {patience:?}");
    }

    fn unexpected_lines(&self) -> Vec<String> {
        let bad = |line: &String| {
            ["[ERROR]", "[CRITICAL]", "{\"severity\":\"ERROR\"", "{\"severity\":\"CRITICAL\"", "panicked"]
                .iter()
                .any(|mark| line.contains(mark))
                && !self.setup.expected.iter().any(|pattern| line.contains(pattern.as_str()))
        };
        self.log.since(0).into_iter().filter(bad).collect()
    }

    /// A quick stop, and if that does not help, a hard end of everyone.
    fn end(&mut self) -> Result<(), String> {
        if self.exit_code().is_none() {
            let workers = self.workers();
            self.signal(Sig::SIGINT);
            if !self.log.wait_for_end(PATIENCE) {
                if self.exit_code().is_none() {
                    self.signal(Sig::SIGKILL);
                }
                workers.iter().filter(|pid| proc::lives(**pid)).for_each(|pid| proc::signal(*pid, Sig::SIGKILL));
                self.wait_for_exit(PATIENCE);
                return Err(format!("the server does not stop; its workers were {workers:?}"));
            }
            match self.wait_for_exit(PATIENCE) {
                0 => {}
                code => return Err(format!("the master left with {code}")),
            }
        } else if !self.log.wait_for_end(PATIENCE) {
            return Err("a worker has outlived its master".to_owned());
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = if std::thread::panicking() {
            let state: Vec<_> = self.workers().into_iter().map(|pid| (pid, proc::state(pid))).collect();
            eprintln!("---- the workers at the moment of the panic: {state:?}");
            self.end()
        } else {
            let ended = self.end();
            let unexpected = self.unexpected_lines();
            if unexpected.is_empty() { ended } else { Err(format!("unexpected lines: {unexpected:#?}")) }
        };
        if ended.is_err() || std::thread::panicking() {
            eprintln!("---- the configuration\n{}\n---- the log", self.setup.text());
            self.log.since(0).iter().for_each(|line| eprintln!("{line}"));
            eprintln!("---- end of the log");
        }
        if let (Err(problem), false) = (ended, std::thread::panicking()) {
            panic!("{problem}");
        }
    }
}
