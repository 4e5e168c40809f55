//! Which layer wins, and what a reload sees.

use std::time::Duration;

use super::guards::LONG;
use super::{Directory, HELLO, invocation, load};
use crate::{Apply, Mode, SETTINGS, Settings};

#[test]
fn each_layer_wins_over_the_one_below() {
    let file = format!("workers = 2\n{HELLO}");
    let low = ("WEB_CONCURRENCY", "3");
    let own = ("RUSTCORN_WORKERS", "4");
    let args = ("RUSTCORN_CMD_ARGS", "--workers 5");
    let result = |env: &[(&str, &str)], args: &str| {
        let loaded = load(&file, env, args);
        let origin = loaded.origins.get("workers").to_string();
        (loaded.settings.workers, origin.rsplit('/').next().unwrap().to_owned())
    };
    assert_eq!(result(&[], ""), (2, "app.toml:1".to_owned()));
    assert_eq!(result(&[low], ""), (3, "environment WEB_CONCURRENCY".to_owned()));
    assert_eq!(result(&[own, low], ""), (4, "environment RUSTCORN_WORKERS".to_owned()));
    assert_eq!(result(&[low, args, own], ""), (5, "environment RUSTCORN_CMD_ARGS --workers".to_owned()));
    assert_eq!(result(&[low, args, own], "-w 6"), (6, "command line --workers".to_owned()));
}

#[test]
fn a_list_replaces_a_list() {
    let file = format!("bind = ['a:1', 'b:2']\n{HELLO}");
    let bind = |env: &[(&str, &str)], args: &str| {
        let bind = load(&file, env, args).settings.bind;
        bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(bind(&[], ""), "http://a:1 http://b:2");
    assert_eq!(bind(&[("PORT", "80")], ""), "http://0.0.0.0:80");
    assert_eq!(bind(&[("PORT", "80"), ("RUSTCORN_BIND", "c:3, d:4")], ""), "http://c:3 http://d:4");
    assert_eq!(bind(&[("RUSTCORN_BIND", "c:3,d:4")], "-b e:5 --bind=f:6,g"), "http://e:5 http://f:6 http://g:8000");
}

#[test]
fn the_last_of_equal_flags_counts_and_all_spellings_work() {
    assert_eq!(load(HELLO, &[], "-w 2 --workers=3 -w4").settings.workers, 4);
    for flags in ["--keep-alive 5", "--keepalive 5", "--keep-alive=5s"] {
        assert_eq!(load(HELLO, &[], flags).settings.keepalive, Duration::from_secs(5), "{flags}");
    }
    for flags in ["--log-level debug", "--loglevel=DEBUG"] {
        assert_eq!(load(HELLO, &[], flags).settings.loglevel.name(), "debug", "{flags}");
    }
    for flags in ["--worker-connections 9", "--worker_connections=9"] {
        assert_eq!(load(HELLO, &[], flags).settings.worker_connections, 9, "{flags}");
    }
    assert_eq!(load(HELLO, &[], "-t 0").settings.timeout, Duration::ZERO);
}

#[test]
fn foreign_variables_are_ignored() {
    let kubernetes = [("RUSTCORN_PORT", "tcp://10.0.0.1:80"), ("RUSTCORN_SERVICE_HOST", "10.0.0.1"), ("HOME", "/root")];
    assert_eq!(load(HELLO, &kubernetes, "").settings, load(HELLO, &[], "").settings);
}

#[test]
fn cmd_args_are_split_as_a_shell_would() {
    let loaded = load(HELLO, &[("RUSTCORN_CMD_ARGS", "--dogstatsd-tags 'a:b' -w \"2\" -b unix:/a\\ b")], "");
    assert_eq!((loaded.settings.dogstatsd_tags.as_str(), loaded.settings.workers), ("a:b", 2));
    assert_eq!(loaded.settings.bind[0].to_string(), "unix:/a b");
}

#[test]
fn defaults_are_those_of_the_design() {
    let defaults = load(HELLO, &[], "").settings;
    assert_eq!(defaults.bind[0].to_string(), "http://127.0.0.1:8000");
    assert_eq!(defaults.workers, std::thread::available_parallelism().unwrap().get().min(1024));
    assert_eq!(
        (defaults.backlog, defaults.threads, defaults.worker_connections, defaults.max_surge),
        (2048, 1, 1000, 1)
    );
    let seconds = [defaults.timeout, defaults.graceful_timeout, defaults.drain_delay, defaults.boot_timeout];
    assert_eq!(seconds.map(|time| time.as_secs()), [30, 30, 0, 60]);
    let seconds = [defaults.keepalive, defaults.header_timeout, defaults.statsd_interval];
    assert_eq!(seconds.map(|time| time.as_secs()), [75, 30, 1]);
    assert_eq!(defaults.restart_backoff, Duration::from_millis(100));
    assert_eq!((defaults.statsd_host, defaults.loglevel.name()), (None, "info"));
}

#[test]
fn a_reload_reads_the_file_again_and_nothing_else() {
    let directory = Directory::new();
    let invocation = directory.invocation(HELLO.as_bytes(), &[("RUSTCORN_THREADS", "2")], "--backlog 5");
    let old = invocation.load().unwrap().settings;
    let file = "workers = 9\ntimeout = 2.5\n[app]\nhandler = \"hello\"\nsecret = 1\n";
    std::fs::write(invocation.file(), file).unwrap();
    let new = invocation.load().unwrap().settings;
    assert_eq!((new.workers, new.threads, new.backlog), (9, 2, 5));
    let old = Settings { workers: 4, ..old };
    let shown: Vec<_> = old.changes(&new).into_iter().map(|change| (change.to_string(), change.apply)).collect();
    assert_eq!(
        shown,
        [
            ("workers: 4 → 9".to_owned(), Apply::Master),
            ("timeout: 30 → 2.5".to_owned(), Apply::Both),
            ("app.secret: added".to_owned(), Apply::Workers),
        ]
    );
    assert_eq!(new.changes(&new), []);
    assert_eq!(new.changes(&old).last().unwrap().to_string(), "app.secret: removed");
}

#[test]
fn print_config_names_every_origin() {
    let directory = Directory::new();
    let file = format!("\nkeepalive = 5\n{HELLO}");
    let env = [("RUSTCORN_THREADS", "2"), ("RUSTCORN_CMD_ARGS", "--backlog 7")];
    let invocation = directory.invocation(file.as_bytes(), &env, "--statsd-host localhost -w auto --print-config");
    assert_eq!(invocation.mode(), Mode::PrintConfig);
    let cpus = rustcorn_sys::cpus::usable();
    let printed = directory.plain(&invocation.load().unwrap().print_config());
    let (settings, app) = printed.split_once("\n\n").unwrap();
    assert_eq!(app, "[app]\nhandler = \"hello\"\n");
    let (default, chosen): (Vec<_>, Vec<_>) = settings.lines().partition(|line| line.ends_with("  # default"));
    let chosen_here = [
        "backlog = 7  # environment RUSTCORN_CMD_ARGS --backlog".to_owned(),
        "keepalive = 5  # app.toml:2".to_owned(),
        "statsd_host = \"localhost:8125\"  # command line --statsd-host".to_owned(),
        "threads = 2  # environment RUSTCORN_THREADS".to_owned(),
        format!("workers = {cpus}  # command line --workers (auto)"),
    ];
    assert_eq!(chosen, chosen_here);
    assert_eq!(default.len() + chosen.len(), SETTINGS.len());
    for line in
        ["bind = [\"127.0.0.1:8000\"]  # default", "restart_backoff = 0.1  # default", "admin_bind = \"\"  # default"]
    {
        assert!(default.contains(&line), "{line}");
    }
    assert!(settings.lines().is_sorted(), "a person finds them by name");
    load(&load(LONG, &[], "").print_config(), &[], "");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = invocation("--help", &[]).unwrap_err();
    assert_eq!(help.exit_code(), 0);
    let text = help.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("Usage: rustcorn [OPTIONS] <APP.TOML>"), "{text}");
    assert!(text.contains("-w, --workers <N>") && text.contains("--keep-alive <SECONDS>"), "{text}");
    assert!(text.contains("[default: 30, environment: RUSTCORN_TIMEOUT]"), "{text}");
    assert!(text.contains("[default: auto, environment: RUSTCORN_WORKERS, WEB_CONCURRENCY]"), "{text}");
    let version = invocation("--version", &[]).unwrap_err();
    assert_eq!(
        (version.to_string(), version.exit_code()),
        (concat!("rustcorn ", env!("CARGO_PKG_VERSION"), "\n").into(), 0)
    );
}

