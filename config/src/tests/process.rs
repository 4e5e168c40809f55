//! Settings of the process itself, profiles, and what `--check-config` adds up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Directory, HELLO, complaint, complaints, load};
use crate::Settings;

#[test]
fn permissions_are_octal_and_look_so() {
    let umask = |text: &str| load(&format!("umask = {text}\n{HELLO}"), &[], "").settings.umask;
    for (text, mask) in
        [("0o027", 0o27), ("\"0027\"", 0o27), ("\"027\"", 0o27), ("\"0o27\"", 0o27), ("0", 0), ("\"0\"", 0)]
    {
        assert_eq!(umask(text), Some(mask), "{text}");
    }
    assert_eq!(umask("\"\""), None);
    assert_eq!(load(HELLO, &[("RUSTCORN_UMASK", "0077")], "").settings.umask, Some(0o77));
    assert_eq!(load(HELLO, &[], "-m 007 --socket-mode 0666").settings.umask, Some(0o7));
    for text in ["27", "0x17", "\"27\"", "\"0089\"", "0o1777", "-1", "\"0-7\"", "true", "1.5"] {
        let message = complaint(format!("umask = {text}\n{HELLO}"));
        assert!(
            message.ends_with("use octal digits with a 0 in front, such as 0027, from 0 to 0777, or nothing"),
            "{message}"
        );
    }
}

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn variables_are_a_table_a_list_or_flags() {
    let of = |file: &str, args: &str| load(file, &[], args).settings.raw_env;
    let table = format!("[env]\nA = \"1 = 2\"\nB = 8080\n{HELLO}");
    assert_eq!(of(&table, ""), env(&[("A", "1 = 2"), ("B", "8080")]));
    assert_eq!(of(&format!("raw_env = ['A=', 'B=x=y']\n{HELLO}"), ""), env(&[("A", ""), ("B", "x=y")]));
    assert_eq!(of(HELLO, "-e A=1,2 --env B=2"), env(&[("A", "1,2"), ("B", "2")]));
    assert_eq!(of(&table, "--raw-env C=3"), env(&[("C", "3")]), "a list of a higher layer replaces the lower one's");
}

#[test]
fn mistakes_with_variables_are_told_without_their_values() {
    let message = |file: &str| complaint(format!("{file}\n{HELLO}"));
    assert!(message("raw_env = ['SECRET']").starts_with("app.toml:1: raw_env: no equals sign; use KEY=VALUE"));
    assert_eq!(message("raw_env = ['A=1', 'A=2']"), "app.toml:1: raw_env: A is set twice; remove one");
    assert_eq!(message("[env]\nA = []"), "app.toml:1: raw_env: A is not text; write A = \"VALUE\"");
    assert_eq!(
        message("[env]\n'A B' = 's'"),
        "app.toml:1: raw_env: \"A B\" is not the name of a variable; use KEY=VALUE"
    );
    assert_eq!(message("[env]\nLISTEN_FDS = 1"), "app.toml:1: raw_env: LISTEN_FDS is set by the master; remove it");
    assert_eq!(
        message("raw_env = ['A=1']\n[env]\nA = '1'"),
        "app.toml:2: env: the same as raw_env, which is set, too; keep one of them"
    );
}

#[test]
fn a_reload_tells_which_variables_changed_and_not_to_what() {
    let of = |table: &str| load(&format!("[env]\n{table}\n{HELLO}"), &[], "").settings;
    let (old, new) = (of("A = 'secret'\nB = '1'\nC = '1'"), of("A = 'other'\nC = '1'\nD = '1'"));
    let changes: Vec<String> = old.changes(&new).iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["env.A: changed", "env.B: removed", "env.D: added"]);
}

#[test]
fn users_are_names_or_numbers() {
    let user = |text: &str| load(&format!("user = {text}\n{HELLO}"), &[], "").settings.user;
    assert_eq!((user("1000"), user("\"www-data\""), user("\"\"")), ("1000".into(), "www-data".into(), String::new()));
    for text in ["-1", "true", "\"a b\"", "\"a:b\"", "[]"] {
        assert!(complaint(format!("user = {text}\n{HELLO}")).ends_with("use a name or a number, or nothing"), "{text}");
    }
}

#[test]
fn a_profile_is_below_whatever_is_said_explicitly() {
    let file = format!("profile = 'gke'\ndrain_delay = 5\n{HELLO}");
    let loaded = load(&file, &[("RUSTCORN_LOG_FORMAT", "text")], "");
    assert_eq!(loaded.settings.keepalive, Duration::from_secs(620));
    assert_eq!(loaded.settings.drain_delay, Duration::from_secs(5));
    assert_eq!(loaded.settings.log_format.name(), "text");
    assert_eq!(loaded.origins.get("keepalive").to_string(), "profile gke");
    assert!(loaded.print_config().contains("keepalive = 620  # profile gke\n"));
    // Wherever the profile is named.
    for (env, args) in [(&[("RUSTCORN_PROFILE", "gke")][..], ""), (&[][..], "--profile gke")] {
        let settings = load(HELLO, env, args).settings;
        assert_eq!((settings.keepalive, settings.log_format.name()), (Duration::from_secs(620), "json"));
        assert_eq!(settings.drain_delay, Duration::from_secs(15));
    }
    assert_eq!(load(&file, &[], "--profile=").settings.keepalive, Settings::defaults().keepalive);
    let message = complaint(format!("profile = 'gk'\n{HELLO}"));
    assert_eq!(message, "app.toml:1: profile: \"gk\" is not allowed; use \"gke\" or nothing; did you mean \"gke\"?");
    // A mistake elsewhere is told once.
    assert_eq!(complaints(format!("workerz = 1\nprofile = 'gke'\n{HELLO}"), &[], "").len(), 1);
}

#[test]
fn check_config_adds_up_a_stop_and_names_the_balancer() {
    let message = |file: &str| {
        let directory = Directory::new();
        let invocation = directory.invocation(format!("{file}\n{HELLO}").as_bytes(), &[], "--check-config");
        let loaded = invocation.load().unwrap();
        directory.plain(&invocation.check_message(&loaded.settings))
    };
    assert_eq!(
        message("drain_delay = 15\notlp_endpoint = 'http://a:4318'\nkeepalive = 620"),
        "app.toml: the configuration is good\n\
         stop: takes up to 48 s (drain_delay 15 + graceful_timeout 30 + otlp_flush_timeout 3); in Kubernetes set \
         terminationGracePeriodSeconds to 58 or more\n\
         keepalive: 620 s, longer than a Google load balancer's 600 s"
    );
    assert_eq!(
        message("graceful_timeout = 2.5"),
        "app.toml: the configuration is good\n\
         stop: takes up to 2.5 s (drain_delay 0 + graceful_timeout 2.5); in Kubernetes set terminationGracePeriodSeconds to 13 \
         or more\n\
         keepalive: 75 s; a load balancer in front has to close idle connections sooner than that. Google's do after 600 s: set \
         620, or profile = \"gke\""
    );
    assert!(message("keepalive = 0").ends_with("\nkeepalive: off, each response closes its connection"));
}
