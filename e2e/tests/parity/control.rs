//! The control socket, and the program that talks to it.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{PATIENCE, binaries, eventually};
use crate::subject::{Gunicorn, Rustcorn, Server, Setup, differs, gunicorn, who};

/// The reply to a command, as JSON.
fn ask(server: &Server, socket: &str, command: &str) -> Value {
    let mut client = match who() {
        Gunicorn => {
            let mut client = Command::new(gunicorn().with_file_name("gunicornc"));
            client.args(["-j", "-s", socket, "-c", command]);
            client
        }
        Rustcorn => {
            let mut client = Command::new(binaries::rustcornctl());
            client.args(["--json", "-s", socket]).args(command.split(' '));
            client
        }
    };
    let output = client.current_dir(server.dir()).output().expect("the client is there");
    let reply = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    match differs("control-reply") {
        Gunicorn => reply,
        Rustcorn => {
            let Value::Object(mut reply) = reply else { panic!("an object: {output:?}") };
            assert_eq!(reply["status"], "ok", "{reply:?}");
            reply.remove("data").expect("what was asked for")
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

#[test]
fn workers_can_be_listed_and_added_and_the_server_shut_down() {
    let mut server = Setup::new().set("control_socket = \"server.ctl\"").controlled().start();
    let path = server.dir().join("server.ctl");
    // gunicorn's is open to others for a moment before.
    eventually("the control socket, for its user alone", PATIENCE, || {
        let meta = std::fs::metadata(&path).ok()?;
        (meta.file_type().is_socket() && meta.permissions().mode() & 0o777 == 0o600).then_some(())
    });
    let listed = |reply: &Value| {
        let workers = reply["workers"].as_array().expect("a list").clone();
        workers.iter().filter_map(|worker| u32::try_from(worker["pid"].as_u64()?).ok()).collect()
    };
    let workers: std::collections::BTreeSet<u32> = listed(&ask(&server, "server.ctl", "show workers"));
    assert_eq!(workers, server.settled(2));
    ask(&server, "server.ctl", "worker add 1");
    assert!(server.settled(3).is_superset(&workers));
    ask(&server, "server.ctl", "shutdown");
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!(!path.exists());
}

#[test]
fn whether_there_is_one_when_nobody_asks_for_it() {
    let setup = Setup::new().controlled();
    let folder = setup.dir.path().to_str().expect("text").to_owned();
    let server = setup.env("XDG_RUNTIME_DIR", &folder).start();
    let path = server.dir().join("gunicorn.ctl");
    match differs("control-socket-by-default") {
        Gunicorn => eventually("the control socket", PATIENCE, || is_socket(&path).then_some(())),
        Rustcorn => assert_eq!(server.log.count("ontrol"), 0, "nothing is said of one, and there is none"),
    }
    assert_eq!(path.exists(), who() == Gunicorn);
}

#[test]
fn two_servers_with_the_same_control_socket() {
    let first = Setup::new().set("control_socket = \"server.ctl\"").controlled().start();
    let path = first.dir().join("server.ctl");
    eventually("the control socket", PATIENCE, || is_socket(&path).then_some(()));
    let mut second = Setup::new().set(&format!("control_socket = \"{}\"", path.display())).controlled().launch();
    let pid_of = |reply: &Value| reply["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    match differs("control-socket-taken") {
        Gunicorn => {
            second.settled(2);
            second.wait_for_line("Control socket listening at");
            let stats = ask(&first, "server.ctl", "show stats");
            assert_eq!(pid_of(&stats), Some(second.pid()), "the first one cannot be reached any more");
        }
        Rustcorn => {
            assert_eq!(second.wait_for_exit(PATIENCE), 1);
            let stats = ask(&first, "server.ctl", "show stats");
            assert_eq!(pid_of(&stats), Some(first.pid()), "{stats}");
        }
    }
}
