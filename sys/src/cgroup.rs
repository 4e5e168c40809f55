//! What the system tells of memory that ran out (cgroups(7)): how often the kernel has killed for it, and what the limit is.

use std::fs;
use std::path::{Path, PathBuf};

/// How many processes the kernel has killed since some time, for want of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OomKills {
    /// Of this process's memory cgroup, whether it was the cgroup that was full or the machine.
    OfGroup(u64),
    /// On the whole machine; where this process is in no cgroup that counts.
    OfMachine(u64),
}

/// The memory cgroup of this process, as far as it can be seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryGroup(Option<Place>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    version: Version,
    /// Where the hierarchy is mounted.
    top: PathBuf,
    folder: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
}

impl MemoryGroup {
    /// Where it is now. A process that is moved to another cgroup is no longer told the truth.
    #[must_use]
    pub fn of_this_process() -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default(); // without /proc there is no place
        Self(place(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo")))
    }

    /// The count so far; `None` where nobody counts. The kernel counts before it kills, so whoever sees a process dead sees it
    /// counted.
    #[must_use]
    pub fn oom_kills(&self) -> Option<OomKills> {
        let count = |file: &Path| number_after(&fs::read_to_string(file).ok()?, "oom_kill");
        let of_group = self.0.as_ref().and_then(|place| {
            let file = match place.version {
                Version::One => "memory.oom_control",
                Version::Two => "memory.events", // the root has none
            };
            count(&place.folder.join(file))
        });
        of_group.map(OomKills::OfGroup).or_else(|| count(Path::new("/proc/vmstat")).map(OomKills::OfMachine))
    }

    /// The least limit that holds for this process, in bytes; `None` if there is none.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        let Place { version, top, folder } = self.0.as_ref()?;
        match version {
            Version::One => {
                let stat = fs::read_to_string(folder.join("memory.stat")).ok()?;
                // Without a limit it is the largest number of whole pages.
                number_after(&stat, "hierarchical_memory_limit").filter(|bytes| *bytes < 1 << 60)
            }
            Version::Two => {
                let groups = folder.ancestors().take_while(|group| group.starts_with(top));
                let limit = |group: &Path| fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok();
                groups.filter_map(limit).min()
            }
        }
    }
}

/// The number behind a word that begins a line.
fn number_after(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

/// From `/proc/self/cgroup` and `/proc/self/mountinfo` (proc(5)).
fn place(groups: &str, mounts: &str) -> Option<Place> {
    // `4:memory:/path` of version 1 goes first: where it is there, version 2 has no memory controller. That is `0::/path`.
    let group = |wanted: &dyn Fn(&str, &str) -> bool| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            wanted(number, controllers).then_some(path)
        })
    };
    let one = group(&|_, controllers| controllers.split(',').any(|name| name == "memory"));
    let (version, path) = match one {
        Some(path) => (Version::One, path),
        None => (Version::Two, group(&|number, controllers| number == "0" && controllers.is_empty())?),
    };
    mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let (mut head, mut tail) = (head.split(' ').skip(3), tail.split(' '));
        let (root, top) = (unescaped(head.next()?), PathBuf::from(unescaped(head.next()?)));
        let (kind, options) = (tail.next()?, tail.nth(1)?);
        let fits = match version {
            Version::One => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
            Version::Two => kind == "cgroup2",
        };
        // In a container the mount may begin at the very group, under the name that it has outside.
        let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
        fits.then(|| Place { version, folder: top.join(below), top })
    })
}

