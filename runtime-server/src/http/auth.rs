//! Who asks, and what they may do.
//!
//! Programs send an API token as a bearer token; the dashboard keeps one in a cookie that no script can read, that is
//! never sent with a request from another site, and that opens pages only: whatever changes something takes the header. A
//! token is looked up by its hash, so nothing is compared byte by byte with a secret.

use super::Site;
use super::problem::Problem;
use crate::store::api_tokens::{self, ApiToken};
use axum::http::{HeaderMap, header};

pub use crate::store::api_tokens::Role;

/// What a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing; the answer has nothing sensitive in it.
    Public,
    /// A bearer token with at least this role.
    Token(Role),
    /// The dashboard's cookie, of any role; who has none is sent to the login page.
    Page,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub Option<ApiToken>);

impl Caller {
    /// As the audit log names them.
    pub fn actor(&self) -> String {
        match &self.0 {
            Some(token) => format!("token {} ({})", token.id, token.name),
            None => "anonymous".to_owned(),
        }
    }
}

/// The name of the dashboard's cookie. The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain`.
pub const COOKIE: &str = "__Host-vigo";
/// No token is longer.
const MAX_TOKEN: usize = 256;

/// Lets a request in, or says why not.
pub async fn authorise(site: &Site, access: Access, headers: &HeaderMap) -> Result<Caller, Problem> {
    let token = match access {
        Access::Public => return Ok(Caller(None)),
        Access::Token(_) => bearer(headers),
        Access::Page => cookie(headers),
    };
    let known = match token {
        Some(token) => verify(site, token).await?,
        None => None,
    };
    let token = known.ok_or_else(Problem::unauthenticated)?;
    if let Access::Token(needs) = access
        && token.role < needs
    {
        return Err(Problem::forbidden(token.role.name(), needs.name()));
    }
    Ok(Caller(Some(token)))
}

/// A token that is known, not revoked and not expired.
pub async fn verify(site: &Site, token: &str) -> Result<Option<ApiToken>, Problem> {
    if token.len() > MAX_TOKEN {
        return Ok(None);
    }
    let context = &site.context;
    let (token, now) = (token.to_owned(), context.clock.now());
    Ok(context.store.read(move |conn| api_tokens::verify(conn, &token, now)).await?)
}

/// Whether a request has a good bearer token, for routes that everybody may ask and that tell some more.
pub async fn known(site: &Site, headers: &HeaderMap) -> bool {
    match bearer(headers) {
        Some(token) => verify(site, token).await.is_ok_and(|known| known.is_some()),
        None => false,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The cookie; none when there are two, because then one of them is not ours.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE);
    match (found.next(), found.next()) {
        (Some((_, token)), None) => Some(token),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn tokens_are_found_where_they_belong() {
        let with = |name: header::HeaderName, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, HeaderValue::from_static(value));
            }
            headers
        };
        let auth = |value| bearer(&with(header::AUTHORIZATION, &[value])).map(str::to_owned);
        assert_eq!(auth("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(auth("bearer abc").as_deref(), Some("abc"));
        assert_eq!(auth("Basic abc"), None);
        assert_eq!(auth("abc"), None);
        let jar = |values: &[&'static str]| cookie(&with(header::COOKIE, values)).map(str::to_owned);
        assert_eq!(jar(&["a=b; __Host-vigo=abc; c=d"]).as_deref(), Some("abc"));
        assert_eq!(jar(&["vigo=abc"]), None);
        assert_eq!(jar(&["__Host-vigo=abc", "__Host-vigo=def"]), None);
    }

    #[test]
    fn roles_include_each_other() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }
}
