//! Names of users and groups, below the root.
//!
//! On a host the system's own lookup answers (it knows LDAP and the like). Below another root its `etc/passwd` and
//! `etc/group` do; a root without them asks the host.

use crate::root::{ManagedPath, Root};
use nix::unistd::{Group, User};

/// Why a name is not an id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Unknown.
    #[error("{kind} `{name}` does not exist on this host; create it in a resource that comes first")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// Looked up.
        name: String,
    },
}

/// A user to run a command as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

/// The id of a user, by name or number.
pub fn uid(root: &Root, name: &str) -> Result<u32, AccountError> {
    if let Some(id) = number(name) {
        return Ok(id);
    }
    match table(root, "/etc/passwd") {
        Some(passwd) => row(&passwd, name).and_then(|f| f.get(2)?.parse().ok()),
        None => User::from_name(name).ok().flatten().map(|u| u.uid.as_raw()),
    }
    .ok_or_else(|| unknown("user", name))
}

/// The id of a group, by name or number.
pub fn gid(root: &Root, name: &str) -> Result<u32, AccountError> {
    if let Some(id) = number(name) {
        return Ok(id);
    }
    match table(root, "/etc/group") {
        Some(group) => row(&group, name).and_then(|f| f.get(2)?.parse().ok()),
        None => Group::from_name(name).ok().flatten().map(|g| g.gid.as_raw()),
    }
    .ok_or_else(|| unknown("group", name))
}

/// A user with group and home, by name or number.
pub fn account(root: &Root, name: &str) -> Result<Account, AccountError> {
    let found = match table(root, "/etc/passwd") {
        Some(passwd) => row(&passwd, name).and_then(|f| {
            Some(Account {
                uid: f.get(2)?.parse().ok()?,
                gid: f.get(3)?.parse().ok()?,
                home: (*f.get(5)?).to_owned(),
            })
        }),
        None => User::from_name(name).ok().flatten().map(|u| Account {
            uid: u.uid.as_raw(),
            gid: u.gid.as_raw(),
            home: u.dir.display().to_string(),
        }),
    };
    found
        .or_else(|| number(name).map(|id| Account { uid: id, gid: id, home: "/".to_owned() }))
        .ok_or_else(|| unknown("user", name))
}

/// Digits are an id; `u32::MAX` means "leave alone" to the kernel and is none.
fn number(name: &str) -> Option<u32> {
    if name.starts_with('+') {
        return None;
    }
    name.parse().ok().filter(|id| *id != u32::MAX)
}

fn table(root: &Root, path: &str) -> Option<String> {
    if root.is_host() {
        return None;
    }
    root.read_text(&ManagedPath::parse(path).ok()?, 4 << 20)
}

fn row<'a>(table: &'a str, name: &str) -> Option<Vec<&'a str>> {
    table.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f.first() == Some(&name))
}

fn unknown(kind: &'static str, name: &str) -> AccountError {
    AccountError::Unknown { kind, name: crate::text::printable(crate::text::bounded(name, 100)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(uid(&root, "root"), Ok(0));
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "deploy:x:1234:99::/home/deploy:/bin/sh\n").unwrap();
        std::fs::write(dir.path().join("etc/group"), "web:x:99:\n").unwrap();
        assert_eq!(uid(&root, "deploy"), Ok(1234));
        assert_eq!(gid(&root, "web"), Ok(99));
        assert_eq!(uid(&root, "1234"), Ok(1234));
        assert_eq!(account(&root, "deploy").unwrap().home, "/home/deploy");
        assert!(uid(&root, "root").is_err(), "not in this root's passwd");
        assert!(uid(&root, "-1").is_err());
        assert!(uid(&root, "4294967295").is_err());
    }
}
