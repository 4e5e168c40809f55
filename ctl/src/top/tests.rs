//! The picture, and the keys.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use rustcorn_control::data::{self, Durations, Workers};
use serde_json::json;

use super::*;

fn stats(uptime: f64, total: u64, errors: u64) -> data::Stats {
    serde_json::from_value(json!({
        "version": "0.1.0", "name": "hello", "pid": 4123, "uptime": uptime, "phase": "running", "generation": 2,
        "workers": {"target": 4, "ready": 3, "booting": 1, "draining": 0},
        "requests": {"total": total, "aborted": 0, "in_flight": 5, "response_bytes": 1},
        "connections": {"open": 64, "accepted": 99, "spread": 1.25}, "responses": {"2xx": total - errors, "5xx": errors},
        "restarts": {"killed": 1, "hang": 2}, "recycles": {}, "reloads": {"ok": 1, "failed": 0},
    }))
    .unwrap()
}

fn worker(slot: usize, state: &str, requests: u64) -> data::Worker {
    let polling = if slot == 1 { json!([{"request": "GET /block", "seconds": 3.2}]) } else { json!([]) };
    serde_json::from_value(json!({
        "slot": slot, "pid": 5000 + slot, "generation": 2, "state": state, "due": false, "age": 61.0, "heartbeat_age": 0.1,
        "requests": requests, "in_flight": 1, "connections": 16, "rss": 3_400_000, "polling": polling,
    }))
    .unwrap()
}

fn look_at(uptime: f64, total: u64, errors: u64, done: [u64; 3], durations: Vec<(u64, u64)>) -> Sample {
    let [a, b, c] = done;
    let workers = vec![worker(0, "ready", a), worker(1, "ready", b), worker(2, "booting", c)];
    Sample { stats: stats(uptime, total, errors), workers: Workers { workers }, durations: Durations { durations } }
}

fn picture() -> Picture {
    let before = look_at(100.0, 1000, 10, [400, 600, 0], vec![(1_000_000, 1000)]);
    let now =
        look_at(102.0, 25_690, 13, [12_400, 12_945, 0], vec![(1_000_000, 1001), (200_000, 24_000), (5_000_000, 689)]);
    let mut sorted = now;
    sorted.durations.durations.sort_unstable();
    Picture::of(&before, sorted)
}

fn drawn(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, state)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    buffer.content().chunks(usize::from(width)).map(|cells| line(cells).trim_end().to_owned()).collect()
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

#[test]
fn the_rates_are_of_the_time_between_the_looks() {
    let picture = picture();
    let rates = (picture.requests_per_second, picture.errors_per_second);
    assert_eq!((picture.interval, rates), (2.0, (Some(12_345.0), Some(1.5))));
    assert_eq!((picture.p50, picture.p99), (Some(0.0002), Some(0.005)));
    assert_eq!(picture.workers[0].requests_per_second, Some(6000.0));

    let other_master =
        Sample { stats: data::Stats { pid: 1, ..stats(5.0, 9, 0) }, ..look_at(5.0, 9, 0, [9, 9, 9], vec![(1, 9)]) };
    let picture = Picture::of(&look_at(100.0, 1000, 0, [1, 1, 1], vec![]), other_master);
    assert_eq!((picture.requests_per_second, picture.p50), (Some(0.0), None), "nothing to compare with");
}

#[test]
fn it_fits_on_a_small_terminal() {
    let state = State { picture: Some(picture()), ..State::default() };
    let lines = drawn(&state, 80, 24);
    let expected = [
        "hello   rustcorn 0.1.0   pid 4123   up 1m42s   running",
        "workers  3 of 4 ready   1 booting   0 draining   generation 2",
        "requests 12345/s   p50 200 µs   p99 5.0 ms   5xx 1.5/s",
        "         5 in flight   64 connections   spread 1.25",
        "so far   25690 served   3 restarts   0 recycled   reloads 1 ok 0 failed",
        "",
        "SLOT     PID  GEN STATE         AGE   REQ/S FLIGHT  CONNS     RSS BUSY WITH",
        "   0    5000    2 ready       1m01s    6000      1     16    3.2M",
        "   1    5001    2 ready       1m01s    6173      1     16    3.2M 3.2s GET /bloc",
        "   2    5002    2 booting     1m01s       0      1     16    3.2M",
    ];
    assert_eq!(lines[..expected.len()], expected, "{lines:#?}");
    assert_eq!(lines[23], "q quit   + - workers   r reload   ↑ ↓ scroll");
    let wide = drawn(&state, 120, 30);
    assert!(wide[8].ends_with("3.2s GET /block"), "{wide:#?}");
    for (width, height) in [(1, 1), (10, 3), (80, 8)] {
        drawn(&state, width, height); // whatever is left of it
    }
}

