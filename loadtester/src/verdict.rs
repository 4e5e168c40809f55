//! Whether the load generator, and not the server, was the limit.

use crate::report::{Report, count, time};

/// A thread that uses more of a CPU than this has no room left.
const BUSY: f64 = 90.0;
/// The last second of a run may be a piece of some milliseconds, in which a thread is easily busy all the time; seconds.
const PIECE: f64 = 0.2;
/// A thread that stands in line for more than this share of the time is slowed down by others.
const CROWDED: f64 = 10.0;
/// A generator that takes its arrivals up later than this distorts what it measures; µs.
const LATE: u64 = 5_000;
/// Less than this share of the schedule is worth a word; percent.
const ACHIEVED: f64 = 99.0;

/// What a reader of the figures has to know.
pub(crate) fn warnings(report: &Report, max_in_flight: u32) -> Vec<String> {
    let mut warnings = Vec::new();
    let generator = &report.generator;
    let busiest = generator.cpu.iter().copied().fold(0.0, f64::max);
    // Seconds of a ramp count too: what was measured in them was measured by a generator at its limit.
    let busy = report.seconds.iter().filter(|second| second.length_s > PIECE && second.cpu > BUSY).count();
    if busiest > BUSY || busy * 10 > report.seconds.len() {
        warnings.push(format!(
            "the load generator was the limit, perhaps not the server: a thread used {busiest:.0} % of a CPU ({busy} of {} \
             seconds above {BUSY:.0} %). Use more threads (--threads), or more machines.",
            report.seconds.len(),
        ));
    }
    let crowded = generator.waited.iter().copied().fold(0.0, f64::max);
    if crowded > CROWDED {
        warnings.push(format!(
            "the load generator stood in line for a CPU {crowded:.0} % of the time: something else on this machine, the server \
             perhaps, needs it too. Times include that waiting."
        ));
    }
    let Some(schedule) = &report.schedule else { return warnings };
    let late = schedule.late.0.value_at_quantile(0.99);
    if late > LATE {
        warnings.push(format!(
            "the load generator was late by itself: 1 % of the arrivals were taken up {} or more after their time. Response \
             times include that.",
            time(late)
        ));
    }
    let achieved = schedule.started as f64 * 100.0 / schedule.due.max(1) as f64;
    if achieved < ACHIEVED && schedule.due > 0 {
        warnings.push(format!(
            "only {achieved:.1} % of the requests that were due were started: the target rate was not reached."
        ));
    }
    if schedule.queued > 0 {
        warnings.push(format!(
            "{} arrivals waited because all {} permitted connections were in use (--max-in-flight): the server does not keep up \
             with the rate. Response times include the waiting.",
            count(schedule.queued),
            count(u64::from(max_in_flight)),
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
