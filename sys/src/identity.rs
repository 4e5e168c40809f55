//! Users and groups: who a process shall be, found out in the master, where names can be looked up and mistakes be told.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

/// A user of the system's database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Number of its own group.
    pub gid: u32,
}

/// Who a process becomes before it runs a program: applied by the child, see [`crate::spawn`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Real, effective and saved user.
    pub uid: u32,
    /// Real, effective and saved group.
    pub gid: u32,
    /// All supplementary groups.
    pub groups: Vec<u32>,
}

/// Looks a user up by name, or by number if there is none of this name. `None`: there is none.
pub fn user(name: &str) -> io::Result<Option<Account>> {
    let found = match User::from_name(name)? {
        None => number(name).map_or(Ok(None), |uid| User::from_uid(Uid::from_raw(uid)))?,
        found => found,
    };
    Ok(found.map(|user| Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
}

/// The number of a group, by name or number; a number needs no entry. `None`: there is none.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()).or_else(|| number(name)))
}

/// A user or group that is written as a number. The highest one means "leave it as it is" to the system, so it is none.
#[must_use]
pub fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|number| *number != u32::MAX)
}

/// All groups of a user, with `gid` as its own.
pub fn groups(user: &str, gid: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(user).map_err(io::Error::other)?;
    Ok(getgrouplist(&name, Gid::from_raw(gid))?.into_iter().map(Gid::as_raw).collect())
}

/// Effective user and group of this process.
#[must_use]
pub fn own() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

/// Capabilities that this process lacks to start others under another identity and to signal them (capabilities(7)). All of
/// root's may be taken away, as containers do.
#[must_use]
pub fn lacks() -> Vec<&'static str> {
    const NEEDED: [(u32, &str); 3] = [(5, "CAP_KILL"), (6, "CAP_SETGID"), (7, "CAP_SETUID")];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    // Without /proc: what is usual.
    let usual = if geteuid().is_root() { u64::MAX } else { 0 };
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(usual);
    NEEDED.iter().filter(|(bit, _)| mask & (1 << bit) == 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = user("root").expect("the database reads").expect("everybody has root");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(user("0").expect("the database reads"), Some(root));
        assert_eq!(user("no-such-user-here").expect("the database reads"), None);
        assert_eq!(group("root").expect("the database reads"), Some(0));
        assert_eq!(group("54321").expect("the database reads"), Some(54321));
        assert_eq!(group("no-such-group-here").expect("the database reads"), None);
        assert!(groups("root", 0).expect("the database reads").contains(&0));
    }

    #[test]
    fn a_number_is_digits_alone() {
        assert_eq!((number("0"), number("65534")), (Some(0), Some(65534)));
        for text in ["", "-1", "+1", "1x", "4294967295", "4294967296"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