/// Foreign programs.
#[test]
fn what_nobody_knows_is_no_zero() {
    let unseen = data::Stats { requests: None, connections: None, responses: [].into(), ..stats(9.0, 0, 0) };
    let unseen_worker = data::Worker { requests: None, in_flight: None, connections: None, ..worker(0, "ready", 0) };
    let workers = Workers { workers: vec![unseen_worker] };
    let look = Sample { stats: unseen, workers, durations: Durations::default() };
    let state = State { picture: Some(Picture::of(&look.clone(), look)), ..State::default() };
    let lines = drawn(&state, 80, 24);
    let expected = [
        "requests -/s   p50 -   p99 -   5xx -/s",
        "         - in flight   - connections   nobody sees what foreign programs serve",
        "so far   - served   3 restarts   0 recycled   reloads 1 ok 0 failed",
        "",
        "SLOT     PID  GEN STATE         AGE   REQ/S FLIGHT  CONNS     RSS BUSY WITH",
        "   0    5000    2 ready       1m01s       -      -      -    3.2M",
    ];
    assert_eq!(lines[2..8], expected, "{lines:#?}");
}

#[test]
fn a_server_that_does_not_answer_is_said_to() {
    let mut state = State { picture: Some(picture()), trouble: Some("no answer within 3s".into()), ..State::default() };
    let lines = drawn(&state, 80, 24);
    assert!(lines[0].ends_with("NO ANSWER") && lines[23] == "no answer within 3s", "{lines:#?}");
    state.see(picture(), Instant::now());
    assert!(drawn(&state, 80, 24)[0].ends_with("running"));
}

#[test]
fn what_changes_something_is_asked_first() {
    let mut state = State { picture: Some(picture()), ..State::default() };
    let commands = [
        ('+', Command::Add { count: 1, wait: false }),
        ('-', Command::Remove { count: 1 }),
        ('r', Command::Reload { wait: true }),
    ];
    for (letter, command) in commands {
        assert_eq!(state.press(key(KeyCode::Char(letter))), None);
        assert!(drawn(&state, 80, 24)[23].ends_with("? y / n"));
        assert_eq!(state.press(key(KeyCode::Char('q'))), None, "a no, and not the end");
        assert_eq!(state.press(key(KeyCode::Char(letter))), None);
        assert_eq!(state.press(key(KeyCode::Char('y'))), Some(Do::Tell(command)));
        assert_eq!(drawn(&state, 80, 24)[23], format!("{command} …"));
    }
    let shown = Instant::now();
    for (seconds, still) in [(0, true), (14, true), (15, false)] {
        state.see(picture(), shown + Duration::from_secs(seconds));
        assert_eq!(state.message.is_some(), still, "{seconds}");
    }
    assert_eq!(state.press(key(KeyCode::Char('q'))), Some(Do::Leave { interrupted: false }));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.press(interrupt), Some(Do::Leave { interrupted: true }));
}

#[test]
fn many_workers_scroll() {
    let mut state = State { picture: Some(picture()), ..State::default() };
    state.press(key(KeyCode::Down));
    assert!(drawn(&state, 80, 24)[7].starts_with("   1"));
    state.press(key(KeyCode::End));
    state.press(key(KeyCode::Down));
    assert!(drawn(&state, 80, 24)[7].starts_with("   2"));
    state.press(key(KeyCode::PageUp));
    assert!(drawn(&state, 80, 24)[7].starts_with("   0"));
}
