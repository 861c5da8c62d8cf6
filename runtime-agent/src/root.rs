//! The only way to a managed file.
//!
//! A path is resolved by the kernel below the root's directory handle (`openat2` with `RESOLVE_IN_ROOT`), so neither
//! `..` nor a symlink leads out, whoever swaps directories meanwhile. The last name is never followed:
//! everything acts on (parent handle, name).

mod attributes;
mod change;
mod path;
mod purge;
mod tree;

pub use change::{backed_up, settle_handle};
pub use path::{ManagedPath, PathError};
pub use purge::{Ask, Fate, MOST_REMOVED, PurgeError, Surplus};
pub use tree::Visit;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What a file operation failed at.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {}{}", describe(*.errno), hint(.action, *.errno))]
pub struct FsError {
    /// What was tried.
    pub action: &'static str,
    /// Where.
    pub path: String,
    /// Why not.
    pub errno: Errno,
}

fn describe(errno: Errno) -> String {
    errno.desc().to_lowercase()
}

/// What is tried first, and by no resource.
const OPEN_ROOT: &str = "open root directory";

fn hint(action: &str, errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR if action == OPEN_ROOT => {
            "; the directory that `--root` names has to exist"
        }
        Errno::ENOENT | Errno::ENOTDIR => "; declare its parent as a `directory` that comes first",
        Errno::ENOSPC | Errno::EDQUOT => "; free some space, the next run tries again",
        Errno::EROFS => "; the file system is mounted read-only",
        Errno::ENOSYS => "; this needs Linux 5.6 or newer",
        _ => "",
    }
}

/// What stands at a path, the last name not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink.
    Symlink,
    /// A FIFO, socket or device.
    Special(&'static str),
}

impl Kind {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::File => "a file",
            Kind::Directory => "a directory",
            Kind::Symlink => "a symlink",
            Kind::Special(name) => name,
        }
    }

    /// What sets it apart in a list of paths.
    pub fn suffix(self) -> &'static str {
        if self == Kind::Directory { "/" } else { "" }
    }
}

/// Owner, mode and kind of what stands at a path.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Names it has.
    pub links: u64,
    device: u64,
}

impl From<FileStat> for Meta {
    #[allow(clippy::unnecessary_cast, reason = "these fields are narrower on some architectures")]
    fn from(stat: FileStat) -> Self {
        let kind = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => Kind::Symlink,
            SFlag::S_IFIFO => Kind::Special("a FIFO"),
            SFlag::S_IFSOCK => Kind::Special("a socket"),
            SFlag::S_IFCHR | SFlag::S_IFBLK => Kind::Special("a device"),
            _ => Kind::Special("something unknown"),
        };
        Meta {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            links: stat.st_nlink as u64,
            device: stat.st_dev as u64,
        }
    }
}

/// A file or directory, whatever path leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl From<FileStat> for Identity {
    #[allow(clippy::unnecessary_cast, reason = "these fields are narrower on some architectures")]
    fn from(stat: FileStat) -> Self {
        Identity { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

/// Owner, group and mode to give; `None` leaves one alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// A directory that every managed path lies below.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
    /// Each change is on disk before the next one begins.
    durable: bool,
}

/// What to do where the last name of a path is a symlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Go where it leads, below the root.
    Followed,
    /// Fail: whoever may write to the directory it is in has put it there.
    Refused,
}

/// A parent directory, held open, and a name in it.
struct Place<'a> {
    root: &'a Root,
    path: &'a ManagedPath,
    parent: OwnedFd,
}

impl Root {
    /// Opens a root; `/` on a host.
    pub fn open(path: &Path) -> Result<Self, FsError> {
        let fail = |errno| FsError { action: OPEN_ROOT, path: path.display().to_string(), errno };
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let directory = open(path, flags, Mode::empty()).map_err(fail)?;
        // Programs that are given a path start elsewhere than we did.
        let path = path.canonicalize().map_err(|e| fail(errno_of(&e)))?;
        Ok(Root { directory, path, durable: true })
    }

    /// A directory below this root as a root of its own: nothing in it leads out of it.
    pub fn below(&self, path: &ManagedPath, last: Last) -> Result<Root, FsError> {
        let directory = match last {
            Last::Followed => self.directory(path)?,
            Last::Refused => self
                .place(path)
                .and_then(|place| place.open(OFlag::O_RDONLY | OFlag::O_DIRECTORY))
                .map_err(|errno| fail("enter", path, errno))?,
        };
        let path = self.path.join(&path.parent).join(&path.name);
        Ok(Root { directory, path, durable: self.durable })
    }

    /// The same root for many changes: they are on disk, and what a dead agent left in it is gone, only after
    /// [`Root::flush`].
    pub fn flushed_at_once(self) -> Root {
        Root { durable: false, ..self }
    }

    /// Brings to disk what was changed below a root that is [`flushed_at_once`](Root::flushed_at_once).
    pub fn flush(&self) -> Result<(), FsError> {
        nix::unistd::syncfs(&self.directory).map_err(|errno| FsError {
            action: "write",
            path: crate::text::printable(&self.path.display().to_string()),
            errno,
        })
    }

