//! Removing from a directory what nothing asks for.
//!
//! What is kept is told by (directory, name), not by a path's text, so a name reached through a symlink is the same name.
//! Looking and removing are one walk: a dry run says what a real run does.

use super::tree::{names, open_child};
use super::{FsError, Identity, Kind, ManagedPath, Meta, Root, errno_of, fail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{fstat, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;

/// Entries one purge removes. A policy that means more than this is more likely a policy that is wrong.
pub const MOST_REMOVED: usize = 10_000;
/// Entries one purge looks at, those that stay included.
const MOST_SEEN: usize = 100_000;
const MAX_DEPTH: usize = 100;
/// Things that appear while a directory is being emptied are met again this often.
const PASSES: usize = 3;

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays, with all that is in it.
    Keep,
    /// It stays; what is in it is asked about.
    Enter,
    /// It goes, but for what in it stays.
    Go,
}

/// Asked about each entry: the directory it is in, and its name.
pub type Ask<'a> = dyn Fn(Identity, &OsStr) -> Fate + 'a;

/// Something that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surplus {
    /// Below the directory, as far as it is text.
    pub path: String,
    /// What it is.
    pub kind: Kind,
}

/// Why nothing more is removed.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The file system.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// More than anybody would want without having looked.
    #[error(
        "{path} holds more than {MOST_REMOVED} entries that nothing manages; nothing was removed, look at them and remove them by hand"
    )]
    TooMany {
        /// The directory.
        path: String,
    },
    /// More than is looked at.
    #[error(
        "{path} holds more than {MOST_SEEN} entries; `purge` is for directories that can be looked through"
    )]
    TooLarge {
        /// The directory.
        path: String,
    },
    /// Deeper than is looked at.
    #[error("{path} is nested deeper than {MAX_DEPTH} directories; remove it by hand")]
    TooDeep {
        /// The directory.
        path: String,
    },
}

impl Root {
    /// What a purge of a directory would remove, contents before what holds them.
    pub fn surplus(&self, path: &ManagedPath, ask: &Ask<'_>) -> Result<Vec<Surplus>, PurgeError> {
        Ok(self.pass(path, ask, false)?.surplus)
    }

    /// Removes what [`Root::surplus`] finds, or nothing where that is too much. What appears meanwhile goes too, if it
    /// may; a directory that never gets empty stays.
    pub fn purge(&self, path: &ManagedPath, ask: &Ask<'_>) -> Result<(), PurgeError> {
        self.surplus(path, ask)?;
        for _ in 0..PASSES {
            let pass = self.pass(path, ask, true)?;
            if let Some(error) = pass.error {
                return Err(error.into());
            }
            if !pass.refilled {
                break;
            }
        }
        Ok(())
    }

    fn pass(&self, path: &ManagedPath, ask: &Ask<'_>, remove: bool) -> Result<Pass, PurgeError> {
        let failed = |errno| PurgeError::Fs(fail("purge", path, errno));
        let place = self.place(path).map_err(failed)?;
        let directory = place.open(OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(failed)?;
        let device = fstat(&directory).map(|s| Meta::from(s).device).map_err(failed)?;
        let mut pass = Pass {
            top: path.to_string(),
            device,
            remove,
            seen: 0,
            surplus: Vec::new(),
            refilled: false,
            error: None,
        };
        pass.directory(&directory, "", ask, 0)?;
        Ok(pass)
    }
}

/// One walk.
struct Pass {
    top: String,
    device: u64,
    remove: bool,
    seen: usize,
    surplus: Vec<Surplus>,
    /// Something came into a directory while it was being emptied.
    refilled: bool,
    /// The first thing that could not be removed; the others are none the worse for it.
    error: Option<FsError>,
}

impl Pass {
    /// Whether anything in it stays.
    fn directory(
        &mut self,
        directory: &OwnedFd,
        below: &str,
        ask: &Ask<'_>,
        depth: usize,
    ) -> Result<bool, PurgeError> {
        let top = || crate::text::printable(&self.top);
        if depth > MAX_DEPTH {
            return Err(PurgeError::TooDeep { path: top() });
        }
        let failed = |errno| FsError { action: "look into", path: self.shown(below), errno };
        let within = fstat(directory).map(Identity::from).map_err(failed)?;
        let list = directory.try_clone().map_err(|e| failed(errno_of(&e)))?;
        let children = names(list, MOST_SEEN + 1 - self.seen).map_err(failed)?;
        self.seen += children.len();
        if self.seen > MOST_SEEN {
            return Err(PurgeError::TooLarge { path: top() });
        }
        let (mut stays, mut removed) = (false, false);
        for name in children {
            let fate = ask(within, &name);
            let path = match below {
                "" => name.to_string_lossy().into_owned(),
                below => format!("{below}/{}", name.to_string_lossy()),
            };
            let gone = fate != Fate::Keep && self.entry(directory, &name, &path, fate, ask, depth)?;
            stays |= !gone;
            removed |= gone;
        }
        if self.remove && removed {
            fsync(directory).map_err(|errno| FsError { action: "purge", path: self.shown(below), errno })?;
        }
        Ok(stays)
    }

