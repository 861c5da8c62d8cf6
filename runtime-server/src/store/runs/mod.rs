//! What envoys report about their runs.

mod forget;
mod list;
mod take;

pub use forget::{Place, forget_before};
pub use list::{
    ModuleTotals, ResultRow, RunRow, Which, find, latest, latest_time, latest_whole, latest_whole_of_all,
    lost, module_totals, page, results,
};
pub use take::{Stored, store};

use protocol::pb::Outcome;

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

#[cfg(test)]
mod testing {
    use super::{Stored, store};
    use crate::store::Connection;
    use crate::store::envoys::{self, tests::candidate};
    use ir::Hash;
    use protocol::pb::{Outcome, ResourceResult, RunReport, RunTotals};

    pub(super) fn enrolled(conn: &mut Connection) {
        let envoy = candidate(conn, 1, "web-01");
        envoys::enrol(conn, &envoy, 0).unwrap().unwrap();
    }

    pub(super) fn report(seq: u64) -> RunReport {
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

    pub(super) fn put(conn: &mut Connection, report: &RunReport) -> Stored {
        store(conn, "e1", report, Hash::of(format!("{report:?}").as_bytes()), 1).unwrap().unwrap()
    }
}
