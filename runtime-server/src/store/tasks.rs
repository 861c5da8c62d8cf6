//! Tasks, the envoys they are for, and what came of them.

use super::value::{Param, Row, ToParam, params};
use super::{Connection, StoreError, Topic, int};
use protocol::pb::{TaskEnded, TaskOutcome};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$what])* $variant),* }

        impl $name {
            /// As it is stored and shown.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            fn read(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// How an envoy could be reached when a task was made for it.
    Reach {
        /// Its stream was open.
        Online = "online",
        /// It is seen regularly; the task waits for it.
        Promotable = "promotable",
        /// It is not seen; nothing was sent.
        Offline = "offline",
    }
}

words! {
    /// What became of a task on an envoy.
    State {
        /// It waits for the envoy.
        Queued = "queued",
        /// It was sent; the envoy has not begun it yet, as far as is known.
        Sent = "sent",
        /// It runs.
        Running = "running",
        /// Exit code 0, or an answer.
        Ok = "ok",
        /// Another exit code, or it did not start.
        Failed = "failed",
        /// Stopped at its limit.
        TimedOut = "timed-out",
        /// The host does not do it.
        Refused = "refused",
        /// Its time was over before it began.
        Expired = "expired",
        /// The agent was stopped while it ran.
        Interrupted = "interrupted",
        /// It may have run.
        Unknown = "unknown",
        /// Nothing was sent.
        Offline = "offline",
        /// It was taken back: killed, or never begun.
        Cancelled = "cancelled",
    }
}

impl State {
    /// Whether a result may still come.
    pub fn is_open(self) -> bool {
        matches!(self, State::Queued | State::Sent | State::Running)
    }
}

impl From<TaskOutcome> for State {
    fn from(outcome: TaskOutcome) -> Self {
        match outcome {
            TaskOutcome::TaskOk => State::Ok,
            TaskOutcome::TaskFailed => State::Failed,
            TaskOutcome::TaskTimedOut => State::TimedOut,
            TaskOutcome::TaskRefused => State::Refused,
            TaskOutcome::TaskExpired => State::Expired,
            TaskOutcome::TaskInterrupted => State::Interrupted,
            TaskOutcome::TaskCancelled => State::Cancelled,
            TaskOutcome::TaskUnknown | TaskOutcome::Unspecified => State::Unknown,
        }
    }
}

/// A task as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// UUIDv7.
    pub id: String,
    /// An encoded `TaskWork`.
    pub work: Vec<u8>,
    /// For lists.
    pub summary: String,
    /// Who made it.
    pub author: String,
    /// Milliseconds since 1970-01-01 UTC, as are the others.
    pub created_at: u64,
    /// No agent begins it later.
    pub not_after: u64,
    /// Nobody waits any longer.
    pub deadline: u64,
    /// Workflow, step and batch.
    pub part_of: Option<(String, u32, u32)>,
    /// When it was taken back.
    pub cancelled_at: Option<u64>,
}

/// An envoy that a task is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTarget {
    /// The envoy.
    pub envoy_id: String,
    /// Its name.
    pub hostname: String,
    /// Whether it can be reached.
    pub reach: Reach,
}

/// A task on one envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRow {
    /// The envoy.
    pub envoy_id: String,
    /// Its name when the task was made.
    pub hostname: String,
    /// Whether it could be reached then.
    pub reach: Reach,
    /// What became of it.
    pub state: State,
    /// Since when.
    pub changed_at: u64,
    /// Of a command that ended.
    pub exit_code: Option<i64>,
    /// Why there is none.
    pub error: String,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// What it wrote.
    pub output_bytes: u64,
    /// And how much of it was not kept.
    pub output_dropped: u64,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceRow {
    /// Its number.
    pub piece: u32,
    /// 1 standard output, 2 standard error, 3 the answer to a query.
    pub source: u32,
    /// What was written.
    pub data: Vec<u8>,
}

/// Work that an envoy has not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWork {
    /// The task.
    pub task: TaskRow,
    /// How far it is.
    pub state: State,
}

