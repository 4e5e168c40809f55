//! The real program under test, and clients for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{PATIENCE, shared};

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

/// A master with its workers; killed when dropped.
pub(crate) struct Server {
    child: Child,
    log: Arc<Log>,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts the built-in `hello` with these settings and variables, and waits until all workers serve.
    pub(crate) fn start(workers: usize, settings: &str, variables: &[(&str, &str)]) -> Self {
        let folder = shared::folder("otlp");
        let file = folder.join("app.toml");
        let text = format!("bind = '127.0.0.1:0'\nworkers = {workers}\n{settings}\n[app]\nhandler = 'hello'\n");
        std::fs::write(&file, text).unwrap();
        shared::hear_hang_ups();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rustcorn"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_") || name.starts_with("RUSTCORN_"))
        {
            command.env_remove(name);
        }
        let child = command.arg(&file).envs(variables.iter().copied()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let log = Arc::new(Log::default());
        let (writer, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.lines.lock().unwrap().push(line);
                writer.changed.notify_all();
            }
        });
        let mut server = Self { child, log, folder, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = server.wait_for("Listening at: http://");
        server.address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        server
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().clone()
    }

    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_for_count(text, 1)
    }

    /// Waits for the `count`th line that has `text`.
    pub(crate) fn wait_for_count(&self, text: &str, count: usize) -> String {
        let end = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().filter(|line| line.contains(text)).nth(count - 1) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line {text:?}:\n{}", lines.join("\n"));
            lines = self.log.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for the end; the log is complete then.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < end, "does not end:\n{}", self.lines().join("\n")),
            }
            std::thread::yield_now();
        };
        while Arc::strong_count(&self.log) > 1 {
            std::thread::yield_now(); // the reader holds the other one until the last line
        }
        status
    }

    pub(crate) fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.lines().join("\n"));
    }

    /// The workers' pids, by what the log says.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let lines = self.lines();
        let pids = lines.iter().filter_map(|line| line.split("Booting worker with pid: ").nth(1));
        pids.map(|pid| pid.parse().unwrap()).collect()
    }

    /// Spans that the workers say they have lost.
    pub(crate) fn lost(&self) -> u64 {
        let lines = self.lines();
        let said =
            lines.iter().filter_map(|line| line.split_once("OTLP: ")).filter(|(_, said)| said.contains(" spans "));
        said.map(|(_, said)| {
            let first: u64 = said.split(' ').next().unwrap().parse().unwrap();
            let more =
                said.split_once("; ").and_then(|(_, more)| more.split(" more dropped").next()?.parse::<u64>().ok());
            first + more.unwrap_or(0)
        })
        .sum()
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, buffer: Vec::new(), address: self.address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGINT);
            let _ = self.child.wait(); // its status is not the point
        }
        let _ = std::fs::remove_dir_all(&self.folder); // else the system's to clean
    }
}

/// One keep-alive connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    address: SocketAddr,
}

impl Client {
    /// Sends a request with these header lines and returns the answer's status. Connects anew when told to close.
    pub(crate) fn ask(&mut self, line: &str, headers: &str) -> u16 {
        let request = format!("{line} HTTP/1.1\r\nHost: example.com:81\r\nUser-Agent: test\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).unwrap();
        loop {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
                let length: usize = if line.starts_with("HEAD") { 0 } else { length.parse().unwrap() };
                if rest.len() >= length {
                    let status = head[9..12].parse().unwrap();
                    self.buffer.drain(..head.len() + 4 + length);
                    if head.contains("connection: close") {
                        self.stream = TcpStream::connect(self.address).unwrap();
                        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    }
                    return status;
                }
            }
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes).unwrap();
            assert!(read > 0, "closed without an answer");
            self.buffer.extend_from_slice(&bytes[..read]);
        }
    }
}
