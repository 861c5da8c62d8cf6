//! What other machines ask: is it alive, is it ready, what is it, and how is the fleet.

use super::call::{Call, answer, json};
use super::problem::Problem;
use crate::metrics::Snapshot;
use crate::store::{self, Connection, events, releases};
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
    /// Why not: `no-release`, `database-unreachable`. `publish-refused` alone leaves it ready: the policy on disk has
    /// errors, and the release before it is served. So does `certificate-ending`: a certificate of the server's own has
    /// less than 60 days left.
    pub reasons: Vec<String>,
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
    let reached = tokio::time::timeout(Duration::from_secs(5), context.store.read(store::ping)).await;
    match reached {
        Ok(Ok(())) => {}
        Ok(Err(e)) => {
            tracing::error!(error = %e, "the database does not answer");
            reasons.push("database-unreachable".to_owned());
        }
        Err(_) => reasons.push("database-unreachable".to_owned()),
    }
    let ready = reasons.is_empty();
    if context.publish_refused() {
        reasons.push("publish-refused".to_owned());
    }
    if !context.ending_certificates().is_empty() {
        reasons.push("certificate-ending".to_owned());
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Readiness { ready, reasons })
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
        Ok((latest, releases::frozen(conn, now)?.is_some(), store::size(conn)?, events::pending(conn)?))
    };
    let (latest, publish_frozen, store_bytes, events_pending) = context.store.read(look).await?;
    let release = context.catalog.release().map(|release| {
        let published = latest.first().filter(|r| r.serial == release.serial).map(|r| r.published_at);
        let age = published.map_or(0, |at| survey.at.saturating_sub(at));
        (release.serial, release.digest.to_string(), Duration::from_millis(age))
    });
    let snapshot = Snapshot {
        envoys: survey.envoys.iter().map(|e| e.status).collect(),
        release,
        publish_refused: context.publish_refused(),
        publish_frozen,
        audit_valid: site.audit_valid(),
        store_bytes,
        certificates: context.own_certificates.clone(),
        events_pending,
    };
    let text = context.metrics.text(&snapshot).map_err(|e| {
        tracing::error!(error = %e, "the metrics cannot be written");
        Problem::internal()
    })?;
    Ok(answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}
