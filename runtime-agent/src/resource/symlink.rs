//! `symlink`: a name that points elsewhere, or a second name of a file.

use super::{Applied, Context, Desired, Executor, Probe, ResourceError, ownership};
use crate::root::{Kind, ManagedPath, Ownership};

/// The type.
pub struct SymlinkType;

const KNOWN: &[&str] = &["target_path", "target", "state", "owner", "group", "force", "hard"];

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
                Some(Kind::Symlink) if !desired.flag("hard")? => Ok(Probe::change("removed")),
                // Another file of that name is nobody's link.
                Some(Kind::File) if desired.flag("hard")? && is_name_of_target(context, desired, &path)? => {
                    Ok(Probe::change("removed"))
                }
                Some(other) => Err(in_the_way(other, "remove it, or declare it as what it is")),
            };
        }
        if desired.flag("hard")? {
            return hard(context, desired, &path);
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
        if desired.flag("hard")? {
            context.root.replace_hard_link(&path, &original(context, desired)?)?;
            return Ok(Applied::default());
        }
        context.root.replace_link(&path, target(desired)?, link_owner(context, desired)?)?;
        Ok(Applied::default())
    }
}

/// The file that a hard link is to be a name of.
fn original(context: &Context<'_>, desired: &Desired) -> Result<ManagedPath, ResourceError> {
    let target = desired.required_path("target")?;
    match context.root.inspect(&target)? {
        Some(meta) if meta.kind == Kind::File => Ok(target),
        Some(meta) => Err(ResourceError::Invalid {
            name: "target",
            why: format!("{target} is {}; only a file has hard links", meta.kind.name()),
        }),
        None => Err(ResourceError::Invalid {
            name: "target",
            why: format!("there is no {target}; let what makes it come first"),
        }),
    }
}

fn is_name_of_target(
    context: &Context<'_>,
    desired: &Desired,
    path: &ManagedPath,
) -> Result<bool, ResourceError> {
    let target = context.root.identity(&desired.required_path("target")?)?;
    Ok(target.is_some() && context.root.identity(path)? == target)
}

fn hard(context: &Context<'_>, desired: &Desired, path: &ManagedPath) -> Result<Probe, ResourceError> {
    for name in ["owner", "group"] {
        if desired.value(name).is_some() {
            let why = "belongs to the file, not to a name of it; declare it with the `file`".to_owned();
            return Err(ResourceError::Invalid { name, why });
        }
    }
    let same = is_name_of_target(context, desired, path)?;
    match context.root.inspect(path)?.map(|meta| meta.kind) {
        // In a dry run what it links to may be made by another resource.
        None => Ok(Probe::change("created")),
        Some(Kind::File) if same => Ok(Probe::clean()),
        Some(Kind::File) if desired.flag("force")? => {
            original(context, desired)?;
            Ok(Probe::change("replaced a file"))
        }
        Some(kind) => Err(ResourceError::InTheWay {
            path: path.to_string(),
            found: kind.name(),
            wanted: "a hard link to the target",
            fix: "remove it; `force: true` replaces a file",
        }),
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
            ("hard", false.into()),
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
    fn a_hard_link_is_a_second_name_of_a_file() {
        let s = Sandbox::new();
        let hard = |target: &str, force: bool| {
            let mut d = link(target, "present", force);
            d.set("hard", true.into(), false);
            d
        };
        let missing = s.converge("symlink", &hard("/f", false)).unwrap_err().to_string();
        assert_eq!(missing, "attribute `target`: there is no /f; let what makes it come first");
        fs::write(s.path("f"), "x").unwrap();
        assert_eq!(s.converge("symlink", &hard("/f", false)).unwrap().action(), "created");
        assert!(s.converge("symlink", &hard("/f", false)).unwrap().is_clean());
        // Drift: a file of its own, with what is written over in place of linked.
        fs::remove_file(s.path("current")).unwrap();
        fs::write(s.path("current"), "y").unwrap();
        assert!(matches!(s.probe("symlink", &hard("/f", false)), Err(ResourceError::InTheWay { .. })));
        assert_eq!(s.converge("symlink", &hard("/f", true)).unwrap().action(), "replaced a file");
        assert_eq!(fs::read(s.path("current")).unwrap(), b"x");
        assert_eq!(fs::read_dir(s.dir.path()).unwrap().count(), 2, "no temporary name is left");
        fs::create_dir(s.path("d")).unwrap();
        assert!(
            s.probe("symlink", &hard("/d", true))
                .unwrap_err()
                .to_string()
                .contains("only a file has hard links")
        );
        assert!(matches!(s.probe("symlink", &hard("../f", true)), Err(ResourceError::Path(_))));
        let mut absent = hard("/f", false);
        absent.set("state", "absent".into(), false);
        fs::write(s.path("other"), "z").unwrap();
        absent.set("target", "/other".into(), false);
        assert!(
            matches!(s.probe("symlink", &absent), Err(ResourceError::InTheWay { .. })),
            "it is another file"
        );
        absent.set("target", "/f".into(), false);
        assert_eq!(s.converge("symlink", &absent).unwrap().action(), "removed");
        assert!(s.path("f").exists() && !s.path("current").exists());
    }

    #[test]
    fn case_082_a_hard_link_goes_to_no_symlink_and_not_out_of_the_root() {
        let s = Sandbox::new();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "safe").unwrap();
        std::os::unix::fs::symlink(outside.path(), s.path("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("f"), s.path("f")).unwrap();
        for target in ["/f", "/out/f"] {
            let mut d = link(target, "present", true);
            d.set("hard", true.into(), false);
            assert!(s.converge("symlink", &d).is_err(), "{target}");
        }
        assert!(fs::symlink_metadata(s.path("current")).is_err());
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
