//! A master that lives through many reloads and deaths does not grow.

use crate::harness::{PATIENCE, Server, Setup, Sig, eventually, full, proc};

/// Memory that may come and go, in KiB.
const SLACK: u64 = 1024;

fn reload(server: &Server) {
    let before = server.settled(2);
    let line = server.reload();
    assert!(line.contains("Reloaded"), "{line}");
    eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
    server.settled(2);
}

fn kill(server: &Server) {
    let before = server.settled(2);
    let victim = *before.last().expect("two");
    proc::signal(victim, Sig::SIGKILL);
    eventually("it is reaped", PATIENCE, || (!server.workers().contains(&victim)).then_some(()));
    server.settled(2);
}

#[test]
fn reloads_and_kills_leave_nothing_behind_in_the_master() {
    let (reloads, kills) = if full() { (200, 500) } else { (30, 60) };
    let setup = Setup::hello().set("restart_backoff = 0\nloglevel = \"debug\"").expect("was sent SIGKILL!");
    let server = setup.start();
    let pid = server.pid();
    // Both once before the first look: what is kept for good is there then.
    (0..5).for_each(|_| reload(&server));
    (0..5).for_each(|_| kill(&server));
    let (descriptors, memory) = (proc::descriptors(pid), proc::resident(pid));

    (0..reloads).for_each(|_| reload(&server));
    (0..kills).for_each(|_| kill(&server));

    eventually("no descriptor is left over", PATIENCE, || (proc::descriptors(pid) == descriptors).then_some(()));
    assert_eq!(proc::zombies(pid), 0);
    let after = proc::resident(pid);
    assert!(after < memory + SLACK, "{memory} KiB before, {after} KiB after");
    assert_eq!(server.log.count("keeps dying"), 0, "restart_backoff = 0");
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}
