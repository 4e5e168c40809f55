//! Stories: what a master says and when, and all that the worker does about it. No process, no socket, scripted time.

use super::*;
use crate::locust::wire::Source;
use crate::locust::zmtp::Violation;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn counts(users: &[(&str, u32)]) -> Counts {
    users.iter().map(|(class, count)| ((*class).to_owned(), *count)).collect()
}

fn classes(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn spawn(timestamp: f64, users: &[(&str, u32)]) -> Input {
    let spawn = Spawn { timestamp, users: counts(users), host: None, stop_timeout: 0.0, reset_stats: false };
    Input::Message(FromMaster::Spawn(spawn))
}

fn says(message: FromMaster) -> Input {
    Input::Message(message)
}

/// A session and its time. What it tells the operator is kept apart from what it does.
struct Story {
    session: Session,
    now: Instant,
    told: Vec<Notice>,
}

impl Story {
    fn with(classes: Option<BTreeSet<String>>, persist: bool) -> Self {
        let now = Instant::now();
        Self { session: Session::new(now, classes, persist), now, told: Vec::new() }
    }

    fn of(persist: bool) -> Self {
        Self::with(Some(classes(&["Browse", "Buy"])), persist)
    }

    /// Registered, and idle.
    fn member(persist: bool) -> Self {
        let mut story = Self::of(persist);
        story.join();
        story
    }

    /// From the dial on.
    fn join(&mut self) {
        assert_eq!(self.step(Input::Tick), [Output::Dial]);
        assert_eq!(self.step(Input::Connected), [Output::Send(ToMaster::ClientReady)]);
        assert_eq!(self.step(says(FromMaster::Ack(Some(0)))), [Output::Heartbeat(State::Ready)]);
    }

    /// Registered, with three users.
    fn running(persist: bool) -> Self {
        let mut story = Self::member(persist);
        assert_eq!(story.step(spawn(1.0, &[("Browse", 2), ("Buy", 1)])).len(), 5);
        story
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let (told, done): (Vec<_>, Vec<_>) =
            self.session.step(self.now, input).into_iter().partition(|output| matches!(output, Output::Tell(_)));
        self.told.extend(told.into_iter().map(|output| match output {
            Output::Tell(notice) => notice,
            _ => unreachable!("parted above"),
        }));
        done
    }

    /// Goes to each deadline up to `span` from now; what was done, with its time in milliseconds from now.
    fn pass(&mut self, span: Duration) -> Vec<(u128, Output)> {
        let (start, end) = (self.now, self.now + span);
        let mut done = Vec::new();
        while let Some(at) = self.session.next_deadline().filter(|at| *at <= end) {
            assert!(at >= self.now, "a deadline in the past would spin");
            self.now = at;
            let outputs = self.step(Input::Tick);
            done.extend(outputs.into_iter().map(|output| ((at - start).as_millis(), output)));
        }
        self.now = end;
        done
    }
}

fn users(users: &[(&str, u32)]) -> Output {
    Output::Users { users: counts(users), host: None }
}

fn complete(users: &[(&str, u32)]) -> Output {
    Output::Send(ToMaster::SpawningComplete(counts(users)))
}

#[test]
fn joins_and_shows_life_every_second_but_reports_nothing_while_idle() {
    let mut story = Story::member(false);
    let beats: Vec<_> = (1..=10).map(|s| (s * 1000, Output::Heartbeat(State::Ready))).collect();
    assert_eq!(story.pass(10 * S), beats);
    assert_eq!(story.told, [Notice::Joined { index: Some(0) }]);
}

#[test]
fn a_ramp_is_absolute_targets_and_each_is_confirmed_at_once() {
    let mut story = Story::member(false);
    let first = [
        Output::Clock(10.0),
        Output::Send(ToMaster::Spawning),
        Output::Begin,
        users(&[("Browse", 1), ("Buy", 0)]),
        complete(&[("Browse", 1), ("Buy", 0)]),
    ];
    assert_eq!(story.step(spawn(10.0, &[("Browse", 1), ("Buy", 0)])), first);
    let later =
        |at: f64, up: &[(&str, u32)]| [Output::Clock(at), Output::Send(ToMaster::Spawning), users(up), complete(up)];
    assert_eq!(story.step(spawn(11.0, &[("Browse", 2), ("Buy", 1)])), later(11.0, &[("Browse", 2), ("Buy", 1)]));
    assert_eq!(story.step(says(FromMaster::SpawningComplete)), []);
    // Down again, and the same once more: sent to all workers on each step.
    assert_eq!(story.step(spawn(12.0, &[("Browse", 1), ("Buy", 0)])), later(12.0, &[("Browse", 1), ("Buy", 0)]));
    assert_eq!(story.step(spawn(13.0, &[("Browse", 1), ("Buy", 0)])), later(13.0, &[("Browse", 1), ("Buy", 0)]));
}

#[test]
fn a_target_that_is_not_newer_is_dropped() {
    let mut story = Story::running(false);
    assert_eq!(story.step(spawn(1.0, &[("Browse", 9)])), []);
    assert_eq!(story.step(spawn(0.5, &[("Browse", 9)])), []);
    assert_eq!(story.step(spawn(1.5, &[("Browse", 9)])).len(), 4);
}

#[test]
fn running_reports_every_three_seconds() {
    let mut story = Story::running(false);
    let up = counts(&[("Browse", 2), ("Buy", 1)]);
    let done = story.pass(6 * S);
    let reports: Vec<_> = done.iter().filter(|(_, output)| matches!(output, Output::Report(_))).cloned().collect();
    assert_eq!(reports, [(3000, Output::Report(up.clone())), (6000, Output::Report(up))]);
    assert_eq!(done.iter().filter(|(_, output)| *output == Output::Heartbeat(State::Running)).count(), 6);
}

#[test]
fn stop_is_users_then_zero_report_then_stopped_then_ready() {
    let mut story = Story::running(false);
    assert_eq!(story.step(says(FromMaster::Stop)), [Output::Halt(STOP_GRACE)]);
    assert_eq!(story.step(says(FromMaster::Stop)), [], "once is enough");
    let end = [
        Output::Report(counts(&[("Browse", 0), ("Buy", 0)])),
        Output::Send(ToMaster::ClientStopped),
        Output::Send(ToMaster::ClientReady),
    ];
    assert_eq!(story.step(Input::Idle), end);
    assert_eq!(
        story.pass(4 * S),
        [],
        "no sign of life, which the master could take for running, until it is registered again"
    );
    assert_eq!(story.step(says(FromMaster::Ack(Some(0)))), [Output::Heartbeat(State::Ready)]);
    assert_eq!(story.step(spawn(9.0, &[("Buy", 1)]))[2], Output::Begin, "another run");
}

#[test]
fn stop_waits_for_requests_in_flight_as_long_as_the_master_says() {
    for (stop_timeout, grace) in [(0.0, STOP_GRACE), (7.5, 7500 * MS)] {
        let mut story = Story::member(false);
        let target =
            Spawn { timestamp: 1.0, users: counts(&[("Buy", 1)]), host: None, stop_timeout, reset_stats: false };
        story.step(says(FromMaster::Spawn(target)));
        assert_eq!(story.step(says(FromMaster::Stop)), [Output::Halt(grace)]);
        let beats: Vec<_> = (1..=7).map(|s| (s * 1000, Output::Heartbeat(State::Running))).collect();
        assert_eq!(story.pass(7 * S), beats, "its users are there until they are gone");
        assert_eq!(story.step(Input::Idle)[0], Output::Report(counts(&[("Buy", 0)])));
    }
}

#[test]
fn stop_without_a_run_registers_anew() {
    let mut story = Story::member(false);
    assert_eq!(
        story.step(says(FromMaster::Stop)),
        [Output::Send(ToMaster::ClientStopped), Output::Send(ToMaster::ClientReady)]
    );
}

#[test]
fn quit_reports_within_the_half_second_that_the_master_waits() {
    let mut story = Story::running(false);
    assert_eq!(story.step(says(FromMaster::Quit)), [Output::Halt(QUIT_GRACE)]);
    assert!(QUIT_GRACE < 500 * MS);
    assert_eq!(story.step(says(FromMaster::Quit)), [], "once is enough");
    let end = [Output::Report(counts(&[("Browse", 0), ("Buy", 0)])), Output::Send(ToMaster::Quit), Output::Exit(None)];
    assert_eq!(story.step(Input::Idle), end);
    assert_eq!(story.session.next_deadline(), None);
}

#[test]
fn quit_with_persist_goes_back_to_dialling() {
    let mut story = Story::running(true);
    story.step(says(FromMaster::Quit));
    let end = [Output::Report(counts(&[("Browse", 0), ("Buy", 0)])), Output::Send(ToMaster::Quit), Output::HangUp];
    assert_eq!(story.step(Input::Idle), end);
    assert_eq!(story.pass(S), [(500, Output::Dial)]);
    let mut idle = Story::member(true);
    assert_eq!(idle.step(says(FromMaster::Quit)), [Output::Send(ToMaster::Quit), Output::HangUp]);
    let mut unknown = Story::of(true);
    unknown.step(Input::Tick);
    unknown.step(Input::Connected);
    assert_eq!(unknown.step(says(FromMaster::Quit)), [Output::Send(ToMaster::Quit), Output::HangUp]);
}

#[test]
fn a_signal_flushes_and_says_quit() {
    let mut story = Story::running(true);
    assert_eq!(story.step(Input::Terminate), [Output::Halt(STOP_GRACE)]);
    assert_eq!(story.step(spawn(5.0, &[("Buy", 50)])), [], "no new users on the way out");
    let end = [Output::Report(counts(&[("Browse", 0), ("Buy", 0)])), Output::Send(ToMaster::Quit), Output::Exit(None)];
    assert_eq!(story.step(Input::Idle), end);
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut story = Story::running(false);
    story.step(Input::Terminate);
    let end = [Output::Abandon, Output::Send(ToMaster::Quit), Output::Exit(None)];
    assert_eq!(story.step(Input::Terminate), end);
}

#[test]
fn a_signal_without_a_master_ends_at_once() {
    assert_eq!(Story::of(true).step(Input::Terminate), [Output::Exit(None)]);
    let mut dialling = Story::of(true);
    dialling.step(Input::Tick);
    assert_eq!(dialling.step(Input::Terminate), [Output::Exit(None)]);
    assert_eq!(Story::member(true).step(Input::Terminate), [Output::Send(ToMaster::Quit), Output::Exit(None)]);
}

#[test]
fn a_master_that_closes_the_connection_ends_the_load_and_is_dialled_again() {
    let mut story = Story::running(false);
    assert_eq!(story.step(Input::Lost(Loss::Closed)), [Output::Abandon]);
    assert_eq!(story.pass(500 * MS), [(500, Output::Dial)]);
    story.step(Input::Connected);
    story.step(says(FromMaster::Ack(Some(0))));
    // The new master's clock may be behind the old one's.
    assert_eq!(story.step(spawn(0.1, &[("Buy", 1)]))[2], Output::Begin);
    let told = [
        Notice::Joined { index: Some(0) },
        Notice::Users(counts(&[("Browse", 2), ("Buy", 1)])),
        Notice::NoMaster(Loss::Closed),
    ];
    assert_eq!(story.told[..3], told);
    assert_eq!(story.told[3], Notice::Joined { index: Some(0) });
}

#[test]
fn dials_for_ever_with_pauses_up_to_five_seconds_and_says_so_once() {
    let mut story = Story::of(false);
    let refused = || Input::Lost(Loss::Unreachable("connection refused".into()));
    let mut pauses = Vec::new();
    assert_eq!(story.step(Input::Tick), [Output::Dial]);
    for _ in 0..50 {
        story.step(refused());
        let at = story.session.next_deadline().expect("it never gives up");
        pauses.push((at - story.now).as_millis());
        story.now = at;
        assert_eq!(story.step(Input::Tick), [Output::Dial]);
    }
    assert_eq!(pauses[..5], [500, 1000, 2000, 4000, 5000]);
    assert!(pauses[5..].iter().all(|pause| *pause == 5000));
    assert_eq!(story.told.len(), 1, "{:?}", story.told);
    story.step(Input::Lost(Loss::Unreachable("no such host".into())));
    assert_eq!(story.told.len(), 2, "another reason is news");
    story.pass(5 * S);
    story.step(Input::Connected);
    story.step(says(FromMaster::Ack(None)));
    assert_eq!(story.told[2], Notice::Joined { index: None });
    story.step(Input::Lost(Loss::Closed));
    assert_eq!(story.pass(500 * MS), [(500, Output::Dial)], "and the pauses begin anew");
}

#[test]
fn without_an_ack_it_dials_under_another_name() {
    let mut story = Story::of(false);
    story.step(Input::Tick);
    story.step(Input::Connected);
    assert_eq!(story.pass(5500 * MS), [(5000, Output::HangUp), (5500, Output::Dial)]);
    assert_eq!(story.told, [Notice::NoMaster(Loss::NoAck(ACK))]);
}

#[test]
fn a_master_that_answers_no_heartbeat_is_given_up_after_a_minute() {
    let mut story = Story::running(false);
    for _ in 0..5 {
        story.pass(30 * S);
        assert_eq!(story.step(says(FromMaster::Heartbeat)), []);
    }
    let done = story.pass(60 * S);
    let end = done.iter().position(|(_, output)| *output == Output::HangUp).expect("given up");
    assert_eq!(done[end..], [(60_000, Output::HangUp), (60_000, Output::Abandon)]);
}

#[test]
fn reconnect_reports_and_dials_anew() {
    let mut story = Story::running(false);
    let end = [Output::Report(counts(&[("Browse", 0), ("Buy", 0)])), Output::HangUp, Output::Abandon];
    assert_eq!(story.step(says(FromMaster::Reconnect)), end);
    assert_eq!(story.pass(500 * MS), [(500, Output::Dial)]);
}

#[test]
fn users_of_an_unknown_class_are_neither_started_nor_counted_but_reported_once() {
    let mut story = Story::member(false);
    let done = story.step(spawn(1.0, &[("Browse", 2), ("Sell", 1)]));
    let Output::Send(ToMaster::Exception { message, .. }) = &done[3] else { panic!("{done:?}") };
    assert!(message.contains("\"Sell\"") && message.contains("Browse, Buy"), "{message}");
    assert_eq!(done[4..], [users(&[("Browse", 2)]), complete(&[("Browse", 2)])]);
    assert_eq!(story.step(spawn(2.0, &[("Browse", 4), ("Sell", 2)])).len(), 4, "not on each step of the ramp");
}

#[test]
fn an_address_of_something_else_ends_the_worker_unless_it_was_a_master_before() {
    let page = || Input::Lost(Loss::Violation(Violation::NotZmtp(b"HTTP/1.1 400".to_vec())));
    let mut story = Story::of(true);
    story.step(Input::Tick);
    let done = story.step(page());
    let [Output::Exit(Some(reason))] = done.as_slice() else { panic!("{done:?}") };
    assert!(reason.to_string().contains("HTTP/1.1 400"), "{reason}");
    let mut member = Story::member(true);
    assert_eq!(member.step(page()), []);
    assert_eq!(member.pass(500 * MS), [(500, Output::Dial)]);
    let mut broken = Story::of(true);
    broken.step(Input::Tick);
    assert_eq!(
        broken.step(Input::Lost(Loss::Violation(Violation::Flags(0x80)))),
        [],
        "a broken frame is no other protocol"
    );
}

#[test]
fn the_scenario_comes_from_the_master_with_each_connection() {
    let mut story = Story::with(None, false);
    story.step(Input::Tick);
    assert_eq!(story.step(Input::Connected), [Output::Send(ToMaster::Locustfile)]);
    let sources = vec![Source::Text { name: "locustfile.py".into(), contents: "…".into() }];
    let answer = || says(FromMaster::Locustfile(Ok(sources.clone())));
    assert_eq!(story.step(answer()), [Output::Read(sources.clone())]);
    assert_eq!(story.step(Input::Scenario(classes(&["Browse"]))), [Output::Send(ToMaster::ClientReady)]);
    assert_eq!(story.step(answer()), [], "nobody asked");
    story.step(says(FromMaster::Ack(Some(0))));
    story.step(Input::Lost(Loss::Closed));
    assert_eq!(story.pass(500 * MS), [(500, Output::Dial)]);
    assert_eq!(story.step(Input::Connected), [Output::Send(ToMaster::Locustfile)]);
}

#[test]
fn no_scenario_no_worker() {
    let fetching = || {
        let mut story = Story::with(None, false);
        story.step(Input::Tick);
        story.step(Input::Connected);
        story
    };
    let done = fetching().step(says(FromMaster::Locustfile(Err("must be a full path".into()))));
    assert!(
        matches!(&done[..], [Output::Exit(Some(Notice::NoScenario(why)))] if why.contains("must be a full path")),
        "{done:?}"
    );
    let done = fetching().step(Input::NoScenario("line 3".into()));
    assert_eq!(done, [Output::Exit(Some(Notice::NoScenario("line 3".into())))]);
    let mut mute = fetching();
    assert_eq!(mute.pass(5 * S), [(5000, Output::HangUp)]);
}

#[test]
fn reset_stats_forgets_the_ramp() {
    let mut story = Story::member(false);
    let target = Spawn {
        timestamp: 1.0,
        users: counts(&[("Buy", 1)]),
        host: Some("http://h".into()),
        stop_timeout: 0.0,
        reset_stats: true,
    };
    let done = story.step(says(FromMaster::Spawn(target)));
    assert_eq!(done[3], Output::Users { users: counts(&[("Buy", 1)]), host: Some("http://h".into()) });
    assert_eq!(story.step(says(FromMaster::SpawningComplete)), [Output::Reset]);
}

#[test]
fn changes_in_the_page_are_followed_where_a_worker_can() {
    let mut story = Story::running(false);
    let update = |class: &str, host: Option<&str>, others: &[&str]| {
        let others = others.iter().map(|key| (*key).to_owned()).collect();
        says(FromMaster::UpdateUserClass(ClassUpdate { class: class.into(), host: host.map(str::to_owned), others }))
    };
    let host = Output::Host { class: "Buy".into(), host: "http://other".into() };
    assert_eq!(story.step(update("Buy", Some("http://other"), &["weight"])), [host]);
    assert_eq!(story.step(update("Buy", None, &["tasks"])), []);
    assert_eq!(story.told.last(), Some(&Notice::NotFollowed { class: "Buy".into(), keys: vec!["tasks".into()] }));
    let done = story.step(update("Sell", Some("http://other"), &[]));
    assert!(matches!(&done[..], [Output::Send(ToMaster::Exception { .. })]), "{done:?}");
}

#[test]
fn messages_of_other_listeners_are_passed_over_and_named_once() {
    let mut story = Story::running(false);
    assert_eq!(story.step(says(FromMaster::Custom("concurrency".into()))), []);
    assert_eq!(story.step(says(FromMaster::Custom("concurrency".into()))), []);
    assert_eq!(story.told.iter().filter(|notice| matches!(notice, Notice::Custom(_))).count(), 1);
}

#[test]
fn users_that_cannot_be_started_are_reported_and_not_counted() {
    let mut story = Story::running(false);
    let done = story.step(Input::Refused("no host".into()));
    let Output::Send(ToMaster::Exception { message, .. }) = &done[0] else { panic!("{done:?}") };
    assert!(message.contains("no host"), "{message}");
    assert_eq!(done[1..], [complete(&[("Browse", 0), ("Buy", 0)])]);
    assert_eq!(story.step(spawn(2.0, &[("Browse", 3), ("Buy", 1)])).len(), 4);
    assert_eq!(story.step(Input::Refused("no host".into())), [complete(&[("Browse", 0), ("Buy", 0)])], "said once");
}

/// Anything in any order: it never panics or spins, does nothing before it is registered, and after its end nothing at all.
#[test]
fn seeds() {
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let mut story = Story::with((seed % 3 > 0).then(|| classes(&["Browse", "Buy"])), seed % 2 == 0);
        let (mut connected, mut registered, mut gone) = (false, false, false);
        for _ in 0..60 {
            let input = random.input(f64::from(random.0 as u32));
            match input {
                Input::Connected if !story_dials(&story) => continue,
                Input::Message(_) if !connected => continue,
                Input::Scenario(_) | Input::NoScenario(_) if !matches!(story.session.phase, Phase::Fetching { .. }) => {
                    continue;
                }
                Input::Connected => connected = true,
                Input::Lost(_) => (connected, registered) = (false, false),
                _ => {}
            }
            story.now += Duration::from_millis(random.below(4_000));
            let outputs = story.step(input.clone());
            assert!(!gone || outputs.is_empty(), "seed {seed}: {outputs:?} after the end");
            for output in outputs {
                match output {
                    Output::Dial => assert!(!connected, "seed {seed}: a second connection"),
                    Output::HangUp => (connected, registered) = (false, false),
                    Output::Send(ToMaster::ClientReady) => registered = true,
                    Output::Send(ToMaster::Locustfile | ToMaster::Quit) => assert!(connected, "seed {seed}"),
                    Output::Exit(_) => gone = true,
                    Output::Heartbeat(_) | Output::Report(_) | Output::Send(_) => {
                        assert!(connected && registered, "seed {seed}: {output:?} to nobody");
                    }
                    _ => {}
                }
            }
        }
        assert!(gone || story_dials(&story) || story.session.next_deadline().is_some(), "seed {seed}: stuck");
    }
}

fn story_dials(story: &Story) -> bool {
    story.session.phase == Phase::Dialling
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn input(&mut self, timestamp: f64) -> Input {
        match self.below(16) {
            0 | 1 => Input::Connected,
            2 => Input::Lost(Loss::Closed),
            3 | 4 => says(FromMaster::Ack(Some(1))),
            5 | 6 => spawn(timestamp, &[("Browse", 1), ("Sell", 1)]),
            7 => says(FromMaster::Stop),
            8 => says(FromMaster::Quit),
            9 => says(FromMaster::Reconnect),
            10 => says(FromMaster::Locustfile(Ok(Vec::new()))),
            11 => Input::Scenario(classes(&["Browse"])),
            12 if self.below(2) == 0 => Input::Refused("no host".into()),
            12 => Input::Idle,
            13 if self.below(5) == 0 => Input::Terminate,
            _ => Input::Tick,
        }
    }
}
