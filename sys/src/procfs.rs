//! What proc(5) tells of a process.

use crate::Pid;

/// Memory that the process has in RAM, in bytes (proc(5), `VmRSS`); pages shared with siblings count for each of them. `None`
/// if it is gone or not ours to look at.
#[must_use]
pub fn resident(pid: Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

/// When the process started, in seconds since 1970 by today's reckoning; `None` if there is no such process. (proc(5): a process
/// that has ended and was not reaped yet is one that is gone.)
#[must_use]
pub fn started(pid: Pid) -> Option<i64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    let ticks: i64 = fields.get(22 - 3)?.parse().ok()?;
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(boot + ticks / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory() {
        let bytes = resident(Pid::this()).expect("/proc is mounted");
        assert!((100 * 1024..1 << 32).contains(&bytes), "{bytes}");
        assert_eq!(resident(Pid::from_raw(i32::MAX).expect("positive")), None);
    }

    #[test]
    fn this_process_has_started_a_short_time_ago() {
        let now = std::fs::metadata("/proc/self").expect("/proc is mounted");
        let now = std::os::unix::fs::MetadataExt::mtime(&now);
        let since = started(Pid::this()).expect("/proc is mounted");
        assert!((now - 3600..=now + 2).contains(&since), "{since} {now}");
        assert_eq!(started(Pid::from_raw(i32::MAX).expect("positive")), None);
    }
}
