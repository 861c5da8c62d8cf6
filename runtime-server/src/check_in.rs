//! What an envoy gets.
//!
//! The answer depends on the envoy's own pair of variant and secret versions, never on the release's number
//! alone: a changed trait or a rotated secret changes one envoy's bundle while the number stands still. While
//! nothing changed, the answer is made from memory.

mod bundle;

use crate::catalog::{NoVariant, Plan, content_of};
use crate::connection::Peer;
use crate::context::Context;
use crate::fleet::Envoy;
use crate::live_key::{KeyError, LiveKey};
use crate::metrics::CheckIn;
use crate::policy::Variant;
use crate::reject::Reject;
use crate::secrets::{PATIENCE, Secret, SecretError};
use crate::store::envoys::{self, Assigned, Unassigned, Wanted};
use crate::store::pushes;
use crate::telemetry::span;
use crate::{assign, authorise, trait_changes};
use bundle::Bundle;
use ir::{Hash, wire};
use prost::Message;
use protocol::key_statement;
use protocol::pb::check_in_reply::Answer;
use protocol::pb::{self, CheckInReply, CheckInRequest, RequestHeader, SignedRequest};
use protocol::request::Rpc;
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// Bytes of encoded traits.
pub const MAX_TRAITS_BYTES: usize = 1 << 20;

/// Lets a check-in in and answers it, on whichever way it came.
pub async fn receive(
    context: &Arc<Context>,
    peer: Option<Peer>,
    signed: &SignedRequest,
) -> Result<CheckInReply, Reject> {
    let started = Instant::now();
    let span = span!("check-in", outcome);
    let answered = admitted(context, peer, signed).instrument(span.clone()).await;
    let outcome = answered.as_ref().map_or(CheckIn::Rejected, |(answer, _)| CheckIn::of(answer));
    span.record("outcome", outcome.name());
    context.metrics.checkin(outcome, started.elapsed());
    let (answer, stream_requested) = answered?;
    let (next_check_in, jitter_percent) =
        context.pace.asked(context.checkin.interval, context.checkin.jitter_percent);
    Ok(CheckInReply { answer: Some(answer), next_check_in, jitter_percent, stream_requested })
}

/// And whether a stream is wanted.
async fn admitted(
    context: &Arc<Context>,
    peer: Option<Peer>,
    signed: &SignedRequest,
) -> Result<(Answer, bool), Reject> {
    let caller = authorise::admit(context, Rpc::CheckIn, peer, signed).await?;
    let asked =
        CheckInRequest::decode(signed.payload.as_slice()).map_err(|_| Reject::Malformed("not a check-in"))?;
    let answer = if caller.stale_key {
        stale_key(context, &caller.envoy, &asked).await
    } else {
        answer(context, &caller.envoy, &caller.header, asked).await?
    };
    Ok((answer, context.dispatch.wants_stream(&caller.envoy, &context.pace)))
}

/// Whether an envoy with an open stream would get something else than what it was told last; what it would find out if it
/// checked in. `released`: there is another release, so one that would get nothing is to hear that, too.
pub async fn has_news(context: &Arc<Context>, envoy: &Arc<Envoy>, released: bool) -> Result<bool, Reject> {
    if !envoy.has_facts() {
        return Ok(released);
    }
    let Ok(plan) = plan(context, envoy).await? else { return Ok(released) };
    let Ok(secrets) = secrets(context, envoy, &plan.variant).await? else { return Ok(released) };
    let content = content(&plan, &secrets);
    let state = envoy.state();
    Ok(state.forced || state.content != content)
}

/// The statement of the live key for an agent that named another one; of a newer key, if the agent proves that it has seen a
/// later epoch than this database gave out. What an agent has seen does not count when there was a reset that it does not
/// know.
pub async fn stale_key(context: &Context, envoy: &Envoy, request: &CheckInRequest) -> Answer {
    let live = context.keys.current();
    if request.reset < live.reset {
        return Answer::StaleKey(live.statement.clone());
    }
    match follow(context, envoy, request).await {
        Ok(Followed::Live(live)) => Answer::StaleKey(live.statement.clone()),
        Ok(Followed::Unproven) => Answer::NeedProof(pb::Unit {}),
        Err(e) => epoch_refusal(&e),
    }
}

