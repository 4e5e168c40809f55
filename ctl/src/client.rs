//! The conversation with a master: a line there, a line back, each with a deadline.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustcorn_control::{Command, Reply, Request};
use rustcorn_sys::error::without_number;
use rustcorn_sys::socket::connect_unix;
use serde_json::Value;

/// For a server whose queue is full. One that lives accepts in no time.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest answer that is read: far more than a thousand workers make.
const LONGEST: usize = 64 << 20;

/// What went wrong, and what the exit code is for it.
#[derive(Debug)]
pub(crate) struct Trouble {
    text: String,
    pub(crate) exit_code: u8,
    /// Nothing more is to be printed.
    pub(crate) was_said: bool,
}

impl Trouble {
    pub(crate) const fn server(text: String) -> Self {
        Self { text, exit_code: 1, was_said: false }
    }

    /// Whether it stands on standard output already.
    pub(crate) const fn said(mut self, was_said: bool) -> Self {
        self.was_said = was_said;
        self
    }

    pub(crate) const fn usage(text: String) -> Self {
        Self { text, exit_code: 2, was_said: false }
    }

    const fn connect(text: String) -> Self {
        Self { text, exit_code: 3, was_said: false }
    }

    /// An answer that does not read.
    pub(crate) fn strange(error: impl fmt::Display) -> Self {
        Self::server(format!("the answer is none ({error}); are rustcornctl and the server of the same version?"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// As if the server had said it.
pub(crate) fn as_reply(trouble: &Trouble) -> Vec<u8> {
    Reply::error(Value::Null, trouble.to_string()).to_line()
}

pub(crate) struct Client {
    stream: UnixStream,
    /// Read, and of the next answer.
    input: Vec<u8>,
    last_id: u64,
    patience: Option<Duration>,
}

impl Client {
    /// `patience`: how long each answer may take.
    pub(crate) fn connect(path: &Path, patience: Option<Duration>) -> Result<Self, Trouble> {
        let stream = connect_unix(path, patience.map_or(CONNECT, |patience| patience.min(CONNECT)));
        let stream = stream.map_err(|error| Trouble::connect(cannot_connect(path, &error)))?;
        Ok(Self { stream, input: Vec::new(), last_id: 0, patience })
    }

    /// Says it and waits for the answer, which may be an error.
    pub(crate) fn ask(&mut self, command: &Command) -> Result<Reply, Trouble> {
        self.last_id += 1;
        let deadline = self.deadline();
        // One whose other end has said why and left cannot be written to, and still be read.
        let written = self.stream.write_all(&Request::new(self.last_id, command).to_line());
        let line = match (self.line(deadline), written) {
            (Ok(Some(line)), _) => line,
            (Ok(None), _) => return Err(Trouble::server("the server has ended without an answer".to_owned())),
            (Err(_), Err(error)) => return Err(Trouble::server(format!("cannot ask: {}", without_number(&error)))),
            (Err(error), Ok(())) => return Err(self.no_answer(&error, command)),
        };
        serde_json::from_slice(&line).map_err(Trouble::strange)
    }

    /// Until the other end is gone.
    pub(crate) fn wait_for_end(&mut self) -> Result<(), Trouble> {
        let deadline = self.deadline();
        loop {
            match self.line(deadline) {
                Ok(Some(_)) => {} // nothing was asked
                Ok(None) => return Ok(()),
                Err(error) if is_late(&error) => {
                    return Err(Trouble::server("the server is stopping, and not gone in time".to_owned()));
                }
                Err(_) => return Ok(()), // reset: gone as well
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.patience.map(|patience| Instant::now() + patience)
    }

    fn no_answer(&self, error: &io::Error, command: &Command) -> Trouble {
        if !is_late(error) {
            return Trouble::server(format!("no answer: {}", without_number(error)));
        }
        let time = self.patience.unwrap_or_default();
        Trouble::server(if command.waits() {
            format!("not done within {time:?}; the server goes on with it, and its log says how it ends")
        } else {
            format!("no answer within {time:?}; the server is stopped or very busy")
        })
    }

    /// The next line; `None` at the end.
    fn line(&mut self, deadline: Option<Instant>) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 64 * 1024];
        let mut searched = 0;
        loop {
            if let Some(end) = self.input[searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.input.drain(..=searched + end).collect()));
            }
            searched = self.input.len();
            if searched > LONGEST {
                return Err(io::Error::other("the answer does not end"));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(left)?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

fn cannot_connect(path: &Path, error: &io::Error) -> String {
    let (path, why) = (path.display(), without_number(error));
    let remedy = match error.kind() {
        ErrorKind::NotFound => {
            return format!(
                "cannot connect to {path}: there is no such socket; is the server running? It listens there only with \
                 control_socket = \"{path}\" in its configuration"
            );
        }
        ErrorKind::ConnectionRefused => {
            return format!("cannot connect to {path}: nobody listens there; the server has ended, start it again");
        }
        ErrorKind::PermissionDenied => "become root or the user that the server runs as",
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "the server does not accept; is it stopped?",
        _ => "name the server's control_socket with -s",
    };
    format!("cannot connect to {path}: {why}; {remedy}")
}
