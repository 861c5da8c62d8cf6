//! Forgetting old runs.

use crate::store::value::params;
use crate::store::{Connection, StoreError, int};

/// How far [`forget_before`] has come: when a run was received, its envoy and its id.
pub type Place = (u64, String, String);

/// Forgets runs received before `time`, but never an envoy's latest, whole or limited to a part: status is computed
/// from them. Looks at `most` runs after a place at most; how many are gone, and where to go on, if there is more.
pub fn forget_before(
    conn: &mut Connection,
    time: u64,
    (at, envoy_id, run_id): &Place,
    most: u32,
) -> Result<(u64, Option<Place>), StoreError> {
    let (time, at) = (int("the time", time)?, int("the time", *at)?);
    conn.transaction(|conn| {
        let last = conn.row(
            "select received_at, envoy_id, run_id from runs
             where received_at < $1 and (received_at, envoy_id, run_id) > ($2, $3, $4)
             order by received_at, envoy_id, run_id limit 1 offset $5",
            params![time, at, envoy_id, run_id, most.saturating_sub(1)],
            |r| Ok((r.get::<u64>(0)?, r.get::<String>(1)?, r.get::<String>(2)?)),
        )?;
        // No envoy's id is empty, so this is everything before the time.
        let (to, to_envoy, to_run) = match &last {
            Some((at, envoy, run)) => (int("the time", *at)?, envoy.as_str(), run.as_str()),
            None => (time, "", ""),
        };
        let gone = conn.execute(
            "delete from runs where (received_at, envoy_id, run_id) > ($1, $2, $3)
             and (received_at, envoy_id, run_id) <= ($4, $5, $6) and result_seq <
             (select max(result_seq) - 10 from runs as r
              where r.envoy_id = runs.envoy_id and (r.part is null) = (runs.part is null))",
            params![at, envoy_id, run_id, to, to_envoy, to_run],
        )?;
        Ok((gone, last))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{enrolled, put, report};
    use super::super::{latest, latest_time};
    use super::*;
    use crate::testing::on_each;
    use protocol::pb::RunReport;

    /// Forgets in steps of `most`; how many went, in how many steps.
    fn forget(conn: &mut Connection, time: u64, most: u32) -> (u64, u32) {
        let (mut place, mut gone, mut steps) = (Place::default(), 0, 0);
        loop {
            let (some, next) = forget_before(conn, time, &place, most).unwrap();
            (gone, steps) = (gone + some, steps + 1);
            match next {
                Some(next) => place = next,
                None => return (gone, steps),
            }
        }
    }

    #[test]
    fn old_runs_go_a_few_at_a_time_and_the_latest_stay() {
        on_each(|conn| {
            enrolled(conn);
            for seq in 1..=30 {
                put(conn, &report(seq));
            }
            assert_eq!(forget(conn, 1, 500), (0, 1), "they are of that moment");
            assert_eq!(forget(conn, 2, 7), (19, 5));
            assert_eq!(latest(conn, "e1", 99).unwrap().len(), 11);
            assert_eq!(put(conn, &report(31)).acknowledged, 31);
            assert_eq!(latest_time(conn).unwrap(), Some(1));
        });
    }

    #[test]
    fn runs_of_a_part_go_as_well_and_leave_the_whole_ones() {
        on_each(|conn| {
            enrolled(conn);
            let part = |seq| RunReport { only: Some("nginx".into()), ..report(seq) };
            for seq in 1..=20 {
                put(conn, &part(seq));
            }
            assert_eq!(forget(conn, 2, 500).0, 9, "without a single whole run");
            put(conn, &report(21));
            for seq in 22..=60 {
                put(conn, &part(seq));
            }
            forget(conn, 2, 500);
            let left: Vec<u64> = latest(conn, "e1", 99).unwrap().iter().map(|r| r.result_seq).collect();
            assert_eq!(left, (50..=60).rev().chain([21]).collect::<Vec<_>>());
        });
    }
}
