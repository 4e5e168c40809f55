//! The control socket and rustcornctl: every command does what it says, and nobody there can disturb the server.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::log::Log;
use crate::harness::{Load, PATIENCE, Setup, Sig, ctl, eventually, never, proc};

fn with_control(setup: Setup) -> Setup {
    setup.set("control_socket = \"ctl\"")
}

fn hello() -> Setup {
    with_control(Setup::hello())
}

fn pids(data: &Value) -> Vec<u32> {
    let workers = data["workers"].as_array().expect("a list");
    workers.iter().map(|worker| u32::try_from(worker["pid"].as_u64().expect("a pid")).expect("small")).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn what_the_server_is_and_does() {
    let setup = with_control(Setup::testapp()).set("admin_bind = \"127.0.0.1:0\"\ntimeout = 0").app("slow_ms = 424242");
    let server = setup.start();
    for _ in 0..20 {
        server.get("/").expect("answered");
    }
    server.get("/nowhere").expect("answered");
    let mut blocked = server.connect();
    blocked.send("GET", "/block", "", "").expect("sent");
    let workers = eventually("somebody polls a request", PATIENCE, || {
        let workers = server.ctl_data("show workers");
        let polls = |worker: &Value| worker["polling"][0]["request"] == "GET /block" && worker["in_flight"] == 1;
        workers["workers"].as_array().expect("a list").iter().any(polls).then_some(workers)
    });
    let mut known = pids(&workers);
    known.sort_unstable();
    assert!(known.iter().all(|pid| server.workers().contains(pid)) && known.len() == 2, "{known:?}");
    let worker = &workers["workers"][0];
    assert_eq!(
        keys(worker),
        [
            "age",
            "connections",
            "due",
            "generation",
            "heartbeat_age",
            "in_flight",
            "pid",
            "polling",
            "requests",
            "rss",
            "slot",
            "state"
        ]
    );
    assert_eq!((&worker["slot"], &worker["state"], &worker["generation"]), (&json!(0), &json!("ready"), &json!(1)));
    assert!(
        worker["rss"].as_u64().is_some_and(|rss| rss > 100_000) && worker["age"].as_f64().is_some_and(|age| age > 0.0)
    );

    let stats = server.ctl_data("show stats");
    assert_eq!(
        keys(&stats),
        [
            "connections",
            "generation",
            "name",
            "phase",
            "pid",
            "recycles",
            "reloads",
            "requests",
            "responses",
            "restarts",
            "uptime",
            "version",
            "workers"
        ]
    );
    assert_eq!(stats["workers"], json!({"target": 2, "ready": 2, "booting": 0, "draining": 0}));
    assert_eq!((&stats["pid"], &stats["phase"]), (&json!(server.pid()), &json!("running")));
    assert_eq!(stats["requests"]["total"], 21);
    assert_eq!(stats["responses"], json!({"1xx": 0, "2xx": 20, "3xx": 0, "4xx": 1, "5xx": 0, "other": 0}));
    assert_eq!(stats["reloads"], json!({"ok": 0, "failed": 0}));

    let listeners = server.ctl_data("show listeners");
    let listeners = listeners["listeners"].as_array().expect("a list");
    assert_eq!(listeners[0], json!({"setting": "bind", "url": format!("http://{}", server.address()), "backlog": 0}));
    assert_eq!((&listeners[1]["setting"], &listeners[2]["setting"]), (&json!("admin_bind"), &json!("control_socket")));
    assert_eq!(listeners[2]["backlog"], Value::Null);

    let durations = server.ctl_data("show durations");
    let durations = durations["durations"].as_array().expect("a list");
    assert_eq!(durations.iter().filter_map(|pair| pair[1].as_u64()).sum::<u64>(), 21);

    let config = server.ctl_data("show config");
    let find = |key: &str| {
        let settings = config["settings"].as_array().expect("a list");
        settings.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("no {key} in {config}")).clone()
    };
    assert_eq!(find("workers"), json!({"key": "workers", "value": 2, "origin": "app.toml:2"}));
    assert_eq!(
        find("control_socket_mode"),
        json!({"key": "control_socket_mode", "value": "0600", "origin": "default"})
    );
    assert_eq!(find("app.slow_ms")["value"], "(hidden)");
    let all = server.ctl_data("show all");
    assert_eq!(keys(&all), ["listeners", "settings", "stats", "workers"]);

    // The same for people.
    let told = |what: &str| server.ctl(&format!("show {what}")).ok();
    let text = told("workers");
    assert!(text.starts_with("SLOT") && text.contains("GET /block for ") && text.lines().count() == 3, "{text}");
    assert!(told("stats").contains("2 wanted: 2 ready, 0 booting, 0 draining"));
    assert!(told("listeners").contains(&server.address().to_string()));
    assert!(told("durations").contains("requests 21\n"));
    let text = told("config") + &told("all");
    assert!(text.contains("app.slow_ms") && !text.contains("424242"), "{text}");
    let help = ctl::run(server.dir(), "--help").ok();
    assert!(help.contains("Exit codes: 0 done"), "{help}");
    let top = server.ctl("top --once --interval 0.1").ok();
    assert!(top.contains("2 of 2 ready") && top.contains("GET /block"), "{top}");
    let top = server.ctl("top --once --interval 0.1 --json").json();
    assert_eq!(
        (&top["stats"]["name"], top["workers"].as_array().map(Vec::len)),
        (&json!("rustcorn-e2e-testapp"), Some(2))
    );
}

