//! The policy as stories. Times are scripted; the readers' manual is in the names.

mod ask;

use std::time::Duration;

use rustcorn_scoreboard::Phase;
use rustcorn_sys::signal::Sig;
use rustcorn_sys::{Monotonic, Pid};

use super::*;

mod foreign;
mod upgrade;

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(30);

fn plan(workers: usize) -> Plan {
    Plan {
        workers,
        max_surge: 1,
        timeout: Duration::from_secs(30),
        graceful_timeout: GRACE,
        drain_delay: Duration::ZERO,
        flush_timeout: Duration::ZERO,
        boot_timeout: Duration::from_secs(60),
        restart_backoff: Duration::from_millis(100),
        limits: Limits::default(),
        handover: Handover::Manual,
        foreign: None,
    }
}

/// A fleet with a clock, which plays an obedient world and keeps what was said apart from what was done.
struct Story {
    fleet: Fleet,
    now: Monotonic,
    said: Vec<Notice>,
    /// What the service manager was told.
    told: Vec<Status>,
}

impl Story {
    fn new(plan: Plan) -> Self {
        Self::born(plan, Birth::default())
    }

    fn born(plan: Plan, birth: Birth) -> Self {
        Self {
            fleet: Fleet::new(plan, birth),
            now: Monotonic::from_nanos(1_000_000_000_000),
            said: Vec::new(),
            told: Vec::new(),
        }
    }

    /// A fleet whose first workers are all ready.
    fn serving(plan: Plan) -> Self {
        Self::new(plan).served()
    }

    fn served(mut self) -> Self {
        let story = &mut self;
        let spawned = story.when(Event::Tick);
        for id in spawns(&spawned) {
            assert_eq!(story.when(Event::Ready(id)), []);
        }
        story.said.clear();
        story.told.clear();
        self
    }

    /// What is done (not said) about it. Spawned processes get a pid at once.
    fn when(&mut self, event: Event) -> Vec<Action> {
        let mut done = Vec::new();
        for action in self.fleet.step(self.now, event) {
            match action {
                Action::Say(notice) => self.said.push(notice),
                Action::Notify(status) => self.told.push(status),
                Action::Spawn(id) => {
                    let pid = pid(id);
                    done.push(Action::Spawn(id));
                    assert_eq!(self.when(Event::Spawned(id, pid)), []);
                }
                other => done.push(other),
            }
        }
        done
    }

    fn after(&mut self, time: Duration, event: Event) -> Vec<Action> {
        self.now = self.now + time;
        self.when(event)
    }

    /// Time passes with every deadline kept and all workers alive.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.fleet.next_deadline(self.now).filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let beats = self.ids().into_iter().map(|id| (id, self.now)).collect();
            assert_eq!(self.when(Event::Beats(beats)), []);
            assert_eq!(self.when(Event::Tick), [], "nothing to do while all is well");
        }
        self.now = end;
    }

    fn ids(&self) -> Vec<WorkerId> {
        self.fleet.workers.keys().copied().collect()
    }

    fn ready(&self) -> usize {
        self.fleet.count(Worker::is_ready)
    }
}

fn pid(id: WorkerId) -> Pid {
    Pid::from_raw(1000 + i32::try_from(id.life).unwrap()).unwrap()
}

fn spawns(actions: &[Action]) -> Vec<WorkerId> {
    actions.iter().filter_map(|action| if let Action::Spawn(id) = action { Some(*id) } else { None }).collect()
}

fn only_spawn(actions: &[Action]) -> WorkerId {
    let spawned = spawns(actions);
    assert_eq!(spawned.len(), 1, "one worker is spawned: {actions:?}");
    spawned[0]
}

fn w(slot: usize, generation: u32, life: u64) -> WorkerId {
    WorkerId { slot: Slot(slot), generation: Generation(generation), life }
}

fn term(id: WorkerId) -> Action {
    Action::Signal(id, Sig::Term)
}

fn killed(id: WorkerId) -> Event {
    Event::Exited(id, Fate::Signal(9), None)
}

fn left(id: WorkerId) -> Event {
    Event::Exited(id, Fate::Code(0), None)
}

#[test]
fn all_workers_start_at_once() {
    let mut story = Story::new(plan(3));
    let spawn = |slot, life| Action::Spawn(w(slot, 1, life));
    assert_eq!(story.when(Event::Tick), [spawn(0, 1), spawn(1, 2), spawn(2, 3)]);
    assert_eq!(story.when(Event::Tick), []);
}

#[test]
fn a_killed_worker_is_replaced_at_once_on_its_own_seat() {
    let mut story = Story::serving(plan(2));
    assert_eq!(story.when(killed(w(1, 1, 2))), [Action::Spawn(w(1, 1, 3))]);
    assert_eq!(story.said, [Notice::WorkerSignalled { pid: pid(w(1, 1, 2)), number: 9 }]);
}

