//! Tasks: work for envoys, and what came of it.

use crate::dispatch::target::{Candidate, Chosen, Selector, TargetError, Targets};
use crate::dispatch::task::{self, Job, TaskError};
use crate::http::call::{Call, json};
use crate::http::page::{Latest, Page};
use crate::http::problem::Problem;
use crate::status::Reachability;
use crate::store::envoys;
use crate::store::tasks::{self, Counted, State, TargetRow, TaskRow};
use axum::http::StatusCode;
use axum::response::Response;
use prost::Message;
use protocol::pb::TaskWork;
use protocol::pb::task_work::Work;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Pieces of output in one answer.
const PIECES: u32 = 32;

/// A task to be made.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Create {
    /// What to do.
    pub job: Job,
    /// Where.
    pub targets: Targets,
}

/// A task that was made.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The task.
    #[serde(flatten)]
    pub task: Detail,
    /// Names that no envoy has.
    pub unknown: Vec<String>,
    /// Envoys left out because too little is known of them to say whether the condition holds.
    pub undecided: Vec<String>,
}

/// A task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// UUIDv7.
    pub id: String,
    /// The name of the program, `shell` or `query`.
    pub summary: String,
    /// Who made it.
    pub author: String,
    /// Milliseconds since 1970-01-01 UTC, as are the others.
    pub created_at: u64,
    /// No agent begins it later.
    pub not_after: u64,
    /// Nobody waits for a result any longer.
    pub deadline: u64,
    /// The workflow it is a part of.
    pub workflow: Option<String>,
    /// How many envoys are in which state: `queued`, `sent`, `running`, `ok`, `failed`, `timed-out`, `refused`,
    /// `expired`, `interrupted`, `unknown`, `offline`, `cancelled`.
    pub states: BTreeMap<String, u64>,
    /// Whether every envoy is done with.
    pub done: bool,
    /// When somebody took it back; envoys that had it may still have to stop it.
    pub cancelled_at: Option<u64>,
}

impl Task {
    /// As it is stored.
    pub fn of((row, states): Counted) -> Self {
        Task {
            done: !states.iter().any(|(state, _)| state.is_open()),
            states: states.into_iter().map(|(state, n)| (state.word().to_owned(), n)).collect(),
            id: row.id,
            summary: row.summary,
            author: row.author,
            created_at: row.created_at,
            not_after: row.not_after,
            deadline: row.deadline,
            workflow: row.part_of.map(|p| p.0),
            cancelled_at: row.cancelled_at,
        }
    }
}

/// A task on one envoy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// The envoy.
    pub envoy: String,
    /// Its name.
    pub hostname: String,
    /// How it could be reached when the task was made: `online`, `promotable` (the task waits for its next check-in) or
    /// `offline` (nothing was sent).
    pub reach: String,
    /// See `states` of the task.
    pub state: String,
    /// Whether a result may still come.
    pub open: bool,
    /// Since when it is in this state.
    pub changed_at: u64,
    /// Of a command that ended; 128 + signal where a signal ended it.
    pub exit_code: Option<i64>,
    /// Why there is no exit code.
    pub error: String,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// Bytes that the command wrote.
    pub output_bytes: u64,
    /// How many of them were beyond the limit and not kept.
    pub output_dropped: u64,
}

impl From<TargetRow> for Target {
    fn from(row: TargetRow) -> Self {
        Target {
            envoy: row.envoy_id,
            hostname: row.hostname,
            reach: row.reach.word().to_owned(),
            state: row.state.word().to_owned(),
            open: row.state.is_open(),
            changed_at: row.changed_at,
            exit_code: row.exit_code,
            error: row.error,
            duration_ms: row.duration_ms,
            output_bytes: row.output_bytes,
            output_dropped: row.output_dropped,
        }
    }
}

/// A task with its envoys.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// What was asked for. Arguments may hold what is not for everybody: null for viewers.
    pub job: Option<Job>,
    /// By name.
    pub targets: Vec<Target>,
}

/// Which output.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputFilter {
    /// The first piece; 0 by default.
    pub from: Option<u32>,
}

/// A part of the output of a task on an envoy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// In their order.
    pub pieces: Vec<Piece>,
    /// The `from` of the next part; what is not there yet may come.
    pub next: u32,
}