#[test]
fn workers_are_added_removed_restarted_and_killed() {
    let server = with_control(Setup::testapp()).start();
    let load = Load::start(server.address(), "/", 2);
    assert_eq!(server.ctl("worker add 2 --wait").ok(), "4 workers instead of 2\n");
    let four = server.settled(4);
    assert_eq!(server.ctl_data("worker remove 9"), json!({"previous": 4, "target": 1}));
    let one = server.settled(1);
    assert!(one.is_subset(&four));
    assert_eq!(server.ctl("worker add").ok(), "2 workers instead of 1\n");
    let before = server.settled(2);

    let restarted = server.ctl_data("worker restart --wait");
    assert_eq!((&restarted["done"], pids(&restarted).len()), (&json!(true), 2));
    let after = server.settled(2);
    assert!(after.is_disjoint(&before), "{before:?} {after:?}");

    let workers = eventually("those that have left are no longer listed", PATIENCE, || {
        Some(server.ctl_data("show workers")).filter(|workers| pids(workers).len() == 2)
    });
    let (slot, pid) = (&workers["workers"][0]["slot"], pids(&workers)[0]);
    let text = server.ctl(&format!("worker restart slot:{slot} --wait")).ok();
    assert_eq!(text, format!("worker {slot} (pid {pid}): replaced\n"));
    eventually("it is gone", PATIENCE, || (!proc::lives(pid)).then_some(()));
    let others = server.settled(2);
    assert!(others.contains(&pids(&workers)[1]), "only that one");

    let victim = *others.first().expect("two");
    assert_eq!(pids(&server.ctl_data(&format!("worker kill {victim} --wait"))), [victim]);
    eventually("it is gone", PATIENCE, || (!proc::lives(victim)).then_some(()));
    let settled = server.settled(2);
    assert!(!settled.contains(&victim) && settled.contains(others.last().expect("two")));
    assert!(server.log.find(0, &format!("Control: worker kill {victim} --wait (pid ")).is_some());

    for (words, reason) in [
        ("worker kill pid:999999", "pid:999999 is no worker of this server"),
        ("worker kill slot:77", "there is no worker in slot:77"),
        ("worker restart 999999", "999999 is no worker of this server"),
    ] {
        assert!(server.ctl(words).failed(1).contains(reason), "{words}");
        let told = server.ctl(&format!("{words} --json"));
        assert_eq!((told.code, &told.json()["status"], told.err.as_str()), (Some(1), &json!("error"), ""));
        assert!(told.json()["error"].as_str().is_some_and(|error| error.contains(reason)));
    }
    assert_eq!(server.settled(2), settled, "a mistake costs nobody");
    let tally = load.stop();
    assert_eq!((tally.failed(), tally.statuses.len()), (0, 1), "{tally:?}");
    assert_eq!(server.ctl_data("show stats")["recycles"]["asked"], 3);
}

