//! Workflows: tasks in order, a batch of envoys after the other, until too much goes wrong.
//!
//! How far one has come can be read off its tasks, so the server that carries it on may die: another one, or the same
//! after its start, takes over when the claim has run out. Whoever believes to have a claim that ran out makes no task twice:
//! the store takes one for each step and batch.

mod verdict;

use super::target::Targets;
use super::task::{self, Checked, Job, TaskError};
use crate::context::Context;
use crate::store::audit::{self, Event};
use crate::store::tasks::{self, NewTarget, Reach, State};
use crate::store::workflows::{self, WorkflowRow};
use crate::store::{Connection, StoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at a task.
const LOOK: Duration = Duration::from_millis(500);
/// A claim that is not renewed for this long has run out.
const CLAIM_MS: u64 = 15_000;
/// The state of one that somebody took back.
const CANCELLED: &str = "cancelled";
/// Steps of a workflow.
const MAX_STEPS: usize = 100;

/// What an envoy has to be after its batch, by what it said since then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// A whole run after the batch had no failures. The envoy is asked for one.
    Converged,
    /// It has a stream, or was seen after the batch.
    #[default]
    Reachable,
    /// Nobody looks.
    Ignored,
}

/// Tasks in order, in batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workflow {
    /// For people.
    pub name: String,
    /// Where.
    pub targets: Targets,
    /// Envoys at a time: a number such as `5`, or a share such as `25%`; all at once otherwise.
    pub batch: Option<String>,
    /// How many envoys may go wrong before it stops.
    pub max_failures: u32,
    /// What an envoy has to be after its batch; one that is not counts as gone wrong.
    pub health: Health,
    /// One after the other on each batch.
    pub steps: Vec<Job>,
}

/// Why there is no workflow.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// No steps, or too many.
    #[error("a workflow has from 1 to {MAX_STEPS} steps")]
    Steps,
    /// No size.
    #[error("`batch` is a number of envoys such as `5`, or a share such as `25%`, not `{0}`")]
    Batch(String),
    /// A step.
    #[error("step {0}: {1}")]
    Step(usize, TaskError),
    /// Nobody is there.
    #[error("every envoy of it is offline")]
    Offline,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A workflow with the envoys it was resolved to; what is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// As it was asked for.
    pub workflow: Workflow,
    /// Ids and names.
    pub batches: Vec<Vec<(String, String)>>,
    /// Names of those that are offline and left out.
    pub offline: Vec<String>,
    /// Names of those left out because too little is known of them to say whether they are meant.
    #[serde(default)]
    pub undecided: Vec<String>,
}

impl Plan {
    /// Checks a workflow and cuts its envoys into batches.
    pub fn new(
        workflow: Workflow,
        targets: Vec<NewTarget>,
        undecided: Vec<String>,
    ) -> Result<Self, WorkflowError> {
        if workflow.steps.is_empty() || workflow.steps.len() > MAX_STEPS {
            return Err(WorkflowError::Steps);
        }
        for (at, step) in (1..).zip(&workflow.steps) {
            step.check().map_err(|e| WorkflowError::Step(at, e))?;
        }
        let (offline, there): (Vec<NewTarget>, Vec<NewTarget>) =
            targets.into_iter().partition(|t| t.reach == Reach::Offline);
        if there.is_empty() {
            return Err(WorkflowError::Offline);
        }
        let size = size(workflow.batch.as_deref(), there.len())
            .ok_or_else(|| WorkflowError::Batch(workflow.batch.clone().unwrap_or_default()))?;
        let there: Vec<(String, String)> = there.into_iter().map(|t| (t.envoy_id, t.hostname)).collect();
        Ok(Plan {
            batches: there.chunks(size).map(<[_]>::to_vec).collect(),
            offline: offline.into_iter().map(|t| t.hostname).collect(),
            undecided,
            workflow,
        })
    }
}

/// How many envoys of so many are a batch; at least one.
fn size(batch: Option<&str>, all: usize) -> Option<usize> {
    let Some(text) = batch.map(str::trim) else { return Some(all.max(1)) };
    match text.strip_suffix('%') {
        Some(share) => {
            let share: usize = share.trim().parse().ok().filter(|share| (1..=100).contains(share))?;
            // Rounded down: a batch is never larger than was asked for.
            Some((all * share / 100).max(1))
        }
        None => text.parse().ok().filter(|n| *n > 0),
    }
}

/// Stores a workflow and carries it on.
pub async fn create(
    context: &Arc<Context>,
    plan: Plan,
    author: String,
    id: Option<String>,
) -> Result<WorkflowRow, WorkflowError> {
    let now = context.clock.now();
    let row = WorkflowRow {
        id: id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        name: plan.workflow.name.chars().take(200).collect(),
        spec: serde_json::to_string(&plan).unwrap_or_default(),
        author,
        created_at: now,
        state: "running".to_owned(),
        error: String::new(),
        ended_at: None,
    };
    let (made, driver) = (row.clone(), claimant());
    let claimed = driver.clone();
    context
        .store
        .call(move |conn| {
            conn.transaction(|conn| {
                workflows::create(conn, &row, &claimed, now + CLAIM_MS)?;
                let envoys: usize = plan.batches.iter().map(Vec::len).sum();
                let details = format!("{}: {envoys} envoys in {} batches", row.name, plan.batches.len());
                audit::append(conn, &Event::new(now, &row.author, "workflow.create", &row.id, &details))
            })
        })
        .await?;
    tokio::spawn(drive(context.clone(), made.id.clone(), driver));
    Ok(made)
}

