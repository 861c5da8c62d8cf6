//! How much of the fleet is as it should be, now and before.

use crate::http::call::{Call, json};
use crate::http::page::Page;
use crate::http::problem::Problem;
use crate::http::survey::{Count, Survey};
use crate::status::Compliance as State;
use crate::store::runs::{self, ModuleTotals};
use crate::store::samples;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Compliance now.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Compliance {
    /// When it was looked at.
    pub at: u64,
    /// The whole fleet.
    pub fleet: Count,
    /// Each environment, by name.
    pub environments: Vec<Group>,
    /// Each role, by name. An envoy counts for each of its roles.
    pub roles: Vec<Group>,
    /// Each module, by name. An envoy counts for the modules of its latest run: as compliant when nothing in the module
    /// failed or had to be changed.
    pub modules: Vec<Group>,
}

/// A part of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Of the environment, role or module; empty for envoys without one.
    pub name: String,
    /// How many envoys are what.
    #[serde(flatten)]
    pub count: Count,
}

/// Compliance of the fleet at one moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// When.
    pub at: u64,
    /// How many envoys were what.
    #[serde(flatten)]
    pub count: Count,
}

/// Since when.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// The earliest moment, in milliseconds since 1970-01-01 UTC; a day ago by default.
    pub since: Option<u64>,
}

const DAY: u64 = 86_400_000;
/// The longest list of samples; a longer time is told with gaps.
const MOST: u32 = 1000;

pub(in crate::http) async fn now(call: Call) -> Result<Response, Problem> {
    let survey = call.site.survey().await?;
    let totals = call.site.context.store.read(runs::module_totals).await?;
    let body = Compliance {
        at: survey.at,
        fleet: survey.count(),
        environments: environments(&survey),
        roles: roles(&survey),
        modules: modules(&survey, &totals),
    };
    json(StatusCode::OK, &body)
}

/// Each environment.
pub(in crate::http) fn environments(survey: &Survey) -> Vec<Group> {
    groups(survey.envoys.iter().map(|e| {
        let place = e.place.as_ref();
        (place.and_then(|p| p.environment.clone()).unwrap_or_default(), e.status.compliance)
    }))
}

fn roles(survey: &Survey) -> Vec<Group> {
    groups(survey.envoys.iter().flat_map(|e| {
        let roles = e.place.iter().flat_map(|p| p.roles.iter().cloned());
        roles.map(|role| (role, e.status.compliance))
    }))
}

/// An envoy of which nothing is known lately is unknown in each of its modules, and a module that a broken-off run did
/// not come to is unknown too.
fn modules(survey: &Survey, totals: &[ModuleTotals]) -> Vec<Group> {
    let mut of: BTreeMap<&str, Vec<&ModuleTotals>> = BTreeMap::new();
    for total in totals {
        of.entry(&total.envoy_id).or_default().push(total);
    }
    let mut all = Vec::new();
    for envoy in &survey.envoys {
        let seen = of.remove(envoy.envoy.id.as_str()).unwrap_or_default();
        let unknown = envoy.status.compliance == State::Unknown;
        for total in &seen {
            let state = match (unknown, total.changed + total.failed) {
                (true, _) => State::Unknown,
                (false, 0) => State::Compliant,
                (false, _) => State::NonCompliant,
            };
            all.push((total.module.clone(), state));
        }
        let broken_off = envoy.runs.first().is_none_or(|run| run.interrupted || run.dropped.is_some());
        let planned = envoy.place.iter().filter(|_| broken_off).flat_map(|p| &p.modules);
        let missing = planned.filter(|m| !seen.iter().any(|t| t.module == **m));
        all.extend(missing.map(|module| (module.clone(), State::Unknown)));
    }
    groups(all)
}

fn groups(all: impl IntoIterator<Item = (String, State)>) -> Vec<Group> {
    let mut groups: BTreeMap<String, Count> = BTreeMap::new();
    for (name, state) in all {
        groups.entry(name).or_default().add(state);
    }
    groups.into_iter().map(|(name, count)| Group { name, count }).collect()
}

pub(in crate::http) async fn history(call: Call) -> Result<Response, Problem> {
    let asked: Since = call.query()?;
    let since = asked.since.unwrap_or_else(|| call.site.context.clock.now().saturating_sub(DAY));
    json(StatusCode::OK, &Page { items: since_then(&call, since).await?, next: None })
}

/// Samples since then, thinned out to what can be looked at.
pub(in crate::http) async fn since_then(call: &Call, since: u64) -> Result<Vec<Sample>, Problem> {
    let samples = call.site.context.store.read(move |conn| samples::since(conn, since, MOST)).await?;
    let sample = |s: samples::Sample| {
        let ratio = (s.active > 0).then(|| s.compliant as f64 / s.active as f64);
        let count = Count {
            active: s.active,
            compliant: s.compliant,
            non_compliant: s.non_compliant,
            unknown: s.unknown,
            ratio,
        };
        Sample { at: s.at, count }
    };
    Ok(samples.into_iter().map(sample).collect())
}
