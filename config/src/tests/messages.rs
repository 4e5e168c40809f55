//! What people read when something is wrong.

use super::{Directory, HELLO, complaint, complaints, invocation, load};

/// The message for one line in front of a good `[app]`.
fn line(text: &str) -> String {
    complaint(format!("{text}\n{HELLO}"))
}

#[test]
fn a_number_out_of_range() {
    let allowed = "use a number from 1 to 1024 or \"auto\"";
    assert_eq!(line("workers = 0"), format!("app.toml:1: workers: 0 is not allowed; {allowed}"));
    assert_eq!(line("workers = -1"), format!("app.toml:1: workers: -1 is not allowed; {allowed}"));
    assert_eq!(line("workers = 2.0"), format!("app.toml:1: workers: 2.0 is not allowed; {allowed}"));
    assert_eq!(line("\n\nworkers = \"many\""), format!("app.toml:3: workers: \"many\" is not allowed; {allowed}"));
    assert_eq!(
        line("backlog = 99999999999999999999999"),
        "app.toml:1: backlog: 99999999999999999999999 is not allowed; use a number from 1 to 65535"
    );
    assert_eq!(line("max_surge = 0"), "app.toml:1: max_surge: 0 is not allowed; use a number from 1 to 1024");
}

#[test]
fn a_wrong_type() {
    assert_eq!(line("threads = \"4\""), "app.toml:1: threads: \"4\" is text; write 4 without quotes");
    assert_eq!(line("workers = \"4\""), "app.toml:1: workers: \"4\" is text; write 4 without quotes");
    assert_eq!(line("backlog = true"), "app.toml:1: backlog: true is not allowed; use a number from 1 to 65535");
    assert_eq!(line("threads = [1]"), "app.toml:1: threads: a list is not allowed; use a number from 1 to 1024");
    assert_eq!(line("threads.x = 1"), "app.toml:1: threads: a table is not allowed; use a number from 1 to 1024");
    assert_eq!(
        line("statsd_prefix = 1"),
        "app.toml:1: statsd_prefix: 1 is not allowed; use text without blanks and without : | @ # ,"
    );
    assert_eq!(
        line("statsd_host = 8125"),
        "app.toml:1: statsd_host: 8125 is not allowed; use HOST:PORT, HOST (port 8125), unix:PATH, or nothing to send no metrics"
    );
    assert_eq!(
        line("graceful_timeout = \"30\""),
        "app.toml:1: graceful_timeout: \"30\" is text without a unit; write 30 or \"30s\""
    );
    let time = "use a time from 0 to 86400 seconds, such as 10, 0.5, \"500ms\" or \"2m\"";
    assert_eq!(
        line("graceful_timeout = \"25h\""),
        format!("app.toml:1: graceful_timeout: \"25h\" is not allowed; {time}")
    );
    assert_eq!(line("graceful_timeout = inf"), format!("app.toml:1: graceful_timeout: inf is not allowed; {time}"));
    assert_eq!(
        line("loglevel = \"warn\""),
        "app.toml:1: loglevel: \"warn\" is not allowed; use \"debug\", \"info\", \"warning\", \"error\" or \"critical\"; \
         did you mean \"warning\"?"
    );
    assert_eq!(
        line("log_format = \"jason\""),
        "app.toml:1: log_format: \"jason\" is not allowed; use \"text\" or \"json\"; did you mean \"json\"?"
    );
}

#[test]
fn an_address_or_none() {
    let forms = "HOST:PORT, HOST, :PORT, [IPV6]:PORT, tcp://HOST:PORT, unix:PATH or fd://N, or nothing";
    for wrong in ["\"127.0.0.1:1,127.0.0.1:2\"", "9000"] {
        assert_eq!(
            line(&format!("admin_bind = {wrong}")),
            format!("app.toml:1: admin_bind: {wrong} is not allowed; use {forms}")
        );
    }
}

#[test]
fn a_switch() {
    let text = |shown| format!("app.toml:1: enable_backlog_metric: {shown} is not allowed; use true or false");
    assert_eq!(line("enable_backlog_metric = 1"), text("1"));
    assert_eq!(line("enable_backlog_metric = \"true\""), text("\"true\""));
    for (env, args, on) in [
        ("0", "", false),
        ("true", "", true),
        ("false", "--enable-backlog-metric", true),
        ("1", "--enable-backlog-metric=0", false),
    ] {
        let loaded = load(HELLO, &[("RUSTCORN_ENABLE_BACKLOG_METRIC", env)], args);
        assert_eq!(loaded.settings.enable_backlog_metric, on, "{env:?} {args:?}");
    }
}