/// Blanks in paths are octal there.
fn unescaped(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: Version, top: &str, folder: &str) -> Option<Place> {
        Some(Place { version, top: top.into(), folder: folder.into() })
    }

    const TWO: &str = "31 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const ONE: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                       35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                       41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_group_is_found_in_both_versions_and_in_containers() {
        let unit = "0::/system.slice/shop.service\n";
        let folder = "/sys/fs/cgroup/system.slice/shop.service";
        assert_eq!(place(unit, TWO), at(Version::Two, "/sys/fs/cgroup", folder));
        // With a namespace of its own a container sees itself as the root; without, the mount begins where it is.
        assert_eq!(place("0::/\n", TWO), at(Version::Two, "/sys/fs/cgroup", "/sys/fs/cgroup"));
        let bound = "31 24 0:26 /docker/0a1b /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(place("0::/docker/0a1b\n", bound), at(Version::Two, "/sys/fs/cgroup", "/sys/fs/cgroup"));
        assert_eq!(place("0::/docker/0a1b/x\n", bound), at(Version::Two, "/sys/fs/cgroup", "/sys/fs/cgroup/x"));
        assert_eq!(place("0::/elsewhere\n", bound), at(Version::Two, "/sys/fs/cgroup", "/sys/fs/cgroup"));

        let groups = "9:name=systemd:/\n4:cpuset,memory:/pods/a:b\n1:cpu:/other\n0::/\n";
        assert_eq!(place(groups, ONE), at(Version::One, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/pods/a:b"));
        let blank = "35 31 0:32 / /mnt/a\\040b rw - cgroup cgroup rw,memory\n";
        assert_eq!(place("4:memory:/x\n", blank), at(Version::One, "/mnt/a b", "/mnt/a b/x"));
        for (groups, mounts) in [("", TWO), ("0::/\n", ""), ("4:memory:/\n", TWO), ("nonsense\n", "nonsense\n")] {
            assert_eq!(place(groups, mounts), None, "{groups:?}");
        }
    }

    #[test]
    fn the_count_is_the_line_of_that_name() {
        let events = "low 0\nhigh 0\nmax 137\noom 9\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(number_after(events, "oom_kill"), Some(3));
        assert_eq!(number_after("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "oom_kill"), Some(2));
        assert_eq!(number_after("oom_kill_disable 0\nunder_oom 0\n", "oom_kill"), None, "before Linux 4.13");
    }

    #[test]
    fn limits_are_the_least_on_the_way_up() {
        let top = std::env::temp_dir().join(format!("rustcorn-cgroup-{}", std::process::id()));
        let folder = top.join("slice/unit");
        fs::create_dir_all(&folder).unwrap();
        let group = |version| MemoryGroup(Some(Place { version, top: top.clone(), folder: folder.clone() }));
        assert_eq!(group(Version::Two).limit(), None);
        fs::write(folder.join("memory.max"), "max\n").unwrap();
        assert_eq!(group(Version::Two).limit(), None);
        fs::write(top.join("slice/memory.max"), "536870912\n").unwrap();
        assert_eq!(group(Version::Two).limit(), Some(512 << 20));
        fs::write(folder.join("memory.max"), "268435456\n").unwrap();
        assert_eq!(group(Version::Two).limit(), Some(256 << 20));
        fs::write(folder.join("memory.events"), "oom 1\noom_kill 1\n").unwrap();
        assert_eq!(group(Version::Two).oom_kills(), Some(OomKills::OfGroup(1)));

        fs::write(folder.join("memory.stat"), "cache 0\nhierarchical_memory_limit 67108864\n").unwrap();
        assert_eq!(group(Version::One).limit(), Some(64 << 20));
        fs::write(folder.join("memory.stat"), "hierarchical_memory_limit 9223372036854771712\n").unwrap();
        assert_eq!(group(Version::One).limit(), None);
        assert!(!matches!(group(Version::One).oom_kills(), Some(OomKills::OfGroup(_))), "there is no such file");
        fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn this_process_can_ask() {
        // Whatever the machine has: what it counts does not go back.
        let group = MemoryGroup::of_this_process();
        let count = || match group.oom_kills() {
            Some(OomKills::OfGroup(count) | OomKills::OfMachine(count)) => count,
            None => 0,
        };
        let before = count();
        assert!(count() >= before);
    }
}
