//! Counters and keys of the whole cluster.

use super::value::{Column, ToParam, params};
use super::{Connection, StoreError, Topic, int};
use ir::Hash;

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
fn lock(conn: &mut Connection, name: &str) -> Result<(), StoreError> {
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

/// The epoch for a key that is about to sign: the stored one while the key is the same, else a higher one. Never
/// below `at_least`.
pub fn next_epoch(conn: &mut Connection, key_id: Hash, at_least: u64) -> Result<u64, StoreError> {
    conn.transaction(|conn| {
        lock(conn, "epoch")?;
        let stored = number(conn, "epoch")?;
        let same_key = get::<Vec<u8>>(conn, "key_id")?.as_deref() == Some(&key_id.0);
        let next = stored.checked_add(1).ok_or(StoreError::Range("the epoch"))?;
        let epoch = if same_key { stored } else { next }.max(at_least);
        set(conn, "epoch", epoch.to_string().into_bytes())?;
        set(conn, "key_id", key_id)?;
        Ok(epoch)
    })
}

/// The key that secret versions are made with; made at the first call.
pub fn secret_version_key(conn: &mut Connection, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
    let stored = get_or_set(conn, "secret_version_key", &fresh)?;
    stored.try_into().map_err(|_| StoreError::Column(0))
}

/// Ties the database to its cluster; the stored id when there is one already.
pub fn cluster(conn: &mut Connection, cluster_id: &str) -> Result<String, StoreError> {
    let stored = get_or_set(conn, "cluster_id", cluster_id.as_bytes())?;
    String::from_utf8(stored).map_err(|_| StoreError::Column(0))
}

/// The serial of a policy tree: the latest one while the digest is the same, else a new one.
pub fn publish(conn: &mut Connection, digest: Hash, now: u64) -> Result<u64, StoreError> {
    conn.transaction(|conn| {
        lock(conn, "releases")?;
        let latest =
            conn.row("select serial, digest from releases order by serial desc limit 1", &[], |r| {
                Ok((r.get::<u64>(0)?, r.get::<Hash>(1)?))
            })?;
        let serial = match latest {
            Some((serial, stored)) if stored == digest => return Ok(serial),
            latest => latest.map_or(1, |(serial, _)| serial + 1),
        };
        conn.execute(
            "insert into releases (serial, published_at, digest) values ($1, $2, $3)",
            params![int("the release", serial)?, int("the time", now)?, digest],
        )?;
        conn.say(Topic::Releases)?;
        Ok(serial)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each;

    #[test]
    fn epochs_grow_with_every_other_key_and_never_fall() {
        on_each(|conn| {
            let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
            assert_eq!(next_epoch(conn, a, 0).unwrap(), 1);
            assert_eq!(next_epoch(conn, a, 0).unwrap(), 1, "the same key, from a file");
            assert_eq!(next_epoch(conn, b, 0).unwrap(), 2);
            assert_eq!(next_epoch(conn, a, 9).unwrap(), 9, "an agent knew more");
            assert_eq!(next_epoch(conn, b, 0).unwrap(), 10);
        });
    }

    #[test]
    fn a_release_keeps_its_serial_until_the_policy_changes() {
        on_each(|conn| {
            let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
            assert_eq!(publish(conn, a, 1).unwrap(), 1);
            assert_eq!(publish(conn, a, 2).unwrap(), 1);
            assert_eq!(publish(conn, b, 3).unwrap(), 2);
            assert_eq!(publish(conn, a, 4).unwrap(), 3, "going back is a new release");
        });
    }

    #[test]
    fn keys_and_cluster_stay() {
        on_each(|conn| {
            assert_eq!(secret_version_key(conn, [1; 32]).unwrap(), [1; 32]);
            assert_eq!(secret_version_key(conn, [2; 32]).unwrap(), [1; 32]);
            assert_eq!(cluster(conn, "a").unwrap(), "a");
            assert_eq!(cluster(conn, "b").unwrap(), "a");
        });
    }
}
