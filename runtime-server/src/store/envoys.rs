//! The hosts that were enrolled.

use super::certificates::{self, Certificate, Certificates};
use super::tokens::{self, TokenError};
use super::value::{Row, params};
use super::{Connection, StoreError, Topic, int};
use std::collections::HashMap;

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
    /// What it may come with; `public_key` is that of the one in use.
    pub certificates: Certificates,
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
    /// What it gets.
    pub certificate: Certificate,
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
    conn.attempt(|conn| {
        if let Err(e) = tokens::take(conn, &candidate.token, &candidate.hostname, &candidate.id, now)? {
            return Ok(Err(e.into()));
        }
        // Two unique indexes decide; the looks after it only name the reason.
        let stored = conn.execute(
            "insert into envoys (id, hostname, public_key, seal_key, enrolled_at, certificate_serial,
             certificate_issued_at, certificate_expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict do nothing",
            params![
                candidate.id,
                candidate.hostname,
                candidate.public_key,
                candidate.seal_key,
                int("the time", now)?,
                candidate.certificate.serial,
                int("the time", candidate.certificate.issued_at)?,
                int("the time", candidate.certificate.expires_at)?
            ],
        )?;
        if stored == 0 {
            let taken = "select 1 from envoys where hostname = $1 and revoked_at is null";
            return Ok(Err(match conn.exists(taken, params![candidate.hostname])? {
                true => EnrolError::HostnameTaken,
                false => EnrolError::KeyTaken,
            }));
        }
        conn.say(Topic::Envoys)?;
        Ok(Ok(()))
    })
}

/// All of them, by host name.
pub fn list(conn: &mut Connection) -> Result<Vec<EnvoyRow>, StoreError> {
    conn.rows(&format!("{} order by hostname, enrolled_at, id", select()), &[], row)
}

/// So many of them from the first after an id on, by id: a large fleet is never in memory twice.
pub fn page(conn: &mut Connection, after: &str, most: u32) -> Result<Vec<EnvoyRow>, StoreError> {
    let sql = format!("{} where id > $1 order by id limit $2", select());
    conn.rows(&sql, params![after, i64::from(most)], row)
}

/// The active envoy of that name, or the one of that id.
pub fn find(conn: &mut Connection, name_or_id: &str) -> Result<Option<EnvoyRow>, StoreError> {
    let sql = format!(
        "{} where id = $1 or (hostname = lower($1) and revoked_at is null) order by id = $1 desc",
        select()
    );
    conn.row(&sql, params![name_or_id], row)
}

/// The one of that id, revoked or not.
pub fn by_id(conn: &mut Connection, id: &str) -> Result<Option<EnvoyRow>, StoreError> {
    conn.row(&format!("{} where id = $1", select()), params![id], row)
}

/// What lists show of an envoy: everything but what is large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// UUID.
    pub id: String,
    /// Lower-case.
    pub hostname: String,
    /// Milliseconds since 1970-01-01 UTC, as is the other.
    pub enrolled_at: u64,
    /// Last request.
    pub last_seen: Option<u64>,
    /// When it was told to come back.
    pub interval_ms: u64,
    /// What it said it was.
    pub agent_version: String,
    /// Last told to it.
    pub policy_version: String,
}

impl From<&EnvoyRow> for Brief {
    fn from(row: &EnvoyRow) -> Self {
        Brief {
            id: row.id.clone(),
            hostname: row.hostname.clone(),
            enrolled_at: row.enrolled_at,
            last_seen: row.last_seen,
            interval_ms: row.interval_ms,
            agent_version: row.agent_version.clone(),
            policy_version: row.policy_version.clone(),
        }
    }
}

/// Active envoys, by host name.
pub fn brief(conn: &mut Connection) -> Result<Vec<Brief>, StoreError> {
    conn.rows(
        "select id, hostname, enrolled_at, last_seen, interval_ms, agent_version, policy_version
         from envoys where revoked_at is null order by hostname",
        &[],
        |r| {
            Ok(Brief {
                id: r.get(0)?,
                hostname: r.get(1)?,
                enrolled_at: r.get(2)?,
                last_seen: r.get(3)?,
                interval_ms: r.get(4)?,
                agent_version: r.get(5)?,
                policy_version: r.get(6)?,
            })
        },
    )
}

