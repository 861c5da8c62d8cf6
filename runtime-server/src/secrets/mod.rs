//! Where secrets come from. Values live in memory only, are wiped when dropped, and are never logged, stored or
//! hashed on their own.
//!
//! A [`Provider`] fetches; [`Secrets`] gives each value its version, and keeps it for as long as the provider says that
//! it may be kept.

pub mod acl;
mod age_dir;
mod backend;
mod command;
mod directory;
mod environment;
mod generated;
pub mod named;
mod vault;

pub use age_dir::{AgeDirectory, AgeError, Listed, new_identity};
pub use backend::{Backend, VaultSettings};

use crate::store::lock;
use ir::Hash;
use protocol::secrets::MAX_SECRET_BYTES;
use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
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
    /// No rule lets this envoy have it.
    #[error("`secrets.allow` in server.yaml does not let `{hostname}` have the secret `{path}`")]
    Denied {
        /// The secret.
        path: String,
        /// The envoy.
        hostname: String,
    },
    /// It is there and cannot be used.
    #[error("the secret `{path}` cannot be read: {why}")]
    Unreadable {
        /// The secret.
        path: String,
        /// Why.
        why: String,
    },
    /// Whoever has it does not answer, or not now.
    #[error("the secret `{path}` cannot be fetched from {place}: {why}")]
    Unavailable {
        /// The secret.
        path: String,
        /// Who was asked.
        place: String,
        /// Why.
        why: String,
    },
}

impl SecretError {
    /// The secret.
    pub fn path(&self) -> &str {
        match self {
            SecretError::Missing { path, .. }
            | SecretError::Exposed { path, .. }
            | SecretError::Path(path)
            | SecretError::Unreadable { path, .. }
            | SecretError::Denied { path, .. }
            | SecretError::Unavailable { path, .. } => path,
        }
    }
}

/// How long one may ask for all secrets that it needs; an agent waits half a minute for an answer, and the last one that is
/// asked for in time may take ten seconds.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// A value on its way. Wiped when dropped.
pub type Value = Zeroizing<Vec<u8>>;

/// Identifies the state of a file: device, inode, modification time, size.
pub type Stamp = (u64, u64, i64, i64, u64);

/// Fetches values. What it says about a failure must never hold what it fetched: providers that speak to other programs
/// report their status, not their words (security.md case 96).
pub trait Provider: Send + Sync + fmt::Debug {
    /// The value of a path that was checked.
    fn fetch(&self, path: &str) -> Result<Value, SecretError>;
    /// What changes whenever the value may have changed, for providers that can tell without fetching.
    fn stamp(&self, _path: &str) -> Result<Option<Stamp>, SecretError> {
        Ok(None)
    }
    /// Where values can be stored, for providers that keep them themselves.
    fn keeper(&self) -> Option<AgeDirectory> {
        None
    }
    /// How long a fetched value is good without another look; for providers without stamps.
    fn keep(&self) -> Duration {
        Duration::ZERO
    }
}

/// A secret and its version.
pub struct Secret {
    /// The value.
    pub value: Value,
    /// Another one when the value is another one. Keyed, so that nobody can try values against it.
    pub version: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, ***)", self.version)
    }
}

/// The secrets of a cluster.
#[derive(Debug)]
pub struct Secrets {
    provider: Box<dyn Provider>,
    key: VersionKey,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

struct VersionKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for VersionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One path. Whoever fetches holds `fetching`; others take what is in `known` meanwhile.
#[derive(Debug, Default)]
struct Slot {
    fetching: Mutex<()>,
    known: Mutex<Option<Known>>,
    /// What fetching came to when it last failed: for those who waited meanwhile.
    failed: Mutex<Option<(Instant, SecretError)>>,
}

#[derive(Clone, Debug)]
struct Known {
    stamp: Option<Stamp>,
    at: Instant,
    secret: Arc<Secret>,
}

impl Secrets {
    /// Over a backend; `key` is what versions are made with.
    pub fn new(backend: &Backend, key: [u8; 32]) -> Result<Self, SecretError> {
        Ok(Secrets::over(backend.provider()?, key))
    }

    /// Over any provider.
    pub fn over(provider: Box<dyn Provider>, key: [u8; 32]) -> Self {
        Secrets { provider, key: VersionKey(Zeroizing::new(key)), slots: Mutex::default() }
    }

    /// Where values can be stored; `None` when somebody else keeps them.
    pub fn keeper(&self) -> Option<AgeDirectory> {
        self.provider.keeper()
    }

