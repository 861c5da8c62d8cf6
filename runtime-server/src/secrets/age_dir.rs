//! A directory of files encrypted with [age](https://age-encryption.org/v1): they can lie in a repository or a backup,
//! and only whoever has the identity reads them.

use super::directory::{open, read, stamp};
use super::{Provider, SecretError, Stamp, Value, check_path, unreadable, without_newline};
use crate::files::{self, FileError, create_private_dir};
use age::armor::ArmoredReader;
use age::secrecy::ExposeSecret;
use age::x25519::{Identity, Recipient};
use protocol::secrets::MAX_SECRET_BYTES;
use std::fmt;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// After the path of a secret, its file.
const SUFFIX: &str = ".age";
/// Bytes of an encrypted file: the value, a header for some dozens of recipients, and armour around both.
const MAX_FILE_BYTES: usize = 2 * MAX_SECRET_BYTES;
/// Recipients besides the server, a line each, in the directory itself.
const RECIPIENTS: &str = "recipients.txt";

/// Why a secret was not written, or the directory not looked through.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// The path, or the secret at it.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The identity.
    #[error("{}: {why}", file.display())]
    Identity {
        /// Its file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A line of `recipients.txt`.
    #[error("{}:{line}: not an age recipient; one looks like `age1…`", file.display())]
    Recipient {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The value.
    #[error("a secret has at least one byte and at most {MAX_SECRET_BYTES}; this one has {0}")]
    Size(usize),
    /// Encrypting or writing.
    #[error("cannot write {}: {why}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// Reading a directory.
    #[error("cannot read {}: {why}", dir.display())]
    List {
        /// The directory.
        dir: PathBuf,
        /// Why.
        why: std::io::Error,
    },
}

/// A secret that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// When it was last written, in milliseconds since 1970-01-01 UTC.
    pub changed_at: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct AgeDirectory {
    dir: PathBuf,
    identity_file: PathBuf,
}

impl Provider for AgeDirectory {
    fn fetch(&self, path: &str) -> Result<Value, SecretError> {
        let (opened, meta) = open(path, &self.file(path), &self.dir, MAX_FILE_BYTES)?;
        let sealed = read(path, opened, &meta)?;
        let identities = self.identities().map_err(|e| unreadable(path, e))?;
        decrypt(&sealed, &identities).map(without_newline).map_err(|e| unreadable(path, e))
    }

    fn stamp(&self, path: &str) -> Result<Option<Stamp>, SecretError> {
        Ok(Some(stamp(&open(path, &self.file(path), &self.dir, MAX_FILE_BYTES)?.1)))
    }

    fn keeper(&self) -> Option<AgeDirectory> {
        Some(self.clone())
    }
}

impl AgeDirectory {
    /// Over files in `dir`. The identity is read each time it is needed, and not kept.
    pub fn new(dir: &Path, identity_file: &Path) -> Self {
        AgeDirectory { dir: dir.to_owned(), identity_file: identity_file.to_owned() }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.dir.join(format!("{path}{SUFFIX}"))
    }

    /// The identities that open the files; the first one is the server's own.
    fn identities(&self) -> Result<Vec<Identity>, AgeError> {
        let refused =
            |why: &str| AgeError::Identity { file: self.identity_file.clone(), why: why.to_owned() };
        let mode = fs::metadata(&self.identity_file).map(|m| m.mode());
        if mode.is_ok_and(|mode| mode & 0o077 != 0) {
            return Err(refused("others can read this identity; `chmod 600` it"));
        }
        let text = Zeroizing::new(files::read_text(&self.identity_file)?);
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let identities: Result<Vec<Identity>, _> = lines.map(str::parse).collect();
        match identities {
            Ok(identities) if !identities.is_empty() => Ok(identities),
            _ => Err(refused("not a file of age identities; a line of one looks like `AGE-SECRET-KEY-1…`")),
        }
    }

    /// Whom files are encrypted to: the server, and the lines of `recipients.txt` in the directory.
    pub fn recipients(&self) -> Result<Vec<Recipient>, AgeError> {
        let mut all: Vec<Recipient> = self.identities()?.iter().take(1).map(Identity::to_public).collect();
        let file = self.dir.join(RECIPIENTS);
        if !file.exists() {
            return Ok(all);
        }
        for (at, line) in files::read_text(&file)?.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            all.push(line.parse().map_err(|_| AgeError::Recipient { file: file.clone(), line: at + 1 })?);
        }
        Ok(all)
    }

    /// Writes a secret, in place of the one that may be there. It is whole or not there at any moment.
    pub fn set(&self, path: &str, value: &[u8]) -> Result<(), AgeError> {
        check_path(path)?;
        if value.is_empty() || value.len() > MAX_SECRET_BYTES {
            return Err(AgeError::Size(value.len()));
        }
        let recipients = self.recipients()?;
        let file = self.file(path);
        let failed = |why: &dyn fmt::Display| AgeError::Write { file: file.clone(), why: why.to_string() };
        let Some(parent) = file.parent() else { return Err(failed(&"it has no directory")) };
        create_private_dir(parent)?;
        let mut new = tempfile::NamedTempFile::new_in(parent).map_err(|e| failed(&e))?;
        let sealed = age::Encryptor::with_recipients(recipients.iter().map(|r| r as &dyn age::Recipient));
        let mut writer =
            sealed.map_err(|e| failed(&e))?.wrap_output(new.as_file_mut()).map_err(|e| failed(&e))?;
        writer.write_all(value).map_err(|e| failed(&e))?;
        let written = writer.finish().map_err(|e| failed(&e))?;
        written.sync_all().map_err(|e| failed(&e))?;
        new.persist(&file).map_err(|e| failed(&e.error))?;
        fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| failed(&e))?;
        Ok(())
    }

    /// Whether there is a secret at a path that was checked.
    pub fn has(&self, path: &str) -> bool {
        self.file(path).exists()
    }

    /// Takes a secret away; false when there was none.
    pub fn remove(&self, path: &str) -> Result<bool, AgeError> {
        check_path(path)?;
        let file = self.file(path);
        match fs::remove_file(&file) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(AgeError::Write { file, why: e.to_string() }),
        }
    }

    /// All secrets, sorted by path. Files that could not be asked for are not among them.
    pub fn list(&self) -> Result<Vec<Listed>, AgeError> {
        let mut out = Vec::new();
        let mut dirs = vec![self.dir.clone()];
        while let Some(dir) = dirs.pop() {
            let failed = |why| AgeError::List { dir: dir.clone(), why };
            let entries = match fs::read_dir(&dir) {
                Err(e) if e.kind() == ErrorKind::NotFound && dir == self.dir => return Ok(out),
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                let meta = entry.metadata().map_err(failed)?;
                let path = entry.path();
                // Symbolic links lead elsewhere, and perhaps in circles.
                if meta.is_dir() && path.components().count() < self.dir.components().count() + 64 {
                    dirs.push(path);
                } else if let Ok(inside) = path.strip_prefix(&self.dir)
                    && let Some(name) = inside.to_str().and_then(|p| p.strip_suffix(SUFFIX))
                    && check_path(name).is_ok()
                {
                    let changed =
                        meta.mtime().saturating_mul(1000).saturating_add(meta.mtime_nsec() / 1_000_000);
                    out.push(Listed {
                        path: name.to_owned(),
                        changed_at: u64::try_from(changed).unwrap_or(0),
                    });
                }
            }
        }
        out.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(out)
    }
}

