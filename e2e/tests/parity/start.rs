//! The first lines, flags, layers of settings, and exit codes of a start that fails.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, binaries};
use crate::subject::{Gunicorn, Line, Rustcorn, Server, Setup, differs, who};

fn infos(server: &Server) -> Vec<Line> {
    let lines = server.log.since(0).into_iter().filter_map(|line| Line::parse(&line));
    lines.filter(|line| line.level == "INFO").collect()
}

#[test]
fn the_first_lines_are_start_addresses_worker_and_a_line_of_each_worker() {
    let server = Setup::new().start();
    let workers = server.settled(2);
    let (lines, master) = (infos(&server), server.pid());
    assert_eq!(lines.len(), 5, "{lines:#?}");
    let (server_lines, booting) = lines.split_at(3);
    assert!(server_lines.iter().all(|line| line.pid == master), "{lines:#?}");
    assert_eq!(server_lines[1].text, format!("Listening at: http://{} ({master})", server.address()));
    match differs("first-lines") {
        Gunicorn => {
            assert!(server_lines[0].text.starts_with("Starting gunicorn "), "{lines:#?}");
            assert_eq!(server_lines[2].text, "Using worker: gthread");
        }
        Rustcorn => {
            assert_eq!(server_lines[0].text, format!("Starting rustcorn {}", env!("CARGO_PKG_VERSION")));
            assert_eq!(server_lines[2].text, "Using worker: rustcorn-e2e-testapp (2 workers)");
        }
    }
    for line in booting {
        assert_eq!(line.text, format!("Booting worker with pid: {}", line.pid), "each says so itself");
    }
    assert_eq!(booting.iter().map(|line| line.pid).collect::<std::collections::BTreeSet<_>>(), workers);
}

#[test]
fn flags_have_gunicorns_spellings_and_win_over_the_file() {
    for args in [
        &["-w", "3", "-b", "127.0.0.2:0"][..],
        &["--workers=3", "--bind=127.0.0.2:0"],
        &["--workers", "3", "--bind", "127.0.0.2:0"],
    ] {
        let server = Setup::new().args(args).launch();
        server.settled(3);
        assert_eq!(server.address().ip().to_string(), "127.0.0.2", "{args:?}");
    }
    let other = ["--graceful-timeout", "7", "-t", "9", "--keep-alive", "3", "--backlog", "64", "--log-level", "info"];
    let limits = ["--max-requests", "9", "--max-requests-jitter", "1", "--worker-connections", "50"];
    let statsd =
        ["--statsd-host", "127.0.0.1:9", "--statsd-prefix", "x", "--dogstatsd-tags", "a:b", "--enable-backlog-metric"];
    let all = [&other[..], &limits, &statsd].concat();
    let server = Setup::new().args(&all).launch();
    assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
}

#[test]
fn bind_may_be_given_several_times_or_as_a_list() {
    let several = Setup::new().args(&["-b", "127.0.0.1:0", "-b", "127.0.0.2:0"]);
    let list = Setup::new().set("bind = [\"127.0.0.1:0\", \"127.0.0.2:0\"]");
    for setup in [several, list] {
        let server = setup.start();
        let hosts = [0, 1].map(|number| server.address_at(number).ip().to_string());
        assert_eq!(hosts, ["127.0.0.1", "127.0.0.2"], "in that order");
        assert_eq!(crate::harness::get(server.address_at(1), "/").map(|answer| answer.status), Ok(200));
    }
}

#[test]
fn port_and_web_concurrency_are_heard_where_the_file_says_nothing() {
    let server = Setup::new().without("bind").without("workers").env("PORT", "0").env("WEB_CONCURRENCY", "3").launch();
    server.settled(3);
    assert_eq!(server.address().ip().to_string(), "0.0.0.0");
}

#[test]
fn what_the_environment_says_of_workers_and_port() {
    let setup = Setup::new().env("WEB_CONCURRENCY", "3").env("PORT", "0");
    let server = setup.launch();
    match differs("environment-over-file") {
        Gunicorn => {
            server.settled(2);
            assert_eq!(server.address().ip().to_string(), "127.0.0.1");
        }
        Rustcorn => {
            server.settled(3);
            assert_eq!(server.address().ip().to_string(), "0.0.0.0");
        }
    }
}

#[test]
fn a_variable_holds_flags() {
    let variable = match differs("cmd-args") {
        Gunicorn => "GUNICORN_CMD_ARGS",
        Rustcorn => "RUSTCORN_CMD_ARGS",
    };
    let server = Setup::new().env(variable, "--workers 1 --bind '127.0.0.2:0'").launch();
    server.settled(1);
    assert_eq!(server.address().ip().to_string(), "127.0.0.2");
}

#[test]
fn how_many_workers_there_are_when_nobody_says() {
    let server = Setup::new().without("workers").launch();
    server.wait_for_line("Booting worker");
    match differs("workers-default") {
        Gunicorn => drop(server.settled(1)),
        Rustcorn => {
            let line = server.wait_for_line("Using worker: ");
            let said =
                line.text.split(['(', ' ']).find_map(|word| word.parse::<usize>().ok()).expect("it says how many");
            server.settled(said);
            // This counts a quota's fraction of a CPU as none, rustcorn as one.
            let cpus = std::thread::available_parallelism().expect("the system knows").get();
            assert!((cpus..=cpus + 1).contains(&said), "{said} workers for {cpus} CPUs");
        }
    }
}

