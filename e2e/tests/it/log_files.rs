//! A log in a file: who writes to it, and that no rotation loses a line.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::harness::{LogFile, PATIENCE, Server, Setup, Sig, eventually, full, get, not_tested, proc};

const FILE: &str = "error.log";

/// A server whose log is that file, with its workers ready.
fn started(setup: Setup, workers: usize) -> (Server, LogFile) {
    let mut server = setup.set(&format!("errorlog = \"{FILE}\"\nworkers = {workers}")).launch();
    let file = LogFile::of(&server, FILE);
    server.logs_to(&file, workers);
    (server, file)
}

#[test]
fn the_file_is_standard_error_of_every_process() {
    let (mut server, file) = started(Setup::testapp().set("admin_bind = \"127.0.0.1:0\""), 2);
    file.wait("Booting admin process", 1);
    let everybody = server.everybody();
    assert_eq!(everybody.len(), 4);
    file.wait_for_all(&everybody);
    let mode = std::fs::metadata(file.path()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7137, 0, "nobody else reads it: {mode:o}");
    // What is not the server's own line goes there, too; standard output does not, unless it is asked for.
    assert_eq!(server.get("/print").map(|answer| answer.status), Ok(200));
    file.wait("complained", 1);
    assert_eq!(file.count("printed"), 0);
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    server.wait_for_silence(PATIENCE);
    file.wait("Shutting down: Master", 1);
    assert_eq!(server.log.since(0), Vec::<String>::new(), "nothing of it on standard error");
}

#[test]
fn gunicorns_flags_name_the_file_and_the_start_appends() {
    for flag in ["--error-logfile", "--log-file", "--errorlog"] {
        let setup = Setup::hello().args(&[flag, "logs here.txt"]);
        setup.dir.write("logs here.txt", "before\n");
        let mut server = setup.launch();
        let file = LogFile::of(&server, "logs here.txt");
        server.logs_to(&file, 2);
        assert_eq!(file.lines()[0], "before", "{flag}");
    }
    Setup::hello().args(&["--error-logfile", "-"]).start();
}

#[test]
fn a_file_that_cannot_be_opened_is_a_mistake_in_the_configuration() {
    let setup = Setup::hello().set("errorlog = \"no/such/folder/error.log\"");
    setup.write();
    let output = setup.run_with(&["app.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let words = ": errorlog: cannot open no/such/folder/error.log: No such file or directory\n";
    assert!(said.starts_with("Error: app.toml:") && said.ends_with(words), "{said}");
}

#[test]
fn captured_output_goes_where_the_log_goes() {
    let (server, file) = started(Setup::testapp().set("capture_output = true"), 1);
    assert_eq!(server.get("/print").map(|answer| answer.status), Ok(200));
    file.wait("printed", 1);
    let old = file.rotate(1);
    server.signal(Sig::SIGUSR1);
    file.wait_for_all(&server.everybody());
    let worker = *server.workers().first().expect("one");
    eventually("standard output follows", PATIENCE, || (proc::file(worker, 1)? == file.path()).then_some(()));
    assert_eq!(server.get("/print").map(|answer| answer.status), Ok(200));
    file.wait("printed", 1);
    assert_eq!(old.count("printed"), 1);

    // Without a file it is standard error that both go to.
    let server = Setup::testapp().set("capture_output = true\nworkers = 1").start();
    assert_eq!(server.get("/print").map(|answer| answer.status), Ok(200));
    server.wait_for_line("printed");
}

/// Every request leaves lines; the file is renamed again and again. All lines are found, each once and whole.
#[test]
fn no_rotation_loses_or_tears_a_line() {
    let rotations = if full() { 200 } else { 20 };
    let (mut server, file) = started(Setup::testapp().set("admin_bind = \"127.0.0.1:0\"").env("RUST_LOG", "warn"), 3);
    file.wait("Booting admin process", 1);
    let (address, stop, answers) = (server.address(), AtomicBool::new(false), AtomicUsize::new(0));
    let old: Vec<LogFile> = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    assert_eq!(get(address, "/log").map(|answer| answer.status), Ok(200));
                    answers.fetch_add(1, Relaxed);
                }
            });
        }
        let rotate = |number| {
            let (before, old) = (answers.load(Relaxed), file.rotate(number));
            server.signal(Sig::SIGUSR1);
            file.wait_for_all(&server.everybody());
            eventually("requests go on", PATIENCE, || (answers.load(Relaxed) > before + 3).then_some(()));
            old
        };
        let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (1..=rotations).map(rotate).collect()));
        stop.store(true, Relaxed);
        rotated.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    server.wait_for_silence(PATIENCE);

    let mut counted = [0; 3];
    for log in old.iter().chain([&file]) {
        let text = std::fs::read_to_string(log.path()).expect("it is there");
        assert!(text.ends_with('\n') && !text.contains("lines were lost"), "{}", log.path().display());
        for line in text.lines() {
            assert!(line.starts_with("[20") && line.matches("] [").count() >= 2, "torn: {line}");
            for (count, words) in counted.iter_mut().zip(["stock is low", "out of stock", "Handling signal: usr1"]) {
                *count += usize::from(line.contains(words));
            }
        }
    }
    let answers = answers.load(Relaxed);
    assert_eq!(counted, [answers, answers, rotations], "in {rotations} rotations");
}

