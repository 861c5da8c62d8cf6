//! Secrets of the server's own directory: their names go out, values only come in.

use crate::context::Context;
use crate::http::call::{Call, json};
use crate::http::page::Page;
use crate::http::problem::Problem;
use crate::secrets::{AgeDirectory, AgeError, Listed, SecretError, check_path};
use crate::store::audit::{self, Event};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::secrets::MAX_SECRET_BYTES;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of the body that sets the largest secret, in base64 and with the JSON around it.
pub const MAX_BODY: usize = MAX_SECRET_BYTES / 3 * 4 + 4096;

/// What is known of a secret. Its value never is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// What policy calls it, after `secret:`.
    pub path: String,
    /// When it was last set.
    pub changed_at: u64,
}

/// Text that is wiped when dropped, and never printed.
pub struct SecretText(Zeroizing<String>);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| SecretText(Zeroizing::new(text)))
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "SecretText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}

/// A value to be stored.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// What policy calls it, after `secret:`.
    pub path: String,
    /// The value, in base64.
    pub value_base64: SecretText,
}

/// A value that was stored.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Stored {
    /// What policy calls it, after `secret:`.
    pub path: String,
    /// Whether there was one before.
    pub replaced: bool,
}

/// A secret to be taken away.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// What policy calls it, after `secret:`.
    pub path: String,
}

/// A secret that was taken away.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// What policy calls it, after `secret:`.
    pub path: String,
}

fn keeper(context: &Context) -> Result<AgeDirectory, Problem> {
    context.secrets.keeper().ok_or_else(|| {
        Problem::conflict(
            "this server does not keep its secrets itself: `secrets.backend` is another one than `age`",
        )
    })
}

/// None of these says anything of a value.
fn problem(e: &AgeError) -> Problem {
    match e {
        AgeError::Secret(SecretError::Path(_)) | AgeError::Size(_) => Problem::invalid(e.to_string()),
        e => {
            tracing::error!(error = %e, "the directory of secrets cannot be used");
            Problem::internal()
        }
    }
}

pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    let keeper = keeper(&call.site.context)?;
    let listed = tokio::task::spawn_blocking(move || keeper.list()).await;
    let listed = listed.map_err(|_| Problem::internal())?.map_err(|e| problem(&e))?;
    let items = listed.into_iter().map(|Listed { path, changed_at }| Secret { path, changed_at }).collect();
    json(StatusCode::OK, &Page { items, next: None })
}

pub(in crate::http) async fn set(call: Call) -> Result<Response, Problem> {
    let Set { path, value_base64 } = call.secret_json()?;
    check_path(&path).map_err(|e| Problem::invalid(e.to_string()))?;
    let value = STANDARD.decode(value_base64.0.as_bytes()).map(Zeroizing::new);
    let value = value.map_err(|_| Problem::invalid("`value_base64` is not base64"))?;
    let (context, actor) = (&call.site.context, call.caller.actor());
    let (keeper, now, of) = (keeper(context)?, context.clock.now(), path.clone());
    // The file is written inside of the transaction: without its entry in the audit log it is not written.
    let stored = context.store.call(move |conn| {
        conn.attempt(|conn| {
            let replaced = keeper.has(&of);
            let details = if replaced { "replaced" } else { "new" };
            audit::append(conn, &Event::new(now, &actor, "secret.set", &of, details))?;
            Ok(keeper.set(&of, &value).map(|()| replaced))
        })
    });
    let replaced = stored.await?.map_err(|e| problem(&e))?;
    tracing::info!(secret = path, replaced, "a secret was stored");
    json(StatusCode::OK, &Stored { path, replaced })
}

pub(in crate::http) async fn remove(call: Call) -> Result<Response, Problem> {
    let Remove { path } = call.json()?;
    check_path(&path).map_err(|e| Problem::invalid(e.to_string()))?;
    let (context, actor) = (&call.site.context, call.caller.actor());
    let (keeper, now, of) = (keeper(context)?, context.clock.now(), path.clone());
    let removed = context.store.call(move |conn| {
        conn.attempt(|conn| {
            if !keeper.has(&of) {
                return Ok(Ok(false));
            }
            audit::append(conn, &Event::new(now, &actor, "secret.remove", &of, ""))?;
            Ok(keeper.remove(&of))
        })
    });
    if !removed.await?.map_err(|e| problem(&e))? {
        return Err(Problem::not_found(format!("there is no secret `{path}`")));
    }
    tracing::info!(secret = path, "a secret was removed");
    json(StatusCode::OK, &Removed { path })
}
