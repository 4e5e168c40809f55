//! `--dev`: what changes on disk is served, and what is broken is not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::binaries::testapp;
use crate::harness::{PATIENCE, Server, Setup, eventually, never};

/// An application that is its own master, from a file that the test can replace.
fn service() -> Setup {
    Setup::testapp().installed("service").args(&["--dev"]).set("workers = 1")
}

/// By another process, which leaves no descriptor open for writing in this one (see `Dir::install`).
fn shell(server: &Server, script: &str) {
    let done = Command::new("sh").args(["-ec", script, "sh"]).arg(testapp()).current_dir(server.dir()).status();
    assert!(done.is_ok_and(|status| status.success()), "{script}");
}

#[track_caller]
fn serves(server: &Server, generation: u32) {
    let now = || server.get("/generation").map(|response| response.body);
    eventually(&format!("generation {generation}"), PATIENCE, || {
        (now().as_deref() == Ok(generation.to_string().as_str())).then_some(())
    });
    server.settled(1);
}

#[test]
fn a_program_that_is_replaced_is_served_and_a_broken_one_is_not() {
    let server = service().expect("Reload failed").expect("exited with code 127").start();
    assert!(server.log.find(0, "[WARNING] Reloader is on. Use in development only!").is_some());
    serves(&server, 1);

    shell(&server, "cp \"$1\" service.new; mv service.new service");
    let line = server.log.wait(0, "Changed: ", 1, PATIENCE);
    assert!(line.ends_with("/service"), "{line}");
    serves(&server, 2);

    let mark = server.log.mark();
    shell(&server, "printf 'no program\\n' >broken; chmod 755 broken; mv broken service");
    let line = server.log.wait(mark, "Reload failed: ", 1, PATIENCE);
    assert!(line.contains("generation 2 goes on serving, nothing was changed"), "{line}");
    serves(&server, 2);

    // As cargo does it: removed, then linked from where the linker wrote it.
    shell(&server, "mkdir -p deps; cp \"$1\" deps/service; rm service");
    never("a reload without a program", Duration::from_millis(400), || server.log.count("Changed: ") > 2);
    shell(&server, "ln deps/service service");
    serves(&server, 4);
    assert_eq!(server.log.count("Changed: "), 3);
}

#[test]
fn a_program_that_is_still_being_written_is_waited_for() {
    let server = service().start();
    serves(&server, 1);
    shell(&server, "rm service; head -c 1000000 \"$1\" >service; chmod 755 service");
    never("a reload of half a program", Duration::from_millis(700), || server.log.count("Changed: ") > 0);
    shell(&server, "tail -c +1000001 \"$1\" >>service");
    serves(&server, 2);
    assert_eq!(server.log.count("Changed: "), 1);
}

#[test]
fn the_configuration_is_served_when_it_is_saved_and_refused_when_it_is_wrong() {
    let mut server = Setup::hello().args(&["--reload"]).set("workers = 1").expect("Reload failed").start();
    server.reconfigure("workers = 2", "");
    server.settled(2);
    let good = server.text();
    let mark = server.log.mark();
    server.write_text(&format!("workerz = 3\n{good}"));
    let line = server.log.wait(mark, "Reload failed: ", 1, PATIENCE);
    assert!(line.contains("app.toml:1: workerz: unknown key"), "{line}");
    server.write_text(&good);
    server.log.wait(mark, "Reloaded: ", 1, PATIENCE);

    // In place, as some editors write.
    let mark = server.log.mark();
    fs::write(server.dir().join("app.toml"), good.replace("workers = 2", "workers = 3")).expect("ours");
    server.log.wait(mark, "Setting workers: 2 → 3", 1, PATIENCE);
    server.settled(3);
}

#[test]
fn more_files_are_watched_if_they_are_named() {
    let setup = Setup::hello().set("workers = 1\ndev = true\ndev_watch = [\"pages\", \"list.txt\"]");
    fs::create_dir(setup.dir.path().join("pages")).expect("ours");
    let server = setup.start();
    let reloads = |count: usize, what: &str| {
        eventually(&format!("a reload for {what}"), PATIENCE, || {
            (server.log.count("Reloaded: ") == count).then_some(())
        });
        let line = server.log.since(0).into_iter().rev().find(|line| line.contains("Changed: "));
        assert!(line.as_ref().is_some_and(|line| line.ends_with(what)), "{line:?}");
    };
    server.write_file("list.txt", "one");
    reloads(1, "/list.txt");
    server.write_file("pages/a.html", "a");
    reloads(2, "/pages/a.html");
    fs::create_dir(server.dir().join("pages/deep")).expect("ours");
    server.write_file("pages/deep/b.html", "b");
    reloads(3, "/pages/deep/b.html");
    fs::remove_file(server.dir().join("pages/a.html")).expect("ours");
    reloads(4, "/pages/a.html");
    server.write_file("other.txt", "nobody asked for this one");
    server.write_file("pages/.swap", "nor for this one");
    never("a reload for a file that nobody named", Duration::from_millis(500), || server.log.count("Reloaded: ") > 4);
}

#[test]
fn a_command_is_watched_and_without_dev_nothing_is() {
    for dev in [true, false] {
        let setup = Setup::hello().without("handler").app("command = [\"./service\"]").set("workers = 1");
        setup.dir.install("service", &testapp());
        let server = setup.set(&format!("dev = {dev}")).start();
        let again: &Path = &testapp();
        shell(&server, &format!("cp {} service.new; mv service.new service", again.display()));
        if dev {
            serves(&server, 2);
        } else {
            never("a reload nobody asked for", Duration::from_millis(500), || server.log.count("Changed: ") > 0);
            assert_eq!(server.log.count("Reloader is on"), 0);
        }
    }
}