#[test]
fn a_worker_that_keeps_dying_is_tried_at_a_bounded_rate_and_forgiven_after_a_healthy_life() {
    let mut story = Story::serving(plan(2));
    let mut id = w(1, 1, 2);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let mut done = story.when(killed(id));
        let died = story.now;
        while done.is_empty() {
            story.now = story.fleet.next_deadline(story.now).unwrap().min(died + 40 * SECOND);
            story.when(Event::Beats(vec![(w(0, 1, 1), story.now)]));
            done = story.when(Event::Tick);
        }
        pauses.push(story.now.since(died).as_millis());
        id = only_spawn(&done);
        assert_eq!(id.slot, Slot(1), "no other seat takes the place of a resting one");
        story.when(Event::Ready(id));
    }
    // Doubled each time, stretched by a fixed share for the seat, capped near 30 s.
    assert_eq!(pauses[..5], [0, 110, 221, 443, 887]);
    assert!(pauses[10..].iter().all(|pause| (30_000..37_500).contains(pause)), "{pauses:?}");
    story.pass(backoff::HEALTHY);
    assert_eq!(spawns(&story.when(killed(id))).len(), 1, "at once again");
}

#[test]
fn no_backoff_when_it_is_turned_off() {
    let mut story = Story::serving(Plan { restart_backoff: Duration::ZERO, ..plan(1) });
    let mut id = w(0, 1, 1);
    for _ in 0..100 {
        id = only_spawn(&story.when(killed(id)));
        story.when(Event::Ready(id));
    }
}

#[test]
fn a_first_start_that_fails_ends_the_server_with_the_workers_own_reason() {
    for (code, exit) in [(3, 3), (4, 4), (1, 3), (0, 3)] {
        let mut story = Story::new(plan(2));
        let _ = story.when(Event::Tick);
        let done = story.when(Event::Exited(w(0, 1, 1), Fate::Code(code), Some("no database".into())));
        assert_eq!(
            done,
            [Action::SetPhase(Phase::StoppingNow), Action::CloseListeners, term(w(1, 1, 2))],
            "one that boots gets TERM: it may not handle QUIT yet"
        );
        assert!(
            story.said.contains(&Notice::WorkerFailedToBoot { slot: Slot(0), reason: "no database".into() }),
            "{:?}",
            story.said
        );
        let done = story.when(Event::Exited(w(1, 1, 2), Fate::Signal(15), None));
        assert_eq!(done, [Action::CloseListeners, Action::Exit(exit)]);
        assert_eq!(story.said.last(), Some(&Notice::StopReason { app_refused: code == 4 }));
    }
}

#[test]
fn once_a_worker_was_ready_a_failed_boot_never_stops_the_service() {
    let mut story = Story::new(plan(2));
    let _ = story.when(Event::Tick);
    story.when(Event::Ready(w(0, 1, 1)));
    let refused = |id| Event::Exited(id, Fate::Code(4), None);
    assert_eq!(story.when(refused(w(1, 1, 2))), [Action::Spawn(w(1, 1, 3))]);
    assert_eq!(story.when(refused(w(1, 1, 3))), [], "then with a pause");
    assert_eq!(story.ready(), 1);
}

#[test]
fn a_worker_that_does_not_get_ready_in_time_is_killed() {
    let mut story = Story::new(plan(1));
    let _ = story.when(Event::Tick);
    assert_eq!(story.after(59 * SECOND, Event::Tick), []);
    assert_eq!(story.after(SECOND, Event::Tick), [Action::Signal(w(0, 1, 1), Sig::Kill)]);
    assert_eq!(story.when(Event::Tick), [], "once");
    let done = story.when(killed(w(0, 1, 1)));
    assert_eq!(done.last(), Some(&Action::Exit(3)));
    let reason = "it was not ready within boot_timeout".to_owned();
    assert!(story.said.contains(&Notice::WorkerFailedToBoot { slot: Slot(0), reason }));
}

#[test]
fn a_worker_that_hangs_is_aborted_then_killed_then_replaced() {
    let mut story = Story::serving(plan(2));
    let alive = w(1, 1, 2);
    story.now = story.now + 29 * SECOND;
    story.when(Event::Beats(vec![(alive, story.now)]));
    assert_eq!(story.after(SECOND, Event::Tick), [Action::Signal(w(0, 1, 1), Sig::Abrt)]);
    let silent = 30 * SECOND;
    let timeout = Notice::WorkerTimeout { slot: Slot(0), pid: pid(w(0, 1, 1)), silent, polled: vec![] };
    assert_eq!(story.said, [timeout]);
    assert_eq!(story.after(SECOND, Event::Tick), [Action::Signal(w(0, 1, 1), Sig::Kill)]);
    assert_eq!(story.when(killed(w(0, 1, 1))), [Action::Spawn(w(0, 1, 3))]);
}

