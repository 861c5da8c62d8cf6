//! The REST API, a file for each kind of thing.

pub mod api_tokens;
pub mod audit;
pub mod compliance;
pub mod envoys;
pub mod releases;
pub mod runs;
pub mod secrets;
pub mod tasks;
pub mod tokens;
pub mod workflows;

use super::call::{Call, json};
use super::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use std::time::Duration;

/// The OpenAPI document.
pub(super) async fn openapi(call: Call) -> Result<Response, Problem> {
    json(StatusCode::OK, call.site.document())
}

/// A lifetime in milliseconds from what a request says, such as `15m`.
fn lifetime(text: &str, most: Duration) -> Result<u64, Problem> {
    let lifetime = crate::config::duration(text).filter(|d| !d.is_zero() && *d <= most);
    let lifetime = lifetime.ok_or_else(|| {
        let days = most.as_secs() / 86_400;
        Problem::invalid(format!("`ttl` is a duration such as `15m` or `90d`, at most {days}d, not `{text}`"))
    })?;
    Ok(lifetime.as_millis() as u64)
}

/// Random bytes for a token.
fn random() -> Result<[u8; 20], Problem> {
    let mut random = [0; 20];
    getrandom::fill(&mut random).map_err(|e| {
        tracing::error!(error = %e, "the system gives no random bytes");
        Problem::internal()
    })?;
    Ok(random)
}
