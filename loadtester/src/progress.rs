//! What is said while a run goes on: two rows that change on a terminal, else a line now and then.

use std::io::{self, IsTerminal, Write as _};

use crate::report::{SecondReport, count, time};
use crate::stats::Interval;

/// Where progress is shown: on standard error, so that the result can be redirected.
pub struct Progress {
    shown: Shown,
    /// Rows are on the terminal that the next ones replace.
    open: bool,
}

#[derive(PartialEq, Eq)]
enum Shown {
    Nothing,
    Lines,
    Terminal,
}

/// Without a terminal, every second at first and then this rarely.
const EVERY: u64 = 10;

impl Progress {
    /// As standard error wants it, or not at all.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let shown = match quiet {
            true => Shown::Nothing,
            false if io::stderr().is_terminal() => Shown::Terminal,
            false => Shown::Lines,
        };
        Self { shown, open: false }
    }

    /// A second is over.
    pub(crate) fn second(&mut self, second: &SecondReport, sum: &Interval) {
        let at = second.at_s.round() as u64;
        let (load, outcome) = (load(second), outcome(second, sum));
        // A closed terminal is no reason to stop measuring.
        let _ = match self.shown {
            Shown::Nothing => Ok(()),
            Shown::Lines if at > EVERY && !at.is_multiple_of(EVERY) => Ok(()),
            Shown::Lines => writeln!(io::stderr(), "{load}  {outcome}"),
            Shown::Terminal => {
                let rows = rows(self.open, &load, &outcome);
                self.open = true;
                write!(io::stderr(), "{rows}").and_then(|()| io::stderr().flush())
            }
        };
    }

    /// The run is over.
    pub(crate) fn end(&mut self) {
        if self.open {
            let _ = writeln!(io::stderr()); // as above
        }
    }
}

/// Two rows, in place of those before. What is too long is cut off by the terminal: a row that goes on in the next one could
/// not be replaced.
fn rows(again: bool, load: &str, outcome: &str) -> String {
    let up = if again { "\x1b[1A" } else { "" };
    format!("\r{up}\x1b[?7l\x1b[2K{load}\n\x1b[2K        {outcome}\x1b[?7h")
}

fn load(second: &SecondReport) -> String {
    let rate = (second.requests as f64 / second.length_s).round() as u64;
    let target = second.target_rate.map_or_else(String::new, |target| format!(" of {}", count(target.round() as u64)));
    let connections = if second.target_rate.is_some() { "connections" } else { "users" };
    format!("{:>4.0} s  {} {connections}  {}{target} req/s", second.at_s, second.users, count(rate))
}

fn outcome(second: &SecondReport, sum: &Interval) -> String {
    let times = second.times.as_ref().map_or_else(
        || "nothing finished".to_owned(),
        |times| format!("p50 {}, p90 {}, p99 {}", time(times.p50), time(times.p90), time(times.p99)),
    );
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    for failure in &sum.failures {
        match kinds.iter_mut().find(|(name, _)| *name == failure.kind.name()) {
            Some((_, occurrences)) => *occurrences += failure.occurrences,
            None => kinds.push((failure.kind.name(), failure.occurrences)),
        }
    }
    kinds.sort_by_key(|(_, occurrences)| std::cmp::Reverse(*occurrences));
    let texts: Vec<String> =
        kinds.iter().map(|(name, occurrences)| format!("{name} {}", count(*occurrences))).collect();
    let errors = if texts.is_empty() { "0".to_owned() } else { texts.join(", ") };
    format!("{times}  errors: {errors}")
}

#[cfg(test)]
mod tests;
