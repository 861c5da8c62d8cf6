//! Who changed what, in a chain: every entry holds the hash of itself and of the one before, so that an entry cannot
//! be changed, taken out or put in without breaking all that follow. Cutting off the end breaks nothing; whoever keeps
//! the hash of the last entry elsewhere notices that as well.

use super::value::{Row, params};
use super::{Connection, StoreError, int};
use ir::Hash;

/// An entry to be made.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// Who.
    pub actor: &'a str,
    /// What: `token.create` and the like.
    pub action: &'a str,
    /// To what.
    pub subject: &'a str,
    /// More about it; never a secret.
    pub details: &'a str,
}

impl<'a> Event<'a> {
    /// The parts in their order.
    pub fn new(at: u64, actor: &'a str, action: &'a str, subject: &'a str, details: &'a str) -> Self {
        Event { at, actor, action, subject, details }
    }
}

/// An entry that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Counted from 1, without a gap.
    pub seq: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More about it.
    pub details: String,
    /// Over this entry and the hash of the one before.
    pub hash: Hash,
}

/// What checking the chain came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries were found good.
    pub entries: u64,
    /// The hash of the last of them.
    pub head: Option<Hash>,
    /// The number of the first entry that does not fit.
    pub broken_at: Option<u64>,
}

/// What the first entry follows.
const START: Hash = Hash([0; 32]);
/// Entries read at once when all are checked.
const STEP: u32 = 1000;

fn hash(before: Hash, seq: u64, event: &Event<'_>) -> Hash {
    Hash::of_parts(&[
        b"vigo/audit/v1",
        &before.0,
        &seq.to_be_bytes(),
        &event.at.to_be_bytes(),
        event.actor.as_bytes(),
        event.action.as_bytes(),
        event.subject.as_bytes(),
        event.details.as_bytes(),
    ])
}

/// Adds an entry. Inside of the transaction that makes the change, so that neither is there without the other.
pub fn append(conn: &mut Connection, event: &Event<'_>) -> Result<(), StoreError> {
    // What the database would replace must not stand in the hash.
    let texts =
        [event.actor, event.action, event.subject, event.details].map(|t| t.replace('\0', "\u{fffd}"));
    let [actor, action, subject, details] = &texts;
    let event = Event { at: event.at, actor, action, subject, details };
    conn.transaction(|conn| {
        conn.execute(
            "insert into audit_head (only_row, seq, hash) values (1, 0, $1) on conflict (only_row) do nothing",
            params![START],
        )?;
        // Also a lock: entries are added one after the other.
        let locked = conn.row(
            "update audit_head set seq = seq + 1 where only_row = 1 returning seq, hash",
            &[],
            |r: Row<'_>| Ok((r.get::<u64>(0)?, r.get::<Hash>(1)?)),
        )?;
        let (seq, before) = locked.ok_or(StoreError::Column(0))?;
        let hash = hash(before, seq, &event);
        conn.execute(
            "insert into audit (seq, at, actor, action, subject, details, hash) values ($1, $2, $3, $4, $5, $6, $7)",
            params![
                int("the number of an audit entry", seq)?,
                int("the time", event.at)?,
                event.actor,
                event.action,
                event.subject,
                event.details,
                hash
            ],
        )?;
        conn.execute("update audit_head set hash = $1 where only_row = 1", params![hash])?;
        Ok(())
    })
}

/// The latest entries before a number, the latest first.
pub fn page(conn: &mut Connection, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
    let before = before.map_or(Ok(i64::MAX), |seq| int("the number of an audit entry", seq))?;
    conn.rows(&format!("{SELECT} where seq < $1 order by seq desc limit $2"), params![before, limit], row)
}

/// When the latest entry was made.
pub fn latest(conn: &mut Connection) -> Result<Option<u64>, StoreError> {
    conn.value("select at from audit order by seq desc limit 1", &[])
}

