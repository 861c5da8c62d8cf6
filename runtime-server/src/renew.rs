//! New certificates for envoys that are there: at a renewal over their own connection, and for one that comes back with a
//! token after its certificate ended.

use crate::authorise::Authorised;
use crate::context::Context;
use crate::enrol::say;
use crate::fleet::Envoy;
use crate::pki::Csr;
use crate::reject::Reject;
use crate::store::certificates::{self, RecordError};
use crate::store::tokens::TokenError;
use crate::store::{envoys, tokens};
use ed25519_dalek::VerifyingKey;
use prost::Message;
use protocol::pb::{EnrollReply, EnrollRequest, RenewRequest};
use std::sync::Arc;

/// Issues a certificate for a new key of the caller, and records it before it is given out.
pub async fn renew(context: &Context, caller: &Authorised, payload: &[u8]) -> Result<String, Reject> {
    let request = RenewRequest::decode(payload).map_err(|_| Reject::Malformed("not a renewal"))?;
    let envoy = &caller.envoy;
    let (csr, key) = csr(&request.csr_pem, &envoy.hostname)?;
    issue(context, envoy, &csr, &key, None).await
}

/// A request for a certificate, and the key in it.
pub fn csr(pem: &str, hostname: &str) -> Result<(Csr, VerifyingKey), Reject> {
    let csr = Csr::read(pem, hostname)?;
    let key = csr.public_key().ok_or(Reject::Malformed("the key of the certificate signing request"))?;
    Ok((csr, key))
}

/// Lets an envoy back in whose certificate ended: with a token, as a new host, and with the key that is registered for it.
/// It keeps its place and everything that is known of it. Without that key a token is no use, so nobody takes over a name.
pub async fn rejoin(
    context: &Context,
    request: EnrollRequest,
    hostname: &str,
) -> Result<EnrollReply, Reject> {
    let (csr, key) = csr(&request.csr_pem, hostname)?;
    if !protocol::enrolment::verify(&key, &request) {
        return Err(Reject::EnrolmentSignature);
    }
    let id = request.envoy_id.clone();
    let row = context.store.read(move |conn| envoys::by_id(conn, &id)).await?.ok_or(Reject::UnknownEnvoy)?;
    if row.revoked_at.is_some() {
        return Err(Reject::Revoked);
    }
    if row.hostname != hostname {
        return Err(Reject::WrongEnvoy);
    }
    let registered = [Some(row.public_key), row.certificates.next.as_ref().map(|(key, _)| *key)];
    let mut registered =
        registered.into_iter().flatten().filter_map(|key| VerifyingKey::from_bytes(&key).ok());
    if !registered.any(|key| protocol::enrolment::verify_rejoin(&key, &request)) {
        say(hostname, &Reject::RejoinKey);
        return Err(Reject::RejoinKey);
    }
    let (token, host, now) = (request.token.clone(), hostname.to_owned(), context.clock.now());
    if let Err(e) = context.store.read(move |conn| tokens::check(conn, &token, &host, now)).await? {
        say(hostname, &e);
        return Err(Reject::Enrol(e.into()));
    }
    context.fleet.add(row);
    let envoy = context.fleet.get(&request.envoy_id).ok_or(Reject::UnknownEnvoy)?;
    let certificate_pem = issue(context, &envoy, &csr, &key, Some(request.token)).await?;
    tracing::info!(envoy = %envoy.id, host = envoy.hostname, "came back with a token");
    Ok(EnrollReply {
        envoy_id: envoy.id.to_string(),
        cluster_id: context.cluster_id.clone(),
        certificate_pem,
        key_statement: Some(context.keys.current().statement.clone()),
    })
}

enum Refused {
    Token(TokenError),
    Record(RecordError),
}

async fn issue(
    context: &Context,
    envoy: &Arc<Envoy>,
    csr: &Csr,
    key: &VerifyingKey,
    token: Option<String>,
) -> Result<String, Reject> {
    let now = context.clock.now();
    let issued = context.ca.issue_client(&envoy.id, csr, now, context.envoy_lifetime).map_err(|e| {
        tracing::error!(error = %e, "cannot issue a client certificate");
        Reject::Internal
    })?;
    let (id, public, certificate) = (envoy.id.to_string(), key.to_bytes(), issued.certificate.clone());
    let hostname = envoy.hostname.clone();
    let recorded = context
        .store
        .call(move |conn| {
            conn.attempt(|conn| {
                if let Some(token) = &token
                    && let Err(e) = tokens::take(conn, token, &hostname, &id, now)?
                {
                    return Ok(Err(Refused::Token(e)));
                }
                Ok(certificates::issued(conn, &id, &public, &certificate, now)?.map_err(Refused::Record))
            })
        })
        .await?;
    match recorded {
        Ok(()) => {}
        Err(Refused::Token(e)) => return Err(Reject::Enrol(e.into())),
        Err(Refused::Record(RecordError::Revoked)) => return Err(Reject::Revoked),
        Err(Refused::Record(RecordError::KeyTaken)) => {
            return Err(Reject::Enrol(envoys::EnrolError::KeyTaken));
        }
    }
    envoy.set_next(*key, issued.certificate.issued_at);
    tracing::info!(
        envoy = %envoy.id, host = envoy.hostname, serial = issued.certificate.serial, "certificate issued"
    );
    Ok(issued.pem)
}
