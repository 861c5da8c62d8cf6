//! `directory`: that it is there, whose it is, with `recurse` whose its content is, and with `purge` that nothing else is
//! in it.

use super::content::cut;
use super::{Applied, Context, Desired, Diff, Executor, Probe, ResourceError, ownership, ownership_changes};
use crate::root::{FsError, Kind, ManagedPath, Meta, Ownership, Surplus, settle_handle};
use crate::text::printable;

/// The type.
pub struct DirectoryType;

const KNOWN: &[&str] = &["target_path", "state", "owner", "group", "mode", "recurse", "purge", "force"];

impl Executor for DirectoryType {
    fn key(&self) -> &'static str {
        "target_path"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        desired.only("directory", KNOWN)?;
        let path = desired.required_path("target_path")?;
        let force = desired.flag("force")?;
        let purge = desired.flag("purge")?;
        let found = context.root.inspect(&path)?;
        if desired.word("state", &["present", "absent"])? == "absent" {
            return match found {
                None => Ok(Probe::clean()),
                Some(meta) if meta.kind == Kind::Directory => {
                    Ok(Probe::change(if force { "removed with its content" } else { "removed" }))
                }
                Some(other) => Err(in_the_way(&path, other.kind)),
            };
        }
        let want = ownership(context, desired)?;
        match found {
            None => Ok(Probe::change("created")),
            Some(meta) if meta.kind == Kind::Directory => {
                let mut changes = ownership_changes(&meta, want);
                if desired.flag("recurse")? {
                    let mut differing = 0usize;
                    context.root.walk(&path, &mut |_, meta, handle| {
                        if handle.is_some() && !ownership_changes(meta, inner(meta, want)).is_empty() {
                            differing += 1;
                        }
                        Ok(())
                    })?;
                    if differing > 0 {
                        changes.push(format!("owner or mode of {differing} entries"));
                    }
                }
                let mut diff = None;
                if purge {
                    let kept = context.managed.locate(context.root)?;
                    let surplus = context.root.surplus(&path, &|parent, name| kept.fate(parent, name))?;
                    if !surplus.is_empty() {
                        changes.push(purged(&surplus));
                        diff = context.diff.then(|| listed(&path, &surplus));
                    }
                }
                Ok(Probe { changes, diff })
            }
            Some(other) => Err(in_the_way(&path, other.kind)),
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
            context.root.remove_directory(&path, desired.flag("force")?)?;
            return Ok(Applied::default());
        }
        let want = ownership(context, desired)?;
        // First, so that `recurse` has less to do and cannot fail over what goes.
        if desired.flag("purge")? && context.root.inspect(&path)?.is_some() {
            let kept = context.managed.locate(context.root)?;
            context.root.purge(&path, &|parent, name| kept.fate(parent, name))?;
        }
        match context.root.inspect(&path)? {
            None => context.root.make_directory(&path, want)?,
            Some(_) => context.root.settle(&path, want)?,
        }
        if desired.flag("recurse")? {
            let mut linked = None;
            context.root.walk(&path, &mut |shown, meta, handle| {
                let want = inner(meta, want);
                let Some(handle) = handle.filter(|_| !ownership_changes(meta, want).is_empty()) else {
                    return Ok(());
                };
                // Another name of this file may lie where nobody meant to change anything.
                if meta.kind == Kind::File && meta.links > 1 {
                    linked.get_or_insert((shown.to_owned(), meta.links));
                    return Ok::<(), FsError>(());
                }
                settle_handle(handle, shown, want)
            })?;
            if let Some((path, links)) = linked {
                return Err(ResourceError::HardLinks { path: crate::text::printable(&path), links });
            }
        }
        Ok(Applied::default())
    }
}

/// What the declared mode means for something inside: as `chmod u=rwX` does, a file becomes executable only
/// where it already was, so one mode fits directories and files.
fn inner(meta: &Meta, want: Ownership) -> Ownership {
    let mode = want.mode.map(|mode| match meta.kind {
        Kind::Directory => mode,
        _ if meta.mode & 0o111 != 0 => mode & 0o777,
        _ => mode & 0o666,
    });
    Ownership { mode, ..want }
}

/// Names that are told without a diff.
const TOLD: usize = 3;

fn purged(surplus: &[Surplus]) -> String {
    let names: Vec<String> = surplus.iter().take(TOLD).map(|s| printable(&s.path)).collect();
    let rest = match surplus.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let entries = if surplus.len() == 1 { "entry" } else { "entries" };
    format!("purged {} {entries} ({}{rest})", surplus.len(), names.join(", "))
}

/// A line for each entry that goes.
fn listed(path: &ManagedPath, surplus: &[Surplus]) -> Diff {
    let line = |s: &Surplus| format!("-{}{}\n", printable(&format!("{path}/{}", s.path)), s.kind.suffix());
    Diff { text: cut(&surplus.iter().map(line).collect::<String>()), added: 0, removed: 0 }
}

