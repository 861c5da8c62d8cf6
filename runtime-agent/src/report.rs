//! A run as the server is told of it.

use crate::observe::{Outcome, ResourceReport, RunSummary};
use crate::text::bounded;
use prost::Message;
use protocol::pb;
use std::time::Duration;

/// Results that are `ok` and may be told; the others always are, within the other limits.
const MAX_OK: usize = 1000;
const MAX_RESULTS: usize = 20_000;
const MAX_TEXT: usize = 2000;
/// Of texts, when there are too many of them.
const SHORT_TEXT: usize = 200;
/// All results together: half of what a message may have.
const MAX_BYTES: usize = 8 << 20;

/// Everything but what the store fills in (number, policy). What does not fit is left out, what is `ok` first; the
/// totals count everything.
pub fn report_of(summary: &RunSummary) -> pb::RunReport {
    let mut results = results_of(summary, MAX_OK, MAX_TEXT);
    if bytes(&results) > MAX_BYTES {
        results = results_of(summary, 0, SHORT_TEXT);
        let mut left = MAX_BYTES;
        let fits = results.iter().take_while(|result| {
            left = left.saturating_sub(size(result));
            left > 0
        });
        let fits = fits.count();
        results.truncate(fits);
    }
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

fn results_of(summary: &RunSummary, max_ok: usize, max_text: usize) -> Vec<pb::ResourceResult> {
    let mut ok = 0;
    let told = summary.results.iter().filter(|r| {
        ok += usize::from(r.outcome == Outcome::Ok);
        r.outcome != Outcome::Ok || ok <= max_ok
    });
    told.take(MAX_RESULTS).map(|r| shortened(r, max_text)).collect()
}

/// One resource of it.
pub fn result_of(r: &ResourceReport) -> pb::ResourceResult {
    shortened(r, MAX_TEXT)
}

fn shortened(r: &ResourceReport, max_text: usize) -> pb::ResourceResult {
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
        action: bounded(&r.action, max_text).to_owned(),
        error: bounded(r.error.as_deref().unwrap_or_default(), max_text).to_owned(),
        duration_ms: millis(r.duration),
    }
}

fn bytes(results: &[pb::ResourceResult]) -> usize {
    results.iter().map(size).sum()
}

/// Encoded, with its tag and length.
fn size(result: &pb::ResourceResult) -> usize {
    result.encoded_len() + 6
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{ResourceReport, Totals};

    fn summary(failed: usize, ok: usize, text: usize) -> RunSummary {
        let result = |outcome, at: usize| ResourceReport {
            module: "m".into(),
            resource: format!("m.r{at}"),
            kind: "file".into(),
            outcome,
            action: "x".repeat(text),
            detail: String::new(),
            lines: None,
            diff: None,
            error: Some("e".repeat(text)),
            duration: Duration::ZERO,
        };
        let mut results: Vec<ResourceReport> = (0..ok).map(|at| result(Outcome::Ok, at)).collect();
        results.extend((0..failed).map(|at| result(Outcome::Failed, at)));
        RunSummary {
            run_id: String::new(),
            totals: Totals { ok: ok as u32, failed: failed as u32, ..Totals::default() },
            results,
            duration: Duration::ZERO,
            dry_run: false,
            offline: false,
            stopped: false,
        }
    }

    #[test]
    fn case_068_a_report_fits_a_message_whatever_a_run_had_to_say() {
        let few = report_of(&summary(10, 2000, 5000));
        assert_eq!(few.results.len(), MAX_OK + 10);
        assert_eq!(few.results[0].action.len(), MAX_TEXT);

        let many = report_of(&summary(20_000, 2000, 5000));
        assert!(many.encoded_len() < MAX_BYTES + 1000, "{}", many.encoded_len());
        assert!(many.results.iter().all(|r| r.outcome() == pb::Outcome::Failed));
        assert!(many.results.len() > 18_000, "{}", many.results.len());
        assert_eq!(many.totals.unwrap().ok, 2000);
    }
}
