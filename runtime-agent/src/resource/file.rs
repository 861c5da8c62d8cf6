//! `file`: content, owner and mode of a regular file.

use super::content::{holds, text_of};
use super::placing::{self, New, check_validate, not_a_file, shown_diff};
use super::{Applied, Context, Desired, Executor, Probe, ResourceError, ownership, ownership_changes};
use crate::root::{Kind, ManagedPath, Meta};
use crate::text::printable;

/// The type.
pub struct FileType;

const KNOWN: &[&str] =
    &["target_path", "state", "content", "owner", "group", "mode", "backup", "validate", "selinux"];

impl Executor for FileType {
    fn key(&self) -> &'static str {
        "target_path"
    }

    fn probe(&self, context: &Context<'_>, desired: &Desired) -> Result<Probe, ResourceError> {
        desired.only("file", KNOWN)?;
        let path = desired.required_path("target_path")?;
        let found = context.root.inspect(&path)?;
        if desired.word("state", &["present", "absent"])? == "absent" {
            return match found {
                None => Ok(Probe::clean()),
                Some(Meta { kind: Kind::File | Kind::Symlink, .. }) => Ok(Probe::change("removed")),
                Some(other) => Err(not_a_file(&path, other.kind)),
            };
        }
        let want = ownership(context, desired)?;
        let content = desired.content("content")?;
        desired.flag("backup")?;
        check_validate(desired)?;
        let label = label(context, desired)?;
        let sensitive = desired.is_sensitive("content");
        match found {
            None => {
                let new = std::str::from_utf8(content.unwrap_or_default()).ok();
                Ok(Probe {
                    changes: vec!["created".to_owned()],
                    diff: shown_diff(context, &path, sensitive, Some(""), new),
                })
            }
            Some(meta) if meta.kind == Kind::File => {
                let mut probe = Probe { changes: ownership_changes(&meta, want), diff: None };
                if let Some(content) = content
                    && !holds(context.root, &path, content)?
                {
                    let text = if sensitive { "content changed (sensitive)" } else { "content changed" };
                    probe.changes.insert(0, text.to_owned());
                    let old = if sensitive { None } else { text_of(context.root, &path) };
                    let new = std::str::from_utf8(content).ok();
                    probe.diff = shown_diff(context, &path, sensitive, old.as_deref(), new);
                } else if !probe.is_clean() && meta.links > 1 {
                    return Err(ResourceError::HardLinks { path: path.to_string(), links: meta.links });
                }
                if let Some(want) = label
                    && let have = context.root.label(&path)?
                    && have.as_deref() != Some(want)
                {
                    let have = printable(have.as_deref().unwrap_or("none"));
                    probe.changes.push(format!("SELinux context {have} -> {want}"));
                }
                Ok(probe)
            }
            Some(other) => Err(not_a_file(&path, other.kind)),
        }
    }

    fn apply(
        &self,
        context: &Context<'_>,
        desired: &Desired,
        _probe: &Probe,
    ) -> Result<Applied, ResourceError> {
        let path = desired.required_path("target_path")?;
        let root = context.root;
        if desired.word("state", &["present", "absent"])? == "absent" {
            let note = if desired.flag("backup")? { Some(root.back_up(&path, context.now)) } else { None };
            let note = note.transpose()?.map(|name| format!("kept as {name}"));
            root.remove(&path)?;
            return Ok(Applied { note });
        }
        let want = ownership(context, desired)?;
        let content = desired.content("content")?;
        let found = root.inspect(&path)?;
        let replace = match (&found, content) {
            (None, content) => Some(content.unwrap_or_default()),
            (Some(meta), _) if meta.kind != Kind::File => return Err(not_a_file(&path, meta.kind)),
            (Some(_), Some(content)) => (!holds(root, &path, content)?).then_some(content),
            (Some(_), None) => None,
        };
        let Some(content) = replace else {
            root.settle(&path, want)?;
            return relabel(context, desired, &path).map(|()| Applied::default());
        };
        let sensitive = desired.is_sensitive("content");
        let note = placing::put(context, desired, &New { path: &path, content, sensitive, found })?;
        relabel(context, desired, &path)?;
        Ok(Applied { note })
    }
}

