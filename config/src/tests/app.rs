//! The `[app]` table in the master and, after the handoff, in a worker.

use serde::Deserialize;

use super::{HELLO, complaint, complaints, load};
use crate::{AppSpec, ForeignReady, Settings, unknown};

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Chaos {
    #[serde(default)]
    percent: u8,
    name: Option<String>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize, Debug, PartialEq, Default)]
#[serde(deny_unknown_fields)]
struct Limits {
    depth: u32,
}

/// The messages of an application that reads its table as [`Chaos`], in a worker.
fn chaos(keys: &str) -> Result<Chaos, Vec<String>> {
    let loaded = load(&format!("workers = 1\n{HELLO}{keys}"), &[], "");
    let worker = Settings::from_toml(&loaded.settings.to_toml()).unwrap();
    worker.app.read().map_err(|problems| {
        let plain = |text: String| text.rsplit_once("/app.toml").map(|(_, rest)| format!("app.toml{rest}")).unwrap();
        problems.0.iter().map(|problem| plain(problem.to_string())).collect()
    })
}

#[test]
fn what_to_run() {
    assert_eq!(load(HELLO, &[], "").app, AppSpec::Handler("hello".to_owned()));
    let loaded = load("[app]\nx = 1\ncommand = [\"./a\", \"-v\", \"\"]\n", &[], "");
    assert_eq!(loaded.app, AppSpec::Command(vec!["./a".to_owned(), "-v".to_owned(), String::new()]));
    assert_eq!(loaded.settings.app.spec(), Ok(loaded.app.clone()));
    assert_eq!((loaded.app_line("command"), loaded.app_line("x"), loaded.app_line("y")), (Some(3), Some(2), None));
    assert_eq!(loaded.settings.app.table().get("x"), Some(&toml::Value::Integer(1)));
    assert_eq!(load("app.handler = \"dotted\"", &[], "").app, AppSpec::Handler("dotted".to_owned()));
}

#[test]
fn not_one_thing_to_run() {
    let which = "handler = \"NAME\" (a built-in one) or command = [\"PROGRAM\", \"ARGUMENT\", …]";
    let undecided = |text| {
        let loaded = load(text, &[], "");
        assert_eq!(loaded.app, AppSpec::Own);
        let problem = loaded.settings.app.undecided().to_string();
        problem[problem.find("app.toml").expect("the file is named")..].to_owned() // without its temporary folder
    };
    assert_eq!(undecided("workers = 1\n"), format!("app.toml: [app]: missing; add [app] with {which}"));
    assert_eq!(undecided("\n[app]\nx = 1\n"), format!("app.toml:2: [app]: says not what to run; add {which}"));
    assert_eq!(
        complaint("app = \"hello\"\n"),
        format!("app.toml:1: app: not a table; write [app] on a line of its own, below it {which}")
    );
    assert_eq!(
        complaint(format!("{HELLO}command = [\"a\"]\n")),
        "app.toml:3: app.command: not allowed beside handler; keep one of them"
    );
    for command in ["\"./a\"", "[]", "[\"\"]", "[\"a\", 1]", "[\"a\", \"\\u0000\"]"] {
        assert_eq!(
            complaint(format!("[app]\ncommand = {command}\n")),
            "app.toml:2: app.command: not a list of words; write command = [\"PROGRAM\", \"ARGUMENT\", …]"
        );
    }
}

#[test]
fn a_foreign_program() {
    let spec = |foreign: &str| load(&format!("[app]\ncommand = [\"./a\"]\nforeign = {foreign}\n"), &[], "").app;
    let foreign = |ready| AppSpec::Foreign { command: vec!["./a".to_owned()], ready };
    assert_eq!(spec("\"exec\""), foreign(ForeignReady::Exec));
    assert_eq!(spec("\"notify\""), foreign(ForeignReady::Notify));
    assert_eq!(
        complaint("[app]\ncommand = [\"./a\"]\nforeign = true\n"),
        "app.toml:3: app.foreign: not \"exec\" (it is ready once it runs) or \"notify\" (it says when, by sd_notify(3))"
    );
    assert_eq!(
        complaint(format!("{HELLO}foreign = \"exec\"\n")),
        "app.toml:3: app.foreign: only a program started by command can be foreign; remove the key"
    );
}