/// A worker that boots, one that hangs, one that drains, and of another generation: all have the new file.
#[test]
fn usr1_reaches_workers_in_every_state() {
    let setup = Setup::testapp().set("graceful_timeout = 60\ntimeout = 60").app("boot_ms = 0\nslow_ms = 10000");
    let (mut server, file) = started(setup, 2);
    let old_generation = server.workers();
    let mut blocked = server.connect();
    blocked.send("GET", "/block", "", "").expect("sent");
    server.wait_for_journal("block", 1);
    let mut slow = server.connect();
    slow.send("GET", "/slow", "", "").expect("sent");
    server.wait_for_journal("start", 1);
    // Both stay as long as they have something to do; the new ones are never done with booting.
    server.reconfigure("max_surge = 2", "");
    server.signal(Sig::SIGHUP);
    file.wait("Reloaded: generation 2", 1);
    file.wait("Worker ready", 4);
    server.reconfigure("", "hang_boot = true");
    server.signal(Sig::SIGHUP);
    file.wait("Booting worker", 5);
    let everybody = server.everybody();
    assert_eq!((everybody.len(), old_generation.is_subset(&everybody)), (6, true));

    let old = file.rotate(1);
    server.signal(Sig::SIGUSR1);
    file.wait_for_all(&everybody);
    assert_eq!(server.everybody(), everybody, "nobody died of it");
    assert_eq!(old.count("Handling signal: usr1"), 1, "it is said before");
    assert_eq!(slow.receive(false).map(|answer| answer.status), Ok(200));
    file.wait("Worker exiting", 1);
    assert_eq!(old.count("Worker exiting"), 0);
    // The blocked one would take its time.
    old_generation.iter().filter(|pid| proc::lives(**pid)).for_each(|pid| proc::signal(*pid, Sig::SIGKILL));
}

