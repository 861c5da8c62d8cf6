//! Making tasks.

use super::mistakes::Mistakes;
use super::query;
use crate::context::Context;
use crate::store::audit::{self, Event};
use crate::store::tasks::{self, NewTarget, TaskRow};
use crate::store::{Connection, StoreError};
use prost::Message;
use protocol::pb::task_work::Work;
use protocol::pb::{TaskCommand, TaskQuery, TaskWork};
use protocol::task::WorkError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a command may take when nobody says.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Output that is kept when nobody says.
const OUTPUT: u32 = 1 << 20;
/// How long a task waits for an envoy when nobody says, and at most.
pub const WAIT: Duration = Duration::from_secs(900);
const MAX_WAIT: Duration = Duration::from_secs(7 * 86_400);
/// After its time limit, how long a result may take to arrive.
const GRACE: Duration = Duration::from_secs(120);

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Job {
    /// A program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// A line for `sh -c`, in the place of `command`.
    pub shell: Option<String>,
    /// Traits to ask for, in the place of a command; `[]` for all of them.
    pub query: Option<Vec<String>>,
    /// As whom; the agent's own user (root) otherwise.
    pub user: Option<String>,
    /// What the command may take, such as `90s`; 5m otherwise.
    pub timeout: Option<String>,
    /// Bytes of output that are kept; 1 MiB otherwise.
    pub max_output: Option<u32>,
    /// It may run a second time when the agent died while it ran.
    pub idempotent: bool,
    /// How long it waits for envoys that are not there; 15m otherwise.
    pub wait: Option<String>,
}

/// Why a task is not made.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// What to do cannot be done.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// A query for what no host has.
    #[error("no host has what the query asks for: {}; `vigoc doc` lists all traits", .0.messages.join("; "))]
    Traits(Box<Mistakes>),
    /// A command and a query.
    #[error("a task is a command, a shell line or a query; give one of them")]
    Several,
    /// A setting that is for commands.
    #[error("a query takes neither `user` nor `timeout`")]
    Query,
    /// A duration.
    #[error("`{0}` is a duration such as `90s` or `10m`{1}, not `{2}`")]
    Duration(&'static str, &'static str, String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A job that can be done.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What agents are sent.
    pub work: TaskWork,
    /// How long it waits for envoys.
    pub wait: Duration,
    /// How long it may take from then on.
    pub limit: Duration,
}

impl Checked {
    /// The work as it is stored.
    pub fn encoded(&self) -> Vec<u8> {
        self.work.encode_to_vec()
    }
}

impl Job {
    /// Whether it can be done.
    pub fn check(&self) -> Result<Checked, TaskError> {
        let duration = |name, hint, text: &Option<String>, default: Duration, most: Duration| match text {
            None => Ok(default),
            Some(text) => crate::config::duration(text)
                .filter(|d| !d.is_zero() && *d <= most)
                .ok_or_else(|| TaskError::Duration(name, hint, text.chars().take(40).collect())),
        };
        let day = Duration::from_secs(86_400);
        let limit = duration("timeout", ", at most 1d", &self.timeout, TIMEOUT, day)?;
        let wait = duration("wait", ", at most 7d", &self.wait, WAIT, MAX_WAIT)?;
        let work = match &self.query {
            Some(_) if !self.command.is_empty() || self.shell.is_some() => return Err(TaskError::Several),
            Some(_)
                if self.user.is_some()
                    || self.timeout.is_some()
                    || self.max_output.is_some()
                    || self.idempotent =>
            {
                return Err(TaskError::Query);
            }
            Some(traits) => Work::Query(TaskQuery { traits: traits.clone() }),
            None => Work::Command(TaskCommand {
                argv: self.command.clone(),
                shell: self.shell.clone().unwrap_or_default(),
                user: self.user.clone().unwrap_or_default(),
                timeout_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
                max_output: self.max_output.unwrap_or(OUTPUT),
                idempotent: self.idempotent,
            }),
        };
        let work = TaskWork { work: Some(work) };
        protocol::task::check(&work)?;
        self.query.as_deref().map_or(Ok(()), query::check).map_err(|e| TaskError::Traits(Box::new(e)))?;
        Ok(Checked { work, wait, limit })
    }
}

/// Makes a task and hands it out; its id.
pub async fn create(
    context: &Context,
    job: &Checked,
    targets: Vec<NewTarget>,
    author: String,
    id: Option<String>,
    part_of: Option<(String, u32, u32)>,
) -> Result<TaskRow, StoreError> {
    let now = context.clock.now();
    let after = |by: Duration, at: u64| at.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
    let not_after = after(job.wait, now);
    let task = TaskRow {
        id: id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        work: job.encoded(),
        summary: protocol::task::summary(&job.work),
        author,
        created_at: now,
        not_after,
        deadline: after(job.limit + GRACE, not_after),
        part_of,
        cancelled_at: None,
    };
    let made = task.clone();
    context
        .store
        .call(move |conn| {
            conn.transaction(|conn| {
                tasks::create(conn, &task, &targets)?;
                let envoys = if targets.len() == 1 { "envoy" } else { "envoys" };
                let details = format!("{} on {} {envoys}", task.summary, targets.len());
                audit::append(conn, &Event::new(now, &task.author, "task.create", &task.id, &details))
            })
        })
        .await?;
    tracing::info!(task = made.id, what = made.summary, author = made.author, "task made");
    Ok(made)
}

/// Takes a task back: how many envoys will not begin it, and how many were told to stop it, or will be. What they wrote
/// until then is kept.
pub async fn cancel(context: &Context, id: &str, actor: String) -> Result<(u64, u64), StoreError> {
    let (task, now) = (id.to_owned(), context.clock.now());
    let cancelled = context
        .store
        .call(move |conn| {
            conn.transaction(|conn| {
                let cancelled = withdraw(conn, &task, now)?;
                if cancelled != (0, 0) {
                    let details = format!("{} not begun, {} to be stopped", cancelled.0, cancelled.1);
                    audit::append(conn, &Event::new(now, &actor, "task.cancel", &task, &details))?;
                }
                Ok(cancelled)
            })
        })
        .await?;
    context.dispatch.finished.store(true, std::sync::atomic::Ordering::SeqCst);
    tracing::info!(task = id, not_begun = cancelled.0, to_be_stopped = cancelled.1, "task cancelled");
    Ok(cancelled)
}

/// The same without a word in the audit log: as a part of something else.
pub(super) fn withdraw(conn: &mut Connection, id: &str, now: u64) -> Result<(u64, u64), StoreError> {
    let grace = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
    tasks::cancel(conn, id, now, now.saturating_add(grace))
}
