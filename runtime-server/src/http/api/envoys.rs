//! Envoys: who there is, and how they are.

use super::runs::{Outcome, Run};
use crate::dispatch;
use crate::http::call::{Call, json};
use crate::http::page::{self, Page};
use crate::http::problem::Problem;
use crate::http::survey::{Place, Survey, Surveyed, place_of};
use crate::status::{Compliance, Drift, Health, RUNS, Reachability, Status};
use crate::store::audit::{self, Event};
use crate::store::envoys::{self, Brief, EnvoyRow};
use crate::store::{pushes, runs};
use axum::http::StatusCode;
use axum::response::Response;
use ir::wire;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An active envoy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Envoy {
    /// UUID.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// Its environment; null when it has none, or when the policy does not know the envoy yet.
    pub environment: Option<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// Whether the host is as it should be.
    pub health: Health,
    /// Whether somebody else changes it.
    pub drift: Drift,
    /// Whether it speaks to the server.
    pub reachability: Reachability,
    /// What it counts as.
    pub compliance: Compliance,
    /// Its last request.
    pub last_seen: Option<u64>,
    /// When it was told to come back, in milliseconds.
    pub interval_ms: u64,
    /// When it enrolled.
    pub enrolled_at: u64,
    /// What it says it is.
    pub agent_version: String,
    /// What it was told last: release, epoch and content.
    pub policy_version: String,
    /// Its latest run of everything.
    pub last_run: Option<Run>,
}

impl Envoy {
    /// From the fleet's survey.
    pub fn of(s: &Surveyed) -> Self {
        Self::put_together(&s.envoy, s.status, s.place.as_deref(), s.runs.first().cloned())
    }

    fn put_together(e: &Brief, status: Status, place: Option<&Place>, last: Option<runs::RunRow>) -> Self {
        Envoy {
            id: e.id.clone(),
            hostname: e.hostname.clone(),
            environment: place.and_then(|p| p.environment.clone()),
            roles: place.map(|p| p.roles.clone()).unwrap_or_default(),
            health: status.health,
            drift: status.drift,
            reachability: status.reachability,
            compliance: status.compliance,
            last_seen: e.last_seen,
            interval_ms: e.interval_ms,
            enrolled_at: e.enrolled_at,
            agent_version: e.agent_version.clone(),
            policy_version: e.policy_version.clone(),
            last_run: last.map(|row| Run::of(row, &e.id, &e.hostname)),
        }
    }
}

/// How a module fared in the latest run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Resources that were right.
    pub ok: u64,
    /// Resources that were put right.
    pub changed: u64,
    /// Resources that could not be.
    pub failed: u64,
    /// Resources that were left alone.
    pub skipped: u64,
}

/// Everything about one envoy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// The envoy.
    #[serde(flatten)]
    pub envoy: Envoy,
    /// What it told about itself.
    pub traits: serde_json::Value,
    /// Modules in the order they run, with what became of them in `last_run`; all zero where it says nothing.
    pub modules: Vec<Module>,
    /// What became of each resource in `last_run`.
    pub results: Vec<Outcome>,
    /// The run under way; null when there is none, or the envoy has no stream to the server that answers.
    pub running: Option<Running>,
    /// The latest runs, the latest first.
    pub runs: Vec<Run>,
    /// First and last number of results that never came.
    pub lost_results: Vec<(u64, u64)>,
}

/// A run under way.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Running {
    /// UUIDv7.
    pub run_id: String,
    /// When it began, by the envoy's clock.
    pub started_at: u64,
    /// Resources that have their outcome.
    pub done: u32,
    /// Those that changed or failed, as they came; the latest 200.
    pub results: Vec<Outcome>,
}

impl From<dispatch::Running> for Running {
    fn from(run: dispatch::Running) -> Self {
        Running {
            run_id: run.run_id,
            started_at: run.started_at,
            done: run.done,
            results: run.results.into_iter().map(Outcome::from).collect(),
        }
    }
}

