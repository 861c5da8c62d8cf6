//! The servers that are up, and the epochs of their signing keys.
//!
//! Every start takes a higher epoch, so that agents tell a newer key from a retired one. Servers that share a
//! database have a key each; the statement of the newest key lists the epochs of the others, and agents accept
//! exactly those beside it. A server that was silent for too long is left out of the next list, so it has to come back
//! with a new key.

use super::value::params;
use super::{Connection, StoreError, int, meta};
use ir::Hash;

/// A server that was silent for longer is taken for dead: as far as the clocks of two servers may be apart.
pub const SILENCE_MS: u64 = 300_000;
/// Epochs that a key statement can list.
const MOST: u32 = 256;

/// What a server may sign as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its epoch.
    pub epoch: u64,
    /// Epochs of the other servers that are up.
    pub live: Vec<u64>,
}

/// Registers a server, or gives a registered one a new key. The epoch is the stored one while the key is the one
/// that signed last, else a higher one; never below `at_least`. A SQLite file has one server, so whoever else is
/// registered there is gone.
pub fn register(
    conn: &mut Connection,
    instance_id: &str,
    key_id: Hash,
    at_least: u64,
    now: u64,
) -> Result<Registered, StoreError> {
    let dead = if conn.is_shared() { now.saturating_sub(SILENCE_MS) } else { i64::MAX as u64 };
    conn.transaction(|conn| {
        // Before the others are looked at: no two register at the same time.
        let epoch = meta::next_epoch(conn, key_id, at_least)?;
        conn.execute(
            "delete from servers where seen_at < $1 or instance_id = $2",
            params![int("the time", dead)?, instance_id],
        )?;
        conn.execute(
            "insert into servers (instance_id, epoch, key_id, started_at, seen_at) values ($1, $2, $3, $4, $4)",
            params![instance_id, int("the epoch", epoch)?, key_id, int("the time", now)?],
        )?;
        let live = conn.rows(
            "select distinct epoch from servers where epoch <> $1 order by epoch desc limit $2",
            params![int("the epoch", epoch)?, MOST],
            |r| r.get(0),
        )?;
        Ok(Registered { epoch, live })
    })
}

/// Says that a server is still up. The highest epoch there is; `None` when the server was taken for dead, and must
/// register again with a new key before it signs anything more.
pub fn beat(conn: &mut Connection, instance_id: &str, now: u64) -> Result<Option<u64>, StoreError> {
    let known = conn.execute(
        "update servers set seen_at = $2 where instance_id = $1",
        params![instance_id, int("the time", now)?],
    )?;
    if known == 0 {
        return Ok(None);
    }
    meta::epoch(conn).map(Some)
}

/// Takes a server off the list; its key is retired with the next start of another one.
pub fn leave(conn: &mut Connection, instance_id: &str) -> Result<(), StoreError> {
    conn.execute("delete from servers where instance_id = $1", params![instance_id])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each;

    fn key(n: u8) -> Hash {
        Hash([n; 32])
    }

    #[test]
    fn case_028_epochs_grow_with_every_other_key_and_never_fall() {
        on_each(|conn| {
            let mut start = |k, at_least| register(conn, "a", key(k), at_least, 1).unwrap().epoch;
            assert_eq!(start(1, 0), 1);
            assert_eq!(start(1, 0), 1, "the same key, from a file");
            assert_eq!(start(2, 0), 2);
            assert_eq!(start(1, 9), 9, "an agent knew more");
            assert_eq!(start(2, 0), 10);
        });
    }

    #[test]
    fn the_newest_key_lists_the_servers_that_are_up() {
        on_each(|conn| {
            let shared = conn.is_shared();
            assert_eq!(register(conn, "a", key(1), 0, 1000).unwrap(), Registered { epoch: 1, live: vec![] });
            let second = register(conn, "b", key(2), 0, 1000).unwrap();
            assert_eq!(second.live, if shared { vec![1] } else { vec![] }, "a file has one server");
            if !shared {
                assert_eq!(beat(conn, "a", 1001).unwrap(), None);
                return;
            }
            let late = 1000 + SILENCE_MS;
            assert_eq!(beat(conn, "b", late + 1).unwrap(), Some(2));
            assert_eq!(register(conn, "c", key(3), 0, late).unwrap().live, [2, 1]);
            assert_eq!(
                register(conn, "c", key(4), 0, late + 1).unwrap(),
                Registered { epoch: 4, live: vec![2] }
            );
            assert_eq!(beat(conn, "a", late + 1).unwrap(), None, "it was taken for dead");
            leave(conn, "b").unwrap();
            assert_eq!(register(conn, "a", key(5), 0, late + 2).unwrap().live, [4]);
        });
    }
}
