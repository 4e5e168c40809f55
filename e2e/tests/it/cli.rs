//! What the program says about itself and about its configuration.

use std::process::Output;

use crate::harness::Setup;

#[track_caller]
fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn version_and_help() {
    let setup = Setup::hello();
    assert_eq!(printed(&setup.run_with(&["--version"])), format!("rustcorn {}\n", env!("CARGO_PKG_VERSION")));
    let help = printed(&setup.run_with(&["--help"]));
    for word in [
        "APP.TOML",
        "-w, --workers",
        "-b, --bind",
        "--graceful-timeout",
        "--check-config",
        "RUSTCORN_WORKERS",
        "rustcorn new NAME",
    ] {
        assert!(help.contains(word), "no {word} in\n{help}");
    }
}

#[test]
fn check_config_says_whether_it_is_good_and_starts_nothing() {
    let setup = Setup::hello();
    setup.write();
    let said = printed(&setup.run_with(&["--check-config", "app.toml"]));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "app.toml: the configuration is good"));
    assert!(lines[1].starts_with("stop: takes up to 30 s (drain_delay 0 + graceful_timeout 30); "), "{said}");
    assert!(lines[2].starts_with("keepalive: 75 s; "), "{said}");

    let bad = Setup::hello().app("handler = \"helo\"");
    bad.write();
    let output = bad.run_with(&["--check-config", "app.toml"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean \"hello\"?"));
}

#[test]
fn print_config_shows_where_each_value_comes_from() {
    let setup = Setup::hello().env("RUSTCORN_TIMEOUT", "45").env("WEB_CONCURRENCY", "3");
    setup.write();
    let text = printed(&setup.run_with(&["--print-config", "--threads=2", "app.toml"]));
    for line in [
        "bind = [\"127.0.0.1:0\"]  # app.toml:1",
        "graceful_timeout = 30  # default",
        "timeout = 45  # environment RUSTCORN_TIMEOUT",
        "workers = 3  # environment WEB_CONCURRENCY",
        "threads = 2  # command line --threads",
        "[app]",
        "handler = \"hello\"",
    ] {
        assert!(text.lines().any(|known| known == line), "no {line} in\n{text}");
    }
    // It is a configuration file itself.
    setup.dir.write("again.toml", &text);
    let said = printed(&setup.run_with(&["--check-config", "again.toml"]));
    assert!(said.starts_with("again.toml: the configuration is good\n"), "{said}");
}
