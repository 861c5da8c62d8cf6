//! `symlink`: a name that points elsewhere.

use super::{Applied, Context, Desired, Executor, Probe, ResourceError, ownership};
use crate::root::{Kind, Ownership};

/// The type.
pub struct SymlinkType;

const KNOWN: &[&str] = &["target_path", "target", "state", "owner", "group", "force"];

impl Executor for SymlinkType {
    fn key(&self) -> &'static str {
        "target_path"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        desired.only("symlink", KNOWN)?;
        let path = desired.required_path("target_path")?;
        let force = desired.flag("force")?;
        let found = context.root.inspect(&path)?;
        let in_the_way = |kind: Kind, fix| ResourceError::InTheWay {
            path: path.to_string(),
            found: kind.name(),
            wanted: "a symlink",
            fix,
        };
        if desired.word("state", &["present", "absent"])? == "absent" {
            return match found.map(|m| m.kind) {
                None => Ok(Probe::clean()),
                Some(Kind::Symlink) => Ok(Probe::change("removed")),
                Some(other) => Err(in_the_way(other, "remove it, or declare it as what it is")),
            };
        }
        let target = target(desired)?;
        match found {
            None => Ok(Probe::change("created")),
            Some(meta) if meta.kind == Kind::Symlink => {
                let have = context.root.read_link(&path)?;
                let want = link_owner(context, desired)?;
                let mut changes = Vec::new();
                if have != target.as_bytes() {
                    let have = crate::text::printable(&String::from_utf8_lossy(&have));
                    changes.push(format!("target {have} -> {}", crate::text::printable(target)));
                }
                changes.extend(super::ownership_changes(&meta, want));
                Ok(Probe { changes, diff: None })
            }
            Some(meta) if force && matches!(meta.kind, Kind::File | Kind::Directory) => {
                Ok(Probe::change(format!("replaced {}", meta.kind.name())))
            }
            Some(meta) => Err(in_the_way(meta.kind, "set `force: true` to replace it")),
        }
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let path = desired.required_path("target_path")?;
        if desired.word("state", &["present", "absent"])? == "absent" {
            context.root.remove(&path)?;
            return Ok(Applied::default());
        }
        if let Some(meta) = context.root.inspect(&path)?
            && meta.kind == Kind::Directory
        {
            context.root.remove_directory(&path, true)?;
        }
        context.root.replace_link(&path, target(desired)?, link_owner(context, desired)?)?;
        Ok(Applied::default())
    }
}

/// A symlink has an owner but no mode.
fn link_owner(context: &Context<'_>, desired: &Desired) -> Result<Ownership, ResourceError> {
    Ok(Ownership { mode: None, ..ownership(context, desired)? })
}

fn target(desired: &Desired) -> Result<&str, ResourceError> {
    let target = desired.required("target")?;
    if target.is_empty() || target.contains('\0') || target.len() > 4095 {
        return Err(ResourceError::Invalid { name: "target", why: "is not a path".to_owned() });
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sandbox, desired};
    use super::*;
    use std::fs;

    fn link(target: &str, state: &str, force: bool) -> Desired {
        desired(&[
            ("target_path", "/current".into()),
            ("target", target.into()),
            ("state", state.into()),
            ("force", force.into()),
        ])
    }

    #[test]
    fn created_moved_and_removed() {
        let s = Sandbox::new();
        assert_eq!(s.converge("symlink", &link("releases/1", "present", false)).unwrap().action(), "created");
        let moved = link("/releases/2", "present", false);
        assert_eq!(s.converge("symlink", &moved).unwrap().action(), "target releases/1 -> /releases/2");
        assert_eq!(fs::read_link(s.path("current")).unwrap().to_str(), Some("/releases/2"));
        assert!(s.converge("symlink", &moved).unwrap().is_clean());
        s.converge("symlink", &link("x", "absent", false)).unwrap();
        assert_eq!(fs::read_dir(s.dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_force_replaces_what_is_in_the_way() {
        let s = Sandbox::new();
        fs::create_dir_all(s.path("current/d")).unwrap();
        assert!(matches!(
            s.converge("symlink", &link("x", "present", false)),
            Err(ResourceError::InTheWay { .. })
        ));
        let forced = link("x", "present", true);
        assert_eq!(s.converge("symlink", &forced).unwrap().action(), "replaced a directory");
        fs::remove_file(s.path("current")).unwrap();
        fs::write(s.path("current"), "").unwrap();
        assert_eq!(s.converge("symlink", &forced).unwrap().action(), "replaced a file");
    }
}
