//! What the kernel knows about a process: CPU time, memory, children. See proc(5).

use std::ops::{Add, Sub};
use std::{fs, io};

use crate::Result;

/// CPU time of a process, all its threads added up, and how long they stood in line for a CPU. In nanoseconds.
///
/// From `/proc/PID/task/TID/schedstat`: the scheduler's own account, where `utime` and `stime` of `/proc/PID/stat` count in
/// hundredths of a second. Threads that have ended are not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) running: u64,
    /// Ready to run while something else had the CPU: the measure of a disturbed run.
    pub(crate) waiting: u64,
}

impl CpuTime {
    /// Of some processes together. One that is gone counts as zero.
    pub(crate) fn of(pids: &[u32]) -> Self {
        pids.iter().map(|pid| Self::of_one(*pid)).fold(Self::default(), Add::add)
    }

    fn of_one(pid: u32) -> Self {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Self::default() };
        let texts = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
        texts.filter_map(|text| Self::parse(&text)).fold(Self::default(), Add::add)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace();
        Some(Self { running: fields.next()?.parse().ok()?, waiting: fields.next()?.parse().ok()? })
    }
}

impl Add for CpuTime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { running: self.running + other.running, waiting: self.waiting + other.waiting }
    }
}

impl Sub for CpuTime {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self {
            running: self.running.saturating_sub(earlier.running),
            waiting: self.waiting.saturating_sub(earlier.waiting),
        }
    }
}

/// What the CPUs of the machine did so far, in ticks: with a virtual machine, the host may have taken some of their time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Machine {
    all: u64,
    stolen: u64,
}

impl Machine {
    pub(crate) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").map_err(|error| format!("cannot read /proc/stat: {error}"))?;
        Ok(Self::parse(&text))
    }

    /// `cpu  USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL GUEST GUEST_NICE`; guests are within user and nice.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_ascii_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// Share of all CPU time since `earlier` that the host took, in percent.
    pub(crate) fn stolen_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        100.0 * self.stolen.saturating_sub(earlier.stolen) as f64 / all as f64
    }
}

/// Children of `parent`, oldest first as far as pids tell.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut children: Vec<u32> = pids.filter(|pid| parent_of(*pid) == Some(parent)).collect();
    children.sort_unstable();
    children
}

/// Who traces a process.
pub(crate) fn tracer_of(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse().ok())
}

/// `None` also for a zombie: it is a child in name only.
fn parent_of(pid: u32) -> Option<u32> {
    parse_parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `PID (NAME) STATE PPID …`, where the name may hold anything, `)` included.
fn parse_parent(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" { None } else { fields.next()?.parse().ok() }
}

/// Sockets that a process has open.
pub(crate) fn sockets(pid: u32) -> usize {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let links = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// Memory of a process, in KiB, with shared pages divided among those who share them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    /// Of it: heap, stacks, written data.
    pub(crate) anonymous: u64,
    /// Of it: pages of programs and libraries.
    pub(crate) file: u64,
    /// Of it: shared memory.
    pub(crate) shared: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
        };
        Self { total: field("Pss"), anonymous: field("Pss_Anon"), file: field("Pss_File"), shared: field("Pss_Shmem") }
    }
}

/// Where the figures come from, in one line.
pub(crate) fn machine() -> io::Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("{cpus} CPUs ({}), Linux {}", model.unwrap_or("unknown"), kernel.trim()))
}

#[cfg(test)]
mod tests;