/// Stores a task for some envoys; those that are offline are done with.
pub fn create(conn: &mut Connection, task: &TaskRow, targets: &[NewTarget]) -> Result<(), StoreError> {
    let part = task.part_of.as_ref();
    let created_at = int("the time", task.created_at)?;
    conn.transaction(|conn| {
        conn.execute(
            "insert into tasks (id, work, summary, author, created_at, not_after, deadline, workflow_id, step, batch)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            params![
                task.id,
                task.work,
                task.summary,
                task.author,
                created_at,
                int("the end", task.not_after)?,
                int("the deadline", task.deadline)?,
                part.map(|p| p.0.as_str()),
                part.map(|p| p.1),
                part.map(|p| p.2),
            ],
        )?;
        let mut values = Vec::with_capacity(targets.len() * 6);
        for target in targets {
            let state = if target.reach == Reach::Offline { State::Offline } else { State::Queued };
            values.extend([
                task.id.to_param(),
                target.envoy_id.to_param(),
                target.hostname.to_param(),
                target.reach.word().to_param(),
                state.word().to_param(),
                Param::Int(created_at),
            ]);
        }
        let insert = "insert into task_targets (task_id, envoy_id, hostname, reach, state, changed_at)";
        conn.insert(insert, 6, "", &values)?;
        conn.say(Topic::Tasks)
    })
}

/// Envoys with unfinished work, and whether some of it was not sent yet.
pub fn open_envoys(conn: &mut Connection) -> Result<Vec<(String, bool)>, StoreError> {
    let sql = "select envoy_id, count(*) filter (where state = 'queued') from task_targets
               where state in ('queued', 'sent', 'running') group by envoy_id";
    conn.rows(sql, &[], |row| Ok((row.get(0)?, row.get::<i64>(1)? != 0)))
}

/// The unfinished work of an envoy, the oldest first.
pub fn open_work(conn: &mut Connection, envoy_id: &str) -> Result<Vec<OpenWork>, StoreError> {
    let sql = format!(
        "select {TASK}, x.state from task_targets x join tasks t on t.id = x.task_id
         where x.envoy_id = $1 and x.state in ('queued', 'sent', 'running') order by t.id"
    );
    conn.rows(&sql, params![envoy_id], |row| Ok(OpenWork { task: task(row)?, state: word(row, 11)? }))
}

/// The state of a task on an envoy, and its work.
pub fn work_of(conn: &mut Connection, task_id: &str, envoy_id: &str) -> Result<Option<OpenWork>, StoreError> {
    let sql = format!(
        "select {TASK}, x.state from task_targets x join tasks t on t.id = x.task_id
         where x.task_id = $1 and x.envoy_id = $2"
    );
    conn.row(&sql, params![task_id, envoy_id], |row| Ok(OpenWork { task: task(row)?, state: word(row, 11)? }))
}

/// A task on its way: it was sent, or it runs. False when it is over: it has a result, or was taken back.
pub fn moved(
    conn: &mut Connection,
    task_id: &str,
    envoy_id: &str,
    to: State,
    now: u64,
) -> Result<bool, StoreError> {
    let moved = conn.execute(
        "update task_targets set changed_at = case when state = $3 then changed_at else $4 end, state = $3
         where task_id = $1 and envoy_id = $2 and state in ('queued', 'sent', $3)",
        params![task_id, envoy_id, to.word(), int("the time", now)?],
    )?;
    Ok(moved > 0)
}

/// Stores pieces of output. One that is there comes again after a break, the same as before, or with what a second run of an
/// idempotent task wrote, which counts.
pub fn put_output(
    conn: &mut Connection,
    task_id: &str,
    envoy_id: &str,
    pieces: &[PieceRow],
) -> Result<(), StoreError> {
    let mut values = Vec::with_capacity(pieces.len() * 5);
    for piece in pieces {
        values.extend([
            task_id.to_param(),
            envoy_id.to_param(),
            piece.piece.to_param(),
            piece.source.to_param(),
            piece.data.to_param(),
        ]);
    }
    conn.transaction(|conn| {
        let insert = "insert into task_output (task_id, envoy_id, piece, source, data)";
        conn.insert(insert, 5, "on conflict (task_id, envoy_id, piece) do update set source = excluded.source, data = excluded.data", &values)
    })
}