    /// The secret as it is now.
    ///
    /// When the provider does not answer, the value of last time is good until it does: a bundle with a slightly old
    /// password beats none. A provider that answers that there is no such secret is believed at once.
    pub fn get(&self, path: &str) -> Result<Arc<Secret>, SecretError> {
        check_path(path)?;
        let asked = Instant::now();
        let slot = lock(&self.slots).entry(path.to_owned()).or_default().clone();
        let stamp = match self.provider.stamp(path) {
            Ok(stamp) => stamp,
            Err(e) => return self.failed(path, e),
        };
        let fresh = |known: &Known| match stamp {
            Some(_) => known.stamp == stamp,
            None => known.at.elapsed() < self.provider.keep(),
        };
        let known = lock(&slot.known).clone();
        if let Some(known) = known.as_ref().filter(|k| fresh(k)) {
            return Ok(known.secret.clone());
        }
        let _fetching = match (slot.fetching.try_lock(), known) {
            (Ok(guard), _) => guard,
            // Without stamps the value may well be the same; nobody has to wait to be told so.
            (Err(_), Some(known)) if stamp.is_none() => return Ok(known.secret),
            (Err(_), _) => lock(&slot.fetching),
        };
        if let Some(known) = lock(&slot.known).as_ref().filter(|k| fresh(k)) {
            return Ok(known.secret.clone());
        }
        // Who waits for one who waits for an answer must not wait for it all over again.
        if let Some((at, e)) = lock(&slot.failed).as_ref().filter(|(at, _)| *at >= asked) {
            tracing::debug!(secret = path, ago = ?at.elapsed(), "fetching a secret failed a moment ago");
            return Err(e.clone());
        }
        let at = Instant::now();
        // An empty value is hardly what anybody meant, and would leave an empty password behind.
        let fetched = self.provider.fetch(path).and_then(|value| match value.is_empty() {
            true => Err(unreadable(path, "it is empty")),
            false => Ok(value),
        });
        match fetched {
            Ok(value) => {
                let secret = Arc::new(self.secret(path, value));
                *lock(&slot.known) = Some(Known { stamp, at, secret: secret.clone() });
                Ok(secret)
            }
            Err(SecretError::Unavailable { path, place, why }) => {
                let mut known = lock(&slot.known);
                let Some(known) = known.as_mut() else {
                    let e = SecretError::Unavailable { path, place, why };
                    *lock(&slot.failed) = Some((Instant::now(), e.clone()));
                    return Err(e);
                };
                tracing::warn!(secret = path, place, why, "a secret cannot be fetched; its last value stays");
                known.at = at;
                Ok(known.secret.clone())
            }
            Err(e) => self.failed(path, e),
        }
    }

    /// As [`get`](Self::get), but nobody is asked once `until` is over: what is known counts then. One who needs many
    /// secrets of a provider that does not answer would wait for each of them otherwise.
    pub fn get_until(&self, path: &str, until: Instant) -> Result<Arc<Secret>, SecretError> {
        if Instant::now() < until {
            return self.get(path);
        }
        check_path(path)?;
        let slot = lock(&self.slots).get(path).cloned();
        let known = slot.and_then(|slot| lock(&slot.known).as_ref().map(|known| known.secret.clone()));
        known.ok_or_else(|| SecretError::Unavailable {
            path: path.to_owned(),
            place: "its backend".to_owned(),
            why: "it was not asked, as the secrets before this one took too long".to_owned(),
        })
    }

    fn failed(&self, path: &str, e: SecretError) -> Result<Arc<Secret>, SecretError> {
        lock(&self.slots).remove(path);
        Err(e)
    }

    fn secret(&self, path: &str, value: Value) -> Secret {
        let key = self.key.0.as_slice();
        let length = (path.len() as u64).to_be_bytes();
        let inner = Hash::of_parts(&[key, &length, path.as_bytes(), &value]);
        let version = Hash::of_parts(&[key, b"version", &inner.0]).to_string()[..24].to_owned();
        Secret { value, version }
    }
}

fn unreadable(path: &str, why: impl fmt::Display) -> SecretError {
    SecretError::Unreadable { path: path.to_owned(), why: why.to_string() }
}

/// Whether a path can name a secret in every backend: as a file below a directory too, and nowhere else.
pub fn check_path(path: &str) -> Result<(), SecretError> {
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

/// A value as people give it, one newline at its end left out. One byte more than a secret may have is enough to tell.
pub fn read_value(from: &mut dyn Read) -> std::io::Result<Value> {
    // Room for all of it at once: growing would leave copies behind.
    let mut value = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 2));
    from.take(MAX_SECRET_BYTES as u64 + 2).read_to_end(&mut value)?;
    Ok(without_newline(value))
}

