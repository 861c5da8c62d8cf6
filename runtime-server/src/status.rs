//! How an envoy is doing, on three axes that are never mixed, and whether it counts as compliant.
//!
//! A pure function of what the server knows: the latest whole runs (a run with `--only` looked at a part and says
//! nothing about the host), the last request, the interval the envoy was told, and the server's clock. An envoy's own
//! clock is never asked.
//!
//! | health | when |
//! | --- | --- |
//! | no data | no run, or the latest one stands for results that the envoy had to drop |
//! | converged | the latest run ended and nothing failed |
//! | failed | the latest run did not end, or nothing worked in it, or it is the third in a row with failures |
//! | degraded | any other run with failures |
//!
//! | drift | changed in the latest runs in a row |
//! | --- | --- |
//! | none, changed, relapsed, diverged | 0, 1, 2, 3 or more |
//!
//! | reachability | silent for |
//! | --- | --- |
//! | online, late, offline | up to 1.5, up to 2.5, more than 2.5 of its own intervals (or for ever) |
//!
//! An envoy is *compliant* when it is converged, nothing drifts, and both its last request and its latest run are at most
//! 2.5 intervals old. Without such fresh data it is *unknown*, whatever it said before; the rest is *non-compliant*.

use crate::store::envoys::EnvoyRow;
use crate::store::runs::RunRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many runs [`Status::of`] looks at.
pub const RUNS: u32 = 3;

/// Whether the host is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// The last run had no failures.
    Converged,
    /// The last run had some.
    Degraded,
    /// Nothing worked, the run did not end, or three in a row had failures.
    Failed,
    /// No run, or only results that had to be dropped.
    NoData,
}

/// Whether somebody else changes the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// The last run changed nothing.
    None,
    /// It did.
    Changed,
    /// So did the one before.
    Relapsed,
    /// And the one before that.
    Diverged,
}

/// Whether the envoy speaks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reachability {
    /// Within one and a half of its intervals.
    Online,
    /// Later than that.
    Late,
    /// Later than two and a half, or never.
    Offline,
}

/// Whether an envoy is as its policy wants it, as far as anybody can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compliance {
    /// Converged, no drift, and that was seen lately.
    Compliant,
    /// Seen lately, and not so.
    NonCompliant,
    /// Nothing was seen lately.
    Unknown,
}

/// All of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Whether the host is as it should be.
    pub health: Health,
    /// Whether somebody else changes it.
    pub drift: Drift,
    /// Whether the envoy speaks to the server.
    pub reachability: Reachability,
    /// What it counts as.
    pub compliance: Compliance,
}

impl Status {
    /// From the envoy and its latest [`RUNS`] whole runs, newest first.
    pub fn of(envoy: &EnvoyRow, runs: &[RunRow], now: u64) -> Self {
        Self::at(envoy.last_seen, envoy.interval_ms, runs, now)
    }

    /// The same from the two fields that matter. `interval_ms` is what the envoy was told.
    pub fn at(last_seen: Option<u64>, interval_ms: u64, runs: &[RunRow], now: u64) -> Self {
        let (health, drift) = (health(runs), drift(runs));
        let reachability = reachability(last_seen, interval_ms, now);
        let fresh = reachability != Reachability::Offline
            && reported(runs, interval_ms, now) != Reachability::Offline;
        let compliance = match (health, drift) {
            (Health::NoData, _) => Compliance::Unknown,
            _ if !fresh => Compliance::Unknown,
            (Health::Converged, Drift::None) => Compliance::Compliant,
            _ => Compliance::NonCompliant,
        };
        Status { health, drift, reachability, compliance }
    }

    /// Whether it counts as compliant. Lack of data never does.
    pub fn compliant(self) -> bool {
        self.compliance == Compliance::Compliant
    }
}

fn health(runs: &[RunRow]) -> Health {
    let Some(last) = runs.first() else { return Health::NoData };
    let failed = |run: &RunRow| run.failed > 0 || run.interrupted;
    if last.dropped.is_some() {
        Health::NoData
    } else if !failed(last) {
        Health::Converged
    } else if last.interrupted
        || last.ok.saturating_add(last.changed) == 0
        || (runs.len() >= 3 && runs.iter().take(3).all(failed))
    {
        Health::Failed
    } else {
        Health::Degraded
    }
}