/// It finds all of it at once, and reads one after the other.
#[test]
fn what_was_said_in_time_counts_though_the_master_reads_it_too_late() {
    let mut story = Story::new(plan(2));
    let [first, second] = spawns(&story.when(Event::Tick))[..] else { panic!("two") };
    assert_eq!(story.after(plan(2).boot_timeout, Event::Ready(first)), [], "the other one has not been heard yet");
    assert_eq!(story.when(Event::Ready(second)), []);
    assert_eq!(story.when(Event::Tick), []);
    assert_eq!(story.ready(), 2);
    // The same of the end of one that left in time.
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.after(2 * GRACE, left(first)), [], "the other one has left as well");
    assert!(story.when(left(second)).contains(&Action::Exit(0)));
}

#[test]
fn a_master_that_stood_still_itself_forgives_once() {
    let mut story = Story::serving(plan(1));
    assert_eq!(story.after(300 * SECOND, Event::Tick), [], "a suspended machine: nobody could beat");
    assert_eq!(story.after(29 * SECOND, Event::Tick), []);
    assert_eq!(story.after(SECOND, Event::Tick), [Action::Signal(w(0, 1, 1), Sig::Abrt)], "but only once");
}

#[test]
fn timeout_zero_means_never() {
    let mut story = Story::serving(Plan { timeout: Duration::ZERO, ..plan(1) });
    assert_eq!(story.fleet.next_deadline(story.now), None);
    assert_eq!(story.after(1_000_000 * SECOND, Event::Tick), []);
}

#[test]
fn term_drains_then_kills_only_the_stragglers() {
    let mut story = Story::serving(plan(2));
    let (a, b) = (w(0, 1, 1), w(1, 1, 2));
    assert_eq!(story.when(Event::Signal(Sig::Term)), [Action::SetPhase(Phase::Stopping), term(a), term(b)]);
    assert_eq!(story.when(left(a)), []);
    assert_eq!(story.after(GRACE, Event::Tick), [], "it may still be flushing");
    assert_eq!(story.after(worker::EXIT_TIME, Event::Tick), [Action::Signal(b, Sig::Kill)]);
    assert_eq!(story.when(killed(b)), [Action::CloseListeners, Action::Exit(0)]);
}

#[test]
fn drain_delay_comes_on_top_and_a_second_term_skips_it() {
    let mut story = Story::serving(Plan { drain_delay: 15 * SECOND, ..plan(1) });
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.fleet.next_deadline(story.now), Some(story.now + 15 * SECOND + GRACE + worker::EXIT_TIME));
    let id = w(0, 1, 1);
    assert_eq!(story.when(Event::Signal(Sig::Term)), [Action::SetPhase(Phase::StoppingNow), term(id)]);
    assert_eq!(story.fleet.next_deadline(story.now), Some(story.now + GRACE + worker::EXIT_TIME));
    assert_eq!(story.when(Event::Signal(Sig::Term)), [], "a third changes nothing");
}

#[test]
fn time_to_flush_comes_on_top_of_a_drain_but_not_of_a_quick_stop() {
    let mut story = Story::serving(Plan { flush_timeout: 3 * SECOND, ..plan(1) });
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.fleet.next_deadline(story.now), Some(story.now + GRACE + 3 * SECOND + worker::EXIT_TIME));
    story.when(Event::Signal(Sig::Int));
    assert_eq!(story.fleet.next_deadline(story.now), Some(story.now + worker::EXIT_TIME));
}

#[test]
fn int_is_quick_and_cuts_a_drain_short() {
    for first in [None, Some(Sig::Term)] {
        let mut story = Story::serving(plan(1));
        if let Some(sig) = first {
            story.when(Event::Signal(sig));
        }
        let id = w(0, 1, 1);
        let quick = [Action::SetPhase(Phase::StoppingNow), Action::CloseListeners, Action::Signal(id, Sig::Quit)];
        assert_eq!(story.when(Event::Signal(Sig::Int)), quick);
        assert_eq!(story.said.contains(&Notice::QuickShutdown), first.is_some());
        assert_eq!(story.when(Event::Signal(Sig::Quit)), [], "already");
        assert_eq!(story.after(worker::EXIT_TIME, Event::Tick), [Action::Signal(id, Sig::Kill)]);
        assert_eq!(story.when(killed(id)).last(), Some(&Action::Exit(0)));
    }
}