/// Which envoys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Host names; `*` stands for any text, `?` for one character.
    pub hostname: Option<String>,
    /// Of this environment.
    pub environment: Option<String>,
    /// With this role.
    pub role: Option<String>,
    /// With this module.
    pub module: Option<String>,
    /// In this state of health.
    pub health: Option<Health>,
    /// With this drift.
    pub drift: Option<Drift>,
    /// That can be reached like this.
    pub reachability: Option<Reachability>,
    /// That count as this.
    pub compliance: Option<Compliance>,
    /// How many; 100 by default, at most 1000.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl Filter {
    /// Whether an envoy is asked for.
    pub fn matches(&self, e: &Surveyed) -> bool {
        let place = e.place.as_deref();
        let is = |wanted: &Option<String>, f: &dyn Fn(&Place, &String) -> bool| {
            wanted.as_ref().is_none_or(|wanted| place.is_some_and(|place| f(place, wanted)))
        };
        self.hostname.as_ref().is_none_or(|glob| crate::hostname::matches(glob, &e.envoy.hostname))
            && self.health.is_none_or(|health| health == e.status.health)
            && self.drift.is_none_or(|drift| drift == e.status.drift)
            && self.reachability.is_none_or(|reachability| reachability == e.status.reachability)
            && self.compliance.is_none_or(|compliance| compliance == e.status.compliance)
            && is(&self.environment, &|p, wanted| p.environment.as_ref() == Some(wanted))
            && is(&self.role, &|p, wanted| p.roles.contains(wanted))
            && is(&self.module, &|p, wanted| p.modules.contains(wanted))
    }
}

pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    let filter: Filter = call.query()?;
    let limit = page::limit(filter.limit)?;
    let survey = call.site.survey().await?;
    json(StatusCode::OK, &matching(&survey, &filter, limit))
}

/// A part of the list: so many, from the cursor of the filter on.
pub(in crate::http) fn matching(survey: &Survey, filter: &Filter, limit: usize) -> Page<Envoy> {
    // Active envoys are sorted by their names, and each has one of its own.
    let after = |e: &&Surveyed| filter.cursor.as_ref().is_none_or(|last| e.envoy.hostname > *last);
    let found: Vec<Envoy> = survey
        .envoys
        .iter()
        .filter(after)
        .filter(|e| filter.matches(e))
        .take(limit + 1)
        .map(Envoy::of)
        .collect();
    Page::cut(found, limit, |e| e.hostname.clone())
}

/// The active envoy of that name, or the one of that id.
pub(super) async fn find(call: &Call, name: &str) -> Result<EnvoyRow, Problem> {
    let wanted = name.to_owned();
    let found = call.site.context.store.read(move |conn| envoys::find(conn, &wanted)).await?;
    found.ok_or_else(|| Problem::not_found(format!("there is no envoy `{name}`")))
}

pub(in crate::http) async fn show(call: Call) -> Result<Response, Problem> {
    json(StatusCode::OK, &detail(&call, 10).await?)
}

/// Everything about the envoy that a path names, with so many runs.
pub(in crate::http) async fn detail(call: &Call, latest: u32) -> Result<Detail, Problem> {
    let row = find(call, call.param("envoy")).await?;
    let context = &call.site.context;
    let id = row.id.clone();
    let (whole, latest, lost, results) = context
        .store
        .read(move |conn| {
            let whole = runs::latest_whole(conn, &id, RUNS)?;
            let results = match whole.first() {
                Some(run) => runs::results(conn, &id, &run.run_id)?,
                None => Vec::new(),
            };
            Ok((whole, runs::latest(conn, &id, latest)?, runs::lost(conn, &id)?, results))
        })
        .await?;
    let (this, id) = (context.clone(), row.id.clone());
    let place = tokio::task::spawn_blocking(move || place_of(&this, &id)).await.unwrap_or_else(|e| {
        tracing::error!(error = %e, "looking for the place of an envoy crashed");
        None
    });
    // What was sent since the last batch was written.
    let unsaved = match context.fleet.get(&row.id) {
        Some(envoy) => envoy.state().unsaved.clone(),
        None => None,
    };
    let traits = unsaved.or_else(|| row.traits.as_deref().map(Arc::from));
    let traits = traits.and_then(|t| wire::decode_value(&t).ok()).unwrap_or_default();
    let brief = Brief::from(&row);
    let status = Status::at(brief.last_seen, brief.interval_ms, &whole, context.clock.now());
    let results: Vec<Outcome> = results.into_iter().map(Outcome::from).collect();
    let modules = modules(place.as_deref(), &results);
    Ok(Detail {
        envoy: Envoy::put_together(&brief, status, place.as_deref(), whole.into_iter().next()),
        traits: (&traits).into(),
        modules,
        results,
        running: context.dispatch.running(&row.id).map(Running::from),
        runs: latest.into_iter().map(|run| Run::of(run, &brief.id, &brief.hostname)).collect(),
        lost_results: lost,
    })
}

