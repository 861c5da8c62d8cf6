//! Who may call what.
//!
//! One table names every method and what it requires; a test holds it against the methods of the protocol. An
//! envoy is who it says when three things agree: the key of its TLS certificate, the id it signed, and the key
//! registered for that id. There are two such keys for a while when an envoy renews its certificate.

use crate::certified::Certified;
use crate::connection::Peer;
use crate::context::Context;
use crate::fleet::{Envoy, Standing};
use crate::reject::Reject;
use crate::store::{certificates, envoys};
use protocol::pb::{RequestHeader, SignedRequest};
use protocol::request::{self, Rpc};
use std::sync::Arc;
use tonic::Request;

/// How far apart the clocks of agent and server may be.
pub const SKEW_MS: u64 = 300_000;

/// What a method requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// No certificate; the request carries a token that is checked where it is used up.
    Token,
    /// An envoy that is enrolled, in its own name.
    Envoy(Rpc),
}

/// Every method there is.
pub const MATRIX: &[(&str, Requirement)] = &[
    ("/vigo.v1.Enrolment/Enroll", Requirement::Token),
    ("/vigo.v1.Fleet/CheckIn", Requirement::Envoy(Rpc::CheckIn)),
    ("/vigo.v1.Fleet/ReportRun", Requirement::Envoy(Rpc::ReportRun)),
    ("/vigo.v1.Fleet/Stream", Requirement::Envoy(Rpc::Stream)),
    ("/vigo.v1.Fleet/Renew", Requirement::Envoy(Rpc::Renew)),
];

/// A request whose sender is known.
#[derive(Debug)]
pub struct Authorised {
    /// The sender.
    pub envoy: Arc<Envoy>,
    /// What it came with.
    pub certified: Certified,
    /// What it signed.
    pub header: RequestHeader,
    /// It names another signing key than the live one: the answer is the live key's statement, and nothing
    /// is done.
    pub stale_key: bool,
}

/// How long the certificate before the one in use is let in: what was under way with it ends well, and requests signed with
/// it are too old afterwards.
pub const PREVIOUS_FOR_MS: u64 = 2 * SKEW_MS;

/// Lets an envoy's request in, or says why not.
pub async fn admit(
    context: &Context,
    rpc: Rpc,
    peer: Option<Peer>,
    signed: &SignedRequest,
) -> Result<Authorised, Reject> {
    meet(context, peer, signed).await?;
    let caller = envoy(context, rpc, peer, signed)?;
    if caller.envoy.standing(&caller.certified, context.clock.now()) == Standing::New {
        first_use(context, &caller).await?;
    }
    Ok(caller)
}

/// Looks into the database for an envoy that is not known, or not by this certificate: another server may have enrolled it or
/// renewed its certificate. Only for callers with a certificate of the CA, so that nobody else makes the server look.
async fn meet(context: &Context, peer: Option<Peer>, signed: &SignedRequest) -> Result<(), Reject> {
    let (Ok(claimed), Some(Peer::Envoy(certified))) = (request::peek(signed), peer) else { return Ok(()) };
    let id = claimed.envoy_id;
    let known = context.fleet.get(&id);
    let Some(envoy) = known else {
        if let Some(row) = context.store.read(move |conn| envoys::by_id(conn, &id)).await? {
            context.fleet.add(row);
        }
        return Ok(());
    };
    if matches!(envoy.standing(&certified, context.clock.now()), Standing::Current | Standing::Previous)
        || !certified.names(&id)
    {
        return Ok(());
    }
    if let Some((key, stored)) = context.store.read(move |conn| certificates::of(conn, &id)).await? {
        envoy.set_keys(&key, &stored);
    }
    Ok(())
}

/// The envoy came with a new certificate for the first time, which retires the one before.
async fn first_use(context: &Context, caller: &Authorised) -> Result<(), Reject> {
    let (envoy, certified) = (&caller.envoy, caller.certified);
    let (id, now) = (envoy.id.to_string(), context.clock.now());
    let (key, record) = (certified.key.to_bytes(), certified.record());
    let until = now.saturating_add(PREVIOUS_FOR_MS);
    let stored =
        context.store.call(move |conn| certificates::used(conn, &id, &key, &record, until, now)).await?;
    let (current, stored) = stored.ok_or(Reject::UnknownEnvoy)?;
    if stored.current.serial.is_empty() {
        tracing::warn!(
            envoy = %envoy.id, host = envoy.hostname,
            "an envoy came with a newer certificate than this database knows of: was a backup restored? it is taken"
        );
    } else {
        tracing::info!(envoy = %envoy.id, host = envoy.hostname, serial = stored.current.serial, "certificate renewed");
    }
    envoy.set_keys(&current, &stored);
    match envoy.standing(&certified, now) {
        Standing::Current | Standing::Previous => Ok(()),
        _ => Err(Reject::CertificateReplaced),
    }
}

/// Who is at the other end of the connection that a request came on.
pub fn peer<T>(request: &Request<T>) -> Option<Peer> {
    request.extensions().get().copied()
}

/// Judges by what is in memory. A counter is used up only by a request that is let in with the live key.
fn envoy(
    context: &Context,
    rpc: Rpc,
    peer: Option<Peer>,
    signed: &SignedRequest,
) -> Result<Authorised, Reject> {
    if !MATRIX.contains(&(rpc.path(), Requirement::Envoy(rpc))) {
        return Err(Reject::Internal);
    }
    let certified = match peer {
        Some(Peer::Envoy(certified)) => certified,
        Some(Peer::Other) => return Err(Reject::WrongEnvoy),
        Some(Peer::Stranger) | None => return Err(Reject::NoClientCertificate),
    };

    let claimed = request::peek(signed)?;
    let envoy = context.fleet.get(&claimed.envoy_id).ok_or(Reject::UnknownEnvoy)?;
    let now = context.clock.now();
    let standing = envoy.standing(&certified, now);
    if standing == Standing::Stranger {
        return Err(Reject::WrongEnvoy);
    }
    let header = request::verify(&certified.key, rpc, signed)?;
    if envoy.is_revoked() {
        return Err(Reject::Revoked);
    }
    if standing == Standing::Replaced {
        return Err(Reject::CertificateReplaced);
    }
    // The handshake looks at that too; but connections stay open, and sessions are resumed without a look.
    if now > certified.expires_at {
        return Err(Reject::CertificateEnded);
    }
    if header.cluster_id != context.cluster_id {
        return Err(Reject::WrongCluster);
    }
    if !(16..=64).contains(&header.nonce.len()) {
        return Err(Reject::Malformed("the nonce has 16 bytes"));
    }
    if now.abs_diff(header.timestamp) > SKEW_MS {
        return Err(Reject::Skew { server_time: now });
    }
    let stale_key = header.key_id != context.keys.current().id.0;
    if !stale_key && !envoy.take_counter(header.counter) {
        let highest = envoy.counter();
        tracing::warn!(
            envoy = %envoy.id, host = envoy.hostname, counter = header.counter, highest,
            "a request came twice, or from a restored or cloned disk"
        );
        return Err(Reject::Replay { highest });
    }
    Ok(Authorised { envoy, certified, header, stale_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_045_every_method_has_a_requirement() {
        let declared: Vec<&str> = MATRIX.iter().map(|(path, _)| *path).collect();
        assert_eq!(declared, protocol::METHODS);
        for (path, requirement) in MATRIX {
            match requirement {
                Requirement::Token => assert!(path.contains(".Enrolment/")),
                Requirement::Envoy(rpc) => assert_eq!(rpc.path(), *path),
            }
        }
    }
}
