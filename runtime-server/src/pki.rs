//! The cluster's own CA, and what it issues: the server's certificate, the signer identity's, and one per
//! envoy.
//!
//! A certificate says who somebody is; whether an envoy is still welcome is asked of the store with
//! every request. Certificates of envoys are short-lived all the same: what was stolen unnoticed ends by itself.

use crate::store::certificates::Certificate;
use base64::Engine;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ir::Hash;
use protocol::key_statement::{SIGNER_ROLE_OID, signer_name};
use protocol::reset::Reset;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
    SigningKey as _,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// The CA's own, the server's and the signer identity's.
const LIFE: Duration = Duration::from_secs(20 * 366 * 86_400);
/// Milliseconds. A certificate is good from a little before it was made, for hosts whose clocks are behind.
const CLOCK_TOLERANCE: u64 = 3_600_000;

/// Why a certificate was not made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A name that cannot stand in a certificate.
    #[error("`{0}` is not a host name or an IP address")]
    Name(String),
    /// A file that is not what it should be.
    #[error("{0} is not readable: {1}")]
    Unreadable(&'static str, String),
    /// The library refused.
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// Why a certificate signing request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Not PKCS#10, or not signed by its own key.
    #[error("the certificate signing request cannot be read or is not signed by its own key")]
    Malformed,
    /// Another kind of key.
    #[error("the certificate signing request is not for an ed25519 key")]
    Key,
    /// It asks for more than a client's certificate of that name.
    #[error("the certificate signing request asks for {0}, which an agent never gets")]
    Asks(&'static str),
}

/// Everything `vigosrv init` writes, in PEM.
pub struct Material {
    /// The CA's certificate.
    pub ca: String,
    /// The CA's key.
    pub ca_key: Zeroizing<String>,
    /// The server's certificate and then the CA's, so that an agent finds the CA by its hash.
    pub server_chain: String,
    /// The server's key.
    pub server_key: Zeroizing<String>,
    /// The signer identity's certificate.
    pub signer: String,
    /// The signer identity's key.
    pub signer_key: Zeroizing<String>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

impl Material {
    /// A new CA for a cluster, with a server certificate for these host names and addresses.
    pub fn create(cluster_id: &str, hostnames: &[String], now_ms: u64) -> Result<Self, PkiError> {
        let ca_key = KeyPair::generate()?;
        let mut params = named(&format!("Vigo CA {cluster_id}"), now_ms)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&ca_key)?;
        let issuer = Issuer::from_params(&params, &ca_key);

        let (server, server_key) = server_certificate(&issuer, hostnames, now_ms)?;
        let (signer, signer_key) = signer_certificate(&issuer, cluster_id, now_ms)?;
        Ok(Material {
            server_chain: server + &ca.pem(),
            ca: ca.pem(),
            ca_key: Zeroizing::new(ca_key.serialize_pem()),
            server_key,
            signer,
            signer_key,
        })
    }
}

/// A certificate for a server of these names, and its key; both in PEM.
fn server_certificate(
    issuer: &Issuer<'_, impl rcgen::SigningKey>,
    hostnames: &[String],
    now_ms: u64,
) -> Result<(String, Zeroizing<String>), PkiError> {
    let key = KeyPair::generate()?;
    let mut params = named("vigosrv", now_ms)?;
    params.subject_alt_names = hostnames.iter().map(|n| subject(n)).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok((params.signed_by(&key, issuer)?.pem(), Zeroizing::new(key.serialize_pem())))
}

/// A certificate for the signer identity of a cluster, and its key; both in PEM.
fn signer_certificate(
    issuer: &Issuer<'_, impl rcgen::SigningKey>,
    cluster_id: &str,
    now_ms: u64,
) -> Result<(String, Zeroizing<String>), PkiError> {
    let key = new_key_pem()?;
    let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&key, &PKCS_ED25519)?;
    let mut params = named("vigo signer", now_ms)?;
    params.subject_alt_names = vec![subject(&signer_name(cluster_id))?];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(SIGNER_ROLE_OID.to_vec())];
    Ok((params.signed_by(&pair, issuer)?.pem(), key))
}

