//! System calls per request, as strace counts them.

use std::io::Read;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};

use crate::Result;
use crate::procfs;
use crate::server::{Server, raw};
use crate::wrk::{self, CONNECTIONS};

/// Whether strace is here and may do it.
pub(crate) fn can_count() -> bool {
    let output = Command::new("strace").args(["-c", "true"]).output();
    output.is_ok_and(|output| output.status.success() && parse(&String::from_utf8_lossy(&output.stderr)).is_some())
}

/// Of all processes of the server, under load. `None` where nothing was answered meanwhile.
pub(crate) fn per_request(server: &Server, close: bool) -> Result<Option<f64>> {
    let mut command = Command::new("strace");
    command.args(["-c", "-f"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for pid in server.processes() {
        command.arg(format!("-p{pid}"));
    }
    let mut strace = command.spawn()?;
    wait_for(server, strace.id())?;
    let load = wrk::run(server.port(), 1, close, CONNECTIONS);
    kill(raw(strace.id()), Signal::SIGINT)?; // then it prints
    let mut text = String::new();
    strace.stderr.take().expect("piped above").read_to_string(&mut text)?;
    strace.wait()?;
    let calls = parse(&text).ok_or_else(|| format!("strace counted nothing: {text}"))?;
    let requests = load?.requests;
    Ok((requests > 0).then(|| calls / requests as f64))
}

/// Until strace traces every process.
fn wait_for(server: &Server, strace: u32) -> Result<()> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !server.processes().iter().all(|pid| procfs::tracer_of(*pid) == Some(strace)) {
        if std::time::Instant::now() > end {
            return Err("strace does not begin".into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// From the last line, `100.00    0.003 …   CALLS   [ERRORS] total`.
fn parse(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_total_is_read_with_and_without_errors() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- \
                    --------- ----------------\n 60.00    0.000006           3         2           recvfrom\n100.00    0.000010 \
                    2         5         1 total\n";
        assert_eq!(parse(text), Some(5.0));
        assert_eq!(parse("100.00    0.000010           2         5           total\n"), Some(5.0));
        assert_eq!(parse("strace: attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted"), None);
    }
}
