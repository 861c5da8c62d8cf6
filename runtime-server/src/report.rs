//! Taking in what an envoy reports.

use crate::authorise;
use crate::connection::Peer;
use crate::context::Context;
use crate::fleet::Envoy;
use crate::metrics::Suspicion;
use crate::reject::Reject;
use crate::store::runs;
use crate::telemetry::span;
use ir::Hash;
use prost::Message;
use protocol::pb::report_reply::Answer;
use protocol::pb::{Dropped, ReportReply, ResourceResult, RunReport, SignedRequest, Unit};
use protocol::request::Rpc;
use std::ops::RangeInclusive;
use std::sync::Arc;
use tracing::Instrument;

/// Numbers of results: there is always a next one, and JSON holds them.
const NUMBERS: RangeInclusive<u64> = 1..=1 << 53;
/// Results of one run.
const MAX_RESULTS: usize = 100_000;
/// Bytes of what an agent wrote about one resource.
const MAX_TEXT: usize = 4096;

/// Lets a report in and takes it, on whichever way it came.
pub async fn receive(
    context: &Context,
    peer: Option<Peer>,
    signed: &SignedRequest,
) -> Result<ReportReply, Reject> {
    let caller = authorise::admit(context, Rpc::ReportRun, peer, signed).await?;
    let answer = if caller.stale_key {
        Answer::StaleKey(context.keys.current().statement.clone())
    } else {
        take(context, &caller.envoy, &signed.payload).instrument(span!("report")).await?
    };
    Ok(ReportReply { answer: Some(answer) })
}

/// The whole of a report that tells only what differs from another run; `None` when that one is not known as the envoy
/// has it.
async fn whole(context: &Context, envoy: &Envoy, told: &RunReport) -> Result<Option<RunReport>, Reject> {
    let Some(delta) = &told.delta else { return Ok(None) };
    let (id, run) = (envoy.id.clone(), delta.base_run_id.clone());
    let base = context.store.read(move |conn| runs::results(conn, &id, &run)).await?;
    let base = base.into_iter().map(|row| ResourceResult {
        module: row.module,
        resource: row.resource,
        r#type: row.kind,
        outcome: runs::outcome_of(&row.outcome).into(),
        action: row.action,
        error: row.error,
        duration_ms: u32::try_from(row.duration_ms).unwrap_or(u32::MAX),
    });
    Ok(protocol::delta::whole_report(told, base.collect()))
}

/// Stores a report; says up to which number the envoy may forget, or that it has to send the whole.
async fn take(context: &Context, envoy: &Arc<Envoy>, payload: &[u8]) -> Result<Answer, Reject> {
    let mut report = RunReport::decode(payload).map_err(|_| Reject::Malformed("not a report"))?;
    let mut digest = Hash::of(payload);
    if let Some(delta) = &report.delta {
        digest =
            Hash::from_slice(&delta.whole).ok_or(Reject::Malformed("the digest of a report has 32 bytes"))?;
        match whole(context, envoy, &report).await? {
            Some(whole) => report = whole,
            None => return Ok(Answer::NeedWhole(Unit {})),
        }
    }
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
        shorten_texts(result, MAX_TEXT);
    }
    shorten(&mut report.policy_version, MAX_TEXT);
    if let Some(only) = &mut report.only {
        shorten(only, MAX_TEXT);
    }

    let now = context.clock.now();
    let (id, run, seq) = (envoy.id.clone(), report.run_id.clone(), report.result_seq);
    let totals = report.totals.unwrap_or_default();
    let stored = context.store.call(move |conn| runs::store(conn, &id, &report, digest, now)).await?;
    let Some(stored) = stored else {
        context.fleet.remove(&envoy.id);
        return Err(Reject::UnknownEnvoy);
    };
    let (id, host) = (&*envoy.id, envoy.hostname.as_str());
    if stored.contradicts {
        context.metrics.suspect(Suspicion::Contradiction);
        tracing::warn!(
            envoy = id,
            host,
            run,
            "a run was reported twice with different content; the first is kept"
        );
    }
    if stored.number_reused {
        context.metrics.suspect(Suspicion::NumberReused);
        tracing::warn!(
            envoy = id,
            host,
            run,
            seq,
            "a result's number was used before: a restored or cloned disk?"
        );
    }
    for (from, to) in stored.lost {
        context.metrics.suspect(Suspicion::Lost);
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
    Ok(Answer::AcknowledgedSeq(stored.acknowledged))
}

/// Cuts each text of a result to so many bytes.
pub(crate) fn shorten_texts(result: &mut ResourceResult, most: usize) {
    for text in
        [&mut result.module, &mut result.resource, &mut result.r#type, &mut result.action, &mut result.error]
    {
        shorten(text, most);
    }
}

/// Cuts a text to so many bytes.
pub(crate) fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}
