//! Which certificates envoys may come with.
//!
//! A renewal gives an envoy a second key. Until it comes with that one, the first is good: an answer that got lost, or an
//! agent that died before it wrote the answer down, costs nothing. From then on the first one is let in for a while
//! beside it, and then no more.

use super::value::{Row, params};
use super::{Connection, StoreError, Topic, int};

/// What is known of a certificate beside its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// In hexadecimal.
    pub serial: String,
    /// Begin of its validity: milliseconds since 1970-01-01 UTC, full seconds.
    pub issued_at: u64,
    /// Its end.
    pub expires_at: u64,
}

/// The certificates of an envoy beside the key of the one in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// In use.
    pub current: Certificate,
    /// Issued and not used yet, with its key.
    pub next: Option<([u8; 32], Certificate)>,
    /// The key before the one in use, and until when it is let in.
    pub previous: Option<([u8; 32], u64)>,
}

/// Columns that [`read`] takes, in its order.
pub(super) const COLUMNS: &str =
    "certificate_serial, certificate_issued_at, certificate_expires_at, next_key, next_serial,
    next_issued_at, next_expires_at, previous_key, previous_until";

/// From the columns of a row, the first of them at `at`.
pub(super) fn read(r: &Row<'_>, at: usize) -> Result<Certificates, StoreError> {
    let certificate = |at: usize| {
        Ok::<_, StoreError>(Certificate {
            serial: r.get(at)?,
            issued_at: r.get(at + 1)?,
            expires_at: r.get(at + 2)?,
        })
    };
    let next: Option<[u8; 32]> = r.get(at + 3)?;
    let previous: Option<[u8; 32]> = r.get(at + 7)?;
    Ok(Certificates {
        current: certificate(at)?,
        next: match next {
            Some(key) => Some((key, certificate(at + 4)?)),
            None => None,
        },
        previous: match previous {
            Some(key) => Some((key, r.get(at + 8)?)),
            None => None,
        },
    })
}

/// Why a certificate was not recorded, and so must not be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The envoy's place was taken away meanwhile.
    #[error("this envoy was revoked")]
    Revoked,
    /// The key is in use, by this envoy or by another one.
    #[error("this key is in use already; let the agent make a new one")]
    KeyTaken,
}

/// Records a certificate that an envoy is about to get. One that was issued before and never used is forgotten.
pub fn issued(
    conn: &mut Connection,
    envoy_id: &str,
    key: &[u8; 32],
    certificate: &Certificate,
    now: u64,
) -> Result<Result<(), RecordError>, StoreError> {
    conn.attempt(|conn| {
        // Also a lock.
        let locked = "update envoys set seq = seq where id = $1 and revoked_at is null returning 1";
        if !conn.exists(locked, params![envoy_id])? {
            return Ok(Err(RecordError::Revoked));
        }
        let taken = "select 1 from envoys where public_key = $1 or (next_key = $1 and id <> $2)";
        if conn.exists(taken, params![key, envoy_id])? {
            return Ok(Err(RecordError::KeyTaken));
        }
        conn.execute(
            "update envoys set next_key = $2, next_serial = $3, next_issued_at = $4, next_expires_at = $5,
             keys_changed_at = $6 where id = $1",
            params![
                envoy_id,
                key,
                certificate.serial,
                int("the time", certificate.issued_at)?,
                int("the time", certificate.expires_at)?,
                int("the time", now)?
            ],
        )?;
        Ok(Ok(()))
    })
}

/// An envoy came with a new certificate: it is the one in use from now on, and the one before is let in until
/// `previous_until`. A certificate that this database has not recorded counts when it is newer than the one in use: then the
/// database was restored from a backup. What is stored then; `None` when there is no such envoy.
pub fn used(
    conn: &mut Connection,
    envoy_id: &str,
    key: &[u8; 32],
    certificate: &Certificate,
    previous_until: u64,
    now: u64,
) -> Result<Option<([u8; 32], Certificates)>, StoreError> {
    conn.transaction(|conn| {
        let changed = conn.execute(
            "update envoys set previous_key = public_key, previous_until = $6, public_key = $2,
             certificate_serial = case when next_key = $2 then next_serial else $3 end, certificate_issued_at = $4, certificate_expires_at = $5,
             next_key = null, next_serial = '', next_issued_at = 0, next_expires_at = 0, keys_changed_at = $7
             where id = $1 and public_key <> $2 and (next_key = $2 or $4 > certificate_issued_at)",
            params![
                envoy_id,
                key,
                certificate.serial,
                int("the time", certificate.issued_at)?,
                int("the time", certificate.expires_at)?,
                int("the time", previous_until)?,
                int("the time", now)?
            ],
        )?;
        if changed > 0 {
            conn.say(Topic::Envoys)?;
        }
        of(conn, envoy_id)
    })
}

