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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory() {
        let bytes = resident(Pid::this()).expect("/proc is mounted");
        assert!((100 * 1024..1 << 32).contains(&bytes), "{bytes}");
        assert_eq!(resident(Pid::from_raw(i32::MAX).expect("positive")), None);
    }
}