/// A new ed25519 key, in PEM.
pub fn new_key_pem() -> Result<Zeroizing<String>, PkiError> {
    new_key()?.to_pkcs8_pem(LineEnding::LF).map_err(|e| PkiError::Unreadable("the key", e.to_string()))
}

/// A new ed25519 key.
pub fn new_key() -> Result<SigningKey, PkiError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice())?;
    Ok(SigningKey::from_bytes(&seed))
}

/// An ed25519 key from PKCS#8 in PEM.
pub fn read_key(what: &'static str, pem: &str) -> Result<SigningKey, PkiError> {
    SigningKey::from_pkcs8_pem(pem)
        .map_err(|e| PkiError::Unreadable(what, format!("not an ed25519 key in PKCS#8 PEM ({e})")))
}

/// The first certificate of a PEM file.
pub fn read_certificate(what: &'static str, pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| PkiError::Unreadable(what, e.to_string()))
}

/// The CA at work.
pub struct Ca {
    /// Its certificate.
    pub der: Vec<u8>,
    /// SHA-256 of its public key: what an agent is given to recognise it.
    pub hash: Hash,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Ca {
    /// From certificate and key in PEM.
    pub fn load(certificate: &str, key: &str) -> Result<Self, PkiError> {
        let unreadable = |e: rcgen::Error| PkiError::Unreadable("the CA", e.to_string());
        let der = read_certificate("the CA's certificate", certificate)?;
        let hash = protocol::ca_hash(&der)
            .ok_or_else(|| PkiError::Unreadable("the CA's certificate", "not a certificate".into()))?;
        let key = KeyPair::from_pem(key).map_err(unreadable)?;
        if Hash::of(&key.subject_public_key_info()) != hash {
            return Err(PkiError::Unreadable("the CA", "key and certificate do not belong together".into()));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(unreadable)?;
        Ok(Ca { der: der.to_vec(), hash, issuer })
    }

    /// Its certificate in PEM: written anew, so that nothing else of the file goes out with it.
    pub fn pem(&self) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(&self.der);
        let lines = body.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
        format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
    }

    /// A client certificate for an envoy. Nothing of the request is taken over but the key.
    pub fn issue_client(
        &self,
        envoy_id: &str,
        csr: &Csr,
        now_ms: u64,
        life: Duration,
    ) -> Result<Issued, PkiError> {
        let mut params = named(envoy_id, now_ms)?;
        let ends = now_ms.saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(ends).min(FAR);
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&csr.0.public_key, &self.issuer)?;
        let facts = protocol::certificate::facts(certificate.der())
            .ok_or(PkiError::Unreadable("a certificate just made", "not a certificate".into()))?;
        let record =
            Certificate { serial: facts.serial, issued_at: facts.not_before, expires_at: facts.not_after };
        Ok(Issued { pem: certificate.pem(), certificate: record })
    }

    /// A certificate chain for a server of these names, as [`Material::server_chain`], and its key.
    pub fn issue_server(
        &self,
        hostnames: &[String],
        now_ms: u64,
    ) -> Result<(String, Zeroizing<String>), PkiError> {
        let (certificate, key) = server_certificate(&self.issuer, hostnames, now_ms)?;
        Ok((certificate + &self.pem(), key))
    }

    /// A certificate for the signer identity, and its key.
    pub fn issue_signer(
        &self,
        cluster_id: &str,
        now_ms: u64,
    ) -> Result<(String, Zeroizing<String>), PkiError> {
        signer_certificate(&self.issuer, cluster_id, now_ms)
    }

    /// The CA's word that agents begin anew; see [`protocol::reset`].
    pub fn reset(&self, cluster_id: &str, reset: Reset) -> Result<protocol::pb::Reset, PkiError> {
        Ok(protocol::reset::issue(cluster_id, reset, |message| self.issuer.key().sign(message))?)
    }
}

