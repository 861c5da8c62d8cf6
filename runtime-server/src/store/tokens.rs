//! One-time tokens that let a host enrol.

use super::value::{Row, params};
use super::{Connection, StoreError, int};
use ir::Hash;
use std::fmt::Write;

/// What is known of a token. The token itself was shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Names it in lists; not secret.
    pub id: String,
    /// Names of hosts that may use it.
    pub hostname_glob: String,
    /// Milliseconds since 1970-01-01 UTC, as are the others.
    pub created_at: u64,
    /// When it ends.
    pub expires_at: u64,
    /// When it was used.
    pub used_at: Option<u64>,
    /// The envoy that came of it.
    pub used_by: Option<String>,
    /// When somebody took it back.
    pub revoked_at: Option<u64>,
}

impl Token {
    /// `open`, `used`, `expired` or `revoked`.
    pub fn state(&self, now: u64) -> &'static str {
        match self {
            t if t.revoked_at.is_some() => "revoked",
            t if t.used_at.is_some() => "used",
            t if t.expires_at < now => "expired",
            _ => "open",
        }
    }
}

impl Token {
    fn usable(&self, hostname: &str, now: u64) -> Result<(), TokenError> {
        if self.revoked_at.is_some() {
            Err(TokenError::Revoked)
        } else if self.used_at.is_some() {
            Err(TokenError::Used)
        } else if self.expires_at < now {
            Err(TokenError::Expired)
        } else if !crate::hostname::matches(&self.hostname_glob, hostname) {
            Err(TokenError::Hostname)
        } else {
            Ok(())
        }
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No such token.
    #[error(
        "the token is not known: it was cut short, or is of another server; `vigocli token create` makes a new one"
    )]
    Unknown,
    /// It was used before.
    #[error("the token was used before; `vigocli token create` makes a new one")]
    Used,
    /// Too late.
    #[error("the token has expired; `vigocli token create` makes a new one")]
    Expired,
    /// Somebody took it back.
    #[error("the token was revoked; `vigocli token create` makes a new one")]
    Revoked,
    /// For other hosts.
    #[error(
        "the token is for other host names; `vigocli token create --hostname NAME` makes one for this host"
    )]
    Hostname,
}

/// The fingerprint a token is stored by. A token has 128 random bits, so a plain hash cannot be searched.
pub fn fingerprint(token: &str) -> Hash {
    Hash::of_parts(&[b"vigo/token/v1", token.as_bytes()])
}

/// Makes a token. The first value is the token, the second what is stored of it.
pub fn create(
    conn: &mut Connection,
    random: [u8; 20],
    hostname_glob: &str,
    now: u64,
    ttl_ms: u64,
) -> Result<(String, Token), StoreError> {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut out, b| {
            // Writing to a string does not fail.
            let _ = write!(out, "{b:02x}");
            out
        })
    };
    let (id, secret) = (hex(&random[..4]), hex(&random[4..]));
    let token = format!("vigo.{id}.{secret}");
    let row = Token {
        id,
        hostname_glob: hostname_glob.to_ascii_lowercase(),
        created_at: now,
        expires_at: now.saturating_add(ttl_ms),
        used_at: None,
        used_by: None,
        revoked_at: None,
    };
    conn.execute(
        "insert into tokens (id, hash, hostname_glob, created_at, expires_at) values ($1, $2, $3, $4, $5)",
        params![
            row.id,
            fingerprint(&token),
            row.hostname_glob,
            int("the time", row.created_at)?,
            int("the time", row.expires_at)?
        ],
    )?;
    Ok((token, row))
}

