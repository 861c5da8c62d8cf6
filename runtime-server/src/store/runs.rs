//! What envoys report about their runs.
//!
//! An envoy numbers its results without gaps and keeps each until it is acknowledged. The acknowledgement covers
//! everything up to a number, so it stops before a gap: what is missing may still be under way. When the
//! envoy repeats a result that stands behind the gap, it has nothing older to send; then the missing
//! ones are recorded as lost and the acknowledgement moves on.

use super::value::{Param, Row, ToParam, params};
use super::{Connection, StoreError, int};
use ir::Hash;

use protocol::pb::{Outcome, RunReport};
use std::collections::HashMap;

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The envoy may forget everything up to here.
    pub acknowledged: u64,
    /// It was there before.
    pub repeated: bool,
    /// It was there before with other content; the first one was kept.
    pub contradicts: bool,
    /// Its number was used by another run: the state of a restored or cloned disk.
    pub number_reused: bool,
    /// Results now known to be lost, first and last of each range.
    pub lost: Vec<(u64, u64)>,
}

/// Stores a report. `digest` is that of its bytes as received.
pub fn store(
    conn: &mut Connection,
    envoy_id: &str,
    report: &RunReport,
    digest: Hash,
    now: u64,
) -> Result<Stored, StoreError> {
    let seq = int("the result's number", report.result_seq)?;
    conn.transaction(|conn| {
        // Also a lock: two reports of one envoy are taken in one after the other, whichever server has them.
        let acknowledged: Option<i64> = conn.value(
            "update envoys set acknowledged_seq = acknowledged_seq where id = $1 returning acknowledged_seq",
            params![envoy_id],
        )?;
        let before = acknowledged.ok_or(StoreError::Column(0))?;
        let first: Option<Hash> = conn.value(
            "select digest from runs where envoy_id = $1 and run_id = $2",
            params![envoy_id, report.run_id],
        )?;
        let number_reused = first.is_none()
            && conn.exists(
                "select 1 from runs where envoy_id = $1 and result_seq = $2 limit 1",
                params![envoy_id, seq],
            )?;
        if first.is_none() {
            insert(conn, envoy_id, report, digest, now)?;
            if seq <= before {
                found(conn, envoy_id, seq)?;
            }
        }
        let repeated = first.is_some();
        let (acknowledged, lost) = acknowledge(conn, envoy_id, report, before, repeated, now)?;
        let contradicts = first.is_some_and(|d| d != digest);
        Ok(Stored { acknowledged, repeated, contradicts, number_reused, lost })
    })
}

/// A result that was taken for lost came after all: two drainers, or a disk that was put back.
fn found(conn: &mut Connection, envoy_id: &str, seq: i64) -> Result<(), StoreError> {
    let ranges = conn.rows(
        "delete from lost_results where envoy_id = $1 and from_seq <= $2 and to_seq >= $2
         returning from_seq, to_seq, noticed_at",
        params![envoy_id, seq],
        |r| Ok((r.get::<i64>(0)?, r.get::<i64>(1)?, r.get::<i64>(2)?)),
    )?;
    for (from, to, noticed_at) in ranges {
        for (from, to) in [(from, seq - 1), (seq + 1, to)] {
            if from <= to {
                conn.execute(
                    "insert into lost_results (envoy_id, from_seq, to_seq, noticed_at) values ($1, $2, $3, $4)",
                    params![envoy_id, from, to, noticed_at],
                )?;
            }
        }
    }
    Ok(())
}

