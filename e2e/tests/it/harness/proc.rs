//! Processes as /proc shows them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The living children of a process: no zombies.
pub(crate) fn children(pid: u32) -> BTreeSet<u32> {
    all_children(pid).into_iter().filter(|pid| state(*pid).is_some_and(|state| state != 'Z')).collect()
}

/// Children that have ended and were not reaped.
pub(crate) fn zombies(pid: u32) -> usize {
    all_children(pid).into_iter().filter(|pid| state(*pid) == Some('Z')).count()
}

fn all_children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// `R`, `S`, `Z` and so on; none for a process that is not there.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether there is such a process and it has not ended.
pub(crate) fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The file behind a descriptor of a process.
pub(crate) fn file(pid: u32, number: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()
}

/// Memory in use, in KiB.
pub(crate) fn resident(pid: u32) -> u64 {
    field(pid, "VmRSS:")
}

/// Threads of a process.
pub(crate) fn threads(pid: u32) -> u64 {
    field(pid, "Threads:")
}

fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Sends a signal to a process that was not reaped yet, so that the number is still its own.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("process ids are small"));
    assert!(pid.as_raw() > 1, "{pid} is not ours");
    kill(pid, signal).expect("the process is ours");
}

/// The first word of the command line: what ps(1) shows.
pub(crate) fn title(pid: u32) -> String {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split('\0').next().unwrap_or_default().to_owned()
}

/// User, group and supplementary groups of a process: `1000`, `1000`, `1000 27`. Real, effective and saved ids are the same.
pub(crate) fn identity(pid: u32) -> (String, String, String) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let words = |name: &str| -> Vec<String> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_ascii_whitespace().map(str::to_owned).collect()
    };
    let one = |name: &str| {
        let mut ids = words(name);
        ids.dedup();
        assert_eq!(ids.len(), 1, "{name} of {pid}: {ids:?}");
        ids.remove(0)
    };
    (one("Uid:"), one("Gid:"), words("Groups:").join(" "))
}

/// Where a link of a process points to: `cwd`, `fd/2`.
pub(crate) fn link(pid: u32, name: &str) -> std::path::PathBuf {
    fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

/// The mask of a process, as octal digits.
pub(crate) fn umask(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap_or_default().trim().to_owned()
}

/// Whether the tests are run by root; says what is left out if not.
pub(crate) fn is_root_or_says(what: &str) -> bool {
    let root = is_root();
    if !root {
        eprintln!("NOT TESTED without root: {what}");
    }
    root
}

/// Whether the tests are run by root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|folder| folder.uid() == 0)
}
