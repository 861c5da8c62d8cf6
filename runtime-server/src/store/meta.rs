//! Counters and keys of the whole cluster.

use super::{StoreError, int};
use ir::Hash;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

fn get<T: rusqlite::types::FromSql>(conn: &Connection, key: &str) -> Result<Option<T>, StoreError> {
    Ok(conn.query_row("select value from meta where key = ?", [key], |r| r.get(0)).optional()?)
}

fn set(conn: &Connection, key: &str, value: impl rusqlite::ToSql) -> Result<(), StoreError> {
    conn.execute(
        "insert into meta (key, value) values (?, ?) on conflict do update set value = excluded.value",
        params![key, value],
    )?;
    Ok(())
}

/// A number as text, because `value` is a blob for the keys too.
fn number(conn: &Connection, key: &str) -> Result<u64, StoreError> {
    let text: Option<Vec<u8>> = get(conn, key)?;
    Ok(text.and_then(|t| String::from_utf8(t).ok()?.parse().ok()).unwrap_or(0))
}

/// The epoch for a key that is about to sign: the stored one while the key is the same, else a higher one. Never
/// below `at_least`.
pub fn next_epoch(conn: &mut Connection, key_id: Hash, at_least: u64) -> Result<u64, StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let stored = number(&tx, "epoch")?;
    let same_key = get::<Vec<u8>>(&tx, "key_id")?.as_deref() == Some(&key_id.0);
    let next = stored.checked_add(1).ok_or(StoreError::Range("the epoch"))?;
    let epoch = if same_key { stored } else { next }.max(at_least);
    set(&tx, "epoch", epoch.to_string().into_bytes())?;
    set(&tx, "key_id", key_id.0.as_slice())?;
    tx.commit()?;
    Ok(epoch)
}

/// The key that secret versions are made with; made at the first call.
pub fn secret_version_key(conn: &mut Connection, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let key = match get::<Vec<u8>>(&tx, "secret_version_key")?.and_then(|k| k.try_into().ok()) {
        Some(key) => key,
        None => {
            set(&tx, "secret_version_key", fresh.as_slice())?;
            fresh
        }
    };
    tx.commit()?;
    Ok(key)
}

/// Ties the database to its cluster; the stored id when there is one already.
pub fn cluster(conn: &mut Connection, cluster_id: &str) -> Result<String, StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let stored = get::<Vec<u8>>(&tx, "cluster_id")?.and_then(|id| String::from_utf8(id).ok());
    let id = match stored {
        Some(id) => id,
        None => {
            set(&tx, "cluster_id", cluster_id.as_bytes())?;
            cluster_id.to_owned()
        }
    };
    tx.commit()?;
    Ok(id)
}

/// The serial of a policy tree: the latest one while the digest is the same, else a new one.
pub fn publish(conn: &mut Connection, digest: Hash, now: u64) -> Result<u64, StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let latest: Option<(i64, Vec<u8>)> = tx
        .query_row("select serial, digest from releases order by serial desc limit 1", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
        .optional()?;
    let serial = match latest {
        Some((serial, stored)) if stored == digest.0 => serial,
        latest => {
            let serial = latest.map_or(1, |(serial, _)| serial + 1);
            tx.execute(
                "insert into releases (serial, published_at, digest) values (?, ?, ?)",
                params![serial, int("the time", now)?, digest.0.as_slice()],
            )?;
            serial
        }
    };
    tx.commit()?;
    Ok(serial as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    #[test]
    fn epochs_grow_with_every_other_key_and_never_fall() {
        let mut conn = in_memory();
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        assert_eq!(next_epoch(&mut conn, a, 0).unwrap(), 1);
        assert_eq!(next_epoch(&mut conn, a, 0).unwrap(), 1, "the same key, from a file");
        assert_eq!(next_epoch(&mut conn, b, 0).unwrap(), 2);
        assert_eq!(next_epoch(&mut conn, a, 9).unwrap(), 9, "an agent knew more");
        assert_eq!(next_epoch(&mut conn, b, 0).unwrap(), 10);
    }

    #[test]
    fn a_release_keeps_its_serial_until_the_policy_changes() {
        let mut conn = in_memory();
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        assert_eq!(publish(&mut conn, a, 1).unwrap(), 1);
        assert_eq!(publish(&mut conn, a, 2).unwrap(), 1);
        assert_eq!(publish(&mut conn, b, 3).unwrap(), 2);
        assert_eq!(publish(&mut conn, a, 4).unwrap(), 3, "going back is a new release");
    }

    #[test]
    fn keys_and_cluster_stay() {
        let mut conn = in_memory();
        assert_eq!(secret_version_key(&mut conn, [1; 32]).unwrap(), [1; 32]);
        assert_eq!(secret_version_key(&mut conn, [2; 32]).unwrap(), [1; 32]);
        assert_eq!(cluster(&mut conn, "a").unwrap(), "a");
        assert_eq!(cluster(&mut conn, "b").unwrap(), "a");
    }
}
