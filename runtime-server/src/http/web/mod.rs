//! The dashboard: pages made on the server, without scripts.
//!
//! Everything that agents wrote goes through [`crate::text::plain`] when a page is put together, and through the
//! templates' escaping when it is written.

pub mod chart;
pub mod envoy;
pub mod fleet;
pub mod graph;
pub mod releases;
mod show;
pub mod tasks;

use super::auth::{COOKIE, verify};
use super::call::{Call, answer};
use super::problem::Problem;
use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use std::sync::LazyLock;

const STYLE: &str = include_str!("../../../assets/vigo.css");
/// How long the browser keeps the token.
const SIGNED_IN_SECONDS: u32 = 12 * 3600;

static STYLE_VERSION: LazyLock<String> = LazyLock::new(|| ir::Hash::of(STYLE.as_bytes()).short());

/// Changes with the style sheet, so that browsers may keep it.
pub fn style_version() -> &'static str {
    &STYLE_VERSION
}

pub(super) async fn style(_: Call) -> Result<Response, Problem> {
    let mut response = answer(StatusCode::OK, "text/css; charset=utf-8", STYLE);
    let kept = HeaderValue::from_static("public, max-age=86400");
    response.headers_mut().insert(header::CACHE_CONTROL, kept);
    Ok(response)
}

fn html(status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
    let text = page.render().map_err(|e| {
        tracing::error!(error = %e, "a page cannot be written");
        Problem::internal()
    })?;
    Ok(answer(status, "text/html; charset=utf-8", text))
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    refused: bool,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    section: &'static str,
    title: String,
    detail: String,
}

/// A problem as a page.
pub(super) fn problem(problem: &Problem) -> Response {
    let page =
        ProblemPage { section: "", title: show::text(&problem.title), detail: show::text(&problem.detail) };
    html(problem.status(), &page).unwrap_or_else(IntoResponse::into_response)
}

pub(super) async fn login_page(_: Call) -> Result<Response, Problem> {
    html(StatusCode::OK, &LoginPage { refused: false })
}

pub(super) async fn login(call: Call) -> Result<Response, Problem> {
    own_form(&call)?;
    let token = form_urlencoded::parse(&call.body).find(|(key, _)| key == "token");
    let token = token.map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
    if verify(&call.site, &token).await?.is_none() {
        return html(StatusCode::UNAUTHORIZED, &LoginPage { refused: true });
    }
    // A token that is known holds nothing but letters, digits, dots and dashes.
    Ok(signed(&format!("{COOKIE}={token}; Max-Age={SIGNED_IN_SECONDS}"), "/"))
}

pub(super) async fn logout(call: Call) -> Result<Response, Problem> {
    own_form(&call)?;
    Ok(signed(&format!("{COOKIE}=; Max-Age=0"), "/login"))
}

fn signed(cookie: &str, to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    let cookie = format!("{cookie}; Path=/; Secure; HttpOnly; SameSite=Lax");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// A form of our own pages: nobody else signs people in or out.
fn own_form(call: &Call) -> Result<(), Problem> {
    let site = call.headers.get("sec-fetch-site").map(|v| v.as_bytes());
    if site.is_none_or(|site| site == b"same-origin" || site == b"none") {
        return Ok(());
    }
    Err(Problem::invalid("the form was sent by another site"))
}
