//! What an envoy gets.
//!
//! The answer depends on the envoy's own pair of variant and secret versions, never on the release's number
//! alone: a changed trait or a rotated secret changes one envoy's bundle while the number stands still. While
//! nothing changed, the answer is made from memory.

use crate::catalog::NoVariant;
use crate::context::Context;
use crate::fleet::{Envoy, Plan, State};
use crate::live_key::{KeyError, LiveKey, MAX_JUMP};
use crate::policy::Variant;
use crate::reject::Reject;
use crate::secrets::{Secret, SecretError};
use crate::store::envoys::{self, Assigned, Wanted};
use ir::manifest::{ModuleRow, SecretRef};
use ir::{Hash, Lease, Manifest, wire};
use protocol::pb::check_in_reply::Answer;
use protocol::pb::{self, CheckInReply, CheckInRequest, RequestHeader};
use protocol::secrets::SecretContext;
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of encoded traits.
pub const MAX_TRAITS_BYTES: usize = 1 << 20;
/// What a message can hold beside modules and secrets.
const ENVELOPE_ROOM: usize = 1 << 20;

/// A reply with the time to come back.
pub fn reply(context: &Context, answer: Answer) -> CheckInReply {
    CheckInReply {
        answer: Some(answer),
        next_check_in: interval_ms(context),
        jitter_percent: context.checkin.jitter_percent,
        stream_requested: false,
    }
}

fn interval_ms(context: &Context) -> u32 {
    u32::try_from(context.checkin.interval.as_millis()).unwrap_or(u32::MAX)
}

/// The statement of the live key for an agent that named another one; of a newer key, if the agent has seen a
/// later epoch than this server.
pub async fn stale_key(context: &Context, seen_epoch: u64) -> Answer {
    match context.keys.lift_above(seen_epoch, &context.store).await {
        Ok(live) => Answer::StaleKey(live.statement.clone()),
        Err(e) => epoch_refusal(&e),
    }
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
    envoy: &Envoy,
    header: &RequestHeader,
    request: CheckInRequest,
) -> Result<Answer, Reject> {
    if request.held_modules.len() > ir::manifest::MAX_MODULES {
        return Err(Reject::Malformed("too many modules held"));
    }
    let mut state = envoy.state.lock().await;
    state.last_seen = context.clock.now();
    state.interval_ms = interval_ms(context).into();
    if state.agent_version != request.agent_version {
        state.agent_version =
            request.agent_version.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
    }
    context.fleet.touch(envoy);

    // Taken in even when the answer is a refusal: the agent will not send them again.
    let known = take_traits(&mut state, &request)?;
    let live = context.keys.current();
    // The epoch of another server is as good as ours.
    if request.epoch > live.epoch && !context.keys.is_ours(request.epoch, &context.store).await? {
        return Ok(stale_key(context, request.epoch).await);
    }
    if request.ir_format != ir::IR_FORMAT {
        let message =
            format!("the agent reads format {}, this server writes {}", request.ir_format, ir::IR_FORMAT);
        return Ok(refusal("ir-format", message));
    }
    if !known {
        return Ok(Answer::NeedTraits(pb::Unit {}));
    }
    let plan = match plan(context, envoy, &mut state).await? {
        Ok(plan) => plan,
        Err(e) => return Ok(no_variant(envoy, &e)),
    };
    let secrets = match secrets(context, &plan.variant).await? {
        Ok(secrets) => secrets,
        Err(e) => {
            tracing::error!(envoy = %envoy.id, host = envoy.hostname, error = %e, "no bundle: a secret is missing");
            return Ok(refusal("secret-missing", e.to_string()));
        }
    };
    let content = content(&plan.variant, &secrets);
    let version = format!("{}.{}.{content}", plan.serial, live.epoch);
    if let Some(refused) = sequence(context, envoy, &mut state, &request, &content, &version).await? {
        return Ok(refused);
    }
    state.policy_version.clone_from(&version);

    let bundle = Bundle {
        context,
        envoy,
        header,
        plan: &plan,
        secrets: &secrets,
        live: &live,
        version,
        seq: state.seq,
    };
    let forced = std::mem::take(&mut state.forced);
    let whole = !forced && request.state_fingerprint == plan.variant.merkle_root.0;
    if whole && request.policy_version == bundle.version {
        let lease = request.renew.then(|| bundle.lease());
        return Ok(Answer::NoChange(pb::NoChange { policy_version: bundle.version, manifest: None, lease }));
    }
    if whole && request.policy_version.rsplit('.').next() == Some(&content) {
        let (manifest, lease) = (Some(bundle.manifest()), Some(bundle.lease()));
        return Ok(Answer::NoChange(pb::NoChange { policy_version: bundle.version, manifest, lease }));
    }
    Ok(bundle.answer(&request.held_modules))
}

