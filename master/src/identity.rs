//! Who the workers are: `user`, `group` and `initgroups` as numbers, found out when the configuration is loaded.

use std::io;

use rustcorn_config::{Origins, Problem, Problems, Settings};
use rustcorn_sys::error::without_number;
use rustcorn_sys::identity::{Account, Identity, group, groups, lacks, number, own, user};

/// The identity that a worker takes on; `None` if it stays the master's.
pub(crate) fn resolve(settings: &Settings, origins: &Origins) -> Result<Option<Identity>, Problems> {
    let wanted = Wanted::find(settings).map_err(|(key, text)| Problem::new(origins.get(key), key, &text))?;
    let Some(Wanted { identity, key }) = wanted else { return Ok(None) };
    match lacks().as_slice() {
        [] => Ok(Some(identity)),
        // As it is, but for groups of its own that it cannot give up.
        _ if (identity.uid, identity.gid) == own() && !settings.initgroups => Ok(None),
        lacking => {
            let value = if key == "user" { &settings.user } else { &settings.group };
            let (uid, lacking) = (own().0, lacking.join(", "));
            let text = format!(
                "workers cannot become {value}: this process (user {uid}) lacks {lacking}; start it as root, or remove the setting"
            );
            Err(Problem::new(origins.get(key), key, &text).into())
        }
    }
}

struct Wanted {
    identity: Identity,
    /// The setting that asks for it.
    key: &'static str,
}

/// A setting and what is wrong with it.
type Complaint = (&'static str, String);

impl Wanted {
    fn find(settings: &Settings) -> Result<Option<Self>, Complaint> {
        let account = (!settings.user.is_empty()).then(|| find_user(&settings.user)).transpose()?;
        let gid = (!settings.group.is_empty()).then(|| find_group(&settings.group)).transpose()?;
        let (uid, gid, key) = match (&account, gid) {
            (None, None) if settings.initgroups => {
                return Err(("initgroups", "there is no user whose groups to take; set user".to_owned()));
            }
            (None, None) => return Ok(None),
            (None, Some(gid)) => (own().0, gid, "group"),
            (Some(Found::Known(account)), gid) => (account.uid, gid.unwrap_or(account.gid), "user"),
            (Some(Found::Number(uid)), Some(gid)) => (*uid, gid, "user"),
            (Some(Found::Number(uid)), None) => {
                let text =
                    format!("user {uid} is not in the system's database, so its group is not known; set group, too");
                return Err(("user", text));
            }
        };
        // The master's own, root's, are never kept.
        let groups = match (settings.initgroups, &account) {
            (false, _) => vec![gid],
            (true, Some(Found::Known(account))) => {
                groups(&account.name, gid).map_err(|error| trouble("user", &error))?
            }
            (true, _) => {
                let text =
                    "user is not in the system's database, so its groups are not known; remove initgroups".to_owned();
                return Err(("initgroups", text));
            }
        };
        Ok(Some(Self { identity: Identity { uid, gid, groups }, key }))
    }
}

enum Found {
    Known(Account),
    /// A number that stands for nobody by name, as containers have it.
    Number(u32),
}

fn find_user(name: &str) -> Result<Found, Complaint> {
    match (user(name).map_err(|error| trouble("user", &error))?, number(name)) {
        (Some(account), _) => Ok(Found::Known(account)),
        (None, Some(uid)) => Ok(Found::Number(uid)),
        (None, None) => {
            Err(("user", format!("there is no user {name:?} on this system; create it, or write a number")))
        }
    }
}

fn find_group(name: &str) -> Result<u32, Complaint> {
    let found = group(name).map_err(|error| trouble("group", &error))?;
    found.ok_or_else(|| ("group", format!("there is no group {name:?} on this system; create it, or write a number")))
}

fn trouble(key: &'static str, error: &io::Error) -> Complaint {
    (key, format!("the system's database cannot be read: {}", without_number(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(user: &str, group: &str, initgroups: bool) -> Settings {
        Settings { user: user.to_owned(), group: group.to_owned(), initgroups, ..Settings::defaults() }
    }

    fn found(user: &str, group: &str, initgroups: bool) -> Result<Option<Identity>, String> {
        let found = Wanted::find(&settings(user, group, initgroups));
        found.map(|wanted| wanted.map(|wanted| wanted.identity)).map_err(|(key, text)| format!("{key}: {text}"))
    }

    fn identity(uid: u32, gid: u32, groups: &[u32]) -> Result<Option<Identity>, String> {
        Ok(Some(Identity { uid, gid, groups: groups.to_vec() }))
    }

    #[test]
    fn a_user_has_its_group_and_no_other_unless_told_so() {
        assert_eq!(found("", "", false), Ok(None));
        assert_eq!(found("root", "", false), identity(0, 0, &[0]));
        assert_eq!(found("root", "12345", false), identity(0, 12345, &[12345]));
        assert_eq!(found("54321", "12345", false), identity(54321, 12345, &[12345]));
        assert_eq!(found("", "12345", false), identity(own().0, 12345, &[12345]));
        let all = found("root", "", true).expect("root exists").expect("somebody").groups;
        assert!(all.contains(&0), "{all:?}");
    }

    #[test]
    fn what_is_not_there_is_told_by_its_setting() {
        let message = |user, group, initgroups| found(user, group, initgroups).expect_err("it is wrong");
        assert!(message("no-such", "", false).starts_with("user: there is no user \"no-such\" on this system"));
        assert!(message("root", "no-such", false).starts_with("group: there is no group \"no-such\" on this system"));
        assert!(message("54321", "", false).starts_with("user: user 54321 is not in the system's database"));
        assert!(message("54321", "1", true).starts_with("initgroups: user is not in"));
        assert!(message("", "1", true).starts_with("initgroups: user is not in"));
        assert!(message("", "", true).starts_with("initgroups: there is no user"));
    }
}