#[test]
fn a_stop_respawns_nobody_and_refuses_a_reload() {
    let mut story = Story::serving(plan(2));
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.when(killed(w(0, 1, 1))), []);
    assert_eq!(story.when(Event::Signal(Sig::Hup)), []);
    assert_eq!(story.said.last(), Some(&Notice::ReloadRefused));
}

#[test]
fn ttin_adds_one_and_ttou_retires_the_oldest_but_never_the_last() {
    let mut story = Story::serving(plan(1));
    let second = w(1, 1, 2);
    assert_eq!(story.when(Event::Signal(Sig::Ttin)), [Action::Spawn(second)]);
    story.when(Event::Ready(second));
    assert_eq!(story.when(Event::Signal(Sig::Ttou)), [term(w(0, 1, 1))]);
    assert_eq!(story.when(Event::Signal(Sig::Ttou)), []);
    assert_eq!(story.ready(), 1);
}

#[test]
fn ttou_while_the_added_worker_boots_takes_that_one() {
    let mut story = Story::serving(plan(2));
    let third = w(2, 1, 3);
    assert_eq!(story.when(Event::Signal(Sig::Ttin)), [Action::Spawn(third)]);
    assert_eq!(story.when(Event::Signal(Sig::Ttou)), [term(third)]);
    assert_eq!(story.when(Event::Ready(third)), [term(third)], "it has not heard that it shall leave");
    assert_eq!(story.ready(), 2);
    assert_eq!(story.when(left(third)), []);
}

#[test]
fn a_worker_that_missed_the_order_to_leave_while_it_booted_is_told_again() {
    let quit = |id| Action::Signal(id, Sig::Quit);
    for (sig, again) in [(Sig::Term, term as fn(_) -> _), (Sig::Int, quit)] {
        let mut story = Story::serving(plan(1));
        let second = w(1, 1, 2);
        assert_eq!(story.when(Event::Signal(Sig::Ttin)), [Action::Spawn(second)]);
        assert!(story.when(Event::Signal(sig)).contains(&term(second)));
        assert_eq!(story.when(Event::Ready(second)), [again(second)], "{sig}");
    }
    // One that is being killed is not asked for anything.
    let mut story = Story::serving(plan(1));
    let second = only_spawn(&story.when(Event::Signal(Sig::Ttin)));
    let killed = story.after(plan(1).boot_timeout, Event::Tick);
    assert!(killed.contains(&Action::Signal(second, Sig::Kill)), "{killed:?}");
    assert_eq!(story.when(Event::Ready(second)), []);
}

#[test]
fn a_reload_proves_one_worker_then_replaces_one_for_one() {
    let mut story = Story::serving(plan(2));
    assert_eq!(story.when(Event::Signal(Sig::Hup)), [Action::Load(Generation(2))]);
    let canary = w(2, 2, 3);
    assert_eq!(story.when(Event::Loaded(Ok(plan(2)))), [Action::Spawn(canary)]);
    assert_eq!(story.when(Event::Tick), [], "the old ones stay until it is ready");
    assert_eq!(
        story.when(Event::Ready(canary)),
        [Action::Commit(Generation(2)), term(w(0, 1, 1)), Action::Spawn(w(3, 2, 4))]
    );
    assert_eq!(story.when(Event::Ready(w(3, 2, 4))), [term(w(1, 1, 2))]);
    assert_eq!(story.when(left(w(0, 1, 1))), []);
    assert_eq!(story.when(left(w(1, 1, 2))), []);
    assert_eq!(story.ready(), 2);
}

#[test]
fn a_reload_that_fails_before_ready_changes_nothing() {
    let refusal = |story: &mut Story| story.when(Event::Loaded(Err("app.toml:3: …".into())));
    let crash = |story: &mut Story| {
        let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(5)))));
        story.when(Event::Exited(canary, Fate::Code(4), Some("no such table".into())))
    };
    let silence = |story: &mut Story| {
        let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(5)))));
        story.now = story.now + 60 * SECOND;
        assert_eq!(story.when(Event::Tick), [Action::Signal(canary, Sig::Kill)]);
        story.when(killed(canary))
    };
    for fail in [refusal as fn(&mut Story) -> Vec<Action>, crash, silence] {
        let mut story = Story::serving(Plan { timeout: Duration::ZERO, ..plan(2) });
        story.when(Event::Signal(Sig::Hup));
        assert_eq!(fail(&mut story), [Action::Discard(Generation(2))]);
        assert!(matches!(story.said.last(), Some(Notice::ReloadFailed { kept: Generation(1), .. })));
        assert_eq!(story.ready(), 2);
        assert_eq!(story.when(Event::Tick), []);
        assert_eq!(story.when(Event::Signal(Sig::Hup)), [Action::Load(Generation(3))], "it can be tried again");
    }
}

