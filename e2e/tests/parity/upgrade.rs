//! USR2: a new master beside the old one.

use crate::harness::{Load, PATIENCE, Sig, eventually, proc};
use crate::subject::{Gunicorn, Rustcorn, Setup, differs, who};

#[test]
fn usr2_starts_a_new_master_and_term_to_the_old_one_promotes_it() {
    let mut server = Setup::new().start();
    let (address, old) = (server.address(), server.settled(2));
    let load = Load::start(address, "/", 1);
    let heir = server.upgrade();
    assert_eq!(server.address(), address, "the same socket");
    assert_eq!(server.settled(2), old, "both serve");
    let mark = server.log.mark();
    server.signal(Sig::SIGTERM);
    server.follow(heir);
    assert_eq!(server.wait_for_line_from(mark, "Master has been promoted.").pid, heir);
    let new = server.settled(2);
    assert!(new.is_disjoint(&old) && new.contains(&server.answering()));
    let answered = load.answered();
    eventually("the load goes on", PATIENCE, || (load.answered() > answered + 50).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally:?}");
}

#[test]
fn term_to_the_new_master_goes_back_and_usr2_works_again() {
    let mut server = Setup::new().start();
    let old = server.settled(2);
    let heir = server.upgrade();
    proc::signal(heir, Sig::SIGTERM);
    eventually("the new master leaves", PATIENCE, || (!proc::lives(heir)).then_some(()));
    assert_eq!(server.settled(2), old);
    assert!(old.contains(&server.answering()));
    let next = server.upgrade();
    assert_ne!(next, heir);
    server.signal(Sig::SIGTERM);
    server.follow(next);
}

#[test]
fn a_second_usr2_is_refused_by_the_old_and_by_the_new() {
    let mut server = Setup::new().start();
    let heir = server.upgrade();
    server.signal(Sig::SIGUSR2);
    let line = server.wait_for_line("USR2 signal ignored. Child exists.");
    assert_eq!((line.level.as_str(), line.pid), ("WARNING", server.pid()));
    proc::signal(heir, Sig::SIGUSR2);
    let line = server.wait_for_line("USR2 signal ignored. Parent exists.");
    assert_eq!((line.level.as_str(), line.pid), ("WARNING", heir));
    server.signal(Sig::SIGTERM);
    server.follow(heir);
}

#[test]
fn a_new_master_that_cannot_serve_leaves_the_old_one_as_it_was() {
    let mut server = Setup::new().start();
    let before = server.settled(2);
    for app in [false, true] {
        if app {
            server.reconfigure("", "fail_boot = \"no database\"");
        } else {
            server.spoil("workers = = 3");
        }
        let mark = server.log.mark();
        server.signal(Sig::SIGUSR2);
        server.wait_for_line_from(mark, "Handling signal: usr2");
        match differs("upgrade-failure-told") {
            // The new master says why it ends, and nobody says what that means.
            Gunicorn => eventually("it has come and gone", PATIENCE, || {
                let said = server.log.find(mark, if app { "exited with code 3." } else { "SyntaxError" });
                (said.is_some() && proc::children(server.pid()) == before).then_some(())
            }),
            Rustcorn => {
                let line = server.wait_for_line_from(mark, "Upgrade failed: ");
                assert!(line.text.ends_with("this master goes on serving, nothing was changed"), "{line:?}");
                eventually("it is gone", PATIENCE, || (proc::children(server.pid()) == before).then_some(()));
            }
        }
        assert_eq!(server.settled(2), before);
        assert!(before.contains(&server.answering()));
    }
}

#[test]
fn a_new_program_that_ends_at_once_leaves_the_old_master_as_it_was() {
    let server = Setup::new().installed("server").start();
    let before = server.settled(2);
    let bad = match who() {
        Gunicorn => "raise SystemExit(7)\n", // run by the interpreter
        Rustcorn => "#!/bin/sh\nexit 7\n",
    };
    server.replace_program("server", bad);
    let mark = server.log.mark();
    server.signal(Sig::SIGUSR2);
    match differs("upgrade-failure-told") {
        Gunicorn => drop(server.wait_for_line_from(mark, "Handling signal: c")), // chld, under either of its names
        Rustcorn => {
            let line = server.wait_for_line_from(mark, "Upgrade failed: ");
            assert!(line.text.contains("the new master exited with code 7 before it was ready"), "{line:?}");
        }
    }
    eventually("it is gone", PATIENCE, || (proc::children(server.pid()) == before).then_some(()));
    assert!(before.contains(&server.answering()));
}

#[test]
fn when_the_new_master_says_that_it_serves() {
    let server = Setup::new().start();
    let mark = server.log.mark();
    let heir = server.upgrade();
    match differs("upgrade-told") {
        Gunicorn => assert_eq!(server.log.find(mark, &format!("(pid: {heir})")), None),
        Rustcorn => drop(
            server.wait_for_line_from(mark, &format!("Upgrade: the new master serves beside this one (pid: {heir})")),
        ),
    }
    proc::signal(heir, Sig::SIGINT);
    eventually("the new master leaves", PATIENCE, || (!proc::lives(heir)).then_some(()));
}
