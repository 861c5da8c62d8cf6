//! Errors as RFC 9457 problem documents.

use crate::dispatch::mistakes::Mistakes;
use crate::policy::Checked;
use crate::store::StoreError;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Problem {
    /// `urn:vigo:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem it is.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, and what would help.
    pub detail: String,
    /// The kind of problem for programs.
    pub code: String,
    /// What the compiler found in an expression or in a policy of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Box<Findings>>,
}

/// What the compiler found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// For people, with the lines it stands in.
    pub rendered: String,
    /// As in `vigoc check --format json`.
    pub diagnostics: serde_json::Value,
}

impl Problem {
    fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Problem {
            kind: format!("urn:vigo:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            findings: None,
        }
    }

    /// The same with what the compiler found.
    pub fn with_findings(self, mistakes: Mistakes) -> Self {
        let Mistakes { rendered, diagnostics, .. } = mistakes;
        Problem { findings: Some(Box::new(Findings { rendered, diagnostics })), ..self }
    }

    /// The same with what was found in a policy.
    pub fn with_checked(self, checked: &Checked) -> Self {
        let (rendered, diagnostics) = (checked.plain(), checked.diagnostics.clone());
        Problem { findings: Some(Box::new(Findings { rendered, diagnostics })), ..self }
    }

    /// No token, or none that is good. Which of the two is not told.
    pub fn unauthenticated() -> Self {
        let detail = "send a good API token as `Authorization: Bearer TOKEN`; `vigosrv api-token create` on the \
                      server's machine makes one";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "the request has no valid token", detail)
    }

    /// The role does not suffice.
    pub fn forbidden(has: &str, needs: &str) -> Self {
        let detail = format!("this needs the role `{needs}`, and the token has `{has}`");
        Self::new(StatusCode::FORBIDDEN, "forbidden", "the token's role does not suffice", detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is no such thing", detail)
    }

    /// The path is known, the method is not.
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "the method does not fit", detail)
    }

    /// Query, path or body are not what the route takes.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", "the request is not understood", detail)
    }

    /// The body is too long.
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body is longer than the {limit} bytes this route takes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the request is too large", detail)
    }

    /// The body is compressed, and a small one could stand for a very large one.
    pub fn packed() -> Self {
        let detail = "send the body as it is, without `Content-Encoding`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "packed", "compressed bodies are not taken", detail)
    }

    /// It cannot be done as things stand.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "it cannot be done as things stand", detail)
    }

    /// A policy that is not fit to be published.
    pub fn policy_refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "policy-refused", "nothing was published", detail)
    }

    /// Nothing is published for some time.
    pub fn frozen(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "frozen", "nothing is published now", detail)
    }

    /// It would do something else than what was looked at.
    pub fn plan_changed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "plan-changed", "the plan has changed", detail)
    }

    /// Something that is needed does not work now.
    pub fn unavailable(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "it cannot be done now", detail)
    }

    /// The body did not come, or not all of it.
    pub fn cut_off() -> Self {
        Self::invalid("the body ended early")
    }

    /// It took too long.
    pub fn timeout() -> Self {
        let detail = "the server was too slow, or the body came too slowly; what changes something may be done all the same, so look before you try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "the request took too long", detail)
    }

    /// The server's fault. The cause is in its log and nowhere else.
    pub fn internal() -> Self {
        let detail = "the server's log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server cannot answer now", detail)
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        if let StoreError::Range(what) = e {
            return Self::invalid(format!("{what} is out of range"));
        }
        if let StoreError::Busy | StoreError::Overloaded = e {
            tracing::warn!(error = %e, "a request is turned away");
            let detail = "too much waits for the database; try again later";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the server is too busy", detail);
        }
        tracing::error!(error = %e, "the store failed");
        Self::internal()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"vigo\""));
        }
        response
    }
}
