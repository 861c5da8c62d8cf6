//! What envoys reported.

use super::envoys::find;
use crate::http::call::{Call, json};
use crate::http::page::{self, Page};
use crate::http::problem::Problem;
use crate::store::runs::{self, ResultRow, RunRow};
use axum::http::StatusCode;
use axum::response::Response;
use protocol::pb::ResourceResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One convergence of one envoy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// UUIDv7, unique for the envoy.
    pub run_id: String,
    /// Number among the envoy's results.
    pub result_seq: u64,
    /// When the report came, by the server's clock.
    pub received_at: u64,
    /// When the run began, by the envoy's clock.
    pub started_at: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// The release it followed.
    pub release: u64,
    /// It ran without the server.
    pub offline: bool,
    /// It did not end.
    pub interrupted: bool,
    /// Resources that were right.
    pub ok: u64,
    /// Resources that were put right.
    pub changed: u64,
    /// Resources that could not be.
    pub failed: u64,
    /// Resources that were left alone.
    pub skipped: u64,
    /// First and last number of results that the envoy had to drop; this run stands for them.
    pub dropped: Option<(u64, u64)>,
    /// The module or resource it was limited to; such a run says nothing about the host as a whole.
    pub only: Option<String>,
    /// The envoy.
    pub envoy_id: String,
    /// Its host name.
    pub hostname: String,
}

impl Run {
    /// From the row, of that envoy.
    pub fn of(row: RunRow, envoy_id: &str, hostname: &str) -> Self {
        Run {
            run_id: row.run_id,
            result_seq: row.result_seq,
            received_at: row.received_at,
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            release: row.release_serial,
            offline: row.offline,
            interrupted: row.interrupted,
            ok: row.ok,
            changed: row.changed,
            failed: row.failed,
            skipped: row.skipped,
            dropped: row.dropped,
            only: row.part,
            envoy_id: envoy_id.to_owned(),
            hostname: hostname.to_owned(),
        }
    }
}

/// What became of a resource in a run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Its module.
    pub module: String,
    /// Its name there.
    pub resource: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `ok`, `changed`, `failed` or `skipped`.
    pub outcome: String,
    /// What was done.
    pub action: String,
    /// What went wrong.
    pub error: String,
    /// How long it took.
    pub duration_ms: u64,
}

impl From<ResultRow> for Outcome {
    fn from(row: ResultRow) -> Self {
        Outcome {
            module: row.module,
            resource: row.resource,
            kind: row.kind,
            outcome: row.outcome,
            action: row.action,
            error: row.error,
            duration_ms: row.duration_ms,
        }
    }
}

impl From<ResourceResult> for Outcome {
    fn from(told: ResourceResult) -> Self {
        Outcome {
            outcome: runs::outcome(told.outcome()).to_owned(),
            module: told.module,
            resource: told.resource,
            kind: told.r#type,
            action: told.action,
            error: told.error,
            duration_ms: told.duration_ms.into(),
        }
    }
}

/// A run with what became of each resource.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// In the order they were done.
    pub results: Vec<Outcome>,
}

/// Which runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this envoy: host name or id.
    pub envoy: Option<String>,
    /// Only runs that changed something, or failed: `changed` or `failed`.
    pub outcome: Option<Which>,
    /// How many; 100 by default, at most 1000.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// What a run has to have done to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Something.
    Changed,
    /// Not everything.
    Failed,
}

pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    let filter: Filter = call.query()?;
    let limit = page::limit(filter.limit)?;
    let before = filter.cursor.as_deref().map(|c| cursor(c).ok_or_else(page::bad_cursor)).transpose()?;
    let envoy = match &filter.envoy {
        Some(name) => Some(find(&call, name).await?.id),
        None => None,
    };
    let which = match filter.outcome {
        None => runs::Which::Any,
        Some(Which::Changed) => runs::Which::Changed,
        Some(Which::Failed) => runs::Which::Failed,
    };
    let found = call
        .site
        .context
        .store
        .read(move |conn| {
            let before = before.as_ref().map(|(at, envoy, run)| (*at, envoy.as_str(), run.as_str()));
            runs::page(conn, envoy.as_deref(), which, before, limit as u32 + 1)
        })
        .await?;
    let found = found.into_iter().map(|(row, id, hostname)| Run::of(row, &id, &hostname)).collect();
    let page =
        Page::cut(found, limit, |run: &Run| format!("{}.{}.{}", run.received_at, run.envoy_id, run.run_id));
    json(StatusCode::OK, &page)
}

/// When, envoy and run of the last one of the page before.
fn cursor(text: &str) -> Option<(u64, String, String)> {
    let mut parts = text.splitn(3, '.');
    let at = parts.next()?.parse().ok()?;
    Some((at, parts.next()?.to_owned(), parts.next()?.to_owned()))
}

pub(in crate::http) async fn show(call: Call) -> Result<Response, Problem> {
    json(StatusCode::OK, &detail(&call).await?)
}

/// The run that a path names.
pub(in crate::http) async fn detail(call: &Call) -> Result<Detail, Problem> {
    let envoy = find(call, call.param("envoy")).await?;
    let run = call.param("run").to_owned();
    let (id, wanted) = (envoy.id.clone(), run.clone());
    let found = call
        .site
        .context
        .store
        .read(move |conn| {
            let row = runs::find(conn, &id, &wanted)?;
            let results = runs::results(conn, &id, &wanted)?;
            Ok(row.map(|row| (row, results)))
        })
        .await?;
    let (row, results) =
        found.ok_or_else(|| Problem::not_found(format!("`{}` has no run `{run}`", envoy.hostname)))?;
    let results = results.into_iter().map(Outcome::from).collect();
    Ok(Detail { run: Run::of(row, &envoy.id, &envoy.hostname), results })
}
