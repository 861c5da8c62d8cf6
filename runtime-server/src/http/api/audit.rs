//! Who changed what.

use crate::http::call::{Call, json};
use crate::http::page::{self, Page};
use crate::http::problem::Problem;
use crate::store::audit;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A change somebody made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its number; there is no gap.
    pub seq: u64,
    /// When.
    pub at: u64,
    /// Who: an API token, or a command on the server's own machine.
    pub actor: String,
    /// What: `token.create`, `envoy.revoke` and so on.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More about it.
    pub details: String,
    /// SHA-256 over this entry and the hash of the one before.
    pub hash: String,
}

/// Which entries.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// How many; 100 by default, at most 1000.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// What checking the log came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Whether every entry fits the one before.
    pub valid: bool,
    /// How many entries were checked.
    pub entries: u64,
    /// The hash of the last good entry. Whoever keeps it elsewhere notices later when the end of the log was cut off.
    pub head: Option<String>,
    /// The number of the first entry that does not fit.
    pub broken_at: Option<u64>,
}

pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    let filter: Filter = call.query()?;
    let limit = page::limit(filter.limit)?;
    let before = filter.cursor.map(|c| c.parse::<u64>().map_err(|_| page::bad_cursor())).transpose()?;
    let rows = call.site.context.store.read(move |conn| audit::page(conn, before, limit as u32 + 1)).await?;
    let entry = |row: audit::AuditRow| Entry {
        seq: row.seq,
        at: row.at,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        details: row.details,
        hash: row.hash.to_string(),
    };
    let entries = rows.into_iter().map(entry).collect();
    json(StatusCode::OK, &Page::cut(entries, limit, |e: &Entry| e.seq.to_string()))
}

pub(in crate::http) async fn verify(call: Call) -> Result<Response, Problem> {
    let verified = call.site.context.store.read(audit::verify).await?;
    let verdict = Verdict {
        valid: verified.broken_at.is_none(),
        entries: verified.entries,
        head: verified.head.map(|h| h.to_string()),
        broken_at: verified.broken_at,
    };
    json(StatusCode::OK, &verdict)
}