/// A client certificate, and what is recorded of it.
#[derive(Clone, Debug)]
pub struct Issued {
    /// In PEM.
    pub pem: String,
    /// To be recorded before it is given out.
    pub certificate: Certificate,
}

/// 9999-12-31, the last day that a certificate can name.
const FAR: Duration = Duration::from_secs(253_402_214_400);

/// 16 random bytes, positive as DER sees it, and without a leading zero that readers might leave out.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(bytes.to_vec().into())
}

/// A certificate signing request that asks for nothing an agent may not have.
#[derive(Debug)]
pub struct Csr(CertificateSigningRequestParams);

impl Csr {
    /// Reads one, for the agent of that (normalised) name.
    pub fn read(pem: &str, hostname: &str) -> Result<Self, CsrError> {
        if pem.len() > 16 << 10 {
            return Err(CsrError::Malformed);
        }
        let csr = CertificateSigningRequestParams::from_pem(pem).map_err(|_| CsrError::Malformed)?;
        if csr.public_key.algorithm() != &PKCS_ED25519 || csr.public_key.der_bytes().len() != 32 {
            return Err(CsrError::Key);
        }
        if !matches!(csr.params.is_ca, IsCa::NoCa | IsCa::ExplicitNoCa) {
            return Err(CsrError::Asks("a CA certificate"));
        }
        if csr.params.extended_key_usages.iter().any(|u| *u != ExtendedKeyUsagePurpose::ClientAuth) {
            return Err(CsrError::Asks("another role than that of a client"));
        }
        if csr.params.key_usages.iter().any(|u| *u != KeyUsagePurpose::DigitalSignature) {
            return Err(CsrError::Asks("another use of its key than signing"));
        }
        let own = |san: &SanType| matches!(san, SanType::DnsName(n) if n.as_str() == hostname);
        if !csr.params.subject_alt_names.iter().all(own) {
            return Err(CsrError::Asks("another name"));
        }
        Ok(Csr(csr))
    }

    /// The key it is for.
    pub fn public_key(&self) -> Option<ed25519_dalek::VerifyingKey> {
        let bytes = self.0.public_key.der_bytes().try_into().ok()?;
        ed25519_dalek::VerifyingKey::from_bytes(bytes).ok()
    }
}

fn named(common_name: &str, now_ms: u64) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    let start = Duration::from_millis(now_ms.saturating_sub(CLOCK_TOLERANCE));
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + start;
    params.not_after = params.not_before + LIFE;
    Ok(params)
}

