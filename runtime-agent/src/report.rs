//! A run as the server is told of it.

use crate::observe::{Outcome, ResourceReport, RunSummary};
use crate::text::bounded;
use protocol::pb;
use std::time::Duration;

/// Results that are `ok` and may be told; the others always are, within the next limit.
const MAX_OK: usize = 1000;
const MAX_RESULTS: usize = 20_000;
const MAX_TEXT: usize = 2000;

/// Everything but what the store fills in (number, policy).
pub fn report_of(summary: &RunSummary) -> pb::RunReport {
    let mut ok = 0;
    let told = summary.results.iter().filter(|r| {
        ok += usize::from(r.outcome == Outcome::Ok);
        r.outcome != Outcome::Ok || ok <= MAX_OK
    });
    let results = told.take(MAX_RESULTS).map(result_of).collect();
    pb::RunReport {
        run_id: summary.run_id.clone(),
        duration_ms: millis(summary.duration),
        totals: Some(pb::RunTotals {
            ok: summary.totals.ok,
            changed: summary.totals.changed,
            failed: summary.totals.failed,
            skipped: summary.totals.skipped,
        }),
        results,
        ..pb::RunReport::default()
    }
}

/// One resource of it.
pub fn result_of(r: &ResourceReport) -> pb::ResourceResult {
    pb::ResourceResult {
        module: r.module.clone(),
        resource: r.resource.clone(),
        r#type: r.kind.clone(),
        outcome: match r.outcome {
            Outcome::Ok => pb::Outcome::Ok,
            Outcome::Changed => pb::Outcome::Changed,
            Outcome::Failed => pb::Outcome::Failed,
            Outcome::Skipped => pb::Outcome::Skipped,
        }
        .into(),
        action: bounded(&r.action, MAX_TEXT).to_owned(),
        error: bounded(r.error.as_deref().unwrap_or_default(), MAX_TEXT).to_owned(),
        duration_ms: millis(r.duration),
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
