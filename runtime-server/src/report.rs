//! Taking in what an envoy reports.

use crate::context::Context;
use crate::fleet::Envoy;
use crate::reject::Reject;
use crate::store::runs;
use ir::Hash;
use prost::Message;
use protocol::pb::{Dropped, RunReport};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Numbers of results: there is always a next one, and JSON holds them.
const NUMBERS: RangeInclusive<u64> = 1..=1 << 53;
/// Results of one run.
const MAX_RESULTS: usize = 100_000;
/// Bytes of what an agent wrote about one resource.
const MAX_TEXT: usize = 4096;

/// Stores a report; the number up to which the envoy may forget.
pub async fn take(context: &Context, envoy: &Arc<Envoy>, payload: &[u8]) -> Result<u64, Reject> {
    let mut report = RunReport::decode(payload).map_err(|_| Reject::Malformed("not a report"))?;
    let run_id = uuid::Uuid::parse_str(&report.run_id);
    // In one spelling, or one run would be stored as several.
    report.run_id = run_id.map_err(|_| Reject::Malformed("the run's id is not a UUID"))?.to_string();
    if !NUMBERS.contains(&report.result_seq) {
        return Err(Reject::Malformed("results are numbered from 1 to 2^53"));
    }
    if report.results.len() > MAX_RESULTS {
        return Err(Reject::Malformed("too many results"));
    }
    // A report that stands for others has the number of the last of them, or a later one.
    let fits = |d: &Dropped| d.from_seq >= 1 && (d.from_seq..=report.result_seq).contains(&d.to_seq);
    if !report.dropped.as_ref().is_none_or(fits) {
        return Err(Reject::Malformed("the range of dropped results"));
    }
    for result in &mut report.results {
        for text in [
            &mut result.module,
            &mut result.resource,
            &mut result.r#type,
            &mut result.action,
            &mut result.error,
        ] {
            shorten(text);
        }
    }
    shorten(&mut report.policy_version);
    if let Some(only) = &mut report.only {
        shorten(only);
    }

    let (digest, now) = (Hash::of(payload), context.clock.now());
    let (id, run, seq) = (envoy.id.clone(), report.run_id.clone(), report.result_seq);
    let totals = report.totals.unwrap_or_default();
    let stored = context.store.call(move |conn| runs::store(conn, &id, &report, digest, now)).await?;
    let Some(stored) = stored else {
        context.fleet.remove(&envoy.id);
        return Err(Reject::UnknownEnvoy);
    };
    let (id, host) = (&*envoy.id, envoy.hostname.as_str());
    if stored.contradicts {
        tracing::warn!(
            envoy = id,
            host,
            run,
            "a run was reported twice with different content; the first is kept"
        );
    }
    if stored.number_reused {
        tracing::warn!(
            envoy = id,
            host,
            run,
            seq,
            "a result's number was used before: a restored or cloned disk?"
        );
    }
    for (from, to) in stored.lost {
        tracing::warn!(envoy = id, host, from, to, "results were lost before they reached the server");
    }
    if !stored.repeated {
        context.metrics.resources(
            totals.ok.into(),
            totals.changed.into(),
            totals.failed.into(),
            totals.skipped.into(),
        );
        tracing::info!(
            envoy = id,
            host,
            run,
            ok = totals.ok,
            changed = totals.changed,
            failed = totals.failed,
            skipped = totals.skipped,
            "run reported"
        );
    }
    envoy.state().last_seen = now;
    context.fleet.touch(envoy);
    Ok(stored.acknowledged)
}

fn shorten(text: &mut String) {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}
