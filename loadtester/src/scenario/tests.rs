//! Scenarios as people write them, and every mistake with its line and its remedy.

use std::time::Duration;

use super::*;

const SHOP: &str = r#"
name = "shop"
host = "http://localhost:8000/api/"
users = 20
ramp_up = "5s"
duration = "1m"
thresholds = ["p99 < 20ms"]
expect = "2xx"

[headers]
accept = "application/json"

[variables]
item = ["a", "b"]

[[class]]
name = "reader"
weight = 3
wait = { uniform = ["1s", "2s"] }

[[class.task]]
path = "/items/{{item}}"
name = "item"
weight = 2
expect = [200, "404"]

[[class.task]]
path = "/"

[[class]]
name = "buyer"
host = "https://localhost"
order = "sequence"
wait = { pacing = "3s" }

[[class.task]]
method = "POST"
path = "/login"
at_start = true
body = '{"user":{"id":{{user}}}}'
save = { token = "json:/token" }

[[class.task]]
path = "/buy"
timeout = "500ms"
headers = { authorization = "Bearer {{token}}", accept = "*/*" }
"#;

#[test]
fn a_scenario_is_read() {
    let scenario = Scenario::from_text("shop.toml", SHOP).unwrap();
    assert_eq!(scenario.name, "shop");
    assert_eq!((scenario.load.users, scenario.load.ramp_up), (20, Duration::from_secs(5)));
    assert_eq!(scenario.load.length(), Some(Duration::from_secs(60)));
    assert_eq!(scenario.thresholds, ["p99 < 20ms"]);
    let [reader, buyer] = &*scenario.classes else { panic!("{:?}", scenario.classes) };
    assert_eq!(reader.wait, Wait::Uniform(Duration::from_secs(1), Duration::from_secs(2)));
    assert_eq!((buyer.wait, buyer.order), (Wait::Pacing(Duration::from_secs(3)), Order::Sequence));
    assert_eq!((reader.tasks.clone(), buyer.tasks.clone()), (0..2, 2..4));
    assert_eq!(reader.host.as_ref().unwrap().to_string(), "http://localhost:8000/api");
    assert!(buyer.host.as_ref().unwrap().tls && scenario.uses_tls());
    let [item, root, login, buy] = &*scenario.tasks else { panic!("{:?}", scenario.tasks) };
    assert_eq!((&*item.name, item.weight), ("item", 2));
    assert!(item.expect.allows(200) && item.expect.allows(404) && !item.expect.allows(201));
    assert!(root.expect.allows(204) && !root.expect.allows(302));
    assert_eq!(root.headers.len(), 1);
    assert!(login.at_start && login.method == http::Method::POST);
    assert_eq!(buy.headers.len(), 2, "its own accept replaces that of the file");
    assert_eq!(buy.timeout, Duration::from_millis(500));
}

