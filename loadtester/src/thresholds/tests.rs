//! Conditions as people write them.

use super::*;
use crate::report::sample;

#[test]
fn conditions_are_compared() {
    let report = sample();
    // Service times are 1 to 1000 µs, response times twice that; 10 of 1000 failed in 2 s.
    for (text, held) in [
        ("p50 < 1.1ms", true),
        ("p50<0.9ms", false),
        ("service.p50 < 600us", true),
        ("p99.9 <= 2.01ms", true),
        ("max < 1s", true),
        ("mean[GET /] > 900us", true),
        ("mean[/] > 2ms", false),
        ("errors = 0", false),
        ("errors == 10", true),
        ("error-rate < 1%", false),
        ("error-rate <= 1%", true),
        ("rate >= 500", true),
        ("rate > 500", false),
        ("requests = 1000", true),
        ("unfinished = 0", false),
        ("achieved >= 99%", true),
    ] {
        let judged = Threshold::parse(text).unwrap().judge(&report);
        assert_eq!(judged.held, held, "{judged:?}");
    }
}

#[test]
fn what_was_not_measured_holds_nothing() {
    let mut report = sample();
    report.total.response = Some(crate::report::Hdr(crate::stats::histogram()));
    (report.total.requests, report.schedule) = (0, None);
    for text in ["p99 < 1h", "error-rate < 100%", "achieved >= 0%"] {
        let judged = Threshold::parse(text).unwrap().judge(&report);
        assert!(!judged.held && judged.measured == "nothing was measured", "{judged:?}");
    }
}

#[test]
fn mistakes_say_what_is_wrong() {
    for (text, why) in [
        ("p99", "there is no comparison"),
        ("p99 < 20", "\"20\" has no unit; write \"20ms\""),
        ("p99 < soon", "is not a duration"),
        ("p101 < 1s", "unknown measure \"p101\""),
        ("eror-rate < 1%", "did you mean \"error-rate\"?"),
        ("error-rate < 0.01", "write a percentage"),
        ("errors = none", "\"none\" is no number"),
        ("unfinished[/] = 0", "is of the whole run"),
        ("service.rate > 1", "is no time"),
    ] {
        let problem = Threshold::parse(text).unwrap_err().to_string();
        assert!(problem.contains(why), "{text}: {problem}");
    }
}

#[test]
fn a_task_has_to_exist() {
    let scenario = Scenario::from_url("http://localhost/items").unwrap();
    assert!(Threshold::parse("p99[/items] < 1s").unwrap().check(&scenario).is_ok());
    assert!(Threshold::parse("p99[GET /items] < 1s").unwrap().check(&scenario).is_ok());
    let problem = Threshold::parse("p99[/item] < 1s").unwrap().check(&scenario).unwrap_err().to_string();
    assert!(problem.contains("did you mean \"/items\"?"), "{problem}");
}
