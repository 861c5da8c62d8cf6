//! Extended attributes, access lists among them, of a file that takes another's place.

use super::{FsError, ManagedPath, Root, errno_of, fail};
use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use xattr::FileExt;

/// The list of who else may open a file. A new file may have one from its directory.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// What describes the bytes that are replaced: as the kernel drops a capability when a file is written, so do we.
const OF_THE_CONTENT: &[&str] = &["security.capability", "security.ima", "security.evm"];

/// What SELinux calls a file.
const LABEL: &str = "security.selinux";

impl Root {
    /// Whether the host below this root has SELinux.
    pub fn has_labels(&self) -> bool {
        ManagedPath::parse("/sys/fs/selinux/enforce").is_ok_and(|path| self.follow(&path).is_some())
    }

    /// The SELinux context of a file, if it has one.
    pub fn label(&self, path: &ManagedPath) -> Result<Option<String>, FsError> {
        let (file, _) = self.read(path)?;
        let label = supported(file.get_xattr(LABEL))
            .map_err(|e| fail("read the SELinux context of", path, errno_of(&e)))?;
        // The kernel gives it with a NUL at its end.
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned();
        Ok(label.flatten().map(text))
    }

    /// Gives a file another SELinux context.
    pub fn set_label(&self, path: &ManagedPath, label: &str) -> Result<(), FsError> {
        let (file, _) = self.read(path)?;
        file.set_xattr(LABEL, label.as_bytes())
            .map_err(|e| fail("set the SELinux context of", path, errno_of(&e)))
    }
}

/// Gives `new` the attributes of `old`. Both end closed to everybody but the owner, whatever an access list says; the mode
/// that is set afterwards opens the list again as far as it says.
pub(super) fn keep_attributes(old: &File, new: &File) -> Result<(), Errno> {
    copy(old, new).map_err(|e| errno_of(&e))?;
    fchmod(new, Mode::from_bits_truncate(0o600))
}

fn copy(old: &File, new: &File) -> io::Result<()> {
    let Some(names) = supported(old.list_xattr())? else { return Ok(()) };
    let mut listed = false;
    for name in names {
        listed |= name == ACCESS_LIST;
        if OF_THE_CONTENT.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let Some(value) = supported(old.get_xattr(&name))?.flatten() else { continue };
        if supported(new.get_xattr(&name))?.flatten().as_ref() == Some(&value) {
            continue;
        }
        match new.set_xattr(&name, &value) {
            Err(e) if is_unsupported(&e) => {}
            // Labels and the like are not for everybody to set; such an agent could not have kept them by any other way.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && !is_of_users(&name) => {}
            other => other?,
        }
    }
    if !listed && supported(new.get_xattr(ACCESS_LIST))?.flatten().is_some() {
        new.remove_xattr(ACCESS_LIST)?;
    }
    Ok(())
}

fn is_of_users(name: &OsStr) -> bool {
    name == ACCESS_LIST || name.as_encoded_bytes().starts_with(b"user.")
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOTSUP | Errno::ENOSYS))
}

/// `None` where the file system has no such thing.
fn supported<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(e) if is_unsupported(&e) => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ownership;
    use super::super::testing::{managed, write};
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    /// The bytes of an access list, as the kernel reads them: version 2, then tag, permissions and id of each entry.
    fn access_list(user: u32) -> Vec<u8> {
        const ANY: u32 = u32::MAX;
        let entries = [(1u16, 6u16, ANY), (2, 4, user), (4, 4, ANY), (0x10, 4, ANY), (0x20, 0, ANY)];
        let mut bytes = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    /// A root on a file system that has extended attributes, or nothing.
    fn sandbox() -> Option<(tempfile::TempDir, Root)> {
        let inside = tempfile::tempdir().unwrap();
        fs::write(inside.path().join("f"), "old").unwrap();
        let file = fs::File::open(inside.path().join("f")).unwrap();
        supported(file.set_xattr("user.origin", b"here")).unwrap()?;
        let root = Root::open(inside.path()).unwrap();
        Some((inside, root))
    }

    #[test]
    fn a_replaced_file_keeps_its_attributes() {
        let Some((inside, root)) = sandbox() else { return };
        write(&root, "/f", b"new").unwrap();
        let file = fs::File::open(inside.path().join("f")).unwrap();
        assert_eq!(fs::read(inside.path().join("f")).unwrap(), b"new");
        assert_eq!(file.get_xattr("user.origin").unwrap().as_deref(), Some(b"here".as_slice()));
        let kept = root.back_up(&managed("/f"), 1).unwrap();
        let file = fs::File::open(inside.path().join(kept)).unwrap();
        assert_eq!(file.get_xattr("user.origin").unwrap().as_deref(), Some(b"here".as_slice()));
    }

    #[test]
    fn an_access_list_is_kept_and_the_mode_bounds_it() {
        let Some((inside, root)) = sandbox() else { return };
        let path = inside.path().join("f");
        let list = access_list(4242);
        if supported(fs::File::open(&path).unwrap().set_xattr(ACCESS_LIST, &list)).unwrap().is_none() {
            return;
        }
        let mode = Ownership { mode: Some(0o640), ..Ownership::default() };
        let closed = |new: &std::path::Path| {
            assert_eq!(fs::metadata(new).unwrap().mode() & 0o777, 0o640);
            Ok::<(), super::super::FsError>(())
        };
        root.replace_file(&managed("/f"), b"new", mode, closed).unwrap();
        assert_eq!(fs::File::open(&path).unwrap().get_xattr(ACCESS_LIST).unwrap(), Some(list));

        // A list that comes from the directory is not the file's.
        fs::File::open(inside.path())
            .unwrap()
            .set_xattr("system.posix_acl_default", &access_list(4243))
            .unwrap();
        fs::File::open(&path).unwrap().remove_xattr(ACCESS_LIST).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        root.replace_file(&managed("/f"), b"newer", mode, closed).unwrap();
        assert_eq!(fs::File::open(&path).unwrap().get_xattr(ACCESS_LIST).unwrap(), None);
    }
}
