//! Alive? Ready? And if not, why: the answers of `/livez` and `/readyz`.

use std::time::Duration;

use rustcorn_scoreboard::{Master, Phase, Seat, Snapshot, State};
use rustcorn_sys::Monotonic;

/// A master that gave no sign of life for this long stands still. It beats every second; looking up a name that no DNS server
/// answers for may keep it for several.
pub(crate) const STANDS_STILL: Duration = Duration::from_secs(30);

/// Good or bad, with what to say.
pub(crate) type Health = Result<String, String>;

/// Whether the master's loop turns. What the workers do is not asked: to restart everything is no remedy for one of them.
pub(crate) fn live(master: &Master, now: Monotonic) -> Health {
    match master.beat.map(|beat| now.since(beat)) {
        Some(silent) if silent < STANDS_STILL => Ok("alive".to_owned()),
        Some(silent) => Err(format!("the master has given no sign of life for {} s", silent.as_secs())),
        None => Err("the master has given no sign of life yet".to_owned()),
    }
}

/// Whether to send requests here.
pub(crate) fn ready(snapshot: &Snapshot, min_ready: usize) -> Health {
    match snapshot.phase {
        Phase::Running => {}
        Phase::Stopping => return Err("draining: the server is stopping".to_owned()),
        Phase::StoppingNow => return Err("stopping".to_owned()),
        Phase::Leaving => return Err("leaving: the sockets stay with somebody else".to_owned()),
        // For the moment until its own admin process answers here.
        Phase::HandedOver => return Ok("another master serves".to_owned()),
    }
    let census = Census::of(snapshot);
    let found = format!("{} of {} workers are ready", census.ready, snapshot.figures.target);
    if census.ready >= min_ready {
        return Ok(found);
    }
    let booting = if census.booting > 0 { format!(", {} booting", census.booting) } else { String::new() };
    Err(format!("{found}{booting}; min_ready_workers is {min_ready}"))
}

/// How many workers are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Census {
    pub(crate) booting: usize,
    pub(crate) ready: usize,
    pub(crate) draining: usize,
    /// With a request in flight.
    pub(crate) busy: usize,
    pub(crate) in_flight: u64,
    pub(crate) connections: u64,
}

/// How evenly those that serve share connections: see [`rustcorn_scoreboard::spread`].
pub(crate) fn spread(snapshot: &Snapshot) -> f64 {
    let ready = snapshot.seats.iter().filter(|seat| seat.vitals.counted && seat.vitals.state == State::Ready);
    rustcorn_scoreboard::spread(ready.map(|seat| seat.vitals.connections))
}

impl Census {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        snapshot.seats.iter().fold(Self::default(), Self::and)
    }

    fn and(mut self, seat: &Seat) -> Self {
        match seat.vitals.state {
            State::Empty | State::Booting => self.booting += 1,
            State::Ready => self.ready += 1,
            State::Draining => self.draining += 1,
        }
        self.busy += usize::from(seat.vitals.in_flight > 0);
        self.in_flight += seat.vitals.in_flight;
        self.connections += seat.vitals.connections;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn alive_while_the_master_beats() {
        let now = Monotonic::from_nanos(1_000_000_000_000);
        let master = |beat| Master { pid: None, started: Duration::ZERO, beat, backlog: None };
        assert_eq!(live(&master(Some(now - Duration::from_secs(29))), now), Ok("alive".into()));
        let silent = master(Some(now - Duration::from_secs(31)));
        assert_eq!(live(&silent, now), Err("the master has given no sign of life for 31 s".into()));
        assert!(live(&master(None), now).is_err());
    }

    #[test]
    fn ready_with_enough_workers_and_unless_stopping() {
        let world = World::new();
        world.target(3);
        assert_eq!(ready(&world.snapshot(), 1), Err("0 of 3 workers are ready; min_ready_workers is 1".into()));
        let workers = [0, 1, 2].map(|slot| world.worker(slot));
        assert_eq!(
            ready(&world.snapshot(), 1),
            Err("0 of 3 workers are ready, 3 booting; min_ready_workers is 1".into())
        );
        workers[0].set_state(State::Ready);
        workers[1].set_state(State::Draining);
        assert_eq!(ready(&world.snapshot(), 1), Ok("1 of 3 workers are ready".into()));
        assert_eq!(
            ready(&world.snapshot(), 2),
            Err("1 of 3 workers are ready, 1 booting; min_ready_workers is 2".into())
        );
        for phase in [Phase::Stopping, Phase::StoppingNow, Phase::Leaving] {
            world.board.set_phase(phase);
            assert!(ready(&world.snapshot(), 1).is_err(), "{phase:?}");
        }
    }
}