/// Stores the result of a task, with its last output. False when it has one already, or is not known. A result that
/// comes after the deadline takes the place of the `unknown` that was put there.
pub fn end(
    conn: &mut Connection,
    envoy_id: &str,
    ended: &TaskEnded,
    pieces: &[PieceRow],
    now: u64,
) -> Result<bool, StoreError> {
    conn.transaction(|conn| {
        let changed = conn.execute(
            "update task_targets set state = $3, changed_at = $4, exit_code = $5, error = $6, duration_ms = $7,
             output_bytes = $8, output_dropped = $9 where task_id = $1 and envoy_id = $2
             and state in ('queued', 'sent', 'running', 'unknown')",
            params![
                ended.task_id,
                envoy_id,
                State::from(ended.outcome()).word(),
                int("the time", now)?,
                ended.exit_code.map(i64::from),
                ended.error,
                int("the duration", ended.duration_ms)?,
                int("the output", ended.output_bytes)?,
                int("the output", ended.output_dropped)?,
            ],
        )?;
        if changed == 0 {
            return Ok(false);
        }
        put_output(conn, &ended.task_id, envoy_id, pieces)?;
        // A run that ended wrote so much and no more; what is beyond is of one that an agent's death cut off.
        if ended.pieces > 0 || matches!(ended.outcome(), TaskOutcome::TaskOk | TaskOutcome::TaskFailed) {
            conn.execute(
                "delete from task_output where task_id = $1 and envoy_id = $2 and piece >= $3",
                params![ended.task_id, envoy_id, i64::from(ended.pieces)],
            )?;
        }
        Ok(true)
    })
}

/// What was never sent expires; what was sent and brought no result until its deadline is unknown.
pub fn expire(conn: &mut Connection, now: u64) -> Result<u64, StoreError> {
    let now = int("the time", now)?;
    conn.transaction(|conn| {
        let expired = conn.execute(
            "update task_targets set state = 'expired', changed_at = $1, error = 'its time was over before the envoy came'
             where state = 'queued' and exists
             (select 1 from tasks t where t.id = task_targets.task_id and t.not_after < $1)",
            params![now],
        )?;
        let unknown = conn.execute(
            "update task_targets set state = 'unknown', changed_at = $1, error = 'no result until the deadline'
             where state in ('sent', 'running') and exists
             (select 1 from tasks t where t.id = task_targets.task_id and t.deadline < $1)",
            params![now],
        )?;
        Ok(expired + unknown)
    })
}

/// Takes a task back: what was not sent never will be, and what was is to be stopped by its envoys until `deadline`. How
/// many of either there are; none when nothing of it was left to do.
pub fn cancel(
    conn: &mut Connection,
    task_id: &str,
    now: u64,
    deadline: u64,
) -> Result<(u64, u64), StoreError> {
    let (now, deadline) = (int("the time", now)?, int("the deadline", deadline)?);
    conn.transaction(|conn| {
        let stopped = conn.execute(
            "update task_targets set state = 'cancelled', changed_at = $2, error = 'cancelled before it was sent'
             where task_id = $1 and state = 'queued'",
            params![task_id, now],
        )?;
        let sent: Option<u64> = conn.value(
            "select count(*) from task_targets where task_id = $1 and state in ('sent', 'running')",
            params![task_id],
        )?;
        let sent = sent.unwrap_or(0);
        if stopped + sent > 0 {
            conn.execute(
                "update tasks set cancelled_at = coalesce(cancelled_at, $2),
                 deadline = case when deadline < $3 then deadline else $3 end where id = $1",
                params![task_id, now, deadline],
            )?;
            conn.say(Topic::Tasks)?;
        }
        Ok((stopped, sent))
    })
}

/// Envoys that have to stop something.
pub fn to_be_stopped(conn: &mut Connection) -> Result<Vec<String>, StoreError> {
    let sql = "select distinct x.envoy_id from task_targets x join tasks t on t.id = x.task_id
               where x.state in ('sent', 'running') and t.cancelled_at is not null";
    conn.rows(sql, &[], |row| row.get(0))
}

/// A revoked envoy does nothing any more.
pub fn give_up(conn: &mut Connection, envoy_id: &str, now: u64) -> Result<(), StoreError> {
    let now = int("the time", now)?;
    conn.execute(
        "update task_targets set changed_at = $2, error = 'the envoy was revoked',
         state = case when state = 'queued' then 'refused' else 'unknown' end
         where envoy_id = $1 and state in ('queued', 'sent', 'running')",
        params![envoy_id, now],
    )?;
    Ok(())
}

/// A task with how many of its envoys are in which state.
pub type Counted = (TaskRow, Vec<(State, u64)>);

/// Tasks before one, the latest first.
pub fn list(conn: &mut Connection, before: Option<&str>, limit: u32) -> Result<Vec<Counted>, StoreError> {
    let sql = format!("select {TASK} from tasks t where t.id < $1 order by t.id desc limit $2");
    let tasks = conn.rows(&sql, params![before.unwrap_or("g"), limit], task)?;
    tasks.into_iter().map(|task| counted(conn, task)).collect()
}

