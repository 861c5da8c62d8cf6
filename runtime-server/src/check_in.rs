//! What an envoy gets.
//!
//! The answer depends on the envoy's own pair of variant and secret versions, never on the release's number
//! alone: a changed trait or a rotated secret changes one envoy's bundle while the number stands still. While
//! nothing changed, the answer is made from memory.

use crate::assign;
use crate::catalog::{NoVariant, Plan, content_of};
use crate::context::Context;
use crate::fleet::{Envoy, State};
use crate::live_key::{KeyError, LiveKey};
use crate::policy::Variant;
use crate::reject::Reject;
use crate::secrets::{Secret, SecretError};
use crate::store::envoys::{Assigned, Wanted};
use ir::manifest::{ModuleRow, SecretRef};
use ir::{Hash, Lease, Manifest, wire};
use protocol::key_statement;
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
    let (next_check_in, jitter_percent) =
        context.pace.asked(context.checkin.interval, context.checkin.jitter_percent);
    CheckInReply { answer: Some(answer), next_check_in, jitter_percent, stream_requested: false }
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
    request: CheckInRequest,
) -> Result<Answer, Reject> {
    if request.held_modules.len() > ir::manifest::MAX_MODULES {
        return Err(Reject::Malformed("too many modules held"));
    }
    let mut state = envoy.state.lock().await;
    state.last_seen = context.clock.now();
    state.interval_ms = context.pace.asked(context.checkin.interval, 0).0.into();
    if *state.agent_version != *request.agent_version {
        let version: String =
            request.agent_version.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
        state.agent_version = version.into();
    }
    context.fleet.touch(envoy);

    // Taken in even when the answer is a refusal: the agent will not send them again.
    let known = take_traits(context, envoy, &mut state, &request)?;
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
    if !known {
        return Ok(Answer::NeedTraits(pb::Unit {}));
    }
    let plan = match plan(context, envoy).await? {
        Ok(plan) => plan,
        Err(e) => return Ok(no_variant(envoy, &e)),
    };
    let secrets = match secrets(context, &plan.variant).await? {
        Ok(secrets) => secrets,
        Err(e) => {
            tracing::error!(envoy = %envoy.id, host = envoy.hostname, error = %e, "no bundle: a secret is missing");
            // Where secrets are kept is no business of a host.
            let message = format!("the secret `{}` is not available; the server's log says why", e.path());
            return Ok(refusal("secret-missing", message));
        }
    };
    let content = plan.content.clone().unwrap_or_else(|| {
        let versions: Vec<_> = secrets.iter().map(|(path, s)| (path.as_str(), s.version.as_str())).collect();
        content_of(&plan.variant, &versions)
    });
    let version = plan.policy_version(live.epoch, &content);
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
    if whole && *request.policy_version == *bundle.version {
        let lease = request.renew.then(|| bundle.lease());
        let policy_version = request.policy_version;
        return Ok(Answer::NoChange(pb::NoChange { policy_version, manifest: None, lease }));
    }
    if whole && request.policy_version.rsplit('.').next() == Some(&content) {
        let (manifest, lease) = (Some(bundle.manifest()), Some(bundle.lease()));
        let policy_version = bundle.version.to_string();
        return Ok(Answer::NoChange(pb::NoChange { policy_version, manifest, lease }));
    }
    Ok(bundle.answer(&request.held_modules))
}

/// False when they have to be asked for.
fn take_traits(
    context: &Context,
    envoy: &Envoy,
    state: &mut State,
    request: &CheckInRequest,
) -> Result<bool, Reject> {
    let digest = Hash::from_slice(&request.traits_digest)
        .ok_or(Reject::Malformed("the digest of the traits has 32 bytes"))?;
    let Some(traits) = &request.traits else {
        return Ok(state.traits_digest == digest && envoy.has_facts());
    };
    if traits.len() > MAX_TRAITS_BYTES {
        return Err(Reject::Malformed("the traits are too large"));
    }
    if Hash::of(traits) != digest {
        return Err(Reject::Malformed("the traits do not fit their digest"));
    }
    if state.traits_digest != digest || !envoy.has_facts() {
        let Ok(value @ ir::Value::Map(_)) = wire::decode_value(traits) else {
            return Err(Reject::Malformed("the traits are not an encoded map"));
        };
        envoy.set_facts(context.fleet.facts(&value));
        state.unsaved = Some(traits.as_slice().into());
        state.traits_digest = digest;
    }
    Ok(true)
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

/// Gives new content a new number and stores it before it is sent; follows an envoy that knows a higher one than the
/// database, which is how a restored database shows. An envoy that only knows a higher one than this server was
/// answered by another one.
async fn sequence(
    context: &Arc<Context>,
    envoy: &Envoy,
    state: &mut State,
    request: &CheckInRequest,
    content: &Arc<str>,
    version: &Arc<str>,
) -> Result<Option<Answer>, Reject> {
    if request.seq <= state.seq && state.content == *content {
        return Ok(None);
    }
    let wanted = Wanted {
        id: envoy.id.to_string(),
        content: content.to_string(),
        policy_version: version.to_string(),
        reported: request.seq,
        held: request.policy_version.rsplit('.').next() == Some(&**content),
    };
    let assigned = assign::store(context, wanted).await?;
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
    state.content = content.clone();
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
    version: Arc<str>,
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
            policy_version: self.version.to_string(),
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
