//! The one embedded store: trust marks, bundle, sealed secrets, pending triggers, traits, results.
//!
//! Every change is one transaction of redb, so after a crash the state is that before it or that after it. The
//! file is opened for each transaction and closed again: `vigo status` can look while the daemon sleeps, and
//! the daemon holds no cache meanwhile.

mod bundle;
mod cache;
mod crashes;
#[cfg(test)]
mod faults;
mod marks;
mod queue;
mod tasks;

pub use bundle::{Accepted, Cached, KeyRecord, Renewed};
pub use cache::{Contact, Past, StoreTriggers};
pub use crashes::Crashes;
pub use marks::Marks;
pub use queue::{MAX_QUEUE_BYTES, MAX_QUEUE_RUNS, QueueState, Running};
pub use tasks::{Begun, Journalled, Piece, TaskRecord};

use crate::state::{StateDir, StateError, is_full};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const BLOBS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("blobs");
const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");
const TRIGGERS: TableDefinition<'_, &str, ()> = TableDefinition::new("triggers");
const TRAITS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("traits");
const QUEUE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("queue");
const TASKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tasks");
const TASK_OUTPUT: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("task_output");

const CACHE_BYTES: usize = 1 << 20;
const RESERVE_BYTES: usize = 1 << 20;
/// How long another process's transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room. Nothing of the change was kept, everything before it was.
    #[error("no space left for {0}; what was there before is untouched, free some space and run again")]
    Full(PathBuf),
    /// What is in the file is not what was written.
    #[error("the store {path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What redb found.
        why: String,
    },
    /// Another process did not let go.
    #[error("the store {0} is in use by another process; try again")]
    Busy(PathBuf),
    /// The high-water marks are gone, so an old bundle could be passed off as new.
    #[error(
        "the trust state in {0} is gone although this host is enrolled; enrol it again with `vigo enroll --force`"
    )]
    TrustStateDamaged(PathBuf),
    /// The file system.
    #[error("cannot use the store {path}: {why}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A store; see the module.
#[derive(Clone, Debug)]
pub struct Store {
    state: StateDir,
    path: PathBuf,
    #[cfg(test)]
    disk: Option<std::sync::Arc<faults::Disk>>,
}

impl Store {
    /// Opens or makes the store, verifying every page of it. A damaged one is set aside; what it held is then as
    /// gone as if the disk were new, except for the marks, which have a second copy.
    ///
    /// `enrolled`: there is an identity, so marks must be there.
    pub fn open(state: &StateDir, enrolled: bool, now: u64) -> Result<Self, StoreError> {
        state.prepare()?;
        let store = Store::of(state);
        let second = Marks::read_second(state)?;
        if !store.path.exists() {
            if enrolled && second.is_none() {
                return Err(StoreError::TrustStateDamaged(state.path().to_owned()));
            }
            create_private(&store.path)?;
        }
        match store.database(true) {
            Ok(database) => drop(database),
            Err(StoreError::Damaged { why, .. }) => {
                let aside = store.path.with_extension(format!("damaged-{}", now / 1000));
                tracing::error!(
                    "the store is damaged ({why}); it is kept as {} and a new one is begun, results that were waiting are lost",
                    aside.display()
                );
                if enrolled && second.is_none() {
                    return Err(StoreError::TrustStateDamaged(state.path().to_owned()));
                }
                std::fs::rename(&store.path, &aside).map_err(|e| store.io(&e))?;
                create_private(&store.path)?;
                drop(store.database(true)?);
            }
            Err(other) => return Err(other),
        }
        store.make_tables()?;
        // A file may be there and hold nothing: cut to no bytes, or made by a start that got no further.
        if enrolled && second.is_none() && !store.has_marks()? {
            return Err(StoreError::TrustStateDamaged(state.path().to_owned()));
        }
        store.restore_marks(second.unwrap_or_default(), now)?;
        store.reserve();
        Ok(store)
    }

    /// A store that is there, for looking only.
    pub fn look(state: &StateDir) -> Result<Option<Self>, StoreError> {
        state.check()?;
        let store = Store::of(state);
        Ok(store.path.exists().then_some(store))
    }

    fn of(state: &StateDir) -> Self {
        Store {
            state: state.clone(),
            path: state.store(),
            #[cfg(test)]
            disk: None,
        }
    }

    fn database(&self, check: bool) -> Result<Database, StoreError> {
        let started = Instant::now();
        loop {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(check);
            #[cfg(test)]
            if let Some(disk) = &self.disk {
                return builder.create_with_backend(disk.backend()).map_err(|e| self.error(e.into()));
            }
            match builder.create(&self.path) {
                Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => return other.map_err(|e| self.error(e.into())),
            }
        }
    }