/// Who carries a workflow on: somebody else each time, so that a claim that ran out is not taken for one's own.
fn claimant() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Takes a workflow back, with the tasks of it that are under way. False when it was over before.
pub async fn cancel(context: &Context, id: &str, actor: String) -> Result<bool, StoreError> {
    let (workflow, now) = (id.to_owned(), context.clock.now());
    let why = format!("cancelled by {actor}");
    let cancelled = context
        .store
        .call(move |conn| {
            conn.transaction(|conn| {
                if !workflows::end(conn, &workflow, CANCELLED, &why, now)? {
                    return Ok(false);
                }
                withdraw(conn, &workflow, now)?;
                audit::append(conn, &Event::new(now, &actor, "workflow.cancel", &workflow, ""))?;
                Ok(true)
            })
        })
        .await?;
    tracing::info!(workflow = id, "workflow cancelled");
    Ok(cancelled)
}

fn withdraw(conn: &mut Connection, workflow: &str, now: u64) -> Result<(), StoreError> {
    for task in workflows::open_tasks(conn, workflow)? {
        task::withdraw(conn, &task, now)?;
    }
    Ok(())
}

/// Takes over what nobody carries on.
pub(super) async fn adopt(context: &Arc<Context>) {
    let now = context.clock.now();
    match context.store.read(move |conn| workflows::orphans(conn, now)).await {
        Ok(orphans) => {
            for id in orphans {
                tokio::spawn(drive(context.clone(), id, claimant()));
            }
        }
        Err(e) => tracing::error!(error = %e, "cannot look for workflows to carry on"),
    }
}

/// Why a workflow is not carried on here.
enum Stop {
    /// Too much went wrong.
    Failed(String),
    /// Another server does it, or it is over.
    Lost,
    /// It stays claimed, and is taken up again when the claim has run out.
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(e: StoreError) -> Self {
        Stop::Store(e)
    }
}

async fn drive(context: Arc<Context>, id: String, claimant: String) {
    let mut driver = Driver { context, id, claimant, failed: BTreeSet::new() };
    let (state, error) = match driver.run().await {
        Ok(()) => ("done", String::new()),
        Err(Stop::Failed(why)) => ("stopped", why),
        Err(Stop::Lost) => return driver.lost().await,
        Err(Stop::Store(e)) => {
            tracing::error!(workflow = driver.id, error = %e, "cannot carry on a workflow; will try again");
            return;
        }
    };
    tracing::info!(workflow = driver.id, state, error, "workflow ended");
    let (id, now) = (driver.id.clone(), driver.context.clock.now());
    let ended = driver.context.store.call(move |conn| workflows::end(conn, &id, state, &error, now)).await;
    if let Err(e) = ended {
        tracing::error!(workflow = driver.id, error = %e, "cannot store how a workflow ended; will try again");
    }
}

struct Driver {
    context: Arc<Context>,
    id: String,
    /// In whose name it is claimed.
    claimant: String,
    /// Names of envoys that went wrong.
    failed: BTreeSet<String>,
}

impl Driver {
    /// One that was cancelled may have got a task more meanwhile.
    async fn lost(&self) {
        let (id, now) = (self.id.clone(), self.context.clock.now());
        let done = self.context.store.call(move |conn| {
            match workflows::find(conn, &id)?.is_some_and(|row| row.state == CANCELLED) {
                true => withdraw(conn, &id, now),
                false => Ok(()),
            }
        });
        if let Err(e) = done.await {
            tracing::error!(workflow = self.id, error = %e, "cannot take back what a cancelled workflow began");
        }
    }

    async fn claim(&self) -> Result<(), Stop> {
        let (id, driver, now) = (self.id.clone(), self.claimant.clone(), self.context.clock.now());
        let claimed =
            self.context.store.call(move |conn| workflows::claim(conn, &id, &driver, now, now + CLAIM_MS));
        if claimed.await? { Ok(()) } else { Err(Stop::Lost) }
    }