/// Two masters at a time, and logrotate knows one of them.
#[test]
fn usr1_reaches_the_new_master_of_an_upgrade_and_its_workers() {
    let (mut server, file) = started(Setup::testapp(), 2);
    server.signal(Sig::SIGUSR2);
    let line = file.wait("Upgrade: the new master serves", 1);
    let heir = line.split("(pid: ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok()).expect("its pid");
    let mut everybody = server.everybody();
    everybody.extend(proc::children(heir));
    assert_eq!(everybody.len(), 6);
    let old = file.rotate(1);
    old.wait_for_all(&everybody);
    server.signal(Sig::SIGUSR1);
    file.wait_for_all(&everybody);
    // What it has inherited is what the first master was started with: without a file it goes back to that.
    server.reconfigure("errorlog = \"-\"", "");
    proc::signal(heir, Sig::SIGHUP);
    server.wait_for_line("Reloaded: generation ");
    assert_eq!(server.log.since(0).iter().filter(|line| line.contains("Listening at")).count(), 0);
    server.signal(Sig::SIGTERM);
    server.follow(heir);
    server.wait_for_line("Master has been promoted.");
}

/// A program that boots has installed nothing yet, and one that knows nothing of signals never will.
#[test]
fn signals_that_mean_nothing_to_it_do_not_end_a_worker_that_cannot_listen() {
    let foreign = Setup::hello().without("handler").app("command = [\"sleep\", \"1000\"]");
    for setup in [Setup::testapp().app("hang_boot = true"), foreign] {
        let mut server = setup.set(&format!("errorlog = \"{FILE}\"")).launch();
        let file = LogFile::of(&server, FILE);
        let workers = eventually("two boot", PATIENCE, || Some(server.workers()).filter(|workers| workers.len() == 2));
        for number in 1..4 {
            eventually("the master writes there", PATIENCE, || {
                (file.count("Using worker") == 1 || number > 1).then_some(())
            });
            file.rotate(number);
            server.signal(Sig::SIGUSR1);
            eventually("there is a new file", PATIENCE, || file.path().exists().then_some(()));
        }
        for sig in [Sig::SIGUSR1, Sig::SIGUSR2, Sig::SIGWINCH, Sig::SIGHUP, Sig::SIGTTIN, Sig::SIGTTOU] {
            workers.iter().for_each(|pid| proc::signal(*pid, sig));
        }
        // A signal that comes later is handled later.
        server.signal(Sig::SIGUSR1);
        file.wait("Handling signal: usr1", 1);
        assert_eq!(server.workers(), workers);
        assert!(workers.iter().all(|pid| matches!(proc::state(*pid), Some('S' | 'R'))), "nobody stands still");
        server.signal(Sig::SIGINT);
        assert_eq!(server.wait_for_exit(PATIENCE), 0);
    }
}

/// It knows nothing of new files either; the log says so, and no descriptors pile up.
#[test]
fn a_program_that_takes_no_new_file_is_named() {
    let setup = Setup::hello().without("handler").app("command = [\"sleep\", \"1000\"]");
    let mut server = setup.set(&format!("errorlog = \"{FILE}\"\nworkers = 1")).launch();
    let file = LogFile::of(&server, FILE);
    let worker = eventually("it runs", PATIENCE, || server.workers().first().copied());
    file.wait("Using worker", 1);
    file.rotate(1);
    server.signal(Sig::SIGUSR1);
    eventually("there is a new file", PATIENCE, || file.path().exists().then_some(()));
    file.rotate(2);
    server.signal(Sig::SIGUSR1);
    let line = file.wait("has not taken the last log file", 1);
    assert!(line.contains(&format!("[WARNING] Worker 0 (pid:{worker}) has not taken")), "{line}");
    assert_eq!(proc::file(worker, 2), Some(file.path().with_extension("log.1")));
    server.signal(Sig::SIGINT);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn usr1_to_one_worker_opens_the_file_anew_for_that_one() {
    let (server, file) = started(Setup::testapp().set("admin_bind = \"127.0.0.1:0\""), 2);
    let old = file.rotate(1);
    let mut others = server.everybody();
    let chosen = server.workers().into_iter().find(|pid| old.count(&format!("Worker ready (pid: {pid},")) == 1);
    let chosen = chosen.expect("two are ready");
    others.remove(&chosen);
    proc::signal(chosen, Sig::SIGUSR1);
    file.wait_for_all(&BTreeSet::from([chosen]));
    old.wait_for_all(&others);
    assert_eq!(old.count("Handling signal: usr1"), 0);
    // The others follow when all are asked.
    server.signal(Sig::SIGUSR1);
    file.wait_for_all(&server.everybody());
    // One that comes later has the file of the present.
    proc::signal(chosen, Sig::SIGTERM);
    file.wait("Worker ready", 1);
    file.wait_for_all(&server.everybody());
}

/// A crowd takes all its descriptors; the log is renamed in just that time.
#[test]
fn a_worker_without_room_for_the_new_file_takes_it_when_there_is_some() {
    let setup = Setup::hello().wrapped(&["sh", "-c", "ulimit -n 48; exec \"$@\"", "sh"]);
    let setup = setup.set("accesslog = \"access.log\"").expect("Cannot accept connections");
    let (server, file) = started(setup, 1);
    let crowd: Vec<_> = (0..60).map(|_| server.connect()).collect();
    file.wait("Cannot accept connections", 1);
    let (old, access) = (file.rotate(1), LogFile::of(&server, "access.log"));
    access.rotate(1);
    server.signal(Sig::SIGUSR1);
    old.wait("Cannot go over to the new log file yet", 1);
    drop(crowd);
    file.wait_for_all(&server.everybody());
    let worker = *server.workers().first().expect("one");
    eventually("the access log follows, too", PATIENCE, || {
        let files = (3..48).filter_map(|number| proc::file(worker, number));
        files.into_iter().any(|file| file == access.path()).then_some(())
    });
}

#[test]
fn usr1_without_a_file_is_heard_and_changes_nothing() {
    let server = Setup::hello().start();
    let workers = server.settled(2);
    let mark = server.log.mark();
    server.signal(Sig::SIGUSR1);
    workers.iter().for_each(|pid| proc::signal(*pid, Sig::SIGUSR1));
    server.log.wait(mark, "Handling signal: usr1", 1, PATIENCE);
    server.signal(Sig::SIGUSR1);
    server.log.wait(mark, "Handling signal: usr1", 2, PATIENCE);
    assert_eq!(server.log.since(mark).len(), 2, "{:?}", server.log.since(mark));
    assert_eq!(server.settled(2), workers);
}

#[test]
fn a_file_that_cannot_be_opened_again_is_said_once_and_the_old_one_goes_on() {
    let setup = Setup::testapp();
    std::fs::create_dir(setup.dir.path().join("logs")).expect("the folder is ours");
    let mut server = setup.set("errorlog = \"logs/error.log\"\nworkers = 3").launch();
    let file = LogFile::of(&server, "logs/error.log");
    server.logs_to(&file, 3);
    let folder = server.dir().join("logs");
    std::fs::rename(&folder, server.dir().join("away")).expect("the folder is ours");
    let away = LogFile::of(&server, "away/error.log");
    server.signal(Sig::SIGUSR1);
    let line = away.wait("Cannot open the log", 1);
    let words =
        "[ERROR] Cannot open the log logs/error.log again: No such file or directory; going on with the old file";
    assert!(line.ends_with(words), "{line}");
    assert_eq!(server.get("/print").map(|answer| answer.status), Ok(200));
    away.wait("complained", 1);
    server.signal(Sig::SIGUSR1);
    away.wait("Cannot open the log", 2);
    std::fs::create_dir(&folder).expect("the folder is ours");
    server.signal(Sig::SIGUSR1);
    file.wait_for_all(&server.everybody());
    assert_eq!(away.count("Cannot open the log"), 2, "once for each time it was asked for, and not once a worker");
}

#[test]
fn lines_that_a_full_disk_did_not_take_are_counted() {
    let mut server = Setup::testapp().set("workers = 1\nerrorlog = \"/dev/full\"").launch();
    let worker = eventually("it has a worker", PATIENCE, || server.workers().first().copied());
    eventually("which serves", PATIENCE, || (proc::title(worker).contains("worker 0")).then_some(()));
    server.reconfigure("errorlog = \"error.log\"", "");
    server.signal(Sig::SIGHUP);
    let file = LogFile::of(&server, FILE);
    file.wait("Reloaded: generation 2", 1);
    let lines = file.lines();
    let masters = format!("[{}] [WARNING] ", server.pid());
    let lost = lines.iter().find(|line| line.contains(&masters)).expect("the master has lost its first lines");
    assert!(lost.ends_with(" log lines were lost: No space left on device"), "{lost}");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

#[test]
fn a_reload_moves_the_log_of_all_or_of_nobody() {
    let (mut server, file) = started(Setup::testapp().set("admin_bind = \"127.0.0.1:0\"").app("slow_ms = 8000"), 2);
    file.wait("Booting admin process", 1);
    let before = server.everybody();
    server.reconfigure("errorlog = \"no/such/folder/a.log\"", "");
    server.signal(Sig::SIGHUP);
    let line = file.wait("Reload failed: ", 1);
    assert!(line.contains("errorlog: cannot open no/such/folder/a.log: No such file or directory"), "{line}");
    assert_eq!(server.everybody(), before);
    file.wait_for_all(&before);

    let mut slow = server.connect();
    slow.send("GET", "/slow", "", "").expect("sent");
    let draining = server.wait_for_journal("start", 1)[0];
    server.reconfigure("errorlog = \"other.log\"", "");
    server.signal(Sig::SIGHUP);
    let other = LogFile::of(&server, "other.log");
    other.wait("Reloaded: generation ", 1);
    other.wait_for_all(&server.everybody());
    assert!(proc::lives(draining), "of the old generation, and yet it writes to the new file");
    assert!(file.wait("Setting errorlog: ", 1).ends_with("Setting errorlog: \"error.log\" → \"other.log\""));
    assert_eq!(file.count("Reloaded: "), 0);
    assert_eq!(slow.receive(false).map(|answer| answer.status), Ok(200));

    // And back to where it was started from.
    let standard_error = proc::file(server.pid(), 2);
    assert_eq!(standard_error.as_deref(), Some(other.path()));
    // One without requests may have left before the new file reached it.
    let exits = || file.count("Worker exiting") + other.count("Worker exiting");
    eventually("both of the old generation have left", PATIENCE, || (exits() == 2).then_some(()));
    server.reconfigure("errorlog = \"-\"", "");
    server.signal(Sig::SIGHUP);
    server.wait_for_line("Reloaded: generation ");
    assert_ne!(proc::file(server.pid(), 2), standard_error);
    server.wait_for_line("Worker exiting");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}

/// A worker without the right to open the file is given it by the master.
#[test]
fn a_worker_that_gave_up_its_privileges_gets_the_new_file_too() {
    let drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let works = Command::new(drop[0]).args(&drop[1..]).arg("true").status().is_ok_and(|status| status.success());
    if !proc::is_root() || !works {
        return not_tested("a worker of another user: that needs root and setpriv");
    }
    let setup = Setup::testapp();
    let program = crate::harness::binaries::testapp();
    let words: Vec<String> = drop.iter().map(|word| format!("{word:?}")).collect();
    let command = format!("command = [{}, {program:?}]", words.join(", "));
    std::fs::create_dir(setup.dir.path().join("logs")).expect("the folder is ours");
    std::fs::set_permissions(setup.dir.path().join("logs"), Permissions::from_mode(0o700)).expect("it is ours");
    let setup = setup.without("journal").app(&command).set("errorlog = \"logs/error.log\"\nworkers = 2");
    let mut server = setup.launch();
    let file = LogFile::of(&server, "logs/error.log");
    server.logs_to(&file, 2);
    for number in 1..4 {
        file.rotate(number);
        server.signal(Sig::SIGUSR1);
        file.wait_for_all(&server.everybody());
        assert_eq!(server.get("/log").map(|answer| answer.status), Ok(200));
        file.wait("out of stock", 1);
    }
}

#[test]
fn syslog_gets_every_line_as_gunicorn_sends_them() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    udp.set_read_timeout(Some(PATIENCE)).expect("a time");
    let address = udp.local_addr().expect("it is bound");
    let setup = Setup::hello().set("workers = 1\nadmin_bind = \"127.0.0.1:0\"\nlog_format = \"json\"\nsyslog = true");
    let mut server = setup.set(&format!("syslog_addr = \"udp://{address}\"")).start();
    let mut bytes = [0; 8192];
    let mut receive = || {
        let length = udp.recv(&mut bytes).expect("a datagram");
        String::from_utf8(bytes[..length].to_vec()).expect("text")
    };
    let pid_in = |line: &str| {
        let pid: Option<u32> =
            server.wait_for_line(line).split("pid: ").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
        pid.unwrap_or_else(|| panic!("{line} names no process"))
    };
    let (master, worker, admin) = (server.pid(), pid_in("Booting worker"), pid_in("Booting admin process"));
    assert_eq!(receive(), format!("<14>rustcorn.hello.error: [{master}] Starting rustcorn 0.1.0"));
    let mut wait_for = |wanted: &str| while receive() != wanted {};
    wait_for(&format!("<14>rustcorn.hello.error: [{master}] Using worker: hello (1 workers)"));
    let said = [
        format!("<14>rustcorn.hello.error: [{worker}] Booting worker with pid: {worker}"),
        format!("<15>rustcorn.hello.error: [{admin}] Booting admin process with pid: {admin}"),
    ];
    let mut missing: BTreeSet<String> = said.into();
    while !missing.is_empty() {
        missing.remove(&receive());
    }

    // Another server, name and facility; then none.
    let path = server.dir().join("log");
    let unix = UnixDatagram::bind(&path).expect("the folder is ours");
    unix.set_read_timeout(Some(PATIENCE)).expect("a time");
    let facility = "syslog_prefix = \"shop\"\nsyslog_facility = \"local1\"";
    server.reconfigure(&format!("{facility}\nsyslog_addr = \"unix://{}#dgram\"", path.display()), "");
    assert!(server.reload().contains("Reloaded: "));
    let mut receive = || {
        let length = unix.recv(&mut bytes).expect("a datagram");
        String::from_utf8(bytes[..length].to_vec()).expect("text")
    };
    while receive() != format!("<142>rustcorn.shop.error: [{master}] Reloaded: generation 2 is serving") {}
    server.reconfigure("syslog = false", "");
    assert!(server.reload().contains("Reloaded: "));
    while !receive().ends_with("] Setting syslog: true → false") {}
    unix.set_read_timeout(Some(Duration::from_millis(300))).expect("a time");
    let rest: Vec<_> =
        std::iter::from_fn(|| unix.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec())).collect();
    let rest: Vec<_> = rest.iter().map(|line| String::from_utf8_lossy(line)).collect();
    let masters = format!("[{master}]");
    assert!(rest.iter().all(|line| !line.contains(&masters)), "workers of the old generation leave: {rest:?}");
}

#[test]
fn a_syslog_that_nobody_listens_to_stops_nothing_and_is_said_once_a_process() {
    // Nobody else can have the port, and from anyone but its peer this socket takes nothing.
    let held = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    held.connect("127.0.0.1:9").expect("nothing is sent");
    let taken = held.local_addr().expect("it is bound");
    let setup = Setup::testapp().set(&format!("workers = 2\nsyslog = true\nsyslog_addr = \"udp://{taken}\""));
    let server = setup.expect("out of stock").start();
    for _ in 0..50 {
        assert_eq!(server.get("/log").map(|answer| answer.status), Ok(200));
    }
    server.wait_for_line(&format!("[WARNING] 1 log lines did not reach syslog at udp://{taken}: Connection refused"));
    // The access log has a way of its own there, and says so for itself.
    let said = "[WARNING] 1 log lines did not reach syslog";
    eventually("each worker has said it", PATIENCE, || (server.log.count(said) == 3).then_some(()));
}
