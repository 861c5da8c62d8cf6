//! Reading runs and their results.

use crate::store::value::{Row, params};
use crate::store::{Connection, StoreError, int};
use std::collections::HashMap;

/// A run as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// UUIDv7.
    pub run_id: String,
    /// Number among the envoy's results.
    pub result_seq: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub received_at: u64,
    /// By the envoy's clock.
    pub started_at: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// The release it followed.
    pub release_serial: u64,
    /// Without the server.
    pub offline: bool,
    /// It did not end.
    pub interrupted: bool,
    /// Resources that were right.
    pub ok: u64,
    /// Resources that were put right.
    pub changed: u64,
    /// Resources that could not be.
    pub failed: u64,
    /// Resources that were left alone.
    pub skipped: u64,
    /// Results that the envoy had to drop, first and last.
    pub dropped: Option<(u64, u64)>,
    /// The module or resource it was limited to.
    pub part: Option<String>,
}

/// Newest first: by the envoy's own count, and where a number was used twice, by the ids, which grow with time.
const NEWEST: &str = "order by result_seq desc, run_id desc";

/// The latest runs of an envoy, newest first.
pub fn latest(conn: &mut Connection, envoy_id: &str, limit: u32) -> Result<Vec<RunRow>, StoreError> {
    select(conn, "", envoy_id, limit)
}

/// The latest runs of an envoy that looked at everything, newest first: what its status is computed from.
pub fn latest_whole(conn: &mut Connection, envoy_id: &str, limit: u32) -> Result<Vec<RunRow>, StoreError> {
    select(conn, WHOLE, envoy_id, limit)
}

/// Runs that looked at everything.
const WHOLE: &str = "and part is null";

fn select(conn: &mut Connection, which: &str, envoy_id: &str, limit: u32) -> Result<Vec<RunRow>, StoreError> {
    let sql = format!(
        "select run_id, result_seq, received_at, started_at, duration_ms, release_serial, offline, interrupted,
         ok, changed, failed, skipped, dropped_from, dropped_to, part
         from runs where envoy_id = $1 {which} {NEWEST} limit $2"
    );
    conn.rows(&sql, params![envoy_id, limit], run)
}

fn run(r: Row<'_>) -> Result<RunRow, StoreError> {
    Ok(RunRow {
        run_id: r.get(0)?,
        result_seq: r.get(1)?,
        received_at: r.get(2)?,
        started_at: r.get(3)?,
        duration_ms: r.get(4)?,
        release_serial: r.get(5)?,
        offline: r.get(6)?,
        interrupted: r.get(7)?,
        ok: r.get(8)?,
        changed: r.get(9)?,
        failed: r.get(10)?,
        skipped: r.get(11)?,
        dropped: r.get::<Option<u64>>(12)?.zip(r.get(13)?),
        part: r.get(14)?,
    })
}

/// What [`run`] reads, of the table `r`.
const COLUMNS: &str =
    "r.run_id, r.result_seq, r.received_at, r.started_at, r.duration_ms, r.release_serial, r.offline,
    r.interrupted, r.ok, r.changed, r.failed, r.skipped, r.dropped_from, r.dropped_to, r.part";

/// The latest runs of every active envoy that looked at everything, newest first, by the envoy's id.
pub fn latest_whole_of_all(
    conn: &mut Connection,
    limit: u32,
) -> Result<HashMap<String, Vec<RunRow>>, StoreError> {
    // A few steps in an index for each envoy, however many runs are kept.
    let sql = format!(
        "select {COLUMNS}, e.id from envoys e join runs r on r.envoy_id = e.id and r.run_id in
           (select run_id from runs where envoy_id = e.id {WHOLE} {NEWEST} limit $1)
         where e.revoked_at is null order by e.id, r.result_seq desc, r.run_id desc"
    );
    let rows = conn.rows(&sql, params![limit], |r| Ok((r.get::<String>(15)?, run(r)?)))?;
    let mut all: HashMap<String, Vec<RunRow>> = HashMap::new();
    for (envoy, row) in rows {
        all.entry(envoy).or_default().push(row);
    }
    Ok(all)
}

/// What a run has to have done to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Nothing.
    Any,
    /// Something.
    Changed,
    /// Not everything.
    Failed,
}