    async fn run(&mut self) -> Result<(), Stop> {
        self.claim().await?;
        let id = self.id.clone();
        let row = self.context.store.read(move |conn| workflows::find(conn, &id)).await?.ok_or(Stop::Lost)?;
        let plan: Plan = serde_json::from_str(&row.spec)
            .map_err(|e| Stop::Failed(format!("it does not read back: {e}")))?;
        let limit = plan.workflow.max_failures as usize;
        let last = plan.batches.len().saturating_sub(1);
        for (number, batch) in plan.batches.iter().enumerate() {
            let (mut left, mut ended) = (batch.clone(), row.created_at);
            for (step, job) in plan.workflow.steps.iter().enumerate() {
                if left.is_empty() {
                    break;
                }
                let job = job.check().map_err(|e| Stop::Failed(format!("step {}: {e}", step + 1)))?;
                let (bad, at) = self.step(&row, &job, step, number, &left).await?;
                ended = ended.max(at);
                left.retain(|(_, hostname)| !bad.contains(hostname));
                self.failed.extend(bad);
                self.within(limit, &format!("batch {}, step {}", number + 1, step + 1))?;
            }
            // After the last batch there is nothing left to protect.
            if number < last {
                let bad = self.verdict(plan.workflow.health, number, ended, &left).await?;
                self.failed.extend(bad);
                self.within(limit, &format!("after batch {}", number + 1))?;
            }
        }
        Ok(())
    }

    fn within(&self, limit: usize, place: &str) -> Result<(), Stop> {
        if self.failed.len() <= limit {
            return Ok(());
        }
        let names: Vec<&str> = self.failed.iter().map(String::as_str).take(10).collect();
        let more = self.failed.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(Stop::Failed(format!("{place}: {}{more} went wrong, at most {limit} may", names.join(", "))))
    }

    /// One task on one batch; the names of those on which it did not end well, and when it was over.
    async fn step(
        &self,
        row: &WorkflowRow,
        job: &Checked,
        step: usize,
        batch: usize,
        envoys: &[(String, String)],
    ) -> Result<(Vec<String>, u64), Stop> {
        self.claim().await?;
        let place = (row.id.clone(), number(step), number(batch));
        let (id, wanted) = (row.id.clone(), place.clone());
        let made = self.context.store.read(move |conn| tasks::of_workflow(conn, &id)).await?;
        let made = made.into_iter().map(|(task, _)| task).find(|t| t.part_of.as_ref() == Some(&wanted));
        let task = match made {
            Some(task) => task,
            None => {
                let reach = |id: &str| match self.context.dispatch.is_open(id) {
                    true => Reach::Online,
                    false => Reach::Promotable,
                };
                let targets = envoys.iter().map(|(envoy_id, hostname)| NewTarget {
                    envoy_id: envoy_id.clone(),
                    hostname: hostname.clone(),
                    reach: reach(envoy_id),
                });
                task::create(&self.context, job, targets.collect(), row.author.clone(), None, Some(place))
                    .await?
            }
        };
        loop {
            let id = task.id.clone();
            let targets = self.context.store.read(move |conn| tasks::targets(conn, &id)).await?;
            if !targets.iter().any(|t| t.state.is_open()) {
                let at = targets.iter().map(|t| t.changed_at).max().unwrap_or(task.created_at);
                let bad = targets.into_iter().filter(|t| t.state != State::Ok).map(|t| t.hostname);
                return Ok((bad.collect(), at));
            }
            tokio::time::sleep(LOOK).await;
            self.claim().await?;
        }
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, reach: Reach) -> NewTarget {
        NewTarget { envoy_id: format!("id of {name}"), hostname: name.to_owned(), reach }
    }

    #[test]
    fn batches_are_cut_as_asked_for() {
        for (batch, all, expected) in [
            (None, 7, Some(7)),
            (Some("3"), 7, Some(3)),
            (Some("25%"), 8, Some(2)),
            (Some("25 %"), 7, Some(1)),
            (Some("1%"), 7, Some(1)),
            (Some("100%"), 7, Some(7)),
            (Some("0"), 7, None),
            (Some("0%"), 7, None),
            (Some("101%"), 7, None),
            (Some("some"), 7, None),
        ] {
            assert_eq!(size(batch, all), expected, "{batch:?} of {all}");
        }
    }

    #[test]
    fn a_plan_leaves_out_who_is_offline() {
        let step = Job { command: vec!["true".into()], ..Job::default() };
        let workflow = Workflow { steps: vec![step], batch: Some("2".into()), ..Workflow::default() };
        let targets = vec![
            target("a", Reach::Online),
            target("b", Reach::Offline),
            target("c", Reach::Promotable),
            target("d", Reach::Online),
        ];
        let plan = Plan::new(workflow.clone(), targets, vec![]).unwrap();
        let names: Vec<Vec<&str>> =
            plan.batches.iter().map(|b| b.iter().map(|(_, name)| name.as_str()).collect()).collect();
        assert_eq!((names, plan.offline), (vec![vec!["a", "c"], vec!["d"]], vec!["b".to_owned()]));
        let offline = Plan::new(workflow.clone(), vec![target("b", Reach::Offline)], vec![]);
        assert!(matches!(offline, Err(WorkflowError::Offline)));
        let empty = Workflow { steps: vec![], ..workflow.clone() };
        assert!(matches!(
            Plan::new(empty, vec![target("a", Reach::Online)], vec![]),
            Err(WorkflowError::Steps)
        ));
        let bad = Workflow { steps: vec![Job::default()], ..workflow };
        assert!(matches!(
            Plan::new(bad, vec![target("a", Reach::Online)], vec![]),
            Err(WorkflowError::Step(1, _))
        ));
    }
}
