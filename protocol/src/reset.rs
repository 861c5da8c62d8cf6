//! How agents begin anew with what they have seen of their server.
//!
//! An agent follows signing keys forwards only, and not too far at once. When the epochs of a server cannot go on from
//! there (its database is lost for good, or somebody with a stolen key led agents astray), the CA says with its own key
//! where to go on: whatever an agent has seen counts no more, and keys of an epoch before [`Reset::min_epoch`] are
//! retired. Resets are numbered, so an old one cannot be played back.

use crate::pb::{self, ResetClaims};
use prost::Message;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

/// What the CA signs begins like this; no certificate does, and those are all else that it signs.
const LABEL: &[u8] = b"vigo/reset/v1\0";
/// Bytes of claims, and of their signature.
const MAX_BYTES: usize = 4096;

/// A reset that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Higher than that of every earlier reset.
    pub number: u64,
    /// The first epoch that counts.
    pub min_epoch: u64,
}

/// Why a reset is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// Not a reset.
    #[error("malformed reset statement")]
    Malformed,
    /// Not signed by this CA.
    #[error("the reset statement is not signed by this host's CA")]
    OtherCa,
    /// Another cluster.
    #[error("the reset statement is for another cluster")]
    WrongCluster,
}

/// States a reset; `sign` is the CA's key.
pub fn issue<E>(
    cluster_id: &str,
    reset: Reset,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<pb::Reset, E> {
    let claims =
        ResetClaims { cluster_id: cluster_id.to_owned(), number: reset.number, min_epoch: reset.min_epoch }
            .encode_to_vec();
    Ok(pb::Reset { ca_signature: sign(&message(&claims))?, claims })
}

/// The reset, if it is this CA's word for this cluster. Whether it is a new one is for the agent's own record to say.
pub fn verify(reset: &pb::Reset, ca_der: &[u8], cluster_id: &str) -> Result<Reset, ResetError> {
    if reset.claims.len().max(reset.ca_signature.len()) > MAX_BYTES {
        return Err(ResetError::Malformed);
    }
    let ca = CertificateDer::from(ca_der);
    let ca = EndEntityCert::try_from(&ca).map_err(|_| ResetError::OtherCa)?;
    let message = message(&reset.claims);
    let signed = [webpki::ring::ECDSA_P256_SHA256, webpki::ring::ECDSA_P384_SHA384, webpki::ring::ED25519]
        .into_iter()
        .any(|algorithm| ca.verify_signature(algorithm, &message, &reset.ca_signature).is_ok());
    if !signed {
        return Err(ResetError::OtherCa);
    }
    let claims = ResetClaims::decode(reset.claims.as_slice()).map_err(|_| ResetError::Malformed)?;
    if claims.cluster_id != cluster_id {
        return Err(ResetError::WrongCluster);
    }
    if claims.number == 0 || claims.min_epoch == 0 {
        return Err(ResetError::Malformed);
    }
    Ok(Reset { number: claims.number, min_epoch: claims.min_epoch })
}

fn message(claims: &[u8]) -> Vec<u8> {
    [LABEL, claims].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SigningKey};

    const RESET: Reset = Reset { number: 7, min_epoch: 40 };

    fn ca() -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let der = CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().der().to_vec();
        (key, der)
    }

    fn by(key: &impl SigningKey) -> pb::Reset {
        issue("c", RESET, |message| key.sign(message)).unwrap()
    }

    #[test]
    fn case_021_a_reset_is_the_word_of_the_ca_itself_for_one_cluster() {
        let (key, der) = ca();
        let good = by(&key);
        assert_eq!(verify(&good, &der, "c"), Ok(RESET));
        assert_eq!(verify(&good, &der, "d"), Err(ResetError::WrongCluster));
        let (other_key, other_der) = ca();
        assert_eq!(verify(&good, &other_der, "c"), Err(ResetError::OtherCa));
        assert_eq!(verify(&by(&other_key), &der, "c"), Err(ResetError::OtherCa));
        let signer = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        assert_eq!(
            verify(&by(&signer), &der, "c"),
            Err(ResetError::OtherCa),
            "the signer identity is not the CA"
        );
        for at in 0..good.claims.len() {
            let mut flipped = good.clone();
            flipped.claims[at] ^= 1;
            assert_eq!(verify(&flipped, &der, "c"), Err(ResetError::OtherCa), "byte {at}");
        }
        let unlabelled = pb::Reset { ca_signature: key.sign(&good.claims).unwrap(), ..good.clone() };
        assert_eq!(verify(&unlabelled, &der, "c"), Err(ResetError::OtherCa));
        assert_eq!(verify(&good, b"no certificate", "c"), Err(ResetError::OtherCa));
        let long = pb::Reset { claims: vec![0; MAX_BYTES + 1], ..good };
        assert_eq!(verify(&long, &der, "c"), Err(ResetError::Malformed));
        let nothing = issue("c", Reset { number: 0, min_epoch: 1 }, |message| key.sign(message)).unwrap();
        assert_eq!(verify(&nothing, &der, "c"), Err(ResetError::Malformed));
    }
}
