//! USR2, WINCH and what a service manager hears.

use super::*;

const HEIR: i32 = 4711;
const HANDED_OVER: [Action; 2] = [Action::SetPhase(Phase::HandedOver), Action::ServeAdmin(false)];
const SERVING_ALONE: [Action; 2] = [Action::SetPhase(Phase::Running), Action::ServeAdmin(true)];

fn heir() -> Pid {
    Pid::from_raw(HEIR).unwrap()
}

fn auto(workers: usize) -> Plan {
    Plan { handover: Handover::Auto, ..plan(workers) }
}

/// A fleet whose heir serves beside it.
fn upgraded(plan: Plan) -> Story {
    let mut story = Story::serving(plan);
    assert_eq!(story.when(Event::Signal(Sig::Usr2)), [Action::StartHeir(Generation(2))]);
    assert_eq!(story.when(Event::HeirSpawned(heir())), []);
    assert_eq!(story.said.last(), Some(&Notice::Upgrading { pid: heir() }));
    story
}

#[test]
fn usr2_starts_a_new_master_and_the_operator_ends_the_old_one() {
    let mut story = upgraded(plan(2));
    assert_eq!(story.when(Event::HeirSays(Report::Ready)), HANDED_OVER);
    assert_eq!(story.said.last(), Some(&Notice::Upgraded { pid: heir(), leaves: false }));
    // The sockets are the heir's too: workers leave as those do that are being replaced, and nobody shuts anything down.
    let (a, b) = (w(0, 1, 1), w(1, 1, 2));
    assert_eq!(story.when(Event::Signal(Sig::Term)), [Action::SetPhase(Phase::HandedOver), term(a), term(b)]);
    assert_eq!(story.when(left(a)), []);
    assert_eq!(story.when(left(b)), [Action::Exit(0)]);
    assert_eq!(story.told, [Status::MainPid(heir())], "the service did not stop: it has another main process");
}

#[test]
fn with_auto_the_old_master_leaves_by_itself_once_the_new_one_is_ready() {
    let mut story = upgraded(auto(2));
    let (a, b) = (w(0, 1, 1), w(1, 1, 2));
    let [phase, admin] = HANDED_OVER;
    assert_eq!(story.when(Event::HeirSays(Report::Ready)), [phase, admin, term(a), term(b)]);
    assert_eq!(story.said.last(), Some(&Notice::Upgraded { pid: heir(), leaves: true }));
    assert_eq!(story.when(left(a)), []);
    assert_eq!(story.when(left(b)), [Action::Exit(0)]);
    assert_eq!(story.told, [Status::MainPid(heir())]);
}

#[test]
fn a_bad_new_program_changes_nothing() {
    let mut story = upgraded(auto(1));
    assert_eq!(story.when(Event::HeirGone(Fate::Code(1), Some("app.toml:3: no".into()))), []);
    assert_eq!(story.said.last(), Some(&Notice::UpgradeFailed { reason: "app.toml:3: no".into() }));
    assert_eq!((story.ready(), story.told.as_slice()), (1, &[][..]));
    assert_eq!(story.when(Event::Signal(Sig::Usr2)), [Action::StartHeir(Generation(3))], "and can be tried again");
    story.when(Event::HeirGone(Fate::NotStarted("no such file".into()), None));
    assert_eq!(story.said.last(), Some(&Notice::UpgradeFailed { reason: "no such file".into() }));
    let stopping = story.when(Event::Signal(Sig::Term));
    assert_eq!(stopping[0], Action::SetPhase(Phase::Stopping), "alone again, so a stop is a full one");
}

#[test]
fn a_new_master_that_does_not_get_ready_is_told_to_go_then_killed() {
    let mut story = upgraded(plan(1));
    story.pass(Duration::from_secs(61));
    let condemned = story.after(SECOND, Event::Beats(Vec::new()));
    assert_eq!(condemned, []);
    let beats = Event::Beats(vec![(w(0, 1, 1), story.now)]);
    story.when(beats);
    assert_eq!(story.when(Event::Tick), [Action::SignalHeir(Sig::Int)]);
    assert!(matches!(story.said.last(), Some(Notice::UpgradeFailed { .. })));
    assert_eq!(story.when(Event::HeirSays(Report::Ready)), [], "too late");
    assert_eq!(story.after(4 * SECOND, Event::Tick), [Action::SignalHeir(Sig::Kill)]);
    assert_eq!(story.when(Event::HeirGone(Fate::Signal(9), None)), []);
    assert_eq!(story.said.iter().filter(|line| matches!(line, Notice::UpgradeFailed { .. })).count(), 1, "said once");
}

