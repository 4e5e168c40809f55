//! The rule as a table; and workers that take turns in a world of their own, with scripted arrivals and a sweep over seeds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use fastrand::Rng;

use super::*;

#[test]
fn now_or_later() {
    use Turn::{Leave, Nobody, Take};
    let others = |least, gap| Some(Others { least, gap });
    #[rustfmt::skip]
    let table = [
        // own, siblings, waiting
        (0,   None,             Some(1),    Take(4)), // alone
        (500, None,             None,       Take(4)),
        (0,   others(0, 0),     Some(1),    Take(1)), // equals: one, then look again
        (1,   others(0, 1),     Some(1),    Leave),
        (1,   others(0, 1),     Some(0),    Nobody),
        (0,   others(1, 0),     Some(1),    Take(1)), // somebody has more
        (0,   others(100, 0),   Some(1),    Take(4)), // a new worker: a few at a time
        (5,   others(4, 1),     Some(1),    Leave),   // small numbers are to be even
        (15,  others(15, 0),    Some(1),    Take(1)),
        (17,  others(16, 3),    Some(1),    Take(1)), // larger ones nearly
        (18,  others(16, 6),    Some(1),    Leave),
        (265, others(250, 45),  Some(1),    Take(1)),
        (266, others(250, 48),  Some(1),    Leave),
        (5,   others(4, 1),     Some(2),    Take(1)), // enough for everybody
        (5,   others(2, 9),     Some(9),    Leave),
        (5,   others(2, 9),     Some(100),  Take(4)),
        (16,  others(0, 48),    Some(1000), Take(4)),
        (17,  others(0, 51),    Some(1000), Leave),   // it was this one who took all
        (297, others(250, 141), Some(1000), Take(4)),
        (298, others(250, 144), Some(1000), Leave),
        (3,   others(0, 9),     None,       Take(1)), // who knows
        (4,   others(0, 12),    None,       Leave),
        (u64::MAX, others(0, u64::MAX), Some(9), Leave),
    ];
    for (own, others, queued, expected) in table {
        assert_eq!(turn(own, others, || queued), expected, "own {own}, {others:?}, {queued:?} wait");
    }
}

/// A worker as its siblings see it, and what it is like.
#[derive(Clone)]
struct Worker {
    glance: Glance,
    /// It does nothing any more.
    hangs: bool,
    /// What a connection costs it, in µs, in which it does nothing else.
    cost: u64,
    /// Connections that it may have.
    most: u64,
    busy_until: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Wake(usize),
    Close(usize),
    Beat(usize),
}

/// Time is in µs.
struct World {
    rng: Rng,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    count: u64,
    queue: VecDeque<u64>,
    workers: Vec<Worker>,
    balances: Vec<Option<Balance>>,
    /// The queue tells how many wait.
    tells: bool,
    /// How long connections stay; none: for good.
    stay: Option<u64>,
    /// How long each waited to be taken.
    waited: Vec<u64>,
}

struct Rest<'a> {
    workers: &'a [Worker],
    own: usize,
}

impl Siblings for Rest<'_> {
    fn seats(&self) -> usize {
        self.workers.len()
    }

    fn glance(&self, seat: usize) -> Option<Glance> {
        (seat != self.own).then(|| self.workers[seat].glance)
    }
}

const BEAT: u64 = 1_000_000;

impl World {
    /// Workers that are alike, one second after they started.
    fn new(seed: u64, workers: usize) -> Self {
        let worker = |slot| Worker {
            glance: Glance { slot, load: 0, accepted: 0, beat: BEAT * 1000 },
            hangs: false,
            cost: 20,
            most: u64::MAX,
            busy_until: 0,
        };
        let mut world = Self {
            rng: Rng::with_seed(seed),
            now: BEAT,
            events: BinaryHeap::new(),
            count: 0,
            queue: VecDeque::new(),
            workers: (0..workers).map(worker).collect(),
            balances: (0..workers).map(|_| Some(Balance::new())).collect(),
            tells: true,
            stay: None,
            waited: Vec::new(),
        };
        for worker in 0..workers {
            let first = world.rng.u64(0..BEAT);
            world.after(first, Event::Beat(worker));
        }
        world
    }

