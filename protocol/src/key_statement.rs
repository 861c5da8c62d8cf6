//! How a server's signing key becomes trusted without being fixed for ever.
//!
//! The server makes a key at every start. A statement ties it to the cluster: the signer identity, whose
//! certificate the CA issued with a role that no envoy's certificate ever gets, signs the claims, and so
//! does the new key. An agent that knows the CA by its hash needs nothing else. Whether the epoch is
//! new enough is for the agent's own record to say.

use crate::certificate::OF_A_CA;
use crate::pb::{KeyClaims, KeyStatement};
use ed25519_dalek::{SigningKey, VerifyingKey};
use ir::signing::{self, Domain, KeyId};
use prost::Message;
use rustls_pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, Error, KeyUsage};

/// The extended key usage of the signer identity's certificate: an arc under 2.25, where anybody may
/// take a number.
pub const SIGNER_ROLE_OID: &[u64] = &[2, 25, 0x3b1f_3c2a_94d7_e851];

/// [`SIGNER_ROLE_OID`] in DER, without tag and length.
const SIGNER_ROLE: &[u8] = &[0x69, 0xbb, 0x8f, 0xcf, 0x85, 0xa9, 0xa6, 0xdf, 0xd0, 0x51];

/// Bytes of the claims, and of the signer's certificate.
const MAX_CLAIMS_BYTES: usize = 16 << 10;
/// Epochs that may be live at the same time.
const MAX_LIVE_EPOCHS: usize = 256;

/// The DNS name in the signer's certificate, which binds it to one cluster.
pub fn signer_name(cluster_id: &str) -> String {
    format!("signer.{cluster_id}.vigo.internal")
}

/// What is claimed about a new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The cluster it signs for.
    pub cluster_id: String,
    /// Higher than that of every earlier key.
    pub epoch: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub not_before: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub not_after: u64,
    /// Epochs of other servers of the cluster that stay valid.
    pub live_epochs: Vec<u64>,
}

/// A key whose statement holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: VerifyingKey,
    /// Its id.
    pub key_id: KeyId,
    /// Its epoch.
    pub epoch: u64,
    /// Epochs that are valid beside it.
    pub live_epochs: Vec<u64>,
    /// Milliseconds since 1970-01-01 UTC.
    pub not_before: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub not_after: u64,
}

/// Why a statement does not make a key trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyStatementError {
    /// Not a statement, or a certificate that cannot be read.
    #[error("malformed key statement: {0}")]
    Malformed(&'static str),
    /// The signer's certificate was issued by another CA.
    #[error("the signer's certificate was issued by another CA")]
    OtherCa,
    /// The signer's certificate was issued by itself.
    #[error("the signer's certificate is self-signed")]
    SelfSigned,
    /// The certificate of an envoy.
    #[error("the signer's certificate is an envoy's")]
    EnvoyCertificate,
    /// A certificate of the CA, but not for signing keys.
    #[error("the signer's certificate lacks the signer role")]
    WithoutRole,
    /// The certificate is past its end.
    #[error("the signer's certificate has expired")]
    CertificateExpired,
    /// The certificate is not valid yet; most often a wrong clock.
    #[error("the signer's certificate is not valid yet; is the clock right?")]
    CertificateNotYetValid,
    /// The certificate does not verify for another reason.
    #[error("the signer's certificate does not verify: {0}")]
    Certificate(String),
    /// Certificate or claims name another cluster.
    #[error("the key statement is for another cluster")]
    WrongCluster,
    /// The signer's signature does not verify.
    #[error("the signer's signature on the key statement does not verify")]
    SignerSignature,
    /// The new key's own signature does not verify.
    #[error("the new key's own signature on the key statement does not verify")]
    KeySignature,
    /// The claims are past their end.
    #[error("the key statement has expired")]
    Expired,
    /// The claims are not valid yet; most often a wrong clock.
    #[error("the key statement is not valid yet; is the clock right?")]
    NotYetValid,
}

