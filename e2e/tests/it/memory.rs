//! Who killed a worker: the kernel for its memory, or somebody else.
//!
//! Needs a memory cgroup with a limit, and so root and a cgroup file system that can be written to. Where there is none the test
//! says so on standard error, past the capture of test output, and proves nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::harness::binaries;
use crate::harness::client::Failure;
use crate::harness::{PATIENCE, Setup, Sig, eventually, get, not_tested, proc};

const MIB: u64 = 1 << 20;

/// A memory cgroup of our own, gone when dropped.
struct Group(PathBuf);

impl Group {
    fn with_limit(bytes: u64) -> Result<Self, String> {
        let top = Path::new("/sys/fs/cgroup");
        let two = top.join("cgroup.controllers").exists();
        let parent = if two { top.to_owned() } else { top.join("memory") };
        if !proc::is_root() {
            return Err("only root may make one".to_owned());
        }
        let group = Self(parent.join(format!("rustcorn-e2e-{}", std::process::id())));
        let why = |error: std::io::Error| format!("{}: {error}", group.0.display());
        if !parent.join("cgroup.procs").exists() {
            return Err(format!("{} is no cgroup", parent.display()));
        }
        if let Err(error) = fs::create_dir(&group.0) {
            let why = why(error);
            std::mem::forget(group); // there is nothing to remove
            return Err(why);
        }
        let limit = group.0.join(if two { "memory.max" } else { "memory.limit_in_bytes" });
        fs::write(limit, bytes.to_string()).map_err(why)?;
        if two {
            // Where there is swap, it would only take longer. Without swap there is no such file.
            let _ = fs::write(group.0.join("memory.swap.max"), "0");
        }
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let removed = eventually("the group is empty", PATIENCE, || match fs::remove_dir(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => None,
            removed => Some(removed),
        });
        if let (Err(error), false) = (removed, std::thread::panicking()) {
            panic!("{}: {error}", self.0.display());
        }
    }
}

#[test]
fn the_log_knows_whether_the_kernel_killed_a_worker_for_its_memory() {
    let group = match Group::with_limit(160 * MIB) {
        Ok(group) => group,
        Err(why) => {
            return not_tested(&format!("a worker that the kernel kills for its memory: no memory cgroup: {why}"));
        }
    };
    // Pages of the program count where they are read first. In the group they would be thrown out and read again, for
    // seconds, before the kernel gives up.
    fs::read(binaries::testapp()).expect("it was built");
    let enter = format!("echo $$ >{}/cgroup.procs && exec \"$0\" \"$@\"", group.0.display());
    let setup = Setup::testapp().set("workers = 2\nadmin_bind = \"127.0.0.1:0\"").wrapped(&["sh", "-c", &enter]);
    let server = setup.expect("was sent SIGKILL!").start();
    let admin = server.wait_for_line("Admin listening at: ");
    let admin: SocketAddr =
        admin.rsplit("http://").next().and_then(|address| address.parse().ok()).expect("its address");
    let restarts = |cause: &str| {
        let line = format!("rustcorn_worker_restarts_total{{cause=\"{cause}\"}} ");
        let metrics = get(admin, "/metrics").expect("it answers").body;
        metrics.lines().find_map(|text| text.strip_prefix(&line)?.parse::<u32>().ok()).expect("each cause is there")
    };

    for number in 1..=2 {
        let answer: Result<_, Failure> = server.get("/eat");
        assert!(answer.is_err(), "nobody is left to answer");
        let line = server.log.wait(0, "The kernel killed it", number, PATIENCE);
        let victim = server.journal("eat")[number - 1];
        let words = "was sent SIGKILL! The kernel killed it: out of memory (memory limit of the cgroup: 160 MiB)";
        assert!(line.ends_with(&format!("[ERROR] Worker (pid:{victim}) {words}")), "{line}");
        let workers = eventually("it is replaced", PATIENCE, || {
            let workers = server.workers();
            (workers.len() == 3 && !workers.contains(&victim)).then_some(workers)
        });
        // At once after it: the next is not taken for another such kill.
        let ready = |pid: &u32| server.log.count(&format!("Worker ready (pid: {pid},")) > 0;
        let killed = eventually("one is ready", PATIENCE, || workers.iter().copied().find(ready));
        proc::signal(killed, Sig::SIGKILL);
        server.wait_for_line(&format!(
            "[ERROR] Worker (pid:{killed}) was sent SIGKILL! Somebody sent it, not the kernel"
        ));
        eventually("both are ready", PATIENCE, || {
            let workers = server.workers();
            (workers.len() == 3 && workers.iter().filter(|pid| ready(pid)).count() == 2).then_some(())
        });
    }
    eventually("the counters know", PATIENCE, || ((restarts("oom"), restarts("killed")) == (2, 2)).then_some(()));
}