/// Tasks of a workflow, in their order.
pub fn of_workflow(conn: &mut Connection, workflow_id: &str) -> Result<Vec<Counted>, StoreError> {
    let sql = format!("select {TASK} from tasks t where t.workflow_id = $1 order by t.id");
    let tasks = conn.rows(&sql, params![workflow_id], task)?;
    tasks.into_iter().map(|task| counted(conn, task)).collect()
}

fn counted(conn: &mut Connection, task: TaskRow) -> Result<Counted, StoreError> {
    let sql = "select state, count(*) from task_targets where task_id = $1 group by state order by state";
    let states = conn.rows(sql, params![task.id], |row| Ok((word(row, 0)?, row.get(1)?)))?;
    Ok((task, states))
}

/// A task.
pub fn find(conn: &mut Connection, id: &str) -> Result<Option<TaskRow>, StoreError> {
    conn.row(&format!("select {TASK} from tasks t where t.id = $1"), params![id], task)
}

/// The envoys of a task, by name.
pub fn targets(conn: &mut Connection, task_id: &str) -> Result<Vec<TargetRow>, StoreError> {
    let sql =
        "select envoy_id, hostname, reach, state, changed_at, exit_code, error, duration_ms, output_bytes,
               output_dropped from task_targets where task_id = $1 order by hostname, envoy_id";
    conn.rows(sql, params![task_id], |row| {
        let reach: String = row.get(2)?;
        Ok(TargetRow {
            envoy_id: row.get(0)?,
            hostname: row.get(1)?,
            reach: Reach::read(&reach).ok_or(StoreError::Column(2))?,
            state: word(row, 3)?,
            changed_at: row.get(4)?,
            exit_code: row.get(5)?,
            error: row.get(6)?,
            duration_ms: row.get(7)?,
            output_bytes: row.get(8)?,
            output_dropped: row.get(9)?,
        })
    })
}

/// Output of a task on an envoy from a piece on.
pub fn output(
    conn: &mut Connection,
    task_id: &str,
    envoy_id: &str,
    from: u32,
    limit: u32,
) -> Result<Vec<PieceRow>, StoreError> {
    let sql =
        "select piece, source, data from task_output where task_id = $1 and envoy_id = $2 and piece >= $3
               order by piece limit $4";
    conn.rows(sql, params![task_id, envoy_id, from, limit], |row| {
        Ok(PieceRow { piece: row.get(0)?, source: row.get(1)?, data: row.get(2)? })
    })
}

/// Forgets tasks and workflows that were made before a time, but for those that still run; `most` of each at most. How
/// many are gone.
pub fn forget_before(conn: &mut Connection, before: u64, most: u32) -> Result<u64, StoreError> {
    let before = int("the time", before)?;
    conn.transaction(|conn| {
        let tasks = conn.execute(
            "delete from tasks where id in (select id from tasks where created_at < $1 and workflow_id is null
               and deadline < $1 order by created_at limit $2)",
            params![before, most],
        )?;
        let workflows = conn.execute(
            "delete from workflows where id in (select id from workflows where created_at < $1 and state <> 'running'
               order by created_at limit $2)",
            params![before, most],
        )?;
        Ok(tasks + workflows)
    })
}

const TASK: &str = "t.id, t.work, t.summary, t.author, t.created_at, t.not_after, t.deadline, t.workflow_id, t.step, \
                    t.batch, t.cancelled_at";

fn task(row: Row<'_>) -> Result<TaskRow, StoreError> {
    let workflow: Option<String> = row.get(7)?;
    let (step, batch): (Option<u32>, Option<u32>) = (row.get(8)?, row.get(9)?);
    Ok(TaskRow {
        id: row.get(0)?,
        work: row.get(1)?,
        summary: row.get(2)?,
        author: row.get(3)?,
        created_at: row.get(4)?,
        not_after: row.get(5)?,
        deadline: row.get(6)?,
        part_of: workflow.map(|id| (id, step.unwrap_or(0), batch.unwrap_or(0))),
        cancelled_at: row.get(10)?,
    })
}

fn word(row: Row<'_>, at: usize) -> Result<State, StoreError> {
    let word: String = row.get(at)?;
    State::read(&word).ok_or(StoreError::Column(at))
}
