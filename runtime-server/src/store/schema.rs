//! The tables, and which version of them a database has.

use super::connection::{Backend, Connection};
use super::value::params;
use super::{Database, StoreError};

/// Each runs once, in a transaction; `vigo_schema` counts them.
const STEPS: &[&str] = &[
    include_str!("1.sql"),
    include_str!("http.sql"),
    include_str!("tasks.sql"),
    include_str!("publish.sql"),
    include_str!("cancel.sql"),
    include_str!("certificates.sql"),
    include_str!("events.sql"),
    include_str!("workflow_steps.sql"),
    include_str!("workflow_verdicts.sql"),
];

/// The version that this program knows.
pub(super) const KNOWN: u64 = STEPS.len() as u64;

/// Brings the schema up to date; makes the first one only when `create` is set.
pub(super) fn migrate(conn: &mut Connection, database: &Database, create: bool) -> Result<(), StoreError> {
    if !is_there(conn)? {
        if !create {
            return Err(StoreError::Missing(database.clone()));
        }
        conn.transaction(|conn| {
            // Two that create at once: one of them finds the table there.
            conn.batch("create table vigo_schema (only_row bigint primary key, version bigint not null)")?;
            conn.execute("insert into vigo_schema (only_row, version) values (1, 0)", &[])?;
            Ok(())
        })?;
    }
    if version(conn)? == KNOWN {
        return Ok(());
    }
    let newer = conn.attempt(|conn| {
        conn.patient()?;
        // Also a lock: servers that start together do each step once.
        let found =
            conn.value("update vigo_schema set version = version returning version", &[])?.unwrap_or(0);
        if found > KNOWN {
            return Ok(Err(found));
        }
        for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
            conn.batch(&in_words_of(conn, step))?;
        }
        conn.execute("update vigo_schema set version = $1", params![KNOWN as i64])?;
        Ok(Ok(()))
    })?;
    newer.map_err(|found| StoreError::Newer { database: database.clone(), found, known: KNOWN })
}

/// Whether [`migrate`] could bring it up to date; changes nothing.
pub(super) fn check(conn: &mut Connection, database: &Database) -> Result<(), StoreError> {
    if !is_there(conn)? {
        return Err(StoreError::Missing(database.clone()));
    }
    match version(conn)? {
        found if found > KNOWN => Err(StoreError::Newer { database: database.clone(), found, known: KNOWN }),
        _ => Ok(()),
    }
}

fn is_there(conn: &mut Connection) -> Result<bool, StoreError> {
    conn.exists(
        match conn.backend {
            Backend::Sqlite(_) => "select 1 from sqlite_master where name = 'vigo_schema'",
            Backend::Postgres(_) => "select 1 where to_regclass('vigo_schema') is not null",
        },
        &[],
    )
}

fn version(conn: &mut Connection) -> Result<u64, StoreError> {
    Ok(conn.value("select version from vigo_schema", &[])?.unwrap_or(0))
}

/// The steps are written for SQLite; PostgreSQL has other words for the same types, and sorts text by the rules of a
/// language unless it is told not to.
pub(super) fn in_words_of(conn: &Connection, step: &str) -> String {
    if let Backend::Sqlite(_) = conn.backend {
        return step.to_owned();
    }
    let step = step.replace(" strict, without rowid;", ";").replace(" strict;", ";");
    let mut out = String::with_capacity(step.len() * 2);
    for piece in step.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (word, rest) = piece.split_at(end);
        out.push_str(match word {
            "integer" => "bigint",
            "blob" => "bytea",
            "text" => "text collate \"C\"",
            word => word,
        });
        out.push_str(rest);
    }
    out
}
