//! API tokens: who may use this API.

use super::{lifetime, random};
use crate::http::call::{Call, json};
use crate::http::page::Page;
use crate::http::problem::Problem;
use crate::store::api_tokens::{self, Role};
use crate::store::audit::{self, Event};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest life of an API token.
const MOST: Duration = Duration::from_secs(3660 * 86_400);

/// What is known of an API token.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApiToken {
    /// Names it; not secret.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// `open`, `expired` or `revoked`.
    pub state: String,
    /// When it was made.
    pub created_at: u64,
    /// When it ends.
    pub expires_at: u64,
    /// When it was taken back.
    pub revoked_at: Option<u64>,
}

impl ApiToken {
    fn of(token: api_tokens::ApiToken, now: u64) -> Self {
        ApiToken {
            state: token.state(now).to_owned(),
            id: token.id,
            name: token.name,
            role: token.role,
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// A token to be made.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// What it is for: who or what will use it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// How long it can be used, such as `90d`; that is the default.
    #[serde(default = "quarter")]
    pub ttl: String,
}

fn quarter() -> String {
    "90d".to_owned()
}

/// A token that was made.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The token. It is stored nowhere and shown this once.
    pub token: String,
    /// What is known of it.
    #[serde(flatten)]
    pub about: ApiToken,
}

pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    let context = &call.site.context;
    let now = context.clock.now();
    let tokens = context.store.read(api_tokens::list).await?;
    let items = tokens.into_iter().map(|t| ApiToken::of(t, now)).collect();
    json(StatusCode::OK, &Page { items, next: None })
}

pub(in crate::http) async fn create(call: Call) -> Result<Response, Problem> {
    let asked: Create = call.json()?;
    let ttl = lifetime(&asked.ttl, MOST)?;
    api_tokens::check_name(&asked.name).map_err(Problem::invalid)?;
    let context = &call.site.context;
    let (random, now, actor) = (random()?, context.clock.now(), call.caller.actor());
    let (token, row) = context
        .store
        .call(move |conn| {
            conn.transaction(|conn| {
                let made = api_tokens::create(conn, random, &asked.name, asked.role, now, ttl)?;
                let details = format!(
                    "{}, role {}, until {}",
                    made.1.name,
                    made.1.role.name(),
                    crate::text::moment(made.1.expires_at)
                );
                audit::append(conn, &Event::new(now, &actor, "api-token.create", &made.1.id, &details))?;
                Ok(made)
            })
        })
        .await?;
    json(StatusCode::CREATED, &Created { token, about: ApiToken::of(row, now) })
}

pub(in crate::http) async fn revoke(call: Call) -> Result<Response, Problem> {
    let revoked = super::revoke(&call, "api-token.revoke", api_tokens::revoke).await?;
    let none = || {
        Problem::not_found(format!(
            "there is no API token `{}` that is not revoked already",
            call.param("id")
        ))
    };
    json(StatusCode::OK, &revoked.ok_or_else(none)?)
}
