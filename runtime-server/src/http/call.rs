//! A request as handlers see it: let in, its body read, its parts to be taken out with clear errors.

use super::Site;
use super::auth::{Caller, Role};
use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// See [`Call::wanted_id`].
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The request.
#[derive(Debug)]
pub struct Call {
    /// What it is asked of.
    pub site: Arc<Site>,
    /// Who asks.
    pub caller: Caller,
    pub(super) params: Vec<(String, String)>,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    /// A part of the path, decoded; empty when the route has none of that name.
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// The query. Parameters that the route does not know are refused, so that a typo does not pass for a filter.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let query = Query::try_from_uri(&self.uri).map_err(|e| {
            let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            Problem::invalid(format!("the query: {cause}"))
        })?;
        Ok(query.0)
    }

    /// The body as JSON. No body is an empty object.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let mut body = serde_json::Deserializer::from_slice(self.json_body()?);
        let read = serde_path_to_error::deserialize(&mut body).map_err(|e| {
            // Whoever wrote it as YAML has other lines, so the place is named as well.
            let place = match e.path().to_string().as_str() {
                "." => String::new(),
                path => format!(" `{}`:", crate::text::plain(path, 200)),
            };
            Problem::invalid(format!("the body:{place} {}", e.inner()))
        });
        let read = read?;
        body.end().map_err(|e| Problem::invalid(format!("the body: {e}")))?;
        Ok(read)
    }

    /// The same for a body that holds a secret: what is wrong with it is not quoted.
    pub fn secret_json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(self.json_body()?).map_err(|e| {
            let (line, column) = (e.line(), e.column());
            Problem::invalid(format!("the body is not what this route takes, at line {line} column {column}"))
        })
    }

    fn json_body(&self) -> Result<&[u8], Problem> {
        let json = self.header(header::CONTENT_TYPE).is_none_or(|kind| {
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        if !json {
            return Err(Problem::invalid("the body has to be `application/json`"));
        }
        Ok(if self.body.is_empty() { b"{}" } else { &self.body })
    }

    /// Whether whoever asks may do more than look.
    pub fn is_operator(&self) -> bool {
        self.caller.0.as_ref().is_some_and(|token| token.role >= Role::Operator)
    }

    /// The id that whoever asks wants what is made to have, so that asking again makes nothing twice: the header
    /// `Idempotency-Key`, a UUIDv7, for ids are in the order of time.
    pub fn wanted_id(&self) -> Result<Option<String>, Problem> {
        let Some(key) = self.headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let id = key.to_str().ok().and_then(|text| uuid::Uuid::try_parse(text).ok());
        match id.filter(|id| id.get_version_num() == 7) {
            Some(id) => Ok(Some(id.to_string())),
            None => Err(Problem::invalid("the header `Idempotency-Key` has to be a UUID of version 7")),
        }
    }

    /// A header, when it is text.
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(body).map_err(|e| {
        tracing::error!(error = %e, "an answer cannot be written as JSON");
        Problem::internal()
    })?;
    Ok(answer(status, "application/json", bytes))
}

/// An answer of any type.
pub fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
