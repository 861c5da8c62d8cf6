//! A signed manifest or lease: what it claims, and whether a key signed it.

use crate::commands::bundle::wrong;
use crate::commands::failure::{Exit, Failure};
use crate::commands::{input, output};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;
use ir::manifest::Claims;
use ir::{Hash, Lease, Manifest};
use serde_json::{Value as Json, json};
use std::path::Path;

/// A public key from a file.
pub(super) fn key(path: &Path) -> Result<VerifyingKey, Failure> {
    let text = input::text(path)?;
    let text = text.trim();
    if text.contains("PRIVATE KEY") {
        let path = path.display();
        return Err(Failure::Input(format!(
            "`{path}` holds a private key; `openssl pkey -in {path} -pubout` writes the public one"
        )));
    }
    let key = match Hash::from_hex(&text.to_ascii_lowercase()) {
        Some(bytes) => VerifyingKey::from_bytes(&bytes.0).ok(),
        None => VerifyingKey::from_public_key_pem(text).ok(),
    };
    key.ok_or_else(|| wrong(path, "it is no ed25519 public key, neither in PEM nor as 64 hexadecimal digits"))
}

/// The fields of the document. With a key that did not sign it they are printed all the same, and say so.
pub(super) fn fields(
    path: &Path,
    envelope: &[u8],
    key: Option<&VerifyingKey>,
) -> Result<(Json, Exit), Failure> {
    let claims = Claims::unverified(envelope)
        .map_err(|e| wrong(path, format!("it begins as a signed envelope, but is none: {e}")))?;
    let refused = key.and_then(|key| claims.check(key, envelope).err());
    let state = match (key, &refused) {
        (None, _) => "not-checked",
        (Some(_), None) => "verified",
        (Some(_), Some(_)) => "refused",
    };
    let (kind, key_id, said) = match &claims {
        Claims::Manifest(m) => ("manifest", m.key_id, manifest(m)),
        Claims::Lease(l) => ("lease", l.key_id, lease(l)),
    };
    let fields = json!({
        "kind": kind,
        "size": envelope.len(),
        "key_id": key_id.to_string(),
        "signature": { "state": state, "reason": refused.as_ref().map(ToString::to_string) },
        "claims": said,
    });
    match refused {
        None => {
            if key.is_none() {
                output::note("nothing here is verified; --key FILE asks whether a key signed it");
            }
            Ok((fields, Exit::Done))
        }
        Some(why) => {
            output::error(&format!("`{}` must not be trusted: {why}", path.display()));
            Ok((fields, Exit::Findings))
        }
    }
}

fn manifest(m: &Manifest) -> Json {
    let modules: Vec<Json> = m
        .modules
        .iter()
        .map(|row| json!({ "name": row.name, "hash": row.hash.to_string(), "size": row.size }))
        .collect();
    let order: Vec<&str> = m
        .run_order
        .iter()
        .filter_map(|at| m.modules.get(*at as usize))
        .map(|row| row.name.as_str())
        .collect();
    let secrets: Vec<Json> =
        m.secret_refs.iter().map(|s| json!({ "path": s.path, "version": s.version })).collect();
    json!({
        "cluster_id": m.cluster_id,
        "envoy_id": m.envoy_id,
        "epoch": m.epoch,
        "seq": m.seq,
        "release_serial": m.release_serial,
        "policy_version": m.policy_version,
        "ir_format": m.ir_format,
        "merkle_root": m.merkle_root.to_string(),
        "vars_hash": m.vars_hash.to_string(),
        "modules": modules,
        "run_order": order,
        "secrets": secrets,
        "required_features": m.required_features,
    })
}

fn lease(l: &Lease) -> Json {
    let nonce: String = l.agent_nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "cluster_id": l.cluster_id,
        "envoy_id": l.envoy_id,
        "epoch": l.epoch,
        "seq": l.seq,
        "merkle_root": l.merkle_root.to_string(),
        "issued_at": l.issued_at,
        "expires_at": l.expires_at,
        "agent_nonce": nonce,
        "server_time": l.server_time,
    })
}
