//! The result as text, for a terminal.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::report::format::{bytes, count, percent, rate, time};
use crate::report::{EndedBy, Hdr, PERCENTILES, Report, TaskReport};

/// Columns under each other: the first to the left, the others to the right.
fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 {
                line = format!("  {cell:<width$}");
            } else {
                let _ = write!(line, "  {cell:>width$}"); // writing to a string cannot fail
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn times(label: &str, histogram: &Histogram<u64>) -> Vec<String> {
    let mut row = vec![label.to_owned()];
    for (_, quantile) in PERCENTILES {
        row.push(if histogram.is_empty() { "–".to_owned() } else { time(histogram.value_at_quantile(quantile)) });
    }
    row.push(if histogram.is_empty() { "–".to_owned() } else { time(histogram.mean().round() as u64) });
    row
}

/// The whole report.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    let ended = match report.ended_by {
        EndedBy::Duration | EndedBy::Requests => "",
        EndedBy::Interrupt => ", interrupted",
    };
    let _ = writeln!(out, "{}: {}, {:.1} s{ended}\n", report.scenario, report.load.description, report.duration_s);

    let mut rows = vec![["task", "requests", "failed", "", "per second", "received"].map(str::to_owned).to_vec()];
    let row = |task: &TaskReport| {
        let failed = if task.failures == 0 { String::new() } else { percent(task.failures, task.requests) };
        vec![task.title(), count(task.requests), count(task.failures), failed, rate(task.rate), bytes(task.bytes)]
    };
    let several = report.tasks.len() > 1;
    rows.extend(report.tasks.iter().map(row));
    if several {
        rows.push(row(&report.total));
    }
    out.push_str(&columns(&rows));

    let head = |title: &str| {
        let names = PERCENTILES.iter().map(|(name, _)| (*name).to_owned());
        std::iter::once(title.to_owned()).chain(names).chain(["mean".to_owned()]).collect::<Vec<_>>()
    };
    let all = || report.tasks.iter().chain(several.then_some(&report.total));
    let mut rows = Vec::new();
    if report.load.open {
        rows.push(head("response time (from the intended start)"));
        rows.extend(all().filter_map(|task| Some(times(&task.title(), &task.response.as_ref()?.0))));
        rows.push(vec![String::new(); rows[0].len()]);
    }
    rows.push(head("service time (from the start)"));
    rows.extend(all().map(|task| times(&task.title(), &task.service.0)));
    let _ = write!(out, "\n{}", columns(&rows));

    if !report.errors.is_empty() {
        let mut rows = vec![["error", "task", "count", "first", "last"].map(str::to_owned).to_vec()];
        for error in &report.errors {
            rows.push(vec![
                format!("{}: {}", error.kind.name(), error.message),
                error.task.clone(),
                count(error.occurrences),
                format!("{:.1} s", error.first_s),
                format!("{:.1} s", error.last_s),
            ]);
        }
        let _ = write!(out, "\n{}", columns(&rows));
    }
    out.push('\n');
    out.push_str(&facts(report));
    for trace in &report.slowest {
        let task = report.tasks.get(trace.task).map_or_else(String::new, TaskReport::title);
        let _ = writeln!(out, "  slow trace: {} {} {task}", trace.trace_id, time(trace.service_us));
    }
    for warning in &report.generator.warnings {
        let _ = writeln!(out, "\n  WARNING: {warning}");
    }
    if !report.thresholds.is_empty() {
        out.push('\n');
        for threshold in &report.thresholds {
            let mark = if threshold.held { "ok    " } else { "FAILED" };
            let _ = writeln!(out, "  {mark} {}: {}", threshold.condition, threshold.measured);
        }
    }
    out
}

/// What is not about tasks, in sentences.
fn facts(report: &Report) -> String {
    let mut out = String::new();
    let p99 = |hdr: &Hdr| time(hdr.0.value_at_quantile(0.99));
    if report.unfinished + report.unstarted > 0 {
        let _ = writeln!(
            out,
            "  at the end: {} sent and unfinished, {} due and not sent (in no other figure)",
            count(report.unfinished),
            count(report.unstarted)
        );
    }
    if let Some(schedule) = &report.schedule {
        let _ = writeln!(
            out,
            "  schedule: {} of {} due requests started ({}); start delay p99 {}, of it the generator's p99 {}; {} waited for a connection",
            count(schedule.started),
            count(schedule.due),
            percent(schedule.started, schedule.due),
            p99(&schedule.delay),
            p99(&schedule.late),
            count(schedule.queued)
        );
    }
    let connect = if report.connections == 0 { String::new() } else { format!(", p99 {}", p99(&report.connect_time)) };
    let _ = writeln!(out, "  connections: {} opened{connect}", count(report.connections));
    let each: Vec<String> = report.generator.cpu.iter().map(|cpu| format!("{cpu:.0} %")).collect();
    let _ = writeln!(
        out,
        "  load generator: {} {} at {} CPU, {:.1} µs per request",
        report.load.threads,
        if report.load.threads == 1 { "thread" } else { "threads" },
        each.join(", "),
        report.generator.cpu_per_request_us
    );
    out
}
