//! Compliance of the fleet over time: a few numbers every few minutes.

use super::value::params;
use super::{Connection, StoreError, int};

/// How many envoys were what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// All of them.
    pub active: u64,
    /// Converged, without drift, seen lately.
    pub compliant: u64,
    /// Seen lately, and not so.
    pub non_compliant: u64,
    /// Nothing seen lately.
    pub unknown: u64,
}

/// Adds one. The first for a moment counts: servers on one database look at the same fleet.
pub fn add(conn: &mut Connection, sample: &Sample) -> Result<(), StoreError> {
    conn.execute(
        "insert into compliance_samples (at, active, compliant, non_compliant, unknown) values ($1, $2, $3, $4, $5)
         on conflict (at) do nothing",
        params![
            int("the time", sample.at)?,
            int("a count", sample.active)?,
            int("a count", sample.compliant)?,
            int("a count", sample.non_compliant)?,
            int("a count", sample.unknown)?
        ],
    )?;
    Ok(())
}

/// When the latest one was taken.
pub fn latest(conn: &mut Connection) -> Result<Option<u64>, StoreError> {
    Ok(conn.value::<Option<u64>>("select max(at) from compliance_samples", &[])?.flatten())
}

/// Those of a time and after, the oldest first; no more than `most` of them, evenly spread over the time there is, the
/// latest one always among them.
pub fn since(conn: &mut Connection, time: u64, most: u32) -> Result<Vec<Sample>, StoreError> {
    let time = int("the time", time)?;
    let span =
        conn.row("select min(at), max(at) from compliance_samples where at >= $1", params![time], |r| {
            Ok(r.get::<Option<i64>>(0)?.zip(r.get::<Option<i64>>(1)?))
        })?;
    let Some((first, last)) = span.flatten() else { return Ok(Vec::new()) };
    // Counted from the end, so that the parts are `most` at most and the last one has the latest.
    let step = (last - first) / i64::from(most.max(1)) + 1;
    conn.rows(
        "select at, active, compliant, non_compliant, unknown from compliance_samples where at in
           (select max(at) from compliance_samples where at >= $1 group by ($2 - at) / $3)
         order by at",
        params![time, last, step],
        |r| {
            Ok(Sample {
                at: r.get(0)?,
                active: r.get(1)?,
                compliant: r.get(2)?,
                non_compliant: r.get(3)?,
                unknown: r.get(4)?,
            })
        },
    )
}

/// Forgets those before a time.
pub fn forget_before(conn: &mut Connection, time: u64) -> Result<u64, StoreError> {
    conn.execute("delete from compliance_samples where at < $1", params![int("the time", time)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each;

    #[test]
    fn a_long_time_is_told_in_few_samples() {
        on_each(|conn| {
            assert_eq!((since(conn, 0, 5).unwrap(), latest(conn).unwrap()), (vec![], None));
            for at in 1..=1000 {
                add(conn, &Sample { at: at * 10, ..Sample::default() }).unwrap();
            }
            for (time, most) in [(0, 1), (0, 7), (4321, 7), (0, 100), (9000, 100), (9500, 1000)] {
                let at: Vec<u64> = since(conn, time, most).unwrap().iter().map(|s| s.at).collect();
                let all = at.iter().all(|at| *at >= time) && at.is_sorted();
                assert!(all && at.last() == Some(&10_000), "{at:?}");
                let there = 1000 - time.saturating_sub(1) / 10;
                let enough = (u64::from(most) / 2).min(there)..=u64::from(most);
                assert!(enough.contains(&(at.len() as u64)), "{} of {most} since {time}", at.len());
                let gaps: Vec<u64> = at.windows(2).map(|w| w[1] - w[0]).collect();
                let even = gaps.iter().max().zip(gaps.iter().min()).is_none_or(|(a, b)| a - b <= 20);
                assert!(even, "{gaps:?}");
            }
        });
    }

    #[test]
    fn samples_stay_until_they_are_old() {
        let sample = |at, active| Sample { at, active, compliant: active, ..Sample::default() };
        on_each(|conn| {
            for at in [30, 10, 20] {
                add(conn, &sample(at, 3)).unwrap();
            }
            add(conn, &sample(20, 9)).unwrap();
            assert_eq!(since(conn, 11, 9).unwrap(), [sample(20, 3), sample(30, 3)]);
            assert_eq!(latest(conn).unwrap(), Some(30));
            assert_eq!(forget_before(conn, 30).unwrap(), 2);
            assert_eq!(since(conn, 0, 9).unwrap().len(), 1);
        });
    }
}
