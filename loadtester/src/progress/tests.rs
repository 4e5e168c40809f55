//! What a run says of itself while it goes on.

use super::*;
use crate::report::sample;
use crate::stats::{ErrorKind, Failure};

fn failure(kind: ErrorKind, message: &str, occurrences: u64) -> Failure {
    Failure { task: 0, kind, message: message.to_owned(), occurrences, first_seen: 0.0, last_seen: 1.0 }
}

#[test]
fn a_second_has_its_rate_its_percentiles_and_all_errors_by_kind() {
    let report = sample();
    let mut sum = Interval::empty(1);
    assert_eq!(load(&report.seconds[0]), "   1 s  3 connections  500 of 510 req/s");
    assert_eq!(outcome(&report.seconds[0], &sum), "p50 500 µs, p90 900 µs, p99 990 µs  errors: 0");
    sum.failures = vec![
        failure(ErrorKind::Status, "status 500", 3),
        failure(ErrorKind::Refused, "refused", 1_000),
        failure(ErrorKind::Status, "status 503", 4),
    ];
    assert_eq!(outcome(&report.seconds[1], &sum), "nothing finished  errors: refused 1,000, status 7");
}

/// A terminal narrower than the text, and what is on it afterwards: two rows, however often they were written.
#[test]
fn on_a_terminal_rows_replace_those_before() {
    let (mut screen, mut row, mut column, mut wraps) = (vec![String::new()], 0, 0, true);
    for again in [false, true, true] {
        let text = rows(again, &format!("load {}", "x".repeat(90)), "outcome");
        let mut rest = text.as_str();
        while let Some(next) = rest.chars().next() {
            let codes = ["\x1b[1A", "\x1b[?7l", "\x1b[?7h", "\x1b[2K", "\r", "\n"];
            let code = codes.into_iter().find(|code| rest.starts_with(code));
            match code {
                Some("\x1b[1A") => row -= 1,
                Some("\x1b[?7l") => wraps = false,
                Some("\x1b[?7h") => wraps = true,
                Some("\x1b[2K") => screen[row].clear(),
                Some("\r") => column = 0,
                Some(_) => {
                    (row, column) = (row + 1, 0);
                    screen.resize(screen.len().max(row + 1), String::new());
                }
                None if column < 80 => {
                    screen[row].push(next);
                    column += 1;
                }
                None => assert!(!wraps, "a row that goes on in the next one"),
            }
            rest = &rest[code.map_or(next.len_utf8(), str::len)..];
        }
    }
    assert_eq!(screen.len(), 2);
    assert!(screen[0].starts_with("load xxx") && screen[1].trim() == "outcome", "{screen:?}");
    assert!(wraps, "whatever comes next is shown whole");
}
