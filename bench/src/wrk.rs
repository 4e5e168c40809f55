//! Runs wrk, the load generator, on the CPU that the servers do not have.

use std::process::Command;

use crate::Result;
use crate::server::pinned;

/// Connections for one worker, as in all published comparisons of this kind.
pub(crate) const CONNECTIONS: usize = 64;
/// The CPU of wrk, and of whatever else is not the server.
pub(crate) const CPU: usize = 1;

/// What one run of wrk saw.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Median and 99th percentile of the latency, in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Socket errors and answers that are not 2xx or 3xx.
    pub(crate) failed: u64,
}

/// Loads `http://127.0.0.1:PORT/` for some seconds, with one connection for each request if so asked.
pub(crate) fn run(port: u16, seconds: u32, close: bool, connections: usize) -> Result<Load> {
    run_at(&format!("127.0.0.1:{port}/"), seconds, close, connections, Some(CPU))
}

/// The same for any address of this machine, on one CPU or on any.
pub(crate) fn run_at(url: &str, seconds: u32, close: bool, connections: usize, cpu: Option<usize>) -> Result<Load> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency"]).arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
    if close {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(format!("http://{url}"));
    let output = pinned(cpu, || command.output())?.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "this suite needs wrk, which is not on PATH (Debian: apt install wrk)".to_owned()
        }
        _ => format!("cannot run wrk: {error}"),
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| {
        format!("cannot read what wrk printed: {text}{}", String::from_utf8_lossy(&output.stderr)).into()
    })
}

fn parse(text: &str) -> Option<Load> {
    let after = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name).map(str::trim));
    let requests = requests(text)? as u64;
    let errors = after("Socket errors:").map_or(0, |list| list.split(',').filter_map(last_number).sum());
    Some(Load {
        requests,
        rate: after("Requests/sec:")?.parse().ok()?,
        p50: microseconds(after("50%")?)?,
        p99: microseconds(after("99%")?)?,
        failed: errors + after("Non-2xx or 3xx responses:").and_then(last_number).unwrap_or(0),
    })
}

/// From `61279 requests in 3.02s`.
pub(crate) fn requests(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok())
}

/// `connect 0` is 0.
fn last_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().last()?.parse().ok()
}

/// `812.00us`, `1.02ms` and `1.20s` as wrk writes them.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests;
