//! What goes wrong with a database, in words of our own where there is something to be done about it.

use super::Database;
use postgres::error::SqlState;
use rusqlite::ErrorCode;
use std::error::Error;
use std::io;
use std::path::PathBuf;

/// What is wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none of ours.
    #[error(
        "there is no database at {0}, where the configuration has it; a backup goes there, and a new server begins with `vigosrv init`"
    )]
    Missing(Database),
    /// The file is there and cannot be opened.
    #[error("cannot open the database {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Not a database, or one with broken pages.
    #[error(
        "the database {database} is damaged ({detail}); stop the server, move the file and those beside it that end with \
         `-wal` and `-shm` elsewhere, and put a backup in its place"
    )]
    Damaged {
        /// Which.
        database: Database,
        /// What SQLite found.
        detail: String,
    },
    /// Written by a later version of this program.
    #[error(
        "the database {database} has schema {found}, this version knows {known}: it was used by a newer vigosrv; \
         upgrade this one or restore a backup from before"
    )]
    Newer {
        /// Which.
        database: Database,
        /// Its schema.
        found: u64,
        /// The latest schema this program knows.
        known: u64,
    },
    /// The database server cannot be reached, or went away. What was under way may or may not have happened.
    #[error("cannot reach the database: {0}")]
    Unreachable(String),
    /// Others held what was needed for too long.
    #[error("the database is busy; try again")]
    Busy,
    /// More waits for the database than it can keep up with; nothing was begun.
    #[error("the database does not keep up; try again later")]
    Overloaded,
    /// Two transactions crossed; [`Connection::transaction`](super::Connection::transaction) tries again.
    #[error("the database gave way to another transaction")]
    Crossed,
    /// How to reach it is not understood, or leads nowhere.
    #[error("`database.{key}`: {why}")]
    Setting {
        /// Its key in the configuration.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A statement failed.
    #[error("the database refused: {0}")]
    Refused(String),
    /// A column does not hold what it should.
    #[error("the database holds something else than expected in column {0} of a result")]
    Column(usize),
    /// A number that does not fit the database; only a hostile peer sends one.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// What only SQLite does.
    #[error("{0}")]
    SqliteOnly(&'static str),
    /// Another server has it.
    #[error(
        "the database {0} is used by another vigosrv; stop that one first (several servers can share a PostgreSQL \
         database)"
    )]
    InUse(Database),
    /// A bug: the work panicked, and was taken back. The log has the panic.
    #[error("the work on the database crashed")]
    Crashed,
    /// The server is on its way down.
    #[error("the database is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            _ => StoreError::Refused(e.to_string()),
        }
    }
}

impl From<postgres::Error> for StoreError {
    fn from(e: postgres::Error) -> Self {
        let Some(refused) = e.as_db_error() else {
            // "error connecting to server" alone helps nobody.
            let cause = e.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            let said = format!("{e}{cause}");
            let unreachable = e.is_closed() || e.source().is_some_and(|cause| cause.is::<io::Error>());
            return if unreachable || said.starts_with("error connecting") || said.starts_with("timeout") {
                StoreError::Unreachable(said)
            } else {
                StoreError::Refused(said)
            };
        };
        let code = refused.code();
        let gone = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ];
        // Never its detail: that quotes rows.
        let said = refused.message().to_owned();
        if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED {
            StoreError::Crossed
        } else if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::QUERY_CANCELED {
            StoreError::Busy
        } else if gone.contains(code) || code.code().starts_with("08") || code.code().starts_with("28") {
            StoreError::Unreachable(said)
        } else {
            StoreError::Refused(said)
        }
    }
}
