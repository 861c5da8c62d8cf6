//! What was published.

use crate::http::call::{Call, json};
use crate::http::page::{self, Page};
use crate::http::problem::Problem;
use crate::store::releases::{self, ReleaseRow};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A published policy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// Grows with every other content.
    pub serial: u64,
    /// When it was published.
    pub published_at: u64,
    /// SHA-256 of the policy, in hexadecimal digits.
    pub digest: String,
    /// Whether it is served now.
    pub served: bool,
}

/// Which releases.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// How many; 100 by default, at most 1000.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    let filter: Filter = call.query()?;
    let limit = page::limit(filter.limit)?;
    let before = filter.cursor.map(|c| c.parse::<u64>().map_err(|_| page::bad_cursor())).transpose()?;
    let releases = latest(&call, before, limit as u32 + 1).await?;
    json(StatusCode::OK, &Page::cut(releases, limit, |r| r.serial.to_string()))
}

/// The latest ones before a serial.
pub(in crate::http) async fn latest(
    call: &Call,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Release>, Problem> {
    let context = &call.site.context;
    let rows = context.store.read(move |conn| releases::list(conn, before, limit)).await?;
    let served = context.catalog.release().map(|r| r.serial);
    Ok(rows.into_iter().map(|row| release(row, served)).collect())
}

fn release(row: ReleaseRow, served: Option<u64>) -> Release {
    Release {
        serial: row.serial,
        published_at: row.published_at,
        digest: row.digest.to_string(),
        served: served == Some(row.serial),
    }
}
