//! The whole fleet at one moment: who there is, how they are, and what the policy makes of them.
//!
//! Lists, compliance, metrics and the dashboard all read the same survey, so they never contradict each other. Taking one
//! reads a few rows per envoy; in a large fleet it is kept for ten times as long as it took.

use super::problem::Problem;
use crate::context::Context;
use crate::fleet::Envoy;
use crate::policy::Variant;
use crate::status::{Compliance, RUNS, Status};
use crate::store::envoys::{self, Brief};
use crate::store::runs::{self, RunRow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The fleet at one moment.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// When, by the server's clock.
    pub at: u64,
    /// Active envoys by host name.
    pub envoys: Vec<Surveyed>,
}

/// An active envoy.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// What is stored of it.
    pub envoy: Brief,
    /// Its latest whole runs, the latest first.
    pub runs: Vec<RunRow>,
    /// How it is.
    pub status: Status,
    /// Where the policy puts it; `None` before its first check-in, or when no node entry matches.
    pub place: Option<Arc<Place>>,
}

/// What the policy makes of an envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its environment.
    pub environment: Option<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// Its modules in the order they run.
    pub modules: Vec<String>,
}

impl Place {
    fn of(variant: &Variant) -> Self {
        let order = variant.run_order.iter().filter_map(|at| variant.modules.get(*at as usize));
        Place {
            environment: variant.environment.clone(),
            roles: variant.roles.clone(),
            modules: order.map(|m| m.name.to_string()).collect(),
        }
    }
}

/// How many envoys are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// All of them.
    pub active: u64,
    /// Converged, without drift, and seen lately.
    pub compliant: u64,
    /// Seen lately, and not so.
    pub non_compliant: u64,
    /// Nothing was seen lately.
    pub unknown: u64,
    /// `compliant` of `active`, from 0 to 1; null when there is none.
    pub ratio: Option<f64>,
}

impl Count {
    /// One more.
    pub fn add(&mut self, compliance: Compliance) {
        self.active += 1;
        match compliance {
            Compliance::Compliant => self.compliant += 1,
            Compliance::NonCompliant => self.non_compliant += 1,
            Compliance::Unknown => self.unknown += 1,
        }
        self.ratio = Some(self.compliant as f64 / self.active as f64);
    }
}

impl FromIterator<Compliance> for Count {
    fn from_iter<I: IntoIterator<Item = Compliance>>(all: I) -> Self {
        let mut count = Count::default();
        all.into_iter().for_each(|compliance| count.add(compliance));
        count
    }
}

impl Survey {
    /// The whole fleet.
    pub fn count(&self) -> Count {
        self.envoys.iter().map(|e| e.status.compliance).collect()
    }
}

/// What an envoy's place was computed from, and the place.
type Known = (u64, ir::Hash, Arc<Place>);

/// The latest survey.
#[derive(Debug, Default)]
pub struct Surveyor {
    latest: tokio::sync::Mutex<Option<(Instant, Duration, Arc<Survey>)>>,
    places: Mutex<HashMap<Arc<str>, Known>>,
}

/// A survey that took longer than this is kept.
const QUICK: Duration = Duration::from_millis(20);
/// And for this many times as long.
const KEPT: u32 = 10;

impl Surveyor {
    /// The fleet as it is now, or was a moment ago.
    pub async fn survey(&self, context: &Arc<Context>) -> Result<Arc<Survey>, Problem> {
        // Whoever comes while one is taken gets the same one.
        let mut latest = self.latest.lock().await;
        if let Some((taken, took, survey)) = latest.as_ref()
            && *took > QUICK
            && taken.elapsed() < *took * KEPT
        {
            return Ok(survey.clone());
        }
        let started = Instant::now();
        let survey = Arc::new(self.take(context).await?);
        *latest = Some((Instant::now(), started.elapsed(), survey.clone()));
        Ok(survey)
    }

    /// Forgets the latest survey: something was changed on purpose, and whoever did it looks now.
    pub async fn forget(&self) {
        self.latest.lock().await.take();
    }

    async fn take(&self, context: &Arc<Context>) -> Result<Survey, Problem> {
        let (mut rows, mut runs) = context
            .store
            .read(|conn| Ok((envoys::brief(conn)?, runs::latest_whole_of_all(conn, RUNS)?)))
            .await?;
        // What came in since the last batch was written.
        for row in &mut rows {
            let Some(envoy) = context.fleet.get(&row.id) else { continue };
            let state = envoy.state.lock().await;
            if state.last_seen > row.last_seen.unwrap_or(0) {
                row.last_seen = Some(state.last_seen);
                row.interval_ms = state.interval_ms;
            }
        }
        let at = context.clock.now();
        let mut places = self.places(context, rows.iter().map(|e| e.id.clone()).collect()).await?;
        let envoys = rows
            .into_iter()
            .map(|envoy| {
                let runs = runs.remove(&envoy.id).unwrap_or_default();
                let status = Status::at(envoy.last_seen, envoy.interval_ms, &runs, at);
                let place = places.remove(&envoy.id);
                Surveyed { envoy, runs, status, place }
            })
            .collect();
        Ok(Survey { at, envoys })
    }

    /// The places of some envoys, computed anew where release or traits changed.
    async fn places(
        &self,
        context: &Arc<Context>,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Arc<Place>>, Problem> {
        let mut known = std::mem::take(&mut *crate::store::lock(&self.places));
        let context = context.clone();
        let (places, known) = tokio::task::spawn_blocking(move || {
            let mut kept = HashMap::new();
            let mut places = HashMap::new();
            for id in ids {
                let Some(envoy) = context.fleet.get(&id) else { continue };
                if let Some(found) = place(&context, &envoy, known.remove(&envoy.id)) {
                    places.insert(id, found.2.clone());
                    kept.insert(envoy.id.clone(), found);
                }
            }
            (places, kept)
        })
        .await
        .map_err(|e| {
            tracing::error!(error = %e, "looking for the places of envoys crashed");
            Problem::internal()
        })?;
        *crate::store::lock(&self.places) = known;
        Ok(places)
    }
}

/// Where the policy puts one envoy. Blocks.
pub fn place_of(context: &Context, id: &str) -> Option<Arc<Place>> {
    let envoy = context.fleet.get(id)?;
    place(context, &envoy, None).map(|known| known.2)
}

fn place(context: &Context, envoy: &Envoy, known: Option<Known>) -> Option<Known> {
    let generation = context.catalog.release()?.generation;
    let digest = envoy.state.blocking_lock().traits_digest;
    if let Some(known) = known.filter(|k| k.0 == generation && k.1 == digest) {
        return Some(known);
    }
    let kind = envoy.kind();
    let plan = match context.catalog.known(&envoy.hostname, &kind) {
        Some(plan) => plan.ok()?,
        None => {
            let (placed, plan) = context.catalog.plan(&envoy.hostname, &kind.facts?).ok()?;
            envoy.set_class(placed);
            plan.ok()?
        }
    };
    Some((generation, digest, Arc::new(Place::of(&plan.variant))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_100_a_fleet_of_nobody_has_no_ratio() {
        assert_eq!(Survey::default().count().ratio, None);
        let count: Count =
            [Compliance::Compliant, Compliance::Unknown, Compliance::Unknown, Compliance::NonCompliant]
                .into_iter()
                .collect();
        assert_eq!((count.active, count.compliant, count.unknown, count.ratio), (4, 1, 2, Some(0.25)));
    }
}
