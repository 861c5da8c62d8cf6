//! Making an envoy of a host.

use crate::context::Context;
use crate::hostname;
use crate::pki::Csr;
use crate::reject::Reject;
use crate::store::envoys::{self, Candidate, EnvoyRow};
use protocol::pb::{EnrollReply, EnrollRequest};
use uuid::Uuid;

/// Checks everything that costs no token, then takes the token and stores the envoy in one transaction.
pub async fn enrol(context: &Context, request: EnrollRequest) -> Result<EnrollReply, Reject> {
    let hostname = hostname::normalise(&request.hostname).ok_or(Reject::Hostname)?;
    if request.token.len() > 256 {
        return Err(Reject::Malformed("the token is too long"));
    }
    let csr = Csr::read(&request.csr_pem, &hostname)?;
    let key = csr.public_key().ok_or(Reject::Malformed("the key of the certificate signing request"))?;
    if !protocol::enrolment::verify(&key, &request) {
        return Err(Reject::EnrolmentSignature);
    }
    let seal_key: [u8; 32] = request
        .seal_public_key
        .as_slice()
        .try_into()
        .map_err(|_| Reject::Malformed("the sealing key has 32 bytes"))?;
    let probe = protocol::secrets::SecretContext { cluster_id: "", envoy_id: "", path: "", version: "" };
    if protocol::secrets::seal(&seal_key, &probe, b"").is_err() {
        return Err(Reject::Malformed("the sealing key is not a usable X25519 key"));
    }

    let now = context.clock.now();
    let id = Uuid::new_v4().to_string();
    let certificate_pem = context.ca.issue_client(&id, &csr, now).map_err(|e| {
        tracing::error!(error = %e, "cannot issue a client certificate");
        Reject::Internal
    })?;
    let candidate = Candidate { id, hostname, public_key: key.to_bytes(), seal_key, token: request.token };
    let stored = candidate.clone();
    if let Err(e) = context.store.call(move |conn| envoys::enrol(conn, &stored, now)).await? {
        tracing::warn!(host = candidate.hostname, reason = %e, "enrolment refused");
        return Err(e.into());
    }
    tracing::info!(envoy = candidate.id, host = candidate.hostname, "enrolled");
    let reply = EnrollReply {
        envoy_id: candidate.id.clone(),
        cluster_id: context.cluster_id.clone(),
        certificate_pem,
        key_statement: Some(context.keys.current().statement.clone()),
    };
    context.fleet.add(EnvoyRow {
        id: candidate.id,
        hostname: candidate.hostname,
        public_key: candidate.public_key,
        seal_key: candidate.seal_key,
        enrolled_at: now,
        revoked_at: None,
        counter: 0,
        seq: 0,
        content: String::new(),
        policy_version: String::new(),
        traits: None,
        last_seen: None,
        interval_ms: 0,
        agent_version: String::new(),
        acknowledged_seq: 0,
    });
    Ok(reply)
}