/// The traits of active envoys as they sent them, by id.
pub fn traits(conn: &mut Connection) -> Result<HashMap<String, Vec<u8>>, StoreError> {
    let rows = conn.rows(
        "select id, traits from envoys where revoked_at is null and traits is not null",
        &[],
        |r| Ok((r.get::<String>(0)?, r.get::<Vec<u8>>(1)?)),
    )?;
    Ok(rows.into_iter().collect())
}

/// Ids of those that were revoked.
pub fn revoked(conn: &mut Connection) -> Result<Vec<String>, StoreError> {
    conn.rows("select id from envoys where revoked_at is not null", &[], |r| r.get(0))
}

/// Takes an envoy's place away. False when it is no active envoy.
pub fn revoke(conn: &mut Connection, name_or_id: &str, now: u64) -> Result<bool, StoreError> {
    conn.transaction(|conn| {
        let changed = conn.execute(
            "update envoys set revoked_at = $2, traits = null
             where revoked_at is null and (id = $1 or hostname = lower($1))",
            params![name_or_id, int("the time", now)?],
        )?;
        conn.say(Topic::Envoys)?;
        Ok(changed > 0)
    })
}

/// Content that an envoy is to get.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The envoy.
    pub id: String,
    /// The content.
    pub content: String,
    /// The number of the content that the envoy has.
    pub reported: u64,
    /// It has this very content.
    pub held: bool,
}

/// The number of an envoy's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The number.
    pub seq: u64,
    /// What was stored before; the envoy knows more only if the database knew more once.
    pub known: u64,
}

/// Why an envoy gets no number; the others of a batch do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unassigned {
    /// It is not stored any more: a backup from before its enrolment was restored.
    UnknownEnvoy,
    /// It reports a number further ahead than it is followed.
    TooFarAhead {
        /// The stored number.
        known: u64,
    },
}

/// Gives content a number and stores it; before it is sent. No number stands for two contents, whichever servers
/// assign them. An envoy that is ahead is followed, by `max_jump` at most.
pub fn assign(
    conn: &mut Connection,
    wanted: &Wanted,
    max_jump: u64,
) -> Result<Result<Assigned, Unassigned>, StoreError> {
    conn.attempt(|conn| {
        // Also a lock.
        let stored = conn.row(
            "update envoys set seq = seq where id = $1 returning seq, content",
            params![wanted.id],
            |r| Ok((r.get::<u64>(0)?, r.get::<String>(1)?)),
        )?;
        let Some((known, content)) = stored else { return Ok(Err(Unassigned::UnknownEnvoy)) };
        if wanted.reported.saturating_sub(known) > max_jump {
            return Ok(Err(Unassigned::TooFarAhead { known }));
        }
        let seq = match (wanted.reported > known, content == wanted.content) {
            (false, true) => known,
            (true, _) if wanted.held => wanted.reported,
            _ => known.max(wanted.reported).saturating_add(1),
        };
        conn.execute(
            "update envoys set seq = $2, content = $3 where id = $1",
            params![wanted.id, int("the sequence number", seq)?, wanted.content],
        )?;
        Ok(Ok(Assigned { seq, known }))
    })
}

fn select() -> String {
    format!(
        "select id, hostname, public_key, seal_key, enrolled_at, revoked_at, counter, seq, content, policy_version,
         traits, last_seen, interval_ms, agent_version, acknowledged_seq, {} from envoys",
        certificates::COLUMNS
    )
}