    /// Where the root is, for messages and for programs that are given a path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the host's own root.
    pub fn is_host(&self) -> bool {
        self.path == Path::new("/")
    }

    fn resolve(&self, below: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        // The kernel answers EAGAIN when something was renamed while it resolved.
        for _ in 0..64 {
            match openat2(&self.directory, below, how) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                answer => return answer,
            }
        }
        openat2(&self.directory, below, how)
    }

    fn place<'a>(&'a self, path: &'a ManagedPath) -> Result<Place<'a>, Errno> {
        let parent = self.resolve(&path.parent, OFlag::O_DIRECTORY | OFlag::O_RDONLY)?;
        Ok(Place { root: self, path, parent })
    }

    /// What stands at a path; `None` when nothing does, its parents included.
    pub fn inspect(&self, path: &ManagedPath) -> Result<Option<Meta>, FsError> {
        match self.place(path).and_then(|place| place.stat()) {
            Ok(meta) => Ok(Some(meta)),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(fail("read", path, errno)),
        }
    }

    /// The directory that a path's last name is in, symlinks on the way followed; `None` when there is none yet.
    pub fn parent_of(&self, path: &ManagedPath) -> Result<Option<Identity>, FsError> {
        let parent = self.resolve(&path.parent, OFlag::O_DIRECTORY | OFlag::O_PATH);
        match parent.and_then(fstat) {
            Ok(stat) => Ok(Some(stat.into())),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(fail("find", path, errno)),
        }
    }

    /// The file or directory that a path's last name is, not followed; `None` when there is none.
    pub fn identity(&self, path: &ManagedPath) -> Result<Option<Identity>, FsError> {
        let stat = self
            .place(path)
            .and_then(|place| fstatat(&place.parent, path.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW));
        match stat {
            Ok(stat) => Ok(Some(stat.into())),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(fail("read", path, errno)),
        }
    }

    /// What a path leads to when symlinks, the last one too, are followed below the root.
    pub fn follow(&self, path: &ManagedPath) -> Option<Meta> {
        let below = format!("{}/{}", path.parent, path.name);
        let fd = self.resolve(&below, OFlag::O_PATH).ok()?;
        fstat(&fd).ok().map(Meta::from)
    }

    /// Opens a directory for a command to start in, symlinks followed below the root.
    pub fn directory(&self, path: &ManagedPath) -> Result<OwnedFd, FsError> {
        let below = format!("{}/{}", path.parent, path.name);
        self.resolve(&below, OFlag::O_DIRECTORY | OFlag::O_RDONLY).map_err(|errno| fail("enter", path, errno))
    }

    /// Opens a regular file for reading. A FIFO does not block and is refused.
    pub fn read(&self, path: &ManagedPath) -> Result<(File, Meta), FsError> {
        let opened = self.place(path).and_then(|place| place.open_file());
        opened.map_err(|errno| fail("read", path, errno))
    }

    /// A small text file that symlinks may lead to (`/etc/os-release`); `None` when there is none.
    pub fn read_text(&self, path: &ManagedPath, limit: u64) -> Option<String> {
        let below = format!("{}/{}", path.parent, path.name);
        let fd = self.resolve(&below, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).ok()?;
        if Meta::from(fstat(&fd).ok()?).kind != Kind::File {
            return None;
        }
        let mut bytes = Vec::new();
        File::from(fd).take(limit).read_to_end(&mut bytes).ok()?;
        String::from_utf8(bytes).ok()
    }

    /// Where a symlink points, as bytes.
    pub fn read_link(&self, path: &ManagedPath) -> Result<Vec<u8>, FsError> {
        let target = self.place(path).and_then(|p| readlinkat(&p.parent, path.name.as_str()));
        target.map(OsString::into_vec).map_err(|errno| fail("read", path, errno))
    }
}

impl Place<'_> {
    fn stat(&self) -> Result<Meta, Errno> {
        fstatat(&self.parent, self.path.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map(Meta::from)
    }

    fn open(&self, flags: OFlag) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        openat(&self.parent, self.path.name.as_str(), flags, Mode::empty())
    }

    fn open_file(&self) -> Result<(File, Meta), Errno> {
        let fd = self.open(OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        let meta = Meta::from(fstat(&fd)?);
        if meta.kind == Kind::File { Ok((File::from(fd), meta)) } else { Err(Errno::EINVAL) }
    }
}

fn fail(action: &'static str, path: &ManagedPath, errno: Errno) -> FsError {
    FsError { action, path: crate::text::printable(&path.to_string()), errno }
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod testing {
    use super::*;

    pub fn managed(text: &str) -> ManagedPath {
        ManagedPath::parse(text).unwrap()
    }

    pub fn write(root: &Root, path: &str, content: &[u8]) -> Result<(), FsError> {
        root.replace_file(&managed(path), content, Ownership::default(), |_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::managed;
    use super::*;

    #[test]
    fn case_082_a_fifo_is_refused_and_does_not_hang() {
        let inside = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&inside.path().join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        let root = Root::open(inside.path()).unwrap();
        assert_eq!(root.inspect(&managed("/fifo")).unwrap().unwrap().kind, Kind::Special("a FIFO"));
        assert_eq!(root.read(&managed("/fifo")).unwrap_err().errno, Errno::EINVAL);
    }
}
