//! Workflows: tasks in order, in batches.

use super::tasks::{Task, choose};
use crate::dispatch::task::TaskError;
use crate::dispatch::workflow::{self, Plan, Workflow, WorkflowError};
use crate::http::call::{Call, json};
use crate::http::page::{Latest, Page};
use crate::http::problem::Problem;
use crate::store::tasks;
use crate::store::workflows::{self, WorkflowRow};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A workflow.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Brief {
    /// UUIDv7.
    pub id: String,
    /// For people.
    pub name: String,
    /// Who made it.
    pub author: String,
    /// Milliseconds since 1970-01-01 UTC, as is the other.
    pub created_at: u64,
    /// `running`, `done`, `stopped` or `cancelled`.
    pub state: String,
    /// Why it was stopped, or who cancelled it.
    pub error: String,
    /// When it was over.
    pub ended_at: Option<u64>,
}

impl From<&WorkflowRow> for Brief {
    fn from(row: &WorkflowRow) -> Self {
        Brief {
            id: row.id.clone(),
            name: row.name.clone(),
            author: row.author.clone(),
            created_at: row.created_at,
            state: row.state.clone(),
            error: row.error.clone(),
            ended_at: row.ended_at,
        }
    }
}

/// A workflow with its tasks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// The workflow.
    #[serde(flatten)]
    pub workflow: Brief,
    /// What was asked for. Arguments may hold what is not for everybody: null for viewers.
    pub asked: Option<Workflow>,
    /// The names in each batch.
    pub batches: Vec<Vec<String>>,
    /// Names of envoys that were offline and left out.
    pub offline: Vec<String>,
    /// Names of envoys left out because too little is known of them to say whether the condition holds.
    pub undecided: Vec<String>,
    /// Its tasks so far, in their order.
    pub tasks: Vec<Step>,
}

/// A task of a workflow.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// From 1.
    pub batch: u32,
    /// From 1.
    pub step: u32,
    /// The task.
    #[serde(flatten)]
    pub task: Task,
}

impl From<WorkflowError> for Problem {
    fn from(e: WorkflowError) -> Self {
        let detail = e.to_string();
        match e {
            WorkflowError::Store(e) => e.into(),
            WorkflowError::Offline => Problem::conflict(detail),
            WorkflowError::Step(_, TaskError::Traits(mistakes)) => {
                Problem::invalid(detail).with_findings(*mistakes)
            }
            _ => Problem::invalid(detail),
        }
    }
}

pub(in crate::http) async fn create(call: Call) -> Result<Response, Problem> {
    let (asked, wanted): (Workflow, _) = (call.json()?, call.wanted_id()?);
    if let Some(id) = wanted.clone() {
        let found = call.site.context.store.read(move |conn| workflows::find(conn, &id)).await?;
        if let Some(row) = found {
            let same = row.author == call.caller.actor()
                && serde_json::from_str::<Plan>(&row.spec).is_ok_and(|plan| plan.workflow == asked);
            return match same {
                true => json(StatusCode::OK, &detail(&call, row).await?),
                false => Err(Problem::conflict(format!("there is another workflow `{}`", row.id))),
            };
        }
    }
    let chosen = choose(&call, &asked.targets).await?;
    if !chosen.unknown.is_empty() {
        return Err(Problem::not_found(format!("no envoy is called {}", chosen.unknown.join(", "))));
    }
    let plan = Plan::new(asked, chosen.targets, chosen.undecided)?;
    let row = workflow::create(&call.site.context, plan, call.caller.actor(), wanted).await?;
    json(StatusCode::CREATED, &detail(&call, row).await?)
}

/// A part of the list.
pub(in crate::http) async fn latest(call: &Call, which: Latest) -> Result<Page<Brief>, Problem> {
    which.page(call, workflows::list, |row| Brief::from(&row), |workflow| workflow.id.clone()).await
}

pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    json(StatusCode::OK, &latest(&call, call.query()?).await?)
}

pub(in crate::http) async fn show(call: Call) -> Result<Response, Problem> {
    json(StatusCode::OK, &named(&call).await?)
}

/// The workflow that a path names.
pub(in crate::http) async fn named(call: &Call) -> Result<Detail, Problem> {
    let id = call.param("workflow").to_owned();
    let row = call.site.context.store.read(move |conn| workflows::find(conn, &id)).await?;
    let row =
        row.ok_or_else(|| Problem::not_found(format!("there is no workflow `{}`", call.param("workflow"))))?;
    detail(call, row).await
}

pub(in crate::http) async fn cancel(call: Call) -> Result<Response, Problem> {
    let id = named(&call).await?.workflow.id;
    if !workflow::cancel(&call.site.context, &id, call.caller.actor()).await? {
        return Err(Problem::conflict(format!("workflow `{id}` is over")));
    }
    json(StatusCode::ACCEPTED, &named(&call).await?)
}

async fn detail(call: &Call, row: WorkflowRow) -> Result<Detail, Problem> {
    let plan: Plan = serde_json::from_str(&row.spec).map_err(|e| {
        tracing::error!(workflow = row.id, error = %e, "a workflow does not read back");
        Problem::internal()
    })?;
    let id = row.id.clone();
    let made = call.site.context.store.read(move |conn| tasks::of_workflow(conn, &id)).await?;
    let tasks = made
        .into_iter()
        .map(|counted| {
            let (step, batch) = counted.0.part_of.as_ref().map_or((0, 0), |p| (p.1, p.2));
            Step { batch: batch + 1, step: step + 1, task: Task::of(counted) }
        })
        .collect();
    let names = |batch: &Vec<(String, String)>| batch.iter().map(|(_, name)| name.clone()).collect();
    Ok(Detail {
        workflow: Brief::from(&row),
        batches: plan.batches.iter().map(names).collect(),
        offline: plan.offline,
        undecided: plan.undecided,
        asked: call.is_operator().then_some(plan.workflow),
        tasks,
    })
}