fn drift(runs: &[RunRow]) -> Drift {
    match runs.iter().take_while(|run| run.changed > 0).count() {
        0 => Drift::None,
        1 => Drift::Changed,
        2 => Drift::Relapsed,
        _ => Drift::Diverged,
    }
}

fn reachability(last_seen: Option<u64>, interval_ms: u64, now: u64) -> Reachability {
    let Some(seen) = last_seen else { return Reachability::Offline };
    let silent = now.saturating_sub(seen).saturating_mul(2);
    if silent <= interval_ms.saturating_mul(3) {
        Reachability::Online
    } else if silent <= interval_ms.saturating_mul(5) {
        Reachability::Late
    } else {
        Reachability::Offline
    }
}

/// The same question about reports: an envoy that asks but tells nothing is as unknown as one that is gone. When a
/// report came is by the server's clock.
fn reported(runs: &[RunRow], interval_ms: u64, now: u64) -> Reachability {
    reachability(runs.first().map(|run| run.received_at), interval_ms, now)
}

macro_rules! text {
    ($($kind:ident { $($name:ident = $text:literal),* })*) => {$(
        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $($kind::$name => $text),* })
            }
        }

        impl $kind {
            /// Every value there is.
            pub const ALL: &[$kind] = &[$($kind::$name),*];
        }
    )*};
}
text! {
    Health { Converged = "converged", Degraded = "degraded", Failed = "failed", NoData = "no data" }
    Drift { None = "none", Changed = "changed", Relapsed = "relapsed", Diverged = "diverged" }
    Reachability { Online = "online", Late = "late", Offline = "offline" }
    Compliance { Compliant = "compliant", NonCompliant = "non-compliant", Unknown = "unknown" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(changed: u64, failed: u64) -> RunRow {
        RunRow {
            run_id: String::new(),
            result_seq: 1,
            received_at: 0,
            started_at: 0,
            duration_ms: 0,
            release_serial: 1,
            offline: false,
            interrupted: false,
            ok: 1,
            changed,
            failed,
            skipped: 0,
            dropped: None,
            part: None,
        }
    }

    #[test]
    fn health_from_the_last_runs() {
        assert_eq!(health(&[]), Health::NoData);
        assert_eq!(health(&[run(0, 0), run(0, 9)]), Health::Converged);
        assert_eq!(health(&[run(0, 1), run(0, 0), run(0, 1)]), Health::Degraded);
        assert_eq!(health(&[run(0, 1), run(0, 1), run(0, 1)]), Health::Failed);
        assert_eq!(health(&[RunRow { ok: 0, ..run(0, 1) }]), Health::Failed);
        assert_eq!(health(&[RunRow { interrupted: true, ..run(0, 0) }]), Health::Failed);
        assert_eq!(health(&[RunRow { dropped: Some((1, 2)), ..run(0, 0) }]), Health::NoData);
    }

    #[test]
    fn drift_from_runs_in_a_row() {
        let runs = |changed: &[u64]| changed.iter().map(|c| run(*c, 0)).collect::<Vec<_>>();
        assert_eq!(drift(&runs(&[])), Drift::None);
        assert_eq!(drift(&runs(&[0, 1, 1])), Drift::None);
        assert_eq!(drift(&runs(&[1, 0, 1])), Drift::Changed);
        assert_eq!(drift(&runs(&[1, 2, 0])), Drift::Relapsed);
        assert_eq!(drift(&runs(&[1, 2, 3, 4])), Drift::Diverged);
    }

    #[test]
    fn reachability_in_its_own_intervals() {
        let at = |last_seen, now| reachability(last_seen, 100, now);
        assert_eq!(at(None, 0), Reachability::Offline);
        assert_eq!(at(Some(1000), 1150), Reachability::Online);
        assert_eq!(at(Some(1000), 1151), Reachability::Late);
        assert_eq!(at(Some(1000), 1250), Reachability::Late);
        assert_eq!(at(Some(1000), 1251), Reachability::Offline);
        assert_eq!(at(Some(1000), 0), Reachability::Online, "a clock that went back");
    }

    #[test]
    fn case_100_lack_of_data_is_not_compliance() {
        let compliance = |runs: &[RunRow], last_seen, now| Status::at(last_seen, 100, runs, now).compliance;
        let good = [run(0, 0)];
        assert_eq!(compliance(&good, Some(0), 250), Compliance::Compliant);
        assert_eq!(compliance(&good, Some(0), 251), Compliance::Unknown, "silent");
        assert_eq!(compliance(&good, Some(251), 251), Compliance::Unknown, "it asks, and reports nothing");
        assert_eq!(compliance(&good, None, 0), Compliance::Unknown);
        assert_eq!(compliance(&[], Some(0), 0), Compliance::Unknown);
        assert_eq!(compliance(&[run(0, 1)], Some(0), 251), Compliance::Unknown);
        assert_eq!(compliance(&[run(0, 1)], Some(0), 250), Compliance::NonCompliant);
        assert_eq!(compliance(&[run(1, 0)], Some(0), 250), Compliance::NonCompliant);
        let dropped = RunRow { dropped: Some((1, 2)), ..run(0, 0) };
        assert_eq!(compliance(&[dropped], Some(0), 0), Compliance::Unknown);
        let wrong_clock = RunRow { started_at: u64::MAX, ..run(0, 0) };
        assert_eq!(compliance(&[wrong_clock], Some(0), 251), Compliance::Unknown, "its clock is not asked");
    }

    prop_compose! {
        fn any_run()(
            received_at in 0..2000u64, started_at in any::<u64>(), interrupted in prop::bool::weighted(0.1),
            ok in 0..3u64, changed in 0..3u64, failed in 0..3u64, dropped in prop::bool::weighted(0.1),
        ) -> RunRow {
            let dropped = dropped.then_some((1, 2));
            RunRow { received_at, started_at, interrupted, ok, dropped, ..run(changed, failed) }
        }
    }

    fn any_runs() -> impl Strategy<Value = Vec<RunRow>> {
        prop::collection::vec(any_run(), 0..6)
    }

    proptest! {
        #[test]
        fn case_100_compliant_is_only_who_was_seen_to_be(
            runs in any_runs(), seen in prop::option::of(0..2000u64), interval in 0..500u64, now in 0..5000u64,
        ) {
            let status = Status::at(seen, interval, &runs, now);
            if status.compliant() {
                let last = runs.first().unwrap();
                prop_assert!(last.changed == 0 && last.failed == 0 && !last.interrupted && last.dropped.is_none());
                for heard in [seen.unwrap(), last.received_at] {
                    prop_assert!(2 * now.saturating_sub(heard) <= 5 * interval);
                }
            }
            if status.compliance == Compliance::NonCompliant {
                prop_assert!(status.health != Health::NoData && status.reachability != Reachability::Offline);
            }
        }

        #[test]
        fn time_alone_only_takes_away(
            runs in any_runs(), seen in prop::option::of(0..2000u64), interval in 0..500u64, now in 0..5000u64,
            later in 0..5000u64,
        ) {
            let before = Status::at(seen, interval, &runs, now);
            let after = Status::at(seen, interval, &runs, now + later);
            prop_assert!(after.reachability >= before.reachability);
            prop_assert_eq!((after.health, after.drift), (before.health, before.drift));
            let same_or_unknown = [before.compliance, Compliance::Unknown];
            prop_assert!(same_or_unknown.contains(&after.compliance));
        }

        #[test]
        fn a_run_moves_each_axis_by_the_rules(new in any_run(), runs in any_runs()) {
            let before = (health(&runs), drift(&runs));
            let mut with = runs.clone();
            with.insert(0, new.clone());
            let after = (health(&with), drift(&with));
            if new.changed == 0 {
                prop_assert_eq!(after.1, Drift::None);
            } else {
                prop_assert_eq!(after.1, match before.1 {
                    Drift::None => Drift::Changed,
                    Drift::Changed => Drift::Relapsed,
                    Drift::Relapsed | Drift::Diverged => Drift::Diverged,
                });
            }
            let failed = new.failed > 0 || new.interrupted;
            prop_assert_eq!(after.0 == Health::NoData, new.dropped.is_some());
            prop_assert_eq!(after.0 == Health::Converged, new.dropped.is_none() && !failed);
            if after.0 == Health::Degraded {
                prop_assert!(new.ok + new.changed > 0, "something worked");
            }
        }

        #[test]
        fn only_the_latest_runs_count(runs in any_runs(), now in 0..5000u64) {
            let few: Vec<RunRow> = runs.iter().take(RUNS as usize).cloned().collect();
            prop_assert_eq!(Status::at(Some(0), 100, &runs, now), Status::at(Some(0), 100, &few, now));
        }
    }
}
