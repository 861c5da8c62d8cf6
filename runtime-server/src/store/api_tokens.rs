//! Tokens that let people and programs use the REST API and the dashboard.

use super::value::{Row, params};
use super::{Connection, StoreError, int};
use ir::Hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a token lets its holder do. A role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Let hosts in, take envoys out, make them check in.
    Operator,
    /// Decide who may do what, and read who did.
    Admin,
}

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What is known of a token. The token itself was shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Names it in lists; not secret.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it lets its holder do.
    pub role: Role,
    /// Milliseconds since 1970-01-01 UTC, as are the others.
    pub created_at: u64,
    /// When it ends.
    pub expires_at: u64,
    /// When somebody took it back.
    pub revoked_at: Option<u64>,
}

impl ApiToken {
    /// `open`, `expired` or `revoked`.
    pub fn state(&self, now: u64) -> &'static str {
        match self {
            t if t.revoked_at.is_some() => "revoked",
            t if t.expires_at <= now => "expired",
            _ => "open",
        }
    }
}

/// The fingerprint a token is stored by. A token has 128 random bits, so a plain hash cannot be searched, and
/// comparing hashes tells nothing about the token.
fn fingerprint(token: &str) -> Hash {
    Hash::of_parts(&[b"vigo/api-token/v1", token.as_bytes()])
}

/// Whether a name can be shown in a line of a list and of the audit log.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let seen = |c: char| !ir::is_unseen(c);
    if name.trim().is_empty() || name.chars().count() > 64 || !name.chars().all(seen) {
        return Err("`name` says what the token is for, in 1 to 64 characters on one line");
    }
    Ok(())
}

/// Makes a token. The first value is the token, the second what is stored of it.
pub fn create(
    conn: &mut Connection,
    random: [u8; 20],
    name: &str,
    role: Role,
    now: u64,
    ttl_ms: u64,
) -> Result<(String, ApiToken), StoreError> {
    let hex: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let (id, secret) = hex.split_at(8);
    let token = format!("vigo-api.{id}.{secret}");
    let row = ApiToken {
        id: id.to_owned(),
        name: name.to_owned(),
        role,
        created_at: now,
        expires_at: now.saturating_add(ttl_ms),
        revoked_at: None,
    };
    conn.execute(
        "insert into api_tokens (id, hash, name, role, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)",
        params![
            row.id,
            fingerprint(&token),
            row.name,
            row.role.name(),
            int("the time", row.created_at)?,
            int("the time", row.expires_at)?
        ],
    )?;
    Ok((token, row))
}

/// What is stored of a token that is good now; `None` for any other text.
pub fn verify(conn: &mut Connection, token: &str, now: u64) -> Result<Option<ApiToken>, StoreError> {
    let found = conn.row(&format!("{SELECT} where hash = $1"), params![fingerprint(token)], row)?;
    Ok(found.filter(|t| t.state(now) == "open"))
}

/// All tokens, newest first.
pub fn list(conn: &mut Connection) -> Result<Vec<ApiToken>, StoreError> {
    conn.rows(&format!("{SELECT} order by created_at desc, id"), &[], row)
}

/// Takes a token back. False when there is none that is not revoked already.
pub fn revoke(conn: &mut Connection, id: &str, now: u64) -> Result<bool, StoreError> {
    let changed = conn.execute(
        "update api_tokens set revoked_at = $1 where id = $2 and revoked_at is null",
        params![int("the time", now)?, id],
    )?;
    Ok(changed == 1)
}

const SELECT: &str = "select id, name, role, created_at, expires_at, revoked_at from api_tokens";

fn row(r: Row<'_>) -> Result<ApiToken, StoreError> {
    let role: String = r.get(2)?;
    Ok(ApiToken {
        id: r.get(0)?,
        name: r.get(1)?,
        role: Role::named(&role).ok_or(StoreError::Column(2))?,
        created_at: r.get(3)?,
        expires_at: r.get(4)?,
        revoked_at: r.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each;

    #[test]
    fn a_token_is_good_until_it_expires_or_is_revoked() {
        on_each(|conn| {
            let (token, made) = create(conn, [7; 20], "ci", Role::Operator, 1000, 500).unwrap();
            assert_eq!(verify(conn, &token, 1499).unwrap().as_ref(), Some(&made));
            assert_eq!(verify(conn, &token, 1500).unwrap(), None);
            for wrong in
                ["", "vigo-api", &token.to_uppercase(), &format!("{token} "), &token[..token.len() - 1]]
            {
                assert_eq!(verify(conn, wrong, 1000).unwrap(), None, "{wrong}");
            }
            assert!(revoke(conn, &made.id, 1100).unwrap());
            assert!(!revoke(conn, &made.id, 1100).unwrap());
            assert_eq!(verify(conn, &token, 1100).unwrap(), None);
            assert_eq!(list(conn).unwrap()[0].state(1100), "revoked");
        });
    }

    #[test]
    fn no_token_is_stored() {
        on_each(|conn| {
            let (token, _) = create(conn, [8; 20], "ci", Role::Viewer, 0, 500).unwrap();
            let hash: Vec<u8> = conn.value("select hash from api_tokens", &[]).unwrap().unwrap();
            let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
            assert!(!hex.contains(token.rsplit('.').next().unwrap()) && hash.len() == 32);
        });
    }

    #[test]
    fn names_fit_a_line() {
        assert!(check_name("grafana").is_ok());
        for bad in ["", "  ", "a\nb", "a\u{202e}b", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
