//! When memory goes back to the kernel: after a crowd of clients has gone. Pure: numbers in, yes or no out.
//!
//! To give it back stops the worker for some milliseconds, so it is done once for a crowd, when it is clear that it has gone, and, if that is
//! to be had, in a moment in which nobody waits for an answer.

use std::time::Duration;

use rustcorn_sys::Monotonic;

/// Fewer connections than this are no crowd: what they leave is what a worker needs anyway.
const CROWD: usize = 256;
/// It has gone when no more than one in so many is left,
const LEFT: usize = 4;
/// for so long: what the next one would need again at once is not given away.
const CALM: Duration = Duration::from_secs(2);
/// So long it waits for a moment without a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a worker remembers from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Ebb {
    /// The most connections since memory was last given back.
    high: usize,
    /// Since when few are left.
    low: Option<Monotonic>,
}

impl Ebb {
    /// Whether to give memory back now. `most`: connections that were open at once since the last look; `open`: those that are
    /// now. `busy` costs a look at all of them: whether any of them waits for an answer.
    pub(crate) fn look(&mut self, now: Monotonic, most: usize, open: usize, busy: impl FnOnce() -> bool) -> bool {
        self.high = self.high.max(most);
        if self.high - open.min(self.high) < CROWD || most.max(open) > self.high / LEFT {
            self.low = None;
            return false;
        }
        let calm = now.since(*self.low.get_or_insert(now));
        if calm < CALM || calm < PATIENCE && busy() {
            return false;
        }
        *self = Self { high: open, low: None };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these moments (seconds, the most since the look before, open now, busy), and tells at which of them memory went back.
    fn given_back(looks: impl IntoIterator<Item = (u64, usize, usize, bool)>) -> Vec<u64> {
        let mut ebb = Ebb::default();
        let mut look = |(at, most, open, busy)| {
            let now = Monotonic::from_nanos((1 + at) * 1_000_000_000);
            ebb.look(now, most, open, || busy).then_some(at)
        };
        looks.into_iter().filter_map(&mut look).collect()
    }

    #[test]
    fn once_after_a_crowd_when_it_has_gone() {
        let crowd = [(0, 1000, 1000, true), (1, 1000, 0, false)];
        let calm = (2..60).map(|at| (at, 0, 0, false));
        assert_eq!(given_back(crowd.into_iter().chain(calm.clone())), [4]);
        let twice =
            crowd.into_iter().chain(calm).chain([(60, 900, 3, false)]).chain((61..90).map(|at| (at, 3, 3, false)));
        assert_eq!(given_back(twice), [4, 63]);
    }

    #[test]
    fn a_crowd_that_came_and_went_between_two_looks_counts() {
        assert_eq!(
            given_back([(0, 0, 0, false), (1, 5000, 0, false)].into_iter().chain((2..9).map(|at| (at, 0, 0, false)))),
            [4]
        );
    }

    #[test]
    fn not_while_it_comes_and_goes_nor_for_a_few() {
        let waves = (0..100).map(|at| (at, if at % 2 == 0 { 2000 } else { 100 }, 100, false));
        assert_eq!(given_back(waves), [] as [u64; 0]);
        let few = (0..100).map(|at| (at, if at < 5 { CROWD - 1 } else { 0 }, 0, false));
        assert_eq!(given_back(few), [] as [u64; 0]);
        let half = (0..100).map(|at| (at, if at < 5 { 2000 } else { 1000 }, 1000, false));
        assert_eq!(given_back(half), [] as [u64; 0], "half a crowd is one");
    }

    #[test]
    fn requests_are_not_stopped_if_that_can_be_had() {
        let busy_until = |end| (0..100).map(move |at| (at, if at == 0 { 1000 } else { 8 }, 8, at < end));
        assert_eq!(given_back(busy_until(10)), [10]);
        assert_eq!(given_back(busy_until(100)), [31], "patience is over");
    }
}
