//! What was published, and publishing.

use crate::difference::{self, FileChange};
use crate::http::call::{Call, json};
use crate::http::page::{self, Page};
use crate::http::problem::Problem;
use crate::publish::{Outcome, Plan, PublishError, Wish};
use crate::reach::Reach;
use crate::store::api_tokens::Role;
use crate::store::audit::{self, Event};
use crate::store::releases::{self, Freeze, Refused, ReleaseRow};
use crate::store::{Connection, StoreError};
use crate::tree::Tree;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ir::is_unseen;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Characters of a reason.
const MAX_MESSAGE: usize = 1000;
/// Publishing is not frozen for longer.
const MAX_FREEZE_MS: u64 = 366 * 86_400_000;

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
    /// Who published it: a token, or `policy.dir` for the directory of a server.
    pub author: String,
    /// Why, in the author's words.
    pub message: String,
    /// The release whose policy it went back to.
    pub rolled_back_from: Option<u64>,
    /// How many files differ from the release before.
    pub files_changed: u64,
    /// What it did to the fleet when it was published; null when that is not known.
    pub reach: Option<Reach>,
}

/// A release with what is in it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// The release.
    #[serde(flatten)]
    pub release: Release,
    /// Files that differ from the release before.
    pub changes: Vec<FileChange>,
    /// SHA-256 of its files, by path.
    pub files: BTreeMap<String, String>,
}

/// What differs between two releases.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The older one; null for the first release, that has none before.
    pub from: Option<u64>,
    /// The newer one.
    pub to: u64,
    /// Files that differ.
    pub changes: Vec<FileChange>,
    /// The same as a unified diff.
    pub text: String,
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

/// What to compare with.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Against {
    /// A release; the one before by default.
    pub from: Option<u64>,
}

/// What stands in the way of publishing, and what became of the last attempt.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// What this server serves.
    pub served: Option<u64>,
    /// What was published last; the server is about to serve it when it is another one.
    pub latest: Option<u64>,
    /// Nothing is published until then; null when policies can be published.
    pub frozen: Option<Frozen>,
    /// The policy that was refused since the latest release; null when there is none.
    pub refused: Option<Refusal>,
    /// Whether the server's own directory cannot be read or published for another reason; its log says why.
    pub failed: bool,
}

/// Nothing is published.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Frozen {
    /// Until when.
    pub until: u64,
    /// Who wants it so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A policy that was refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// When.
    pub at: u64,
    /// Who wanted to publish it: a token, or `policy.dir` for the directory of a server.
    pub author: String,
    /// Of the policy.
    pub digest: String,
    /// What the compiler found, with the lines it stands in.
    pub findings: String,
}

/// A policy to be published.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// All files of the policy: `.vgo` files, and what is below `templates/`.
    pub files: Vec<File>,
    /// Why.
    #[serde(default)]
    pub message: String,
    /// Only says what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// `plan_digest` of a dry run: anything else than what that said is not done.
    #[serde(default)]
    pub plan_digest: Option<String>,
}

/// A file of a policy, with `text` or `base64`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Below the root of the policy, with `/`.
    pub path: String,
    /// Its content, when that is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its content otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// Going back to an older release.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollback {
    /// Why.
    pub message: String,
    /// Only says what would happen.
    pub dry_run: bool,
    /// `plan_digest` of a dry run: anything else than what that said is not done.
    pub plan_digest: Option<String>,
    /// Also while publishing is frozen, and when secrets are missing; for admins.
    pub force: bool,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// `published`, `planned` (a dry run) or `unchanged` (the latest release has this policy).
    pub outcome: String,
    /// The release that has the policy now; null for a plan.
    pub serial: Option<u64>,
    /// What it does; null when nothing changes.
    pub plan: Option<Plan>,
}

/// For how long nothing is published: `until`, or `duration` from now on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FreezeUntil {
    /// Milliseconds since 1970-01-01 UTC.
    pub until: Option<u64>,
    /// Such as `12h` or `3d`.
    pub duration: Option<String>,
    /// Why; whoever wants to publish is told.
    pub reason: String,
}

fn author(stored: String) -> String {
    if stored.is_empty() { "policy.dir".to_owned() } else { stored }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Refusal {
            at: refused.at,
            author: author(refused.author),
            digest: refused.digest.to_string(),
            findings: refused.diagnostics,
        }
    }
}

impl From<Freeze> for Frozen {
    fn from(freeze: Freeze) -> Self {
        Frozen { until: freeze.until, by: freeze.by, reason: freeze.reason }
    }
}

