//! A result as JSON and back, and as text, CSV and a page.

use std::time::Duration;

use super::*;
use crate::stats::TaskStats;

/// A result that is not all zeroes.
pub(crate) fn report() -> Report {
    let mut stats = TaskStats::empty();
    (stats.requests, stats.failures, stats.bytes) = (1000, 10, 12_000);
    stats.total = Duration::from_secs(1);
    stats.statuses = BTreeMap::from([(200, 990), (500, 10)]);
    for micros in 1..=1000 {
        stats.service.record(micros).unwrap();
        stats.response.record(micros * 2).unwrap();
    }
    let times = SecondTimes { p50: 500, p90: 900, p99: 990, max: 1000, hdr: encode(&stats.service) };
    let second = |at_s, times| SecondReport {
        at_s,
        length_s: 1.0,
        requests: 500,
        failures: 5,
        target_rate: Some(510.0),
        users: 3,
        cpu: 12.5,
        times,
    };
    Report {
        format: FORMAT,
        scenario: "a <b> test".to_owned(),
        started: 1_795_000_000.0,
        elapsed_s: 2.1,
        duration_s: 2.0,
        ended_by: EndedBy::Interrupt,
        load: LoadReport { description: "open loop".to_owned(), open: true, threads: 1 },
        total: TaskReport::new("", "all tasks", "", stats.clone(), true, 2.0),
        tasks: vec![TaskReport::new("default", "/", "GET", stats, true, 2.0)],
        errors: vec![ErrorReport {
            task: "GET /".to_owned(),
            kind: ErrorKind::Status,
            message: "status 500".to_owned(),
            occurrences: 10,
            first_s: 0.1,
            last_s: 1.9,
        }],
        unfinished: 2,
        unstarted: 1,
        connections: 3,
        connect_time: Hdr(histogram()),
        schedule: Some(ScheduleReport {
            due: 1003,
            started: 1002,
            queued: 0,
            late: Hdr(histogram()),
            delay: Hdr(histogram()),
        }),
        seconds: vec![second(1.0, Some(times)), second(2.0, None)],
        slowest: Vec::new(),
        generator: GeneratorReport {
            cpu: vec![12.5],
            waited: vec![1.0],
            cpu_per_request_us: 6.0,
            warnings: vec!["slow & late".to_owned()],
        },
        thresholds: vec![ThresholdReport {
            condition: "p99 < 1ms".to_owned(),
            measured: "1.98 ms".to_owned(),
            held: false,
        }],
    }
}

#[test]
fn json_can_be_read_back_whole() {
    let written = report();
    let folder = std::env::temp_dir().join(format!("rustcorn-loadtester-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("result.json");
    fs::write(&path, written.json()).unwrap();
    let read = Report::from_file(&path).unwrap();
    assert_eq!(read.json(), written.json());
    assert_eq!(read.total.times(), written.total.times());
    assert_eq!(table(&read), table(&written));
    fs::write(&path, written.json().replace("\"format\": 1", "\"format\": 9")).unwrap();
    assert!(Report::from_file(&path).unwrap_err().contains("has format 9, this program reads 1"));
    fs::write(&path, "{}").unwrap();
    assert!(Report::from_file(&path).unwrap_err().contains("names no format"));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_table_says_what_a_reader_has_to_know() {
    let text = table(&report());
    for part in [
        "2.0 s, interrupted",
        "GET /     1,000      10  1.00 %         500   12.0 kB",
        "response time (from the intended start)",
        "status: status 500",
        "2 sent and unfinished, 1 due and not sent",
        "1,002 of 1,003 due requests started",
        "WARNING: slow & late",
        "FAILED p99 < 1ms: 1.98 ms",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn the_csv_has_a_line_for_each_second() {
    let text = csv(&report());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], "1.000,1.000,500,5,500.000,510.000,3,12.5,500,900,990,1000");
    assert_eq!(lines[2], "2.000,1.000,500,5,500.000,510.000,3,12.5,,,,");
    assert!(lines.iter().all(|line| line.split(',').count() == 12));
}

#[test]
fn the_page_is_complete_in_itself_and_escapes_what_others_wrote() {
    let page = html(&report());
    assert!(page.contains("a &lt;b&gt; test") && !page.contains("<b> test"));
    assert!(page.contains("slow &amp; late"));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for chart in ["Requests per second", "Response time", "Connections", "Percentiles"] {
        assert!(page.contains(chart), "{chart}");
    }
    for tag in ["svg", "figure", "table", "div", "main"] {
        let (open, close) = (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        assert_eq!(open, close, "{tag}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "every place is a number");
}

#[test]
fn figures_for_people() {
    assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    let times = [7, 999, 1000, 12_345, 123_456, 999_999, 1_500_000, 75_000_000];
    assert_eq!(times.map(time), ["7 µs", "999 µs", "1.00 ms", "12.3 ms", "123 ms", "1000 ms", "1.50 s", "75.0 s"]);
}