/// A piece of output.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Piece {
    /// Its number.
    pub piece: u32,
    /// `stdout`, `stderr` or `answer` (JSON).
    pub source: String,
    /// What was written; bytes that are no UTF-8 are replaced.
    pub text: String,
}

impl From<TaskError> for Problem {
    fn from(e: TaskError) -> Self {
        let detail = e.to_string();
        match e {
            TaskError::Store(e) => e.into(),
            TaskError::Traits(mistakes) => Problem::invalid(detail).with_findings(*mistakes),
            _ => Problem::invalid(detail),
        }
    }
}

impl From<TargetError> for Problem {
    fn from(e: TargetError) -> Self {
        let detail = e.to_string();
        match e {
            TargetError::Condition(mistakes) => Problem::invalid(detail).with_findings(mistakes),
            _ => Problem::invalid(detail),
        }
    }
}

/// Who the targets are now.
pub(in crate::http) async fn choose(call: &Call, targets: &Targets) -> Result<Chosen, Problem> {
    let selector = Selector::new(targets.clone())?;
    let survey = call.site.survey().await?;
    let context = call.site.context.clone();
    let mut traits = HashMap::new();
    if selector.wants_traits() {
        // In this order: what is stored meanwhile is in one of them at least.
        let unsaved = context.fleet.unsaved();
        traits = context.store.read(envoys::traits).await?;
        traits.extend(unsaved);
    }
    let chosen = tokio::task::spawn_blocking(move || {
        let candidates: Vec<Candidate> = survey
            .envoys
            .iter()
            .map(|surveyed| {
                let place = surveyed.place.as_deref();
                Candidate {
                    id: surveyed.envoy.id.clone(),
                    hostname: surveyed.envoy.hostname.clone(),
                    environment: place.and_then(|p| p.environment.clone()),
                    roles: place.map(|p| p.roles.clone()).unwrap_or_default(),
                    modules: place.map(|p| p.modules.clone()).unwrap_or_default(),
                    seen: surveyed.status.reachability != Reachability::Offline,
                    traits: traits.remove(&surveyed.envoy.id),
                }
            })
            .collect();
        selector.choose(&context, &candidates)
    })
    .await
    .map_err(|e| {
        tracing::error!(error = %e, "choosing envoys crashed");
        Problem::internal()
    })?;
    if chosen.targets.is_empty() {
        let mut why = "no envoy is what was asked for".to_owned();
        if !chosen.unknown.is_empty() {
            why = format!("no envoy is called {}", chosen.unknown.join(", "));
        } else if !chosen.undecided.is_empty() {
            why = format!("of {} too little is known to say", chosen.undecided.join(", "));
        }
        return Err(Problem::not_found(why));
    }
    Ok(chosen)
}

pub(in crate::http) async fn create(call: Call) -> Result<Response, Problem> {
    let (asked, wanted): (Create, _) = (call.json()?, call.wanted_id()?);
    let job = asked.job.check()?;
    if let Some(id) = &wanted
        && let Some(row) = made_before(&call, id, |row| row.work == job.encoded()).await?
    {
        let task = detail(&call, row).await?;
        return json(StatusCode::OK, &Created { task, unknown: Vec::new(), undecided: Vec::new() });
    }
    let chosen = choose(&call, &asked.targets).await?;
    let row =
        task::create(&call.site.context, &job, chosen.targets, call.caller.actor(), wanted, None).await?;
    let task = detail(&call, row).await?;
    json(StatusCode::CREATED, &Created { task, unknown: chosen.unknown, undecided: chosen.undecided })
}

/// A task of this id that the same caller made of the same work; an error when it is another one.
async fn made_before(
    call: &Call,
    id: &str,
    same: impl Fn(&TaskRow) -> bool,
) -> Result<Option<TaskRow>, Problem> {
    let wanted = id.to_owned();
    match call.site.context.store.read(move |conn| tasks::find(conn, &wanted)).await? {
        Some(row) if row.author == call.caller.actor() && same(&row) => Ok(Some(row)),
        Some(_) => Err(Problem::conflict(format!("there is another task `{id}`"))),
        None => Ok(None),
    }
}