fn modules(place: Option<&Place>, results: &[Outcome]) -> Vec<Module> {
    let mut counts: BTreeMap<&str, Module> = BTreeMap::new();
    for result in results {
        let module = counts.entry(&result.module).or_default();
        match result.outcome.as_str() {
            "ok" => module.ok += 1,
            "changed" => module.changed += 1,
            "failed" => module.failed += 1,
            _ => module.skipped += 1,
        }
    }
    let mut names: Vec<&str> = place.iter().flat_map(|p| p.modules.iter().map(String::as_str)).collect();
    for result in results {
        if !names.contains(&result.module.as_str()) {
            names.push(&result.module);
        }
    }
    let module = |name: &str| Module { name: name.to_owned(), ..counts.remove(name).unwrap_or_default() };
    names.into_iter().map(module).collect()
}

/// An envoy that lost its place.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    /// UUID.
    pub id: String,
    /// Its host name, which another host may take now.
    pub hostname: String,
}

pub(in crate::http) async fn revoke(call: Call) -> Result<Response, Problem> {
    let row = find(&call, call.param("envoy")).await?;
    let context = &call.site.context;
    let (id, hostname, actor) = (row.id.clone(), row.hostname.clone(), call.caller.actor());
    let now = context.clock.now();
    let revoked = context
        .store
        .call(move |conn| {
            conn.transaction(|conn| {
                let revoked = envoys::revoke(conn, &id, now)?;
                if revoked {
                    audit::append(conn, &Event::new(now, &actor, "envoy.revoke", &hostname, &id))?;
                }
                Ok(revoked)
            })
        })
        .await?;
    if !revoked {
        return Err(Problem::conflict(format!("`{}` was revoked before", row.hostname)));
    }
    for envoy in context.fleet.revoke(std::slice::from_ref(&row.id)) {
        tracing::warn!(envoy, host = row.hostname, "revoked");
    }
    call.site.forget().await;
    json(StatusCode::OK, &Revoked { id: row.id, hostname: row.hostname })
}

/// An envoy that gets its bundle again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pushed {
    /// UUID.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// Until when it should have asked: now, when it has a stream to the server that answers; null when it is offline.
    pub expected_by: Option<u64>,
}

pub(in crate::http) async fn push(call: Call) -> Result<Response, Problem> {
    let row = find(&call, call.param("envoy")).await?;
    let context = &call.site.context;
    let envoy = context.fleet.get(&row.id).filter(|e| !e.is_revoked());
    let envoy = envoy.ok_or_else(|| Problem::conflict(format!("`{}` was revoked", row.hostname)))?;
    let (last_seen, interval) = {
        let state = envoy.state();
        (Some(state.last_seen).filter(|at| *at > 0), state.interval_ms)
    };
    let (id, hostname, actor) = (row.id.clone(), row.hostname.clone(), call.caller.actor());
    let now = context.clock.now();
    context
        .store
        .call(move |conn| {
            conn.transaction(|conn| {
                pushes::ask(conn, &id, now)?;
                audit::append(conn, &Event::new(now, &actor, "envoy.push", &hostname, ""))
            })
        })
        .await?;
    context.dispatch.push(&envoy).await;
    let open = context.dispatch.is_open(&row.id);
    let online = Status::at(last_seen, interval, &[], now).reachability != Reachability::Offline;
    let percent = 100 + u64::from(context.checkin.jitter_percent);
    let expected_by = last_seen.filter(|_| online).map(|seen| match open {
        true => now,
        false => seen.saturating_add(interval.saturating_mul(percent) / 100).max(now),
    });
    json(StatusCode::ACCEPTED, &Pushed { id: row.id, hostname: row.hostname, expected_by })
}
