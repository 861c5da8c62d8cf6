//! What was published.

use super::fleet::Row;
use super::html;
use super::show;
use crate::difference::FileChange;
use crate::http::api::envoys::Envoy;
use crate::http::api::releases::{Filter, Release, State, difference, find, latest, state};
use crate::http::call::Call;
use crate::http::page::{self, Page};
use crate::http::problem::Problem;
use crate::http::survey::{Count, Surveyed};
use crate::reach::{Reach, Share};
use crate::text::{moment, plain};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use ir::is_unseen;

/// Releases on one page.
const ROWS: usize = 50;
/// Envoys on the page of a release.
const ENVOYS: usize = 200;
/// Files and resources on the page of a release.
const CHANGES: usize = 200;
/// Lines of a difference on a page.
const LINES: usize = 2000;

#[derive(Template)]
#[template(path = "releases.html")]
struct ReleasesPage {
    section: &'static str,
    releases: Vec<ReleaseLine>,
    frozen: Option<String>,
    refused: Option<Refused>,
    failed: bool,
    next: Option<String>,
}

struct Refused {
    by: String,
    ago: String,
    findings: String,
}

struct ReleaseLine {
    serial: u64,
    at: String,
    ago: String,
    author: String,
    why: String,
    files: u64,
    changed: String,
    envoys: usize,
    served: bool,
}

fn follows(e: &Surveyed, serial: u64) -> bool {
    e.runs.first().is_some_and(|run| run.release_serial == serial)
}

/// Lines that somebody else wrote.
fn lines(text: &str) -> String {
    text.trim_end().lines().map(|line| plain(line, 1000)).collect::<Vec<_>>().join("\n")
}

