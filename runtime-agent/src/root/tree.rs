//! Whole directories: walking and removing. Symlinks are never followed, and other file systems never entered.

use super::{FsError, Kind, ManagedPath, Meta, Root, errno_of, fail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

/// Directories nested deeper than this are not walked.
const MAX_DEPTH: usize = 100;

impl Root {
    /// Removes a directory; with `force` also what is in it, but nothing of another file system.
    pub fn remove_directory(&self, path: &ManagedPath, force: bool) -> Result<(), FsError> {
        let failed = |errno| fail("remove directory", path, errno);
        let place = self.place(path).map_err(failed)?;
        if force {
            let device = place.stat().map_err(failed)?.device;
            remove_tree(&place.parent, &path.name, device, 0).map_err(failed)?;
        } else {
            unlinkat(&place.parent, path.name.as_str(), UnlinkatFlags::RemoveDir).map_err(failed)?;
        }
        fsync(&place.parent).map_err(failed)
    }

    /// Calls `visit` for everything below a directory on the same file system: its path, what it is and
    /// its handle (none for symlinks and special files). Symlinks are not followed.
    pub fn walk(&self, path: &ManagedPath, visit: &mut Visit<'_>) -> Result<(), FsError> {
        let failed = |errno| fail("walk", path, errno);
        let place = self.place(path).map_err(failed)?;
        let fd = place.open(OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(failed)?;
        let device = fstat(&fd).map(|s| Meta::from(s).device).map_err(failed)?;
        walk(fd, &path.to_string(), device, 0, visit)
    }
}

/// Called with path, kind and handle.
pub type Visit<'a> = dyn FnMut(&str, &Meta, Option<&OwnedFd>) -> Result<(), FsError> + 'a;

/// The names in a directory in their order; no more than `most` are read.
pub(super) fn names(directory: OwnedFd, most: usize) -> Result<Vec<OsString>, Errno> {
    let mut all = Vec::new();
    for entry in nix::dir::Dir::from_fd(directory)? {
        let bytes = entry?.file_name().to_bytes().to_vec();
        if bytes != b"." && bytes != b".." {
            all.push(OsString::from_vec(bytes));
        }
        if all.len() >= most {
            break;
        }
    }
    all.sort();
    Ok(all)
}

pub(super) fn open_child(parent: &OwnedFd, name: &OsStr, extra: OFlag) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    openat(parent, name, flags | extra, Mode::empty())
}

fn remove_tree(parent: &OwnedFd, name: impl AsRef<OsStr>, device: u64, depth: usize) -> Result<(), Errno> {
    let name = name.as_ref();
    if depth > MAX_DEPTH {
        return Err(Errno::ELOOP);
    }
    let directory = open_child(parent, name, OFlag::O_DIRECTORY)?;
    if Meta::from(fstat(&directory)?).device != device {
        return Err(Errno::EXDEV);
    }
    for child in names(directory.try_clone().map_err(|e| errno_of(&e))?, usize::MAX)? {
        let meta = Meta::from(fstatat(&directory, child.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?);
        if meta.kind == Kind::Directory {
            remove_tree(&directory, &child, device, depth + 1)?;
        } else {
            unlinkat(&directory, child.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
        }
    }
    unlinkat(parent, name, UnlinkatFlags::RemoveDir)
}

fn walk(fd: OwnedFd, shown: &str, device: u64, depth: usize, visit: &mut Visit<'_>) -> Result<(), FsError> {
    let failed = |errno| FsError { action: "walk", path: crate::text::printable(shown), errno };
    if depth > MAX_DEPTH {
        return Err(failed(Errno::ELOOP));
    }
    let list = fd.try_clone().map_err(|e| failed(errno_of(&e)))?;
    for child in names(list, usize::MAX).map_err(failed)? {
        let path = format!("{shown}/{}", child.to_string_lossy());
        let meta = match fstatat(&fd, child.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Meta::from(stat),
            Err(Errno::ENOENT) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        if !matches!(meta.kind, Kind::File | Kind::Directory) {
            visit(&path, &meta, None)?;
            continue;
        }
        let handle = open_child(&fd, &child, OFlag::empty()).map_err(failed)?;
        // What was opened decides, not what stood there a moment before.
        let meta = Meta::from(fstat(&handle).map_err(failed)?);
        if meta.device != device {
            continue;
        }
        visit(&path, &meta, Some(&handle))?;
        if meta.kind == Kind::Directory {
            walk(handle, &path, device, depth + 1, visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::managed;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_is_removed_without_following_symlinks() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "safe").unwrap();
        fs::create_dir_all(inside.path().join("d/e")).unwrap();
        symlink(outside.path(), inside.path().join("d/e/link")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        assert!(root.remove_directory(&managed("/d"), false).is_err());
        root.remove_directory(&managed("/d"), true).unwrap();
        assert!(!inside.path().join("d").exists());
        assert!(outside.path().join("f").exists());
    }
}
