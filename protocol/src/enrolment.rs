//! The agent's first request: it shows that it holds the key it wants a certificate for. A host that comes back after its
//! certificate ended also shows that it holds the key it is known by.

use crate::length_prefixed;
use crate::pb::EnrollRequest;
use ed25519_dalek::{SigningKey, VerifyingKey};
use ir::signing::{self, Domain};

/// Signs what the request holds so far.
pub fn sign(key: &SigningKey, request: &mut EnrollRequest) {
    request.signature = signing::sign(key, Domain::Enrolment, &signed(request)).to_vec();
}

/// Signs what the request holds so far with the key that the envoy is known by.
pub fn sign_rejoin(key: &SigningKey, request: &mut EnrollRequest) {
    request.rejoin_signature = signing::sign(key, Domain::Enrolment, &signed(request)).to_vec();
}

/// Whether `key`, which the caller reads from the CSR, signed the request.
pub fn verify(key: &VerifyingKey, request: &EnrollRequest) -> bool {
    is_signed(key, request, &request.signature)
}

/// Whether `key`, which is registered for the envoy, signed the request to come back.
pub fn verify_rejoin(key: &VerifyingKey, request: &EnrollRequest) -> bool {
    is_signed(key, request, &request.rejoin_signature)
}

fn is_signed(key: &VerifyingKey, request: &EnrollRequest, signature: &[u8]) -> bool {
    let Ok(signature) = signature.try_into() else { return false };
    signing::verify(key, Domain::Enrolment, &signed(request), signature)
}

fn signed(request: &EnrollRequest) -> Vec<u8> {
    length_prefixed(&[
        request.token.as_bytes(),
        request.hostname.as_bytes(),
        request.csr_pem.as_bytes(),
        &request.seal_public_key,
        request.envoy_id.as_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_signed() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let mut good = EnrollRequest {
            token: "t".into(),
            hostname: "h".into(),
            csr_pem: "c".into(),
            seal_public_key: vec![1; 32],
            ..EnrollRequest::default()
        };
        assert!(!verify(&key.verifying_key(), &good), "not signed yet");
        sign(&key, &mut good);
        assert!(verify(&key.verifying_key(), &good));
        let old = SigningKey::from_bytes(&[2; 32]);
        assert!(!verify(&old.verifying_key(), &good));
        assert!(!verify_rejoin(&old.verifying_key(), &good));
        sign_rejoin(&old, &mut good);
        assert!(verify_rejoin(&old.verifying_key(), &good) && !verify_rejoin(&key.verifying_key(), &good));
        let changes: [fn(&mut EnrollRequest); 7] = [
            |r| r.envoy_id = "e".into(),
            |r| r.token = "u".into(),
            |r| r.hostname = "i".into(),
            |r| r.csr_pem = "d".into(),
            |r| r.seal_public_key[0] ^= 1,
            |r| (r.signature[0], r.rejoin_signature[0]) = (r.signature[0] ^ 1, r.rejoin_signature[0] ^ 1),
            |r| (r.token, r.hostname) = ("th".into(), "".into()),
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut changed = good.clone();
            change(&mut changed);
            assert!(!verify(&key.verifying_key(), &changed), "change {i}");
            assert!(!verify_rejoin(&old.verifying_key(), &changed), "change {i}");
        }
    }
}