    /// Whether it goes, or is gone.
    fn entry(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &str,
        fate: Fate,
        ask: &Ask<'_>,
        depth: usize,
    ) -> Result<bool, PurgeError> {
        let failed = |errno| FsError { action: "look at", path: self.shown(path), errno };
        let meta = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Meta::from(stat),
            Err(Errno::ENOENT) => return Ok(true),
            Err(errno) => return Err(failed(errno).into()),
        };
        // Another file system is somebody's decision.
        if meta.device != self.device {
            return Ok(false);
        }
        if meta.kind == Kind::Directory {
            let directory = match open_child(parent, name, OFlag::O_DIRECTORY) {
                Ok(directory) => directory,
                // Something else took its name: the next run sees it.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(false),
                Err(errno) => return Err(failed(errno).into()),
            };
            // What was opened decides, not what stood there a moment before.
            if fstat(&directory).map(|s| Meta::from(s).device).map_err(failed)? != self.device {
                return Ok(false);
            }
            if self.directory(&directory, path, ask, depth + 1)? || fate == Fate::Enter {
                return Ok(false);
            }
        } else if fate == Fate::Enter {
            return Ok(false);
        }
        if self.surplus.len() >= MOST_REMOVED {
            return Err(PurgeError::TooMany { path: crate::text::printable(&self.top) });
        }
        self.surplus.push(Surplus { path: path.to_owned(), kind: meta.kind });
        if !self.remove {
            return Ok(true);
        }
        let how = match meta.kind {
            Kind::Directory => UnlinkatFlags::RemoveDir,
            _ => UnlinkatFlags::NoRemoveDir,
        };
        match unlinkat(parent, name, how) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EISDIR | Errno::ENOTDIR) => {
                self.refilled = true;
                Ok(false)
            }
            Err(errno) => {
                let error = FsError { action: "remove", path: self.shown(path), errno };
                self.error.get_or_insert(error);
                Ok(false)
            }
        }
    }

    fn shown(&self, below: &str) -> String {
        let slash = if below.is_empty() { "" } else { "/" };
        crate::text::printable(&format!("{}{slash}{below}", self.top))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::managed;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn sandbox() -> (tempfile::TempDir, Root) {
        let inside = tempfile::tempdir().unwrap();
        fs::create_dir(inside.path().join("srv")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        (inside, root)
    }

    fn by_name(_: Identity, name: &OsStr) -> Fate {
        match name.to_str() {
            Some("keep") => Fate::Keep,
            Some("enter") => Fate::Enter,
            _ => Fate::Go,
        }
    }

    fn left(directory: &std::path::Path) -> Vec<String> {
        let mut all = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                all.extend(left(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
            }
            all.push(name);
        }
        all.sort();
        all
    }

    #[test]
    fn what_nothing_keeps_goes_and_symlinks_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "safe").unwrap();
        let (inside, root) = sandbox();
        let srv = inside.path().join("srv");
        for directory in ["a/b", "c/d", "keep", "enter/x"] {
            fs::create_dir_all(srv.join(directory)).unwrap();
        }
        for file in ["f", "a/b/f", "c/d/keep", "keep/f", "enter/f", "enter/x/f"] {
            fs::write(srv.join(file), "").unwrap();
        }
        symlink(outside.path(), srv.join("link")).unwrap();
        let found = root.surplus(&managed("/srv"), &by_name).unwrap();
        let paths: Vec<&str> = found.iter().map(|s| s.path.as_str()).collect();
        assert_eq!(paths, ["a/b/f", "a/b", "a", "enter/f", "enter/x/f", "enter/x", "f", "link"]);
        assert_eq!(found.last().unwrap().kind, Kind::Symlink);
        assert!(srv.join("a/b/f").exists(), "looking removes nothing");
        root.purge(&managed("/srv"), &by_name).unwrap();
        assert_eq!(left(&srv), ["c", "c/d", "c/d/keep", "enter", "keep", "keep/f"]);
        assert!(outside.path().join("f").exists());
        assert!(root.surplus(&managed("/srv"), &by_name).unwrap().is_empty());
    }

    #[test]
    fn a_directory_that_is_a_symlink_is_not_purged() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "safe").unwrap();
        let (inside, root) = sandbox();
        symlink(outside.path(), inside.path().join("link")).unwrap();
        assert!(root.purge(&managed("/link"), &by_name).is_err());
        assert!(outside.path().join("f").exists());
    }

    #[test]
    fn too_much_removes_nothing() {
        let (inside, root) = sandbox();
        for n in 0..=MOST_REMOVED {
            fs::write(inside.path().join(format!("srv/{n}")), "").unwrap();
        }
        let error = root.purge(&managed("/srv"), &by_name).unwrap_err();
        assert!(matches!(error, PurgeError::TooMany { .. }), "{error}");
        assert_eq!(left(&inside.path().join("srv")).len(), MOST_REMOVED + 1);
        fs::remove_file(inside.path().join("srv/0")).unwrap();
        root.purge(&managed("/srv"), &by_name).unwrap();
        assert!(left(&inside.path().join("srv")).is_empty());
    }

    #[test]
    fn too_deep_is_said() {
        let (inside, root) = sandbox();
        fs::create_dir_all(inside.path().join("srv").join("d/".repeat(MAX_DEPTH + 2))).unwrap();
        let error = root.surplus(&managed("/srv"), &by_name).unwrap_err();
        assert_eq!(error.to_string(), "/srv is nested deeper than 100 directories; remove it by hand");
    }

    #[test]
    fn a_writer_at_work_costs_neither_a_kept_file_nor_an_error() {
        let (inside, root) = sandbox();
        let srv = inside.path().join("srv");
        fs::write(srv.join("keep"), "").unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 0u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    n += 1;
                    let directory = srv.join(format!("d{}", n % 7));
                    let _ = fs::create_dir(&directory);
                    let _ = fs::write(directory.join("f"), "");
                    let _ = fs::write(srv.join("x"), "");
                    let _ = fs::rename(srv.join("x"), srv.join("y"));
                }
            });
            for _ in 0..300 {
                root.purge(&managed("/srv"), &by_name).unwrap();
                assert!(srv.join("keep").exists());
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        root.purge(&managed("/srv"), &by_name).unwrap();
        assert_eq!(left(&srv), ["keep"]);
    }
}