/// What people end a value with when they type it into a file, and what programs print after it.
fn without_newline(mut value: Value) -> Value {
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn versions_depend_on_value_path_and_cluster() {
        let version = |key, path, value: &[u8]| {
            let secrets = Secrets::new(&Backend::None, [key; 32]).unwrap();
            secrets.secret(path, Zeroizing::new(value.to_vec())).version
        };
        let one = version(1, "a", b"x");
        assert_eq!(one, version(1, "a", b"x"));
        assert_ne!(one, version(1, "a", b"y"));
        assert_ne!(one, version(1, "b", b"x"));
        assert_ne!(one, version(2, "a", b"x"));
        assert_ne!(version(1, "ab", b"c"), version(1, "a", b"bc"));
    }

    /// Answers what it is told to, and counts.
    #[derive(Debug, Default)]
    struct Told {
        answer: Mutex<Option<Result<&'static str, SecretError>>>,
        asked: AtomicUsize,
        keep: Duration,
    }

    impl Provider for Arc<Told> {
        fn fetch(&self, _: &str) -> Result<Value, SecretError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = lock(&self.answer).clone().unwrap();
            answer.map(|text| Zeroizing::new(text.as_bytes().to_vec()))
        }

        fn keep(&self) -> Duration {
            self.keep
        }
    }

    fn told(keep: Duration) -> (Arc<Told>, Secrets) {
        let told = Arc::new(Told { keep, ..Told::default() });
        (told.clone(), Secrets::over(Box::new(told), [7; 32]))
    }

    #[test]
    fn a_value_is_kept_as_long_as_the_provider_allows() {
        let (provider, secrets) = told(Duration::from_secs(3600));
        *lock(&provider.answer) = Some(Ok("one"));
        let first = secrets.get("a").unwrap();
        *lock(&provider.answer) = Some(Ok("two"));
        assert_eq!(secrets.get("a").unwrap().version, first.version);
        assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
        assert_eq!(secrets.get("b").unwrap().value.as_slice(), b"two");
    }

    #[test]
    fn case_096_a_provider_that_fails_leaves_the_last_value_and_one_that_denies_it_does_not() {
        let (provider, secrets) = told(Duration::ZERO);
        let away =
            || SecretError::Unavailable { path: "a".into(), place: "there".into(), why: "gone".into() };
        *lock(&provider.answer) = Some(Err(away()));
        assert_eq!(secrets.get("a").unwrap_err(), away());
        *lock(&provider.answer) = Some(Ok("one"));
        let first = secrets.get("a").unwrap();
        *lock(&provider.answer) = Some(Err(away()));
        assert_eq!(secrets.get("a").unwrap().version, first.version);
        let missing = SecretError::Missing { path: "a".into(), place: "there".into() };
        *lock(&provider.answer) = Some(Err(missing.clone()));
        assert_eq!(secrets.get("a").unwrap_err(), missing);
        *lock(&provider.answer) = Some(Err(away()));
        assert_eq!(secrets.get("a").unwrap_err(), away(), "what was denied is not remembered");
    }

    #[test]
    fn case_095_an_empty_value_is_none() {
        let (provider, secrets) = told(Duration::ZERO);
        *lock(&provider.answer) = Some(Ok(""));
        assert_eq!(secrets.get("a").unwrap_err(), unreadable("a", "it is empty"));
        *lock(&provider.answer) = Some(Ok("x"));
        assert_eq!(secrets.get("a").unwrap().value.as_slice(), b"x");
    }

    /// Is asked by several at once, and does not answer.
    #[derive(Debug, Default)]
    struct Slow(AtomicUsize);

    impl Provider for Arc<Slow> {
        fn fetch(&self, path: &str) -> Result<Value, SecretError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(300));
            Err(SecretError::Unavailable { path: path.into(), place: "there".into(), why: "gone".into() })
        }
    }

    #[test]
    fn nobody_is_asked_once_it_took_too_long() {
        let (provider, secrets) = told(Duration::ZERO);
        *lock(&provider.answer) = Some(Ok("one"));
        secrets.get("a").unwrap();
        let over = Instant::now();
        assert_eq!(secrets.get_until("a", over).unwrap().value.as_slice(), b"one");
        assert!(matches!(secrets.get_until("b", over), Err(SecretError::Unavailable { .. })));
        assert!(matches!(secrets.get_until("../b", over), Err(SecretError::Path(_))));
        assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(secrets.get_until("b", later).unwrap().value.as_slice(), b"one");
    }

    #[test]
    fn who_waited_for_a_provider_that_fails_does_not_ask_it_again() {
        let slow = Arc::new(Slow::default());
        let secrets = Secrets::over(Box::new(slow.clone()), [7; 32]);
        let ready = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    ready.wait();
                    assert!(matches!(secrets.get("a"), Err(SecretError::Unavailable { .. })));
                });
            }
        });
        let together = slow.0.load(Ordering::SeqCst);
        assert!(together < 4, "{together}");
        assert!(secrets.get("a").is_err());
        assert_eq!(slow.0.load(Ordering::SeqCst), together + 1, "who comes later asks again");
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let (provider, secrets) = told(Duration::ZERO);
        *lock(&provider.answer) = Some(Ok("hunter2"));
        let secret = secrets.get("a").unwrap();
        let shown = format!("{secret:?} {:?}", secrets.slots);
        assert!(shown.contains("***") && !shown.contains("hunter"), "{shown}");
        assert!(!format!("{:?}", secrets.key).contains('7'));
    }

    #[test]
    fn a_path_leads_nowhere_else() {
        for path in ["../out", "/etc/shadow", "a/../../out", "", "a//b", ".hidden", "a\0b", "a b", "a/", "-é"]
        {
            assert!(matches!(check_path(path), Err(SecretError::Path(_))), "{path:?}");
        }
        for path in ["a", "web/db.password", "A-1/_b/c.d"] {
            check_path(path).unwrap();
        }
    }
}