fn insert(
    conn: &mut Connection,
    envoy_id: &str,
    report: &RunReport,
    digest: Hash,
    now: u64,
) -> Result<(), StoreError> {
    let totals = report.totals.unwrap_or_default();
    let dropped = report.dropped.as_ref();
    conn.execute(
        "insert into runs (envoy_id, run_id, result_seq, received_at, started_at, duration_ms, policy_version,
         release_serial, seq, offline, interrupted, ok, changed, failed, skipped, dropped_from, dropped_to, digest,
         part) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        params![
            envoy_id,
            report.run_id,
            int("the result's number", report.result_seq)?,
            int("the time", now)?,
            int("the start", report.started_at)?,
            report.duration_ms,
            report.policy_version,
            int("the release", report.release_serial)?,
            int("the sequence number", report.seq)?,
            report.offline,
            report.interrupted,
            totals.ok,
            totals.changed,
            totals.failed,
            totals.skipped,
            dropped.map(|d| int("the dropped results", d.from_seq)).transpose()?,
            dropped.map(|d| int("the dropped results", d.to_seq)).transpose()?,
            digest,
            report.only,
        ],
    )?;
    let mut values = Vec::with_capacity(report.results.len() * RESULT);
    for (position, result) in report.results.iter().enumerate() {
        values.extend([
            envoy_id.to_param(),
            report.run_id.to_param(),
            Param::Int(int("a position", position as u64)?),
            result.module.to_param(),
            result.resource.to_param(),
            result.r#type.to_param(),
            outcome(result.outcome()).to_param(),
            result.action.to_param(),
            result.error.to_param(),
            result.duration_ms.to_param(),
        ]);
    }
    conn.insert(
        "insert into results (envoy_id, run_id, position, module, resource, type, outcome, action, error,
         duration_ms)",
        RESULT,
        "",
        &values,
    )
}

/// Values of one result in [`insert`].
const RESULT: usize = 10;

/// How an outcome is written in the database and on the command line.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unspecified => "unknown",
        Outcome::Ok => "ok",
        Outcome::Changed => "changed",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    }
}

/// The outcome of a word that [`outcome`] wrote.
pub fn outcome_of(word: &str) -> Outcome {
    let all = [Outcome::Ok, Outcome::Changed, Outcome::Failed, Outcome::Skipped];
    all.into_iter().find(|of| outcome(*of) == word).unwrap_or_default()
}

fn acknowledge(
    conn: &mut Connection,
    envoy_id: &str,
    report: &RunReport,
    before: i64,
    repeated: bool,
    now: u64,
) -> Result<(u64, Vec<(u64, u64)>), StoreError> {
    let seq = int("the result's number", report.result_seq)?;
    let mut lost = Vec::new();
    let mut reached = before;
    // Dropped by the envoy itself, and said so: nothing to wait for.
    if let Some(d) = &report.dropped {
        let (from, to) = (int("the dropped results", d.from_seq)?, int("the dropped results", d.to_seq)?);
        if from <= reached + 1 && to < seq {
            reached = reached.max(to);
        }
    }
    reached = contiguous(conn, envoy_id, reached)?;
    if repeated && seq > reached {
        for (from, to) in missing(conn, envoy_id, reached, seq)? {
            conn.execute(
                "insert into lost_results (envoy_id, from_seq, to_seq, noticed_at) values ($1, $2, $3, $4)
                 on conflict (envoy_id, from_seq) do nothing",
                params![envoy_id, from, to, int("the time", now)?],
            )?;
            lost.push((from as u64, to as u64));
        }
        reached = contiguous(conn, envoy_id, seq)?;
    }
    if reached > before {
        conn.execute("update envoys set acknowledged_seq = $2 where id = $1", params![envoy_id, reached])?;
    }
    Ok((reached as u64, lost))
}

/// The ranges of numbers between `after` and `before` that are not stored.
fn missing(
    conn: &mut Connection,
    envoy_id: &str,
    after: i64,
    before: i64,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let stored = conn.rows(
        "select distinct result_seq from runs where envoy_id = $1 and result_seq > $2 and result_seq < $3
         order by result_seq",
        params![envoy_id, after, before],
        |r| r.get::<i64>(0),
    )?;
    let ends = stored.iter().copied().chain([before]);
    let starts = [after].into_iter().chain(stored.iter().copied());
    Ok(starts.zip(ends).filter(|(from, to)| to - from > 1).map(|(from, to)| (from + 1, to - 1)).collect())
}

