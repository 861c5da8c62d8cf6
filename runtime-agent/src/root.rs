//! The only way to a managed file.
//!
//! A path is resolved by the kernel below the root's directory handle (`openat2` with `RESOLVE_IN_ROOT`), so neither
//! `..` nor a symlink leads out, whoever swaps directories meanwhile. The last name is never followed:
//! everything acts on (parent handle, name).

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, fsync, symlinkat, unlinkat};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

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
    parent: String,
    name: String,
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
}

impl std::fmt::Display for ManagedPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.parent != "." {
            write!(f, "/{}", self.parent)?;
        }
        write!(f, "/{}", self.name)
    }
}

/// What a file operation failed at.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {}{}", describe(*.errno), hint(*.errno))]
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

fn hint(errno: Errno) -> &'static str {
    match errno {
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

/// Directories nested deeper than this are not walked.
const MAX_DEPTH: usize = 100;
const TEMPORARY: &str = ".vigo-new-";

/// A directory that every managed path lies below.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
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
        let fail = |errno| FsError { action: "open root directory", path: path.display().to_string(), errno };
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let directory = open(path, flags, Mode::empty()).map_err(fail)?;
        // Programs that are given a path start elsewhere than we did.
        let path = path.canonicalize().map_err(|e| fail(errno_of(&e)))?;
        Ok(Root { directory, path })
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

    /// Replaces a file in one step. The new content is on disk, with its owner and mode, before it has
    /// the name; until then it is readable by root alone.
    ///
    /// `check` is given the temporary file's path and may refuse it.
    pub fn replace_file<E: From<FsError>>(
        &self,
        path: &ManagedPath,
        content: &[u8],
        ownership: Ownership,
        check: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = self.place(path).map_err(|errno| fail("write", path, errno))?;
        place.sweep();
        let (name, file) = place.temporary().map_err(|errno| fail("write", path, errno))?;
        let written = (|| {
            let mut file = File::from(file);
            file.write_all(content).map_err(|e| fail("write", path, errno_of(&e)))?;
            settle(&file, ownership).map_err(|errno| fail("set owner and mode of", path, errno))?;
            file.sync_all().map_err(|e| fail("write", path, errno_of(&e)))?;
            check(&place.root.path.join(&path.parent).join(&name))?;
            renameat(&place.parent, name.as_str(), &place.parent, path.name.as_str())
                .map_err(|errno| fail("write", path, errno))?;
            fsync(&place.parent).map_err(|errno| fail("write", path, errno))?;
            Ok(())
        })();
        if written.is_err() {
            // After a rename the name is gone, and what is left otherwise is swept at the next write.
            let _ = unlinkat(&place.parent, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Keeps the present content beside the file as `<name>.vigo-<unix seconds>.bak`, as readable as the
    /// original.
    pub fn back_up(&self, path: &ManagedPath, unix_seconds: u64) -> Result<String, FsError> {
        let failed = |errno| fail("back up", path, errno);
        let place = self.place(path).map_err(failed)?;
        let (mut original, meta) = place.open_file().map_err(failed)?;
        let mut suffix = String::new();
        for attempt in 1..100 {
            let name = format!("{}.vigo-{unix_seconds}{suffix}.bak", path.name);
            match place.create(&name) {
                Ok(fd) => {
                    let mut copy = File::from(fd);
                    let ownership =
                        Ownership { uid: Some(meta.uid), gid: Some(meta.gid), mode: Some(meta.mode) };
                    let kept = std::io::copy(&mut original, &mut copy)
                        .map_err(|e| errno_of(&e))
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
        fsync(&place.parent).map_err(failed)
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
            .and_then(|()| fsync(&place.parent));
            if done.is_err() {
                let _ = unlinkat(&place.parent, name.as_str(), UnlinkatFlags::NoRemoveDir);
            }
            return done.map_err(failed);
        }
        Err(failed(Errno::EEXIST))
    }

    /// Removes a file or symlink.
    pub fn remove(&self, path: &ManagedPath) -> Result<(), FsError> {
        let failed = |errno| fail("remove", path, errno);
        let place = self.place(path).map_err(failed)?;
        unlinkat(&place.parent, path.name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(failed)?;
        fsync(&place.parent).map_err(failed)
    }

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
        let Ok(directory) =
            openat(&self.parent, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        else {
            return;
        };
        for name in names(directory).unwrap_or_default() {
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

fn names(directory: OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut all = Vec::new();
    for entry in nix::dir::Dir::from_fd(directory)? {
        let bytes = entry?.file_name().to_bytes().to_vec();
        if bytes != b"." && bytes != b".." {
            all.push(OsString::from_vec(bytes));
        }
    }
    all.sort();
    Ok(all)
}

fn open_child(parent: &OwnedFd, name: &std::ffi::OsStr, extra: OFlag) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    openat(parent, name, flags | extra, Mode::empty())
}

fn remove_tree(
    parent: &OwnedFd,
    name: impl AsRef<std::ffi::OsStr>,
    device: u64,
    depth: usize,
) -> Result<(), Errno> {
    let name = name.as_ref();
    if depth > MAX_DEPTH {
        return Err(Errno::ELOOP);
    }
    let directory = open_child(parent, name, OFlag::O_DIRECTORY)?;
    if Meta::from(fstat(&directory)?).device != device {
        return Err(Errno::EXDEV);
    }
    for child in names(directory.try_clone().map_err(|e| errno_of(&e))?)? {
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
    for child in names(list).map_err(failed)? {
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

fn fail(action: &'static str, path: &ManagedPath, errno: Errno) -> FsError {
    FsError { action, path: crate::text::printable(&path.to_string()), errno }
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn managed(text: &str) -> ManagedPath {
        ManagedPath::parse(text).unwrap()
    }

    fn write(root: &Root, path: &str, content: &[u8]) -> Result<(), FsError> {
        root.replace_file(&managed(path), content, Ownership::default(), |_| Ok(()))
    }

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
        assert_eq!(managed("/etc/motd").to_string(), "/etc/motd");
        assert_eq!(managed("/etc/").to_string(), "/etc");
        assert_eq!(managed("/a b/-rf").to_string(), "/a b/-rf");
    }

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
            let root = Root::open(inside.path()).unwrap();
            let (mut tried, mut written) = (0, 0);
            let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
            // The other thread may be put to sleep while a link stands there: then 300 are over in no time.
            while tried < 300 || written == 0 && std::time::Instant::now() < end {
                tried += 1;
                written += usize::from(write(&root, "/d/f", b"x").is_ok());
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(written > 0, "none of {tried}");
        });
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn case_082_a_fifo_is_refused_and_does_not_hang() {
        let inside = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&inside.path().join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        let root = Root::open(inside.path()).unwrap();
        assert_eq!(root.inspect(&managed("/fifo")).unwrap().unwrap().kind, Kind::Special("a FIFO"));
        assert_eq!(root.read(&managed("/fifo")).unwrap_err().errno, Errno::EINVAL);
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
