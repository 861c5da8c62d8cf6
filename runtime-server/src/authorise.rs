//! Who may call what.
//!
//! One table names every method and what it requires; a test holds it against the methods of the protocol. An
//! envoy is who it says when three things agree: the key of its TLS certificate, the id it signed, and the key
//! registered for that id.

use crate::connection::Peer;
use crate::context::Context;
use crate::fleet::Envoy;
use crate::reject::Reject;
use crate::store::envoys;
use protocol::pb::{RequestHeader, SignedRequest};
use protocol::request::{self, Rpc};
use std::sync::Arc;
use tonic::Request;

/// How far apart the clocks of agent and server may be.
pub const SKEW_MS: u64 = 300_000;

/// The highest counter of a request that is taken; the database's numbers are signed.
pub const MAX_COUNTER: u64 = i64::MAX as u64;

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
];

/// A request whose sender is known.
#[derive(Debug)]
pub struct Authorised {
    /// The sender.
    pub envoy: Arc<Envoy>,
    /// What it signed.
    pub header: RequestHeader,
    /// It names another signing key than the live one: the answer is the live key's statement, and nothing
    /// is done.
    pub stale_key: bool,
}

/// Looks into the database for an envoy that is not known: another server may have enrolled it. Only for callers with a
/// certificate of the CA for a key that is not known either, so that nobody else makes the server look.
pub async fn meet(context: &Context, peer: Option<Peer>, signed: &SignedRequest) -> Result<(), Reject> {
    let Ok(claimed) = request::peek(signed) else { return Ok(()) };
    let id = claimed.envoy_id;
    let Some(Peer::Key(key)) = peer else { return Ok(()) };
    if context.fleet.get(&id).is_some() || context.fleet.has_key(&key) {
        return Ok(());
    }
    if let Some(row) = context.store.read(move |conn| envoys::by_id(conn, &id)).await? {
        context.fleet.add(row);
    }
    Ok(())
}

/// Who is at the other end of the connection that a request came on.
pub fn peer<T>(request: &Request<T>) -> Option<Peer> {
    request.extensions().get().copied()
}

/// Lets an envoy's request in, or says why not. A counter is used up only by a request that is let in with the
/// live key.
pub fn envoy(
    context: &Context,
    rpc: Rpc,
    peer: Option<Peer>,
    signed: &SignedRequest,
) -> Result<Authorised, Reject> {
    if !MATRIX.contains(&(rpc.path(), Requirement::Envoy(rpc))) {
        return Err(Reject::Internal);
    }
    let tls_key = match peer {
        Some(Peer::Key(key)) => key,
        Some(Peer::Other) => return Err(Reject::WrongEnvoy),
        Some(Peer::Stranger) | None => return Err(Reject::NoClientCertificate),
    };

    let claimed = request::peek(signed)?;
    let envoy = context.fleet.get(&claimed.envoy_id).ok_or(Reject::UnknownEnvoy)?;
    if tls_key != envoy.key {
        return Err(Reject::WrongEnvoy);
    }
    let header = request::verify(&envoy.key, rpc, signed)?;
    if envoy.is_revoked() {
        return Err(Reject::Revoked);
    }
    if header.cluster_id != context.cluster_id {
        return Err(Reject::WrongCluster);
    }
    if !(16..=64).contains(&header.nonce.len()) {
        return Err(Reject::Malformed("the nonce has 16 bytes"));
    }
    // Before it is used up: a counter that the database cannot hold would never be stored.
    if header.counter > MAX_COUNTER {
        return Err(Reject::Malformed("the counter is out of range"));
    }
    let now = context.clock.now();
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
    Ok(Authorised { envoy, header, stale_key })
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