/// The last number reached from `from` on without a gap.
fn contiguous(conn: &mut Connection, envoy_id: &str, from: i64) -> Result<i64, StoreError> {
    // The first stored number whose successor is not.
    let last: Option<i64> = conn.value(
        "select result_seq from runs as r where envoy_id = $1 and result_seq > $2 and not exists
         (select 1 from runs as s where s.envoy_id = $1 and s.result_seq = r.result_seq + 1)
         order by result_seq limit 1",
        params![envoy_id, from],
    )?;
    let next = conn.exists(
        "select 1 from runs where envoy_id = $1 and result_seq = $2 limit 1",
        params![envoy_id, from + 1],
    )?;
    Ok(last.filter(|_| next).unwrap_or(from))
}

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

/// The latest runs of an envoy, newest first.
pub fn latest(conn: &mut Connection, envoy_id: &str, limit: u32) -> Result<Vec<RunRow>, StoreError> {
    select(conn, "", envoy_id, limit)
}

/// The latest runs of an envoy that looked at everything, newest first: what its status is computed from.
pub fn latest_whole(conn: &mut Connection, envoy_id: &str, limit: u32) -> Result<Vec<RunRow>, StoreError> {
    select(conn, "and part is null", envoy_id, limit)
}

fn select(conn: &mut Connection, which: &str, envoy_id: &str, limit: u32) -> Result<Vec<RunRow>, StoreError> {
    let sql = format!(
        "select run_id, result_seq, received_at, started_at, duration_ms, release_serial, offline, interrupted,
         ok, changed, failed, skipped, dropped_from, dropped_to, part
         from runs where envoy_id = $1 {which} order by result_seq desc, run_id desc limit $2"
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
           (select l.run_id from runs l where l.envoy_id = e.id and l.part is null order by l.result_seq desc limit $1)
         where e.revoked_at is null order by e.id, r.result_seq desc"
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
    conn.rows(
        "select x.envoy_id, x.module, cast(sum(case when x.outcome = 'changed' then 1 else 0 end) as bigint),
           cast(sum(case when x.outcome = 'failed' then 1 else 0 end) as bigint)
         from envoys e join results x on x.envoy_id = e.id and x.run_id =
           (select l.run_id from runs l where l.envoy_id = e.id and l.part is null order by l.result_seq desc limit 1)
         where e.revoked_at is null group by x.envoy_id, x.module order by x.envoy_id, x.module",
        &[],
        |r| {
            Ok(ModuleTotals {
                envoy_id: r.get(0)?,
                module: r.get(1)?,
                changed: r.get(2)?,
                failed: r.get(3)?,
            })
        },
    )
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
    /// See [`outcome`].
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

/// Forgets runs received before `time`, but never an envoy's latest: status is computed from it. How many.
pub fn forget_before(conn: &mut Connection, time: u64) -> Result<u64, StoreError> {
    conn.execute(
        "delete from runs where received_at < $1 and result_seq <
         (select max(result_seq) - 10 from runs as r where r.envoy_id = runs.envoy_id and r.part is null)",
        params![int("the time", time)?],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::envoys::{self, tests::candidate};
    use crate::testing::on_each;
    use protocol::pb::{Dropped, ResourceResult, RunTotals};

    fn enrolled(conn: &mut Connection) {
        let envoy = candidate(conn, 1, "web-01");
        envoys::enrol(conn, &envoy, 0).unwrap().unwrap();
    }

    fn report(seq: u64) -> RunReport {
        RunReport {
            run_id: format!("run-{seq}"),
            result_seq: seq,
            started_at: seq * 10,
            totals: Some(RunTotals { ok: 3, changed: 1, ..Default::default() }),
            results: vec![ResourceResult {
                module: "motd".into(),
                resource: "motd".into(),
                outcome: Outcome::Changed.into(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn put(conn: &mut Connection, report: &RunReport) -> Stored {
        store(conn, "e1", report, Hash::of(format!("{report:?}").as_bytes()), 1).unwrap()
    }

    #[test]
    fn case_057_a_report_is_stored_once_however_often_it_comes() {
        on_each(|conn| {
            enrolled(conn);
            for _ in 0..10 {
                assert_eq!(put(conn, &report(1)).acknowledged, 1);
            }
            assert_eq!(latest(conn, "e1", 99).unwrap().len(), 1);
            let results = results(conn, "e1", "run-1").unwrap();
            assert_eq!((results.len(), results[0].outcome.as_str()), (1, "changed"));
        });
    }

    #[test]
    fn case_058_the_first_of_two_contradicting_reports_is_kept() {
        on_each(|conn| {
            enrolled(conn);
            put(conn, &report(1));
            let other = RunReport { duration_ms: 999, ..report(1) };
            let stored = put(conn, &other);
            assert!(stored.repeated && stored.contradicts);
            assert_eq!(latest(conn, "e1", 1).unwrap()[0].duration_ms, 0);
            assert!(!put(conn, &report(1)).contradicts);
        });
    }

    #[test]
    fn case_059_a_gap_is_waited_for_and_then_named() {
        on_each(|conn| {
            enrolled(conn);
            assert_eq!(put(conn, &report(1)).acknowledged, 1);
            assert_eq!(put(conn, &report(4)).acknowledged, 1, "2 and 3 may be under way");
            assert_eq!(put(conn, &report(2)).acknowledged, 2);
            let stored = put(conn, &report(4));
            assert_eq!((stored.acknowledged, stored.lost), (4, vec![(3, 3)]));
            assert_eq!(lost(conn, "e1").unwrap(), [(3, 3)]);
            assert_eq!(put(conn, &report(5)).acknowledged, 5);
        });
    }

    #[test]
    fn what_was_taken_for_lost_and_comes_is_not_lost() {
        on_each(|conn| {
            enrolled(conn);
            put(conn, &report(6));
            put(conn, &report(4));
            assert_eq!(put(conn, &report(6)).lost, [(1, 3), (5, 5)], "4 is there");
            assert_eq!(put(conn, &report(2)).acknowledged, 6);
            assert_eq!(lost(conn, "e1").unwrap(), [(1, 1), (3, 3), (5, 5)]);
            for seq in [5, 1, 3] {
                put(conn, &report(seq));
            }
            assert!(lost(conn, "e1").unwrap().is_empty());
        });
    }

    #[test]
    fn in_whatever_order_they_come_nothing_is_lost() {
        on_each(|conn| {
            enrolled(conn);
            let acknowledged: Vec<u64> =
                [3, 2, 5, 1, 4].map(|seq| put(conn, &report(seq)).acknowledged).to_vec();
            assert_eq!(acknowledged, [0, 0, 0, 3, 5]);
            assert!(lost(conn, "e1").unwrap().is_empty());
        });
    }

    #[test]
    fn case_060_what_the_envoy_says_it_dropped_is_not_waited_for() {
        on_each(|conn| {
            enrolled(conn);
            put(conn, &report(1));
            let folded = RunReport { dropped: Some(Dropped { from_seq: 2, to_seq: 8 }), ..report(9) };
            let stored = put(conn, &folded);
            assert_eq!((stored.acknowledged, stored.lost), (9, vec![]));
            assert_eq!(latest(conn, "e1", 1).unwrap()[0].dropped, Some((2, 8)));
        });
    }

    #[test]
    fn a_number_used_twice_is_noticed() {
        on_each(|conn| {
            enrolled(conn);
            put(conn, &report(1));
            let clone = RunReport { run_id: "another".into(), ..report(1) };
            let stored = put(conn, &clone);
            assert!(stored.number_reused && !stored.repeated);
            assert_eq!(stored.acknowledged, 1);
        });
    }

    #[test]
    fn old_runs_go_and_the_latest_stay() {
        on_each(|conn| {
            enrolled(conn);
            for seq in 1..=30 {
                put(conn, &report(seq));
            }
            assert_eq!(forget_before(conn, 2).unwrap(), 19);
            assert_eq!(latest(conn, "e1", 99).unwrap().len(), 11);
            assert_eq!(put(conn, &report(31)).acknowledged, 31);
        });
    }

    #[test]
    fn numbers_beyond_the_database_are_refused() {
        on_each(|conn| {
            enrolled(conn);
            let report = RunReport { result_seq: u64::MAX, ..report(1) };
            let refused = store(conn, "e1", &report, Hash::default(), 1);
            assert!(matches!(refused, Err(StoreError::Range(_))));
        });
    }
}
