//! The stories, and what has to hold at the end of each.

use super::*;

/// Plays one event; returns false once the master has left.
fn play(fleet: &mut Fleet, os: &mut Os, rng: &mut Rng, calm: bool) -> bool {
    let event = os.next(rng, calm);
    for event in [os.beats(rng, calm), event, Event::Tick] {
        os.deliver(&event);
        for action in fleet.step(os.now, event) {
            os.apply(rng, &action);
        }
        assert_eq!(os.untold, [], "a USR1 reaches them all");
        assert_eq!(os.all(Process::Unwanted), [], "nobody serves who was told to leave");
        os.doomed = None;
        if os.exit.is_some() {
            return false;
        }
    }
    let due = fleet.next_deadline(os.now);
    assert!(due.is_none_or(|due| due > os.now) || !os.owed.is_empty(), "a deadline in the past makes the master spin");
    // After the round: one that became ready in the moment its boot_timeout passed was killed all the same.
    os.ever_ready |= !os.stopping && os.count(Process::Ready) > 0;
    true
}

fn story(seed: u64, events: usize, may_stop: bool) -> (Os, Fleet, Rng) {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut os = Os::new(&mut rng, may_stop);
    let mut fleet = Fleet::new(os.plan.clone(), os.birth);
    for _ in 0..events {
        let jump = if rng.chance(2) { 40_000 } else { 400 };
        os.now = os.now + Duration::from_millis(rng.below(jump));
        if !play(&mut fleet, &mut os, &mut rng, false) {
            break;
        }
    }
    (os, fleet, rng)
}

#[test]
fn any_order_of_events_keeps_the_rules() {
    for seed in 0..256 {
        let outcome = std::panic::catch_unwind(|| story(seed, 500, true));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn one_long_life() {
    let lived = (0..4).filter(|seed| story(*seed, 10_000, false).0.exit.is_none()).count();
    assert!(lived > 0, "only a failed first start ends a server that nobody stops");
}

/// When the storm is over and workers boot, beat and leave as they should, the fleet reaches exactly what is wanted; or, if a
/// stop was asked for, it ends.
#[test]
fn after_the_storm_all_is_as_wanted() {
    let (mut served, mut ended) = (0, 0);
    for seed in 0..150 {
        let (mut os, mut fleet, mut rng) = story(seed, 300, true);
        let rounds = 30_000; // ten minutes: every pause, boot and drain is over by then
        for _ in 0..rounds {
            os.now = os.now + Duration::from_millis(20);
            if os.exit.is_some() || os.is_settled() || !play(&mut fleet, &mut os, &mut rng, true) {
                break;
            }
        }
        if os.exit.is_some() {
            ended += 1;
        } else {
            assert!(!os.stopping, "seed {seed}: a stop ends");
            assert!(os.is_settled(), "seed {seed}: {} wanted of {}; {:?}", os.target, os.committed, os.processes);
            served += 1;
        }
    }
    assert!(served > 20 && ended > 10, "both kinds of story were told: {served} served, {ended} ended");
}