enum Followed {
    Live(Arc<LiveKey>),
    Unproven,
}

/// An envoy's word alone moves no key: it has to bring the statement, which the signer identity signed, and so this cluster
/// once gave out. A rogue envoy cannot make one, and an old one is no news.
async fn follow(context: &Context, envoy: &Envoy, request: &CheckInRequest) -> Result<Followed, KeyError> {
    let known = context.keys.current();
    if request.epoch <= known.epoch || context.keys.is_ours(request.epoch, &context.store).await? {
        return Ok(Followed::Live(known));
    }
    let Some(statement) = &request.seen else { return Ok(Followed::Unproven) };
    let now = context.clock.now();
    let proven = match key_statement::verify(statement, &context.ca.der, &context.cluster_id, now) {
        Ok(proven) => proven.epoch,
        Err(e) => {
            tracing::warn!(
                envoy = %envoy.id, host = envoy.hostname, epoch = request.epoch, error = %e,
                "an envoy claims to have seen a later epoch and cannot prove it"
            );
            return Err(KeyError::Unproven { reported: request.epoch });
        }
    };
    if proven < request.epoch {
        return Err(KeyError::Unproven { reported: request.epoch });
    }
    tracing::warn!(envoy = %envoy.id, host = envoy.hostname, epoch = proven, "an envoy proves a later epoch");
    context.keys.lift_above(proven, &context.store).await.map(Followed::Live)
}

fn epoch_refusal(e: &KeyError) -> Answer {
    tracing::error!(error = %e, "cannot follow an envoy's epoch");
    refusal("epoch-ahead", e.to_string())
}

fn refusal(code: &str, message: String) -> Answer {
    Answer::Refusal(pb::Refusal { code: code.to_owned(), message })
}

/// Decides.
pub async fn answer(
    context: &Arc<Context>,
    envoy: &Arc<Envoy>,
    header: &RequestHeader,
    mut request: CheckInRequest,
) -> Result<Answer, Reject> {
    if request.held_modules.len() > ir::manifest::MAX_MODULES {
        return Err(Reject::Malformed("too many modules held"));
    }
    let _turn = envoy.turn.lock().await;
    {
        let mut state = envoy.state();
        state.last_seen = context.clock.now();
        state.interval_ms = context.pace.asked(context.checkin.interval, 0).0.into();
        if *state.agent_version != *request.agent_version {
            let version: String =
                request.agent_version.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
            state.agent_version = version.into();
        }
        state.asked = true;
    }
    context.fleet.touch(envoy);

    // Taken in even when the answer is a refusal: the agent will not send them again.
    if let Some(delta) = request.traits_delta.take() {
        request.traits = undelta(context, envoy, &delta).await?;
    }
    let traits = take_traits(context, envoy, &request)?;
    let live = context.keys.current();
    // The epoch of another server is as good as ours.
    if request.reset < live.reset
        || request.epoch > live.epoch && !context.keys.is_ours(request.epoch, &context.store).await?
    {
        return Ok(stale_key(context, envoy, &request).await);
    }
    if request.ir_format != ir::IR_FORMAT {
        let message =
            format!("the agent reads format {}, this server writes {}", request.ir_format, ir::IR_FORMAT);
        return Ok(refusal("ir-format", message));
    }
    match traits {
        Traits::Known => {}
        Traits::Wanted => return Ok(Answer::NeedTraits(pb::Unit {})),
        Traits::Unsteady => return Ok(unsteady(envoy)),
    }
    let plan = match plan(context, envoy).await? {
        Ok(plan) => plan,
        Err(e) => return Ok(no_variant(envoy, &e)),
    };
    let secrets = match secrets(context, envoy, &plan.variant).await? {
        Ok(secrets) => secrets,
        Err(e) => {
            tracing::error!(envoy = %envoy.id, host = envoy.hostname, error = %e, "no bundle: a secret cannot be had");
            // Where secrets are kept is no business of a host.
            let path = e.path();
            return Ok(match e {
                SecretError::Denied { .. } => refusal("secret-denied", e.to_string()),
                _ => refusal(
                    "secret-missing",
                    format!("the secret `{path}` is not available; the server's log says why"),
                ),
            });
        }
    };
    let content = content(&plan, &secrets);
    let version = plan.policy_version(live.epoch, &content);
    let seq = match sequence(context, envoy, &request, &content).await? {
        Ok(seq) => seq,
        Err(refused) => return Ok(refused),
    };

    let bundle = Bundle { context, envoy, header, plan: &plan, secrets: &secrets, live: &live, version, seq };
    let forced = std::mem::take(&mut envoy.state().forced);
    let answer = bundle.answer(request, !forced, &content);
    if matches!(answer, Answer::Refusal(_)) {
        // Nothing was sent, so whoever asked for it still waits.
        envoy.state().forced |= forced;
        return Ok(answer);
    }
    if forced {
        let id = envoy.id.clone();
        // On record before it is sent; if it cannot be, the envoy gets the bundle once more.
        if let Err(e) = context.store.call(move |conn| pushes::served(conn, &id)).await {
            tracing::error!(error = %e, "it is not on record that a bundle was sent again");
        }
    }
    let mut state = envoy.state();
    state.policy_version = bundle.version;
    state.told = true;
    drop(state);
    // Once more: what was touched at the beginning may have been stored meanwhile.
    context.fleet.touch(envoy);
    Ok(answer)
}

