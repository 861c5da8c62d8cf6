//! Storing what envoys report, and saying how far they need not report again.
//!
//! An envoy numbers its results without gaps and keeps each until it is acknowledged. The acknowledgement covers
//! everything up to a number, so it stops before a gap: what is missing may still be under way. When the
//! envoy repeats a result that stands behind the gap, it has nothing older to send; then the missing
//! ones are recorded as lost and the acknowledgement moves on.

use super::outcome;
use crate::store::value::{Param, ToParam, params};
use crate::store::{Connection, StoreError, int};
use ir::Hash;
use protocol::pb::RunReport;

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Everything up to here is stored, or will not come.
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

/// Stores a report; `None` when there is no such envoy. `digest` is that of its bytes as received.
pub fn store(
    conn: &mut Connection,
    envoy_id: &str,
    report: &RunReport,
    digest: Hash,
    now: u64,
) -> Result<Option<Stored>, StoreError> {
    let seq = int("the result's number", report.result_seq)?;
    conn.transaction(|conn| {
        // Also a lock: two reports of one envoy are taken in one after the other, whichever server has them.
        let acknowledged: Option<i64> = conn.value(
            "update envoys set acknowledged_seq = acknowledged_seq where id = $1 returning acknowledged_seq",
            params![envoy_id],
        )?;
        let Some(before) = acknowledged else { return Ok(None) };
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
        Ok(Some(Stored { acknowledged, repeated, contradicts, number_reused, lost }))
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
    let mut reached = reached(conn, envoy_id, before)?;
    if repeated && seq > reached {
        for (from, to) in missing(conn, envoy_id, reached, seq)? {
            conn.execute(
                "insert into lost_results (envoy_id, from_seq, to_seq, noticed_at) values ($1, $2, $3, $4)
                 on conflict (envoy_id, from_seq) do nothing",
                params![envoy_id, from, to, int("the time", now)?],
            )?;
            lost.push((from as u64, to as u64));
        }
        reached = self::reached(conn, envoy_id, seq)?;
    }
    if reached > before {
        conn.execute("update envoys set acknowledged_seq = $2 where id = $1", params![envoy_id, reached])?;
    }
    Ok((reached as u64, lost))
}

/// The ranges of numbers after `after` and up to `last`, a stored one, that are neither stored nor known to have been
/// dropped by the envoy itself.
fn missing(
    conn: &mut Connection,
    envoy_id: &str,
    after: i64,
    last: i64,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let covered = conn.rows(
        "select result_seq, dropped_from, dropped_to from runs
         where envoy_id = $1 and result_seq > $2 and result_seq <= $3",
        params![envoy_id, after, last],
        |r| {
            let seq: i64 = r.get(0)?;
            let dropped = r.get::<Option<i64>>(1)?.zip(r.get::<Option<i64>>(2)?);
            Ok([Some((seq, seq)), dropped])
        },
    )?;
    let mut covered: Vec<(i64, i64)> = covered.into_iter().flatten().flatten().collect();
    covered.sort_unstable();
    let (mut missing, mut reached) = (Vec::new(), after);
    for (from, to) in covered {
        if from > reached + 1 {
            missing.push((reached + 1, from - 1));
        }
        reached = reached.max(to);
    }
    Ok(missing)
}

/// The last number reached from `from` on without a gap. What the envoy dropped and said so is no gap: there is nothing
/// to wait for.
fn reached(conn: &mut Connection, envoy_id: &str, from: i64) -> Result<i64, StoreError> {
    let mut reached = from;
    loop {
        reached = contiguous(conn, envoy_id, reached)?;
        let dropped: Option<i64> = conn
            .value::<Option<i64>>(
                "select max(dropped_to) from runs
                 where envoy_id = $1 and result_seq > $2 and dropped_from <= $2 + 1 and dropped_to <= result_seq",
                params![envoy_id, reached],
            )?
            .flatten();
        match dropped {
            Some(to) if to > reached => reached = to,
            _ => return Ok(reached),
        }
    }
}

/// The last stored number reached from `from` on without a gap.
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

#[cfg(test)]
mod tests {
    use super::super::testing::{enrolled, put, report};
    use super::super::{latest, lost, results};
    use super::*;
    use crate::testing::on_each;
    use protocol::pb::Dropped;

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

    /// As an agent folds them: what did not fit, up to the number of the report itself.
    fn folded(from_seq: u64, to_seq: u64) -> RunReport {
        RunReport { dropped: Some(Dropped { from_seq, to_seq }), results: vec![], ..report(to_seq) }
    }

    #[test]
    fn case_060_a_folded_result_is_acknowledged_at_once_and_never_lost() {
        on_each(|conn| {
            enrolled(conn);
            put(conn, &report(1));
            let stored = put(conn, &folded(2, 8));
            assert_eq!((stored.acknowledged, stored.lost), (8, vec![]));
            // It stands alone: one result that did not read back, or a store that was begun anew.
            assert_eq!(put(conn, &folded(9, 9)).acknowledged, 9);
            assert_eq!(put(conn, &report(10)).acknowledged, 10);
            assert!(lost(conn, "e1").unwrap().is_empty());
        });
    }

    #[test]
    fn case_060_a_folded_result_behind_a_gap_waits_and_only_the_gap_is_lost() {
        on_each(|conn| {
            enrolled(conn);
            assert_eq!(put(conn, &folded(3, 8)).acknowledged, 0, "1 and 2 may be under way");
            assert_eq!(put(conn, &report(1)).acknowledged, 1);
            let stored = put(conn, &folded(3, 8));
            assert_eq!((stored.acknowledged, stored.lost), (8, vec![(2, 2)]));
            // The gap is closed by what comes later.
            assert_eq!(put(conn, &folded(10, 12)).acknowledged, 8);
            assert_eq!(put(conn, &report(9)).acknowledged, 12);
            // Another one behind a later gap is not lost with it.
            put(conn, &folded(15, 20));
            put(conn, &report(22));
            let stored = put(conn, &report(22));
            assert_eq!((stored.acknowledged, stored.lost), (22, vec![(13, 14), (21, 21)]));
        });
    }

    #[test]
    fn nobody_reports_for_an_envoy_that_is_not_there() {
        on_each(|conn| {
            enrolled(conn);
            assert_eq!(store(conn, "e9", &report(1), Hash::default(), 1).unwrap(), None);
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
    fn numbers_beyond_the_database_are_refused() {
        on_each(|conn| {
            enrolled(conn);
            let report = RunReport { result_seq: u64::MAX, ..report(1) };
            let refused = store(conn, "e1", &report, Hash::default(), 1);
            assert!(matches!(refused, Err(StoreError::Range(_))));
        });
    }
}
