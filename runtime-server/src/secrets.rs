//! Where secrets come from. Values live in memory only, are wiped when dropped, and are never logged, stored or
//! hashed on their own.

use crate::store::lock;
use ir::Hash;
use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// Why a secret cannot be had. Names the path, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is none.
    #[error("there is no secret `{path}` in {place}")]
    Missing {
        /// The secret.
        path: String,
        /// Where it was looked for.
        place: String,
    },
    /// Others can read its file.
    #[error("the secret `{path}` is refused: others can read {}; `chmod 600` it", file.display())]
    Exposed {
        /// The secret.
        path: String,
        /// Its file.
        file: PathBuf,
    },
    /// A path that could lead out of the directory.
    #[error("`{0}` is not a secret's path: letters, digits, `_`, `-`, `.`, with `/` between")]
    Path(String),
    /// It is there and cannot be used.
    #[error("the secret `{path}` cannot be read: {why}")]
    Unreadable {
        /// The secret.
        path: String,
        /// Why.
        why: String,
    },
}

/// A store of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// There are none.
    None,
    /// A file per path; one newline at its end does not count.
    Directory(PathBuf),
    /// `VIGO_SECRET_` and the path in capitals, `_` for everything that is no letter or digit.
    Environment,
    /// Made up at the first question and kept in memory: for trying a policy out.
    Generated,
}

/// A secret and its version.
pub struct Secret {
    /// The value.
    pub value: Zeroizing<Vec<u8>>,
    /// Another one when the value is another one. Keyed, so that nobody can try values against it.
    pub version: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, ***)", self.version)
    }
}

/// The secrets of a cluster.
pub struct Secrets {
    backend: Backend,
    key: Zeroizing<[u8; 32]>,
    cache: Mutex<HashMap<String, Cached>>,
}

struct Cached {
    stamp: Stamp,
    secret: Arc<Secret>,
}

/// What changes when a file is written anew.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Over a backend; `key` is what versions are made with.
    pub fn new(backend: Backend, key: [u8; 32]) -> Self {
        Secrets { backend, key: Zeroizing::new(key), cache: Mutex::default() }
    }

    /// The secret as it is now.
    pub fn get(&self, path: &str) -> Result<Arc<Secret>, SecretError> {
        check_path(path)?;
        let missing = |place: String| SecretError::Missing { path: path.to_owned(), place };
        match &self.backend {
            Backend::None => Err(missing("this server: `secrets.backend` is `none`".into())),
            Backend::Directory(dir) => self.file_at(path, &dir.join(path), dir),
            Backend::Environment => {
                let name = variable(path);
                let value = std::env::var_os(&name).ok_or_else(|| missing(format!("${name}")))?;
                let value = Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(value));
                Ok(Arc::new(self.secret(path, value)))
            }
            Backend::Generated => {
                let mut cache = lock(&self.cache);
                if let Some(cached) = cache.get(path) {
                    return Ok(cached.secret.clone());
                }
                let mut random = Zeroizing::new([0; 18]);
                getrandom::fill(random.as_mut_slice()).map_err(|e| unreadable(path, e))?;
                let text: String = random.iter().map(|b| format!("{b:02x}")).collect();
                let secret = Arc::new(self.secret(path, Zeroizing::new(text.into_bytes())));
                cache.insert(path.to_owned(), Cached { stamp: None, secret: secret.clone() });
                Ok(secret)
            }
        }
    }

    fn file_at(&self, path: &str, file: &Path, dir: &Path) -> Result<Arc<Secret>, SecretError> {
        let mut opened = std::fs::File::open(file).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                SecretError::Missing { path: path.to_owned(), place: dir.display().to_string() }
            }
            _ => unreadable(path, e),
        })?;
        // Of the open file, so that what is checked is what is read.
        let meta = opened.metadata().map_err(|e| unreadable(path, e))?;
        if meta.mode() & 0o077 != 0 {
            return Err(SecretError::Exposed { path: path.to_owned(), file: file.to_owned() });
        }
        if !meta.is_file() {
            return Err(unreadable(path, "not a file"));
        }
        if meta.len() > protocol::secrets::MAX_SECRET_BYTES as u64 {
            return Err(unreadable(path, "too large"));
        }
        let stamp = Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()));
        let mut cache = lock(&self.cache);
        if let Some(cached) = cache.get(path).filter(|c| c.stamp == stamp) {
            return Ok(cached.secret.clone());
        }
        let mut value = Zeroizing::new(Vec::with_capacity(meta.len() as usize));
        opened.read_to_end(&mut value).map_err(|e| unreadable(path, e))?;
        if value.last() == Some(&b'\n') {
            value.pop();
        }
        let secret = Arc::new(self.secret(path, value));
        cache.insert(path.to_owned(), Cached { stamp, secret: secret.clone() });
        Ok(secret)
    }

    fn secret(&self, path: &str, value: Zeroizing<Vec<u8>>) -> Secret {
        let length = (path.len() as u64).to_be_bytes();
        let inner = Hash::of_parts(&[self.key.as_slice(), &length, path.as_bytes(), &value]);
        let version =
            Hash::of_parts(&[self.key.as_slice(), b"version", &inner.0]).to_string()[..24].to_owned();
        Secret { value, version }
    }
}