fn content(plan: &Plan, secrets: &Secrets) -> Arc<str> {
    plan.content.clone().unwrap_or_else(|| {
        let versions: Vec<_> = secrets.iter().map(|(path, s)| (path.as_str(), s.version.as_str())).collect();
        content_of(&plan.variant, &versions)
    })
}

/// The traits that a delta stands for, where it fits those that are known.
async fn undelta(
    context: &Context,
    envoy: &Envoy,
    delta: &pb::TraitsDelta,
) -> Result<Option<Vec<u8>>, Reject> {
    let unsaved = {
        let state = envoy.state();
        if delta.base != state.traits_digest.0 || delta.changed.len() > MAX_TRAITS_BYTES {
            return Ok(None);
        }
        state.unsaved.as_ref().map(|unsaved| unsaved.to_vec())
    };
    let known = match unsaved {
        Some(unsaved) => Some(unsaved),
        None => {
            let id = envoy.id.clone();
            context.store.read(move |conn| envoys::by_id(conn, &id)).await?.and_then(|row| row.traits)
        }
    };
    Ok(known.and_then(|known| protocol::delta::apply_traits(&known, delta)))
}

/// What became of the traits of a request.
enum Traits {
    /// They are known.
    Known,
    /// They have to be asked for.
    Wanted,
    /// Those that others share change too often; they were not taken.
    Unsteady,
}

fn take_traits(context: &Context, envoy: &Envoy, request: &CheckInRequest) -> Result<Traits, Reject> {
    let digest = Hash::from_slice(&request.traits_digest)
        .ok_or(Reject::Malformed("the digest of the traits has 32 bytes"))?;
    let known = envoy.state().traits_digest == digest && envoy.has_facts();
    let Some(traits) = &request.traits else {
        return Ok(if known { Traits::Known } else { Traits::Wanted });
    };
    if traits.len() > MAX_TRAITS_BYTES {
        return Err(Reject::Malformed("the traits are too large"));
    }
    if Hash::of(traits) != digest {
        return Err(Reject::Malformed("the traits do not fit their digest"));
    }
    if !known {
        let Ok(value @ ir::Value::Map(_)) = wire::decode_value(traits) else {
            return Err(Reject::Malformed("the traits are not an encoded map"));
        };
        if !context.fleet.take_facts(envoy, &value, Instant::now()) {
            return Ok(Traits::Unsteady);
        }
        let mut state = envoy.state();
        state.unsaved = Some(traits.as_slice().into());
        state.traits_digest = digest;
    }
    Ok(Traits::Known)
}

/// Every new set of shared traits is compiled for, so one host must not make the server compile all day.
fn unsteady(envoy: &Envoy) -> Answer {
    tracing::warn!(
        envoy = %envoy.id, host = envoy.hostname,
        "the traits that an envoy shares with others change all the time; it gets nothing until they are steady"
    );
    let message = format!(
        "traits such as `os.version` changed more than {} times within an hour; see what `vigo traits` shows",
        trait_changes::MOST
    );
    refusal("traits-unsteady", message)
}

