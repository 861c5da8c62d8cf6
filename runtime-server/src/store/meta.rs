//! Counters and keys of the whole cluster.

use super::value::{Column, ToParam, params};
use super::{Connection, StoreError, Topic};
use ir::Hash;
use prost::Message;
use protocol::pb;
use protocol::reset::Reset;

fn get<T: Column>(conn: &mut Connection, key: &str) -> Result<Option<T>, StoreError> {
    conn.value("select value from meta where key = $1", params![key])
}

fn set(conn: &mut Connection, key: &str, value: impl ToParam) -> Result<(), StoreError> {
    conn.execute(
        "insert into meta (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value",
        params![key, value],
    )?;
    Ok(())
}

/// What is stored under the key; `fresh`, and stored from now on, when nothing was. Of two that come at once, both
/// get the same.
fn get_or_set(conn: &mut Connection, key: &str, fresh: &[u8]) -> Result<Vec<u8>, StoreError> {
    conn.transaction(|conn| {
        conn.execute(
            "insert into meta (key, value) values ($1, $2) on conflict (key) do nothing",
            params![key, fresh],
        )?;
        Ok(get(conn, key)?.unwrap_or_else(|| fresh.to_owned()))
    })
}

/// Nobody else changes what `name` stands for until the transaction ends.
pub(super) fn lock(conn: &mut Connection, name: &str) -> Result<(), StoreError> {
    conn.execute(
        "insert into meta (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value",
        params![format!("lock:{name}"), [0u8; 0]],
    )?;
    Ok(())
}

/// A number as text, because `value` is a blob for the keys too.
fn number(conn: &mut Connection, key: &str) -> Result<u64, StoreError> {
    let text: Option<Vec<u8>> = get(conn, key)?;
    Ok(text.and_then(|t| String::from_utf8(t).ok()?.parse().ok()).unwrap_or(0))
}

/// The highest epoch that was given out.
pub(super) fn epoch(conn: &mut Connection) -> Result<u64, StoreError> {
    number(conn, "epoch")
}

/// The epoch for a key that is about to sign: the stored one while the key is the same, else a higher one. Never
/// below `at_least`. To be called in a transaction, which then is the only one of its kind.
pub(super) fn next_epoch(conn: &mut Connection, key_id: Hash, at_least: u64) -> Result<u64, StoreError> {
    lock(conn, "epoch")?;
    let stored = number(conn, "epoch")?;
    let same_key = get::<Vec<u8>>(conn, "key_id")?.as_deref() == Some(&key_id.0);
    let next = stored.checked_add(1).ok_or(StoreError::Range("the epoch"))?;
    let epoch = if same_key { stored } else { next }.max(at_least);
    set(conn, "epoch", epoch.to_string().into_bytes())?;
    set(conn, "key_id", key_id)?;
    Ok(epoch)
}

/// The last reset, and the CA's word for it.
pub fn reset(conn: &mut Connection) -> Result<Option<(Reset, pb::Reset)>, StoreError> {
    let Some(stored) = get::<Vec<u8>>(conn, "reset")? else { return Ok(None) };
    let statement = pb::Reset::decode(stored.as_slice()).map_err(|_| StoreError::Column(0))?;
    let claims = pb::ResetClaims::decode(statement.claims.as_slice()).map_err(|_| StoreError::Column(0))?;
    Ok(Some((Reset { number: claims.number, min_epoch: claims.min_epoch }, statement)))
}

/// The highest epoch that was given out, locked, so that no server takes another one until the transaction ends.
pub fn lock_epoch(conn: &mut Connection) -> Result<u64, StoreError> {
    lock(conn, "epoch")?;
    epoch(conn)
}

/// Writes a reset down. Servers that run are told.
pub fn set_reset(conn: &mut Connection, statement: &pb::Reset) -> Result<(), StoreError> {
    set(conn, "reset", statement.encode_to_vec())?;
    conn.say(Topic::Envoys)
}

/// Ties the database to its cluster; the stored id when there is one already.
pub fn cluster(conn: &mut Connection, cluster_id: &str) -> Result<String, StoreError> {
    let stored = get_or_set(conn, "cluster_id", cluster_id.as_bytes())?;
    String::from_utf8(stored).map_err(|_| StoreError::Column(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each;

    #[test]
    fn the_cluster_stays() {
        on_each(|conn| {
            assert_eq!(cluster(conn, "a").unwrap(), "a");
            assert_eq!(cluster(conn, "b").unwrap(), "a");
        });
    }
}