/// Takes a token, inside the transaction that stores the envoy. The update is what decides between two hosts with one
/// token; the look before it only names the reason.
pub fn take(
    conn: &mut Connection,
    token: &str,
    hostname: &str,
    envoy_id: &str,
    now: u64,
) -> Result<Result<(), TokenError>, StoreError> {
    let hash = fingerprint(token);
    let found = conn.row(&format!("{SELECT} where hash = $1"), params![hash], row)?;
    let Some(row) = found else { return Ok(Err(TokenError::Unknown)) };
    if let Err(e) = row.usable(hostname, now) {
        return Ok(Err(e));
    }
    let taken = conn.execute(
        "update tokens set used_at = $1, used_by = $2
         where hash = $3 and used_at is null and revoked_at is null and expires_at >= $1",
        params![int("the time", now)?, envoy_id, hash],
    )?;
    Ok(if taken == 1 { Ok(()) } else { Err(TokenError::Used) })
}

/// Whether [`take`] would take a token now; for a look that costs little.
pub fn check(
    conn: &mut Connection,
    token: &str,
    hostname: &str,
    now: u64,
) -> Result<Result<(), TokenError>, StoreError> {
    let found = conn.row(&format!("{SELECT} where hash = $1"), params![fingerprint(token)], row)?;
    Ok(match found {
        Some(row) => row.usable(hostname, now),
        None => Err(TokenError::Unknown),
    })
}

/// All tokens, newest first.
pub fn list(conn: &mut Connection) -> Result<Vec<Token>, StoreError> {
    conn.rows(&format!("{SELECT} order by created_at desc, id"), &[], row)
}

/// Takes a token back. False when there is none that could still be used.
pub fn revoke(conn: &mut Connection, id: &str, now: u64) -> Result<bool, StoreError> {
    let changed = conn.execute(
        "update tokens set revoked_at = $1 where id = $2 and used_at is null and revoked_at is null",
        params![int("the time", now)?, id],
    )?;
    Ok(changed == 1)
}

const SELECT: &str =
    "select id, hostname_glob, created_at, expires_at, used_at, used_by, revoked_at from tokens";

fn row(r: Row<'_>) -> Result<Token, StoreError> {
    Ok(Token {
        id: r.get(0)?,
        hostname_glob: r.get(1)?,
        created_at: r.get(2)?,
        expires_at: r.get(3)?,
        used_at: r.get(4)?,
        used_by: r.get(5)?,
        revoked_at: r.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each;

    #[test]
    fn case_043_a_token_works_once_in_time_and_for_its_hosts() {
        on_each(|conn| {
            let (token, row) = create(conn, [7; 20], "web-*", 1000, 500).unwrap();
            let mut take = |token: &str, host: &str, now| take(conn, token, host, "e", now).unwrap();
            assert_eq!(take("vigo.x.y", "web-01", 1000), Err(TokenError::Unknown));
            assert_eq!(take(&token.to_uppercase(), "web-01", 1000), Err(TokenError::Unknown));
            assert_eq!(take(&token, "db-01", 1000), Err(TokenError::Hostname));
            assert_eq!(take(&token, "web-01", 1501), Err(TokenError::Expired));
            assert_eq!(take(&token, "WEB-01", 1500), Ok(()));
            assert_eq!(take(&token, "web-01", 1500), Err(TokenError::Used));
            assert!(!revoke(conn, &row.id, 1).unwrap(), "used up");
            let used = &list(conn).unwrap()[0];
            assert_eq!((used.used_at, used.used_by.as_deref()), (Some(1500), Some("e")));
        });
    }

    #[test]
    fn a_revoked_token_is_dead_and_no_token_is_stored() {
        on_each(|conn| {
            let (token, row) = create(conn, [8; 20], "*", 0, 500).unwrap();
            assert!(revoke(conn, &row.id, 1).unwrap());
            assert_eq!(take(conn, &token, "a", "e", 1).unwrap(), Err(TokenError::Revoked));
            let stored: (String, Vec<u8>, String) = conn
                .row("select id, hash, hostname_glob from tokens", &[], |r| {
                    Ok((r.get(0)?, r.get(1)?, r.get(2)?))
                })
                .unwrap()
                .unwrap();
            let secret = token.rsplit('.').next().unwrap();
            assert!(!format!("{stored:02x?}").replace(", ", "").contains(secret));
        });
    }
}