/// From memory, unless nobody like this envoy was here since the release.
async fn plan(context: &Arc<Context>, envoy: &Arc<Envoy>) -> Result<Result<Arc<Plan>, NoVariant>, Reject> {
    let kind = envoy.kind();
    if let Some(known) = context.catalog.known(&envoy.hostname, &kind) {
        return Ok(known);
    }
    let Some(facts) = kind.facts else { return Err(Reject::Internal) };
    let (this, host) = (context.clone(), envoy.clone());
    let found = tokio::task::spawn_blocking(move || this.catalog.plan(&host.hostname, &facts));
    let found = found.await.map_err(|e| {
        tracing::error!(envoy = %envoy.id, host = envoy.hostname, error = %e, "compiling a variant crashed");
        Reject::Internal
    })?;
    Ok(found.and_then(|(placed, plan)| {
        envoy.set_class(placed);
        plan
    }))
}

fn no_variant(envoy: &Envoy, e: &NoVariant) -> Answer {
    tracing::warn!(envoy = %envoy.id, host = envoy.hostname, reason = %e, "no bundle for this envoy");
    let code = match e {
        NoVariant::NoRelease => "no-release",
        NoVariant::NoEntry(_) => "no-node-entry",
        NoVariant::Policy(_) => "policy-error",
        NoVariant::TooLarge(_) => "bundle-too-large",
    };
    refusal(code, e.to_string())
}

type Secrets = Vec<(String, Arc<Secret>)>;

/// Sorted by path, as a manifest wants them.
async fn secrets(
    context: &Arc<Context>,
    envoy: &Envoy,
    variant: &Arc<Variant>,
) -> Result<Result<Secrets, SecretError>, Reject> {
    if variant.secrets.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let may = |path: &&String| context.secret_rules.allow(path, &envoy.hostname, &variant.roles);
    if let Some(path) = variant.secrets.iter().find(|path| !may(path)) {
        let (path, hostname) = (path.clone(), envoy.hostname.clone());
        return Ok(Err(SecretError::Denied { path, hostname }));
    }
    let (context, mut paths) = (context.clone(), variant.secrets.clone());
    let read = tokio::task::spawn_blocking(move || {
        paths.sort();
        paths.dedup();
        let until = Instant::now() + PATIENCE;
        paths.into_iter().map(|path| Ok((path.clone(), context.secrets.get_until(&path, until)?))).collect()
    });
    read.await.map_err(|_| Reject::Internal)
}

/// Gives new content a new number and stores it before it is sent; follows an envoy that knows a higher one than the
/// database, which is how a restored database shows. An envoy that only knows a higher one than this server was
/// answered by another one.
async fn sequence(
    context: &Arc<Context>,
    envoy: &Envoy,
    request: &CheckInRequest,
    content: &Arc<str>,
) -> Result<Result<u64, Answer>, Reject> {
    {
        let state = envoy.state();
        if request.seq <= state.seq && state.content == *content {
            return Ok(Ok(state.seq));
        }
    }
    let wanted = Wanted {
        id: envoy.id.to_string(),
        content: content.to_string(),
        reported: request.seq,
        held: request.policy_version.rsplit('.').next() == Some(&**content),
    };
    let assigned = assign::store(context, wanted).await?;
    let Assigned { seq, known } = match assigned {
        Ok(assigned) => assigned,
        Err(Unassigned::UnknownEnvoy) => {
            context.fleet.remove(&envoy.id);
            return Err(Reject::UnknownEnvoy);
        }
        Err(Unassigned::TooFarAhead { known }) => {
            tracing::error!(
                envoy = %envoy.id, host = envoy.hostname, known, reported = request.seq,
                "an envoy reports a sequence number far ahead; it gets nothing until it is enrolled again"
            );
            let message = format!("sequence number {} is too far ahead of {known}", request.seq);
            return Ok(Err(refusal("seq-ahead", message)));
        }
    };
    if request.seq > known {
        tracing::warn!(
            envoy = %envoy.id, host = envoy.hostname, known, reported = request.seq, seq,
            "an envoy knows a later bundle than this database: was a backup restored?"
        );
    }
    let mut state = envoy.state();
    state.seq = seq;
    state.content = content.clone();
    Ok(Ok(seq))
}
