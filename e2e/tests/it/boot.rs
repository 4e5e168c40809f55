//! A first start that fails says why and ends at once; it does not try for ever.

use crate::harness::{PATIENCE, Setup, eventually};

/// The server ends with this code, and its log has these lines.
#[track_caller]
fn fails(setup: Setup, code: i32, lines: &[&str]) {
    let setup = ["failed to boot", "exited with code", "Shutting down: Master", "Reason: "]
        .iter()
        .fold(setup, |setup, line| setup.expect(line));
    let mut server = setup.launch();
    assert_eq!(server.wait_for_exit(PATIENCE), code);
    server.wait_for_silence(PATIENCE);
    for line in lines {
        assert!(server.log.find(0, line).is_some(), "no {line:?}");
    }
    assert!(server.log.count("Booting worker") <= 2, "nobody tried again");
}

#[test]
fn an_application_that_refuses_to_load_stops_the_first_start_with_4() {
    let lines = [
        "[ERROR] Worker 0 failed to boot: no database at db:5432",
        "[ERROR] Shutting down: Master",
        "[ERROR] Reason: App failed to load.",
    ];
    fails(Setup::testapp().set("workers = 1").app("fail_boot = \"no database at db:5432\""), 4, &lines);
}

#[test]
fn an_unknown_key_of_the_application_stops_the_first_start_with_4() {
    let lines = ["app.toml:7: app.slwo_ms: unknown key; known: ", "did you mean \"slow_ms\"?"];
    fails(Setup::testapp().set("workers = 1").app("slwo_ms = 1"), 4, &lines);
}

#[test]
fn an_application_that_panics_while_it_loads_stops_the_first_start_with_4() {
    let setup = Setup::testapp().app("panic_boot = true").expect("panicked");
    fails(setup, 4, &["failed to boot: the application panicked: panic_boot is set", "Reason: App failed to load."]);
}

#[test]
fn a_worker_that_dies_before_it_is_ready_stops_the_first_start_with_3() {
    let lines = ["failed to boot: it exited with code 9 before it was ready", "[ERROR] Reason: Worker failed to boot."];
    fails(Setup::testapp().app("exit_boot = 9"), 3, &lines);
}

#[test]
fn a_worker_that_never_gets_ready_stops_the_first_start_with_3() {
    let setup =
        Setup::testapp().set("boot_timeout = 0.3").app("hang_boot = true").expect("was not ready within boot_timeout");
    fails(setup, 3, &["was not ready within boot_timeout", "Reason: Worker failed to boot."]);
}

#[test]
fn a_program_that_cannot_be_executed_stops_the_first_start_with_3() {
    let setup = Setup::hello().without("handler").app("command = [\"./service\"]");
    setup.dir.write("script", "#!/no/such/interpreter\n");
    setup.dir.install("service", &setup.dir.path().join("script"));
    fails(setup, 3, &["failed to boot: the program cannot be executed: No such file or directory"]);
}

#[test]
fn a_slow_boot_is_waited_for() {
    let server = Setup::testapp().app("boot_ms = 2500").launch();
    server.log.wait(0, "Booting worker", 2, PATIENCE);
    assert_eq!(server.log.count("Worker ready"), 0);
    // Meanwhile the kernel queues connections: the sockets are there from the beginning.
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
    eventually("both are ready", PATIENCE, || (server.log.count("Worker ready") == 2).then_some(()));
}