#[test]
fn variables_of_opentelemetry_are_below_ours_and_lenient() {
    let file = format!("otlp_endpoint = 'http://file:1'\ntrace_sample_ratio = 0.5\nservice_name = 'file'\n{HELLO}");
    let result = |env: &[(&str, &str)], args: &str| {
        let settings = load(&file, env, args).settings;
        (settings.otlp_endpoint.unwrap().to_string(), settings.trace_sample_ratio, settings.service_name)
    };
    let otel = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:2/"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_SERVICE_NAME", "otel"),
    ];
    let own = [("RUSTCORN_OTLP_ENDPOINT", "http://own:3"), ("RUSTCORN_TRACE_SAMPLE_RATIO", "0")];
    let of_file = ("http://file:1".to_owned(), 0.5, "file".to_owned());
    assert_eq!(result(&[], ""), of_file);
    assert_eq!(result(&otel, ""), ("http://otel:2".to_owned(), 0.25, "otel".to_owned()));
    assert_eq!(
        result(&[otel, [own[0], own[1], own[1]]].concat(), ""),
        ("http://own:3".to_owned(), 0.0, "otel".to_owned())
    );
    assert_eq!(result(&otel, "--trace-sample-ratio 1 --service-name flag").1, 1.0);
    // Empty is unset, and what is meant for other samplers is not ours to judge.
    let unusable = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", " "),
        ("OTEL_TRACES_SAMPLER_ARG", "endpoint=http://a,pollingIntervalMs=5"),
        ("OTEL_SERVICE_NAME", ""),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ];
    assert_eq!(result(&unusable, ""), of_file);
}
