//! Second by second, for a spreadsheet.

use std::fmt::Write as _;

use crate::report::Report;

/// One line for each second; times in µs, empty where nothing finished.
#[must_use]
pub fn csv(report: &Report) -> String {
    let mut out =
        "at_s,length_s,requests,failures,rate,target_rate,users,cpu_percent,p50_us,p90_us,p99_us,max_us\n".to_owned();
    for second in &report.seconds {
        let target = second.target_rate.map_or_else(String::new, |target| format!("{target:.3}"));
        let times = second.times.as_ref().map_or_else(
            || ",,,".to_owned(),
            |times| format!("{},{},{},{}", times.p50, times.p90, times.p99, times.max),
        );
        let _ = writeln!(
            out, // writing to a string cannot fail
            "{:.3},{:.3},{},{},{:.3},{target},{},{:.1},{times}",
            second.at_s,
            second.length_s,
            second.requests,
            second.failures,
            second.requests as f64 / second.length_s,
            second.users,
            second.cpu,
        );
    }
    out
}
