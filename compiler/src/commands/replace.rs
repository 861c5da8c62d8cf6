//! Files are written as a whole: a reader finds the old text or the new one, and a full disk leaves the old one.

use super::failure::Failure;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// Puts `text` in the place of what the file holds, which keeps its owner and permissions; a link stays a link. What is
/// no regular file, such as a pipe, is written to.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    write(path, text.as_bytes())
        .map_err(|source| Failure::Write { what: format!("`{}`", path.display()), source })
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let there = match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return OpenOptions::new().write(true).open(path)?.write_all(bytes);
        }
        Ok(metadata) if metadata.permissions().readonly() => {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only"));
        }
        Ok(metadata) => Some(metadata),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let target = if there.is_some() { path.canonicalize()? } else { path.to_owned() };
    let parent = match target.parent() {
        Some(p) if p != Path::new("") => p,
        _ => Path::new("."),
    };
    // what the umask leaves of it
    let fresh = Permissions::from_mode(0o666);
    let made = tempfile::Builder::new().prefix(".vigoc-").permissions(fresh).tempfile_in(parent);
    let mut file = made.map_err(|e| without_path(e, parent))?;
    file.write_all(bytes)?;
    if let Some(before) = there {
        file.as_file().set_permissions(before.permissions())?;
        keep_owner(file.as_file(), &before)?;
    }
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|e| e.error)?;
    Ok(())
}

/// The reason alone: the name of a file that was only to be there for a moment tells nobody anything.
fn without_path(error: io::Error, parent: &Path) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound {
        let why = format!("there is no directory `{}`", parent.display());
        return io::Error::new(io::ErrorKind::NotFound, why);
    }
    let inner = error.get_ref().and_then(|e| e.source()).and_then(|e| e.downcast_ref::<io::Error>());
    inner.and_then(io::Error::raw_os_error).map_or(error, io::Error::from_raw_os_error)
}

/// A file of somebody else stays theirs; who may not give it back must not replace it.
fn keep_owner(file: &File, before: &Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
        fchown(file, Some(before.uid()), Some(before.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_it_cannot_be_written_names_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no/such/file");
        let said = replace(&path, "x").unwrap_err().to_string();
        assert!(
            said.ends_with(&format!("there is no directory `{}/no/such`", dir.path().display())),
            "{said}"
        );
        assert!(!said.contains(".vigoc-"), "{said}");
        // a directory in which nobody can make a file
        let said = replace(Path::new("/proc/vigo"), "x").unwrap_err().to_string();
        assert!(!said.contains(".vigoc-"), "{said}");
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_link_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a"), dir.path().join("b"));
        replace(&file, "new").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        replace(&link, "newer").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "newer");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let failure = replace(&dir.path().join("no/a"), "x").unwrap_err();
        assert!(failure.to_string().contains("cannot write `"), "{failure}");
        assert!(replace(dir.path(), "x").is_err());
    }
}