#[test]
fn crashes_during_a_reload_are_answered_with_the_generation_in_force() {
    let mut story = Story::serving(plan(2));
    story.when(Event::Signal(Sig::Hup));
    story.when(Event::Loaded(Ok(plan(2))));
    assert_eq!(story.when(killed(w(0, 1, 1))), [Action::Spawn(w(0, 1, 4))], "not proven yet: the old one");
    let canary = w(2, 2, 3);
    let done = story.when(Event::Ready(canary));
    assert_eq!(done, [Action::Commit(Generation(2)), term(w(0, 1, 4)), Action::Spawn(w(3, 2, 5))]);
}

#[test]
fn several_hups_are_one_more_reload_after_the_present_one() {
    let mut story = Story::serving(plan(1));
    assert_eq!(story.when(Event::Signal(Sig::Hup)), [Action::Load(Generation(2))]);
    assert_eq!(story.when(Event::Signal(Sig::Hup)), []);
    assert_eq!(story.when(Event::Signal(Sig::Hup)), []);
    story.when(Event::Loaded(Ok(plan(1))));
    let done = story.when(Event::Ready(w(1, 2, 2)));
    assert_eq!(done, [Action::Commit(Generation(2)), term(w(0, 1, 1)), Action::Load(Generation(3))]);
    assert!(story.when(Event::Loaded(Err("no".into()))).contains(&Action::Discard(Generation(3))));
    assert_eq!(story.when(Event::Tick), []);
}

#[test]
fn a_reload_takes_over_the_number_of_workers() {
    let mut story = Story::serving(plan(3));
    story.when(Event::Signal(Sig::Ttin));
    story.when(Event::Ready(w(3, 1, 4)));
    story.when(Event::Signal(Sig::Hup));
    story.when(Event::Loaded(Ok(plan(1))));
    let done = story.when(Event::Ready(w(4, 2, 5)));
    let all: Vec<_> = (0..4).map(|n| term(w(n, 1, n as u64 + 1))).collect();
    assert_eq!(done[1..], all, "one ready new worker is all that is wanted");
}

#[test]
fn a_stop_during_a_reload_takes_the_new_worker_along() {
    let mut story = Story::serving(plan(1));
    story.when(Event::Signal(Sig::Hup));
    story.when(Event::Loaded(Ok(plan(1))));
    let canary = w(1, 2, 2);
    let done = story.when(Event::Signal(Sig::Term));
    let stop = Action::SetPhase(Phase::Stopping);
    assert_eq!(done, [Action::Discard(Generation(2)), stop, term(w(0, 1, 1)), term(canary)]);
    story.when(left(canary));
    assert_eq!(story.when(left(w(0, 1, 1))).last(), Some(&Action::Exit(0)));
}

#[test]
fn max_surge_bounds_how_many_are_replaced_at_a_time() {
    let mut story = Story::serving(plan(4));
    story.when(Event::Signal(Sig::Hup));
    story.when(Event::Loaded(Ok(Plan { max_surge: 3, ..plan(4) })));
    let done = story.when(Event::Ready(w(4, 2, 5)));
    assert_eq!(spawns(&done).len(), 3, "the canary's place is taken over by the old one that leaves");
}

#[test]
fn the_message_of_a_seats_last_occupant_is_not_taken_for_the_next_ones() {
    let mut story = Story::serving(plan(1));
    let old = w(0, 1, 1);
    story.when(killed(old));
    assert_eq!(story.when(Event::Ready(old)), []);
    assert_eq!(story.when(killed(old)), []);
    assert_eq!(story.ready(), 0);
}

#[test]
fn a_signal_without_a_task_is_named_and_ignored() {
    let mut story = Story::serving(plan(1));
    let sig = Sig::Abrt;
    assert_eq!(story.when(Event::Signal(sig)), []);
    assert_eq!(story.when(Event::Signal(Sig::Chld)), []);
}

