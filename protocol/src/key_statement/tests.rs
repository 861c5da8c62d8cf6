use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519, date_time_ymd,
};

const CLUSTER: &str = "0b2e4e0e-5d0f-4a11-9d0c-2f6f3f1f7a10";
/// 2030-01-01.
const NOW: u64 = 1_893_456_000_000;

struct Ca {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

fn ca(name: &str) -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, name);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Ca { der, issuer: Issuer::new(params, key) }
}

fn role() -> ExtendedKeyUsagePurpose {
    ExtendedKeyUsagePurpose::Other(SIGNER_ROLE_OID.to_vec())
}

fn params(cluster: &str, usages: &[ExtendedKeyUsagePurpose]) -> CertificateParams {
    let mut params = CertificateParams::new(vec![signer_name(cluster)]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "signer");
    params.extended_key_usages = usages.to_vec();
    params.not_before = date_time_ymd(2029, 1, 1);
    params.not_after = date_time_ymd(2031, 1, 1);
    params
}

/// A signer's key in both forms, and its certificate.
struct Identity {
    key: SigningKey,
    certificate: Vec<u8>,
}

fn pair() -> (KeyPair, SigningKey) {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let pkcs8 = pair.serialize_der();
    // RFC 8410: the seed stands after a prefix of fixed length.
    let seed: [u8; 32] = pkcs8[16..48].try_into().unwrap();
    let key = SigningKey::from_bytes(&seed);
    assert_eq!(rcgen::PublicKeyData::der_bytes(&pair), key.verifying_key().as_bytes());
    (pair, key)
}

fn identity(ca: &Ca, params: &CertificateParams) -> Identity {
    let (pair, key) = pair();
    Identity { key, certificate: params.signed_by(&pair, &ca.issuer).unwrap().der().to_vec() }
}

fn new_key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn claims() -> Claims {
    Claims {
        cluster_id: CLUSTER.into(),
        epoch: 4,
        not_before: NOW - 1000,
        not_after: NOW + 1000,
        live_epochs: vec![3],
    }
}

fn stated(identity: &Identity, claims: Claims) -> KeyStatement {
    issue(&identity.key, &identity.certificate, &new_key(), claims)
}

/// What becomes of a statement by a signer with such a certificate.
fn with(params: &CertificateParams) -> Result<TrustedKey, KeyStatementError> {
    let ca = ca("ca");
    verify(&stated(&identity(&ca, params), claims()), &ca.der, CLUSTER, NOW)
}

#[test]
fn the_signers_word_for_a_new_key_is_taken() {
    let trusted = with(&params(CLUSTER, &[role()])).unwrap();
    let key = new_key().verifying_key();
    assert_eq!(
        trusted,
        TrustedKey {
            key,
            key_id: signing::key_id(&key),
            epoch: 4,
            live_epochs: vec![3],
            not_before: NOW - 1000,
            not_after: NOW + 1000
        }
    );
}

#[test]
fn case_026_another_ca() {
    let (ours, theirs, namesake) = (ca("ca"), ca("other"), ca("ca"));
    for ca in [&theirs, &namesake] {
        let statement = stated(&identity(ca, &params(CLUSTER, &[role()])), claims());
        assert_eq!(verify(&statement, &ours.der, CLUSTER, NOW), Err(KeyStatementError::OtherCa));
        assert!(verify(&statement, &ca.der, CLUSTER, NOW).is_ok());
    }
}