#[test]
fn a_reload_that_is_waited_for_says_how_it_went() {
    let mut server = hello().expect("Reload failed").start();
    let load = Load::start(server.address(), "/", 2);
    let before = server.settled(2);
    let good = server.text();
    assert!(server.ctl("reload --wait").ok().starts_with("Reloaded: generation 2 is serving"));
    let workers = server.ctl_data("show workers");
    let serving = workers["workers"].as_array().expect("a list").iter().filter(|worker| worker["state"] == "ready");
    let generations: Vec<&Value> = serving.map(|worker| &worker["generation"]).collect();
    assert_eq!(generations, [2, 2], "all that serve, in the moment of the answer");
    let after = server.settled(2);
    assert!(after.is_disjoint(&before));

    server.write_text(&format!("wrokers = 3\n{good}"));
    let error = server.ctl("reload --wait --timeout 60").failed(1);
    let line = server.wait_for_line("Reload failed: ");
    let said = line.split("[ERROR] ").nth(1).expect("a line of its own level");
    assert_eq!(error, format!("Error: {said}\n"), "the text of the log");
    let told = server.ctl("reload --wait -j");
    assert_eq!(told.json()["error"], said);
    assert_eq!(server.settled(2), after, "the same processes");
    assert_eq!(server.ctl_data("show stats")["reloads"], json!({"ok": 1, "failed": 2}));

    server.reconfigure("workers = 3", "");
    assert_eq!(server.ctl_data("reload"), json!({"done": false, "generation": null, "draining": 0}));
    server.settled(3);
    let tally = load.stop();
    assert_eq!((tally.failed(), tally.statuses.len()), (0, 1), "{tally:?}");
}

#[test]
fn who_does_not_wait_to_the_end_stops_nothing() {
    let setup = with_control(Setup::testapp()).set("boot_timeout = 6").app("hang_boot = false");
    let server = setup.expect("not ready within boot_timeout").start();
    let (before, good) = (server.settled(2), server.text());
    server.write_text(&good.replace("hang_boot = false", "hang_boot = true"));
    let told = server.ctl("reload --wait --timeout 0.2").failed(1);
    assert!(told.contains("not done within 200ms; the server goes on with it"), "{told}");

    let interrupted = ctl::command(server.dir(), "-s ctl reload --wait").spawn().expect("built");
    server.log.wait(0, "Control: reload --wait", 2, PATIENCE);
    proc::signal(interrupted.id(), Sig::SIGINT);
    let status = interrupted.wait_with_output().expect("it is our child").status;
    assert_eq!(status.signal(), Some(2), "which a shell shows as 130");

    assert!(before.is_subset(&server.workers()), "they go on serving");
    server.write_text(&good);
    server.wait_for_line("Reload failed: the new worker failed to boot: it was not ready within boot_timeout");
    server.wait_for_line("Reloaded: generation 3"); // what the interrupted one asked for
    eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
    server.settled(2);
}

