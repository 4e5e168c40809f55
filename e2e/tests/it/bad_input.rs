//! Mistakes are told at once, in one line each, with the right exit code.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::harness::Setup;

fn said(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs it; it ends at once, with this code and these words.
#[track_caller]
fn refused(setup: &Setup, code: i32, words: &str) {
    setup.write();
    refused_with(setup, &["app.toml"], code, words);
}

/// The same, with these arguments.
#[track_caller]
fn refused_with(setup: &Setup, args: &[&str], code: i32, words: &str) {
    let begin = Instant::now();
    let output = setup.run_with(args);
    // gunicorn tries an address that is taken five times, a second apart.
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(code), words));
}

#[test]
fn a_file_that_cannot_be_read() {
    let setup = Setup::hello();
    let missing = "Error: cannot read missing.toml: No such file or directory; check the path, which is relative to the \
                   current directory\n";
    refused_with(&setup, &["missing.toml"], 1, missing);
    let directory = "Error: cannot read .: it is a directory; name the file in it\n";
    refused_with(&setup, &["."], 1, directory);
}

#[test]
fn an_address_in_use() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = busy.local_addr().expect("it is bound");
    let setup = Setup::hello().set(&format!("bind = \"{address}\""));
    let words = format!(
        "Error: cannot listen on http://{address}: the address is in use; is another server running? Stop it, or choose \
         another address with --bind\n"
    );
    refused(&setup, 1, &words);
}

#[test]
fn a_unix_socket_in_use_and_a_file_that_is_none() {
    let setup = Setup::hello().set("bind = \"unix:server.sock\"");
    let path = setup.dir.path().join("server.sock");
    let live = UnixListener::bind(&path).expect("the folder is ours");
    let words = "Error: cannot listen on unix:server.sock: the address is in use; is another server running? Stop it, or \
                 choose another address with --bind\n";
    refused(&setup, 1, words);
    drop(live);
    std::fs::remove_file(&path).expect("it is there");
    setup.dir.write("server.sock", "precious");
    let words = "Error: cannot listen on unix:server.sock: the file exists and is not a socket; check the directory and its \
                 permissions, or choose another path with --bind\n";
    refused(&setup, 1, words);
    assert_eq!(std::fs::read_to_string(&path).expect("left alone"), "precious");
}

#[test]
fn values_that_are_not_allowed() {
    let words = "Error: app.toml:3: workers: 0 is not allowed; use a number from 1 to 1024 or \"auto\"\n";
    let setup = Setup::hello().without("bind").set("bind = \"127.0.0.1:0\"\nworkers = 0");
    refused(&setup, 1, words);
    let words = "Error: app.toml:3: bind: \"nonsense:99999\" is not allowed (the port is a number from 0 to 65535); use \
                 HOST:PORT, HOST, :PORT, [IPV6]:PORT, tcp://HOST:PORT, unix:PATH or fd://N (several: a list, or commas)\n";
    refused(&Setup::hello().set("bind = \"nonsense:99999\""), 1, words);
}

#[test]
fn all_mistakes_at_once() {
    let setup = Setup::hello().set("bind = 7\nworkers = \"many\"\nwrokers = 2").env("RUSTCORN_TIMEOUT", "soon");
    setup.write();
    let output = setup.run_with(&["--threads", "0", "app.toml"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1));
    let starts = [
        "Error: app.toml:2: bind: ",
        "Error: app.toml:3: workers: ",
        "Error: app.toml:4: wrokers: unknown key; did you mean \"workers\"?",
        "Error: environment RUSTCORN_TIMEOUT: ",
        "Error: command line --threads: 0 is not allowed; use a number from 1 to 1024",
    ];
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{said}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn a_handler_that_there_is_not() {
    let words =
        "Error: app.toml:6: app.handler: unknown handler \"helo\"; known: hello, static; did you mean \"hello\"?\n";
    refused(&Setup::hello().app("handler = \"helo\""), 1, words);
}

#[test]
fn a_handlers_own_mistakes() {
    let words = "Error: app.toml:7: app.chaos_percent: 200 is not allowed; use a number from 0 to 100\n";
    refused(&Setup::hello().app("chaos_percent = 200"), 1, words);
    let words = "Error: environment CHAOS_TARGET_PERCENT: \"half\" is not allowed; use a number from 0 to 100\n";
    refused(&Setup::hello().env("CHAOS_TARGET_PERCENT", "half"), 1, words);
}

#[test]
fn a_command_that_there_is_not() {
    let words = "Error: app.toml:6: app.command: there is no file ./service; build the program first, or write its path as \
                 seen from the working directory\n";
    refused(&Setup::hello().without("handler").app("command = [\"./service\"]"), 1, words);
}

#[test]
fn nothing_to_run() {
    let words = "Error: app.toml:5: [app]: says not what to run; add handler = \"NAME\" (a built-in one) or command = \
                 [\"PROGRAM\", \"ARGUMENT\", …]\n";
    refused(&Setup::hello().without("handler"), 1, words);
}

#[test]
fn a_bad_command_line_ends_with_2() {
    let setup = Setup::hello();
    let words = "error: unexpected argument '--wrokers' found\n\n  tip: a similar argument exists: '--workers'\n\n\
                 Usage: rustcorn <APP.TOML|--workers <N>>\n\nFor more information, try '--help'.\n";
    let output = setup.run_with(&["--wrokers", "2", "app.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).starts_with(words.split("Usage").next().expect("text")), "{}", said(&output));
    assert_eq!(setup.run_with(&[]).status.code(), Some(2));
    setup.write();
    let words = "Error: command line --workers: 0 is not allowed; use a number from 1 to 1024 or \"auto\"\n";
    refused_with(&setup, &["--workers", "0", "app.toml"], 2, words);
}

#[test]
fn a_handoff_that_was_inherited_from_a_worker() {
    let handoff = "v=1 slot=0 generation=1 scoreboard=4 lifeline=5 ready=6 settings=7";
    let setup = Setup::testapp().env("RUSTCORN_HANDOFF", handoff).env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let words = "Error: RUSTCORN_HANDOFF is set, but for process \"1\": it was inherited from a worker; unset it to start a \
                 server here\n";
    refused(&setup, 3, words);
}
