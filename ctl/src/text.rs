//! Answers for people: tables and sentences.

use rustcorn_control::data::{self, Value};
use rustcorn_control::{Command, HELP};

use crate::read;

/// What the answer to a command says.
pub(crate) fn of(command: &Command, data: Value) -> Result<String, String> {
    Ok(match command {
        Command::Help => format!("{HELP}\n"),
        Command::ShowWorkers => workers(&read(data)?),
        Command::ShowStats => stats(&read(data)?),
        Command::ShowConfig => config(&read(data)?),
        Command::ShowListeners => listeners(&read(data)?),
        Command::ShowDurations => durations(&read(data)?),
        Command::ShowAll => {
            let all: data::All = read(data)?;
            let parts = [stats(&all.stats), workers(&all.workers), listeners(&all.listeners), config(&all.config)];
            parts.join("\n")
        }
        Command::Add { .. } | Command::Remove { .. } => {
            let data::Target { previous, target } = read(data)?;
            let plural = if target == 1 { "" } else { "s" };
            if previous == target {
                format!("{target} worker{plural}, as before\n")
            } else {
                format!("{target} worker{plural} instead of {previous}\n")
            }
        }
        Command::Restart { .. } => replaced(&read(data)?, "replaced", "to be replaced once its successor is ready"),
        Command::Kill { .. } => replaced(&read(data)?, "replaced", "told to finish and leave"),
        Command::Reload { .. } => match read(data)? {
            data::Reloaded { generation: Some(generation), draining, .. } => {
                let rest = match draining {
                    0 => String::new(),
                    1 => "; 1 older worker still finishes its requests".to_owned(),
                    n => format!("; {n} older workers still finish their requests"),
                };
                format!("Reloaded: generation {generation} is serving{rest}\n")
            }
            _ => "asked to reload; the log says how it goes, and so does --wait\n".to_owned(),
        },
        Command::Reopen => "asked to open the log files again\n".to_owned(),
        Command::Shutdown { .. } => "the server is stopping\n".to_owned(),
    })
}

fn replaced(replaced: &data::Replaced, done: &str, begun: &str) -> String {
    let what = if replaced.done { done } else { begun };
    let line = |worker: &data::WorkerName| {
        let pid = worker.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        format!("worker {} (pid {pid}): {what}\n", worker.slot)
    };
    if replaced.workers.is_empty() {
        return "no worker is ready, so there is none to replace\n".to_owned();
    }
    replaced.workers.iter().map(line).collect()
}

fn workers(workers: &data::Workers) -> String {
    let head = ["SLOT", "PID", "GEN", "STATE", "AGE", "REQUESTS", "IN FLIGHT", "CONNS", "RSS", "HEARTBEAT", "POLLING"];
    let row = |worker: &data::Worker| {
        let none = || "-".to_owned();
        let count = |count: Option<u64>| count.map_or_else(none, |count| count.to_string());
        vec![
            worker.slot.to_string(),
            worker.pid.map_or_else(none, |pid| pid.to_string()),
            worker.generation.to_string(),
            state(worker),
            age(worker.age),
            count(worker.requests),
            count(worker.in_flight),
            count(worker.connections),
            worker.rss.map_or_else(none, size),
            worker.heartbeat_age.map_or_else(none, |age| format!("{age:.1}s ago")),
            polling(worker),
        ]
    };
    table(&head, "<>><>>>>>><", workers.workers.iter().map(row))
}

/// The state in a word or two.
pub(crate) fn state(worker: &data::Worker) -> String {
    if worker.due { format!("{}, due", worker.state) } else { worker.state.clone() }
}

/// What keeps its event loop busy.
fn polling(worker: &data::Worker) -> String {
    let one = |polling: &data::Polling| format!("{} for {:.1}s", printable(&polling.request), polling.seconds);
    worker.polling.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a client has sent does not steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn stats(stats: &data::Stats) -> String {
    let data::Stats { workers, reloads, .. } = stats;
    let counts = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    let unknown = || "- (nobody sees what foreign programs serve)".to_owned();
    let requests = stats.requests.map(|requests| {
        let data::RequestCounts { total, response_bytes, in_flight, aborted } = requests;
        format!("{total}, {response_bytes} bytes; {in_flight} in flight, {aborted} aborted")
    });
    let connections = stats.connections.map(|connections| {
        let data::ConnectionCounts { open, accepted, spread } = connections;
        format!("{open} open, {accepted} accepted, spread {spread:.2}")
    });
    let responses = if stats.responses.is_empty() { "-".to_owned() } else { counts(&stats.responses) };
    let lines = [
        ("server", format!("{} (rustcorn {}), {}", stats.name, stats.version, stats.phase)),
        ("master", format!("pid {}, up {}", stats.pid, age(stats.uptime))),
        ("generation", format!("{}; reloads: {} ok, {} failed", stats.generation, reloads.ok, reloads.failed)),
        (
            "workers",
            format!(
                "{} wanted: {} ready, {} booting, {} draining",
                workers.target, workers.ready, workers.booting, workers.draining
            ),
        ),
        ("requests", requests.unwrap_or_else(unknown)),
        ("responses", responses),
        ("connections", connections.unwrap_or_else(|| "-".to_owned())),
        ("restarts", counts(&stats.restarts)),
        ("recycles", counts(&stats.recycles)),
    ];
    lines.iter().map(|(name, text)| format!("{name:<12} {text}\n")).collect()
}

fn config(config: &data::Config) -> String {
    let row = |setting: &data::Setting| {
        vec![setting.key.clone(), printable(&setting.value.to_string()), setting.origin.clone()]
    };
    table(&["SETTING", "VALUE", "FROM"], "<<<", config.settings.iter().map(row))
}

fn listeners(listeners: &data::Listeners) -> String {
    let row = |listener: &data::Listener| {
        let waiting = listener.backlog.map_or_else(|| "-".to_owned(), |waiting| waiting.to_string());
        vec![listener.setting.clone(), listener.url.clone(), waiting]
    };
    table(&["SETTING", "ADDRESS", "WAITING"], "<<>", listeners.listeners.iter().map(row))
}

fn durations(durations: &data::Durations) -> String {
    let count: u64 = durations.durations.iter().map(|(_, count)| count).sum();
    let row =
        |(name, q): (&str, f64)| vec![name.to_owned(), durations.quantile(q).map_or_else(|| "-".to_owned(), took)];
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
    format!("requests {count}\n") + &table(&["QUANTILE", "TOOK"], "<>", quantiles.into_iter().map(row))
}

/// Columns as wide as they have to be: `<` is flush left, `>` flush right.
fn table(head: &[&str], flush: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
    let rows: Vec<Vec<String>> = [head].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..flush.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).zip(flush.chars());
        let cells = cells.map(|((cell, width), flush)| match flush {
            '>' => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A time in one or two units.
pub(crate) fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86400 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d{:02}h", whole / 86400, whole % 86400 / 3600),
    }
}

/// A request's time.
pub(crate) fn took(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// Memory.
pub(crate) fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.1}M") } else { format!("{:.1}G", mebibytes / 1024.0) }
}

#[cfg(test)]
mod tests;