#[test]
fn case_026_an_envoys_certificate_and_one_without_the_role() {
    let client = params(CLUSTER, &[ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(with(&client), Err(KeyStatementError::EnvoyCertificate));
    let server = params(CLUSTER, &[ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(with(&server), Err(KeyStatementError::WithoutRole));
    assert_eq!(with(&params(CLUSTER, &[])), Err(KeyStatementError::WithoutRole));
    assert_eq!(with(&params(CLUSTER, &[ExtendedKeyUsagePurpose::Any])), Err(KeyStatementError::WithoutRole));
}

#[test]
fn case_026_an_expired_certificate_and_an_early_one() {
    let mut old = params(CLUSTER, &[role()]);
    old.not_after = date_time_ymd(2029, 12, 31);
    assert_eq!(with(&old), Err(KeyStatementError::CertificateExpired));
    let mut early = params(CLUSTER, &[role()]);
    early.not_before = date_time_ymd(2030, 1, 2);
    assert_eq!(with(&early), Err(KeyStatementError::CertificateNotYetValid));
}

#[test]
fn case_026_another_cluster_in_the_certificate_or_in_the_claims() {
    let other = "2e0d9a9c-0f5c-4f5e-8b43-6f9f5c6f0c55";
    assert_eq!(with(&params(other, &[role()])), Err(KeyStatementError::WrongCluster));
    let ca = ca("ca");
    let signer = identity(&ca, &params(CLUSTER, &[role()]));
    let elsewhere = stated(&signer, Claims { cluster_id: other.into(), ..claims() });
    assert_eq!(verify(&elsewhere, &ca.der, CLUSTER, NOW), Err(KeyStatementError::WrongCluster));
    let here = stated(&signer, claims());
    assert_eq!(verify(&here, &ca.der, "not a name", NOW), Err(KeyStatementError::WrongCluster));
    assert!(verify(&here, &ca.der, CLUSTER, NOW).is_ok());
}

#[test]
fn case_026_a_self_made_certificate() {
    let ca = ca("ca");
    let (pair, key) = pair();
    let certificate = params(CLUSTER, &[role()]).self_signed(&pair).unwrap().der().to_vec();
    let statement = stated(&Identity { key, certificate }, claims());
    assert_eq!(verify(&statement, &ca.der, CLUSTER, NOW), Err(KeyStatementError::SelfSigned));
}

#[test]
fn what_the_signer_issues_itself_has_no_path() {
    let ca = ca("ca");
    let (pair, _) = pair();
    let middle = params(CLUSTER, &[role()]);
    middle.signed_by(&pair, &ca.issuer).unwrap();
    let below = Ca { der: vec![], issuer: Issuer::new(middle, pair) };
    let mut leaf = params(CLUSTER, &[role()]);
    leaf.distinguished_name.push(DnType::CommonName, "leaf");
    let statement = stated(&identity(&below, &leaf), claims());
    assert_eq!(verify(&statement, &ca.der, CLUSTER, NOW), Err(KeyStatementError::OtherCa));
}

#[test]
fn signatures_cannot_be_swapped_or_left_out() {
    let ca = ca("ca");
    let signer = identity(&ca, &params(CLUSTER, &[role()]));
    let good = stated(&signer, claims());
    let verdict = |change: fn(&mut KeyStatement)| {
        let mut statement = good.clone();
        change(&mut statement);
        verify(&statement, &ca.der, CLUSTER, NOW)
    };
    assert!(verdict(|_| ()).is_ok());
    let swapped = verdict(|s| std::mem::swap(&mut s.signer_signature, &mut s.key_signature));
    assert_eq!(swapped, Err(KeyStatementError::SignerSignature));
    assert_eq!(verdict(|s| s.signer_signature.clear()), Err(KeyStatementError::SignerSignature));
    assert_eq!(verdict(|s| s.key_signature.clear()), Err(KeyStatementError::KeySignature));
    let signers_twice = verdict(|s| s.key_signature = s.signer_signature.clone());
    assert_eq!(signers_twice, Err(KeyStatementError::KeySignature));
    let replaced = verdict(|s| s.claims = KeyClaims::default().encode_to_vec());
    assert_eq!(replaced, Err(KeyStatementError::SignerSignature));
    assert!(matches!(verdict(|s| s.signer_certificate.clear()), Err(KeyStatementError::Malformed(_))));
    assert!(matches!(verdict(|s| s.claims = vec![0; 1 << 20]), Err(KeyStatementError::Malformed(_))));
}

#[test]
fn a_key_without_its_own_consent() {
    let ca = ca("ca");
    let signer = identity(&ca, &params(CLUSTER, &[role()]));
    let mut statement = stated(&signer, claims());
    let victim = SigningKey::from_bytes(&[8; 32]).verifying_key();
    let mut stolen = KeyClaims::decode(statement.claims.as_slice()).unwrap();
    stolen.public_key = victim.to_bytes().to_vec();
    statement.claims = stolen.encode_to_vec();
    statement.signer_signature = signing::sign(&signer.key, Domain::Key, &statement.claims).to_vec();
    assert_eq!(verify(&statement, &ca.der, CLUSTER, NOW), Err(KeyStatementError::KeySignature));
}

#[test]
fn the_claims_have_a_beginning_and_an_end() {
    let ca = ca("ca");
    let statement = stated(&identity(&ca, &params(CLUSTER, &[role()])), claims());
    let at = |now| verify(&statement, &ca.der, CLUSTER, now).map(|_| ());
    assert_eq!(at(NOW - 1001), Err(KeyStatementError::NotYetValid));
    assert_eq!(at(NOW - 1000), Ok(()));
    assert_eq!(at(NOW + 1000), Ok(()));
    assert_eq!(at(NOW + 1001), Err(KeyStatementError::Expired));
}

#[test]
fn both_forms_of_the_role_are_one() {
    let mut der = vec![(SIGNER_ROLE_OID[0] * 40 + SIGNER_ROLE_OID[1]) as u8];
    let mut digits: Vec<u8> = Vec::new();
    let mut rest = SIGNER_ROLE_OID[2];
    while rest > 0 {
        digits.push((rest & 0x7f) as u8 | if digits.is_empty() { 0 } else { 0x80 });
        rest >>= 7;
    }
    der.extend(digits.iter().rev());
    assert_eq!(der, SIGNER_ROLE);
}
