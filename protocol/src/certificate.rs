//! The little that is read out of a certificate without a chain.

use ed25519_dalek::VerifyingKey;
use ir::Hash;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

/// SHA-256 of a certificate's `SubjectPublicKeyInfo`: what `--ca-hash` names. The same as
/// `openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum`. `None` when the
/// bytes are not a certificate.
pub fn ca_hash(ca_der: &[u8]) -> Option<Hash> {
    let der = CertificateDer::from(ca_der);
    let certificate = EndEntityCert::try_from(&der).ok()?;
    Some(Hash::of(certificate.subject_public_key_info().as_ref()))
}

/// An ed25519 `SubjectPublicKeyInfo` is these bytes and then the key (RFC 8410).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The ed25519 key that a certificate speaks for; `None` when it is none or has another kind of
/// key. Says nothing about who issued it.
pub fn ed25519_key(certificate_der: &[u8]) -> Option<VerifyingKey> {
    let der = CertificateDer::from(certificate_der);
    let certificate = EndEntityCert::try_from(&der).ok()?;
    let spki = certificate.subject_public_key_info();
    let key: &[u8; 32] = spki.as_ref().strip_prefix(&ED25519_SPKI)?.try_into().ok()?;
    VerifyingKey::from_bytes(key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData};

    #[test]
    fn the_key_of_a_certificate_and_the_hash_of_its_spki() {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let certificate = CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap();
        assert_eq!(ed25519_key(certificate.der()).unwrap().as_bytes(), pair.public_key_raw());
        assert_eq!(ca_hash(certificate.der()), Some(Hash::of(&pair.subject_public_key_info())));
    }

    #[test]
    fn another_kind_of_key_and_no_certificate_at_all() {
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap();
        assert_eq!(ed25519_key(certificate.der()), None);
        assert_eq!(ed25519_key(b"no"), None);
        assert_eq!(ca_hash(b"no"), None);
    }
}
