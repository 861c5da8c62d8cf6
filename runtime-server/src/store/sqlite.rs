//! Opening a SQLite file, and finding out whether it is whole.

use super::connection::{Backend, Connection};
use super::{Database, StoreError};
use rusqlite::{ErrorCode, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 128;
const BUSY: Duration = Duration::from_secs(10);

/// Claims a database for one server, until the file that is returned is closed. Beside the database, because SQLite has
/// locks of its own on that one; by its real path, whatever links lead to it.
pub(super) fn claim(path: &Path) -> Result<File, StoreError> {
    let unreadable = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => StoreError::Missing(Database::Sqlite(path.to_owned())),
        _ => StoreError::Unreadable { path: path.to_owned(), cause },
    };
    let mut beside = std::fs::canonicalize(path).map_err(unreadable)?.into_os_string();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let unusable = |cause| StoreError::Unreadable { path: beside.clone(), cause };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&beside)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(Database::Sqlite(path.to_owned()))),
        // Some network file systems have none; whoever puts a database there is on their own.
        Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(cause)) => Err(unusable(cause)),
    }
}

/// Opens the file and looks at every page of it. Creates it only when `create` is set.
pub(super) fn open(path: &Path, create: bool) -> Result<Connection, StoreError> {
    let conn = whole(path, create)?;
    conn.pragma_update(None, "journal_mode", "wal").map_err(|e| broken(path, e))?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(Connection::new(Backend::Sqlite(conn)))
}

/// The same without a change to the file; the connection only reads.
pub(super) fn look(path: &Path) -> Result<Connection, StoreError> {
    let conn = whole(path, false)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(Connection::new(Backend::Sqlite(conn)))
}

fn whole(path: &Path, create: bool) -> Result<rusqlite::Connection, StoreError> {
    let unreadable = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => StoreError::Missing(Database::Sqlite(path.to_owned())),
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
    let conn = another(path)?;
    let verdict: String =
        conn.query_row("pragma quick_check(1)", [], |r| r.get(0)).map_err(|e| broken(path, e))?;
    if verdict != "ok" {
        return Err(StoreError::Damaged { database: Database::Sqlite(path.to_owned()), detail: verdict });
    }
    Ok(conn)
}

fn broken(path: &Path, e: rusqlite::Error) -> StoreError {
    match e.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { database: Database::Sqlite(path.to_owned()), detail: e.to_string() }
        }
        _ => e.into(),
    }
}

/// A further connection to a file that [`open`] found whole; it only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let conn = another(path)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(Connection::new(Backend::Sqlite(conn)))
}

fn another(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = rusqlite::Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(conn)
}

/// A number that changes when another process has written.
pub(super) fn version(conn: &rusqlite::Connection) -> Result<i64, StoreError> {
    Ok(conn.pragma_query_value(None, "data_version", |r| r.get(0))?)
}
