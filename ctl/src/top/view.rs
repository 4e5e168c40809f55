//! How it looks: five lines of numbers, a table, a line at the bottom. Fits on 80 × 24 and takes what there is.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};
use rustcorn_control::{Command, data};

use super::model::{Picture, Row};
use super::state::State;
use crate::text::{age, printable, size, state as worker_state, took};

/// Lines that are not workers: the numbers, a blank one, the table's head, a blank one, the bottom.
pub(crate) const FRAME: u16 = 9;
const KEYS: &str = "q quit   + - workers   r reload   ↑ ↓ scroll";

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

pub(crate) fn draw(frame: &mut Frame<'_>, state: &State) {
    let [numbers, _, table, _, bottom] = Layout::vertical([
        Constraint::Length(5),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    if let Some(picture) = &state.picture {
        header(frame, numbers, picture, state.trouble.is_some());
        workers(frame, table, picture, state.scrolled);
    } else {
        frame.render_widget(Paragraph::new("looking at the server …"), numbers);
    }
    frame.render_widget(Paragraph::new(last_line(state)), bottom);
}

/// The most urgent of what there is to say.
fn last_line(state: &State) -> Line<'static> {
    if let Some(command) = &state.question {
        return Line::styled(question(*command), BOLD.fg(Color::Yellow));
    }
    if let Some(trouble) = &state.trouble {
        return Line::styled(trouble.clone(), Style::new().fg(Color::Red));
    }
    match &state.message {
        Some(message) => Line::raw(message.clone()),
        None => Line::styled(KEYS, DIM),
    }
}

fn question(command: Command) -> String {
    let what = match command {
        Command::Add { .. } => "add a worker",
        Command::Remove { .. } => "remove a worker",
        _ => "reload the configuration and replace all workers",
    };
    format!("{what}? y / n")
}

fn header(frame: &mut Frame<'_>, area: Rect, picture: &Picture, is_old: bool) {
    let Picture { stats, .. } = picture;
    let (workers, reloads) = (stats.workers, stats.reloads);
    let phase = if is_old { "NO ANSWER" } else { stats.phase.as_str() };
    let phase_style =
        if is_old || stats.phase != "running" { BOLD.fg(Color::Red) } else { Style::new().fg(Color::Green) };
    let enough = if workers.ready >= workers.target { Style::new() } else { Style::new().fg(Color::Yellow) };
    let restarts: u64 = stats.restarts.values().sum();
    let recycles: u64 = stats.recycles.values().sum();
    let latency = |took_: Option<f64>| took_.map_or_else(none, took);
    let load = match (stats.requests, stats.connections) {
        (Some(requests), Some(connections)) => {
            let data::ConnectionCounts { open, spread, .. } = connections;
            format!("         {} in flight   {open} connections   spread {spread:.2}", requests.in_flight)
        }
        _ => "         - in flight   - connections   nobody sees what foreign programs serve".to_owned(),
    };
    let served = stats.requests.map_or_else(none, |requests| short(requests.total));
    let errors = if picture.errors_per_second > Some(0.0) { BOLD.fg(Color::Red) } else { Style::new() };
    let lines = vec![
        Line::from(vec![
            Span::styled(stats.name.clone(), BOLD),
            Span::raw(format!("   rustcorn {}   pid {}   up {}   ", stats.version, stats.pid, age(stats.uptime))),
            Span::styled(phase.to_owned(), phase_style),
        ]),
        Line::from(vec![
            Span::raw("workers  "),
            Span::styled(format!("{} of {} ready", workers.ready, workers.target), enough),
            Span::raw(format!("   {} booting   {} draining", workers.booting, workers.draining)),
            Span::raw(format!("   generation {}", stats.generation)),
        ]),
        Line::from(vec![
            Span::raw("requests "),
            Span::styled(format!("{}/s", rate(picture.requests_per_second)), BOLD),
            Span::raw(format!("   p50 {}   p99 {}   ", latency(picture.p50), latency(picture.p99))),
            Span::styled(format!("5xx {}/s", rate(picture.errors_per_second)), errors),
        ]),
        Line::from(load),
        Line::from(format!(
            "so far   {served} served   {restarts} restarts   {recycles} recycled   reloads {} ok {} failed",
            reloads.ok, reloads.failed
        )),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

fn workers(frame: &mut Frame<'_>, area: Rect, picture: &Picture, scrolled: usize) {
    let head = ["SLOT", "    PID", " GEN", "STATE", "   AGE", "  REQ/S", "FLIGHT", " CONNS", "    RSS", "BUSY WITH"];
    let widths = [4, 7, 4, 10, 6, 7, 6, 6, 7].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    let rows = picture.workers.iter().skip(scrolled).map(row);
    let head = TableRow::new(head).style(BOLD);
    frame.render_widget(Table::new(rows, widths).header(head).column_spacing(1), area);
}

fn row(row: &Row) -> TableRow<'static> {
    let worker = &row.worker;
    let colour = match worker.state.as_str() {
        "ready" if worker.due => Color::Cyan,
        "ready" => Color::Green,
        "booting" => Color::Yellow,
        "draining" => Color::Blue,
        _ => Color::Red,
    };
    // The time first: where the path is cut, that is still there.
    let busy = worker.polling.iter().map(|one| format!("{:.1}s {}", one.seconds, printable(&one.request)));
    let busy = busy.collect::<Vec<_>>().join(", ");
    let count = |count: Option<u64>| count.map_or_else(none, |count| count.to_string());
    let cells = [
        Cell::from(format!("{:>4}", worker.slot)),
        Cell::from(format!("{:>7}", worker.pid.map_or_else(none, |pid| pid.to_string()))),
        Cell::from(format!("{:>4}", worker.generation)),
        Cell::from(worker_state(worker)).style(Style::new().fg(colour)),
        Cell::from(format!("{:>6}", age(worker.age))),
        Cell::from(format!("{:>7}", rate(row.requests_per_second))),
        Cell::from(format!("{:>6}", count(worker.in_flight))),
        Cell::from(format!("{:>6}", count(worker.connections))),
        Cell::from(format!("{:>7}", worker.rss.map_or_else(none, size))),
        Cell::from(busy),
    ];
    TableRow::new(cells)
}

fn none() -> String {
    "-".to_owned()
}

/// Whole numbers, but for a trickle.
fn rate(rate: Option<f64>) -> String {
    match rate {
        None => none(),
        Some(rate) if rate > 0.0 && rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => short(rate.round() as u64),
    }
}

/// At most six characters.
fn short(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..10_000_000 => format!("{}k", number / 1000),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}