/// States that `new_key` signs for the cluster.
pub fn issue(
    signer: &SigningKey,
    signer_certificate_der: &[u8],
    new_key: &SigningKey,
    claims: Claims,
) -> KeyStatement {
    let claims = KeyClaims {
        cluster_id: claims.cluster_id,
        epoch: claims.epoch,
        public_key: new_key.verifying_key().to_bytes().to_vec(),
        not_before: claims.not_before,
        not_after: claims.not_after,
        live_epochs: claims.live_epochs,
    }
    .encode_to_vec();
    KeyStatement {
        signer_signature: signing::sign(signer, Domain::Key, &claims).to_vec(),
        key_signature: signing::sign(new_key, Domain::Key, &claims).to_vec(),
        signer_certificate: signer_certificate_der.to_vec(),
        claims,
        reset: None,
    }
}

/// The key, if the statement is the CA's word that it signs for this cluster now.
pub fn verify(
    statement: &KeyStatement,
    ca_der: &[u8],
    cluster_id: &str,
    now_ms: u64,
) -> Result<TrustedKey, KeyStatementError> {
    use KeyStatementError as E;
    if statement.claims.len().max(statement.signer_certificate.len()) > MAX_CLAIMS_BYTES {
        return Err(E::Malformed("too large"));
    }
    let signer = signer_key(&statement.signer_certificate, ca_der, cluster_id, now_ms)?;
    let signed_by = |key: &VerifyingKey, signature: &[u8]| match signature.try_into() {
        Ok(signature) => signing::verify(key, Domain::Key, &statement.claims, signature),
        Err(_) => false,
    };
    if !signed_by(&signer, &statement.signer_signature) {
        return Err(E::SignerSignature);
    }
    let claims =
        KeyClaims::decode(statement.claims.as_slice()).map_err(|_| E::Malformed("not key claims"))?;
    if claims.cluster_id != cluster_id {
        return Err(E::WrongCluster);
    }
    if claims.live_epochs.len() > MAX_LIVE_EPOCHS {
        return Err(E::Malformed("too many live epochs"));
    }
    let key = <&[u8; 32]>::try_from(claims.public_key.as_slice())
        .ok()
        .and_then(|bytes| VerifyingKey::from_bytes(bytes).ok())
        .ok_or(E::Malformed("not an ed25519 key"))?;
    if !signed_by(&key, &statement.key_signature) {
        return Err(E::KeySignature);
    }
    if now_ms < claims.not_before {
        return Err(E::NotYetValid);
    }
    if now_ms > claims.not_after {
        return Err(E::Expired);
    }
    Ok(TrustedKey {
        key_id: signing::key_id(&key),
        key,
        epoch: claims.epoch,
        live_epochs: claims.live_epochs,
        not_before: claims.not_before,
        not_after: claims.not_after,
    })
}

/// The signer's key, if this CA itself gave it the role for this cluster.
fn signer_key(
    certificate_der: &[u8],
    ca_der: &[u8],
    cluster_id: &str,
    now_ms: u64,
) -> Result<VerifyingKey, KeyStatementError> {
    use KeyStatementError as E;
    let ca = CertificateDer::from(ca_der);
    let anchor = webpki::anchor_from_trusted_cert(&ca).map_err(|_| E::Malformed("not a CA certificate"))?;
    let der = CertificateDer::from(certificate_der);
    let certificate = EndEntityCert::try_from(&der).map_err(|_| E::Malformed("not a signer certificate"))?;
    if certificate.issuer() == certificate.subject() {
        return Err(E::SelfSigned);
    }
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now_ms));
    let usage = KeyUsage::required(SIGNER_ROLE);
    // No intermediates: what the CA did not issue itself has no path.
    certificate.verify_for_usage(OF_A_CA, &[anchor], &[], now, usage, None, None).map_err(|e| match e {
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => E::OtherCa,
        Error::CertExpired { .. } => E::CertificateExpired,
        Error::CertNotValidYet { .. } => E::CertificateNotYetValid,
        Error::RequiredEkuNotFoundContext(context) => {
            if context.present.iter().any(|oid| oid == KeyUsage::CLIENT_AUTH_REPR) {
                E::EnvoyCertificate
            } else {
                E::WithoutRole
            }
        }
        other => E::Certificate(other.to_string()),
    })?;
    let name = DnsName::try_from(signer_name(cluster_id)).map_err(|_| E::WrongCluster)?;
    certificate.verify_is_valid_for_subject_name(&ServerName::DnsName(name)).map_err(|_| E::WrongCluster)?;
    crate::ed25519_key(certificate_der).ok_or(E::Malformed("the signer's key is not an ed25519 key"))
}

#[cfg(test)]
mod tests;
