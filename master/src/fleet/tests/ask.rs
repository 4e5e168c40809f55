//! What is asked at the control socket, and when it is answered.

use rustcorn_control::Which;

use super::*;

/// The answers among what is done.
fn answers(actions: &[Action]) -> Vec<(u64, Outcome)> {
    let answer = |action: &Action| match action {
        Action::Answer(Ticket(number), outcome) => Some((*number, outcome.clone())),
        _ => None,
    };
    actions.iter().filter_map(answer).collect()
}

fn ask(ticket: u64, ask: Ask) -> Event {
    Event::Asked(Ticket(ticket), ask)
}

fn refused(ticket: u64, refusal: Refusal) -> Vec<Action> {
    vec![Action::Answer(Ticket(ticket), Outcome::Refused(refusal))]
}

const RELOAD: Ask = Ask::Reload { wait: true };

#[test]
fn a_look_tells_everything_and_changes_nothing() {
    let mut story = Story::serving(plan(2));
    let booting = only_spawn(&story.when(Event::Spent(w(0, 1, 1))));
    let done = story.when(ask(1, Ask::Look));
    let seen = |id, state, due| Seen { id, pid: Some(pid(id)), state, due };
    let all = vec![seen(w(0, 1, 1), "ready", true), seen(w(1, 1, 2), "ready", false), seen(booting, "booting", false)];
    assert_eq!(done, [Action::Answer(Ticket(1), Outcome::Seen(all))]);
}

#[test]
fn workers_are_added_and_removed_and_one_always_stays() {
    let mut story = Story::serving(plan(1));
    let done = story.when(ask(1, Ask::Add { count: 2, wait: true }));
    let added = spawns(&done);
    assert_eq!((added.len(), answers(&done)), (2, vec![]), "there is room for max_surge beyond the new number");
    assert_eq!(story.when(Event::Ready(added[0])), []);
    let done = story.when(Event::Ready(added[1]));
    assert_eq!(answers(&done), [(1, Outcome::Target { previous: 1, target: 3 })]);

    let done = story.when(ask(2, Ask::Remove { count: 7 }));
    assert_eq!(answers(&done), [(2, Outcome::Target { previous: 3, target: 1 })]);
    assert_eq!(done[1..], [term(w(0, 1, 1)), term(added[0])]);
    let done = story.when(ask(3, Ask::Add { count: 5000, wait: false }));
    assert_eq!(answers(&done), [(3, Outcome::Target { previous: 1, target: MAX_WORKERS })]);
}

#[test]
fn a_restart_replaces_one_after_the_other_and_never_has_fewer() {
    let mut story = Story::serving(plan(2));
    let (first, second) = (w(0, 1, 1), w(1, 1, 2));
    let done = story.when(ask(1, Ask::Restart { which: None, wait: true }));
    let third = only_spawn(&done);
    assert_eq!(answers(&done), []);
    assert_eq!(story.said.len(), 2);
    let done = story.when(Event::Ready(third));
    let fourth = only_spawn(&done);
    assert_eq!((&done[..1], answers(&done), story.ready()), (&[term(first)][..], vec![], 2));
    story.when(left(first));
    let done = story.when(Event::Ready(fourth));
    let workers = vec![(Slot(0), Some(pid(first))), (Slot(1), Some(pid(second)))];
    assert_eq!(done, [term(second), Action::Answer(Ticket(1), Outcome::Replaced { workers, done: true })]);
    assert_eq!(story.fleet.figures().recycles, [0, 0, 0, 2]);
}

#[test]
fn one_worker_is_restarted_by_pid_or_by_slot() {
    for which in [Which::Number(1002), Which::Pid(1002), Which::Slot(1), Which::Number(1)] {
        let mut story = Story::serving(plan(2));
        let done = story.when(ask(1, Ask::Restart { which: Some(which), wait: false }));
        let workers = vec![(Slot(1), Some(pid(w(1, 1, 2))))];
        assert_eq!(answers(&done), [(1, Outcome::Replaced { workers, done: false })]);
        let successor = only_spawn(&done);
        let again = Ask::Restart { which: Some(Which::Slot(2)), wait: false };
        assert_eq!(story.when(ask(2, again)), refused(2, Refusal::Booting(Slot(2))));
        assert_eq!(story.when(Event::Ready(successor)), [term(w(1, 1, 2))]);
        let again = Ask::Restart { which: Some(which), wait: false };
        assert_eq!(story.when(ask(3, again)), refused(3, Refusal::Leaving(Slot(1))));
    }
}

#[test]
fn a_kill_drains_at_once_and_the_successor_comes_at_once() {
    let mut story = Story::serving(plan(2));
    let victim = w(1, 1, 2);
    let done = story.when(ask(1, Ask::Kill { which: Which::Pid(1002), wait: true }));
    let successor = only_spawn(&done);
    assert_eq!(done[..1], [term(victim)]);
    let again = Ask::Kill { which: Which::Slot(1), wait: false };
    assert_eq!(story.when(ask(2, again)), refused(2, Refusal::Leaving(Slot(1))));
    assert_eq!(story.when(left(victim)), [], "that it is gone is not enough");
    let workers = vec![(Slot(1), Some(pid(victim)))];
    let done = story.when(Event::Ready(successor));
    assert_eq!(done, [Action::Answer(Ticket(1), Outcome::Replaced { workers, done: true })]);
    assert_eq!(story.fleet.figures().restarts, [0; 6], "it was asked for");
}