/// With all that may still write to them: ready, draining, and booting ones, which ignore it until they can listen.
#[test]
fn usr1_opens_the_log_files_anew_and_tells_the_workers_in_every_state() {
    let usr1 = |ids: &[WorkerId]| {
        [Action::ReopenLogs].into_iter().chain(ids.iter().map(|id| Action::Signal(*id, Sig::Usr1))).collect::<Vec<_>>()
    };
    let mut story = Story::serving(plan(2));
    assert_eq!(story.when(Event::Signal(Sig::Usr1)), usr1(&[w(0, 1, 1), w(1, 1, 2)]));
    assert_eq!(story.said, [Notice::HandlingSignal(Sig::Usr1)]);

    // During a reload, the new generation's canary with them; of those that drain, too.
    story.when(Event::Signal(Sig::Hup));
    let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(2)))));
    assert_eq!(story.when(Event::Signal(Sig::Usr1)), usr1(&[w(0, 1, 1), w(1, 1, 2), canary]));
    let drained = story.when(Event::Ready(canary));
    assert!(drained.iter().any(|action| matches!(action, Action::Signal(_, Sig::Term))), "{drained:?}");
    assert!(story.when(Event::Signal(Sig::Usr1)).contains(&Action::Signal(w(0, 1, 1), Sig::Usr1)));

    // One that hangs is on its way out, one that is gone is not signalled.
    let mut story = Story::serving(plan(2));
    story.now = story.now + plan(2).timeout;
    story.when(Event::Beats(vec![(w(0, 1, 1), story.now)]));
    assert_eq!(story.when(Event::Tick), [Action::Signal(w(1, 1, 2), Sig::Abrt)]);
    assert_eq!(story.when(Event::Signal(Sig::Usr1)), usr1(&[w(0, 1, 1)]));

    // And during a stop.
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.when(Event::Signal(Sig::Usr1)), usr1(&[w(0, 1, 1)]));
    story.when(killed(w(1, 1, 2)));
    story.when(left(w(0, 1, 1)));
}

#[test]
fn a_vacancy_that_waits_and_is_no_longer_needed_is_forgotten() {
    let mut story = Story::serving(plan(3));
    for slot in [1, 2] {
        let first = w(slot, 1, slot as u64 + 1);
        let second = only_spawn(&story.when(killed(first)));
        story.when(Event::Ready(second));
        assert_eq!(story.when(killed(second)), [], "the second death in a row: a pause");
    }
    story.when(Event::Signal(Sig::Ttou));
    story.when(Event::Signal(Sig::Ttou));
    assert_eq!(story.fleet.next_deadline(story.now), Some(story.now + 30 * SECOND), "only the heartbeat is waited for");
    let healthy = w(0, 1, 1);
    assert_eq!(spawns(&story.when(killed(healthy))).len(), 1, "a first death is answered at once");
}

#[test]
fn a_deadline_is_never_in_the_past() {
    // A vacancy whose time has come while there is no room for it (max_surge) must not make the master spin.
    let mut story = Story::serving(plan(2));
    let again = only_spawn(&story.when(killed(w(1, 1, 2))));
    story.when(Event::Ready(again));
    story.when(killed(again));
    story.when(Event::Signal(Sig::Ttou));
    story.now = story.now + 10 * SECOND;
    story.when(Event::Beats(vec![(w(0, 1, 1), story.now)]));
    story.when(Event::Tick);
    assert!(story.fleet.next_deadline(story.now).unwrap() > story.now);
}

#[test]
fn a_reload_that_lowers_the_timeout_judges_old_workers_by_their_own() {
    let mut story = Story::serving(plan(1));
    story.when(Event::Signal(Sig::Hup));
    let canary = only_spawn(&story.when(Event::Loaded(Ok(Plan { timeout: SECOND, ..plan(2) }))));
    story.now = story.now + 5 * SECOND;
    let done = story.when(Event::Ready(canary));
    assert!(!done.contains(&Action::Signal(w(0, 1, 1), Sig::Abrt)), "{done:?}");
    story.now = story.now + SECOND;
    assert!(story.when(Event::Tick).contains(&Action::Signal(canary, Sig::Abrt)), "the new one by the new");
}

#[test]
fn a_worker_that_was_told_to_go_by_somebody_else_gets_a_successor_at_once() {
    let mut story = Story::serving(plan(1));
    let old = w(0, 1, 1);
    assert_eq!(story.when(Event::Leaving(old)), [Action::Spawn(w(1, 1, 2))]);
    story.when(Event::Ready(w(1, 1, 2)));
    assert_eq!(story.when(left(old)), []);
    assert_eq!(story.said.len(), 1, "only that the new one is ready: {:?}", story.said);
}

#[test]
fn a_reload_without_a_free_seat_fails_and_changes_nothing() {
    let crowd = Plan { max_surge: 1024, ..plan(1024) };
    let mut story = Story::serving(crowd.clone());
    story.when(Event::Signal(Sig::Hup));
    let canary = only_spawn(&story.when(Event::Loaded(Ok(crowd.clone()))));
    let all = story.when(Event::Ready(canary));
    assert_eq!(spawns(&all).len(), 1023);
    story.when(Event::Signal(Sig::Hup)); // nobody has become ready, so nobody drains yet
    story.when(Event::Loaded(Ok(crowd)));
    assert!(matches!(story.said.last(), Some(Notice::ReloadFailed { .. })), "{:?}", story.said.last());
}

