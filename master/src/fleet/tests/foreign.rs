//! Stories of workers that know nothing of rustcorn.

use super::*;

fn foreign(settles: Option<Duration>) -> Plan {
    Plan { foreign: Some(Foreign { settles }), timeout: Duration::ZERO, drain_delay: 15 * SECOND, ..plan(1) }
}

/// One that is taken for ready as soon as it has run for a second.
fn settled() -> Story {
    let mut story = Story::new(foreign(Some(SECOND)));
    assert_eq!(spawns(&story.when(Event::Tick)), [w(0, 1, 1)]);
    assert_eq!(story.fleet.next_deadline(story.now), Some(story.now + SECOND));
    assert_eq!(story.after(SECOND / 2, Event::Tick), []);
    assert_eq!(story.after(SECOND / 2, Event::Tick), [Action::ShowReady(w(0, 1, 1))]);
    assert_eq!((story.ready(), story.fleet.next_deadline(story.now)), (1, None), "nobody sees it hang");
    story
}

#[test]
fn one_that_runs_for_a_while_is_ready() {
    let story = settled();
    let booting = Notice::ForeignBooting { pid: pid(w(0, 1, 1)) };
    let ready = Notice::WorkerReady { slot: Slot(0), pid: pid(w(0, 1, 1)), generation: Generation(1) };
    assert_eq!(story.said, [booting, ready], "it does not say so itself");
}

#[test]
fn one_that_ends_in_the_round_in_which_it_would_be_ready_was_not() {
    let mut story = Story::new(foreign(Some(SECOND)));
    story.when(Event::Tick);
    story.after(SECOND, Event::Beats(Vec::new()));
    let done = story.when(Event::Exited(w(0, 1, 1), Fate::Code(1), None));
    assert_eq!(done.last(), Some(&Action::Exit(3)), "the first start has failed");
}

#[test]
fn one_that_says_when_it_is_ready_is_waited_for() {
    let mut story = Story::new(foreign(None));
    story.when(Event::Tick);
    assert_eq!(story.after(59 * SECOND, Event::Tick), []);
    assert_eq!(story.when(Event::Ready(w(0, 1, 1))), [Action::ShowReady(w(0, 1, 1))]);
    let mut story = Story::new(foreign(None));
    story.when(Event::Tick);
    assert_eq!(story.after(60 * SECOND, Event::Tick), [Action::Signal(w(0, 1, 1), Sig::Kill)], "boot_timeout");
}

#[test]
fn term_is_passed_on_after_drain_delay() {
    let (mut story, id) = (settled(), w(0, 1, 1));
    assert_eq!(story.when(Event::Signal(Sig::Term)), [Action::SetPhase(Phase::Stopping)], "it keeps accepting");
    assert_eq!(story.fleet.next_deadline(story.now), Some(story.now + 15 * SECOND));
    assert_eq!(story.after(15 * SECOND, Event::Tick), [term(id)]);
    let told = story.now;
    assert_eq!(story.fleet.next_deadline(told), Some(told + stop::LAST_CALL));
    assert_eq!(story.after(stop::LAST_CALL, Event::Tick), [Action::CloseListeners], "nobody accepts any more");
    assert_eq!(story.fleet.next_deadline(story.now), Some(told + GRACE + worker::EXIT_TIME));
    assert_eq!(story.when(left(id)), [Action::CloseListeners, Action::Exit(0)]);
}

#[test]
fn a_second_term_does_not_wait_and_int_never_means_quit() {
    let (mut story, id) = (settled(), w(0, 1, 1));
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.when(Event::Signal(Sig::Term)), [Action::SetPhase(Phase::StoppingNow), term(id)]);
    assert_eq!(story.after(stop::LAST_CALL, Event::Tick), [Action::CloseListeners]);
    assert_eq!(story.after(15 * SECOND, Event::Tick), [], "it has been told");
    let done = story.when(Event::Signal(Sig::Int));
    assert_eq!(done, [Action::SetPhase(Phase::StoppingNow), Action::CloseListeners, term(id)]);
    assert_eq!(story.after(worker::EXIT_TIME, Event::Tick), [Action::Signal(id, Sig::Kill)]);
}

#[test]
fn a_reload_to_one_that_dies_at_once_keeps_the_old() {
    let (mut story, canary) = (settled(), w(1, 2, 2));
    story.when(Event::Signal(Sig::Hup));
    assert_eq!(story.when(Event::Loaded(Ok(foreign(Some(SECOND))))), [Action::Spawn(canary)]);
    story.now = story.now + SECOND / 2;
    let done = story.when(Event::Exited(canary, Fate::Code(1), None));
    assert_eq!(done, [Action::Discard(Generation(2))]);
    assert_eq!(story.ready(), 1);
}

#[test]
fn one_that_leaves_unasked_is_told_even_if_it_says_that_all_is_well() {
    let (mut story, id) = (settled(), w(0, 1, 1));
    let told = Notice::WorkerExited { pid: pid(id), code: 0 };
    let successor = only_spawn(&story.when(left(id)));
    assert!(story.said.contains(&told), "{:?}", story.said);
    story.said.clear();
    story.after(SECOND, Event::Tick);
    story.when(Event::Signal(Sig::Term));
    story.when(left(successor)); // within drain_delay: it was about to be told
    assert!(!story.said.iter().any(|said| matches!(said, Notice::WorkerExited { .. })), "{:?}", story.said);
}
