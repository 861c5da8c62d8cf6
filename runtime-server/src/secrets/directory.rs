//! A file per secret, for its owner alone.

use super::{Provider, SecretError, Stamp, Value, unreadable, without_newline};
use protocol::secrets::MAX_SECRET_BYTES;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Debug)]
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    fn open(&self, path: &str) -> Result<(File, Metadata), SecretError> {
        let file = self.0.join(path);
        let (opened, meta) = open(path, &file, &self.0, MAX_SECRET_BYTES)?;
        if meta.mode() & 0o077 != 0 {
            return Err(SecretError::Exposed { path: path.to_owned(), file });
        }
        Ok((opened, meta))
    }
}

impl Provider for Directory {
    fn fetch(&self, path: &str) -> Result<Value, SecretError> {
        let (opened, meta) = self.open(path)?;
        Ok(without_newline(read(path, opened, &meta)?))
    }

    fn stamp(&self, path: &str) -> Result<Option<Stamp>, SecretError> {
        Ok(Some(stamp(&self.open(path)?.1)))
    }
}

/// Opens a plain file of at most `limit` bytes. What is said of it is of the open file, so that what is checked is what
/// is read.
pub(super) fn open(
    path: &str,
    file: &Path,
    dir: &Path,
    limit: usize,
) -> Result<(File, Metadata), SecretError> {
    let opened = File::open(file).map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            SecretError::Missing { path: path.to_owned(), place: dir.display().to_string() }
        }
        _ => unreadable(path, e),
    })?;
    let meta = opened.metadata().map_err(|e| unreadable(path, e))?;
    if !meta.is_file() {
        return Err(unreadable(path, "not a file"));
    }
    if meta.len() > limit as u64 {
        return Err(unreadable(path, "too large"));
    }
    Ok((opened, meta))
}

/// All of it, into memory that is wiped.
pub(super) fn read(path: &str, opened: File, meta: &Metadata) -> Result<Value, SecretError> {
    // Never more than was looked at: growing would leave copies behind.
    let mut value = Zeroizing::new(Vec::with_capacity(meta.len() as usize + 1));
    opened.take(meta.len()).read_to_end(&mut value).map_err(|e| unreadable(path, e))?;
    Ok(value)
}

pub(super) fn stamp(meta: &Metadata) -> Stamp {
    (meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len())
}

#[cfg(test)]
mod tests {
    use super::super::{Backend, Secrets};
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn write(file: &Path, text: &str, mode: u32) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn files_are_secrets_when_nobody_else_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(&Backend::Directory(dir.path().to_owned()), [1; 32]).unwrap();
        assert!(matches!(secrets.get("db/password"), Err(SecretError::Missing { .. })));
        let file = dir.path().join("db/password");
        write(&file, "hunter2\n", 0o644);
        assert!(matches!(secrets.get("db/password"), Err(SecretError::Exposed { .. })));
        write(&file, "hunter2\n", 0o600);
        let first = secrets.get("db/password").unwrap();
        assert_eq!(first.value.as_slice(), b"hunter2");
        assert_eq!(secrets.get("db/password").unwrap().version, first.version);
        write(&file, "hunter33\n", 0o600);
        assert_ne!(secrets.get("db/password").unwrap().version, first.version);
        assert!(matches!(
            secrets.get("db"),
            Err(SecretError::Exposed { .. } | SecretError::Unreadable { .. })
        ));
        fs::remove_file(&file).unwrap();
        assert!(matches!(secrets.get("db/password"), Err(SecretError::Missing { .. })));
    }
}