#[test]
fn a_sigkill_is_told_by_who_sent_it() {
    let limit = Some(512 << 20);
    let epitaph = |fate| {
        let mut story = Story::serving(plan(1));
        let successor = only_spawn(&story.when(Event::Exited(w(0, 1, 1), fate, None)));
        let pid = pid(w(0, 1, 1));
        assert_eq!(story.said.len(), 1, "{:?}", story.said);
        story.said[0]
            .to_string()
            .strip_prefix(&format!("Worker (pid:{pid}) was sent SIGKILL! "))
            .map(str::to_owned)
            .inspect(|_| assert_eq!(successor.slot, Slot(0)))
    };
    for (fate, words) in [
        (Fate::OutOfMemory { limit }, "The kernel killed it: out of memory (memory limit of the cgroup: 512 MiB)"),
        (
            Fate::OutOfMemory { limit: None },
            "The kernel killed it: out of memory (the cgroup has no limit, the machine had none left)",
        ),
        (Fate::Killed, "Somebody sent it, not the kernel's out-of-memory killer"),
        (Fate::Signal(9), "Perhaps out of memory?"),
    ] {
        assert_eq!(epitaph(fate).as_deref(), Some(words));
    }
    // While it boots it is the reason, too.
    let mut story = Story::new(plan(1));
    story.when(Event::Tick);
    story.when(Event::Exited(w(0, 1, 1), Fate::OutOfMemory { limit }, None));
    let reason = "the kernel killed it, out of memory, before it was ready".to_owned();
    assert!(story.said.contains(&Notice::WorkerFailedToBoot { slot: Slot(0), reason }), "{:?}", story.said);
}

#[test]
fn every_end_that_nobody_asked_for_is_counted_once_by_its_cause() {
    let mut story = Story::serving(Plan { restart_backoff: Duration::ZERO, ..plan(1) });
    let mut id = w(0, 1, 1);
    for (fate, boots) in [
        (Fate::Code(0), true),
        (Fate::Signal(11), true),
        (Fate::Signal(9), true),
        (Fate::Killed, true),
        (Fate::OutOfMemory { limit: None }, true),
        (Fate::Signal(11), false),
        (Fate::NotStarted("out of processes".into()), false),
    ] {
        if boots {
            story.when(Event::Ready(id));
        }
        id = only_spawn(&story.when(Event::Exited(id, fate, None)));
    }
    story.when(Event::Ready(id));
    assert_eq!(story.after(30 * SECOND, Event::Tick), [Action::Signal(id, Sig::Abrt)]);
    let id = only_spawn(&story.when(Event::Exited(id, Fate::Signal(6), None)));
    story.when(Event::Ready(id));
    //                                           exited, signal, killed, hang, boot, oom
    assert_eq!(story.fleet.figures().restarts, [1, 1, 2, 1, 2, 1]);

    // Ends that were asked for are no restarts; a canary's counts as the reload's failure.
    story.when(Event::Signal(Sig::Hup));
    let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(1)))));
    story.when(killed(canary));
    story.when(Event::Signal(Sig::Hup));
    let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(1)))));
    assert_eq!(story.when(Event::Ready(canary)), [Action::Commit(Generation(3)), term(id)]);
    story.when(left(id));
    story.when(Event::Signal(Sig::Ttin));
    let figures = story.fleet.figures();
    assert_eq!(figures.restarts, [1, 1, 2, 1, 2, 1]);
    assert_eq!((figures.reloads_ok, figures.reloads_failed, figures.generation, figures.target), (1, 1, 3, 2));
}

#[test]
fn a_worker_that_has_served_enough_goes_when_its_successor_is_ready() {
    let mut story = Story::serving(plan(2));
    let (first, second) = (w(0, 1, 1), w(1, 1, 2));
    let successor = only_spawn(&story.when(Event::Spent(first)));
    let why = Due::Requests;
    assert_eq!(story.said, [Notice::Recycling { slot: Slot(0), pid: pid(first), why }]);
    assert_eq!(story.when(Event::Spent(first)), [], "once is enough");
    assert_eq!(story.ready(), 2, "it serves meanwhile");
    assert_eq!(story.when(Event::Ready(successor)), [term(first)], "the one that is due, not the oldest");
    assert_eq!(story.when(left(first)), []);
    assert_eq!((story.ids(), story.fleet.figures().recycles), (vec![second, successor], [1, 0, 0, 0]));
}