impl From<PublishError> for Problem {
    fn from(e: PublishError) -> Self {
        let said = e.to_string();
        match e {
            PublishError::Refused(checked) | PublishError::Secrets(checked) => {
                Problem::policy_refused(said).with_checked(&checked)
            }
            PublishError::Tree(_) | PublishError::Policy(_) => Problem::invalid(said),
            PublishError::Frozen(_) => Problem::frozen(said),
            PublishError::Moved { .. } => Problem::conflict(said),
            PublishError::PlanChanged(_) => Problem::plan_changed(said),
            PublishError::Unavailable(_) => Problem::unavailable("secrets-unavailable", said),
            PublishError::Store(StoreError::Range(what)) => {
                Problem::invalid(format!("{what} is out of range"))
            }
            PublishError::Store(e) => {
                tracing::error!(error = %e, "nothing was published: the store failed");
                let detail = "nothing was published, what was served is still served: the database does not take the \
                              release; the server's log says why";
                Problem::unavailable("not-stored", detail)
            }
            e @ (PublishError::Damaged(_) | PublishError::Crashed) => {
                tracing::error!(error = %e, "nothing was published");
                Problem::internal()
            }
        }
    }
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
        author: author(row.author),
        message: row.message,
        rolled_back_from: row.rolled_back_from,
        files_changed: changes(&row.summary).len() as u64,
        reach: serde_json::from_str(&row.blast_radius).ok(),
    }
}

fn changes(summary: &str) -> Vec<FileChange> {
    serde_json::from_str(summary).unwrap_or_default()
}

/// The release that the path names.
pub(in crate::http) async fn find(call: &Call) -> Result<Detail, Problem> {
    let serial = serial(call)?;
    let context = &call.site.context;
    let found = context.store.read(move |conn| {
        let Some(row) = releases::find(conn, serial)? else { return Ok(None) };
        Ok(Some((row, releases::files(conn, serial)?)))
    });
    let (row, files) = found.await?.ok_or_else(|| missing(call))?;
    let changes = changes(&row.summary);
    let files = files.into_iter().map(|(path, hash)| (path, hash.to_string())).collect();
    let served = context.catalog.release().map(|r| r.serial);
    Ok(Detail { release: release(row, served), changes, files })
}

fn missing(call: &Call) -> Problem {
    Problem::not_found(format!("there is no release `{}`", call.param("serial")))
}

fn serial(call: &Call) -> Result<u64, Problem> {
    let serial = call.param("serial").parse::<u64>().map_err(|_| missing(call))?;
    if i64::try_from(serial).is_err() { Err(missing(call)) } else { Ok(serial) }
}

pub(in crate::http) async fn show(call: Call) -> Result<Response, Problem> {
    json(StatusCode::OK, &find(&call).await?)
}

pub(in crate::http) async fn diff(call: Call) -> Result<Response, Problem> {
    let against: Against = call.query()?;
    json(StatusCode::OK, &difference(&call, against.from).await?)
}

/// What the release of the path changed.
pub(in crate::http) async fn difference(call: &Call, from: Option<u64>) -> Result<Difference, Problem> {
    let to = serial(call)?;
    let from = from.or(to.checked_sub(1)).filter(|from| *from > 0);
    let new = tree(call, to).await?.ok_or_else(|| missing(call))?;
    let old = match from {
        Some(from) => {
            let none = || Problem::not_found(format!("there is no release `{from}`"));
            Some(tree(call, from).await?.ok_or_else(none)?)
        }
        None => None,
    };
    let compared = tokio::task::spawn_blocking(move || {
        let changes = difference::changes(old.as_ref(), &new);
        Difference { from, to, changes, text: difference::text(old.as_ref(), &new) }
    });
    compared.await.map_err(|e| {
        tracing::error!(error = %e, "comparing releases crashed");
        Problem::internal()
    })
}

async fn tree(call: &Call, serial: u64) -> Result<Option<Tree>, Problem> {
    let context = &call.site.context;
    if let Some(tree) = context.catalog.tree(serial) {
        return Ok(Some(tree));
    }
    let found = context.store.read(move |conn| {
        if releases::find(conn, serial)?.is_none() {
            return Ok(None);
        }
        releases::tree(conn, serial).map(Some)
    });
    Ok(found.await?.map(Tree::stored))
}

pub(in crate::http) async fn publishing(call: Call) -> Result<Response, Problem> {
    json(StatusCode::OK, &state(&call).await?)
}

/// What stands in the way of publishing.
pub(in crate::http) async fn state(call: &Call) -> Result<State, Problem> {
    let context = &call.site.context;
    let now = context.clock.now();
    let (latest, frozen, refused) = context
        .store
        .read(move |conn| {
            Ok((releases::latest(conn)?, releases::frozen(conn, now)?, releases::refused(conn)?))
        })
        .await?;
    Ok(State {
        served: context.catalog.release().map(|r| r.serial),
        latest: latest.map(|r| r.serial),
        frozen: frozen.map(Frozen::from),
        refused: refused.map(Refusal::from),
        failed: context.publish_failed(),
    })
}

fn bounded(what: &str, text: String) -> Result<String, Problem> {
    if text.chars().count() > MAX_MESSAGE || text.chars().any(|c| c != '\n' && is_unseen(c)) {
        let detail = format!("`{what}` has at most {MAX_MESSAGE} characters, all of which can be seen");
        return Err(Problem::invalid(detail));
    }
    Ok(text)
}

