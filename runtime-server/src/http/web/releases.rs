//! What was published.

use super::fleet::Row;
use super::html;
use super::show;
use crate::http::api::envoys::Envoy;
use crate::http::api::releases::{Filter, latest};
use crate::http::call::Call;
use crate::http::page::{self, Page};
use crate::http::problem::Problem;
use crate::http::survey::{Count, Surveyed};
use crate::text::moment;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

/// Releases on one page.
const ROWS: usize = 50;
/// Envoys on the page of a release.
const ENVOYS: usize = 200;

#[derive(Template)]
#[template(path = "releases.html")]
struct ReleasesPage {
    section: &'static str,
    releases: Vec<ReleaseLine>,
    next: Option<String>,
}

struct ReleaseLine {
    serial: u64,
    at: String,
    ago: String,
    short: String,
    envoys: usize,
    served: bool,
}

fn follows(e: &Surveyed, serial: u64) -> bool {
    e.runs.first().is_some_and(|run| run.release_serial == serial)
}

pub(in crate::http) async fn page(call: Call) -> Result<Response, Problem> {
    let filter: Filter = call.query()?;
    let before = filter.cursor.map(|c| c.parse().map_err(|_| page::bad_cursor())).transpose()?;
    let survey = call.site.survey().await?;
    let releases = latest(&call, before, ROWS as u32 + 1).await?;
    let releases = Page::cut(releases, ROWS, |r| r.serial.to_string());
    let next = releases.next.clone().map(|cursor| format!("/releases?cursor={cursor}"));
    let lines = releases.map(|r| ReleaseLine {
        serial: r.serial,
        at: moment(r.published_at),
        ago: show::ago(r.published_at, survey.at),
        short: r.digest.chars().take(12).collect(),
        envoys: survey.envoys.iter().filter(|e| follows(e, r.serial)).count(),
        served: r.served,
    });
    html(StatusCode::OK, &ReleasesPage { section: "releases", releases: lines.items, next })
}

#[derive(Template)]
#[template(path = "release.html")]
struct ReleasePage {
    section: &'static str,
    serial: u64,
    served: bool,
    at: String,
    ago: String,
    digest: String,
    count: usize,
    compliant: u64,
    active: usize,
    envoys: Vec<Row>,
}

pub(in crate::http) async fn one(call: Call) -> Result<Response, Problem> {
    let text = call.param("serial");
    let missing = || Problem::not_found(format!("there is no release `{text}`"));
    let serial: u64 = text.parse().map_err(|_| missing())?;
    let above = serial.checked_add(1).filter(|above| i64::try_from(*above).is_ok()).ok_or_else(missing)?;
    let found = latest(&call, Some(above), 1).await?;
    let release = found.into_iter().find(|r| r.serial == serial).ok_or_else(missing)?;
    let survey = call.site.survey().await?;
    let following: Vec<&Surveyed> = survey.envoys.iter().filter(|e| follows(e, serial)).collect();
    let count: Count = following.iter().map(|e| e.status.compliance).collect();
    let page = ReleasePage {
        section: "releases",
        serial,
        served: release.served,
        at: moment(release.published_at),
        ago: show::ago(release.published_at, survey.at),
        digest: release.digest,
        count: following.len(),
        compliant: count.compliant,
        active: survey.envoys.len(),
        envoys: following.iter().take(ENVOYS).map(|e| Row::of(&Envoy::of(e), survey.at)).collect(),
    };
    html(StatusCode::OK, &page)
}
