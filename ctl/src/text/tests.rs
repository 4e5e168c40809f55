//! What people read.

use serde_json::json;

use super::*;

fn told(words: &str, data: Value) -> String {
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    of(&Command::parse(&words).unwrap(), data).unwrap()
}

#[test]
fn workers_stand_in_columns() {
    let worker = |slot: usize, polling: Value| {
        json!({"slot": slot, "pid": 100 + slot, "generation": 1, "state": "ready", "due": slot == 0, "age": 3725.0,
               "heartbeat_age": 0.25, "requests": 7, "in_flight": 1, "connections": 2, "rss": 3_300_000, "polling": polling,
               "of_a_newer_master": true})
    };
    let busy = json!([{"request": "GET /a\u{1b}[2J", "seconds": 3.21}]);
    let text = told("show workers", json!({"workers": [worker(0, json!([])), worker(11, busy)]}));
    assert_eq!(
        text,
        "SLOT  PID  GEN  STATE         AGE  REQUESTS  IN FLIGHT  CONNS   RSS  HEARTBEAT  POLLING\n\
         0     100    1  ready, due  1h02m         7          1      2  3.1M   0.2s ago\n\
         11    111    1  ready       1h02m         7          1      2  3.1M   0.2s ago  GET /a?[2J for 3.2s\n"
    );
}

/// Foreign programs.
#[test]
fn what_nobody_knows_is_no_zero() {
    let worker = json!({"slot": 0, "pid": 100, "generation": 1, "state": "ready", "due": false, "age": 1.0, "heartbeat_age": null,
                        "requests": null, "in_flight": null, "connections": null, "rss": 3_300_000, "polling": []});
    assert_eq!(
        told("show workers", json!({"workers": [worker]})),
        "SLOT  PID  GEN  STATE  AGE  REQUESTS  IN FLIGHT  CONNS   RSS  HEARTBEAT  POLLING\n\
         0     100    1  ready   1s         -          -      -  3.1M          -\n"
    );
    let stats = json!({
        "version": "0.1.0", "name": "shop", "pid": 1, "uptime": 1.0, "phase": "running", "generation": 1,
        "workers": {"target": 1, "ready": 1, "booting": 0, "draining": 0}, "requests": null, "connections": null,
        "responses": {}, "restarts": {"killed": 1}, "recycles": {}, "reloads": {"ok": 0, "failed": 0},
    });
    let text = told("show stats", stats);
    let expected = "requests     - (nobody sees what foreign programs serve)\nresponses    -\nconnections  -\nrestarts     killed 1\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn what_was_done_is_a_sentence() {
    assert_eq!(told("worker add", json!({"previous": 2, "target": 3})), "3 workers instead of 2\n");
    assert_eq!(told("worker remove", json!({"previous": 1, "target": 1})), "1 worker, as before\n");
    let reloaded = |draining| json!({"done": true, "generation": 3, "draining": draining});
    assert_eq!(told("reload --wait", reloaded(0)), "Reloaded: generation 3 is serving\n");
    assert!(told("reload --wait", reloaded(2)).ends_with("; 2 older workers still finish their requests\n"));
    let replaced = |done| json!({"workers": [{"slot": 4, "pid": 9}], "done": done});
    assert_eq!(told("worker restart 4 --wait", replaced(true)), "worker 4 (pid 9): replaced\n");
    assert_eq!(told("worker kill 9", replaced(false)), "worker 4 (pid 9): told to finish and leave\n");
    assert!(of(&Command::ShowStats, json!({"uptime": "x"})).is_err(), "an answer that is none is no text");
}

#[test]
fn units() {
    let ages = [0.9, 59.0, 61.0, 3600.0, 90_061.0].map(age);
    assert_eq!(ages, ["0s", "59s", "1m01s", "1h00m", "1d01h"]);
    assert_eq!([0.000_123, 0.012_34, 0.5, 12.0].map(took), ["123 µs", "12.3 ms", "500 ms", "12.00 s"]);
    assert_eq!([1 << 20, 3 << 30].map(size), ["1.0M", "3.0G"]);
    assert_eq!(
        told("show durations", json!({"durations": [[1_000_000, 99], [2_000_000_000, 1]]})),
        "requests 100\nQUANTILE    TOOK\np50       1.0 ms\np90       1.0 ms\np99       1.0 ms\np99.9     2.00 s\nmax       2.00 s\n"
    );
}