/// False when they have to be asked for.
fn take_traits(state: &mut State, request: &CheckInRequest) -> Result<bool, Reject> {
    let digest = Hash::from_slice(&request.traits_digest)
        .ok_or(Reject::Malformed("the digest of the traits has 32 bytes"))?;
    let Some(traits) = &request.traits else {
        return Ok(state.traits.is_some() && state.traits_digest == digest);
    };
    if traits.len() > MAX_TRAITS_BYTES {
        return Err(Reject::Malformed("the traits are too large"));
    }
    if Hash::of(traits) != digest {
        return Err(Reject::Malformed("the traits do not fit their digest"));
    }
    if state.traits.is_none() || state.traits_digest != digest {
        match wire::decode_value(traits) {
            Ok(ir::Value::Map(_)) => {}
            _ => return Err(Reject::Malformed("the traits are not an encoded map")),
        }
        state.traits = Some(traits.as_slice().into());
        state.traits_digest = digest;
        state.traits_stored = false;
    }
    Ok(true)
}

/// The variant: the one of last time, unless the release or the traits are others.
async fn plan(
    context: &Arc<Context>,
    envoy: &Envoy,
    state: &mut State,
) -> Result<Result<Plan, NoVariant>, Reject> {
    let generation = context.catalog.release().map(|r| r.generation);
    if let Some(plan) = &state.plan
        && Some(plan.generation) == generation
        && plan.traits_digest == state.traits_digest
    {
        return Ok(Ok(plan.clone()));
    }
    let (this, hostname, traits) = (context.clone(), envoy.hostname.clone(), state.traits.clone());
    let found = tokio::task::spawn_blocking(move || {
        let traits = traits.and_then(|t| wire::decode_value(&t).ok()).unwrap_or_default();
        this.catalog.variant(&hostname, &traits)
    });
    let found = found.await.map_err(|e| {
        tracing::error!(envoy = %envoy.id, host = envoy.hostname, error = %e, "compiling a variant crashed");
        Reject::Internal
    })?;
    Ok(found.map(|(release, variant)| {
        let plan = Plan {
            generation: release.generation,
            serial: release.serial,
            traits_digest: state.traits_digest,
            variant,
        };
        state.plan = Some(plan.clone());
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
    variant: &Arc<Variant>,
) -> Result<Result<Secrets, SecretError>, Reject> {
    if variant.secrets.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let (context, mut paths) = (context.clone(), variant.secrets.clone());
    let read = tokio::task::spawn_blocking(move || {
        paths.sort();
        paths.dedup();
        paths.into_iter().map(|path| Ok((path.clone(), context.secrets.get(&path)?))).collect()
    });
    read.await.map_err(|_| Reject::Internal)
}

/// Identifies everything an agent acts on: equal strings, equal bundles.
fn content(variant: &Variant, secrets: &Secrets) -> String {
    let mut bytes = Vec::from(variant.merkle_root.0);
    let mut field = |field: &[u8]| {
        bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        bytes.extend_from_slice(field);
    };
    let order: Vec<u8> = variant.run_order.iter().flat_map(|at| at.to_be_bytes()).collect();
    field(&order);
    field(&(variant.required_features.len() as u64).to_be_bytes());
    variant.required_features.iter().for_each(|f| field(f.as_bytes()));
    for (path, secret) in secrets {
        field(path.as_bytes());
        field(secret.version.as_bytes());
    }
    Hash::of(&bytes).to_string()[..32].to_owned()
}

/// Gives new content a new number and stores it before it is sent; follows an envoy that knows a higher one than the
/// database, which is how a restored database shows. An envoy that only knows a higher one than this server was
/// answered by another one.
async fn sequence(
    context: &Context,
    envoy: &Envoy,
    state: &mut State,
    request: &CheckInRequest,
    content: &str,
    version: &str,
) -> Result<Option<Answer>, Reject> {
    if request.seq <= state.seq && state.content == content {
        return Ok(None);
    }
    let wanted = Wanted {
        id: envoy.id.to_string(),
        content: content.to_owned(),
        policy_version: version.to_owned(),
        reported: request.seq,
        held: request.policy_version.rsplit('.').next() == Some(content),
    };
    let assigned = context.store.call(move |conn| envoys::assign(conn, &wanted, MAX_JUMP)).await?;
    let Assigned { seq, known } = match assigned {
        Ok(assigned) => assigned,
        Err(known) => {
            tracing::error!(
                envoy = %envoy.id, host = envoy.hostname, known, reported = request.seq,
                "an envoy reports a sequence number far ahead; it gets nothing until it is enrolled again"
            );
            let message = format!("sequence number {} is too far ahead of {known}", request.seq);
            return Ok(Some(refusal("seq-ahead", message)));
        }
    };
    if request.seq > known {
        tracing::warn!(
            envoy = %envoy.id, host = envoy.hostname, known, reported = request.seq, seq,
            "an envoy knows a later bundle than this database: was a backup restored?"
        );
    }
    state.seq = seq;
    state.content = content.to_owned();
    Ok(None)
}

/// What is signed for one envoy now.
struct Bundle<'a> {
    context: &'a Context,
    envoy: &'a Envoy,
    header: &'a RequestHeader,
    plan: &'a Plan,
    secrets: &'a Secrets,
    live: &'a LiveKey,
    version: String,
    seq: u64,
}

impl Bundle<'_> {
    fn manifest(&self) -> Vec<u8> {
        let variant = &self.plan.variant;
        Manifest {
            cluster_id: self.context.cluster_id.clone(),
            envoy_id: self.envoy.id.to_string(),
            key_id: self.live.id,
            epoch: self.live.epoch,
            seq: self.seq,
            release_serial: self.plan.serial,
            policy_version: self.version.clone(),
            ir_format: ir::IR_FORMAT,
            merkle_root: variant.merkle_root,
            vars_hash: variant.vars_hash,
            modules: variant
                .modules
                .iter()
                .map(|m| ModuleRow { name: m.name.to_string(), hash: m.hash, size: m.bytes.len() as u64 })
                .collect(),
            run_order: variant.run_order.clone(),
            secret_refs: self
                .secrets
                .iter()
                .map(|(path, secret)| SecretRef { path: path.clone(), version: secret.version.clone() })
                .collect(),
            required_features: variant.required_features.clone(),
        }
        .seal(&self.live.key)
    }

    fn lease(&self) -> Vec<u8> {
        let now = self.context.clock.now();
        let life = self.context.checkin.bundle_max_age;
        Lease {
            cluster_id: self.context.cluster_id.clone(),
            envoy_id: self.envoy.id.to_string(),
            key_id: self.live.id,
            epoch: self.live.epoch,
            seq: self.seq,
            merkle_root: self.plan.variant.merkle_root,
            issued_at: now,
            expires_at: life.map_or(0, |life| now.saturating_add(life.as_millis() as u64)),
            agent_nonce: self.header.nonce.clone(),
            server_time: now,
        }
        .seal(&self.live.key)
    }

    fn answer(&self, held: &[Vec<u8>]) -> Answer {
        let mut held: HashSet<&[u8]> = held.iter().map(Vec::as_slice).collect();
        // Inserting as we go: a blob that two modules share is sent once.
        let modules: Vec<Vec<u8>> = self
            .plan
            .variant
            .modules
            .iter()
            .filter(|m| held.insert(&m.hash.0))
            .map(|m| m.bytes.to_vec())
            .collect();
        let mut secrets = Vec::with_capacity(self.secrets.len());
        for (path, secret) in self.secrets {
            let context = SecretContext {
                cluster_id: &self.context.cluster_id,
                envoy_id: &self.envoy.id,
                path,
                version: &secret.version,
            };
            match protocol::secrets::seal(&self.envoy.seal_key, &context, &secret.value) {
                Ok(sealed) => secrets.push(sealed),
                Err(e) => {
                    tracing::error!(envoy = %self.envoy.id, secret = path, error = %e, "cannot seal a secret");
                    return refusal("secret-missing", format!("the secret `{path}` cannot be sealed: {e}"));
                }
            }
        }
        let bytes: usize = modules.iter().map(Vec::len).sum::<usize>()
            + secrets.iter().map(|s| s.ciphertext.len() + s.path.len() + 128).sum::<usize>();
        if bytes > protocol::MAX_MESSAGE_BYTES - ENVELOPE_ROOM {
            let message = format!("{bytes} bytes to send at once, more than a message holds");
            tracing::error!(envoy = %self.envoy.id, host = self.envoy.hostname, bytes, "the bundle is too large");
            return refusal("bundle-too-large", message);
        }
        tracing::info!(
            envoy = %self.envoy.id, host = self.envoy.hostname, seq = self.seq, release = self.plan.serial,
            modules = modules.len(), of = self.plan.variant.modules.len(), bytes, "bundle sent"
        );
        Answer::Bundle(pb::Bundle { manifest: self.manifest(), lease: self.lease(), modules, secrets })
    }
}
