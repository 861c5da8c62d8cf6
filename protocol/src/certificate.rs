//! The little that is read out of a certificate without a chain.

use ed25519_dalek::VerifyingKey;
use ir::Hash;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::der::Decode;

/// What a certificate says beside its key. Nothing about who issued it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// In hexadecimal.
    pub serial: String,
    /// The common name, when it is the only name: an envoy's id.
    pub name: Option<String>,
    /// Milliseconds since 1970-01-01 UTC, as is the other; full seconds.
    pub not_before: u64,
    /// Good until the end of this second.
    pub not_after: u64,
}

/// Serial, name and life of a certificate; `None` when it is none.
pub fn facts(certificate_der: &[u8]) -> Option<Facts> {
    const COMMON_NAME: x509_cert::der::oid::ObjectIdentifier =
        x509_cert::der::oid::ObjectIdentifier::new_unwrap("2.5.4.3");
    let certificate = x509_cert::Certificate::from_der(certificate_der).ok()?;
    let body = certificate.tbs_certificate();
    let millis =
        |time: &x509_cert::time::Time| u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX);
    let mut names = body.subject().iter();
    let name = match (names.next(), names.next()) {
        (Some(only), None) if only.oid == COMMON_NAME => std::str::from_utf8(only.value.value()).ok(),
        _ => None,
    };
    let serial = body.serial_number().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Facts {
        serial,
        name: name.map(str::to_owned),
        not_before: millis(&body.validity().not_before),
        not_after: millis(&body.validity().not_after),
    })
}

/// SHA-256 of a certificate's `SubjectPublicKeyInfo`: what `--ca-hash` names. The same as
/// `openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum`. `None` when the
/// bytes are not a certificate.
pub fn ca_hash(ca_der: &[u8]) -> Option<Hash> {
    let der = CertificateDer::from(ca_der);
    let certificate = EndEntityCert::try_from(&der).ok()?;
    Some(Hash::of(certificate.subject_public_key_info().as_ref()))
}

/// How a CA may sign.
pub(crate) const OF_A_CA: &[&dyn SignatureVerificationAlgorithm] =
    &[webpki::ring::ECDSA_P256_SHA256, webpki::ring::ECDSA_P384_SHA384, webpki::ring::ED25519];

/// The name in a client certificate, if this CA itself issued it. Judged by the moment it begins at: whether it is good now is
/// another question.
pub fn client_of(certificate_der: &[u8], ca_der: &[u8]) -> Option<String> {
    let ca = CertificateDer::from(ca_der);
    let anchor = webpki::anchor_from_trusted_cert(&ca).ok()?;
    let der = CertificateDer::from(certificate_der);
    let certificate = EndEntityCert::try_from(&der).ok()?;
    let Facts { name, not_before, .. } = facts(certificate_der)?;
    let began = UnixTime::since_unix_epoch(Duration::from_millis(not_before));
    // No intermediates: what the CA did not issue itself has no path.
    certificate.verify_for_usage(OF_A_CA, &[anchor], &[], began, KeyUsage::client_auth(), None, None).ok()?;
    name
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
    fn serial_name_and_life_are_read() {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(vec!["host.test".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "an-envoy");
        params.serial_number = Some(vec![0x0a, 0xff].into());
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2060, 1, 1);
        let certificate = params.self_signed(&pair).unwrap();
        let expected = Facts {
            serial: "0aff".to_owned(),
            name: Some("an-envoy".to_owned()),
            not_before: 1_893_456_000_000,
            not_after: 2_840_140_800_000,
        };
        assert_eq!(facts(certificate.der()), Some(expected));
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "somebody");
        assert_eq!(facts(params.self_signed(&pair).unwrap().der()).unwrap().name, None);
        for cut in 0..certificate.der().len() {
            assert_eq!(facts(&certificate.der()[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_client_certificate_is_the_cas_or_none() {
        use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer};
        let ca = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params.self_signed(&key).unwrap().der().to_vec(), Issuer::new(params, key))
        };
        let issue = |issuer: &Issuer<'_, KeyPair>, usage| {
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "an-envoy");
            params.extended_key_usages = vec![usage];
            // Neither its past nor its future counts here.
            params.not_before = rcgen::date_time_ymd(2060, 1, 1);
            params.not_after = rcgen::date_time_ymd(2061, 1, 1);
            let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            params.signed_by(&key, issuer).unwrap().der().to_vec()
        };
        let (ours, issuer) = ca("ca");
        let good = issue(&issuer, ExtendedKeyUsagePurpose::ClientAuth);
        assert_eq!(client_of(&good, &ours).as_deref(), Some("an-envoy"));
        assert_eq!(client_of(&issue(&issuer, ExtendedKeyUsagePurpose::ServerAuth), &ours), None);
        // Another CA with the same name, one that signed itself, and one that was changed.
        let (_, forger) = ca("ca");
        assert_eq!(client_of(&issue(&forger, ExtendedKeyUsagePurpose::ClientAuth), &ours), None);
        assert_eq!(client_of(&ours, &ours), None);
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            assert_eq!(client_of(&flipped, &ours), None, "byte {at}");
        }
        assert_eq!((client_of(b"no", &ours), client_of(&good, b"no")), (None, None));
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