fn unreadable(path: &str, why: impl fmt::Display) -> SecretError {
    SecretError::Unreadable { path: path.to_owned(), why: why.to_string() }
}

fn check_path(path: &str) -> Result<(), SecretError> {
    let segment = |s: &str| {
        !s.is_empty()
            && !s.starts_with('.')
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    if path.len() <= 256 && path.split('/').all(segment) {
        Ok(())
    } else {
        Err(SecretError::Path(path.escape_debug().take(80).collect()))
    }
}

fn variable(path: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    "VIGO_SECRET_".chars().chain(path.chars().map(upper)).collect()
}

#[cfg(test)]
mod tests {
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
        let secrets = Secrets::new(Backend::Directory(dir.path().to_owned()), [1; 32]);
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
        assert!(!format!("{first:?} {secrets:?}").contains("hunter"));
    }

    #[test]
    fn a_path_leads_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Backend::Directory(dir.path().join("in")), [1; 32]);
        write(&dir.path().join("out"), "x", 0o600);
        for path in ["../out", "/etc/shadow", "a/../../out", "", "a//b", ".hidden", "a\0b", "a b"] {
            assert!(matches!(secrets.get(path), Err(SecretError::Path(_))), "{path:?}");
        }
    }

    #[test]
    fn versions_depend_on_value_path_and_cluster() {
        let version = |key, path, value: &[u8]| {
            Secrets::new(Backend::None, [key; 32]).secret(path, Zeroizing::new(value.to_vec())).version
        };
        let one = version(1, "a", b"x");
        assert_eq!(one, version(1, "a", b"x"));
        assert_ne!(one, version(1, "a", b"y"));
        assert_ne!(one, version(1, "b", b"x"));
        assert_ne!(one, version(2, "a", b"x"));
        assert_ne!(version(1, "ab", b"c"), version(1, "a", b"bc"));
    }

    #[test]
    fn made_up_secrets_stay_the_same_and_the_environment_has_names() {
        let secrets = Secrets::new(Backend::Generated, [1; 32]);
        assert_eq!(secrets.get("a").unwrap().value, secrets.get("a").unwrap().value);
        assert_ne!(secrets.get("a").unwrap().value, secrets.get("b").unwrap().value);
        assert_eq!(variable("db/pass-word.1"), "VIGO_SECRET_DB_PASS_WORD_1");
        let environment = Secrets::new(Backend::Environment, [1; 32]);
        let missing = environment.get("surely/not/there").unwrap_err().to_string();
        assert!(missing.contains("$VIGO_SECRET_SURELY_NOT_THERE"), "{missing}");
    }
}
