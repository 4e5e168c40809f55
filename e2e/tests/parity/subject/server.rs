//! A running server of either kind. Its drop ends every process of it, and fails the test if one outlives its master.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Line, Setup};
use crate::harness::client::{Failure, Response};
use crate::harness::log::Log;
use crate::harness::{Conn, PATIENCE, Sig, eventually, get, proc};

pub(crate) struct Server {
    setup: Setup,
    child: Child,
    pub(crate) log: Log,
    master: u32,
    /// The master is no child of ours, so that its exit code is unknown.
    foreign: bool,
    exit: Option<i32>,
    /// What reads the log of a daemon.
    tail: Option<Child>,
}

impl Server {
    pub(super) fn launched(setup: Setup) -> Self {
        setup.write();
        let mut child = setup.spawn();
        let log = Log::capture(child.stderr.take().expect("it is piped"));
        Self { setup, master: child.id(), child, log, foreign: false, exit: None, tail: None }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.setup.dir.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.master
    }

    pub(crate) fn signal(&self, sig: Sig) {
        assert_eq!(self.exit, None, "the master is gone");
        proc::signal(self.master, sig);
    }

    // ------------------------------------------------------------------------------------------------------- the log

    /// Waits for the first line that contains `pattern`.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, pattern: &str) -> Line {
        self.wait_for_line_from(0, pattern)
    }

    /// The same from a mark of the log on.
    #[track_caller]
    pub(crate) fn wait_for_line_from(&self, mark: usize, pattern: &str) -> Line {
        let line = self.log.wait(mark, pattern, 1, PATIENCE);
        Line::parse(&line).unwrap_or_else(|| panic!("no line of gunicorn's form: {line}"))
    }

    /// Where in the log the first line with `pattern` is.
    #[track_caller]
    pub(crate) fn position(&self, pattern: &str) -> usize {
        self.log.wait(0, pattern, 1, PATIENCE);
        self.log.since(0).iter().position(|line| line.contains(pattern)).expect("it was found")
    }

    /// Lines that the application wrote: `start PID`, `end PID`, `block PID`.
    pub(crate) fn journal(&self, what: &str) -> Vec<u32> {
        let journal = fs::read_to_string(self.dir().join("journal")).unwrap_or_default();
        journal.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect()
    }

    #[track_caller]
    pub(crate) fn wait_for_journal(&self, what: &str, count: usize) -> Vec<u32> {
        eventually(&format!("{count} times {what:?} in the journal"), PATIENCE, || {
            let pids = self.journal(what);
            (pids.len() >= count).then_some(pids)
        })
    }

    // ------------------------------------------------------------------------------------------------------- clients

    /// The address on the `number`th place of the last line that lists them.
    pub(crate) fn address_at(&self, number: usize) -> SocketAddr {
        self.log.wait(0, "Listening at: ", 1, PATIENCE);
        let lines = self.log.since(0);
        let line = lines.iter().rev().find(|line| line.contains("Listening at: ")).expect("it was found");
        let list = line.split("Listening at: ").nth(1).and_then(|rest| rest.split(' ').next());
        let url = list.and_then(|list| list.split(',').nth(number)).and_then(|url| url.strip_prefix("http://"));
        url.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no TCP address {number} in {line}"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address_at(0)
    }

    pub(crate) fn connect(&self) -> Conn {
        Conn::open(self.address()).expect("the server accepts")
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Result<Response, Failure> {
        get(self.address(), path)
    }

    /// The process that answers.
    #[track_caller]
    pub(crate) fn answering(&self) -> u32 {
        self.get("/pid").expect("answered").body.parse().expect("a number")
    }

    /// Sends `GET /slow` and returns the connection once the application has it.
    #[track_caller]
    pub(crate) fn slow_request(&self) -> Conn {
        let before = self.journal("start").len();
        let mut conn = self.connect();
        conn.send("GET", "/slow", "", "").expect("sent");
        self.wait_for_journal("start", before + 1);
        conn
    }

    // --------------------------------------------------------------------------------------------------- the workers

    /// The living workers of the master, ready or not.
    pub(crate) fn workers(&self) -> BTreeSet<u32> {
        self.workers_of(self.master)
    }

    pub(crate) fn workers_of(&self, master: u32) -> BTreeSet<u32> {
        let booted =
            |pid: &u32| self.log.since(0).iter().any(|line| line.ends_with(&format!("Booting worker with pid: {pid}")));
        proc::children(master).into_iter().filter(booted).collect()
    }

    fn is_ready(&self, pid: u32) -> bool {
        let marks = [',', ')'].map(|end| format!("Worker ready (pid: {pid}{end}"));
        marks.iter().any(|mark| self.log.count(mark) > 0)
    }

    /// Waits until there are exactly `count` workers, all of them ready, and returns their pids.
    #[track_caller]
    pub(crate) fn settled(&self, count: usize) -> BTreeSet<u32> {
        self.settled_of(self.master, count)
    }

    #[track_caller]
    pub(crate) fn settled_of(&self, master: u32, count: usize) -> BTreeSet<u32> {
        eventually(&format!("{count} workers, all ready"), PATIENCE, || {
            let workers = self.workers_of(master);
            (workers.len() == count && workers.iter().all(|pid| self.is_ready(*pid))).then_some(workers)
        })
    }

    /// Waits until there are `count` ready workers, none of which is one of `before`.
    #[track_caller]
    pub(crate) fn replaced(&self, before: &BTreeSet<u32>, count: usize) -> BTreeSet<u32> {
        eventually("all workers are others", PATIENCE, || self.workers().is_disjoint(before).then_some(()));
        self.settled(count)
    }

    // ------------------------------------------------------------------------------------------------- configuration

    /// Writes a new configuration: the old one with other settings and keys of the application.
    pub(crate) fn reconfigure(&mut self, set: &str, app: &str) {
        self.setup.change(set, app);
        self.setup.write();
    }

    /// Appends a line to the configuration, which [`Server::reconfigure`] takes away again.
    pub(crate) fn spoil(&self, line: &str) {
        self.setup.dir.write(self.setup.file(), &format!("{line}\n{}", self.setup.text()));
    }

    /// Writes a file into the server's folder, in one step.
    pub(crate) fn write_file(&self, name: &str, text: &str) {
        self.setup.dir.write(name, text);
    }

    /// Puts a script in the place of the program that the server was started from.
    pub(crate) fn replace_program(&self, name: &str, text: &str) {
        self.write_file("script", text);
        self.remove_file(name);
        self.setup.dir.install(name, &self.dir().join("script"));
    }

    pub(crate) fn remove_file(&self, name: &str) {
        fs::remove_file(self.dir().join(name)).expect("it is there, and ours");
    }

    // ------------------------------------------------------------------------------------------------------- upgrade

    /// USR2: waits until the new master has its workers, and returns its pid.
    #[track_caller]
    pub(crate) fn upgrade(&self) -> u32 {
        let mark = self.log.mark();
        self.signal(Sig::SIGUSR2);
        let heir = self.wait_for_line_from(mark, "Listening at: ").pid;
        self.settled_of(heir, self.setup.workers());
        heir
    }

    /// From now on the new master is the server; the old one leaves with 0.
    #[track_caller]
    pub(crate) fn follow(&mut self, heir: u32) {
        assert_eq!(self.wait_for_exit(PATIENCE), 0, "the old master leaves in order");
        (self.master, self.foreign, self.exit) = (heir, true, None);
    }

    /// The daemon is the server, and what started it has left with 0. Its log is in a file.
    #[track_caller]
    pub(crate) fn follow_daemon(&mut self, pidfile: &str, log: &str) {
        assert_eq!(self.wait_for_exit(PATIENCE), 0, "what started the daemon leaves in order");
        let path = self.dir().join(pidfile);
        let master = eventually("the pidfile", PATIENCE, || fs::read_to_string(&path).ok()?.trim().parse().ok());
        (self.master, self.foreign, self.exit) = (master, true, None);
        let mut tail = Command::new("tail");
        let tail = tail.args(["-n", "+1", "-F"]).arg(self.dir().join(log)).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut tail = tail.spawn().expect("tail(1) is there");
        self.log = Log::capture(tail.stdout.take().expect("it is piped"));
        self.tail = Some(tail);
    }

    // ----------------------------------------------------------------------------------------------------------- end

    /// Whether the master has left, and how: -1 for a signal. Of one that is no child of ours the code is unknown; 0 stands for it.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        if self.foreign {
            return (!proc::lives(self.master)).then_some(0);
        }
        if self.exit.is_none() {
            let status = self.child.try_wait().expect("it is our child");
            self.exit = status.map(|status| status.code().unwrap_or(-1));
        }
        self.exit
    }

    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self, patience: Duration) -> i32 {
        eventually("the master leaves", patience, || self.exit_code())
    }

    /// All processes of the server, also those that have lost their master.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        processes_in(self.dir())
    }

    /// Waits until the master and every worker is gone.
    #[track_caller]
    pub(crate) fn wait_for_silence(&self, patience: Duration) {
        eventually("all processes of the server are gone", patience, || self.processes().is_empty().then_some(()));
    }

    /// A quick stop, and if that does not help, a hard end of everyone.
    fn end(&mut self) -> Result<(), String> {
        let code = match self.exit_code() {
            None => {
                self.signal(Sig::SIGINT);
                self.left_within(PATIENCE)
            }
            Some(_) => Some(0), // the test has looked at it
        };
        let quiet = (0..200).any(|_| {
            self.processes().is_empty() || {
                crate::harness::wait::look_again_soon();
                false
            }
        });
        let rest = self.processes();
        rest.iter().for_each(|pid| proc::signal(*pid, Sig::SIGKILL));
        match (code, quiet) {
            (Some(0), true) => Ok(()),
            (code, _) => Err(format!("the master left with {code:?}, and behind: {rest:?}")),
        }
    }

    fn left_within(&mut self, patience: Duration) -> Option<i32> {
        let end = std::time::Instant::now() + patience;
        while std::time::Instant::now() < end {
            if let Some(code) = self.exit_code() {
                return Some(code);
            }
            crate::harness::wait::look_again_soon();
        }
        None
    }
}

/// All processes that run in a folder.
pub(crate) fn processes_in(folder: &Path) -> BTreeSet<u32> {
    let all = fs::read_dir("/proc").expect("it is mounted").filter_map(Result::ok);
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let inside = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| path.starts_with(folder));
    pids.filter(inside).filter(|pid| proc::lives(*pid)).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.end();
        if let Some(mut tail) = self.tail.take() {
            tail.kill().and_then(|()| tail.wait()).expect("it is our child");
        }
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
