//! What must survive: a SQLite file, written by one thread.
//!
//! [`open`] gives a connection to whoever has a thread to block (the command line); the server hands closures
//! to a [`Store`]. The functions of the submodules take a connection and run in one transaction each.

pub mod envoys;
pub mod meta;
pub mod runs;
pub mod tokens;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::{M, Migrations};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Each runs once; SQLite's `user_version` counts them.
const STEPS: &[M<'static>] = &[M::up(include_str!("1.sql")), M::up(include_str!("2.sql"))];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// What is wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no file.
    #[error("there is no database at {}; `vigosrv init` makes one", .0.display())]
    Missing(PathBuf),
    /// It is there and cannot be opened.
    #[error("cannot open the database {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Not a database, or one with broken pages.
    #[error(
        "the database {} is damaged ({detail}); stop the server, keep a copy of the file and restore a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// Written by a later version of this program.
    #[error(
        "the database {} has schema {found}, this version knows {known}: it was used by a newer vigosrv; \
         upgrade this one or restore a backup from before",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The latest schema this program knows.
        known: i64,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migration(#[from] rusqlite_migration::Error),
    /// A statement failed.
    #[error("the database refused: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A number that does not fit the database; only a hostile peer sends one.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// The server is on its way down.
    #[error("the database is closed")]
    Closed,
}

/// Opens the file, checks it and brings its schema up to date. Creates it only when `create` is set.
pub fn open(path: &Path, create: bool) -> Result<Connection, StoreError> {
    let unreadable = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => StoreError::Missing(path.to_owned()),
        _ => StoreError::Unreadable { path: path.to_owned(), cause },
    };
    // SQLite would create it readable for all; WAL and SHM inherit the mode.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(unreadable)?;
    let damaged = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { path: path.to_owned(), detail: e.to_string() }
        }
        _ => e.into(),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_secs(10))?;
    check(&conn, path).map_err(damaged)??;
    conn.pragma_update(None, "journal_mode", "wal").map_err(damaged)?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    MIGRATIONS.to_latest(&mut conn)?;
    Ok(conn)
}

fn check(conn: &Connection, path: &Path) -> Result<Result<(), StoreError>, rusqlite::Error> {
    let found: i64 = conn.pragma_query_value(None, "user_version", |r| r.get(0))?;
    let known = STEPS.len() as i64;
    if found > known {
        return Ok(Err(StoreError::Newer { path: path.to_owned(), found, known }));
    }
    let verdict: String = conn.query_row("pragma quick_check(1)", [], |r| r.get(0))?;
    Ok(if verdict == "ok" {
        Ok(())
    } else {
        Err(StoreError::Damaged { path: path.to_owned(), detail: verdict })
    })
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The one thread that writes.
#[derive(Debug)]
pub struct Store {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Takes over a connection from [`open`].
    pub fn start(mut conn: Connection) -> Self {
        let (jobs, queue) = channel::<Job>();
        let thread = std::thread::spawn(move || {
            for job in queue {
                job(&mut conn);
            }
        });
        Store { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) }
    }

    /// Runs `work` on the store's thread.
    pub async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            // The caller may have gone away; the work is done all the same.
            let _ = done.send(work(conn));
        });
        let jobs = lock(&self.jobs).clone().ok_or(StoreError::Closed)?;
        jobs.send(job).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Finishes what was handed over and closes the file.
    pub fn close(&self) {
        lock(&self.jobs).take();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

/// A lock whose holder panicked still guards consistent data here: no critical section of this crate leaves
/// one half-written.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// SQLite's integers are signed.
pub(crate) fn int(what: &'static str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Range(what))
}

#[cfg(test)]
pub(crate) fn in_memory() -> Connection {
    let mut conn = Connection::open_in_memory().unwrap();
    conn.pragma_update(None, "foreign_keys", true).unwrap();
    MIGRATIONS.to_latest(&mut conn).unwrap();
    conn
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_migrations_are_valid() {
        MIGRATIONS.validate().unwrap();
    }

    #[test]
    fn only_init_creates_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        assert!(matches!(open(&path, false), Err(StoreError::Missing(_))));
        drop(open(&path, true).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        open(&path, false).unwrap();
    }

    #[test]
    fn case_062_damaged_and_newer_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        std::fs::write(&path, b"this is no database, although it is long enough to have a header".repeat(40))
            .unwrap();
        assert!(matches!(open(&path, false), Err(StoreError::Damaged { .. })));
        std::fs::remove_file(&path).unwrap();

        let conn = open(&path, true).unwrap();
        conn.pragma_update(None, "user_version", 99).unwrap();
        drop(conn);
        let refused = open(&path, false);
        assert!(matches!(refused, Err(StoreError::Newer { found: 99, known: 2, .. })), "{refused:?}");
        let conn = Connection::open(&path).unwrap();
        conn.pragma_update(None, "user_version", 2).unwrap();
        conn.pragma_update(None, "journal_mode", "delete").unwrap();
        drop(conn);

        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(matches!(open(&path, false), Err(StoreError::Damaged { .. })));
        let mut flipped = good.clone();
        flipped[4096..8192].fill(0xa5);
        std::fs::write(&path, flipped).unwrap();
        assert!(matches!(open(&path, false), Err(StoreError::Damaged { .. })));
        std::fs::write(&path, good).unwrap();
        open(&path, false).unwrap();
    }

    #[tokio::test]
    async fn what_was_handed_over_is_finished_before_closing() {
        let store = Store::start(in_memory());
        let answer =
            store.call(|conn| Ok(conn.query_row("select 41 + 1", [], |r| r.get::<_, i64>(0))?)).await;
        assert_eq!(answer.unwrap(), 42);
        store.close();
        assert!(matches!(store.call(|_| Ok(())).await, Err(StoreError::Closed)));
    }
}
