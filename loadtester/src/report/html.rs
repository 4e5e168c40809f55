//! The result as one page without anything outside of it.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::report::format::{bytes, count, percent, rate, time};
use crate::report::svg::{Axis, Series, chart};
use crate::report::{EndedBy, PERCENTILES, Report, SecondReport, TaskReport};

const STYLE: &str = include_str!("page.css");

/// The page.
#[must_use]
pub fn html(report: &Report) -> String {
    let title = escape(&report.scenario);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}: load test</title><style>\n{STYLE}</style></head><body><main>\n<h1>{title}</h1>"
    );
    let ended = if report.ended_by == EndedBy::Interrupt { ", interrupted" } else { "" };
    let _ = write!(
        out, // writing to a string cannot fail
        "<p class=\"sub\">{} · {:.1} s{ended} · started {}</p>",
        escape(&report.load.description),
        report.duration_s,
        utc(report.started)
    );
    out.push_str(&cards(report));
    for warning in &report.generator.warnings {
        let _ = write!(out, "<div class=\"note\">{}</div>", escape(warning)); // as above
    }
    out.push_str("<div class=\"charts\">");
    out.push_str(&over_time(report));
    out.push_str(&percentile_curve(report));
    out.push_str("</div>");
    thresholds(&mut out, report);
    tasks(&mut out, report);
    errors(&mut out, report);
    let _ = writeln!(
        out, // as above
        "<footer>Times of an open loop are response times: from the intended start of a request, as the schedule has it, to its \
         last byte. Service times begin when it was really started. What had no answer has a time only if it ran into a timeout. \
         rustcorn-loadtester {}</footer></main></body></html>",
        env!("CARGO_PKG_VERSION")
    );
    out
}

fn cards(report: &Report) -> String {
    let times = report.total.times();
    let at = |quantile: f64| if times.is_empty() { "–".to_owned() } else { time(times.value_at_quantile(quantile)) };
    let failed = report.total.failures;
    let mut cards = vec![
        ("requests/s", rate(report.total.rate), ""),
        ("requests", count(report.total.requests), ""),
        (
            "failed",
            if failed > 0 { percent(failed, report.total.requests) } else { "0".to_owned() },
            if failed > 0 { "bad" } else { "good" },
        ),
        ("p50", at(0.5), ""),
        ("p90", at(0.9), ""),
        ("p99", at(0.99), ""),
        ("max", at(1.0), ""),
    ];
    if let Some(schedule) = &report.schedule {
        cards.push(("of the target rate", percent(schedule.started, schedule.due), ""));
    }
    if report.unfinished + report.unstarted > 0 {
        cards.push((
            "unfinished + not sent",
            format!("{} + {}", count(report.unfinished), count(report.unstarted)),
            "bad",
        ));
    }
    cards.push(("CPU of this tool", format!("{:.0} %", report.generator.cpu.iter().copied().fold(0.0, f64::max)), ""));
    let cards: String = cards
        .into_iter()
        .map(|(name, value, class)| format!("<div class=\"card {class}\"><span>{name}</span><b>{value}</b></div>"))
        .collect();
    format!("<div class=\"cards\">{cards}</div>")
}

/// Charts with time from left to right.
fn over_time(report: &Report) -> String {
    let end = report.seconds.last().map_or(1.0, |second| second.at_s);
    // A last piece of some milliseconds says nothing about a rate.
    let whole: Vec<&SecondReport> = report.seconds.iter().filter(|second| second.length_s > 0.2).collect();
    let points = |value: &dyn Fn(&SecondReport) -> Option<f64>| {
        whole.iter().map(|second| Some((second.at_s - second.length_s / 2.0, value(second)?))).collect::<Vec<_>>()
    };
    let most = |series: &[Series]| {
        series.iter().flat_map(|line| line.points.iter().flatten()).map(|(_, value)| *value).fold(0.0, f64::max)
    };
    let x = Axis::time(end);
    let rate_label = |at: f64, value: f64| format!("{}/s at {at:.0} s", rate(value));
    let mut rates = vec![Series {
        name: "finished",
        class: "a",
        points: points(&|second| Some(second.requests as f64 / second.length_s)),
        filled: true,
        label: rate_label,
    }];
    if report.load.open {
        let points = points(&|second| second.target_rate);
        rates.push(Series { name: "target", class: "g", points, filled: false, label: rate_label });
    }
    if report.total.failures > 0 {
        let points = points(&|second| Some(second.failures as f64 / second.length_s));
        rates.push(Series { name: "failed", class: "e", points, filled: false, label: rate_label });
    }
    let y = Axis::linear(0.0, most(&rates).max(1.0), short);
    let mut out = chart("Requests per second", &x, &y, &rates);

    let time_label = |at: f64, value: f64| format!("{} at {at:.0} s", time(value as u64));
    let of = |pick: fn(&crate::report::SecondTimes) -> u64| points(&|second| Some(pick(second.times.as_ref()?) as f64));
    let line = |name, class, points| Series { name, class, points, filled: false, label: time_label };
    let times = vec![
        line("p50", "a", of(|times| times.p50)),
        line("p90", "b", of(|times| times.p90)),
        line("p99", "c", of(|times| times.p99)),
        line("max", "d", of(|times| times.max)),
    ];
    let least = times[0].points.iter().flatten().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    if least.is_finite() {
        let y = Axis::log(least, most(&times), |value| time(value as u64));
        let title = if report.load.open { "Response time" } else { "Service time" };
        out.push_str(&chart(title, &x, &y, &times));
    }
    let users = Series {
        name: if report.load.open { "connections" } else { "users" },
        class: "b",
        points: points(&|second| Some(f64::from(second.users))),
        filled: true,
        label: |at, value| format!("{value:.0} at {at:.0} s"),
    };
    let y = Axis::linear(0.0, most(std::slice::from_ref(&users)).max(1.0), short);
    let title = if report.load.open { "Connections" } else { "Users" };
    out.push_str(&chart(title, &x, &y, &[users]));
    out
}

