//! The state directory: where it is, and that nobody else can write to it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Somebody else could change what is in it.
    #[error("state directory {path} is not safe: {why}; {fix}")]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What to type.
        fix: String,
    },
    /// Another agent works on it.
    #[error("another agent is at work on {0}; wait for it or stop it")]
    Locked(PathBuf),
    /// No room.
    #[error("no space left for {path}; the previous state is untouched, free some space and run again")]
    Full {
        /// What was being written.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Whether the file system is out of room for us.
pub fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StateError {
    let path = path.to_owned();
    move |source| {
        if is_full(&source) { StateError::Full { path } } else { StateError::Io { action, path, source } }
    }
}

/// The agent's own directory and the names in it.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// The state directory below a root; nothing is touched.
    pub fn below(root: &Path) -> Self {
        StateDir { path: crate::own::below(root, crate::own::STATE) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The embedded store.
    pub fn store(&self) -> PathBuf {
        self.path.join("store.redb")
    }

    /// The second copy of the marks that must never fall.
    pub fn marks(&self) -> PathBuf {
        self.path.join("marks.json")
    }

    /// Keys, certificates and who this envoy is.
    pub fn identity(&self) -> PathBuf {
        self.path.join("identity")
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes it where it is missing, 0700, and refuses one that others can write to.
    pub fn prepare(&self) -> Result<(), StateError> {
        if let Some(parent) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(io("create", parent))?;
        }
        private_dir(&self.path)
    }

    /// Refuses a state directory that others can write to. A missing one is fine.
    pub fn check(&self) -> Result<(), StateError> {
        match fs::symlink_metadata(&self.path) {
            Ok(meta) => check_private(&self.path, &meta),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(io("read", &self.path)(e)),
        }
    }

    /// Held while the guard lives; the kernel lets go when the process dies.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.path.join("lock");
        let file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io("open", &path))?;
        match nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock) {
            Ok(guard) => Ok(StateLock(guard)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(StateError::Locked(self.path.clone())),
            Err((_, errno)) => Err(io("lock", &path)(errno.into())),
        }
    }
}

/// One agent at a time on one state directory.
#[derive(Debug)]
pub struct StateLock(#[expect(dead_code, reason = "held, not read")] nix::fcntl::Flock<fs::File>);

/// Makes a directory 0700, or checks the one that is there.
pub fn private_dir(path: &Path) -> Result<(), StateError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(path).map_err(io("read", path))?;
            check_private(path, &meta)
        }
        Err(e) => Err(io("create", path)(e)),
    }
}

fn check_private(path: &Path, meta: &fs::Metadata) -> Result<(), StateError> {
    let refuse =
        |why: &str, fix: String| Err(StateError::Unsafe { path: path.to_owned(), why: why.to_owned(), fix });
    let shown = path.display();
    if meta.file_type().is_symlink() {
        return refuse(
            "it is a symlink",
            format!("replace it by a directory: rm {shown} && mkdir -m 700 {shown}"),
        );
    }
    if !meta.is_dir() {
        return refuse("it is not a directory", format!("move it away: mv {shown} {shown}.old"));
    }
    if meta.mode() & 0o022 != 0 {
        return refuse("others may write to it", format!("chmod 700 {shown}"));
    }
    let euid = nix::unistd::geteuid().as_raw();
    if meta.uid() != euid {
        return refuse(
            &format!("it belongs to uid {}, not {euid}", meta.uid()),
            format!("chown {euid} {shown}"),
        );
    }
    Ok(())
}

/// Replaces a file of our own in one step: 0600 from its first instant, on disk before it has its name.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let temporary = path.with_extension("new");
    let failed = |e| io("write", path)(e);
    match fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(parent) => fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    })();
    written.map_err(|e| {
        // What is left of it is swept at the next write.
        let _ = fs::remove_file(&temporary);
        failed(e)
    })
}

/// A whole file of ours; `None` when there is none.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io("read", path)(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn case_083_an_unsafe_state_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::below(root.path());
        state.prepare().unwrap();
        state.prepare().unwrap();
        assert_eq!(fs::metadata(state.path()).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(state.prepare(), Err(StateError::Unsafe { .. })));
        assert!(matches!(state.check(), Err(StateError::Unsafe { .. })));
        fs::remove_dir(state.path()).unwrap();
        symlink("/tmp", state.path()).unwrap();
        assert!(matches!(state.prepare(), Err(StateError::Unsafe { .. })));
    }

    #[test]
    fn case_065_one_agent_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::below(root.path());
        state.prepare().unwrap();
        let first = state.lock().unwrap();
        assert!(matches!(state.lock(), Err(StateError::Locked(_))));
        drop(first);
        state.lock().unwrap();
    }

    #[test]
    fn private_files_are_private_and_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