#[test]
fn values_that_do_not_go_together() {
    assert_eq!(
        line("bind = [\"a:1\", \"b:2\"]\nadmin_bind = \"tcp://B:2\""),
        "app.toml:2: admin_bind: b:2 is in bind, too; use an address of its own"
    );
    assert_eq!(load(&format!("bind = \":0\"\nadmin_bind = \":0\"\n{HELLO}"), &[], "").settings.bind.len(), 1);
    assert_eq!(
        line("workers = 2\nmin_ready_workers = 3"),
        "app.toml:2: min_ready_workers: 3 workers cannot be ready where workers is 2; use at most 2"
    );
}

#[test]
fn an_unknown_key() {
    assert_eq!(line("wokers = 1"), "app.toml:1: wokers: unknown key; did you mean \"workers\"?");
    assert_eq!(line("keep-alive = 1"), "app.toml:1: keep-alive: unknown key; did you mean \"keepalive\"?");
    assert_eq!(line("max-surge = 1"), "app.toml:1: max-surge: unknown key; did you mean \"max_surge\"?");
    assert_eq!(line("command = []"), "app.toml:1: command: unknown key; it belongs below an [app] line");
    assert_eq!(
        line("[environ]\nA = \"b\""),
        "app.toml:1: environ: unknown key; --help lists the settings, and an application's own keys go below [app]"
    );
}

#[test]
fn a_key_twice() {
    assert_eq!(line("workers = 1\nworkers = 2"), "app.toml:2: workers: already set on line 1; remove one");
    assert_eq!(
        complaint("[app]\nhandler = \"a\"\nb = { c = 1 }\n\"handler\" = \"b\"\n"),
        "app.toml:4: app.handler: already set on line 2; remove one"
    );
    assert_eq!(
        complaints("workers = 1\nworkers = 2\n[app]\nhandler = 1\n", &[], ""),
        [
            "app.toml:2: workers: already set on line 1; remove one",
            "app.toml:4: app.handler: not the name of a handler; write handler = \"NAME\"",
        ]
    );
    assert_eq!(complaint(format!("{HELLO}[app]\nx = 1\n")), "app.toml:3: app: set twice; remove one");
}

#[test]
fn a_bad_address() {
    let allowed =
        "use HOST:PORT, HOST, :PORT, [IPV6]:PORT, tcp://HOST:PORT, unix:PATH or fd://N (several: a list, or commas)";
    let bind = |text: &str| line(&format!("bind = {text}"));
    assert_eq!(
        bind("\"localhost:http\""),
        format!(
            "app.toml:1: bind: \"localhost:http\" is not allowed (the port is a number from 0 to 65535); {allowed}"
        )
    );
    assert_eq!(
        bind("[\"a:1\", \"::1\"]"),
        format!("app.toml:1: bind: \"::1\" is not allowed (an IPv6 address goes in brackets); {allowed}")
    );
    assert_eq!(
        bind("\"8000\""),
        format!("app.toml:1: bind: \"8000\" is not allowed (a port alone is written with a colon in front); {allowed}")
    );
    assert_eq!(
        bind("\"fd://2\""),
        format!("app.toml:1: bind: \"fd://2\" is not allowed (the number of a descriptor is 3 or more); {allowed}")
    );
    assert_eq!(bind("8000"), format!("app.toml:1: bind: 8000 is not allowed; {allowed}"));
    assert_eq!(bind("[]"), format!("app.toml:1: bind: an empty list is not allowed; {allowed}"));
    assert_eq!(bind("\"a:1,A:1\""), "app.toml:1: bind: A:1 is listed twice; remove one");
}