/// A child that does not outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Gone already, as a rule.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_live_view_draws_hears_keys_and_leaves_the_terminal_as_it_was() {
    let server = hello().start();
    let words = format!("stty cols 80 rows 24; exec {} -s ctl top", crate::harness::binaries::rustcornctl().display());
    // script(1) gives it a terminal.
    let mut script = Command::new("script");
    script.args(["-qec", &words, "/dev/null"]).current_dir(server.dir()).env("TERM", "xterm");
    let spawned = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(script) = spawned else {
        eprintln!("NOT TESTED: a terminal is made by script(1), which is not installed");
        return;
    };
    let mut script = Ended(script);
    let screen = Log::capture_bytes(script.0.stdout.take().expect("it is piped"));
    let mut keys = script.0.stdin.take().expect("it is piped");
    let mut press = |key: &str| keys.write_all(key.as_bytes()).expect("it reads");
    // Single words: what is blank already is jumped over.
    screen.wait(0, "running", 1, PATIENCE);
    press("+");
    screen.wait(0, "worker?", 1, PATIENCE);
    press("y");
    screen.wait(0, "instead", 1, PATIENCE);
    server.settled(3);
    press("q");
    assert_eq!(script.0.wait().expect("it is our child").code(), Some(0));
    assert!(screen.wait_for_end(PATIENCE));
    screen.wait(0, "\u{1b}[?1049l", 1, PATIENCE); // back from the alternate screen
}

#[test]
fn reopen_and_shutdown_are_the_signals() {
    for (words, code, line) in [("shutdown", 0, "shutdown graceful"), ("shutdown quick --wait", 0, "shutdown quick")] {
        let mut server = hello().start();
        assert_eq!(server.ctl_data("reopen"), json!({"asked": true}));
        server.wait_for_line("Handling signal: usr1");
        server.ctl(words).ok();
        assert!(server.log.find(0, &format!("Control: {line} (pid ")).is_some());
        assert_eq!(server.wait_for_exit(PATIENCE), code);
        assert!(
            !server.dir().join("ctl").exists() && !server.dir().join("ctl.lock").exists(),
            "both files are removed"
        );
        let error = server.ctl("show stats").failed(3);
        assert!(error.contains("there is no such socket; is the server running?"), "{error}");
        assert_eq!(server.ctl("show stats --json").json()["status"], "error");
    }
}

#[test]
fn a_server_that_drains_can_be_looked_at_and_hurried() {
    let mut server = with_control(Setup::testapp()).set("drain_delay = 60").app("slow_ms = 60000").start();
    let mut slow = server.connect();
    slow.send("GET", "/slow", "", "").expect("sent");
    server.wait_for_journal("start", 1);
    let mut waiting = server.by_hand();
    assert_eq!(server.ctl("shutdown").ok(), "the server is stopping\n");
    let stats = server.ctl_data("show stats");
    assert_eq!((&stats["phase"], &stats["workers"]["draining"]), (&json!("stopping"), &json!(2)));
    for words in ["reload --wait", "worker add", "worker restart"] {
        assert!(server.ctl(words).failed(1).contains("the server is stopping"), "{words}");
    }
    assert_eq!(server.ctl("shutdown quick --wait").ok(), "the server has stopped\n");
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert_eq!(waiting.hear(), Value::Null, "every connection has ended");
}

#[test]
fn what_is_not_understood_is_told() {
    let server = hello().start();
    let folder = server.dir().to_owned();
    assert!(ctl::run(&folder, "show stats").failed(2).contains("which server? Name its control socket with -s PATH"));
    assert!(server.ctl("fly").failed(2).contains("unrecognized subcommand 'fly'"));
    assert!(server.ctl("worker add 0").failed(2).contains("\"0\" is no number of workers"));
    assert!(server.ctl("top").failed(2).contains("top needs a terminal; use top --once"));
    assert_eq!(ctl::run(&folder, "-c app.toml show stats --json").json()["status"], "ok", "the file names the socket");
    std::fs::write(folder.join("other.toml"), "workers = 1\n").expect("the folder is ours");
    assert!(ctl::run(&folder, "-c other.toml show stats").failed(2).contains("other.toml: there is no control_socket"));
    let variable = ctl::command(&folder, "show stats").env("RUSTCORN_CONTROL_SOCKET", "ctl").spawn().expect("built");
    ctl::ended(variable).ok();

    let mut by_hand = server.by_hand();
    by_hand.say("show workers\n");
    let reply = by_hand.hear();
    assert_eq!((&reply["id"], &reply["status"], &reply["protocol"]), (&Value::Null, &json!("error"), &json!(1)));
    by_hand.say("{\"id\":5,\"command\":\"fly\"}\n{\"id\":6,\"command\":\"help\"}\n");
    let (bad, good) = (by_hand.hear(), by_hand.hear());
    assert!(bad["id"] == 5 && bad["error"].as_str().is_some_and(|error| error.contains("unknown command \"fly\"")));
    assert!(good["id"] == 6 && good["data"]["help"].as_str().is_some_and(|help| help.contains("worker restart")));
}