fn in_the_way(path: &ManagedPath, kind: Kind) -> ResourceError {
    ResourceError::InTheWay {
        path: path.to_string(),
        found: kind.name(),
        wanted: "a directory",
        fix: "remove it, or declare it as what it is",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Managed;
    use super::super::testing::{Sandbox, desired};
    use super::*;
    use ir::Value;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn directory(extra: &[(&str, Value)]) -> Desired {
        let mut d = desired(&[
            ("target_path", "/srv".into()),
            ("state", "present".into()),
            ("recurse", false.into()),
            ("purge", false.into()),
            ("force", false.into()),
        ]);
        extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
        d
    }

    fn mode(s: &Sandbox, path: &str) -> u32 {
        fs::metadata(s.path(path)).unwrap().mode() & 0o7777
    }

    #[test]
    fn created_with_its_mode_and_repaired() {
        let s = Sandbox::new();
        let d = directory(&[("mode", "1770".into())]);
        assert_eq!(s.converge("directory", &d).unwrap().action(), "created");
        assert_eq!(mode(&s, "srv"), 0o1770);
        fs::set_permissions(s.path("srv"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(s.converge("directory", &d).unwrap().action(), "mode 0755 -> 1770");
        assert!(s.converge("directory", &d).unwrap().is_clean());
    }

    #[test]
    fn absent_needs_force_when_there_is_content() {
        let s = Sandbox::new();
        fs::create_dir_all(s.path("srv/a/b")).unwrap();
        let absent = ("state", Value::from("absent"));
        let error = s.converge("directory", &directory(std::slice::from_ref(&absent))).unwrap_err();
        assert!(error.to_string().contains("cannot remove directory /srv"), "{error}");
        let d = directory(&[absent, ("force", true.into())]);
        assert_eq!(s.converge("directory", &d).unwrap().action(), "removed with its content");
        assert!(s.converge("directory", &d).unwrap().is_clean());
    }

    #[test]
    fn recurse_closes_what_is_inside_and_leaves_symlinks() {
        let s = Sandbox::new();
        let outside = tempfile::tempdir().unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(s.path("srv/d")).unwrap();
        fs::write(s.path("srv/d/plain"), "").unwrap();
        fs::write(s.path("srv/d/tool"), "").unwrap();
        fs::set_permissions(s.path("srv/d/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink(outside.path(), s.path("srv/out")).unwrap();
        let d = directory(&[("mode", "0750".into()), ("recurse", true.into())]);
        s.converge("directory", &d).unwrap();
        assert_eq!(
            [mode(&s, "srv/d"), mode(&s, "srv/d/plain"), mode(&s, "srv/d/tool")],
            [0o750, 0o640, 0o750]
        );
        assert_eq!(fs::metadata(outside.path()).unwrap().mode() & 0o777, 0o755);
    }

    fn managing(paths: &[&str]) -> Managed {
        let resource = |(at, path): (usize, &&str)| ir::Resource {
            name: format!("r{at}").into(),
            kind: "file".into(),
            when: Some(ir::Expr::Const(false.into())),
            attributes: vec![
                ("purge".into(), ir::Expr::Const(true.into())),
                ("target_path".into(), ir::Expr::Const((*path).into())),
            ],
            depends_on: vec![],
            notify: vec![],
        };
        let resources = paths.iter().enumerate().map(resource).collect();
        let module = ir::Module { name: "m".into(), depends_on: vec![], resources };
        Managed::of(&[module], |expr| Ok(expr.as_const().unwrap().clone()))
    }

    #[test]
    fn purge_leaves_what_is_managed_and_what_is_the_agents_own() {
        let mut s = Sandbox::new();
        for directory in ["srv/app/deep", "srv/old/x", "srv/data", "var/lib/vigo", "var/cache", "elsewhere"] {
            fs::create_dir_all(s.path(directory)).unwrap();
        }
        for file in [
            "srv/app/conf",
            "srv/app/conf.vigo-1700000000-1.bak",
            "srv/app/other",
            "srv/app/other.vigo-1.bak",
            "srv/app/deep/f",
            "srv/old/x/f",
            "srv/data/kept by its own resource",
            "srv/two\nlines",
            "var/lib/vigo/store.redb",
            "elsewhere/f",
            "elsewhere/g",
        ] {
            fs::write(s.path(file), "").unwrap();
        }
        // The policy reaches it by another name.
        symlink("/srv/app", s.path("alias")).unwrap();
        symlink("/elsewhere", s.path("srv/way")).unwrap();
        s.managed = managing(&["/srv", "/alias/conf", "/srv/data", "/srv/way/f", "/srv/app/not/yet"]);
        let d = directory(&[("purge", true.into())]);
        let probe = s.converge("directory", &d).unwrap();
        let diff = probe.diff.clone().unwrap();
        assert_eq!(
            diff.text,
            "-/srv/app/deep/f\n-/srv/app/deep/\n-/srv/app/other\n-/srv/app/other.vigo-1.bak\n-/srv/old/x/f\n\
             -/srv/old/x/\n-/srv/old/\n-/srv/two\\nlines\n"
        );
        assert_eq!(probe.action(), "purged 8 entries (app/deep/f, app/deep, app/other and 5 more)");
        for kept in [
            "srv/app/conf",
            "srv/app/conf.vigo-1700000000-1.bak",
            "srv/data/kept by its own resource",
            "srv/way",
            "elsewhere/g",
        ] {
            assert!(fs::symlink_metadata(s.path(kept)).is_ok(), "{kept}");
        }
        assert!(!s.path("srv/old").exists());
        assert!(s.probe("directory", &d).unwrap().is_clean());

        let var = directory(&[("target_path", "/var".into()), ("purge", true.into())]);
        assert_eq!(s.converge("directory", &var).unwrap().action(), "purged 1 entry (cache)");
        assert!(s.path("var/lib/vigo/store.redb").exists());
    }

    #[test]
    fn purge_needs_to_know_what_is_managed() {
        let s = Sandbox::new();
        fs::create_dir(s.path("srv")).unwrap();
        fs::write(s.path("srv/f"), "").unwrap();
        let error = s.converge("directory", &directory(&[("purge", true.into())])).unwrap_err();
        assert!(matches!(error, ResourceError::ManagedUnknown(_)), "{error}");
        assert!(s.path("srv/f").exists());
    }

    #[test]
    fn a_file_or_symlink_is_no_directory() {
        let s = Sandbox::new();
        symlink("/", s.path("srv")).unwrap();
        assert!(matches!(s.probe("directory", &directory(&[])), Err(ResourceError::InTheWay { .. })));
    }
}
