//! Changing what stands at a path: each change is whole or did not happen.

use super::attributes::keep_attributes;
use super::tree::names;
use super::{FsError, ManagedPath, Ownership, Place, Root, errno_of, fail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, fsync, linkat, symlinkat, unlinkat};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const TEMPORARY: &str = ".vigo-new-";
const KEPT: &str = ".vigo-";
const KEPT_END: &str = ".bak";

/// The name of the file that a name is a backup of, as [`Root::back_up`] gives it.
pub fn backed_up(name: &str) -> Option<&str> {
    let (original, when) = name.strip_suffix(KEPT_END)?.rsplit_once(KEPT)?;
    let digits = when.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    (digits && when.starts_with(|c: char| c.is_ascii_digit())).then_some(original)
}

impl Root {
    /// Replaces a file in one step. The new content is on disk, with its owner and mode and the old file's extended
    /// attributes, before it has the name; until then it is readable by root alone.
    ///
    /// `check` is given the temporary file's path and may refuse it.
    pub fn replace_file<E: From<FsError>>(
        &self,
        path: &ManagedPath,
        content: &[u8],
        ownership: Ownership,
        check: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let write =
            |file: &mut File| file.write_all(content).map_err(|e| fail("write", path, errno_of(&e)).into());
        self.replace_file_with(path, ownership, write, check)
    }