fn bytes(file: File) -> Result<(String, Vec<u8>), Problem> {
    let shown = crate::text::plain(&file.path, 200);
    match (file.text, file.base64) {
        (Some(text), None) => Ok((file.path, text.into_bytes())),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64);
            let bytes = bytes.map_err(|e| Problem::invalid(format!("the file `{shown}`: `base64`: {e}")))?;
            Ok((file.path, bytes))
        }
        _ => Err(Problem::invalid(format!("the file `{shown}` has either `text` or `base64`"))),
    }
}

pub(in crate::http) async fn publish(call: Call) -> Result<Response, Problem> {
    let base = latest_serial(&call).await?;
    let asked: Publish = call.json()?;
    let files = asked.files.into_iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
    let tree = Tree::sent(files).map_err(PublishError::from)?;
    let wish = Wish {
        author: call.caller.actor(),
        message: bounded("message", asked.message)?,
        base: Some(base),
        expected: asked.plan_digest,
        dry_run: asked.dry_run,
        ..Wish::new(tree)
    };
    carry_out(&call, wish).await
}

pub(in crate::http) async fn rollback(call: Call) -> Result<Response, Problem> {
    let base = latest_serial(&call).await?;
    let asked: Rollback = call.json()?;
    if asked.force && call.caller.0.as_ref().is_none_or(|token| token.role < Role::Admin) {
        let has = call.caller.0.as_ref().map_or("none", |token| token.role.name());
        return Err(Problem::forbidden(has, Role::Admin.name()));
    }
    let serial = serial(&call)?;
    let tree = tree(&call, serial).await?.ok_or_else(|| missing(&call))?;
    if tree.files().is_empty() {
        let detail = format!("the files of release {serial} were not kept, so nothing can go back to it");
        return Err(Problem::conflict(detail));
    }
    let wish = Wish {
        author: call.caller.actor(),
        message: bounded("message", asked.message)?,
        rolled_back_from: Some(serial),
        base: Some(base),
        expected: asked.plan_digest,
        dry_run: asked.dry_run,
        force: asked.force,
        ..Wish::new(tree)
    };
    carry_out(&call, wish).await
}

/// What whoever asks can have looked at: what is published from now on was not seen by them.
async fn latest_serial(call: &Call) -> Result<u64, Problem> {
    Ok(call.site.context.store.read(releases::latest).await?.map_or(0, |latest| latest.serial))
}

async fn carry_out(call: &Call, wish: Wish) -> Result<Response, Problem> {
    let (outcome, serial, plan) = match call.site.context.publish(wish).await? {
        Outcome::Unchanged(serial) => ("unchanged", Some(serial), None),
        Outcome::Planned(plan) => ("planned", None, Some(plan)),
        Outcome::Published { serial, plan, .. } => ("published", Some(serial), Some(plan)),
    };
    call.site.forget().await;
    json(StatusCode::OK, &Done { outcome: outcome.to_owned(), serial, plan })
}

pub(in crate::http) async fn freeze(call: Call) -> Result<Response, Problem> {
    let asked: FreezeUntil = call.json()?;
    let context = &call.site.context;
    let now = context.clock.now();
    let until = match (asked.until, &asked.duration) {
        (Some(until), None) => until,
        (None, Some(text)) => {
            let ms = crate::config::duration(text).map(|d| d.as_millis() as u64).filter(|ms| *ms > 0);
            let bad = || Problem::invalid(format!("`duration` is a duration such as `12h`, not `{text}`"));
            now.saturating_add(ms.ok_or_else(bad)?)
        }
        _ => return Err(Problem::invalid("a freeze has either `until` or `duration`")),
    };
    if until <= now || until - now > MAX_FREEZE_MS {
        return Err(Problem::invalid("a freeze ends between now and 366 days from now"));
    }
    let freeze = Freeze { until, by: call.caller.actor(), reason: bounded("reason", asked.reason)? };
    let stored = freeze.clone();
    let work = move |conn: &mut Connection| {
        conn.transaction(|conn| {
            releases::freeze(conn, &stored)?;
            let details = format!("until {}; {}", crate::text::moment(stored.until), stored.reason);
            let details = details.trim_end_matches("; ");
            audit::append(conn, &Event::new(now, &stored.by, "publish.freeze", "", details))
        })
    };
    context.store.call(work).await?;
    tracing::warn!(
        until = crate::text::moment(until),
        by = freeze.by,
        reason = freeze.reason,
        "publishing is frozen"
    );
    json(StatusCode::OK, &Frozen::from(freeze))
}

pub(in crate::http) async fn unfreeze(call: Call) -> Result<Response, Problem> {
    let context = &call.site.context;
    let (now, actor) = (context.clock.now(), call.caller.actor());
    let by = actor.clone();
    let work = move |conn: &mut Connection| {
        conn.transaction(|conn| {
            let frozen = releases::frozen(conn, now)?.is_some();
            if frozen {
                releases::thaw(conn)?;
                audit::append(conn, &Event::new(now, &actor, "publish.unfreeze", "", ""))?;
            }
            Ok(frozen)
        })
    };
    if context.store.call(work).await? {
        tracing::info!(by, "policies can be published again");
    }
    json(StatusCode::OK, &state(&call).await?)
}
