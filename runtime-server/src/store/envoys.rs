//! The hosts that were enrolled.

use super::tokens::{self, TokenError};
use super::{StoreError, int};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

/// An envoy as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyRow {
    /// UUID.
    pub id: String,
    /// Lower-case.
    pub hostname: String,
    /// ed25519.
    pub public_key: [u8; 32],
    /// X25519.
    pub seal_key: [u8; 32],
    /// Milliseconds since 1970-01-01 UTC, as are the others.
    pub enrolled_at: u64,
    /// When it lost its place.
    pub revoked_at: Option<u64>,
    /// Highest request counter.
    pub counter: u64,
    /// Of the content last assigned to it.
    pub seq: u64,
    /// That content.
    pub content: String,
    /// Last told to it.
    pub policy_version: String,
    /// Its traits, encoded.
    pub traits: Option<Vec<u8>>,
    /// Last request.
    pub last_seen: Option<u64>,
    /// When it was told to come back.
    pub interval_ms: u64,
    /// What it said it was.
    pub agent_version: String,
    /// Results up to here are dealt with.
    pub acknowledged_seq: u64,
}

/// A host that asks to become an envoy, everything checked but its token.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The id it will have.
    pub id: String,
    /// Normalised.
    pub hostname: String,
    /// ed25519.
    pub public_key: [u8; 32],
    /// X25519.
    pub seal_key: [u8; 32],
    /// As received.
    pub token: String,
}

/// Why a candidate is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// Its token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// An active envoy has the name: nobody inherits it by asking.
    #[error(
        "an active envoy has this host name; `vigosrv envoys revoke` it first if the host was reinstalled"
    )]
    HostnameTaken,
    /// The key belongs to another envoy.
    #[error("this key belongs to another envoy; let the agent make a new one")]
    KeyTaken,
}

/// Takes the token and stores the envoy, or does neither.
pub fn enrol(
    conn: &mut Connection,
    candidate: &Candidate,
    now: u64,
) -> Result<Result<(), EnrolError>, StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Err(e) = tokens::take(&tx, &candidate.token, &candidate.hostname, &candidate.id, now)? {
        return Ok(Err(e.into()));
    }
    let exists = |sql: &str, value: &dyn rusqlite::ToSql| tx.prepare(sql)?.exists([value]);
    if exists("select 1 from envoys where hostname = ? and revoked_at is null", &candidate.hostname)? {
        return Ok(Err(EnrolError::HostnameTaken));
    }
    if exists("select 1 from envoys where public_key = ?", &candidate.public_key.as_slice())? {
        return Ok(Err(EnrolError::KeyTaken));
    }
    tx.execute(
        "insert into envoys (id, hostname, public_key, seal_key, enrolled_at) values (?, ?, ?, ?, ?)",
        params![
            candidate.id,
            candidate.hostname,
            candidate.public_key.as_slice(),
            candidate.seal_key.as_slice(),
            int("the time", now)?
        ],
    )?;
    tx.commit()?;
    Ok(Ok(()))
}