#[test]
fn only_root_and_the_own_user_are_heard() {
    let setup = hello().set("control_socket_mode = \"0666\"");
    let mut server = setup.start();
    let meta = std::fs::metadata(server.dir().join("ctl")).expect("it is there");
    assert_eq!(meta.permissions().mode() & 0o7777, 0o666);
    if !proc::is_root() {
        eprintln!("NOT TESTED: refusing another user needs one, and only root can become one");
        return;
    }
    // Everybody can read the program and reach the socket: only what the master thinks of them is in the way.
    let shared = server.dir().join("rustcornctl");
    server.install("rustcornctl", &crate::harness::binaries::rustcornctl());
    let socket = server.dir().join("ctl");
    let nobody = |words: &str| {
        let mut command = Command::new(&shared);
        command.args(words.split(' ')).arg("-s").arg(&socket).current_dir("/").uid(65534).gid(65534);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        ctl::ended(command.spawn().expect("everybody can run it"))
    };
    let error = nobody("shutdown").failed(1);
    assert!(
        error.contains("user 65534 may not command this server; become root or the user that it runs as"),
        "{error}"
    );
    server.wait_for_line("Control: turned away pid ");
    assert_eq!(server.ctl_data("show stats")["phase"], "running");

    server.reconfigure("control_socket_mode = \"0600\"", "");
    server.reload();
    let error = nobody("shutdown").failed(3);
    assert!(error.contains("Permission denied; become root or the user that the server runs as"), "{error}");
    server.ctl("show stats").ok();
}

#[test]
fn a_second_master_cannot_take_the_path_and_one_that_was_killed_is_replaced() {
    let mut first = hello().expect("Perhaps").start();
    let path = first.dir().join("ctl");
    let setup = Setup::hello().set(&format!("control_socket = \"{}\"", path.display()));
    setup.write();
    let second = setup.run_with(&["app.toml"]);
    let error = String::from_utf8(second.stderr).expect("text");
    assert_eq!(second.status.code(), Some(1));
    let holder = format!("it is held by process {}; is another server running?", first.pid());
    assert!(error.contains("cannot listen on the control socket") && error.contains(&holder), "{error}");
    assert_eq!(first.ctl_data("show stats")["pid"], first.pid(), "undisturbed");

    // And on a reload.
    let text = setup.text();
    let third = Setup::hello().expect("Reload failed").start();
    let address = third.address();
    third.write_text(&text);
    let line = third.reload();
    assert!(line.contains(&holder) && line.contains("goes on serving, nothing was changed"), "{line}");
    assert_eq!((first.ctl_data("show stats")["pid"].as_u64(), third.address()), (Some(first.pid().into()), address));

    first.signal(Sig::SIGKILL);
    assert_eq!(first.wait_for_exit(PATIENCE), -1);
    first.wait_for_silence(PATIENCE);
    assert!(path.exists(), "nobody was left to remove it");
    let error = first.ctl("show stats").failed(3);
    assert!(error.contains("nobody listens there; the server has ended"), "{error}");
    let line = third.reload();
    assert!(line.contains("Reloaded"), "{line}");
    assert_eq!(first.ctl_data("show stats")["pid"], third.pid());
}