#[test]
fn workers_that_are_due_together_are_replaced_one_after_the_other() {
    let mut story = Story::serving(plan(3));
    let mut next = only_spawn(&story.when(Event::Spent(w(0, 1, 1))));
    for due in [w(1, 1, 2), w(2, 1, 3)] {
        assert_eq!(story.when(Event::Spent(due)), [], "max_surge is 1");
    }
    for due in [w(0, 1, 1), w(1, 1, 2), w(2, 1, 3)] {
        let done = story.when(Event::Ready(next));
        assert_eq!(done[0], term(due));
        if let Some(spawned) = spawns(&done).first() {
            next = *spawned;
        }
        story.when(left(due));
        assert!(story.ready() >= 3);
    }
    assert_eq!((story.fleet.live(), story.fleet.figures().recycles), (3, [3, 0, 0, 0]));
}

#[test]
fn a_successor_that_dies_is_tried_again_while_the_due_worker_serves() {
    let mut story = Story::serving(plan(1));
    let first = only_spawn(&story.when(Event::Spent(w(0, 1, 1))));
    let second = only_spawn(&story.when(Event::Exited(first, Fate::Code(3), None)));
    assert_eq!(story.ready(), 1);
    assert_eq!(story.when(Event::Ready(second)), [term(w(0, 1, 1))]);
}

#[test]
fn a_due_worker_that_dies_needs_no_second_successor() {
    let mut story = Story::serving(plan(1));
    let successor = only_spawn(&story.when(Event::Spent(w(0, 1, 1))));
    assert_eq!(story.when(killed(w(0, 1, 1))), []);
    assert_eq!(story.when(Event::Ready(successor)), []);
    assert_eq!(story.ids(), [successor]);
}

#[test]
fn only_a_worker_that_stays_too_big_is_replaced() {
    let limits = Limits { max_rss: 100, ..Limits::default() };
    let mut story = Story::serving(Plan { limits, timeout: Duration::ZERO, ..plan(2) });
    let mut looks = 0;
    let mut look = |story: &mut Story, size| {
        let due = story.fleet.next_deadline(story.now).expect("a look is planned");
        story.now = due;
        assert_eq!(story.when(Event::Tick), [Action::Measure]);
        looks += 1;
        story.when(Event::Measured(vec![(w(0, 1, 1), size), (w(1, 1, 2), 100)]))
    };
    for size in [101, 101, 100, 101, 101] {
        assert_eq!(look(&mut story, size), []);
    }
    let successor = only_spawn(&look(&mut story, 150));
    assert_eq!(story.when(Event::Ready(successor)), [term(w(0, 1, 1))]);
    let why = Due::Memory { resident: 150 };
    assert!(story.said.contains(&Notice::Recycling { slot: Slot(0), pid: pid(w(0, 1, 1)), why }));
    assert_eq!((looks, story.fleet.figures().recycles), (6, [0, 1, 0, 0]));
}

#[test]
fn a_lifetime_ends_for_one_worker_after_the_other() {
    let limits = Limits { worker_lifetime: 100 * SECOND, ..Limits::default() };
    let mut story = Story::serving(Plan { limits, timeout: Duration::ZERO, ..plan(4) });
    let start = story.now;
    let mut ends = Vec::new();
    while ends.len() < 4 {
        story.now = story.fleet.next_deadline(story.now).expect("a lifetime ends");
        let successor = only_spawn(&story.when(Event::Tick));
        let done = story.when(Event::Ready(successor));
        let [Action::Signal(gone, Sig::Term)] = done[..] else { panic!("{done:?}") };
        story.when(left(gone));
        ends.push(story.now.since(start));
    }
    assert!(ends.iter().all(|end| (100 * SECOND..=110 * SECOND).contains(end)), "{ends:?}");
    assert!(ends.windows(2).all(|pair| pair[1] > pair[0]), "{ends:?}");
    assert_eq!(story.fleet.figures().recycles, [0, 0, 4, 0]);
}

#[test]
fn nobody_is_recycled_during_a_stop_or_for_an_older_generation() {
    let mut story = Story::serving(plan(1));
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.when(Event::Spent(w(0, 1, 1))), []);
    assert_eq!(story.fleet.figures().recycles, [0, 0, 0, 0]);
}

#[test]
fn files_that_changed_are_a_reload_but_not_for_a_server_that_stops() {
    let changed = || Event::FilesChanged(vec!["/srv/app.toml".into()]);
    let mut story = Story::serving(plan(1));
    assert_eq!(story.when(changed()), [Action::Load(Generation(2))]);
    assert_eq!(story.said, [Notice::FilesChanged { files: vec!["/srv/app.toml".into()] }], "nobody sent a signal");
    assert_eq!(story.told, [Status::Reloading]);

    let mut story = Story::serving(plan(1));
    story.when(Event::Signal(Sig::Term));
    story.said.clear();
    assert_eq!((story.when(changed()), story.said), (vec![], vec![]));
}