/// Times by percentile, stretched to the right so that each nine has the same room.
fn percentile_curve(report: &Report) -> String {
    let main = report.total.times();
    if main.is_empty() {
        return String::new();
    }
    let curve = |histogram: &Histogram<u64>| {
        let steps = 40_u32;
        let last = (histogram.len() as f64).max(10.0).log10();
        let points = (0..=(last * f64::from(steps)) as u32).map(|step| 10_f64.powf(f64::from(step) / f64::from(steps)));
        points
            .map(|nines| Some((nines, histogram.value_at_quantile(1.0 - 1.0 / nines).max(1) as f64)))
            .collect::<Vec<_>>()
    };
    let label = |nines: f64, value: f64| format!("{:.4} % are within {}", 100.0 - 100.0 / nines, time(value as u64));
    let line = |name, class, points| Series { name, class, points, filled: false, label };
    let mut series = Vec::new();
    if report.load.open {
        series.push(line("response time", "d", curve(main)));
    }
    series.push(line("service time", "a", curve(&report.total.service.0)));
    let values = || series.iter().flat_map(|line| line.points.iter().flatten()).map(|(_, value)| *value);
    let y = Axis::log(values().fold(f64::INFINITY, f64::min), values().fold(1.0, f64::max), |value| time(value as u64));
    let most = (main.len() as f64).max(10.0);
    let nines = [
        (1.0, "0 %"),
        (2.0, "50 %"),
        (10.0, "90 %"),
        (100.0, "99 %"),
        (1e3, "99.9 %"),
        (1e4, "99.99 %"),
        (1e5, "99.999 %"),
        (1e6, "99.9999 %"),
        (1e7, "99.99999 %"),
    ];
    let ticks = nines.iter().filter(|(at, _)| *at <= most).map(|(at, text)| (*at, (*text).to_owned())).collect();
    chart("Percentiles", &Axis::log_with(1.0, most, ticks), &y, &series)
}

fn thresholds(out: &mut String, report: &Report) {
    if report.thresholds.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Thresholds</h2><div class=\"table\"><table><tr><th>condition</th><th>measured</th><th></th></tr>",
    );
    for threshold in &report.thresholds {
        let (class, text) = if threshold.held { ("good", "held") } else { ("bad", "FAILED") };
        let (condition, measured) = (escape(&threshold.condition), escape(&threshold.measured));
        let _ = write!(out, "<tr><td>{condition}</td><td>{measured}</td><td class=\"{class}\">{text}</td></tr>"); // as above
    }
    out.push_str("</table></div>");
}

fn tasks(out: &mut String, report: &Report) {
    let head: String = PERCENTILES.iter().map(|(name, _)| format!("<th>{name}</th>")).collect();
    let title = if report.load.open { "Tasks, response times" } else { "Tasks, service times" };
    let _ = write!(
        out, // as above
        "<h2>{title}</h2><div class=\"table\"><table><tr><th>task</th><th>requests</th><th>failed</th><th>per second</th>\
         <th>received</th>{head}</tr>"
    );
    let total = (report.tasks.len() > 1).then_some((&report.total, "total"));
    for (task, class) in report.tasks.iter().map(|task| (task, "")).chain(total) {
        row(out, task, class);
    }
    out.push_str("</table></div>");
}

fn row(out: &mut String, task: &TaskReport, class: &str) {
    let times = task.times();
    let cells: String = PERCENTILES
        .iter()
        .map(|(_, quantile)| if times.is_empty() { "–".to_owned() } else { time(times.value_at_quantile(*quantile)) })
        .map(|text| format!("<td>{text}</td>"))
        .collect();
    let bad = if task.failures > 0 { "bad" } else { "" };
    let _ = write!(
        out, // as above
        "<tr class=\"{class}\"><td>{}</td><td>{}</td><td class=\"{bad}\">{}</td><td>{}</td><td>{}</td>{cells}</tr>",
        escape(&task.title()),
        count(task.requests),
        count(task.failures),
        rate(task.rate),
        bytes(task.bytes)
    );
}

fn errors(out: &mut String, report: &Report) {
    if report.errors.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Errors</h2><div class=\"table\"><table><tr><th>kind</th><th style=\"text-align:left\">what</th>\
         <th style=\"text-align:left\">task</th><th>count</th><th>first</th><th>last</th></tr>",
    );
    for error in &report.errors {
        let _ = write!(
            out, // as above
            "<tr><td>{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td><td>{}</td><td>{:.1} s</td><td>{:.1} s</td></tr>",
            error.kind.name(),
            escape(&error.message),
            escape(&error.task),
            count(error.occurrences),
            error.first_s,
            error.last_s
        );
    }
    out.push_str("</table></div>");
}

/// `12k` where there is little room.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e4.. => format!("{}k", value / 1e3),
        _ => format!("{}", (value * 100.0).round() / 100.0),
    }
}

/// Text into HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `2026-11-23 14:05:09 UTC` of Unix seconds.
fn utc(unix: f64) -> String {
    let time = jiff::Timestamp::from_second(unix as i64).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