/// Goes through all entries.
pub fn verify(conn: &mut Connection) -> Result<Verified, StoreError> {
    let (mut last, mut seq) = (START, 0u64);
    loop {
        let after = int("the number of an audit entry", seq)?;
        let rows =
            conn.rows(&format!("{SELECT} where seq > $1 order by seq limit $2"), params![after, STEP], row)?;
        for entry in &rows {
            let event = Event::new(entry.at, &entry.actor, &entry.action, &entry.subject, &entry.details);
            if entry.seq != seq + 1 || hash(last, entry.seq, &event) != entry.hash {
                let head = (seq > 0).then_some(last);
                return Ok(Verified { entries: seq, head, broken_at: Some(seq + 1) });
            }
            (last, seq) = (entry.hash, entry.seq);
        }
        if rows.len() < STEP as usize {
            break;
        }
    }
    // Entries may have been added since they were read, never taken away.
    let head = conn.row("select seq, hash from audit_head where only_row = 1", &[], |r: Row<'_>| {
        Ok((r.get::<u64>(0)?, r.get::<Hash>(1)?))
    })?;
    let cut_off = match head {
        Some((at, hash)) if at == seq => hash != last,
        Some((at, _)) => {
            let next = int("the number of an audit entry", seq + 1)?;
            at < seq || !conn.exists("select 1 from audit where seq = $1", params![next])?
        }
        None => seq > 0,
    };
    let head = (seq > 0).then_some(last);
    Ok(Verified { entries: seq, head, broken_at: cut_off.then_some(seq + 1) })
}

const SELECT: &str = "select seq, at, actor, action, subject, details, hash from audit";

fn row(r: Row<'_>) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        seq: r.get(0)?,
        at: r.get(1)?,
        actor: r.get(2)?,
        action: r.get(3)?,
        subject: r.get(4)?,
        details: r.get(5)?,
        hash: r.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each;

    fn fill(conn: &mut Connection) {
        for at in 1..=5 {
            append(conn, &Event::new(at, "ann", "token.create", "t1", "a\0b")).unwrap();
        }
    }

    #[test]
    fn an_untouched_chain_is_whole() {
        on_each(|conn| {
            assert_eq!(verify(conn).unwrap(), Verified { entries: 0, head: None, broken_at: None });
            fill(conn);
            let verified = verify(conn).unwrap();
            assert_eq!((verified.entries, verified.broken_at), (5, None));
            let latest = page(conn, None, 2).unwrap();
            assert_eq!((latest[0].seq, Some(latest[0].hash)), (5, verified.head));
            assert_eq!(page(conn, Some(2), 9).unwrap().len(), 1);
        });
    }

    #[test]
    fn case_100_an_edited_audit_row_is_noticed() {
        for (statement, broken_at) in [
            ("update audit set actor = 'bob' where seq = 3", 3),
            ("update audit set at = 9 where seq = 1", 1),
            ("update audit set details = details || ' ' where seq = 5", 5),
            ("delete from audit where seq = 2", 2),
            ("delete from audit where seq = 5", 5),
            ("delete from audit_head", 6),
            ("update audit set seq = 9 where seq = 4", 4),
            ("update audit_head set hash = (select hash from audit where seq = 1)", 6),
        ] {
            on_each(|conn| {
                fill(conn);
                assert_eq!(conn.execute(statement, &[]).unwrap(), 1);
                assert_eq!(verify(conn).unwrap().broken_at, Some(broken_at), "{statement}");
            });
        }
    }

    #[test]
    fn an_entry_goes_with_the_change_it_is_about() {
        on_each(|conn| {
            fill(conn);
            let failed: Result<(), StoreError> = conn.transaction(|conn| {
                append(conn, &Event::new(9, "ann", "token.create", "t2", ""))?;
                Err(StoreError::Closed)
            });
            assert!(failed.is_err());
            assert_eq!(verify(conn).unwrap().entries, 5);
        });
    }
}
