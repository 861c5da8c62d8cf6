//! The tables of accounts (`/etc/passwd` and the like): lines of fields, read as they stand. Accounts of a directory service
//! are not in them, and are not ours to change.

use super::{Context, ResourceError};
use crate::root::{FsError, ManagedPath, Root};
use nix::errno::Errno;
use std::io::Read;
use std::path::Path;

/// Nobody has a larger one.
const MOST_BYTES: u64 = 16 << 20;

/// A user of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub comment: String,
    pub home: String,
    pub shell: String,
}

/// A group of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// A line of `/etc/shadow`. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Shadow {
    pub name: String,
    pub password: String,
    /// Day since 1970 on which the account expires.
    pub expires: Option<i64>,
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shadow({})", self.name)
    }
}

/// Users of the host. A sandbox without accounts of its own has those of the machine.
pub(super) fn users(context: &Context<'_>) -> Result<Vec<User>, ResourceError> {
    Ok(rows(&table(context, "/etc/passwd")?, |f| {
        Some(User {
            name: (*f.first()?).to_owned(),
            uid: f.get(2)?.parse().ok()?,
            gid: f.get(3)?.parse().ok()?,
            comment: (*f.get(4)?).to_owned(),
            home: (*f.get(5)?).to_owned(),
            shell: (*f.get(6)?).to_owned(),
        })
    }))
}

/// Groups of the host.
pub(super) fn groups(context: &Context<'_>) -> Result<Vec<Group>, ResourceError> {
    Ok(rows(&table(context, "/etc/group")?, |f| {
        Some(Group {
            name: (*f.first()?).to_owned(),
            gid: f.get(2)?.parse().ok()?,
            members: f.get(3)?.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect(),
        })
    }))
}

/// Passwords of the host. Whoever looks at a sandbox may not be allowed to see them, and finds none.
pub(super) fn shadows(context: &Context<'_>) -> Result<Vec<Shadow>, ResourceError> {
    let text = match table(context, "/etc/shadow") {
        Err(ResourceError::Fs(FsError { errno: Errno::EACCES | Errno::EPERM, .. }))
            if !context.root.is_host() =>
        {
            String::new()
        }
        other => other?,
    };
    Ok(rows(&text, |f| {
        Some(Shadow {
            name: (*f.first()?).to_owned(),
            password: (*f.get(1)?).to_owned(),
            expires: f.get(7).and_then(|day| day.parse().ok()),
        })
    }))
}

fn rows<T>(text: &str, read: impl Fn(&[&str]) -> Option<T>) -> Vec<T> {
    text.lines().filter_map(|line| read(&line.split(':').collect::<Vec<_>>())).collect()
}

fn table(context: &Context<'_>, path: &str) -> Result<String, ResourceError> {
    let path = ManagedPath::parse(path)?;
    // Whether it has accounts at all decides, so that its users are not looked for among the machine's groups.
    let own = context.root.is_host() || context.root.follow(&ManagedPath::parse("/etc/passwd")?).is_some();
    if own {
        return read(context.root, &path);
    }
    read(&Root::open(Path::new("/"))?, &path)
}

/// A file as text, whatever bytes are in it; nothing where there is none.
pub(super) fn read(root: &Root, path: &ManagedPath) -> Result<String, ResourceError> {
    let (file, _) = match root.read(path) {
        Err(FsError { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(String::new()),
        other => other?,
    };
    let mut bytes = Vec::new();
    let read = file.take(MOST_BYTES).read_to_end(&mut bytes);
    read.map_err(|e| FsError {
        action: "read",
        path: path.to_string(),
        errno: e.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A name of a user or group that every program of the host takes for one.
pub(super) fn account_name(attribute: &'static str, name: &str) -> Result<String, ResourceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let plain = name.strip_suffix('$').unwrap_or(name);
    let good = plain.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 32
        && plain.chars().all(allowed);
    if good {
        return Ok(name.to_owned());
    }
    Err(ResourceError::Invalid {
        name: attribute,
        why: format!(
            "`{}` is not the name of an account; it begins with a letter or `_`, has letters, digits, `_`, `-` and `.`, and at most 32 of them",
            crate::text::printable(crate::text::bounded(name, 100))
        ),
    })
}
