//! What other machines ask: is it alive, is it ready, what is it, and how is the fleet.

use super::api::releases::Refusal;
use super::auth;
use super::call::{Call, answer, json};
use super::problem::Problem;
use crate::metrics::Snapshot;
use crate::store::{self, Connection, releases};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whether the server serves a policy. Nothing in it says what the policy is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Whether agents get what they should.
    pub ready: bool,
    /// Why not: `no-release`, `database-unreachable`. `publish-refused` and `publish-frozen` alone leave it ready: what is
    /// served is older than what somebody wants.
    pub reasons: Vec<String>,
    /// With a token: the policy that was refused, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// Which version it is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the API.
    pub api: String,
}

/// How the CA can be recognised.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Bootstrap {
    /// The CA's certificate in PEM.
    pub ca_certificate: String,
    /// SHA-256 of the CA's public key: what `vigo enroll --ca-hash` takes. It proves nothing when it comes over the
    /// connection it is meant to prove; compare it with what `vigosrv init` printed.
    pub ca_hash: String,
}

pub(super) async fn healthz(_: Call) -> Result<Response, Problem> {
    Ok(answer(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"))
}

pub(super) async fn readyz(call: Call) -> Result<Response, Problem> {
    let context = &call.site.context;
    let mut reasons = Vec::new();
    if context.catalog.release().is_none() {
        reasons.push("no-release".to_owned());
    }
    let now = context.clock.now();
    let look = context
        .store
        .read(move |conn| Ok((releases::refused(conn)?, releases::frozen(conn, now)?.is_some())));
    let reached = tokio::time::timeout(Duration::from_secs(5), look).await;
    let (refused, frozen) = match reached {
        Ok(Ok(found)) => found,
        Ok(Err(e)) => {
            tracing::error!(error = %e, "the database does not answer");
            reasons.push("database-unreachable".to_owned());
            (None, false)
        }
        Err(_) => {
            reasons.push("database-unreachable".to_owned());
            (None, false)
        }
    };
    let ready = reasons.is_empty();
    if refused.is_some() || context.publish_failed() {
        reasons.push("publish-refused".to_owned());
    }
    if frozen {
        reasons.push("publish-frozen".to_owned());
    }
    // Findings show lines of the policy, and this route is open to everybody.
    let refused = match refused {
        Some(refused) if auth::known(&call.site, &call.headers).await => Some(Refusal::from(refused)),
        _ => None,
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Readiness { ready, reasons, refused })
}

pub(super) async fn version(_: Call) -> Result<Response, Problem> {
    let version = Version {
        name: "vigosrv".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: "v1".to_owned(),
    };
    json(StatusCode::OK, &version)
}

pub(super) async fn bootstrap(call: Call) -> Result<Response, Problem> {
    let ca = &call.site.context.ca;
    json(StatusCode::OK, &Bootstrap { ca_certificate: ca.pem(), ca_hash: ca.hash.to_string() })
}

pub(super) async fn metrics(call: Call) -> Result<Response, Problem> {
    let (site, context) = (&call.site, &call.site.context);
    let survey = site.survey().await?;
    let now = survey.at;
    let look = move |conn: &mut Connection| {
        let latest = releases::list(conn, None, 1)?;
        let frozen = releases::frozen(conn, now)?.is_some();
        Ok((latest, releases::refused(conn)?.is_some(), frozen, store::size(conn)?))
    };
    let (latest, refused, publish_frozen, store_bytes) = context.store.read(look).await?;
    let release = context.catalog.release().map(|release| {
        let published = latest.first().filter(|r| r.serial == release.serial).map(|r| r.published_at);
        let age = published.map_or(0, |at| survey.at.saturating_sub(at));
        (release.serial, release.digest.to_string(), Duration::from_millis(age))
    });
    let snapshot = Snapshot {
        envoys: survey.envoys.iter().map(|e| e.status).collect(),
        release,
        publish_refused: refused || context.publish_failed(),
        publish_frozen,
        audit_valid: site.audit_valid(),
        store_bytes,
    };
    let text = context.metrics.text(&snapshot).map_err(|e| {
        tracing::error!(error = %e, "the metrics cannot be written");
        Problem::internal()
    })?;
    Ok(answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}