    /// [`Root::replace_file`] with content that is written as it comes. Where `write` fails, the old file stays.
    pub fn replace_file_with<E: From<FsError>>(
        &self,
        path: &ManagedPath,
        ownership: Ownership,
        write: impl FnOnce(&mut File) -> Result<(), E>,
        check: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = self.place(path).map_err(|errno| fail("write", path, errno))?;
        place.sweep();
        let (name, file) = place.temporary().map_err(|errno| fail("write", path, errno))?;
        let written = (|| {
            let mut file = File::from(file);
            if let Some(original) = place.original().map_err(|errno| fail("write", path, errno))? {
                keep_attributes(&original, &file)
                    .map_err(|errno| fail("keep the extended attributes of", path, errno))?;
            }
            write(&mut file)?;
            settle(&file, ownership).map_err(|errno| fail("set owner and mode of", path, errno))?;
            if self.durable {
                file.sync_all().map_err(|e| fail("write", path, errno_of(&e)))?;
            }
            check(&place.root.path.join(&path.parent).join(&name))?;
            renameat(&place.parent, name.as_str(), &place.parent, path.name.as_str())
                .map_err(|errno| fail("write", path, errno))?;
            place.sync().map_err(|errno| fail("write", path, errno))?;
            Ok(())
        })();
        if written.is_err() {
            // After a rename the name is gone, and what is left otherwise is swept at the next write.
            let _ = unlinkat(&place.parent, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// A file that has no name, on the file system of this directory: it is gone when it is closed.
    pub fn scratch(&self, path: &ManagedPath) -> Result<File, FsError> {
        let failed = |errno| fail("write in", path, errno);
        let directory = self.directory(path)?;
        for _ in 0..16 {
            let name = temporary_name().map_err(failed)?;
            let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            match openat(&directory, name.as_str(), flags, Mode::from_bits_truncate(0o600)) {
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(failed(errno)),
                Ok(fd) => {
                    unlinkat(&directory, name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(failed)?;
                    return Ok(File::from(fd));
                }
            }
        }
        Err(failed(Errno::EEXIST))
    }

    /// Keeps the present content beside the file as `<name>.vigo-<unix seconds>.bak`, as readable as the
    /// original.
    pub fn back_up(&self, path: &ManagedPath, unix_seconds: u64) -> Result<String, FsError> {
        let failed = |errno| fail("back up", path, errno);
        let place = self.place(path).map_err(failed)?;
        let (mut original, meta) = place.open_file().map_err(failed)?;
        let mut suffix = String::new();
        for attempt in 1..100 {
            let name = format!("{}{KEPT}{unix_seconds}{suffix}{KEPT_END}", path.name);
            match place.create(&name) {
                Ok(fd) => {
                    let mut copy = File::from(fd);
                    let ownership =
                        Ownership { uid: Some(meta.uid), gid: Some(meta.gid), mode: Some(meta.mode) };
                    let kept = keep_attributes(&original, &copy)
                        .and_then(|()| std::io::copy(&mut original, &mut copy).map_err(|e| errno_of(&e)))
                        .and_then(|_| settle(&copy, ownership))
                        .and_then(|()| copy.sync_all().map_err(|e| errno_of(&e)));
                    if let Err(errno) = kept {
                        let _ = unlinkat(&place.parent, name.as_str(), UnlinkatFlags::NoRemoveDir);
                        return Err(failed(errno));
                    }
                    return Ok(name);
                }
                Err(Errno::EEXIST) => suffix = format!("-{attempt}"),
                Err(errno) => return Err(failed(errno)),
            }
        }
        Err(failed(Errno::EEXIST))
    }

    /// Writes to a file of the kernel (`/proc/sys`), which has no content of its own to be replaced: in one write, and the
    /// kernel may refuse it.
    pub fn write_in_place(&self, path: &ManagedPath, content: &[u8]) -> Result<(), FsError> {
        let failed = |errno| fail("write", path, errno);
        let place = self.place(path).map_err(failed)?;
        let fd = place.open(OFlag::O_WRONLY | OFlag::O_TRUNC).map_err(failed)?;
        File::from(fd).write_all(content).map_err(|e| failed(errno_of(&e)))
    }

    /// Owner, group and mode of a file or directory that stays where it is.
    pub fn settle(&self, path: &ManagedPath, ownership: Ownership) -> Result<(), FsError> {
        let failed = |errno| fail("set owner and mode of", path, errno);
        let place = self.place(path).map_err(failed)?;
        let fd = place.open(OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(failed)?;
        settle(&fd, ownership).map_err(failed)
    }

    /// Makes one directory.
    pub fn make_directory(&self, path: &ManagedPath, ownership: Ownership) -> Result<(), FsError> {
        let failed = |errno| fail("create directory", path, errno);
        let place = self.place(path).map_err(failed)?;
        mkdirat(&place.parent, path.name.as_str(), Mode::from_bits_truncate(0o700)).map_err(failed)?;
        let fd = place.open(OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(failed)?;
        let mode = ownership.mode.or(Some(0o755));
        settle(&fd, Ownership { mode, ..ownership }).map_err(failed)?;
        place.sync().map_err(failed)
    }

    /// Puts a symlink at a path in one step, over a file or symlink that is there.
    pub fn replace_link(&self, path: &ManagedPath, target: &str, owner: Ownership) -> Result<(), FsError> {
        let failed = |errno| fail("link", path, errno);
        let place = self.place(path).map_err(failed)?;
        place.sweep();
        for _ in 0..16 {
            let name = temporary_name().map_err(failed)?;
            match symlinkat(target, &place.parent, name.as_str()) {
                Err(Errno::EEXIST) => continue,
                other => other.map_err(failed)?,
            }
            let done = fchownat(
                &place.parent,
                name.as_str(),
                owner.uid.map(Uid::from_raw),
                owner.gid.map(Gid::from_raw),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )
            .and_then(|()| renameat(&place.parent, name.as_str(), &place.parent, path.name.as_str()))
            .and_then(|()| place.sync());
            if done.is_err() {
                let _ = unlinkat(&place.parent, name.as_str(), UnlinkatFlags::NoRemoveDir);
            }
            return done.map_err(failed);
        }
        Err(failed(Errno::EEXIST))
    }

    /// Makes a path another name of a file, in one step, over a file or symlink that is there. Neither last name is
    /// followed.
    pub fn replace_hard_link(&self, path: &ManagedPath, original: &ManagedPath) -> Result<(), FsError> {
        let failed = |errno| fail("link", path, errno);
        let place = self.place(path).map_err(failed)?;
        let source = self.place(original).map_err(|errno| fail("link", original, errno))?;
        place.sweep();
        for _ in 0..16 {
            let name = temporary_name().map_err(failed)?;
            let linked = linkat(
                &source.parent,
                original.name.as_str(),
                &place.parent,
                name.as_str(),
                AtFlags::empty(),
            );
            match linked {
                Err(Errno::EEXIST) => continue,
                other => other.map_err(failed)?,
            }
            let done = renameat(&place.parent, name.as_str(), &place.parent, path.name.as_str())
                .and_then(|()| place.sync());
            // Renaming a name over another one of the same file does nothing, and leaves both.
            let _ = unlinkat(&place.parent, name.as_str(), UnlinkatFlags::NoRemoveDir);
            return done.map_err(failed);
        }
        Err(failed(Errno::EEXIST))
    }

    /// Removes a file or symlink.
    pub fn remove(&self, path: &ManagedPath) -> Result<(), FsError> {
        let failed = |errno| fail("remove", path, errno);
        let place = self.place(path).map_err(failed)?;
        unlinkat(&place.parent, path.name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(failed)?;
        place.sync().map_err(failed)
    }
}

impl Place<'_> {
    /// The file that is about to be replaced, if it is one.
    fn original(&self) -> Result<Option<File>, Errno> {
        match self.open_file() {
            Ok((file, _)) => Ok(Some(file)),
            Err(Errno::ENOENT | Errno::ELOOP | Errno::EINVAL) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Brings names to disk.
    fn sync(&self) -> Result<(), Errno> {
        if self.root.durable { fsync(&self.parent) } else { Ok(()) }
    }

    fn create(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.parent, name, flags, Mode::from_bits_truncate(0o600))
    }

    fn temporary(&self) -> Result<(String, OwnedFd), Errno> {
        for _ in 0..16 {
            let name = temporary_name()?;
            match self.create(&name) {
                Err(Errno::EEXIST) => {}
                other => return other.map(|fd| (name, fd)),
            }
        }
        Err(Errno::EEXIST)
    }

    /// Removes what an agent that died left here. One agent runs at a time, so none of it is in use.
    fn sweep(&self) {
        if !self.root.durable {
            return;
        }
        let Ok(directory) =
            openat(&self.parent, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        else {
            return;
        };
        for name in names(directory, usize::MAX).unwrap_or_default() {
            if name.to_string_lossy().starts_with(TEMPORARY) {
                let _ = unlinkat(&self.parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
            }
        }
    }
}

fn temporary_name() -> Result<String, Errno> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Errno::EIO)?;
    Ok(format!("{TEMPORARY}{:016x}", u64::from_ne_bytes(random)))
}

/// Changes the owner first: that clears set-id bits, which the mode then gives back.
fn settle(fd: impl AsFd + Copy, ownership: Ownership) -> Result<(), Errno> {
    if ownership.uid.is_some() || ownership.gid.is_some() {
        fchown(fd, ownership.uid.map(Uid::from_raw), ownership.gid.map(Gid::from_raw))?;
    }
    if let Some(mode) = ownership.mode {
        fchmod(fd, Mode::from_bits_truncate(mode))?;
    }
    Ok(())
}

/// [`settle`] for a handle met in [`Root::walk`].
pub fn settle_handle(fd: &OwnedFd, shown: &str, ownership: Ownership) -> Result<(), FsError> {
    settle(fd, ownership).map_err(|errno| FsError {
        action: "set owner and mode of",
        path: crate::text::printable(shown),
        errno,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{managed, write};
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn case_081_no_symlink_leads_out_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("victim"), "safe").unwrap();
        symlink(outside.path(), inside.path().join("absolute")).unwrap();
        symlink("../../../../../../../../..", inside.path().join("up")).unwrap();
        fs::create_dir(inside.path().join("real")).unwrap();
        symlink("/real", inside.path().join("within")).unwrap();
        let root = Root::open(inside.path()).unwrap();

        assert!(write(&root, "/absolute/victim", b"x").is_err());
        write(&root, "/up/made", b"x").unwrap();
        assert!(inside.path().join("made").exists(), "`..` stops at the root");
        write(&root, "/within/made", b"x").unwrap();
        assert!(inside.path().join("real/made").exists(), "an absolute symlink is taken from the root");

        symlink(outside.path().join("victim"), inside.path().join("last")).unwrap();
        assert!(root.read(&managed("/last")).is_err());
        write(&root, "/last", b"x").unwrap();
        assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"safe");
        assert!(fs::symlink_metadata(inside.path().join("last")).unwrap().is_file());
    }

    #[test]
    fn case_081_a_parent_swapped_in_a_loop_never_lets_a_write_out() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        let (a, b, link) =
            (inside.path().join("d"), inside.path().join("d.aside"), inside.path().join("d.link"));
        fs::create_dir(&a).unwrap();
        symlink(outside.path(), &link).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = fs::rename(&a, &b);
                    let _ = fs::rename(&link, &a);
                    let _ = fs::rename(&a, &link);
                    let _ = fs::rename(&b, &a);
                }
            });
            // Whether it is on disk makes no difference here, and 10,000 times of it take long.
            let root = Root { durable: false, ..Root::open(inside.path()).unwrap() };
            let (mut tried, mut written) = (0, 0);
            let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
            // The other thread may be put to sleep while a link stands there: then all are over in no time.
            while tried < 10_000 || written == 0 && std::time::Instant::now() < end {
                tried += 1;
                written += usize::from(write(&root, "/d/f", b"x").is_ok());
                if tried % 10 == 0 {
                    let _ = root.make_directory(&managed("/d/sub"), Ownership::default());
                    let _ = root.replace_link(&managed("/d/link"), "f", Ownership::default());
                    let _ = root.replace_hard_link(&managed("/d/hard"), &managed("/d/f"));
                    let _ = root.back_up(&managed("/d/f"), 1);
                    let _ = root.remove_directory(&managed("/d/sub"), true);
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(written > 0, "none of {tried}");
        });
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn case_085_a_temporary_name_that_is_taken_is_not_opened() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("victim"), "safe").unwrap();
        symlink(outside.path().join("victim"), inside.path().join(".vigo-new-0")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        let path = managed("/f");
        let place = root.place(&path).unwrap();
        assert_eq!(place.create(".vigo-new-0").map(drop), Err(Errno::EEXIST));
        let names: Vec<String> = (0..100).map(|_| temporary_name().unwrap()).collect();
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), 100, "nobody can guess the next one");
        write(&root, "/f", b"x").unwrap();
        assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"safe");
        assert!(fs::symlink_metadata(inside.path().join(".vigo-new-0")).is_err(), "swept, not followed");
    }

    #[test]
    fn case_089_a_secret_that_takes_the_place_of_an_open_file_is_never_open() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let inside = tempfile::tempdir().unwrap();
        let path = inside.path().join("f");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let root = Root::open(inside.path()).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Whoever looks at any name at any time: what holds the secret is closed.
            let watcher = scope.spawn(|| {
                let mut looked = 0u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for entry in fs::read_dir(inside.path()).unwrap().flatten() {
                        let Ok(mut file) = fs::File::open(entry.path()) else { continue };
                        let mut text = String::new();
                        let _ = std::io::Read::read_to_string(&mut file, &mut text);
                        let mode = file.metadata().unwrap().mode();
                        assert!(!text.contains("hunter2") || mode & 0o077 == 0, "{mode:o}");
                        looked += 1;
                    }
                }
                looked
            });
            for _ in 0..200 {
                fs::write(&path, "old").unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
                let give = Ownership { mode: Some(0o600), ..Ownership::default() };
                let closed = |mode: u32| assert_eq!(mode & 0o077, 0, "{mode:o}");
                let write = |file: &mut File| {
                    closed(file.metadata().unwrap().mode());
                    file.write_all(b"hunter2").unwrap();
                    closed(file.metadata().unwrap().mode());
                    Ok::<_, FsError>(())
                };
                let check = |new: &Path| {
                    closed(fs::metadata(new).unwrap().mode());
                    Ok(())
                };
                root.replace_file_with(&managed("/f"), give, write, check).unwrap();
                closed(fs::metadata(&path).unwrap().mode());
                fs::remove_file(&path).unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(watcher.join().unwrap() > 0);
        });
    }

    #[test]
    fn case_085_leftovers_are_swept_and_a_refused_check_leaves_nothing() {
        let inside = tempfile::tempdir().unwrap();
        fs::write(inside.path().join(".vigo-new-00"), "left by a dead agent").unwrap();
        let root = Root::open(inside.path()).unwrap();
        write(&root, "/f", b"old").unwrap();
        let refused = root.replace_file(&managed("/f"), b"new", Ownership::default(), |_| {
            Err(FsError { action: "check", path: "/f".into(), errno: Errno::EINVAL })
        });
        assert!(refused.is_err());
        assert_eq!(fs::read(inside.path().join("f")).unwrap(), b"old");
        assert_eq!(fs::read_dir(inside.path()).unwrap().count(), 1);
    }
}
