//! Requests signed by an envoy's key.
//!
//! The signature covers the method, the header and the payload as they were received, so none can
//! be exchanged against that of another request. Freshness (time, counter, key id) stands in the
//! header and is the server's to judge.

use crate::length_prefixed;
use crate::pb::{RequestHeader, SignedRequest};
use ed25519_dalek::{SigningKey, VerifyingKey};
use ir::Hash;
use ir::signing::{self, Domain};
use prost::Message;

/// Bytes of an encoded header.
pub const MAX_HEADER_BYTES: usize = 4096;

/// Methods that take a signed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rpc {
    /// Asks for news; carries a `CheckInRequest`.
    CheckIn,
    /// Delivers results; carries a `RunReport`.
    ReportRun,
    /// Opens a stream; carries a `StreamHello`.
    Stream,
    /// Asks for a certificate for a new key; carries a `RenewRequest`.
    Renew,
}

impl Rpc {
    /// All of them.
    pub const ALL: &[Rpc] = &[Rpc::CheckIn, Rpc::ReportRun, Rpc::Stream, Rpc::Renew];

    /// As it stands in the request's path and in what is signed.
    pub fn path(self) -> &'static str {
        match self {
            Rpc::CheckIn => "/vigo.v1.Fleet/CheckIn",
            Rpc::ReportRun => "/vigo.v1.Fleet/ReportRun",
            Rpc::Stream => "/vigo.v1.Fleet/Stream",
            Rpc::Renew => "/vigo.v1.Fleet/Renew",
        }
    }

    /// The method alone, for people.
    pub fn name(self) -> &'static str {
        match self {
            Rpc::CheckIn => "CheckIn",
            Rpc::ReportRun => "ReportRun",
            Rpc::Stream => "Stream",
            Rpc::Renew => "Renew",
        }
    }
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The header is not one, or too long.
    #[error("the request's header is malformed")]
    Malformed,
    /// No signature.
    #[error("the request is not signed")]
    Unsigned,
    /// The signature does not fit this method, header, payload and key.
    #[error("the request's signature does not verify")]
    BadSignature,
}

/// A request ready to be sent.
pub fn sign(key: &SigningKey, rpc: Rpc, header: &RequestHeader, payload: &[u8]) -> SignedRequest {
    let header = header.encode_to_vec();
    let signature = signing::sign(key, Domain::Request, &signed(rpc, &header, payload)).to_vec();
    SignedRequest { header, payload: payload.to_vec(), signature }
}

/// The header as somebody claims it, to find the key to [`verify`] with. Nothing else may be done
/// with it.
pub fn peek(request: &SignedRequest) -> Result<RequestHeader, RequestError> {
    if request.header.len() > MAX_HEADER_BYTES {
        return Err(RequestError::Malformed);
    }
    RequestHeader::decode(request.header.as_slice()).map_err(|_| RequestError::Malformed)
}

/// The header, once `key` is known to have signed it together with the payload and for this method.
pub fn verify(key: &VerifyingKey, rpc: Rpc, request: &SignedRequest) -> Result<RequestHeader, RequestError> {
    if request.signature.is_empty() || request.signature.iter().all(|b| *b == 0) {
        return Err(RequestError::Unsigned);
    }
    let signature = request.signature.as_slice().try_into().map_err(|_| RequestError::BadSignature)?;
    if !signing::verify(key, Domain::Request, &signed(rpc, &request.header, &request.payload), signature) {
        return Err(RequestError::BadSignature);
    }
    peek(request)
}

fn signed(rpc: Rpc, header: &[u8], payload: &[u8]) -> Vec<u8> {
    length_prefixed(&[rpc.path().as_bytes(), &Hash::of(header).0, &Hash::of(payload).0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn header() -> RequestHeader {
        RequestHeader {
            cluster_id: "c".into(),
            envoy_id: "e".into(),
            key_id: vec![3; 32],
            counter: 4,
            nonce: vec![5; 16],
            timestamp: 6,
        }
    }

    fn after(change: impl FnOnce(&mut SignedRequest)) -> Result<RequestHeader, RequestError> {
        let mut request = sign(&key(1), Rpc::CheckIn, &header(), b"payload");
        change(&mut request);
        verify(&key(1).verifying_key(), Rpc::CheckIn, &request)
    }

    #[test]
    fn an_untouched_request_is_taken() {
        assert_eq!(after(|_| ()), Ok(header()));
        assert_eq!(peek(&sign(&key(1), Rpc::CheckIn, &header(), b"")), Ok(header()));
    }

    #[test]
    fn case_039_body_header_method_and_signature_cannot_be_swapped() {
        let other_header = RequestHeader { envoy_id: "f".into(), ..header() }.encode_to_vec();
        let elsewhere = sign(&key(1), Rpc::CheckIn, &header(), b"other").signature;
        let bad = Err(RequestError::BadSignature);
        assert_eq!(after(|r| r.payload = b"other".to_vec()), bad);
        assert_eq!(after(|r| r.payload.clear()), bad);
        assert_eq!(after(|r| r.header = other_header), bad);
        assert_eq!(after(|r| r.signature = elsewhere), bad);
        assert_eq!(after(|r| r.signature.push(0)), bad);
        assert_eq!(after(|r| std::mem::swap(&mut r.header, &mut r.payload)), bad);
        let request = sign(&key(1), Rpc::CheckIn, &header(), b"payload");
        assert_eq!(verify(&key(1).verifying_key(), Rpc::ReportRun, &request), bad);
        assert_eq!(verify(&key(2).verifying_key(), Rpc::CheckIn, &request), bad);
    }

    #[test]
    fn no_bit_may_flip() {
        let good = sign(&key(1), Rpc::ReportRun, &header(), b"payload");
        for bit in 0..(good.header.len() + good.payload.len() + 64) * 8 {
            let mut flipped = good.clone();
            let (mut at, mask) = (bit / 8, 1 << (bit % 8));
            for field in [&mut flipped.header, &mut flipped.payload, &mut flipped.signature] {
                if at < field.len() {
                    field[at] ^= mask;
                    break;
                }
                at -= field.len();
            }
            assert!(verify(&key(1).verifying_key(), Rpc::ReportRun, &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn case_007_a_request_without_signature() {
        assert_eq!(after(|r| r.signature.clear()), Err(RequestError::Unsigned));
        assert_eq!(after(|r| r.signature.fill(0)), Err(RequestError::Unsigned));
    }

    #[test]
    fn a_header_that_is_none_is_refused_although_it_is_signed() {
        for header in [vec![0xff; 8], vec![0; MAX_HEADER_BYTES + 1]] {
            let signature = signing::sign(&key(1), Domain::Request, &signed(Rpc::CheckIn, &header, b""));
            let request = SignedRequest { header, payload: vec![], signature: signature.to_vec() };
            assert_eq!(peek(&request), Err(RequestError::Malformed));
            let verified = verify(&key(1).verifying_key(), Rpc::CheckIn, &request);
            assert_eq!(verified, Err(RequestError::Malformed));
        }
    }

    #[test]
    fn every_path_is_a_method_of_the_service() {
        for rpc in Rpc::ALL {
            assert!(crate::METHODS.contains(&rpc.path()), "{}", rpc.path());
            assert!(rpc.path().ends_with(rpc.name()));
        }
        let fleet = crate::METHODS.iter().filter(|m| m.starts_with("/vigo.v1.Fleet/"));
        assert_eq!(fleet.count(), Rpc::ALL.len());
    }
}