#[test]
fn nobody_is_killed_by_mistake() {
    let mut story = Story::serving(plan(1001)); // slot 1000 is somebody, and so is pid 1001
    let kill = |which| Ask::Kill { which, wait: false };
    let unknown = Which::Number(7000);
    assert_eq!(story.when(ask(1, kill(unknown))), refused(1, Refusal::Unknown(unknown)));
    assert_eq!(story.when(ask(2, kill(Which::Slot(1001)))), refused(2, Refusal::Unknown(Which::Slot(1001))));
    assert_eq!(
        Refusal::Unknown(Which::Slot(9)).to_string(),
        "there is no worker in slot:9; \"show workers\" lists them"
    );
    let mut story = Story::serving(plan(1010));
    assert_eq!(story.when(ask(3, kill(Which::Number(1005)))), refused(3, Refusal::Ambiguous(1005)));
    assert_eq!(story.ready(), 1010);
}

#[test]
fn a_reload_is_answered_when_every_old_worker_is_replaced() {
    let mut story = Story::serving(plan(2));
    assert_eq!(story.when(ask(1, RELOAD)), [Action::Load(Generation(2))]);
    let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(2)))));
    let done = story.when(Event::Ready(canary));
    let last = only_spawn(&done);
    assert_eq!(answers(&done), [], "proven, but not everywhere");
    story.when(left(w(0, 1, 1)));
    let done = story.when(Event::Ready(last));
    assert_eq!(done[0], term(w(1, 1, 2)));
    let outcome = Outcome::Reloaded { generation: Generation(2), draining: 1 };
    assert_eq!(answers(&done), [(1, outcome)], "slow clients of the old one are not waited for");
}

#[test]
fn a_reload_that_fails_is_answered_with_the_line_of_the_log() {
    let mut story = Story::serving(plan(1));
    story.when(ask(1, RELOAD));
    story.when(ask(2, Ask::Reload { wait: false }));
    let done = story.when(Event::Loaded(Err("app.toml:1: no".into())));
    let [(1, Outcome::Refused(refusal))] = &answers(&done)[..] else { panic!("{done:?}") };
    assert_eq!(refusal.to_string(), "Reload failed: app.toml:1: no; generation 1 goes on serving, nothing was changed");
    assert_eq!(story.said.last().map(ToString::to_string), Some(refusal.to_string()));

    // What was asked meanwhile is the next one's to answer: it reads the file anew.
    story.when(ask(3, RELOAD));
    let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(1)))));
    let done = story.when(Event::Exited(canary, Fate::Code(4), Some("no database".into())));
    assert_eq!(answers(&done), [], "number 3 came while this one was loading");
    assert!(done.contains(&Action::Load(Generation(4))));
    let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(1)))));
    let done = story.when(Event::Ready(canary));
    assert_eq!(answers(&done), [(3, Outcome::Reloaded { generation: Generation(4), draining: 1 })]);
}

#[test]
fn a_canary_that_is_killed_on_request_fails_its_reload() {
    let mut story = Story::serving(plan(1));
    story.when(ask(1, RELOAD));
    let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(1)))));
    let kill = Ask::Kill { which: Which::Slot(1), wait: false };
    assert_eq!(story.when(ask(2, kill))[0], term(canary));
    let done = story.when(left(canary));
    assert!(matches!(&answers(&done)[..], [(1, Outcome::Refused(Refusal::Reload { .. }))]), "{done:?}");
    assert_eq!(story.ready(), 1);
}

#[test]
fn a_stop_answers_everybody_who_waits_and_refuses_all_that_comes_later() {
    let mut story = Story::serving(plan(2));
    story.when(ask(1, RELOAD));
    story.when(ask(2, Ask::Restart { which: None, wait: true }));
    story.when(ask(3, RELOAD));
    let done = story.when(ask(4, Ask::Stop { quick: false }));
    let stopping = || Outcome::Refused(Refusal::Stopping);
    assert_eq!(answers(&done), [(4, Outcome::Stopping), (1, stopping()), (2, stopping()), (3, stopping())]);
    assert!(done.contains(&Action::SetPhase(Phase::Stopping)));
    for (ticket, late) in
        [(5, RELOAD), (6, Ask::Add { count: 1, wait: true }), (7, Ask::Restart { which: None, wait: true })]
    {
        assert_eq!(story.when(ask(ticket, late)), refused(ticket, Refusal::Stopping));
    }
    assert!(matches!(answers(&story.when(ask(8, Ask::Look)))[..], [(8, Outcome::Seen(_))]), "looking is allowed");
    assert!(story.when(ask(9, Ask::Stop { quick: true })).contains(&Action::CloseListeners));
}

#[test]
fn who_has_left_is_not_answered() {
    let mut story = Story::serving(plan(1));
    story.when(ask(1, RELOAD));
    story.when(Event::Withdrawn(Ticket(1)));
    assert_eq!(answers(&story.when(Event::Loaded(Err("no".into())))), []);
}
