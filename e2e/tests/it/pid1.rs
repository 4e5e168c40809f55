//! The master as process 1 of a container.
//!
//! Needs a process namespace: root always may have one; for others it depends on the system, and where it is forbidden the test
//! says so and proves nothing.

use std::process::Command;

use crate::harness::{PATIENCE, Setup, Sig, proc};

/// The words that run a program as process 1, if that is possible here.
fn wrapper() -> Option<Vec<&'static str>> {
    let root = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"].to_vec();
    if proc::is_root() {
        return Some(root);
    }
    let words = [&["unshare", "--user", "--map-root-user"], &root[1..]].concat();
    let allowed = Command::new(words[0]).args(&words[1..]).arg("true").output();
    let refusal = match allowed {
        Ok(output) if output.status.success() => return Some(words),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("NOT TESTED: no process namespace without root here: {refusal}");
    None
}

#[test]
fn as_process_1_the_master_reaps_orphans_and_drains_on_term() {
    let Some(words) = wrapper() else { return };
    let mut server = Setup::testapp().app("slow_ms = 700").wrapped(&words).start();
    server.master_is_child_of_child();
    assert!(server.log.find(0, "] [1] [INFO] Starting rustcorn").is_some());
    let workers = server.workers();
    assert_eq!(workers.len(), 2);

    assert_eq!(server.get("/orphan").expect("answered").body, "0");
    server.wait_for_line("[1] [DEBUG] Reaped unknown child process");
    assert_eq!(proc::zombies(server.pid()), 0);
    assert_eq!(server.workers(), workers, "the orphan ended with 3, which is none of our business");

    let mut slow = server.connect();
    slow.send("GET", "/slow", "", "").expect("sent");
    server.wait_for_journal("start", 1);
    server.signal(Sig::SIGTERM);
    assert_eq!(slow.receive(false).map(|response| response.status), Ok(200));
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
}
