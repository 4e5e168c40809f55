//! Words, lines and numbers.

use serde_json::{Value, json};

use crate::data::Durations;
use crate::{Command, HELP, PROTOCOL, Reply, Request, Which};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn parse(text: &str) -> Result<Command, String> {
    Command::parse(&words(text))
}

#[test]
fn every_command_reads_back_from_its_own_words_and_through_a_request() {
    let commands = "help|show workers|show stats|show config|show listeners|show durations|show all|worker add 1|worker \
        add 1024 --wait|worker remove 3|worker restart all|worker restart slot:3 --wait|worker kill 4711|worker kill pid:9 \
        --wait|reload|reload --wait|reopen|shutdown graceful|shutdown quick";
    for text in commands.split('|') {
        let command = parse(text).unwrap();
        assert_eq!(command.to_string(), words(text).join(" "));
        let request = Request::new(7, &command);
        let line = request.to_line();
        let again = Request::parse(&line).unwrap();
        assert_eq!((line.last(), &again, again.parsed_command()), (Some(&b'\n'), &request, Ok(command)));
    }
    assert_eq!(parse("worker --wait restart"), parse("worker restart all --wait"));
    assert_eq!(parse("shutdown"), parse("shutdown graceful"));
}

#[test]
fn what_is_no_command_is_told_in_a_sentence() {
    let bad = [
        ("", "no command"),
        ("show", "unknown command \"show\""),
        ("worker kill", "worker kill needs a worker: a pid or a slot"),
        ("worker kill x", "\"x\" is no worker; use a pid or a slot: N, pid:N or slot:N"),
        ("worker kill slot:+1", "\"slot:+1\" is no worker; use a pid or a slot: N, pid:N or slot:N"),
        ("worker add 0", "\"0\" is no number of workers; use 1 to 1024"),
        ("worker add +1", "\"+1\" is no number of workers; use 1 to 1024"),
        ("reload now", "unknown command \"reload now\""),
        ("reload --now", "unknown option in \"--now\"; there is --wait"),
        ("show stats --wait", "\"show stats\" has nothing to wait for"),
    ];
    for (text, error) in bad {
        assert_eq!(parse(text), Err(error.to_owned()));
    }
}

#[test]
fn the_help_names_every_command() {
    let commands = HELP.lines().filter(|line| line.contains("  "));
    let parsed = commands.map(|line| {
        let words: Vec<&str> =
            line.split("  ").next().unwrap().split(' ').filter(|word| !word.starts_with('[')).collect();
        parse(&words.join(" ").replace("WHICH", "1")).unwrap()
    });
    assert_eq!(parsed.collect::<Vec<_>>().len(), 14);
}

#[test]
fn requests_of_people_and_of_the_future() {
    let command = |line: &str| Request::parse(line.as_bytes()).unwrap().parsed_command();
    assert_eq!(command(r#"{"command":"worker add","args":[2]}"#), Ok(Command::Add { count: 2, wait: false }));
    assert_eq!(command(r#"{"command":"worker  kill 7"}"#).unwrap(), parse("worker kill 7").unwrap());
    assert!(command(r#"{"command":"worker add","args":[[]]}"#).unwrap_err().contains("a text or a number, and not []"));
    assert!(
        command(r#"{"command":"reboot"}"#).unwrap_err().starts_with("unknown command \"reboot\"; the commands are:\n")
    );
    assert_eq!(
        command(r#"{"command":"reload","protocol":2}"#),
        Err("protocol 2 is not spoken here; this master speaks 1".to_owned())
    );
    let line = |line: &str| Request::parse(line.as_bytes()).unwrap_err();
    assert!(line("show workers").ends_with(r#"send one JSON object a line, such as {"command":"show workers"}"#));
    assert!(line(r#"{"command":"worker remove","arg":["5"]}"#).contains("unknown field `arg`"), "not passed over");
}

#[test]
fn replies_as_they_are_documented() {
    let ok = Reply::ok(json!(1), json!({"asked": true}));
    assert_eq!(
        String::from_utf8(ok.to_line()).unwrap(),
        format!("{{\"id\":1,\"status\":\"ok\",\"data\":{{\"asked\":true}},\"protocol\":{PROTOCOL}}}\n")
    );
    let error = Reply::error(Value::Null, "no command".into());
    let line = error.to_line();
    assert_eq!(
        String::from_utf8(line.clone()).unwrap(),
        "{\"id\":null,\"status\":\"error\",\"error\":\"no command\",\"protocol\":1}\n"
    );
    assert_eq!(serde_json::from_slice::<Reply>(&line).unwrap(), error);
}

#[test]
fn quantiles_of_the_time_between_two_looks() {
    let before = Durations { durations: vec![(1_000_000, 10), (5_000_000, 1)] };
    let after = Durations { durations: vec![(1_000_000, 109), (2_000_000, 1), (5_000_000, 1)] };
    let news = after.since(&before);
    assert_eq!(news.durations, [(1_000_000, 99), (2_000_000, 1)]);
    assert_eq!((news.quantile(0.5), news.quantile(0.99), news.quantile(1.0)), (Some(0.001), Some(0.001), Some(0.002)));
    assert_eq!(after.since(&after).quantile(0.5), None);
    assert!(matches!(parse("worker kill 3"), Ok(Command::Kill { which: Which::Number(3), .. })));
}