    /// One transaction: all of it or nothing.
    fn write<T>(
        &self,
        change: impl Fn(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let attempt = || -> Result<T, StoreError> {
            let database = self.database(false)?;
            let run = || -> Result<T, redb::Error> {
                let transaction = database.begin_write()?;
                let value = change(&transaction)?;
                transaction.commit()?;
                Ok(value)
            };
            run().map_err(|e| self.error(e))
        };
        match attempt() {
            // What was put by for this moment, so that a full disk can at least be reported.
            Err(StoreError::Full(path)) if std::fs::remove_file(self.reserve_path()).is_ok() => {
                tracing::warn!("no space left for {}; using the reserve", path.display());
                attempt()
            }
            other => other,
        }
    }

    fn read<T>(&self, look: impl Fn(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let database = self.database(false)?;
        let run = || -> Result<T, redb::Error> { look(&database.begin_read()?) };
        run().map_err(|e| self.error(e))
    }

    fn make_tables(&self) -> Result<(), StoreError> {
        self.write(|t| {
            t.open_table(META)?;
            t.open_table(BLOBS)?;
            t.open_table(SECRETS)?;
            t.open_table(TRIGGERS)?;
            t.open_table(TRAITS)?;
            t.open_table(QUEUE)?;
            t.open_table(TASKS)?;
            t.open_table(TASK_OUTPUT)?;
            Ok(())
        })
    }

    fn reserve_path(&self) -> PathBuf {
        self.state.path().join("reserve")
    }

    /// Puts by some space. Without room for it now there is nothing to put by.
    fn reserve(&self) {
        let path = self.reserve_path();
        if path.exists() {
            return;
        }
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(&vec![0; RESERVE_BYTES]).and_then(|()| file.sync_all()));
        if made.is_err() {
            let _ = std::fs::remove_file(&path);
        }
    }

    fn io(&self, error: &std::io::Error) -> StoreError {
        if is_full(error) {
            return StoreError::Full(self.path.clone());
        }
        StoreError::Io { path: self.path.clone(), why: error.to_string() }
    }

    fn error(&self, error: redb::Error) -> StoreError {
        let path = self.path.clone();
        match error {
            redb::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                StoreError::Damaged { path, why: e.to_string() }
            }
            redb::Error::Io(e) => self.io(&e),
            redb::Error::DatabaseAlreadyOpen => StoreError::Busy(path),
            redb::Error::Corrupted(why) => StoreError::Damaged { path, why },
            redb::Error::UpgradeRequired(version) => {
                StoreError::Damaged { path, why: format!("unknown file format {version}") }
            }
            other => StoreError::Io { path, why: other.to_string() },
        }
    }

    /// A record of our own that does not read back.
    fn malformed(&self, what: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), why: format!("{what} does not read back") }
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|t| Ok(t.open_table(META)?.get(key)?.map(|v| v.value().to_vec())))
    }

    fn get_json<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        match self.get(key)? {
            None => Ok(None),
            Some(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| self.malformed(key)),
        }
    }
}

fn put(t: &WriteTransaction, key: &str, value: &[u8]) -> Result<(), redb::Error> {
    t.open_table(META)?.insert(key, value)?;
    Ok(())
}

fn put_json(t: &WriteTransaction, key: &str, value: &impl serde::Serialize) -> Result<(), redb::Error> {
    let bytes = serde_json::to_vec(value).map_err(|e| redb::Error::Io(e.into()))?;
    put(t, key, &bytes)
}

fn take(t: &WriteTransaction, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(t.open_table(META)?.get(key)?.map(|v| v.value().to_vec()))
}

fn take_json<T: serde::de::DeserializeOwned + Default>(
    t: &WriteTransaction,
    key: &str,
) -> Result<T, redb::Error> {
    match take(t, key)? {
        None => Ok(T::default()),
        Some(bytes) => {
            serde_json::from_slice(&bytes).map_err(|e| redb::Error::Corrupted(format!("{key}: {e}")))
        }
    }
}

fn forget(t: &WriteTransaction, key: &str) -> Result<(), redb::Error> {
    t.open_table(META)?.remove(key)?;
    Ok(())
}

/// redb would make the file with whatever the umask allows.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|e| {
        if is_full(&e) {
            StoreError::Full(path.to_owned())
        } else {
            StoreError::Io { path: path.to_owned(), why: e.to_string() }
        }
    })
}

#[cfg(test)]
mod tests;