/// Runs of one envoy or of all active ones with their envoy's id and host name, as they came in, the latest first;
/// `before` is when, envoy and run of the last one that is known already.
pub fn page(
    conn: &mut Connection,
    envoy_id: Option<&str>,
    which: Which,
    before: Option<(u64, &str, &str)>,
    limit: u32,
) -> Result<Vec<(RunRow, String, String)>, StoreError> {
    let which = match which {
        Which::Any => "",
        Which::Changed => "and r.changed > 0",
        Which::Failed => "and (r.failed > 0 or r.interrupted = 1)",
    };
    let of = if envoy_id.is_some() { "and r.envoy_id = $5" } else { "and $5 = ''" };
    let sql = format!(
        "select {COLUMNS}, e.id, e.hostname from runs r join envoys e on e.id = r.envoy_id
         where e.revoked_at is null and (r.received_at, r.envoy_id, r.run_id) < ($1, $2, $3) {which} {of}
         order by r.received_at desc, r.envoy_id desc, r.run_id desc limit $4"
    );
    let (at, envoy, run_id) = match before {
        Some((at, envoy, run)) => (int("the time", at)?, envoy, run),
        None => (i64::MAX, "", ""),
    };
    conn.rows(&sql, params![at, envoy, run_id, limit, envoy_id.unwrap_or_default()], |r| {
        Ok((run(r)?, r.get(15)?, r.get(16)?))
    })
}

/// One run of one envoy.
pub fn find(conn: &mut Connection, envoy_id: &str, run_id: &str) -> Result<Option<RunRow>, StoreError> {
    let sql = format!("select {COLUMNS} from runs r where r.envoy_id = $1 and r.run_id = $2");
    conn.row(&sql, params![envoy_id, run_id], run)
}

/// How a module fared in an envoy's latest whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleTotals {
    /// The envoy.
    pub envoy_id: String,
    /// The module.
    pub module: String,
    /// Resources that were put right.
    pub changed: u64,
    /// Resources that could not be.
    pub failed: u64,
}

/// For every active envoy and every module of its latest whole run.
pub fn module_totals(conn: &mut Connection) -> Result<Vec<ModuleTotals>, StoreError> {
    let sql = format!(
        "select x.envoy_id, x.module, cast(sum(case when x.outcome = 'changed' then 1 else 0 end) as bigint),
           cast(sum(case when x.outcome = 'failed' then 1 else 0 end) as bigint)
         from envoys e join results x on x.envoy_id = e.id and x.run_id =
           (select run_id from runs where envoy_id = e.id {WHOLE} {NEWEST} limit 1)
         where e.revoked_at is null group by x.envoy_id, x.module order by x.envoy_id, x.module"
    );
    conn.rows(&sql, &[], |r| {
        Ok(ModuleTotals { envoy_id: r.get(0)?, module: r.get(1)?, changed: r.get(2)?, failed: r.get(3)? })
    })
}

/// One resource in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRow {
    /// Its module.
    pub module: String,
    /// Its name there.
    pub resource: String,
    /// Its type.
    pub kind: String,
    /// See [`super::outcome`].
    pub outcome: String,
    /// What was done.
    pub action: String,
    /// What went wrong.
    pub error: String,
    /// How long it took.
    pub duration_ms: u64,
}

/// What a run did, in the order it did it.
pub fn results(conn: &mut Connection, envoy_id: &str, run_id: &str) -> Result<Vec<ResultRow>, StoreError> {
    conn.rows(
        "select module, resource, type, outcome, action, error, duration_ms from results
         where envoy_id = $1 and run_id = $2 order by position",
        params![envoy_id, run_id],
        |r| {
            Ok(ResultRow {
                module: r.get(0)?,
                resource: r.get(1)?,
                kind: r.get(2)?,
                outcome: r.get(3)?,
                action: r.get(4)?,
                error: r.get(5)?,
                duration_ms: r.get(6)?,
            })
        },
    )
}

/// Ranges of results that never came, oldest first.
pub fn lost(conn: &mut Connection, envoy_id: &str) -> Result<Vec<(u64, u64)>, StoreError> {
    conn.rows(
        "select from_seq, to_seq from lost_results where envoy_id = $1 order by from_seq",
        params![envoy_id],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )
}

/// When the latest run was received.
pub fn latest_time(conn: &mut Connection) -> Result<Option<u64>, StoreError> {
    Ok(conn.value::<Option<u64>>("select max(received_at) from runs", &[])?.flatten())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{enrolled, put, report};
    use super::*;
    use crate::testing::on_each;
    use protocol::pb::{ResourceResult, RunReport};

    #[test]
    fn all_lists_agree_on_which_run_is_the_latest() {
        on_each(|conn| {
            enrolled(conn);
            let put_as = |conn: &mut Connection, run_id: &str, module: &str| {
                let results = vec![ResourceResult { module: module.into(), ..Default::default() }];
                put(conn, &RunReport { run_id: run_id.into(), results, ..report(7) });
            };
            put_as(conn, "b", "later");
            put_as(conn, "a", "earlier");
            assert_eq!(latest_whole(conn, "e1", 1).unwrap()[0].run_id, "b");
            assert_eq!(latest_whole_of_all(conn, 1).unwrap()["e1"][0].run_id, "b");
            assert_eq!(module_totals(conn).unwrap()[0].module, "later");
        });
    }
}