#[test]
fn whoever_stops_the_new_master_gets_the_old_workers_back() {
    let mut story = upgraded(auto(2));
    story.when(Event::HeirSays(Report::Ready));
    story.when(left(w(0, 1, 1)));
    let back = story.when(Event::HeirSays(Report::Leaving));
    assert_eq!(back[..2], SERVING_ALONE);
    assert_eq!(spawns(&back).len(), 2, "both seats: the worker that still drains serves nobody new");
    assert_eq!(story.when(Event::HeirGone(Fate::Code(0), None)), []);
    assert_eq!(story.said.last(), Some(&Notice::HeirGone { pid: heir(), fate: Fate::Code(0) }));
}

#[test]
fn a_new_master_that_dies_gives_the_old_workers_back() {
    let mut story = upgraded(auto(1));
    story.when(Event::HeirSays(Report::Ready));
    let back = story.when(Event::HeirGone(Fate::Signal(9), None));
    assert_eq!((&back[..2], spawns(&back).len()), (&SERVING_ALONE[..], 1));
}

#[test]
fn a_term_that_the_operator_sent_is_not_taken_back_by_the_end_of_the_new_master() {
    let mut story = upgraded(plan(1));
    story.when(Event::HeirSays(Report::Ready));
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.when(Event::HeirGone(Fate::Signal(9), None)), []);
    assert_eq!(story.when(left(w(0, 1, 1))), [Action::CloseListeners, Action::Exit(0)]);
}

#[test]
fn usr2_is_refused_where_it_cannot_be_followed() {
    let last = |story: &Story| story.said.last().map(ToString::to_string).unwrap_or_default();
    let mut story = upgraded(plan(1));
    assert_eq!(story.when(Event::Signal(Sig::Usr2)), []);
    assert_eq!(last(&story), "USR2 signal ignored. Child exists.");
    let mut story = Story::born(plan(1), Birth { has_parent: true, ..Birth::default() });
    assert_eq!(spawns(&story.when(Event::Signal(Sig::Usr2))).len(), 1, "only its own first worker");
    assert_eq!(last(&story), "USR2 signal ignored. Parent exists.");
    let mut story = Story::born(plan(1), Birth { is_init: true, ..Birth::default() }).served();
    assert_eq!(story.when(Event::Signal(Sig::Usr2)), []);
    assert!(last(&story).starts_with("USR2 signal ignored. This master is PID 1"), "{}", last(&story));
    let mut story = Story::serving(plan(1));
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.when(Event::Signal(Sig::Usr2)), []);
    assert_eq!(last(&story), "USR2 signal ignored. The server is stopping.");
}

#[test]
fn an_heir_tells_its_parent_when_all_its_workers_are_ready_and_is_promoted_when_that_is_gone() {
    let birth = Birth { has_parent: true, generation: Generation(5), ..Birth::default() };
    let mut story = Story::born(plan(2), birth);
    let spawned = spawns(&story.when(Event::Tick));
    assert_eq!(spawned, [w(0, 5, 1), w(1, 5, 2)]);
    assert_eq!(story.when(Event::Ready(spawned[0])), []);
    assert_eq!(story.when(Event::Ready(spawned[1])), [Action::ServeAdmin(true), Action::TellParent(Report::Ready)]);
    assert_eq!(story.told, [], "the service manager listens to the old master");
    assert_eq!(story.when(Event::ParentGone), [Action::Promote, Action::ServeAdmin(true)]);
    assert_eq!((story.said.last(), story.told.as_slice()), (Some(&Notice::Promoted), &[Status::Ready][..]));
    assert_eq!(
        story.when(Event::Signal(Sig::Usr2)),
        [Action::StartHeir(Generation(6))],
        "now it may have one of its own"
    );
}

#[test]
fn an_heir_that_stops_leaves_the_sockets_to_its_parent() {
    let birth = Birth { has_parent: true, ..Birth::default() };
    let worker = w(0, 1, 1);
    let mut story = Story::born(plan(1), birth);
    story.when(Event::Tick);
    story.when(Event::Ready(worker));
    let gentle = story.when(Event::Signal(Sig::Term));
    assert_eq!(gentle, [Action::TellParent(Report::Leaving), Action::SetPhase(Phase::HandedOver), term(worker)]);
    let quick = story.when(Event::Signal(Sig::Int));
    assert_eq!(quick, [Action::SetPhase(Phase::Leaving), Action::Signal(worker, Sig::Quit)]);
    assert_eq!(story.when(left(worker)), [Action::Exit(0)]);
}

#[test]
fn an_heir_that_cannot_boot_tells_why() {
    let mut story = Story::born(plan(1), Birth { has_parent: true, ..Birth::default() });
    story.when(Event::Tick);
    let end = story.when(Event::Exited(w(0, 1, 1), Fate::Code(4), Some("no database".into())));
    assert_eq!(end.last(), Some(&Action::Exit(4)));
    assert!(end.contains(&Action::TellParent(Report::Failed("no database".into()))), "{end:?}");
    assert!(!end.contains(&Action::CloseListeners));
}