fn subject(name: &str) -> Result<SanType, PkiError> {
    let wrong = || PkiError::Name(name.to_owned());
    match name.parse() {
        Ok(ip) => Ok(SanType::IpAddress(ip)),
        Err(_) => {
            let name = crate::hostname::normalise(name).ok_or_else(wrong)?;
            Ok(SanType::DnsName(name.try_into().map_err(|_| wrong())?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certified::Certified;

    const NOW: u64 = 1_893_456_000_000;
    const CLUSTER: &str = "0b2e4e0e-5d0f-4a11-9d0c-2f6f3f1f7a10";

    fn material() -> Material {
        Material::create(CLUSTER, &["localhost".into(), "127.0.0.1".into()], NOW).unwrap()
    }

    #[test]
    fn the_signer_identity_is_what_key_statements_want() {
        let m = material();
        let ca = Ca::load(&m.ca, &m.ca_key).unwrap();
        let signer = read_key("signer", &m.signer_key).unwrap();
        let certificate = read_certificate("signer", &m.signer).unwrap();
        let claims = protocol::key_statement::Claims {
            cluster_id: CLUSTER.into(),
            epoch: 1,
            not_before: NOW,
            not_after: NOW + 1,
            live_epochs: vec![],
        };
        let statement =
            protocol::key_statement::issue(&signer, &certificate, &new_key().unwrap(), claims.clone());
        protocol::key_statement::verify(&statement, &ca.der, CLUSTER, NOW).unwrap();
        let (renewed, renewed_key) = ca.issue_signer(CLUSTER, NOW).unwrap();
        let (renewed, renewed_key) =
            (read_certificate("signer", &renewed).unwrap(), read_key("signer", &renewed_key).unwrap());
        let anew =
            protocol::key_statement::issue(&renewed_key, &renewed, &new_key().unwrap(), claims.clone());
        protocol::key_statement::verify(&anew, &ca.der, CLUSTER, NOW).unwrap();
        let server = read_certificate("server", &m.server_chain).unwrap();
        let wrong = protocol::pb::KeyStatement { signer_certificate: server.to_vec(), ..statement };
        assert!(protocol::key_statement::verify(&wrong, &ca.der, CLUSTER, NOW).is_err());
    }

    #[test]
    fn names_that_cannot_be_certified() {
        assert!(matches!(Material::create(CLUSTER, &["a b".into()], NOW), Err(PkiError::Name(_))));
    }

    fn csr(change: impl FnOnce(&mut CertificateParams)) -> Result<Csr, CsrError> {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        change(&mut params);
        Csr::read(&params.serialize_request(&key).unwrap().pem().unwrap(), "web-01")
    }

    #[test]
    fn case_044_a_request_for_more_than_a_client_may_have() {
        assert!(csr(|_| ()).is_ok());
        assert!(csr(|p| p.subject_alt_names = vec![subject("web-01").unwrap()]).is_ok());
        let asks = |change: fn(&mut CertificateParams)| matches!(csr(change), Err(CsrError::Asks(_)));
        assert!(asks(|p| p.subject_alt_names = vec![subject("web-02").unwrap()]));
        assert!(asks(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)));
        assert!(asks(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]));
        assert!(asks(|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign]));
        let other = CertificateParams::new(vec![]).unwrap();
        let pem = other.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        assert_eq!(Csr::read(&pem, "web-01").unwrap_err(), CsrError::Key);
        assert_eq!(Csr::read("no", "web-01").unwrap_err(), CsrError::Malformed);
    }

    #[test]
    fn an_envoys_certificate_names_it_and_ends() {
        let m = material();
        let ca = Ca::load(&m.ca, &m.ca_key).unwrap();
        let envoy = uuid::Uuid::from_u128(7);
        let day = Duration::from_secs(86_400);
        let [one, two] =
            [(); 2].map(|()| ca.issue_client(&envoy.to_string(), &csr(|_| ()).unwrap(), NOW, day).unwrap());
        assert_ne!(one.certificate.serial, two.certificate.serial);
        assert_eq!(one.certificate.serial.len(), 32);
        assert_eq!(one.certificate.issued_at, NOW - CLOCK_TOLERANCE);
        assert_eq!(one.certificate.expires_at, NOW + 86_400_000);
        let read = Certified::read(&read_certificate("client", &one.pem).unwrap()).unwrap();
        assert_eq!((read.envoy, read.record().expires_at), (Some(envoy), one.certificate.expires_at));
        assert!(read.names(&envoy.to_string()) && !read.names("another"));
        // For ever is as long as a certificate can say.
        ca.issue_client("e", &csr(|_| ()).unwrap(), NOW, Duration::MAX).unwrap();
    }

    #[test]
    fn the_certificate_goes_out_as_it_came_in() {
        let m = material();
        let ca = Ca::load(&m.ca, &m.ca_key).unwrap();
        assert_eq!(read_certificate("ca", &ca.pem()).unwrap().as_ref(), ca.der);
        let with_key = format!("{}{}", *m.ca_key, m.ca);
        assert!(!Ca::load(&with_key, &m.ca_key).unwrap().pem().contains("PRIVATE"));
    }

    #[test]
    fn key_and_certificate_of_two_cas_do_not_load() {
        assert!(Ca::load(&material().ca, &material().ca_key).is_err());
    }
}