fn row(r: Row<'_>) -> Result<EnvoyRow, StoreError> {
    Ok(EnvoyRow {
        id: r.get(0)?,
        hostname: r.get(1)?,
        public_key: r.get(2)?,
        seal_key: r.get(3)?,
        enrolled_at: r.get(4)?,
        revoked_at: r.get(5)?,
        counter: r.get(6)?,
        seq: r.get(7)?,
        content: r.get(8)?,
        policy_version: r.get(9)?,
        traits: r.get(10)?,
        last_seen: r.get(11)?,
        interval_ms: r.get(12)?,
        agent_version: r.get(13)?,
        acknowledged_seq: r.get(14)?,
        certificates: certificates::read(&r, 15)?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::on_each;

    pub(crate) fn candidate(conn: &mut Connection, n: u8, hostname: &str) -> Candidate {
        let (token, _) = tokens::create(conn, [n; 20], "*", 0, 1000).unwrap();
        Candidate {
            id: format!("e{n}"),
            hostname: hostname.into(),
            public_key: [n; 32],
            seal_key: [n; 32],
            token,
            certificate: Certificate::default(),
        }
    }

    #[test]
    fn a_name_belongs_to_one_envoy_until_it_is_revoked() {
        on_each(|conn| {
            let first = candidate(conn, 1, "web-01");
            assert_eq!(enrol(conn, &first, 5).unwrap(), Ok(()));
            let second = candidate(conn, 2, "web-01");
            assert_eq!(enrol(conn, &second, 5).unwrap(), Err(EnrolError::HostnameTaken));
            assert!(revoke(conn, "WEB-01", 6).unwrap());
            assert!(!revoke(conn, "web-01", 6).unwrap());
            assert_eq!(enrol(conn, &second, 7).unwrap(), Ok(()), "the refusal cost no token");
            assert_eq!(revoked(conn).unwrap(), ["e1"]);
            let heir = find(conn, "web-01").unwrap().unwrap();
            assert_eq!((heir.id.as_str(), heir.seq, heir.counter), ("e2", 0, 0), "it inherits nothing");
            let mut same_key = candidate(conn, 3, "web-03");
            same_key.public_key = [1; 32];
            assert_eq!(enrol(conn, &same_key, 8).unwrap(), Err(EnrolError::KeyTaken));
        });
    }

    fn wanted(content: &str, reported: u64) -> Wanted {
        Wanted { id: "e1".into(), content: content.into(), reported, held: false }
    }

    #[test]
    fn no_number_stands_for_two_contents() {
        on_each(|conn| {
            let first = candidate(conn, 1, "web-01");
            enrol(conn, &first, 5).unwrap().unwrap();
            let mut assign = |wanted: &Wanted| assign(conn, wanted, 100).unwrap();
            let is = |seq, known| Ok(Assigned { seq, known });
            assert_eq!(assign(&wanted("a", 0)), is(1, 0));
            assert_eq!(assign(&wanted("a", 0)), is(1, 1), "another server, the same content");
            assert_eq!(assign(&wanted("b", 0)), is(2, 1));
            assert_eq!(assign(&wanted("a", 2)), is(3, 2), "back again, with a number of its own");
            assert_eq!(assign(&Wanted { held: true, ..wanted("z", 50) }), is(50, 3), "a database restored");
            assert_eq!(assign(&wanted("z", 60)), is(61, 50));
            let ahead = Err(Unassigned::TooFarAhead { known: 61 });
            assert_eq!(assign(&wanted("z", 162)), ahead);
            let nobody = Wanted { id: "e9".into(), ..wanted("a", 0) };
            assert_eq!(assign(&nobody), Err(Unassigned::UnknownEnvoy));
        });
    }

    #[test]
    fn pages_hold_everybody_once() {
        on_each(|conn| {
            for n in 1..=3 {
                let one = candidate(conn, n, &format!("h{n}"));
                enrol(conn, &one, 5).unwrap().unwrap();
            }
            let mut ids =
                |after| page(conn, after, 2).unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>();
            assert_eq!(
                (ids(""), ids("e2"), ids("e3")),
                (vec!["e1".into(), "e2".into()], vec!["e3".into()], vec![])
            );
        });
    }
}
