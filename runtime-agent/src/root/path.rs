//! Paths of policy.

/// Why a path of policy is not one the agent touches.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Relative.
    #[error("path `{0}` is not absolute")]
    NotAbsolute(String),
    /// `..`, `.` or an empty step.
    #[error("path `{0}` has an empty, `.` or `..` step; write it plainly")]
    NotPlain(String),
    /// A NUL.
    #[error("path `{0}` holds a NUL character")]
    Nul(String),
    /// The root itself.
    #[error("path `/` is not managed")]
    Root,
    /// Beyond what the kernel takes.
    #[error("path of {0} bytes is too long")]
    TooLong(usize),
}

/// An absolute path in plain form, without its leading slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManagedPath {
    pub(super) parent: String,
    pub(super) name: String,
}

impl ManagedPath {
    /// Checks a path of policy. One trailing slash is allowed.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let shown = || crate::text::printable(crate::text::bounded(text, 200));
        if text.contains('\0') {
            return Err(PathError::Nul(shown()));
        }
        if text.len() > 4095 {
            return Err(PathError::TooLong(text.len()));
        }
        let Some(rest) = text.strip_prefix('/') else { return Err(PathError::NotAbsolute(shown())) };
        if rest.is_empty() {
            return Err(PathError::Root);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.split('/').any(|step| matches!(step, "" | "." | "..")) {
            return Err(PathError::NotPlain(shown()));
        }
        let (parent, name) = rest.rsplit_once('/').unwrap_or((".", rest));
        Ok(ManagedPath { parent: parent.to_owned(), name: name.to_owned() })
    }

    /// The directory it is in, below the root; `.` for the root itself.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// Its last name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directories on the way to it, from the root's own on, each as a path of its own.
    pub fn ancestors(&self) -> impl Iterator<Item = ManagedPath> + '_ {
        let below = if self.parent == "." { "" } else { self.parent.as_str() };
        let ends =
            below.match_indices('/').map(|(at, _)| at).chain((!below.is_empty()).then_some(below.len()));
        ends.filter_map(|end| {
            let whole = below.get(..end)?;
            let (parent, name) = whole.rsplit_once('/').unwrap_or((".", whole));
            Some(ManagedPath { parent: parent.to_owned(), name: name.to_owned() })
        })
    }
}

impl std::fmt::Display for ManagedPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.parent != "." {
            write!(f, "/{}", self.parent)?;
        }
        write!(f, "/{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_080_only_plain_absolute_paths() {
        for (text, error) in [
            ("etc/motd", PathError::NotAbsolute("etc/motd".into())),
            ("", PathError::NotAbsolute("".into())),
            ("/", PathError::Root),
            ("/etc/../x", PathError::NotPlain("/etc/../x".into())),
            ("/..", PathError::NotPlain("/..".into())),
            ("/etc//x", PathError::NotPlain("/etc//x".into())),
            ("//", PathError::NotPlain("//".into())),
            ("/etc/./x", PathError::NotPlain("/etc/./x".into())),
            ("/etc/x\0y", PathError::Nul("/etc/x\\u{0}y".into())),
        ] {
            assert_eq!(ManagedPath::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(shown("/etc/motd"), "/etc/motd");
        assert_eq!(shown("/etc/"), "/etc");
        assert_eq!(shown("/a b/-rf"), "/a b/-rf");
    }

    #[test]
    fn the_way_to_a_path() {
        let way = |text: &str| {
            ManagedPath::parse(text).unwrap().ancestors().map(|p| p.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(way("/a"), [""; 0]);
        assert_eq!(way("/a/b"), ["/a"]);
        assert_eq!(way("/a/b/c"), ["/a", "/a/b"]);
    }

    fn shown(path: &str) -> String {
        ManagedPath::parse(path).unwrap().to_string()
    }
}
