//! Workflows: tasks in order, in batches of envoys, and who carries them on.

use super::value::{Row, params};
use super::{Connection, StoreError, int};

/// A workflow as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowRow {
    /// UUIDv7.
    pub id: String,
    /// For people.
    pub name: String,
    /// JSON.
    pub spec: String,
    /// Who made it.
    pub author: String,
    /// Milliseconds since 1970-01-01 UTC, as are the others.
    pub created_at: u64,
    /// `running`, `done`, `stopped` or `cancelled`.
    pub state: String,
    /// Why it was stopped, or who cancelled it.
    pub error: String,
    /// When it was over.
    pub ended_at: Option<u64>,
}

/// Stores a new one, carried on by `driver` until a time.
pub fn create(conn: &mut Connection, row: &WorkflowRow, driver: &str, until: u64) -> Result<(), StoreError> {
    conn.execute(
        "insert into workflows (id, name, spec, author, created_at, state, driver, driver_until)
         values ($1, $2, $3, $4, $5, 'running', $6, $7)",
        params![
            row.id,
            row.name,
            row.spec,
            row.author,
            int("the time", row.created_at)?,
            driver,
            int("the time", until)?
        ],
    )?;
    Ok(())
}

/// Carries one on until a time, unless it is over or another server does. One server at a time gets a true.
pub fn claim(
    conn: &mut Connection,
    id: &str,
    driver: &str,
    now: u64,
    until: u64,
) -> Result<bool, StoreError> {
    let claimed = conn.execute(
        "update workflows set driver = $2, driver_until = $4
         where id = $1 and state = 'running' and (driver = $2 or driver_until < $3)",
        params![id, driver, int("the time", now)?, int("the time", until)?],
    )?;
    Ok(claimed > 0)
}

/// Those that nobody carries on.
pub fn orphans(conn: &mut Connection, now: u64) -> Result<Vec<String>, StoreError> {
    let sql = "select id from workflows where state = 'running' and driver_until < $1 order by id";
    conn.rows(sql, params![int("the time", now)?], |row| row.get(0))
}

/// It is over: `done`, or `stopped` or `cancelled` for a reason. False when it was over before.
pub fn end(conn: &mut Connection, id: &str, state: &str, error: &str, now: u64) -> Result<bool, StoreError> {
    let ended = conn.execute(
        "update workflows set state = $2, error = $3, ended_at = $4 where id = $1 and state = 'running'",
        params![id, state, error, int("the time", now)?],
    )?;
    Ok(ended > 0)
}

/// Tasks of a workflow that are not done with.
pub fn open_tasks(conn: &mut Connection, id: &str) -> Result<Vec<String>, StoreError> {
    let sql = "select distinct t.id from tasks t join task_targets x on x.task_id = t.id
               where t.workflow_id = $1 and x.state in ('queued', 'sent', 'running')";
    conn.rows(sql, params![id], |row| row.get(0))
}

/// Keeps which envoys were not well after a batch. What was found first stays.
pub fn judge(conn: &mut Connection, id: &str, batch: u32, unwell: &[String]) -> Result<(), StoreError> {
    let names = serde_json::to_string(unwell).unwrap_or_default();
    conn.execute(
        "insert into workflow_verdicts (workflow_id, batch, unwell) values ($1, $2, $3)
         on conflict (workflow_id, batch) do nothing",
        params![id, batch, names],
    )?;
    Ok(())
}

/// What [`judge`] kept; `None` for a batch that was not judged yet.
pub fn verdict(conn: &mut Connection, id: &str, batch: u32) -> Result<Option<Vec<String>>, StoreError> {
    let sql = "select unwell from workflow_verdicts where workflow_id = $1 and batch = $2";
    let names: Option<String> = conn.value(sql, params![id, batch])?;
    names.map(|names| serde_json::from_str(&names).map_err(|_| StoreError::Column(0))).transpose()
}