/// A new identity as its file has it, and its recipient.
pub fn new_identity() -> (Zeroizing<String>, String) {
    let identity = Identity::generate();
    let recipient = identity.to_public().to_string();
    let text = Zeroizing::new(format!(
        "# Opens the secrets of this server. Files encrypted to\n# {recipient}\n# can be read by whoever has this.\n{}\n",
        identity.to_string().expose_secret()
    ));
    (text, recipient)
}

fn decrypt(sealed: &[u8], identities: &[Identity]) -> Result<Value, String> {
    let words = |e: age::DecryptError| match e {
        age::DecryptError::NoMatchingKeys => "it is encrypted to others than this server".to_owned(),
        e => e.to_string(),
    };
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(sealed)).map_err(words)?;
    let reader = decryptor.decrypt(identities.iter().map(|i| i as &dyn age::Identity)).map_err(words)?;
    // Room for all of it at once: growing would leave copies behind.
    let mut value = Zeroizing::new(Vec::with_capacity(sealed.len() + 1));
    reader
        .take(MAX_SECRET_BYTES as u64 + 1)
        .read_to_end(&mut value)
        .map_err(|_| "it is damaged, or was cut off".to_owned())?;
    if value.len() > MAX_SECRET_BYTES {
        return Err(format!("it has more than {MAX_SECRET_BYTES} bytes"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::super::{Backend, Secrets};
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn fixture() -> (tempfile::TempDir, AgeDirectory, Secrets) {
        let dir = tempfile::tempdir().unwrap();
        let (secrets, identity_file) = (dir.path().join("secrets"), dir.path().join("identity"));
        files::write_new(&identity_file, 0o600, new_identity().0.as_bytes()).unwrap();
        let age = AgeDirectory::new(&secrets, &identity_file);
        let backend = Backend::Age { dir: secrets, identity_file };
        let secrets = Secrets::new(&backend, [3; 32]).unwrap();
        (dir, age, secrets)
    }

    #[test]
    fn what_is_set_is_read_listed_and_removed() {
        let (_dir, age, secrets) = fixture();
        assert_eq!(age.list().unwrap(), []);
        age.set("web/db", b"hunter2\n").unwrap();
        age.set("api", b"k").unwrap();
        let first = secrets.get("web/db").unwrap();
        assert_eq!(first.value.as_slice(), b"hunter2");
        let listed: Vec<String> = age.list().unwrap().into_iter().map(|l| l.path).collect();
        assert_eq!(listed, ["api", "web/db"]);
        age.set("web/db", b"hunter3").unwrap();
        assert_ne!(secrets.get("web/db").unwrap().version, first.version);
        assert!(age.remove("web/db").unwrap() && !age.remove("web/db").unwrap());
        assert!(matches!(secrets.get("web/db"), Err(SecretError::Missing { .. })));
        assert!(matches!(age.set("../x", b"v"), Err(AgeError::Secret(SecretError::Path(_)))));
        assert!(matches!(age.set("x", b""), Err(AgeError::Size(0))));
    }

    #[test]
    fn nothing_but_the_identity_opens_a_file_and_nothing_lies_in_the_open() {
        let (dir, age, secrets) = fixture();
        age.set("a", b"hunter2").unwrap();
        let file = dir.path().join("secrets/a.age");
        let sealed = fs::read(&file).unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(dir.path().join("secrets")).unwrap().mode() & 0o777, 0o700);

        let other = age::x25519::Identity::generate();
        assert!(decrypt(&sealed, std::slice::from_ref(&other)).unwrap_err().contains("others"));
        for cut in 0..sealed.len() {
            fs::write(&file, &sealed[..cut]).unwrap();
            assert!(matches!(secrets.get("a"), Err(SecretError::Unreadable { .. })), "{cut}");
        }
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            fs::write(&file, &flipped).unwrap();
            assert!(matches!(secrets.get("a"), Err(SecretError::Unreadable { .. })), "{at}");
        }
        fs::write(&file, &sealed).unwrap();
        assert_eq!(secrets.get("a").unwrap().value.as_slice(), b"hunter2");
    }

    #[test]
    fn others_can_be_given_the_files_too() {
        let (dir, age, _) = fixture();
        let other = age::x25519::Identity::generate();
        let list = dir.path().join("secrets/recipients.txt");
        age.set("a", b"one").unwrap();
        fs::write(&list, format!("# a colleague\n\n{}\n", other.to_public())).unwrap();
        age.set("b", b"two").unwrap();
        let sealed = |name: &str| fs::read(dir.path().join("secrets").join(name)).unwrap();
        assert!(decrypt(&sealed("a.age"), std::slice::from_ref(&other)).is_err());
        assert_eq!(decrypt(&sealed("b.age"), &[other]).unwrap().as_slice(), b"two");
        fs::write(&list, "age1nobody\n").unwrap();
        assert!(matches!(age.set("c", b"x"), Err(AgeError::Recipient { line: 1, .. })));
    }

    #[test]
    fn files_of_the_age_program_are_read_armoured_or_not() {
        let (dir, age, secrets) = fixture();
        age.set("seen", b"x").unwrap();
        let recipient = age.recipients().unwrap().remove(0);
        let armoured = age::encrypt_and_armor(&recipient, b"from a shell\n").unwrap();
        fs::write(dir.path().join("secrets/a.age"), armoured).unwrap();
        assert_eq!(secrets.get("a").unwrap().value.as_slice(), b"from a shell");
    }

    #[test]
    fn an_identity_that_others_can_read_is_refused() {
        let (dir, age, secrets) = fixture();
        age.set("a", b"x").unwrap();
        let identity = dir.path().join("identity");
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(secrets.get("a").unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&identity, "AGE-SECRET-KEY-1HUNTER2\n").unwrap();
        let e = secrets.get("a").unwrap_err().to_string();
        assert!(e.contains("identities") && !e.contains("HUNTER"), "{e}");
    }
}