#[test]
fn winch_takes_the_workers_away_and_hup_brings_them_back() {
    let mut story = Story::serving(plan(2));
    let (a, b) = (w(0, 1, 1), w(1, 1, 2));
    assert_eq!(story.when(Event::Signal(Sig::Winch)), [term(a), term(b)]);
    assert_eq!(story.said.last(), Some(&Notice::StoppingWorkers));
    assert_eq!(story.when(left(a)), []);
    assert_eq!(story.when(left(b)), [], "the master stays, and holds the sockets");
    assert_eq!(story.fleet.figures().target, 0);
    let back = story.when(Event::Signal(Sig::Hup));
    assert_eq!(spawns(&back).len(), 2, "whatever becomes of the reload");
    assert_eq!(back.last(), Some(&Action::Load(Generation(2))));
}

#[test]
fn after_a_winch_ttin_brings_them_back_one_by_one() {
    let mut story = Story::serving(plan(2));
    story.when(Event::Signal(Sig::Winch));
    assert_eq!(spawns(&story.when(Event::Signal(Sig::Ttin))).len(), 1);
    assert_eq!(spawns(&story.when(Event::Signal(Sig::Ttin))).len(), 1);
}

#[test]
fn a_winch_that_may_come_from_a_terminal_does_nothing_unless_another_master_serves() {
    let at_a_terminal = Birth { has_terminal: true, ..Birth::default() };
    let mut story = Story::born(plan(1), at_a_terminal).served();
    assert_eq!(story.when(Event::Signal(Sig::Winch)), []);
    assert_eq!(story.said.last(), Some(&Notice::SignalIgnored(Sig::Winch)));
    story.when(Event::Signal(Sig::Usr2));
    story.when(Event::HeirSpawned(heir()));
    story.when(Event::HeirSays(Report::Ready));
    assert_eq!(story.when(Event::Signal(Sig::Winch)), [term(w(0, 1, 1))]);
}

#[test]
fn a_reload_in_progress_ends_with_the_handover() {
    let mut story = upgraded(auto(1));
    story.when(Event::Signal(Sig::Hup));
    let canary = only_spawn(&story.when(Event::Loaded(Ok(plan(1)))));
    let leaving = story.when(Event::HeirSays(Report::Ready));
    assert!(leaving.contains(&term(canary)) && leaving.contains(&Action::Discard(canary.generation)), "{leaving:?}");
    story.when(left(canary));
    assert_eq!(story.when(left(w(0, 1, 1))), [Action::Exit(0)]);
}

#[test]
fn sockets_of_a_service_manager_outlive_a_stop() {
    let activated = Birth { foreign_sockets: true, ..Birth::default() };
    let worker = w(0, 1, 1);
    let mut story = Story::born(plan(1), activated).served();
    assert_eq!(story.when(Event::Signal(Sig::Term)), [Action::SetPhase(Phase::Leaving), term(worker)]);
    assert_eq!(story.when(left(worker)), [Action::Exit(0)]);
}

#[test]
fn a_service_manager_hears_of_the_first_ready_worker_of_reloads_and_of_the_stop() {
    let mut story = Story::new(plan(2));
    let spawned = spawns(&story.when(Event::Tick));
    assert_eq!(story.told, [], "a process is not a service");
    story.when(Event::Ready(spawned[0]));
    assert_eq!(std::mem::take(&mut story.told), [Status::Ready]);
    story.when(Event::Ready(spawned[1]));
    story.when(Event::Signal(Sig::Hup));
    assert_eq!(std::mem::take(&mut story.told), [Status::Reloading]);
    story.when(Event::Signal(Sig::Hup));
    story.when(Event::Loaded(Err("broken".into())));
    assert_eq!(std::mem::take(&mut story.told), [Status::Reloading], "one more is to come");
    story.when(Event::Loaded(Err("broken".into())));
    assert_eq!(std::mem::take(&mut story.told), [Status::Ready], "over, though it failed: the service is ready");
    story.when(Event::Signal(Sig::Term));
    assert_eq!(story.told, [Status::Stopping]);
}

#[test]
fn usr1_reaches_the_new_master_once_there_is_one() {
    let mut story = Story::serving(plan(1));
    let (reopen, worker) = (Action::ReopenLogs, Action::Signal(w(0, 1, 1), Sig::Usr1));
    let alone = [reopen.clone(), worker.clone()];
    let both = [reopen, worker, Action::SignalHeir(Sig::Usr1)];
    story.when(Event::Signal(Sig::Usr2));
    assert_eq!(story.when(Event::Signal(Sig::Usr1)), alone);
    story.when(Event::HeirSpawned(heir()));
    assert_eq!(story.when(Event::Signal(Sig::Usr1)), both, "it ignores it until it can hear it");
    story.when(Event::HeirSays(Report::Ready));
    assert_eq!(story.when(Event::Signal(Sig::Usr1)), both);
    story.when(Event::HeirGone(Fate::Code(0), None));
    assert_eq!(story.when(Event::Signal(Sig::Usr1)), alone);
}