/// The SELinux context that is declared, where the host has SELinux.
fn label<'a>(context: &Context<'_>, desired: &'a Desired) -> Result<Option<&'a str>, ResourceError> {
    let Some(label) = desired.text("selinux")? else { return Ok(None) };
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ',' | '-' | ':');
    if label.split(':').count() < 3 || label.split(':').any(str::is_empty) || !label.chars().all(valid) {
        return Err(ResourceError::Invalid {
            name: "selinux",
            why: "is not a context; write it like `system_u:object_r:etc_t:s0`".to_owned(),
        });
    }
    Ok(Some(label).filter(|_| context.root.has_labels()))
}

fn relabel(context: &Context<'_>, desired: &Desired, path: &ManagedPath) -> Result<(), ResourceError> {
    if let Some(want) = label(context, desired)?
        && context.root.label(path)?.as_deref() != Some(want)
    {
        context.root.set_label(path, want)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sandbox, desired};
    use super::*;
    use ir::Value;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn file(extra: &[(&str, Value)]) -> Desired {
        let mut all = vec![
            ("target_path", Value::from("/etc/motd")),
            ("state", "present".into()),
            ("backup", false.into()),
        ];
        all.extend(extra.iter().cloned());
        desired(&all)
    }

    fn sandbox() -> Sandbox {
        let s = Sandbox::new();
        fs::create_dir(s.path("etc")).unwrap();
        s
    }

    fn mode(s: &Sandbox, path: &str) -> u32 {
        fs::symlink_metadata(s.path(path)).unwrap().mode() & 0o7777
    }

    #[test]
    fn created_then_ok_then_repaired() {
        let s = sandbox();
        let d = file(&[("content", "hello\nworld\n".into()), ("mode", "0640".into())]);
        let probe = s.converge("file", &d).unwrap();
        assert_eq!(probe.action(), "created");
        assert_eq!(probe.diff.unwrap().added, 2);
        assert_eq!(fs::read(s.path("etc/motd")).unwrap(), b"hello\nworld\n");
        assert_eq!(mode(&s, "etc/motd"), 0o640);
        assert!(s.converge("file", &d).unwrap().is_clean());
        fs::write(s.path("etc/motd"), "hello\nearth\n").unwrap();
        fs::set_permissions(s.path("etc/motd"), fs::Permissions::from_mode(0o666)).unwrap();
        let probe = s.converge("file", &d).unwrap();
        assert_eq!(probe.action(), "content changed, mode 0666 -> 0640");
        let diff = probe.diff.unwrap();
        assert_eq!((diff.added, diff.removed), (1, 1));
        assert!(diff.text.contains("-earth\n+world\n"), "{}", diff.text);
    }

    #[test]
    fn without_content_only_metadata_is_managed() {
        let s = sandbox();
        let d = file(&[("mode", "0600".into())]);
        assert_eq!(s.converge("file", &d).unwrap().action(), "created");
        fs::write(s.path("etc/motd"), "kept").unwrap();
        assert!(s.converge("file", &d).unwrap().is_clean());
        fs::set_permissions(s.path("etc/motd"), fs::Permissions::from_mode(0o644)).unwrap();
        let inode = fs::metadata(s.path("etc/motd")).unwrap().ino();
        assert_eq!(s.converge("file", &d).unwrap().action(), "mode 0644 -> 0600");
        assert_eq!(fs::read(s.path("etc/motd")).unwrap(), b"kept");
        assert_eq!(fs::metadata(s.path("etc/motd")).unwrap().ino(), inode);
    }

    #[test]
    fn absent_removes_files_and_symlinks_only() {
        let s = sandbox();
        let d = desired(&[
            ("target_path", "/etc/motd".into()),
            ("state", "absent".into()),
            ("backup", false.into()),
        ]);
        assert!(s.converge("file", &d).unwrap().is_clean());
        symlink("/nowhere", s.path("etc/motd")).unwrap();
        assert_eq!(s.converge("file", &d).unwrap().action(), "removed");
        fs::create_dir(s.path("etc/motd")).unwrap();
        assert!(matches!(s.converge("file", &d), Err(ResourceError::InTheWay { .. })));
    }

    #[test]
    fn case_082_only_a_regular_file_is_taken_for_one() {
        let s = sandbox();
        let d = file(&[("content", "x".into()), ("mode", "0600".into())]);
        let refused = |s: &Sandbox| {
            let error = s.converge("file", &d).unwrap_err();
            assert!(matches!(error, ResourceError::InTheWay { .. }), "{error}");
        };
        fs::write(s.path("etc/other"), "safe").unwrap();
        symlink("other", s.path("etc/motd")).unwrap();
        refused(&s);
        fs::remove_file(s.path("etc/motd")).unwrap();
        nix::unistd::mkfifo(&s.path("etc/motd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused(&s);
        fs::remove_file(s.path("etc/motd")).unwrap();
        fs::create_dir(s.path("etc/motd")).unwrap();
        refused(&s);
        fs::remove_dir(s.path("etc/motd")).unwrap();

        // A hard link: the content gets a file of its own, and metadata alone is refused.
        fs::hard_link(s.path("etc/other"), s.path("etc/motd")).unwrap();
        assert!(matches!(
            s.converge("file", &file(&[("mode", "0777".into())])),
            Err(ResourceError::HardLinks { links: 2, .. })
        ));
        s.converge("file", &d).unwrap();
        assert_eq!(fs::read(s.path("etc/other")).unwrap(), b"safe");
    }

    #[test]
    fn a_missing_parent_is_created_later_or_an_error_that_says_so() {
        let s = Sandbox::new();
        let d = file(&[("content", "x".into())]);
        assert_eq!(s.probe("file", &d).unwrap().action(), "created");
        let message = s.converge("file", &d).unwrap_err().to_string();
        assert!(message.contains("declare its parent as a `directory`"), "{message}");
    }

    #[test]
    fn an_selinux_context_counts_where_the_host_has_selinux() {
        use xattr::FileExt;
        let s = sandbox();
        let d = file(&[("content", "x".into()), ("selinux", "system_u:object_r:etc_t:s0".into())]);
        s.converge("file", &d).unwrap();
        let label = |s: &Sandbox| {
            fs::File::open(s.path("etc/motd")).unwrap().get_xattr("security.selinux").ok().flatten()
        };
        let before = label(&s);
        assert!(s.converge("file", &d).unwrap().is_clean(), "without SELinux it says nothing");
        assert_eq!(label(&s), before);
        for bad in ["etc_t", "a:b", "a::c", "a:b:c\0", "a:b:c d"] {
            let d = file(&[("selinux", bad.into())]);
            assert!(
                matches!(s.probe("file", &d), Err(ResourceError::Invalid { name: "selinux", .. })),
                "{bad}"
            );
        }
        // As if it had: the kernel of the tests takes any context, or lets nobody set one.
        fs::create_dir_all(s.path("sys/fs/selinux")).unwrap();
        fs::write(s.path("sys/fs/selinux/enforce"), "1").unwrap();
        let probe = s.probe("file", &d).unwrap();
        assert!(probe.action().ends_with("-> system_u:object_r:etc_t:s0"), "{}", probe.action());
        let file = fs::File::open(s.path("etc/motd")).unwrap();
        if file.set_xattr("security.selinux", b"system_u:object_r:tmp_t:s0\0").is_err() {
            return;
        }
        assert_eq!(
            s.converge("file", &d).unwrap().action(),
            "SELinux context system_u:object_r:tmp_t:s0 -> system_u:object_r:etc_t:s0"
        );
        fs::write(s.path("etc/motd"), "drift").unwrap();
        s.converge("file", &d).unwrap();
        assert_eq!(label(&s).unwrap(), b"system_u:object_r:etc_t:s0");
    }

    #[test]
    fn a_backup_is_as_closed_as_the_original() {
        let s = sandbox();
        fs::write(s.path("etc/motd"), "old").unwrap();
        fs::set_permissions(s.path("etc/motd"), fs::Permissions::from_mode(0o600)).unwrap();
        for round in ["one", "two"] {
            let mut d = file(&[("content", round.into()), ("mode", "0644".into())]);
            d.set("backup", true.into(), false);
            s.converge("file", &d).unwrap();
        }
        assert_eq!(fs::read(s.path("etc/motd.vigo-1700000000.bak")).unwrap(), b"old");
        assert_eq!(mode(&s, "etc/motd.vigo-1700000000.bak"), 0o600);
        assert_eq!(fs::read(s.path("etc/motd.vigo-1700000000-1.bak")).unwrap(), b"one");
    }

    #[test]
    fn what_validate_refuses_never_gets_the_name() {
        let s = sandbox();
        let with =
            |content: &str| file(&[("content", content.into()), ("validate", "grep -q 'good' %s".into())]);
        s.converge("file", &with("good 1\n")).unwrap();
        let error = s.converge("file", &with("bad\n")).unwrap_err();
        assert!(matches!(error, ResourceError::Exit { code: 1, .. }), "{error}");
        assert_eq!(fs::read(s.path("etc/motd")).unwrap(), b"good 1\n");
        assert_eq!(fs::read_dir(s.path("etc")).unwrap().count(), 1);
        let no_place = file(&[("content", "x".into()), ("validate", "true".into())]);
        assert!(matches!(s.probe("file", &no_place), Err(ResourceError::Invalid { name: "validate", .. })));
    }

    #[test]
    fn a_secret_is_closed_and_never_shown() {
        let s = sandbox();
        let mut d = file(&[]);
        d.set("content", "hunter2".into(), true);
        let probe = s.converge("file", &d).unwrap();
        assert!(probe.diff.is_none());
        assert_eq!(mode(&s, "etc/motd"), 0o600);
        d.set("content", "hunter3".into(), true);
        d.set("validate", "grep x %s".into(), false);
        let probe = s.probe("file", &d).unwrap();
        assert_eq!(probe.action(), "content changed (sensitive)");
        assert!(probe.diff.is_none());
        d.set("validate", "sh -c 'cat %s; exit 1'".into(), false);
        let error = s.converge("file", &d).unwrap_err().to_string();
        assert!(!error.contains("hunter"), "{error}");
        assert!(!format!("{d:?}").contains("hunter"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever stood there: after an apply a probe is clean, and a probe alone changes nothing.
        #[test]
        fn apply_then_probe_is_clean(
            before in prop::option::of((prop::collection::vec(any::<u8>(), 0..40), 0u32..0o1000)),
            content in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            bits in prop::option::of(0u32..0o1000),
            backup: bool,
            absent: bool,
        ) {
            let s = sandbox();
            if let Some((bytes, bits)) = &before {
                fs::write(s.path("etc/motd"), bytes).unwrap();
                // Readable by the owner, so that the test need not be root.
                fs::set_permissions(s.path("etc/motd"), fs::Permissions::from_mode(bits | 0o400)).unwrap();
            }
            let mut d = file(&[]);
            d.set("backup", backup.into(), false);
            d.set("state", if absent { "absent" } else { "present" }.into(), false);
            if let Some(content) = &content {
                d.set("content", Value::Bytes(content.as_slice().into()), false);
            }
            if let Some(bits) = bits {
                d.set("mode", format!("{:04o}", bits | 0o400).into(), false);
            }
            let tree = |s: &Sandbox| {
                let mut all: Vec<_> = fs::read_dir(s.path("etc")).unwrap().map(|e| {
                    let e = e.unwrap();
                    (e.file_name(), fs::read(e.path()).unwrap(), e.metadata().unwrap().mode(), e.metadata().unwrap().ino())
                }).collect();
                all.sort();
                all
            };
            let untouched = tree(&s);
            s.probe("file", &d).unwrap();
            prop_assert_eq!(untouched, tree(&s));
            s.converge("file", &d).unwrap();
            prop_assert!(s.probe("file", &d).unwrap().is_clean());
        }
    }
}
