//! How many CPUs this process may use: the affinity mask (a cpuset is part of it), and the quota of its cgroup.

use std::path::{Path, PathBuf};

/// CPUs that may be used at the same time, at least 1. A quota of one and a half is two: they are not busy all the time, and one
/// process cannot use more than one.
///
/// Not `std::thread::available_parallelism`, which rounds the quota down.
#[must_use]
pub fn usable() -> usize {
    usable_below(Path::new("/"))
}

/// As the files below `root` say.
fn usable_below(root: &Path) -> usize {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let allowed = allowed(&read("proc/self/status")).unwrap_or(usize::MAX);
    let quota = quota(root, &read("proc/self/cgroup"), &read("proc/self/mountinfo")).unwrap_or(usize::MAX);
    match allowed.min(quota) {
        usize::MAX => 1,
        cpus => cpus.max(1),
    }
}

/// proc(5), `Cpus_allowed`: a mask in hexadecimal, with a comma every 32 bits.
fn allowed(status: &str) -> Option<usize> {
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"))?.trim();
    mask.chars().filter(|c| *c != ',').map(|c| Some(c.to_digit(16)?.count_ones() as usize)).sum()
}

/// The smallest quota of this process's cgroup and of those above it that can be seen, rounded up.
fn quota(root: &Path, cgroup: &str, mountinfo: &str) -> Option<usize> {
    // cgroups(7): HIERARCHY:CONTROLLERS:PATH; version 2 is hierarchy 0 without controllers.
    let lines = cgroup.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let limits = lines.filter_map(|(controllers, path)| {
        let version_1 = controllers.split(',').any(|name| name == "cpu");
        if !version_1 && !controllers.is_empty() {
            return None;
        }
        let (mount, folder) = folder(root, mountinfo, version_1, path)?;
        // A limit further up holds for everything below.
        let folders = folder.ancestors().take_while(|folder| folder.starts_with(&mount));
        folders.filter_map(|folder| if version_1 { quota_1(folder) } else { quota_2(folder) }).min()
    });
    limits.min()
}

/// Where the hierarchy is mounted, and where below that the cgroup at `path` is.
fn folder(root: &Path, mountinfo: &str, version_1: bool, path: &str) -> Option<(PathBuf, PathBuf)> {
    mountinfo.lines().find_map(|line| {
        // proc(5): ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS … - TYPE SOURCE SUPEROPTIONS
        let (mount, filesystem) = line.split_once(" - ")?;
        let (mount, filesystem): (Vec<&str>, Vec<&str>) = (mount.split(' ').collect(), filesystem.split(' ').collect());
        let right = match *filesystem.first()? {
            "cgroup" => version_1 && filesystem.get(2)?.split(',').any(|option| option == "cpu"),
            "cgroup2" => !version_1,
            _ => false,
        };
        if !right {
            return None;
        }
        let mounted = root.join(mount.get(4)?.trim_start_matches('/'));
        // In a container the path is as the host sees it and the mount shows a part of the tree: ROOT is where that part begins.
        let below = path.strip_prefix(mount.get(3)?.trim_end_matches('/')).unwrap_or_default();
        let folder = mounted.join(below.trim_start_matches('/'));
        Some((mounted.clone(), if folder.is_dir() { folder } else { mounted }))
    })
}

/// `cpu.max`: quota or `max`, and period, in microseconds.
fn quota_2(folder: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(folder.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    rounded_up(quota, period)
}

/// Version 1: a file each; -1 is none.
fn quota_1(folder: &Path) -> Option<usize> {
    let read = |name| std::fs::read_to_string(folder.join(name)).ok();
    rounded_up(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim())
}

fn rounded_up(quota: &str, period: &str) -> Option<usize> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| usize::try_from(quota.div_ceil(period)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine as its files show it.
    struct Machine(PathBuf);

    impl Machine {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("rustcorn-cpus-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().expect("it has a folder"))
                    .expect("the temporary directory is writable");
                std::fs::write(path, text).expect("it is ours");
            }
            Self(root)
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0); // the system cleans what is left
        }
    }

    const EIGHT: (&str, &str) =
        ("proc/self/status", "Name:\trustcorn\nCpus_allowed:\t00000000,000000ff\nCpus_allowed_list:\t0-7\n");
    const V2: (&str, &str) =
        ("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");

    fn cpus(name: &str, files: &[(&str, &str)]) -> usize {
        usable_below(&Machine::new(name, files).0)
    }

    #[test]
    fn without_a_quota_the_mask_counts() {
        assert_eq!(cpus("mask", &[EIGHT]), 8);
        assert_eq!(cpus("nothing", &[]), 1);
        let cpuset = ("proc/self/status", "Cpus_allowed:\t8001,00000005\n");
        assert_eq!(cpus("cpuset", &[cpuset]), 4);
        let max = ("sys/fs/cgroup/pod/cpu.max", "max 100000\n");
        assert_eq!(cpus("max", &[EIGHT, V2, ("proc/self/cgroup", "0::/pod\n"), max]), 8);
    }

    #[test]
    fn a_quota_of_version_2_is_rounded_up_and_inherited() {
        let of = |name: &str, cgroup: &str, pod: &str, container: &str| {
            let files = [
                EIGHT,
                V2,
                ("proc/self/cgroup", cgroup),
                ("sys/fs/cgroup/pod/cpu.max", pod),
                ("sys/fs/cgroup/pod/c/cpu.max", container),
            ];
            cpus(name, &files)
        };
        assert_eq!(of("half", "0::/pod/c\n", "max 100000\n", "50000 100000\n"), 1);
        assert_eq!(of("more", "0::/pod/c\n", "max 100000\n", "150000 100000\n"), 2);
        assert_eq!(of("even", "0::/pod/c\n", "max 100000\n", "200000 100000\n"), 2);
        assert_eq!(of("above", "0::/pod/c\n", "250000 100000\n", "max 100000\n"), 3);
        assert_eq!(of("beyond", "0::/pod/c\n", "max 100000\n", "6400000 100000\n"), 8);
        // A cgroup namespace: the root of what is mounted is our own.
        let own = [EIGHT, V2, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "120000 100000\n")];
        assert_eq!(cpus("namespace", &own), 2);
    }

    #[test]
    fn a_quota_of_version_1_too() {
        let files = |quota| {
            [
                EIGHT,
                ("proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"),
                (
                    "proc/self/mountinfo",
                    "33 32 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                     34 32 0:31 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
                ),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", quota),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ]
        };
        assert_eq!(cpus("v1", &files("330000\n")), 4);
        assert_eq!(cpus("v1-none", &files("-1\n")), 8);
    }

    #[test]
    fn this_machine_has_some() {
        let std = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let ours = usable();
        assert!(ours == std || ours == std + 1, "{ours} beside {std}: only the rounding may differ");
    }
}
