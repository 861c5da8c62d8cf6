//! How an envoy is doing, from its runs and its last request.

use crate::store::envoys::EnvoyRow;
use crate::store::runs::RunRow;
use serde::Serialize;

/// How many runs [`Status::of`] wants to see.
pub const RUNS: u32 = 5;

/// Whether the host is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reachability {
    /// Within one and a half of its intervals.
    Online,
    /// Later than that.
    Late,
    /// Later than two and a half, or never.
    Offline,
}

/// All three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether the host is as it should be.
    pub health: Health,
    /// Whether somebody else changes it.
    pub drift: Drift,
    /// Whether the envoy speaks to the server.
    pub reachability: Reachability,
}

impl Status {
    /// From the envoy and its latest [`RUNS`] runs of everything, newest first.
    pub fn of(envoy: &EnvoyRow, runs: &[RunRow], now: u64) -> Self {
        Status { health: health(runs), drift: drift(runs), reachability: reachability(envoy, now) }
    }

    /// Whether it counts as compliant. Lack of data never does.
    pub fn compliant(self) -> bool {
        self.health == Health::Converged && self.drift == Drift::None
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
        || last.ok + last.changed == 0
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

fn reachability(envoy: &EnvoyRow, now: u64) -> Reachability {
    let Some(seen) = envoy.last_seen else { return Reachability::Offline };
    let silent = now.saturating_sub(seen).saturating_mul(2);
    if silent <= envoy.interval_ms.saturating_mul(3) {
        Reachability::Online
    } else if silent <= envoy.interval_ms.saturating_mul(5) {
        Reachability::Late
    } else {
        Reachability::Offline
    }
}

macro_rules! text {
    ($($kind:ident { $($name:ident = $text:literal),* })*) => {$(
        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $($kind::$name => $text),* })
            }
        }
    )*};
}
text! {
    Health { Converged = "converged", Degraded = "degraded", Failed = "failed", NoData = "no data" }
    Drift { None = "none", Changed = "changed", Relapsed = "relapsed", Diverged = "diverged" }
    Reachability { Online = "online", Late = "late", Offline = "offline" }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let at = |last_seen, now| {
            let envoy = EnvoyRow {
                id: String::new(),
                hostname: String::new(),
                public_key: [0; 32],
                seal_key: [0; 32],
                enrolled_at: 0,
                revoked_at: None,
                counter: 0,
                seq: 0,
                content: String::new(),
                policy_version: String::new(),
                traits: None,
                last_seen,
                interval_ms: 100,
                agent_version: String::new(),
                acknowledged_seq: 0,
            };
            reachability(&envoy, now)
        };
        assert_eq!(at(None, 0), Reachability::Offline);
        assert_eq!(at(Some(1000), 1150), Reachability::Online);
        assert_eq!(at(Some(1000), 1151), Reachability::Late);
        assert_eq!(at(Some(1000), 1250), Reachability::Late);
        assert_eq!(at(Some(1000), 1251), Reachability::Offline);
        assert_eq!(at(Some(1000), 0), Reachability::Online, "a clock that went back");
    }

    #[test]
    fn lack_of_data_is_not_compliance() {
        let status = |health, drift| Status { health, drift, reachability: Reachability::Online };
        assert!(status(Health::Converged, Drift::None).compliant());
        assert!(!status(Health::NoData, Drift::None).compliant());
        assert!(!status(Health::Converged, Drift::Changed).compliant());
    }
}