#[test]
fn all_layers_at_once_in_order() {
    let env = [("RUSTCORN_WORKERS", "0"), ("PORT", "http"), ("RUSTCORN_CMD_ARGS", "-t x --max-surge 0")];
    let all = complaints("workers = 0\nwokers = 1\n[app]\nhandler = 1\n", &env, "-w many --drain-delay -1 -b fd://x");
    let time = "seconds, such as 10, 0.5, \"500ms\" or \"2m\"";
    assert_eq!(
        all,
        [
            "app.toml:1: workers: 0 is not allowed; use a number from 1 to 1024 or \"auto\"",
            "app.toml:2: wokers: unknown key; did you mean \"workers\"?",
            "app.toml:4: app.handler: not the name of a handler; write handler = \"NAME\"",
            "environment PORT: http is not allowed; use a port number from 0 to 65535",
            "environment RUSTCORN_WORKERS: 0 is not allowed; use a number from 1 to 1024 or \"auto\"",
            "environment RUSTCORN_CMD_ARGS --timeout: x is not allowed; use 0 (off) or a time from 1 to 86400 seconds, such as 10, 1.5 or \"2m\"",
            "environment RUSTCORN_CMD_ARGS --max-surge: 0 is not allowed; use a number from 1 to 1024",
            "command line --bind: \"fd://x\" is not allowed (the number of a descriptor is 3 or more); use HOST:PORT, HOST, \
             :PORT, [IPV6]:PORT, tcp://HOST:PORT, unix:PATH or fd://N (several: a list, or commas)",
            "command line --workers: many is not allowed; use a number from 1 to 1024 or \"auto\"",
            &format!("command line --drain-delay: -1 is not allowed; use a time from 0 to 3600 {time}"),
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read() {
    let directory = Directory::new();
    let message = |name: &str| {
        let problems = invocation(&format!("{}/{name}", directory.0.display()), &[]).unwrap().load().unwrap_err();
        assert_eq!(problems.exit_code(), 1);
        directory.plain(&problems)
    };
    assert_eq!(
        message("missing.toml"),
        "cannot read missing.toml: No such file or directory; check the path, which is relative to the current directory"
    );
    std::fs::create_dir(directory.0.join("conf")).unwrap();
    assert_eq!(message("conf"), "cannot read conf: it is a directory; name the file in it");
    std::fs::write(directory.0.join("file"), "").unwrap();
    assert_eq!(message("file/x"), "cannot read file/x: Not a directory; name a readable TOML file");
    std::fs::write(directory.0.join("big"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(message("big"), "cannot read big: it is larger than 1 MiB; name a configuration file");
}

#[test]
fn not_text_and_not_toml() {
    assert_eq!(complaint(b"# good\nworkers = 1 # \xff\n"), "app.toml:2: not UTF-8 text; save the file as UTF-8");
    assert_eq!(
        line("timeout = 1 2"),
        "app.toml:1: not valid TOML: string values must be quoted, expected literal string"
    );
    assert_eq!(
        line("statsd_prefix = my app"),
        "app.toml:1: not valid TOML: string values must be quoted, expected literal string"
    );
    assert_eq!(complaint("[app\nhandler = \"x\""), "app.toml:1: not valid TOML: unclosed table, expected `]`");
    assert_eq!(
        complaints("workers = \nbacklog = 0\nwokers = 1\n", &[], ""),
        [
            "app.toml:1: not valid TOML: string values must be quoted, expected literal string",
            "app.toml:2: backlog: 0 is not allowed; use a number from 1 to 65535",
            "app.toml:3: wokers: unknown key; did you mean \"workers\"?",
        ]
    );
}

#[test]
fn a_bad_command_line() {
    let usage = |args: &str| {
        let usage = invocation(args, &[]).unwrap_err();
        assert_eq!(usage.exit_code(), 2, "{usage}");
        usage.to_string().lines().take_while(|line| !line.starts_with("Usage")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(usage(""), "error: the following required arguments were not provided:\n  <APP.TOML>\n");
    assert_eq!(
        usage("--worker 3 app.toml"),
        "error: unexpected argument '--worker' found\n\n  tip: a similar argument exists: '--workers'\n"
    );
    assert_eq!(usage("app.toml other.toml"), "error: unexpected argument 'other.toml' found\n");
    assert!(usage("app.toml -w").starts_with("error: a value is required for '--workers <N>' but none was supplied"));

    let directory = Directory::new();
    let exit_code =
        |args, env: &[(&str, &str)]| directory.invocation(HELLO.as_bytes(), env, args).load().unwrap_err().exit_code();
    assert_eq!(exit_code("-w 0 -t x", &[]), 2);
    assert_eq!(exit_code("-w 0", &[("RUSTCORN_THREADS", "0")]), 1);
}

#[test]
fn a_bad_cmd_args_variable() {
    let message = |value: &str| complaints(HELLO, &[("RUSTCORN_CMD_ARGS", value)], "").join("\n");
    let place = "environment RUSTCORN_CMD_ARGS";
    assert_eq!(
        message("-w '1"),
        format!("{place}: a quote is not closed, or a backslash ends it; write it as for a shell")
    );
    assert_eq!(
        message("--worker 2"),
        format!("{place}: unexpected argument '--worker' found; tip: a similar argument exists: '--workers'")
    );
    assert_eq!(message("other.toml"), format!("{place}: unexpected argument 'other.toml' found"));
    assert_eq!(message("--help"), format!("{place}: unexpected argument '--help' found"));
    assert_eq!(message("--check-config"), format!("{place}: unexpected argument '--check-config' found"));
}

#[test]
fn an_empty_variable_is_no_number() {
    let message = complaints(HELLO, &[("RUSTCORN_THREADS", ""), ("WEB_CONCURRENCY", "")], "");
    assert_eq!(
        message,
        [
            "environment WEB_CONCURRENCY: \"\" is not allowed; use a number from 1 to 1024 or \"auto\"",
            "environment RUSTCORN_THREADS: \"\" is not allowed; use a number from 1 to 1024",
        ]
    );
}
