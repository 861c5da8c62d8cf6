//! Enrolment tokens.

use super::{lifetime, random};
use crate::http::call::{Call, json};
use crate::http::page::Page;
use crate::http::problem::Problem;
use crate::store::audit::{self, Event};
use crate::store::tokens;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest life of an enrolment token.
const MOST: Duration = Duration::from_secs(30 * 86_400);

/// What is known of a token.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Names it; not secret.
    pub id: String,
    /// Host names that may use it.
    pub hostname: String,
    /// `open`, `used`, `expired` or `revoked`.
    pub state: String,
    /// When it was made.
    pub created_at: u64,
    /// When it ends.
    pub expires_at: u64,
    /// When it was used.
    pub used_at: Option<u64>,
    /// The envoy that came of it.
    pub used_by: Option<String>,
}

/// A token to be made.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// How long it can be used, such as `15m`; an hour by default.
    #[serde(default = "hour")]
    pub ttl: String,
    /// Hosts that may use it; `*` stands for any text, `?` for one character. Any host by default.
    #[serde(default = "any")]
    pub hostname: String,
}

fn hour() -> String {
    "1h".to_owned()
}

fn any() -> String {
    "*".to_owned()
}

/// A token that was made.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The token. It is stored nowhere and shown this once.
    pub token: String,
    /// What is known of it.
    #[serde(flatten)]
    pub about: Token,
    /// What the agent recognises the server's CA by.
    pub ca_hash: String,
    /// The port that agents dial.
    pub port: u16,
}

impl Token {
    fn of(t: tokens::Token, now: u64) -> Self {
        Token {
            state: t.state(now).to_owned(),
            id: t.id,
            hostname: t.hostname_glob,
            created_at: t.created_at,
            expires_at: t.expires_at,
            used_at: t.used_at,
            used_by: t.used_by,
        }
    }
}

pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    let context = &call.site.context;
    let now = context.clock.now();
    let tokens = context.store.read(tokens::list).await?;
    let items = tokens.into_iter().map(|t| Token::of(t, now)).collect();
    json(StatusCode::OK, &Page { items, next: None })
}

pub(in crate::http) async fn create(call: Call) -> Result<Response, Problem> {
    let asked: Create = call.json()?;
    let ttl = lifetime(&asked.ttl, MOST)?;
    let glob = asked.hostname.trim().to_owned();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "*?-_.".contains(c);
    if glob.is_empty() || glob.len() > 253 || !glob.chars().all(allowed) {
        let detail =
            "`hostname` is a host name with `*` and `?`; leave it out for a token that any host may use";
        return Err(Problem::invalid(detail));
    }
    let context = &call.site.context;
    let (random, now) = (random()?, context.clock.now());
    let actor = call.caller.actor();
    let (token, row) = context
        .store
        .call(move |conn| {
            conn.transaction(|conn| {
                let made = tokens::create(conn, random, &glob, now, ttl)?;
                let details = format!(
                    "hosts {}, until {}",
                    made.1.hostname_glob,
                    crate::text::moment(made.1.expires_at)
                );
                audit::append(conn, &Event::new(now, &actor, "token.create", &made.1.id, &details))?;
                Ok(made)
            })
        })
        .await?;
    let created = Created {
        token,
        about: Token::of(row, now),
        ca_hash: context.ca.hash.to_string(),
        port: call.site.grpc_port,
    };
    json(StatusCode::CREATED, &created)
}

pub(in crate::http) async fn revoke(call: Call) -> Result<Response, Problem> {
    let revoked = super::revoke(&call, "token.revoke", tokens::revoke).await?;
    let none =
        || Problem::not_found(format!("there is no token `{}` that could still be used", call.param("id")));
    json(StatusCode::OK, &revoked.ok_or_else(none)?)
}