#[test]
fn a_configuration_can_be_checked() {
    let check = |setup: &Setup| setup.run(&[&["--check-config"][..], setup.what_to_run()].concat());
    assert_eq!(check(&Setup::new()).status.code(), Some(0));
    let bad = check(&Setup::new().set("workers = -1"));
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let text = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(text.contains("workers") || text.contains("positive"), "{text}");
    let print = Setup::new();
    let printed = print.run(&[&["--print-config"][..], print.what_to_run()].concat());
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let line = text.lines().find(|line| line.trim_start().starts_with("workers ")).expect("it is a setting");
    match differs("print-config-origin") {
        Gunicorn => assert_eq!(line.split_once('=').map(|(_, value)| value.trim()), Some("2")),
        Rustcorn => assert_eq!(line, "workers = 2  # app.toml:2"),
    }
}

#[test]
fn an_unknown_key_of_the_file() {
    let mut server = Setup::new().set("workerz = 3").launch();
    match differs("unknown-keys") {
        Gunicorn => drop(server.settled(2)),
        Rustcorn => {
            assert_eq!(server.wait_for_exit(PATIENCE), 1);
            server.log.wait(0, "workerz: unknown key; did you mean \"workers\"?", 1, PATIENCE);
        }
    }
}

#[test]
fn a_bad_command_line_is_2_and_a_bad_value_of_the_file_1() {
    let unknown = Setup::new().args(&["--no-such-flag"]);
    let no_number = Setup::new().args(&["-w", "many"]);
    let negative = Setup::new().set("workers = -1");
    let no_port = Setup::new().set("bind = \"127.0.0.1:http\"");
    let code = |setup: Setup| setup.launch().wait_for_exit(PATIENCE);
    assert_eq!((code(unknown), code(no_number)), (2, 2));
    assert_eq!((code(negative), code(no_port)), (1, 1));
}

#[test]
fn a_command_line_without_an_application() {
    let expected = match differs("no-application") {
        Gunicorn => 1,
        Rustcorn => 2,
    };
    assert_eq!(Setup::new().run(&[]).status.code(), Some(expected));
}

#[test]
fn an_address_that_is_in_use_ends_the_start_with_1() {
    let busy = TcpListener::bind("127.0.0.1:0").and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (address, _socket) = busy.expect("a free port");
    let begin = Instant::now();
    let mut server = Setup::new().set(&format!("bind = \"{address}\"")).launch();
    assert_eq!(server.wait_for_exit(PATIENCE), 1);
    let took = begin.elapsed();
    match differs("bind-tried-once") {
        Gunicorn => {
            assert_eq!(server.log.count("Connection in use: "), 5);
            assert!(took >= Duration::from_secs(4), "{took:?}");
        }
        Rustcorn => {
            server.log.wait(0, &format!("{address}: the address is in use"), 1, PATIENCE);
            assert!(took < Duration::from_secs(4), "{took:?}");
        }
    }
    assert_eq!(server.log.count("Booting worker"), 0);
}

#[test]
fn an_application_that_refuses_to_load_ends_the_start() {
    let mut server = Setup::new().set("workers = 1").app("fail_boot = \"no database at db:5432\"").launch();
    let code = server.wait_for_exit(PATIENCE);
    server.log.wait(0, "no database at db:5432", 1, PATIENCE);
    server.wait_for_line("[ERROR] Shutting down: Master");
    match differs("boot-exception") {
        Gunicorn => assert_eq!(
            (code, server.wait_for_line("[ERROR] Reason: ").text.as_str()),
            (3, "Reason: Worker failed to boot.")
        ),
        Rustcorn => assert_eq!(
            (code, server.wait_for_line("[ERROR] Reason: ").text.as_str()),
            (4, "Reason: App failed to load.")
        ),
    }
}

/// gunicorn's own case for exit code 4; rustcorn's is that of the test above.
#[test]
fn an_application_that_is_not_there_ends_the_start() {
    let (output, code) = match differs("application-missing") {
        // With two workers the second failure may come in the middle of the end: a traceback, and 1.
        Gunicorn => (Setup::new().set("workers = 1").run(&["-c", "gunicorn.conf.py", "app:no_such_application"]), 4),
        Rustcorn => {
            let setup = Setup::new().program(binaries::rustcorn()).app("handler = \"no-such-handler\"");
            (setup.run(&["app.toml"]), 1)
        }
    };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

#[test]
fn a_worker_that_dies_while_it_loads() {
    let mut server = Setup::new().set("workers = 1").app("exit_boot = 9").launch();
    match differs("boot-death") {
        Gunicorn => {
            server.log.wait(0, "exited with code 9.", 5, PATIENCE); // and so on, for ever
            assert_eq!(server.exit_code(), None);
        }
        Rustcorn => {
            assert_eq!(server.wait_for_exit(PATIENCE), 3);
            assert_eq!(server.wait_for_line("[ERROR] Reason: ").text, "Reason: Worker failed to boot.");
        }
    }
}

#[test]
fn a_worker_that_is_never_done_with_loading() {
    let mut server = Setup::new().set("workers = 1\ntimeout = 1\nboot_timeout = 1").app("hang_boot = true").launch();
    server.wait_for_line("Booting worker");
    match differs("boot-timeout") {
        Gunicorn => crate::harness::never("it is judged", Duration::from_millis(3500), || {
            server.log.find(0, "TIMEOUT").is_some() || server.workers().len() != 1
        }),
        Rustcorn => assert_eq!(server.wait_for_exit(PATIENCE), 3),
    }
}

#[test]
fn the_server_under_test_is_the_one_that_was_asked_for() {
    let version = Setup::new().run(&["--version"]);
    let text = String::from_utf8_lossy(&version.stdout).into_owned();
    match who() {
        Gunicorn => assert!(text.starts_with("gunicorn (version "), "{text}"),
        Rustcorn => assert!(text.starts_with("rustcorn"), "{text}"),
    }
}