/// All of them, by host name.
pub fn list(conn: &Connection) -> Result<Vec<EnvoyRow>, StoreError> {
    let mut statement = conn.prepare(&format!("{SELECT} order by hostname, enrolled_at"))?;
    let rows = statement.query_map([], row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// So many of them from the first after an id on, by id: a large fleet is never in memory twice.
pub fn page(conn: &Connection, after: &str, most: u32) -> Result<Vec<EnvoyRow>, StoreError> {
    let mut statement = conn.prepare_cached(&format!("{SELECT} where id > ? order by id limit ?"))?;
    let rows = statement.query_map(params![after, most], row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The active envoy of that name, or the one of that id.
pub fn find(conn: &Connection, name_or_id: &str) -> Result<Option<EnvoyRow>, StoreError> {
    let sql = format!("{SELECT} where id = ?1 or (hostname = lower(?1) and revoked_at is null)");
    Ok(conn.query_row(&sql, [name_or_id], row).optional()?)
}

/// Ids of those that were revoked.
pub fn revoked(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare("select id from envoys where revoked_at is not null")?;
    let rows = statement.query_map([], |r| r.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes an envoy's place away. False when it is no active envoy.
pub fn revoke(conn: &Connection, name_or_id: &str, now: u64) -> Result<bool, StoreError> {
    let changed = conn.execute(
        "update envoys set revoked_at = ?2, traits = null
         where revoked_at is null and (id = ?1 or hostname = lower(?1))",
        params![name_or_id, int("the time", now)?],
    )?;
    Ok(changed > 0)
}

/// Stores the content assigned to an envoy; before it is sent.
pub fn assign(
    conn: &Connection,
    id: &str,
    seq: u64,
    content: &str,
    policy_version: &str,
) -> Result<(), StoreError> {
    conn.execute(
        "update envoys set seq = ?2, content = ?3, policy_version = ?4 where id = ?1 and seq <= ?2",
        params![id, int("the sequence number", seq)?, content, policy_version],
    )?;
    Ok(())
}

/// What changes with every request and is written in batches.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The envoy.
    pub id: String,
    /// Highest request counter.
    pub counter: u64,
    /// Last request.
    pub last_seen: u64,
    /// When it was told to come back.
    pub interval_ms: u64,
    /// What it said it was.
    pub agent_version: String,
    /// Last told to it.
    pub policy_version: String,
    /// Its traits, when they changed.
    pub traits: Option<Vec<u8>>,
}

/// Writes a batch.
pub fn flush(conn: &mut Connection, batch: &[Seen]) -> Result<(), StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statement = tx.prepare_cached(
            "update envoys set counter = max(counter, ?2), last_seen = max(coalesce(last_seen, 0), ?3),
             interval_ms = ?4, agent_version = ?5, policy_version = ?6, traits = coalesce(?7, traits)
             where id = ?1",
        )?;
        for seen in batch {
            statement.execute(params![
                seen.id,
                int("the counter", seen.counter)?,
                int("the time", seen.last_seen)?,
                int("the interval", seen.interval_ms)?,
                seen.agent_version,
                seen.policy_version,
                seen.traits
            ])?;
        }
    }
    tx.commit()?;
    Ok(())
}

const SELECT: &str =
    "select id, hostname, public_key, seal_key, enrolled_at, revoked_at, counter, seq, content,
    policy_version, traits, last_seen, interval_ms, agent_version, acknowledged_seq from envoys";

fn row(r: &Row<'_>) -> Result<EnvoyRow, rusqlite::Error> {
    let number = |at: usize| Ok::<_, rusqlite::Error>(r.get::<_, Option<i64>>(at)?.map(|n| n as u64));
    Ok(EnvoyRow {
        id: r.get(0)?,
        hostname: r.get(1)?,
        public_key: r.get(2)?,
        seal_key: r.get(3)?,
        enrolled_at: number(4)?.unwrap_or(0),
        revoked_at: number(5)?,
        counter: number(6)?.unwrap_or(0),
        seq: number(7)?.unwrap_or(0),
        content: r.get(8)?,
        policy_version: r.get(9)?,
        traits: r.get(10)?,
        last_seen: number(11)?,
        interval_ms: number(12)?.unwrap_or(0),
        agent_version: r.get(13)?,
        acknowledged_seq: number(14)?.unwrap_or(0),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::in_memory;

    pub(crate) fn candidate(conn: &Connection, n: u8, hostname: &str) -> Candidate {
        let (token, _) = tokens::create(conn, [n; 20], "*", 0, 1000).unwrap();
        Candidate {
            id: format!("e{n}"),
            hostname: hostname.into(),
            public_key: [n; 32],
            seal_key: [n; 32],
            token,
        }
    }

    #[test]
    fn a_name_belongs_to_one_envoy_until_it_is_revoked() {
        let mut conn = in_memory();
        let first = candidate(&conn, 1, "web-01");
        assert_eq!(enrol(&mut conn, &first, 5).unwrap(), Ok(()));
        let second = candidate(&conn, 2, "web-01");
        assert_eq!(enrol(&mut conn, &second, 5).unwrap(), Err(EnrolError::HostnameTaken));
        assert!(revoke(&conn, "WEB-01", 6).unwrap());
        assert!(!revoke(&conn, "web-01", 6).unwrap());
        assert_eq!(enrol(&mut conn, &second, 7).unwrap(), Ok(()), "the refusal cost no token");
        assert_eq!(revoked(&conn).unwrap(), ["e1"]);
        let heir = find(&conn, "web-01").unwrap().unwrap();
        assert_eq!((heir.id.as_str(), heir.seq, heir.counter), ("e2", 0, 0), "it inherits nothing");
        let mut same_key = candidate(&conn, 3, "web-03");
        same_key.public_key = [1; 32];
        assert_eq!(enrol(&mut conn, &same_key, 8).unwrap(), Err(EnrolError::KeyTaken));
    }

    #[test]
    fn pages_hold_everybody_once() {
        let mut conn = in_memory();
        for n in 1..=3 {
            let one = candidate(&conn, n, &format!("h{n}"));
            enrol(&mut conn, &one, 5).unwrap().unwrap();
        }
        let ids = |after| page(&conn, after, 2).unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(
            (ids(""), ids("e2"), ids("e3")),
            (vec!["e1".into(), "e2".into()], vec!["e3".into()], vec![])
        );
    }

    #[test]
    fn numbers_never_fall() {
        let mut conn = in_memory();
        let first = candidate(&conn, 1, "web-01");
        enrol(&mut conn, &first, 5).unwrap().unwrap();
        assign(&conn, "e1", 4, "c4", "v4").unwrap();
        assign(&conn, "e1", 3, "c3", "v3").unwrap();
        let seen = |counter, last_seen| Seen {
            id: "e1".into(),
            counter,
            last_seen,
            interval_ms: 1,
            agent_version: "a".into(),
            policy_version: "v4".into(),
            traits: None,
        };
        flush(&mut conn, &[Seen { traits: Some(vec![1]), ..seen(9, 90) }]).unwrap();
        flush(&mut conn, &[seen(8, 80)]).unwrap();
        let row = find(&conn, "e1").unwrap().unwrap();
        assert_eq!((row.seq, row.content.as_str()), (4, "c4"));
        assert_eq!((row.counter, row.last_seen, row.traits), (9, Some(90), Some(vec![1])));
    }
}
