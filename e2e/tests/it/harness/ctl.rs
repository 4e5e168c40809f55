//! `rustcornctl`, and connections to the control socket by hand.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{PATIENCE, Server, binaries};

/// What it said and how it ended.
#[derive(Debug)]
pub(crate) struct Told {
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Told {
    /// It went well: what it said.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// It did not, with this exit code: why.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}", self.err);
        self.err
    }

    /// The one JSON object that it printed.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A `rustcornctl` in `folder`, that only has its arguments to know anything from. Words are split at blanks.
pub(crate) fn command(folder: &Path, words: &str) -> Command {
    let mut command = Command::new(binaries::rustcornctl());
    command.args(words.split_whitespace()).current_dir(folder).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(folder: &Path, words: &str) -> Told {
    ended(command(folder, words).spawn().expect("the program was built"))
}

/// Waits for it.
pub(crate) fn ended(child: Child) -> Told {
    let output = child.wait_with_output().expect("it is our child");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Told { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Server {
    /// `rustcornctl` on this server, whose control socket is `ctl`.
    pub(crate) fn ctl(&self, words: &str) -> Told {
        run(self.dir(), &format!("-s ctl {words}"))
    }

    /// The data that a command answers with.
    #[track_caller]
    pub(crate) fn ctl_data(&self, words: &str) -> Value {
        let told = self.ctl(&format!("{words} --json"));
        let reply = told.json();
        assert_eq!((told.code, &reply["status"]), (Some(0), &Value::from("ok")), "{told:?}");
        reply["data"].clone()
    }

    /// A connection to the control socket.
    pub(crate) fn by_hand(&self) -> ByHand {
        let stream = UnixStream::connect(self.dir().join("ctl")).expect("the master listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        ByHand(BufReader::new(stream))
    }
}

/// A connection that says whatever it likes.
pub(crate) struct ByHand(BufReader<UnixStream>);

impl ByHand {
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("there is room");
    }

    /// The next line; null at the end.
    pub(crate) fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer or an end");
        if line.is_empty() { Value::Null } else { serde_json::from_str(&line).expect("JSON") }
    }
}
