//! The policy as stories.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Story {
    admin: Admin,
    now: Monotonic,
    said: Vec<Notice>,
}

impl Story {
    fn new() -> Self {
        Self { admin: Admin::new(), now: Monotonic::from_nanos(1_000_000_000_000), said: Vec::new() }
    }

    fn serving() -> Self {
        let mut story = Self::new();
        assert_eq!(story.when(Event::Wanted(true)), [Action::Spawn]);
        story.when(Event::Spawned(pid()));
        story.when(Event::Ready);
        story
    }

    fn when(&mut self, event: Event) -> Vec<Action> {
        let mut done = self.admin.step(self.now, event);
        self.said.extend(done.iter().filter_map(|action| match action {
            Action::Say(notice) => Some(notice.clone()),
            _ => None,
        }));
        done.retain(|action| !matches!(action, Action::Say(_)));
        done
    }

    fn after(&mut self, time: Duration, event: Event) -> Vec<Action> {
        self.now = self.now + time;
        self.when(event)
    }
}

fn pid() -> Pid {
    Pid::from_raw(77).unwrap()
}

fn killed() -> Event {
    Event::Exited(Fate::Signal(9), None)
}

const LEFT: Event = Event::Exited(Fate::Code(0), None);

#[test]
fn nobody_is_started_unless_wanted() {
    let mut story = Story::new();
    assert_eq!(story.after(100 * SECOND, Event::Tick), []);
    assert_eq!(story.when(Event::Wanted(false)), []);
    assert_eq!((story.admin.next_deadline(), story.admin.is_running()), (None, false));
}

#[test]
fn one_that_was_killed_is_back_at_once() {
    let mut story = Story::serving();
    assert_eq!(story.when(killed()), [Action::Spawn]);
    assert_eq!(
        story.said,
        [Notice::AdminEnded { pid: Some(pid()), fate: Fate::Signal(9), reason: None, pause: Duration::ZERO }]
    );
}

#[test]
fn one_that_keeps_dying_is_tried_at_a_bounded_rate_and_forgiven_after_a_healthy_life() {
    let mut story = Story::serving();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let died = story.now;
        let mut done = story.when(Event::Exited(Fate::Code(3), Some("no memory".into())));
        while done.is_empty() {
            story.now = story.admin.next_deadline().unwrap();
            done = story.when(Event::Tick);
        }
        assert_eq!(done, [Action::Spawn]);
        pauses.push(story.now.since(died).as_millis());
    }
    assert_eq!(pauses[..5], [0, 100, 200, 400, 800]);
    assert_eq!(pauses[11], 30_000);
    assert!(story.said[0].to_string().contains("no memory"), "{}", story.said[0]);
    story.when(Event::Ready);
    assert_eq!(story.after(HEALTHY, killed()), [Action::Spawn], "at once again");
}

#[test]
fn one_that_cannot_be_started_is_tried_again_later() {
    let mut story = Story::new();
    assert_eq!(story.when(Event::Wanted(true)), [Action::Spawn]);
    let refused = || Event::Exited(Fate::NotStarted("out of processes".into()), None);
    assert_eq!(story.when(refused()), [Action::Spawn]);
    assert_eq!(story.when(refused()), []);
    assert_eq!(story.after(FIRST_PAUSE, Event::Tick), [Action::Spawn]);
}

#[test]
fn one_that_does_not_get_ready_is_killed_and_tried_again() {
    let mut story = Story::new();
    story.when(Event::Wanted(true));
    assert_eq!(story.after(BOOT_TIME, Event::Tick), [Action::Signal(Sig::Kill)]);
    assert_eq!(story.when(Event::Tick), [], "once");
    assert_eq!(story.when(Event::Ready), [], "too late");
    assert_eq!(story.when(killed()), [Action::Spawn]);
}

#[test]
fn a_reload_replaces_it_when_what_it_is_given_has_changed() {
    let mut story = Story::serving();
    assert_eq!(story.when(Event::Wanted(true)), [Action::Signal(Sig::Term)]);
    assert_eq!(story.when(LEFT), [Action::Spawn]);
    assert_eq!(story.said, [], "as it should be");
}

#[test]
fn a_reload_that_takes_its_address_away_ends_it() {
    let mut story = Story::serving();
    assert_eq!(story.when(Event::Wanted(false)), [Action::Signal(Sig::Term)]);
    assert_eq!(story.when(Event::Tick), []);
    assert_eq!(story.when(LEFT), []);
    assert!(!story.admin.is_running());
    assert_eq!(story.after(100 * SECOND, Event::Tick), []);
    assert_eq!(story.when(Event::Wanted(true)), [Action::Spawn], "and another brings it back");
}

#[test]
fn wanted_again_while_it_leaves_it_comes_back() {
    let mut story = Story::serving();
    story.when(Event::Wanted(false));
    assert_eq!(story.when(Event::Wanted(true)), []);
    assert_eq!(story.when(LEFT), [Action::Spawn]);
}

#[test]
fn one_that_does_not_leave_is_killed() {
    let mut story = Story::serving();
    story.when(Event::Wanted(false));
    assert_eq!(story.after(EXIT_TIME, Event::Tick), [Action::Signal(Sig::Kill)]);
    assert_eq!(story.when(killed()), []);
    assert!(!story.admin.is_running() && story.said.is_empty());
}

#[test]
fn a_stop_while_it_rests_leaves_nobody() {
    let mut story = Story::serving();
    story.when(killed());
    story.when(killed());
    assert_eq!(story.when(Event::Wanted(false)), []);
    assert_eq!(story.after(100 * SECOND, Event::Tick), []);
}
