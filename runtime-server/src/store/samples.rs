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

/// Those of a time and after, the oldest first.
pub fn since(conn: &mut Connection, time: u64) -> Result<Vec<Sample>, StoreError> {
    conn.rows(
        "select at, active, compliant, non_compliant, unknown from compliance_samples where at >= $1 order by at",
        params![int("the time", time)?],
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
    fn samples_stay_until_they_are_old() {
        let sample = |at, active| Sample { at, active, compliant: active, ..Sample::default() };
        on_each(|conn| {
            for at in [30, 10, 20] {
                add(conn, &sample(at, 3)).unwrap();
            }
            add(conn, &sample(20, 9)).unwrap();
            assert_eq!(since(conn, 11).unwrap(), [sample(20, 3), sample(30, 3)]);
            assert_eq!(forget_before(conn, 30).unwrap(), 2);
            assert_eq!(since(conn, 0).unwrap().len(), 1);
        });
    }
}