/// The key of an envoy's certificate in use, and the others.
pub fn of(conn: &mut Connection, envoy_id: &str) -> Result<Option<([u8; 32], Certificates)>, StoreError> {
    let sql = format!("select public_key, {COLUMNS} from envoys where id = $1");
    conn.row(&sql, params![envoy_id], |r| Ok((r.get(0)?, read(&r, 1)?)))
}

/// Id, key in use and certificates.
pub type Changed = (String, [u8; 32], Certificates);

/// Envoys with other certificates than at that time.
pub fn changed_since(conn: &mut Connection, at: u64) -> Result<Vec<Changed>, StoreError> {
    let sql = format!(
        "select id, public_key, {COLUMNS} from envoys where keys_changed_at > 0 and keys_changed_at >= $1"
    );
    conn.rows(&sql, params![int("the time", at)?], |r| Ok((r.get(0)?, r.get(1)?, read(&r, 2)?)))
}

#[cfg(test)]
mod tests {
    use super::super::envoys::{self, tests::candidate};
    use super::*;
    use crate::testing::on_each;

    fn certificate(n: u64) -> Certificate {
        Certificate { serial: format!("s{n}"), issued_at: n * 1000, expires_at: n * 1000 + 90_000 }
    }

    #[test]
    fn a_certificate_is_recorded_then_used_and_the_one_before_fades() {
        on_each(|conn| {
            let first = candidate(conn, 1, "web-01");
            envoys::enrol(conn, &first, 5).unwrap().unwrap();
            assert_eq!(issued(conn, "e1", &[9; 32], &certificate(2), 10).unwrap(), Ok(()));
            let (key, known) = of(conn, "e1").unwrap().unwrap();
            assert_eq!((key, known.next.clone()), ([1; 32], Some(([9; 32], certificate(2)))));
            assert_eq!(changed_since(conn, 10).unwrap().len(), 1);
            assert!(changed_since(conn, 11).unwrap().is_empty());

            let (key, known) = used(conn, "e1", &[9; 32], &certificate(2), 500, 20).unwrap().unwrap();
            assert_eq!(key, [9; 32]);
            let current = certificate(2);
            assert_eq!(known, Certificates { current, next: None, previous: Some(([1; 32], 500)) });
            // Twice, by two servers: the second changes nothing.
            let again = used(conn, "e1", &[9; 32], &certificate(2), 900, 30).unwrap().unwrap();
            assert_eq!(again.1.previous, Some(([1; 32], 500)));
            assert_eq!(used(conn, "nobody", &[9; 32], &certificate(2), 900, 30).unwrap(), None);
            // An older one does not come back; one that is newer than all this database knows of does.
            let older = used(conn, "e1", &[1; 32], &certificate(1), 900, 30).unwrap().unwrap();
            assert_eq!(older.0, [9; 32]);
            let newer = used(conn, "e1", &[7; 32], &certificate(3), 900, 30).unwrap().unwrap();
            assert_eq!((newer.0, newer.1.current), ([7; 32], certificate(3)));
        });
    }

    #[test]
    fn a_key_is_given_to_one_envoy_only_and_to_no_revoked_one() {
        on_each(|conn| {
            for n in 1..=2 {
                let one = candidate(conn, n, &format!("h{n}"));
                envoys::enrol(conn, &one, 5).unwrap().unwrap();
            }
            let issued = |conn: &mut Connection, id, key| issued(conn, id, &[key; 32], &certificate(2), 1);
            assert_eq!(issued(conn, "e1", 1).unwrap(), Err(RecordError::KeyTaken), "its own");
            assert_eq!(issued(conn, "e1", 2).unwrap(), Err(RecordError::KeyTaken));
            assert_eq!(issued(conn, "e1", 9).unwrap(), Ok(()));
            assert_eq!(issued(conn, "e2", 9).unwrap(), Err(RecordError::KeyTaken));
            assert_eq!(issued(conn, "e1", 9).unwrap(), Ok(()), "asked again");
            assert!(envoys::revoke(conn, "h1", 6).unwrap());
            assert_eq!(issued(conn, "e1", 8).unwrap(), Err(RecordError::Revoked));
        });
    }
}