fn why(release: &Release) -> String {
    let back = release.rolled_back_from.map(|from| format!("back to {from}"));
    let message = Some(show::text(&release.message)).filter(|m| !m.is_empty());
    [back, message].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn frozen(state: &State) -> Option<String> {
    let freeze = state.frozen.as_ref()?;
    let reason =
        if freeze.reason.is_empty() { String::new() } else { format!(": {}", show::text(&freeze.reason)) };
    Some(format!("until {}, by {}{reason}", show::moment(freeze.until), plain(&freeze.by, 100)))
}

pub(in crate::http) async fn page(call: Call) -> Result<Response, Problem> {
    let filter: Filter = call.query()?;
    let before = filter.cursor.map(|c| c.parse().map_err(|_| page::bad_cursor())).transpose()?;
    let survey = call.site.survey().await?;
    let state = state(&call).await?;
    let releases = latest(&call, before, ROWS as u32 + 1).await?;
    let releases = Page::cut(releases, ROWS, |r| r.serial.to_string());
    let next = releases.next.clone().map(|cursor| format!("/releases?cursor={cursor}"));
    let lines_of = releases.map(|r| ReleaseLine {
        serial: r.serial,
        at: moment(r.published_at),
        ago: show::ago(r.published_at, survey.at),
        author: plain(&r.author, 100),
        why: why(&r),
        files: r.files_changed,
        changed: r.reach.as_ref().map(|reach| reach.changed.to_string()).unwrap_or_default(),
        envoys: survey.envoys.iter().filter(|e| follows(e, r.serial)).count(),
        served: r.served,
    });
    let page = ReleasesPage {
        section: "releases",
        releases: lines_of.items,
        frozen: frozen(&state),
        refused: state.refused.map(|refused| Refused {
            by: plain(&refused.author, 100),
            ago: show::ago(refused.at, survey.at),
            findings: lines(&refused.findings),
        }),
        failed: state.failed,
        next,
    };
    html(StatusCode::OK, &page)
}

#[derive(Template)]
#[template(path = "release.html")]
struct ReleasePage {
    section: &'static str,
    serial: u64,
    served: bool,
    at: String,
    ago: String,
    author: String,
    why: String,
    digest: String,
    files: usize,
    before: Option<u64>,
    changes: Vec<Change>,
    more_changes: usize,
    diff: Vec<DiffLine>,
    diff_cut: bool,
    reach: Option<ReachShown>,
    count: usize,
    compliant: u64,
    active: usize,
    envoys: Vec<Row>,
}

struct Change {
    path: String,
    change: String,
    added: String,
    removed: String,
}

struct DiffLine {
    /// `add`, `del`, `at` or nothing.
    class: &'static str,
    text: String,
}

struct ReachShown {
    changed: u64,
    envoys: u64,
    lost: u64,
    unknown: u64,
    shares: Vec<(&'static str, String, u64, u64)>,
    touched: Vec<(String, String, u64)>,
}

impl ReachShown {
    fn of(reach: Reach) -> Self {
        let share = |what: &'static str, s: &Share| {
            let name = if s.name.is_empty() { "none".to_owned() } else { plain(&s.name, 100) };
            (what, name, s.changed, s.envoys)
        };
        let environments = reach.environments.iter().map(|s| share("environment", s));
        let name =
            |name: &str| if name.is_empty() { "order of modules".to_owned() } else { plain(name, 200) };
        ReachShown {
            changed: reach.changed,
            envoys: reach.envoys,
            lost: reach.lost,
            unknown: reach.unknown,
            shares: environments.chain(reach.roles.iter().map(|s| share("role", s))).collect(),
            touched: reach
                .changes
                .iter()
                .take(CHANGES)
                .map(|t| (name(&t.name), plain(&t.change, 20), t.envoys))
                .collect(),
        }
    }
}

fn change(c: &FileChange) -> Change {
    let lines = |sign: char, n: Option<u64>| n.map_or(String::new(), |n| format!("{sign}{n}"));
    Change {
        path: plain(&c.path, 200),
        change: plain(&c.change, 20),
        added: lines('+', c.lines_added),
        removed: lines('-', c.lines_removed),
    }
}

fn diff_line(line: &str) -> DiffLine {
    let class = match line.as_bytes() {
        [b'+', ..] => "add",
        [b'-', ..] => "del",
        [b'@', ..] => "at",
        _ => "",
    };
    let text =
        line.chars().take(500).map(|c| if c != '\t' && is_unseen(c) { '\u{fffd}' } else { c }).collect();
    DiffLine { class, text }
}

pub(in crate::http) async fn one(call: Call) -> Result<Response, Problem> {
    let detail = find(&call).await?;
    let release = &detail.release;
    let serial = release.serial;
    // The files of an old release may not have been kept; then there is nothing to compare.
    let diff = match detail.files.is_empty() {
        true => String::new(),
        false => difference(&call, None).await.map(|d| d.text).unwrap_or_default(),
    };
    let survey = call.site.survey().await?;
    let following: Vec<&Surveyed> = survey.envoys.iter().filter(|e| follows(e, serial)).collect();
    let count: Count = following.iter().map(|e| e.status.compliance).collect();
    let page = ReleasePage {
        section: "releases",
        serial,
        served: release.served,
        at: moment(release.published_at),
        ago: show::ago(release.published_at, survey.at),
        author: plain(&release.author, 100),
        why: why(release),
        digest: release.digest.clone(),
        files: detail.files.len(),
        before: serial.checked_sub(1).filter(|before| *before > 0),
        changes: detail.changes.iter().take(CHANGES).map(change).collect(),
        more_changes: detail.changes.len().saturating_sub(CHANGES),
        diff: diff.lines().take(LINES).map(diff_line).collect(),
        diff_cut: diff.lines().nth(LINES).is_some(),
        reach: detail.release.reach.clone().map(ReachShown::of),
        count: following.len(),
        compliant: count.compliant,
        active: survey.envoys.len(),
        envoys: following.iter().take(ENVOYS).map(|e| Row::of(&Envoy::of(e), survey.at)).collect(),
    };
    html(StatusCode::OK, &page)
}