    fn after(&mut self, time: u64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((self.now + time, self.count, event)));
    }

    /// Lets `count` clients come, one each `gap`, and goes on until all are taken.
    fn clients(&mut self, count: u64, gap: u64) {
        (0..count).for_each(|number| self.after(number * gap, Event::Arrival));
        let wanted = self.waited.len() + count as usize;
        let end = self.now + count * gap + 60 * BEAT;
        while self.waited.len() < wanted {
            let Reverse((now, _, event)) = self.events.pop().expect("hearts beat for ever");
            assert!(now < end, "{} clients wait for ever", self.queue.len());
            self.now = now;
            self.step(event);
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrival => {
                self.queue.push_back(self.now);
                // Everybody is woken, at some time: sooner or later by the scheduler's will.
                for worker in 0..self.workers.len() {
                    let latency = self.rng.u64(5..100);
                    self.after(latency, Event::Wake(worker));
                }
            }
            Event::Beat(worker) if !self.workers[worker].hangs => {
                self.workers[worker].glance.beat = self.now * 1000;
                self.after(BEAT, Event::Beat(worker));
            }
            Event::Close(worker) => {
                self.workers[worker].glance.load -= 1;
                self.after(0, Event::Wake(worker));
            }
            Event::Wake(worker) if !self.workers[worker].hangs => self.wake(worker),
            Event::Wake(_) | Event::Beat(_) => {}
        }
    }

    fn wake(&mut self, worker: usize) {
        let at = &self.workers[worker];
        if at.busy_until > self.now {
            return; // it looks at the queue when it is done
        }
        if at.glance.load >= at.most {
            return;
        }
        let (own, now) = (at.glance.load, Monotonic::from_nanos(self.now * 1000));
        let others = Rest { workers: &self.workers, own: worker };
        if let Some(balance) = &mut self.balances[worker] {
            if self.queue.is_empty() {
                return balance.nobody_waits(&others);
            }
            let queued = self.queue.len() as u64;
            let turn = balance.turn(own, &others, now, || self.tells.then_some(queued));
            if turn == Turn::Leave {
                let (ends, began) = balance.wait(now);
                let rest = ends.since(now).as_micros() as u64;
                let late = self.rng.u64(0..1000); // the timer goes in milliseconds
                if began {
                    self.after(rest + late, Event::Wake(worker));
                }
                return;
            }
            balance.took(&others);
        }
        let Some(came) = self.queue.pop_front() else { return };
        self.waited.push(self.now - came);
        let at = &mut self.workers[worker];
        at.glance.load += 1;
        at.glance.accepted += 1;
        at.busy_until = self.now + at.cost;
        let cost = at.cost;
        self.after(cost, Event::Wake(worker));
        if let Some(stay) = self.stay {
            let stay = self.rng.u64(stay / 2..stay * 2);
            self.after(cost + stay, Event::Close(worker));
        }
    }

    fn loads(&self) -> Vec<u64> {
        self.workers.iter().map(|worker| worker.glance.load).collect()
    }

    /// The most and the least loaded worker.
    fn range(&self) -> (u64, u64) {
        let loads = self.loads();
        (*loads.iter().max().unwrap(), *loads.iter().min().unwrap())
    }

    fn longest_wait(&self) -> u64 {
        *self.waited.iter().max().unwrap()
    }
}

#[test]
fn connections_one_after_the_other_spread_evenly() {
    for seed in 0..30 {
        for (count, gap) in [(8, 500), (64, 500), (64, 150)] {
            let mut world = World::new(seed, 4);
            world.clients(count, gap);
            let (most, least) = world.range();
            assert!(most - least <= 2, "seed {seed}, {count} clients each {gap} µs: {:?}", world.loads());
        }
        let mut luck = World::new(seed, 4);
        luck.balances.fill_with(|| None);
        luck.clients(64, 500);
        assert_eq!(luck.loads().iter().sum::<u64>(), 64);
    }
}

