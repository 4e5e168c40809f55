//! The variables as numbers, and the refusals.

use super::*;

const LINE: &str = "v=1 slot=2 generation=7 scoreboard=5 lifeline=6 ready=7 log=9 settings=8";

fn parse(line: &str, listen_fds: &str, listen_pid: &str) -> Result<Seats, String> {
    Seats::parse(line, listen_fds, listen_pid, 42).map_err(|error| error.to_string())
}

#[test]
fn a_handoff_names_every_descriptor() {
    let seats = Seats {
        slot: 2,
        generation: 7,
        listeners: 3..5,
        scoreboard: 5,
        lifeline: 6,
        ready: 7,
        log: Some(9),
        access: None,
        settings: 8,
        lanes: None,
    };
    assert_eq!(parse(LINE, "2", "42").unwrap(), seats);
    let older = LINE.replace("log=9 ", "");
    assert_eq!(parse(&older, "2", "42").unwrap(), Seats { log: None, ..seats.clone() });
    let logs = format!("{LINE} access=10 access_log=11");
    assert_eq!(parse(&logs, "2", "42").unwrap(), Seats { access: Some((10, 11)), ..seats });
    for bad in [" access=10", " access=9 access_log=11", " access=11 access_log=11"] {
        assert!(parse(&format!("{LINE}{bad}"), "2", "42").is_err(), "{bad}");
    }
}

#[test]
fn lanes_come_with_a_table_and_the_sockets_of_each_listener() {
    let words = |words: &str| parse(&format!("{LINE}{words}"), "2", "42").map(|seats| seats.lanes);
    let lanes = LaneWords { table: 10, own: 1, counts: vec![2] };
    assert_eq!(words(" served=10 lane=1 lanes=2"), Ok(Some(lanes)));
    for bad in [
        " lanes=2",
        " served=10 lane=1 lanes=3",
        " served=9 lane=1 lanes=2,0",
        " served=8 lane=1 lanes=1,1",
        " served=9 lane=1 lanes=1,1",
    ] {
        assert!(words(bad).unwrap_err().contains("cannot understand"), "{bad}");
    }
}

#[test]
fn what_a_newer_master_adds_is_left_alone() {
    assert!(parse(&format!("{LINE} colour=green"), "2", "42").is_ok());
}

#[test]
fn another_version_says_what_to_do() {
    let refusal = parse("v=2 slots=many", "2", "42").unwrap_err();
    assert!(refusal.contains("version 2") && refusal.contains("same rustcorn release"), "{refusal}");
}

#[test]
fn variables_inherited_from_a_worker_are_not_ours() {
    assert!(parse(LINE, "2", "41").unwrap_err().contains("unset it"));
    assert!(parse(LINE, "2", "").unwrap_err().contains("unset it"));
}

#[test]
fn nonsense_is_refused() {
    for (line, listen_fds) in [
        ("", "2"),
        ("v=1", "2"),
        (LINE, ""),
        (LINE, "two"),
        (LINE, "3"), // listener 5 would be the scoreboard
        ("v=1 slot=2 generation=7 scoreboard=5 lifeline=5 ready=7 settings=8", "2"),
        ("v=1 slot=2 generation=7 scoreboard=5 lifeline=6 ready=7 log=7 settings=8", "2"),
        ("v=1 slot=2 generation=7 scoreboard=5 lifeline=6 ready=7 log=x settings=8", "2"),
        ("v=1 slot=-1 generation=7 scoreboard=5 lifeline=6 ready=7 settings=8", "2"),
    ] {
        assert!(parse(line, listen_fds, "42").unwrap_err().contains("cannot understand"), "{line:?} {listen_fds:?}");
    }
}
