//! Opening a SQLite file, and finding out whether it is whole.

use super::connection::{Backend, Connection};
use super::{Database, StoreError};
use rusqlite::{ErrorCode, OpenFlags};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 128;
const BUSY: Duration = Duration::from_secs(10);

/// Opens the file and looks at every page of it. Creates it only when `create` is set.
pub(super) fn open(path: &Path, create: bool) -> Result<Connection, StoreError> {
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
    let damaged = |detail| StoreError::Damaged { database: Database::Sqlite(path.to_owned()), detail };
    let broken = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(e.to_string()),
        _ => e.into(),
    };
    let verdict: String = conn.query_row("pragma quick_check(1)", [], |r| r.get(0)).map_err(broken)?;
    if verdict != "ok" {
        return Err(damaged(verdict));
    }
    conn.pragma_update(None, "journal_mode", "wal").map_err(broken)?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(Connection::new(Backend::Sqlite(conn)))
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