#[test]
fn the_examples_of_the_documents_are_scenarios() {
    let page = include_str!("../../../docs/loadtester.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let scenario = Scenario::from_text("docs", rest.split_once("```").unwrap().0).unwrap();
    assert_eq!((scenario.classes.len(), scenario.tasks.len()), (2, 3));
    let hello = Scenario::from_text("hello.toml", include_str!("../../hello.toml")).unwrap();
    assert_eq!(hello.classes.len(), 2);
    let parsed =
        scenario.thresholds.iter().chain(&hello.thresholds).map(|text| crate::thresholds::Threshold::parse(text));
    assert_eq!(parsed.filter(Result::is_ok).count(), 4);
}

#[test]
fn each_mistake_names_its_line_its_key_and_a_remedy() {
    let text = r#"
userz = 3
host = "localhost:8000"
[[task]]
path = "no-slash"
weigth = 2
[[task]]
path = "/{{itme}}"
method = "GE T"
timeout = "soon"
[variables]
item = []
"#;
    let problems = Scenario::from_text("bad.toml", text).unwrap_err().to_string();
    let lines: Vec<&str> = problems.lines().collect();
    let expected = [
        "bad.toml:2: userz: unknown key; did you mean \"users\"?",
        "bad.toml:3: host: \"localhost:8000\" has no scheme; write it like http://localhost:8000/",
        "bad.toml:5: task[1].path: \"no-slash\" is no path; it begins with / and has no spaces, control characters or #",
        "bad.toml:6: task[1].weigth: unknown key; did you mean \"weight\"?",
        "bad.toml:8: task[2].path: there is no variable \"itme\"; variables are set in [variables] or by save",
        "bad.toml:9: task[2].method: \"GE T\" is no method that can be sent; use GET, POST, …",
        "bad.toml:10: task[2].timeout: \"soon\" is not a duration; write a number with a unit (ms, s, m or h), like \"10s\"",
        "bad.toml:12: variables.item: an empty list; name at least one value",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_is_no_toml_is_said_once() {
    let problems = Scenario::from_text("bad.toml", "users = \n[[task]]").unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert!(problems.to_string().starts_with("bad.toml:1: not valid TOML: "), "{problems}");
}

#[test]
fn a_scenario_without_tasks_is_none() {
    let problems = Scenario::from_text("s.toml", "users = 1").unwrap_err().to_string();
    assert_eq!(problems, "s.toml:1: task: a scenario needs at least one task: [[task]] with path = \"/\"");
}

#[test]
fn urls() {
    let scenario = Scenario::from_url("https://[::1]:8443/a?b=c").unwrap();
    let host = scenario.classes[0].host.clone().unwrap();
    assert_eq!((host.tls, &*host.name, host.port, &*host.authority), (true, "::1", 8443, "[::1]:8443"));
    assert_eq!(scenario.tasks[0].name, "/a?b=c");
    for bad in ["http://", "ftp://a/", "http://a:99999/", "http://a:/", "http://u:p@a/", "http://a b/", "//a/"] {
        let problem = Scenario::from_url(bad).unwrap_err().to_string();
        assert!(problem.contains(bad.trim_start_matches("http://")), "{bad}: {problem}");
    }
}

#[test]
fn users_are_split_by_weight_and_only_ever_added() {
    let scenario = Scenario::from_text("shop.toml", SHOP).unwrap();
    assert_eq!(scenario.split(0), [0, 0]);
    assert_eq!(scenario.split(40), [30, 10]);
    for users in 0..50 {
        let (now, next) = (scenario.split(users), scenario.split(users + 1));
        assert_eq!(now.iter().sum::<u32>(), users);
        assert!(now.iter().zip(&next).all(|(a, b)| a <= b), "{now:?} {next:?}");
        assert!((f64::from(now[0]) - f64::from(users) * 0.75).abs() <= 1.0, "{users}: {now:?}");
    }
}

#[test]
fn a_ramp_is_a_straight_line() {
    let mut load = Load { users: 10, ramp_up: Duration::from_secs(10), ..Load::default() };
    let at = |load: &Load, millis| load.users_at(Duration::from_millis(millis));
    assert_eq!([0, 1999, 5000, 9999, 10_000].map(|time| at(&load, time)), [1, 1, 5, 9, 10]);
    let stage = |secs, target| Stage { duration: Duration::from_secs(secs), target };
    load.stages = vec![stage(10, 20.0), stage(10, 20.0), stage(5, 0.0)];
    assert_eq!([0, 5000, 15_000, 22_500, 25_000].map(|time| at(&load, time)), [0, 10, 20, 10, 0]);
    assert_eq!(load.length(), Some(Duration::from_secs(25)));
}

#[test]
fn durations() {
    for (text, millis) in
        [("500ms", 500), ("10s", 10_000), ("1.5m", 90_000), ("1h", 3_600_000), ("2", 2000), (" 3 s", 3000)]
    {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "s", "-1s", "1d", "1e400", "NaN", "9999h9"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}
