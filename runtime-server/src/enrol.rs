//! Making an envoy of a host.

use crate::context::Context;
use crate::hostname;
use crate::reject::Reject;
use crate::renew;
use crate::store::certificates::Certificates;
use crate::store::envoys::{self, Candidate, EnvoyRow};
use crate::store::{lock, tokens};
use protocol::pb::{EnrollReply, EnrollRequest};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// One refusal says little about the next thousand, and anybody can make them.
pub fn say(host: &str, reason: &dyn std::fmt::Display) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = lock(&LAST);
    if last.is_none_or(|at| at.elapsed() > SAID_EVERY) {
        *last = Some(Instant::now());
        tracing::warn!(host, %reason, "enrolment refused");
    }
}

/// Refusals are said at most this often.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Checks everything that costs no token, then takes the token and stores the envoy in one transaction.
pub async fn enrol(context: &Context, request: EnrollRequest) -> Result<EnrollReply, Reject> {
    let hostname = hostname::normalise(&request.hostname).ok_or(Reject::Hostname)?;
    if request.token.len() > 256 {
        return Err(Reject::Malformed("the token is too long"));
    }
    if !request.envoy_id.is_empty() {
        return renew::rejoin(context, request, &hostname).await;
    }
    let (csr, key) = renew::csr(&request.csr_pem, &hostname)?;
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
    // Before anything is signed or written: whoever comes here has shown nothing yet.
    let (token, host) = (request.token.clone(), hostname.clone());
    if let Err(e) = context.store.read(move |conn| tokens::check(conn, &token, &host, now)).await? {
        say(&hostname, &e);
        return Err(Reject::Enrol(e.into()));
    }
    let id = Uuid::new_v4().to_string();
    let issued = context.ca.issue_client(&id, &csr, now, context.envoy_lifetime).map_err(|e| {
        tracing::error!(error = %e, "cannot issue a client certificate");
        Reject::Internal
    })?;
    let certificate = issued.certificate;
    let candidate =
        Candidate { id, hostname, public_key: key.to_bytes(), seal_key, token: request.token, certificate };
    let stored = candidate.clone();
    if let Err(e) = context.store.call(move |conn| envoys::enrol(conn, &stored, now)).await? {
        say(&candidate.hostname, &e);
        return Err(e.into());
    }
    tracing::info!(envoy = candidate.id, host = candidate.hostname, "enrolled");
    let reply = EnrollReply {
        envoy_id: candidate.id.clone(),
        cluster_id: context.cluster_id.clone(),
        certificate_pem: issued.pem,
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
        certificates: Certificates { current: candidate.certificate, ..Certificates::default() },
    });
    Ok(reply)
}
