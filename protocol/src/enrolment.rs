//! The agent's first request: it shows that it holds the key it wants a certificate for.

use crate::length_prefixed;
use crate::pb::EnrollRequest;
use ed25519_dalek::{SigningKey, VerifyingKey};
use ir::signing::{self, Domain};

/// Signs what the request holds so far.
pub fn sign(key: &SigningKey, request: &mut EnrollRequest) {
    request.signature = signing::sign(key, Domain::Enrolment, &signed(request)).to_vec();
}

/// Whether `key`, which the caller reads from the CSR, signed the request.
pub fn verify(key: &VerifyingKey, request: &EnrollRequest) -> bool {
    let Ok(signature) = request.signature.as_slice().try_into() else { return false };
    signing::verify(key, Domain::Enrolment, &signed(request), signature)
}

fn signed(request: &EnrollRequest) -> Vec<u8> {
    length_prefixed(&[
        request.token.as_bytes(),
        request.hostname.as_bytes(),
        request.csr_pem.as_bytes(),
        &request.seal_public_key,
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
            signature: vec![],
        };
        assert!(!verify(&key.verifying_key(), &good), "not signed yet");
        sign(&key, &mut good);
        assert!(verify(&key.verifying_key(), &good));
        let other = SigningKey::from_bytes(&[2; 32]).verifying_key();
        assert!(!verify(&other, &good));
        let changes: [fn(&mut EnrollRequest); 6] = [
            |r| r.token = "u".into(),
            |r| r.hostname = "i".into(),
            |r| r.csr_pem = "d".into(),
            |r| r.seal_public_key[0] ^= 1,
            |r| r.signature[0] ^= 1,
            |r| (r.token, r.hostname) = ("th".into(), "".into()),
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut changed = good.clone();
            change(&mut changed);
            assert!(!verify(&key.verifying_key(), &changed), "change {i}");
        }
    }
}
