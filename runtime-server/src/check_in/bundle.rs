//! Manifest, lease and what is sent with them.

use super::{Secrets, refusal};
use crate::catalog::Plan;
use crate::context::Context;
use crate::fleet::Envoy;
use crate::live_key::LiveKey;
use ir::manifest::{ModuleRow, SecretRef};
use ir::{Lease, Manifest};
use protocol::pb::check_in_reply::Answer;
use protocol::pb::{self, CheckInRequest, RequestHeader};
use protocol::secrets::SecretContext;
use std::collections::HashSet;
use std::sync::Arc;

/// What a message can hold beside modules and secrets.
const ENVELOPE_ROOM: usize = 1 << 20;

/// What is signed for one envoy now.
pub(super) struct Bundle<'a> {
    pub(super) context: &'a Context,
    pub(super) envoy: &'a Envoy,
    pub(super) header: &'a RequestHeader,
    pub(super) plan: &'a Plan,
    pub(super) secrets: &'a Secrets,
    pub(super) live: &'a LiveKey,
    pub(super) version: Arc<str>,
    pub(super) seq: u64,
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

    /// As little as brings the envoy here; `whole` is false when it must get everything it lacks, whatever it says.
    pub(super) fn answer(&self, request: CheckInRequest, whole: bool, content: &str) -> Answer {
        let whole = whole && request.state_fingerprint == self.plan.variant.merkle_root.0;
        // The same version under another number is a bundle whose answer was lost on the way to another one and back:
        // a lease for the number that is assigned now would not fit the manifest that the envoy holds.
        if whole && *request.policy_version == *self.version && request.seq == self.seq {
            let lease = request.renew.then(|| self.lease());
            let policy_version = request.policy_version;
            return Answer::NoChange(pb::NoChange { policy_version, manifest: None, lease });
        }
        if whole && request.policy_version.rsplit('.').next() == Some(content) {
            let (manifest, lease) = (Some(self.manifest()), Some(self.lease()));
            let policy_version = self.version.to_string();
            return Answer::NoChange(pb::NoChange { policy_version, manifest, lease });
        }
        self.whole(&request.held_modules)
    }

    fn whole(&self, held: &[Vec<u8>]) -> Answer {
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