#[test]
fn what_a_foreign_program_would_not_keep() {
    let set = "certfile = \"a.pem\"\nreuse_port = true\nmax_requests = 5\naccesslog = \"-\"\n";
    let app = "[app]\ncommand = [\"./a\"]\nforeign = \"exec\"\nchaos = 1\n";
    let said = complaints(format!("{set}{app}"), &[], "");
    let keys = [
        "app.toml:1: certfile: ",
        "app.toml:2: reuse_port: ",
        "app.toml:3: max_requests: ",
        "app.toml:4: accesslog: ",
        "app.toml:8: app.chaos: ",
    ];
    assert!(keys.iter().all(|key| said.iter().any(|line| line.starts_with(key))), "{said:?}");
    assert_eq!(said.len(), keys.len(), "{said:?}");
}

#[test]
fn a_handler_that_the_program_has_not() {
    let loaded = load(HELLO, &[], "");
    let problem = loaded.settings.app.problem("handler", &unknown("handler", "helo", &["hello"]));
    assert_eq!(
        problem.to_string().rsplit('/').next(),
        Some("app.toml:2: app.handler: unknown handler \"helo\"; known: hello; did you mean \"hello\"?")
    );
}

#[test]
fn an_application_reads_its_own_keys() {
    assert_eq!(chaos(""), Ok(Chaos { percent: 0, name: None, limits: Limits { depth: 0 } }));
    let good = "percent = 5\nname = \"x\"\n[app.limits]\ndepth = 1\n";
    assert_eq!(chaos(good), Ok(Chaos { percent: 5, name: Some("x".to_owned()), limits: Limits { depth: 1 } }));
}

#[test]
fn every_mistake_of_an_application_has_its_line() {
    assert_eq!(
        chaos("precent = 5\nname = 1\nworkers = 4\n\n[app.limits]\ndepth = -1\n").unwrap_err(),
        [
            "app.toml:4: app.precent: unknown key; known: percent, name, limits; did you mean \"percent\"?",
            "app.toml:5: app.name: invalid type: integer `1`, expected a string",
            "app.toml:6: app.workers: unknown key; a setting of the server goes above the [app] line",
            "app.toml:9: app.limits.depth: invalid value: integer `-1`, expected u32",
        ]
    );
    assert_eq!(
        chaos("percent = 256\n").unwrap_err(),
        ["app.toml:4: app.percent: invalid value: integer `256`, expected u8"]
    );
}

#[test]
fn a_missing_key_points_to_its_table() {
    #[derive(Deserialize, Debug)]
    struct Strict {
        #[expect(dead_code)]
        url: String,
    }
    let loaded = load(&format!("\n{HELLO}[app.limits]\n"), &[], "");
    let problems = loaded.settings.app.read::<Strict>().unwrap_err().to_string();
    assert_eq!(problems.rsplit('/').next(), Some("app.toml:2: app.url: missing; add it"));
    let problems = loaded.settings.app.read::<Chaos>().unwrap_err().to_string();
    assert_eq!(problems.rsplit('/').next(), Some("app.toml:4: app.limits.depth: missing; add it"));
    // Wrong, so not called missing as well.
    let loaded = load(&format!("{HELLO}url = 1"), &[], "");
    let problems = loaded.settings.app.read::<Strict>().unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
}

#[test]
fn a_number_that_no_table_holds() {
    assert_eq!(
        complaint(format!("{HELLO}x = 99999999999999999999\n")),
        "app.toml:3: app.x: invalid type: integer `99999999999999999999` as i128, expected any valid TOML value"
    );
}