#[test]
fn a_reload_moves_the_socket_and_keeps_the_conversation() {
    let mut server = hello().expect("Reload failed").start();
    let mut by_hand = server.by_hand();
    server.reconfigure("control_socket = \"moved\"\ncontrol_socket_mode = \"0660\"", "");
    by_hand.say("{\"id\":1,\"command\":\"reload --wait\"}\n");
    let reply = by_hand.hear();
    assert_eq!((&reply["status"], &reply["data"]["generation"]), (&json!("ok"), &json!(2)));
    by_hand.say("{\"id\":2,\"command\":\"show stats\"}\n");
    assert_eq!(by_hand.hear()["id"], 2, "whoever was connected stays so");
    let (old, new) = (server.dir().join("ctl"), server.dir().join("moved"));
    eventually("the old one is gone", PATIENCE, || (!old.exists()).then_some(()));
    assert!(server.log.find(0, "Control socket listening at /").is_some());
    assert_eq!(std::fs::metadata(&new).expect("it is there").permissions().mode() & 0o7777, 0o660);
    ctl::run(server.dir(), "-s moved show stats").ok();

    // A reload that fails leaves nothing of what it bound.
    server.write_text(
        &server.text().replace("\"moved\"", "\"third\"").replace("bind = \"127.0.0.1:0\"", "bind = \"192.0.2.1:1\""),
    );
    let error = ctl::run(server.dir(), "-s moved reload --wait").failed(1);
    assert!(error.contains("192.0.2.1"), "{error}");
    assert!(!server.dir().join("third").exists() && !server.dir().join("third.lock").exists() && new.exists());

    server.reconfigure("control_socket = \"\"", "");
    server.reload();
    eventually("it is gone", PATIENCE, || (!new.exists()).then_some(()));
    by_hand.say("{\"id\":3,\"command\":\"show stats\"}\n");
    assert_eq!(by_hand.hear()["id"], 3);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let setup = hello();
    setup.write();
    setup.dir.write("ctl", "data");
    let output = setup.run_with(&["app.toml"]);
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("cannot listen on the control socket ctl: the file exists and is not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(setup.dir.path().join("ctl")).expect("it is there"), "data");
    assert!(!setup.dir.path().join("ctl.lock").exists());
}

#[test]
fn a_hundred_who_are_silent_loud_or_slow_disturb_nobody() {
    let server = hello().start();
    let descriptors = proc::descriptors(server.pid());
    let load = Load::start(server.address(), "/", 2);
    let mut crowd = Vec::new();
    for number in 0..100 {
        let mut one = server.by_hand();
        match number % 5 {
            0 => {}
            1 => one.say("{\"comm"),
            2 => one.say([0xff; 1000]),
            3 => one.say("garbage\n{}\n[1]\n"),
            _ => one.say("{\"command\":\"show all\"}\n".repeat(50)), // and reads nothing
        }
        crowd.push(one);
    }
    for _ in 0..5 {
        let before = server.workers();
        assert!(server.ctl("reload --wait").ok().starts_with("Reloaded"));
        eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
    }
    let idle = proc_cpu(server.pid());
    never("the master is busy with them", Duration::from_secs(1), || proc_cpu(server.pid()) - idle > 50);
    assert!(proc::descriptors(server.pid()) <= descriptors + 40, "their number is bounded");
    drop(crowd);
    eventually("no descriptor is left over", PATIENCE, || {
        (proc::descriptors(server.pid()) == descriptors).then_some(())
    });
    let tally = load.stop();
    assert_eq!((tally.failed(), tally.statuses.len()), (0, 1), "{tally:?}");
    server.ctl("show stats").ok();
}

/// Processor time that a process has used, in hundredths of a second.
fn proc_cpu(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number")).sum()
}