/// A part of the list.
pub(in crate::http) async fn latest(call: &Call, which: Latest) -> Result<Page<Task>, Problem> {
    which.page(call, tasks::list, Task::of, |task| task.id.clone()).await
}

pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    json(StatusCode::OK, &latest(&call, call.query()?).await?)
}

pub(in crate::http) async fn show(call: Call) -> Result<Response, Problem> {
    json(StatusCode::OK, &named(&call).await?)
}

/// The task that a path names.
pub(in crate::http) async fn named(call: &Call) -> Result<Detail, Problem> {
    let row = find(call).await?;
    detail(call, row).await
}

/// A task that was taken back.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// The task.
    #[serde(flatten)]
    pub task: Detail,
    /// Envoys that were sent nothing yet, and will not be.
    pub not_begun: u64,
    /// Envoys that have it: they kill what runs and say what became of it.
    pub to_be_stopped: u64,
}

pub(in crate::http) async fn cancel(call: Call) -> Result<Response, Problem> {
    let row = find(&call).await?;
    let (not_begun, to_be_stopped) = task::cancel(&call.site.context, &row.id, call.caller.actor()).await?;
    if (not_begun, to_be_stopped) == (0, 0) {
        return Err(Problem::conflict(format!("task `{}` is over", row.id)));
    }
    let task = named(&call).await?;
    json(StatusCode::ACCEPTED, &Cancelled { task, not_begun, to_be_stopped })
}

async fn find(call: &Call) -> Result<TaskRow, Problem> {
    let id = call.param("task").to_owned();
    let row = call.site.context.store.read(move |conn| tasks::find(conn, &id)).await?;
    row.ok_or_else(|| Problem::not_found(format!("there is no task `{}`", call.param("task"))))
}

async fn detail(call: &Call, row: TaskRow) -> Result<Detail, Problem> {
    let id = row.id.clone();
    let targets = call.site.context.store.read(move |conn| tasks::targets(conn, &id)).await?;
    let mut states: BTreeMap<State, u64> = BTreeMap::new();
    for target in &targets {
        *states.entry(target.state).or_default() += 1;
    }
    let job = call.is_operator().then(|| job_of(&row)).flatten();
    Ok(Detail {
        task: Task::of((row, states.into_iter().collect())),
        job,
        targets: targets.into_iter().map(Target::from).collect(),
    })
}

fn job_of(row: &TaskRow) -> Option<Job> {
    match TaskWork::decode(row.work.as_slice()).ok()?.work? {
        Work::Command(command) => Some(Job {
            command: command.argv,
            shell: Some(command.shell).filter(|line| !line.is_empty()),
            user: Some(command.user).filter(|user| !user.is_empty()),
            timeout: Some(format!("{}ms", command.timeout_ms)),
            max_output: Some(command.max_output),
            idempotent: command.idempotent,
            ..Job::default()
        }),
        Work::Query(query) => Some(Job { query: Some(query.traits), ..Job::default() }),
    }
}

pub(in crate::http) async fn output(call: Call) -> Result<Response, Problem> {
    let from = call.query::<OutputFilter>()?.from.unwrap_or(0);
    let row = find(&call).await?;
    let pieces = pieces(&call, row.id, call.param("envoy").to_owned(), from, PIECES).await?;
    let next = pieces.last().map_or(from, |piece| piece.piece.saturating_add(1));
    json(StatusCode::OK, &Output { pieces, next })
}

/// What a task wrote on an envoy, from a piece on.
pub(in crate::http) async fn pieces(
    call: &Call,
    task: String,
    envoy: String,
    from: u32,
    limit: u32,
) -> Result<Vec<Piece>, Problem> {
    let store = &call.site.context.store;
    let pieces = store.read(move |conn| tasks::output(conn, &task, &envoy, from, limit)).await?;
    let shown = |piece: tasks::PieceRow| Piece {
        piece: piece.piece,
        source: match piece.source {
            1 => "stdout",
            3 => "answer",
            _ => "stderr",
        }
        .to_owned(),
        text: String::from_utf8_lossy(&piece.data).into_owned(),
    };
    Ok(pieces.into_iter().map(shown).collect())
}