#[test]
fn connections_that_come_at_once_spread_nearly_evenly() {
    for seed in 0..20 {
        for (workers, count) in [(4, 64), (4, 1000), (2, 1000), (64, 640)] {
            let mut world = World::new(seed, workers);
            world.clients(count, 0);
            let (most, least) = world.range();
            let mean = count / workers as u64;
            assert!(most - least <= 10 + mean / 8, "seed {seed}, {count} for {workers}: {:?}", world.loads());
        }
    }
}

#[test]
fn many_workers_are_even_although_each_looks_at_few() {
    for seed in 0..5 {
        let mut world = World::new(seed, 64);
        world.clients(1280, 100);
        let (most, least) = world.range();
        assert!(most <= 24 && least >= 10, "seed {seed}: {:?}", world.loads());
        assert!(world.longest_wait() < 2500, "seed {seed}: {}", world.longest_wait());
    }
}

#[test]
fn a_sibling_that_stands_still_is_not_waited_for_again() {
    for seed in 0..30 {
        let mut world = World::new(seed, 4);
        world.clients(40, 300);
        world.workers[2].hangs = true;
        world.workers[2].glance.load = 0; // its clients have left, it looks as if it were free
        let before = world.waited.len();
        world.clients(100, 300);
        let waited = &world.waited[before..];
        let slow = waited.iter().filter(|wait| **wait > 200).count();
        assert!(
            slow <= 2 * 3 * 7,
            "seed {seed}: each of three finds out by two waits, and who comes meanwhile waits, too: {waited:?}"
        );
        assert!(world.longest_wait() < 2500, "seed {seed}: {}", world.longest_wait());
        let [a, b, _, c] = world.loads()[..] else { unreachable!() };
        assert!([a, b, c].iter().all(|load| load.abs_diff((a + b + c) / 3) <= 3), "seed {seed}: {:?}", world.loads());
    }
}

#[test]
fn a_sibling_that_is_full_is_waited_for_twice_in_each_beat_at_most() {
    for seed in 0..20 {
        let mut world = World::new(seed, 4);
        world.workers[1].most = 5;
        world.clients(3000, 1000); // for three beats
        let slow = world.waited.iter().filter(|wait| **wait > 900).count();
        assert!(slow <= 2 * 3 * 4, "seed {seed}: {slow}");
        assert!(world.longest_wait() < 2500, "seed {seed}: {}", world.longest_wait());
    }
}

#[test]
fn all_of_them_hang_but_one() {
    for seed in 0..20 {
        let mut world = World::new(seed, 8);
        (1..8).for_each(|worker| world.workers[worker].hangs = true);
        world.clients(200, 200);
        assert_eq!(world.loads()[0], 200);
        let slow = world.waited.iter().filter(|wait| **wait > 900).count();
        assert!(slow <= 24, "seed {seed}: those that came within one wait: {slow}");
    }
}

#[test]
fn a_new_worker_gets_what_it_can_take_and_no_more() {
    for seed in 0..20 {
        let mut world = World::new(seed, 4);
        world.workers.iter_mut().for_each(|worker| {
            worker.cost = 1000; // as handshakes of TLS may
            worker.glance.load = 250;
        });
        world.workers[3].glance.load = 0; // of a new generation
        world.clients(600, 400); // more than one worker alone can do
        assert!(world.longest_wait() < 12_000, "seed {seed}: {}", world.longest_wait());
        let gained: Vec<u64> = world.workers.iter().map(|worker| worker.glance.accepted).collect();
        assert!(gained[3] > 200 && gained[..3].iter().sum::<u64>() > 200, "seed {seed}: {gained:?}");
    }
}

#[test]
fn a_storm_of_short_connections_is_served_as_fast_as_without() {
    let (mut with, mut without) = (0, 0);
    for seed in 0..6 {
        for (balanced, total) in [(true, &mut with), (false, &mut without)] {
            let mut world = World::new(seed, 4);
            world.tells = seed % 2 == 0;
            world.stay = Some(200);
            if !balanced {
                world.balances.fill_with(|| None);
            }
            world.clients(20_000, 6); // of 5 that four workers can do
            *total += world.waited.iter().sum::<u64>();
        }
    }
    assert!(with < without + without / 4 + 6 * 20_000 * 10, "µs waited in all: {with} with, {without} without");
}