/// One.
pub fn find(conn: &mut Connection, id: &str) -> Result<Option<WorkflowRow>, StoreError> {
    conn.row(&format!("{SELECT} where id = $1"), params![id], workflow)
}

/// Workflows before one, the latest first.
pub fn list(conn: &mut Connection, before: Option<&str>, limit: u32) -> Result<Vec<WorkflowRow>, StoreError> {
    let sql = format!("{SELECT} where id < $1 order by id desc limit $2");
    // Ids are hexadecimal: all of them come before `g`.
    conn.rows(&sql, params![before.unwrap_or("g"), limit], workflow)
}

const SELECT: &str = "select id, name, spec, author, created_at, state, error, ended_at from workflows";

fn workflow(row: Row<'_>) -> Result<WorkflowRow, StoreError> {
    Ok(WorkflowRow {
        id: row.get(0)?,
        name: row.get(1)?,
        spec: row.get(2)?,
        author: row.get(3)?,
        created_at: row.get(4)?,
        state: row.get(5)?,
        error: row.get(6)?,
        ended_at: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tasks::{self, TaskRow};
    use crate::testing::on_each;

    fn row() -> WorkflowRow {
        WorkflowRow {
            id: "w".into(),
            name: "restart".into(),
            spec: "{}".into(),
            author: "ann".into(),
            created_at: 1,
            state: "running".into(),
            error: String::new(),
            ended_at: None,
        }
    }

    #[test]
    fn case_066_a_step_of_a_workflow_is_one_task_for_a_batch_whoever_believes_to_carry_it_on() {
        on_each(|conn| {
            create(conn, &row(), "one", 100).unwrap();
            let task = |id: &str, step: u32| TaskRow {
                id: id.into(),
                work: vec![],
                summary: String::new(),
                author: "ann".into(),
                created_at: 1,
                not_after: 2,
                deadline: 3,
                part_of: Some(("w".into(), step, 0)),
                cancelled_at: None,
            };
            tasks::create(conn, &task("a", 0), &[]).unwrap();
            assert!(tasks::create(conn, &task("b", 0), &[]).is_err());
            tasks::create(conn, &task("c", 1), &[]).unwrap();
            let alone = |id: &str| TaskRow { part_of: None, ..task(id, 0) };
            tasks::create(conn, &alone("d"), &[]).unwrap();
            tasks::create(conn, &alone("e"), &[]).unwrap();
            let made: Vec<String> =
                tasks::of_workflow(conn, "w").unwrap().into_iter().map(|(task, _)| task.id).collect();
            assert_eq!(made, ["a", "c"]);
        });
    }

    #[test]
    fn a_claim_is_of_one_until_it_runs_out() {
        on_each(|conn| {
            create(conn, &row(), "one", 100).unwrap();
            assert!(claim(conn, "w", "one", 50, 150).unwrap());
            assert!(!claim(conn, "w", "two", 149, 300).unwrap());
            assert!(orphans(conn, 150).unwrap().is_empty());
            assert_eq!(orphans(conn, 151).unwrap(), ["w"]);
            assert!(claim(conn, "w", "two", 151, 300).unwrap());
            assert!(!claim(conn, "w", "one", 200, 400).unwrap(), "whoever slept through it is told");
        });
    }

    #[test]
    fn a_batch_is_judged_once() {
        on_each(|conn| {
            create(conn, &row(), "one", 100).unwrap();
            assert_eq!(verdict(conn, "w", 0).unwrap(), None);
            judge(conn, "w", 0, &["a".into(), "b".into()]).unwrap();
            judge(conn, "w", 0, &[]).unwrap();
            judge(conn, "w", 1, &[]).unwrap();
            assert_eq!(verdict(conn, "w", 0).unwrap(), Some(vec!["a".to_owned(), "b".to_owned()]));
            assert_eq!(verdict(conn, "w", 1).unwrap(), Some(vec![]));
        });
    }
}
