//! When envoys were heard from, and what they said of themselves: too much to be written one by one.

use super::value::{Param, ToParam, params};
use super::{Connection, StoreError, int};

/// What changes with every request and is written in batches.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The envoy.
    pub id: String,
    /// Highest request counter.
    pub counter: u64,
    /// Last request.
    pub last_seen: u64,
    /// What it asked for; `None` when it did not ask this server since the last batch.
    pub asked: Option<Asked>,
    /// Last told to it; `None` when it was told nothing by this server since the last batch.
    pub policy_version: Option<String>,
    /// Its traits, when they changed.
    pub traits: Option<Vec<u8>>,
}

/// A check-in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it was told to come back.
    pub interval_ms: u64,
    /// What it said it was.
    pub agent_version: String,
}

/// A stored time that is further ahead than this, in milliseconds, is of a clock that was wrong.
const AHEAD_MS: u64 = 300_000;

/// Writes a batch. Counters never fall, and neither do times but for those that have not come yet: another server
/// may have heard from the same envoy since. A revoked envoy stays as it is.
pub fn flush(conn: &mut Connection, batch: &[Seen]) -> Result<(), StoreError> {
    // In one order for all servers, so that two of them wait for each other and do not cross.
    let mut batch: Vec<&Seen> = batch.iter().collect();
    batch.sort_by(|a, b| a.id.cmp(&b.id));
    let mut values = Vec::with_capacity(batch.len() * SEEN);
    batch.retain(|seen| match row_of(seen) {
        Ok(row) => {
            values.extend(row);
            true
        }
        // One of them must not keep all the others from being stored, now and for ever.
        Err(e) => {
            tracing::error!(envoy = seen.id, error = %e, "what is known of an envoy cannot be stored; it is left out");
            false
        }
    });
    conn.transaction(|conn| {
        conn.update_from(
            "update envoys set
             counter = case when v.column2 > counter then v.column2 else counter end,
             last_seen = case when last_seen > v.column3 and last_seen <= v.column4 then last_seen else v.column3 end,
             interval_ms = coalesce(v.column5, interval_ms), agent_version = coalesce(v.column6, agent_version),
             policy_version = coalesce(v.column7, policy_version)",
            &["text", "bigint", "bigint", "bigint", "bigint", "text", "text"],
            "where envoys.id = v.column1 and revoked_at is null",
            &values,
        )?;
        for seen in &batch {
            if let Some(traits) = &seen.traits {
                conn.execute(
                    "update envoys set traits = $2 where id = $1 and revoked_at is null",
                    params![seen.id, traits],
                )?;
            }
        }
        Ok(())
    })
}

/// Values of one [`Seen`] in [`flush`].
const SEEN: usize = 7;

fn row_of(seen: &Seen) -> Result<[Param<'_>; SEEN], StoreError> {
    Ok([
        seen.id.to_param(),
        Param::Int(int("the counter", seen.counter)?),
        Param::Int(int("the time", seen.last_seen)?),
        Param::Int(int("the time", seen.last_seen.saturating_add(AHEAD_MS))?),
        match &seen.asked {
            Some(asked) => Param::Int(int("the interval", asked.interval_ms)?),
            None => Param::Null,
        },
        seen.asked.as_ref().map_or(Param::Null, |asked| asked.agent_version.to_param()),
        seen.policy_version.to_param(),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::envoys::tests::candidate;
    use super::super::envoys::{Assigned, Wanted, assign, by_id, enrol, find, revoke};
    use super::*;
    use crate::testing::on_each;

    #[test]
    fn numbers_never_fall() {
        on_each(|conn| {
            let first = candidate(conn, 1, "web-01");
            enrol(conn, &first, 5).unwrap().unwrap();
            let wanted = Wanted { id: "e1".into(), content: "c4".into(), reported: 3, held: false };
            assert_eq!(assign(conn, &wanted, 9).unwrap(), Ok(Assigned { seq: 4, known: 0 }));
            flush(conn, &[Seen { traits: Some(vec![1]), ..seen(9, 90) }]).unwrap();
            flush(conn, &[seen(8, 80)]).unwrap();
            let row = find(conn, "e1").unwrap().unwrap();
            assert_eq!((row.seq, row.content.as_str()), (4, "c4"));
            assert_eq!((row.counter, row.last_seen, row.traits), (9, Some(90), Some(vec![1])));
        });
    }

    fn seen(counter: u64, last_seen: u64) -> Seen {
        Seen { id: "e1".into(), counter, last_seen, asked: None, policy_version: None, traits: None }
    }

    #[test]
    fn a_time_that_has_not_come_yet_falls() {
        on_each(|conn| {
            let first = candidate(conn, 1, "web-01");
            enrol(conn, &first, 5).unwrap().unwrap();
            let mut last = |time| {
                flush(conn, &[seen(1, time)]).unwrap();
                find(conn, "e1").unwrap().unwrap().last_seen
            };
            let year = 365 * 86_400_000;
            assert_eq!(last(year), Some(year), "the clock was wrong");
            assert_eq!(last(90), Some(90), "and was set right");
            assert_eq!(last(90 + AHEAD_MS), Some(90 + AHEAD_MS));
            assert_eq!(last(90), Some(90 + AHEAD_MS), "another server heard from it since");
        });
    }

    #[test]
    fn case_036_a_number_that_does_not_fit_keeps_nobody_else_from_being_stored() {
        on_each(|conn| {
            for n in 1..=2 {
                let one = candidate(conn, n, &format!("h{n}"));
                enrol(conn, &one, 5).unwrap().unwrap();
            }
            let other = Seen { id: "e2".into(), ..seen(7, 70) };
            flush(conn, &[seen(u64::MAX, 70), other]).unwrap();
            let counter = |conn: &mut Connection, id| find(conn, id).unwrap().unwrap().counter;
            assert_eq!((counter(conn, "e1"), counter(conn, "e2")), (0, 7));
        });
    }

    #[test]
    fn what_a_server_does_not_know_it_does_not_overwrite() {
        on_each(|conn| {
            let first = candidate(conn, 1, "web-01");
            enrol(conn, &first, 5).unwrap().unwrap();
            let asked = Some(Asked { interval_ms: 300, agent_version: "1.2".into() });
            flush(conn, &[Seen { asked, policy_version: Some("7.1.c".into()), ..seen(9, 90) }]).unwrap();
            flush(conn, &[seen(10, 100)]).unwrap();
            let row = find(conn, "e1").unwrap().unwrap();
            assert_eq!((row.counter, row.interval_ms), (10, 300));
            assert_eq!((row.agent_version.as_str(), row.policy_version.as_str()), ("1.2", "7.1.c"));
        });
    }

    #[test]
    fn case_034_nothing_of_a_revoked_envoy_comes_back() {
        on_each(|conn| {
            let first = candidate(conn, 1, "web-01");
            enrol(conn, &first, 5).unwrap().unwrap();
            assert!(revoke(conn, "e1", 6).unwrap());
            flush(conn, &[Seen { traits: Some(vec![1]), ..seen(9, 90) }]).unwrap();
            let row = by_id(conn, "e1").unwrap().unwrap();
            assert_eq!((row.traits, row.last_seen, row.counter), (None, None, 0));
        });
    }
}
