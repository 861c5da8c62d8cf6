//! Who this envoy is: keys, certificate, CA and cluster, in one file that only root reads.
//!
//! It is one, so that whatever replaces a part of it (a renewal, another enrolment) leaves the old identity or the new one
//! after a crash, never something of both.

use crate::clock::Millis;
use crate::state::{StateDir, StateError, private_dir, read_optional, write_private};
use ed25519_dalek::SigningKey;
use ir::Hash;
use protocol::certificate::{Facts, facts};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Never enrolled.
    #[error("this host is not enrolled; run `vigo enroll --server HOST:1530 --token TOKEN --ca-hash HASH`")]
    NotEnrolled,
    /// Already enrolled.
    #[error(
        "this host is already enrolled as {hostname} with {server}; add --force to replace that identity"
    )]
    Enrolled {
        /// As whom.
        hostname: String,
        /// Where.
        server: String,
    },
    /// A file that does not read back.
    #[error("the identity in {path} is damaged ({what}); enrol again with `vigo enroll --force`")]
    Damaged {
        /// The directory.
        path: String,
        /// Which part.
        what: &'static str,
    },
    /// The file system.
    #[error(transparent)]
    State(#[from] StateError),
}

#[derive(Default, serde::Serialize, serde::Deserialize, zeroize::ZeroizeOnDrop)]
struct File {
    format_version: String,
    envoy_id: String,
    cluster_id: String,
    hostname: String,
    server: String,
    enrolled_at: Millis,
    /// PEM.
    ca: String,
    /// The signing key and then its certificate, in PEM.
    credential: String,
    /// In hexadecimal.
    sealing_key: String,
}

/// An identity. `Debug` shows no keys.
#[derive(Clone)]
pub struct Identity {
    /// Given by the server.
    pub envoy_id: String,
    /// Given by the server.
    pub cluster_id: String,
    /// The envoy's name.
    pub hostname: String,
    /// `HOST:PORT`.
    pub server: String,
    /// When.
    pub enrolled_at: Millis,
    /// The cluster's CA.
    pub ca_pem: String,
    /// This envoy's certificate.
    pub certificate_pem: String,
    /// Signs requests, and TLS.
    pub key: SigningKey,
    /// Opens secrets.
    pub seal_key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("envoy_id", &self.envoy_id)
            .field("hostname", &self.hostname)
            .finish()
    }
}

/// What RFC 8410 puts before the 32 bytes of an ed25519 key in PKCS#8.
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

const FILE: &str = "identity.json";

/// A signing key as rustls and rcgen take it.
pub fn pkcs8(key: &SigningKey) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([PKCS8_PREFIX.as_slice(), key.as_bytes()].concat())
}

impl Identity {
    /// Whether there is one, whole or not.
    pub fn exists(state: &StateDir) -> bool {
        state.identity().join(FILE).exists()
    }

    /// Reads it.
    pub fn load(state: &StateDir) -> Result<Self, IdentityError> {
        state.check()?;
        let directory = state.identity();
        let damaged = |what| IdentityError::Damaged { path: directory.display().to_string(), what };
        let Some(json) = read_optional(&directory.join(FILE))?.map(Zeroizing::new) else {
            return Err(IdentityError::NotEnrolled);
        };
        let mut file: File = serde_json::from_slice(&json).map_err(|_| damaged(FILE))?;
        let (key, certificate_pem) =
            read_credential(file.credential.as_bytes()).ok_or_else(|| damaged("the credential"))?;
        let seal_key = Hash::from_hex(&file.sealing_key).ok_or_else(|| damaged("the sealing key"))?;
        let take = std::mem::take::<String>;
        let identity = Identity {
            envoy_id: take(&mut file.envoy_id),
            cluster_id: take(&mut file.cluster_id),
            hostname: take(&mut file.hostname),
            server: take(&mut file.server),
            enrolled_at: file.enrolled_at,
            ca_pem: take(&mut file.ca),
            certificate_pem,
            key,
            seal_key: Zeroizing::new(seal_key.0),
        };
        identity.ca_der().ok_or_else(|| damaged("the CA"))?;
        Ok(identity)
    }

    /// Writes it in place of the one that may be there, at once or not at all.
    pub fn store(&self, state: &StateDir) -> Result<(), IdentityError> {
        state.prepare()?;
        let directory = state.identity();
        private_dir(&directory)?;
        let file = File {
            format_version: "1.0".to_owned(),
            envoy_id: self.envoy_id.clone(),
            cluster_id: self.cluster_id.clone(),
            hostname: self.hostname.clone(),
            server: self.server.clone(),
            enrolled_at: self.enrolled_at,
            ca: self.ca_pem.clone(),
            credential: format!("{}{}", *self.key_pem(), self.certificate_pem),
            sealing_key: Hash(*self.seal_key).to_string(),
        };
        let json = Zeroizing::new(serde_json::to_vec_pretty(&file).unwrap_or_default());
        Ok(write_private(&directory.join(FILE), &json)?)
    }

    /// Serial and life of the certificate.
    pub fn certificate(&self) -> Option<Facts> {
        facts(&CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).ok()?)
    }

    /// When the certificate ended, if it did.
    pub fn ended(&self, now: Millis) -> Option<Millis> {
        self.certificate().map(|certificate| certificate.not_after).filter(|end| *end < now)
    }

    /// The CA's certificate.
    pub fn ca_der(&self) -> Option<CertificateDer<'static>> {
        CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).ok()
    }

    /// The signing key for TLS.
    pub fn key_pem(&self) -> Zeroizing<String> {
        let der = pkcs8(&self.key);
        Zeroizing::new(pem("PRIVATE KEY", &der))
    }
}

/// The key, and the certificate in PEM, when that is for the key.
fn read_credential(pem: &[u8]) -> Option<(SigningKey, String)> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    let seed = der.secret_pkcs8_der().strip_prefix(&PKCS8_PREFIX)?;
    let key = SigningKey::from_bytes(seed.try_into().ok()?);
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    (protocol::ed25519_key(&certificate)? == key.verifying_key())
        .then(|| (key, self::pem("CERTIFICATE", &certificate)))
}

/// DER as PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut body = String::new();
    for chunk in der.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            let letter = ALPHABET.get(index as usize).copied().map_or('=', char::from);
            body.push(if digit <= chunk.len() { letter } else { '=' });
        }
    }
    let lines: Vec<&str> =
        (0..body.len()).step_by(64).filter_map(|at| body.get(at..body.len().min(at + 64))).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_stored_comes_back_and_is_private() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::below(root.path());
        assert!(matches!(Identity::load(&state), Err(IdentityError::NotEnrolled)));
        let identity = identity(3);
        identity.store(&state).unwrap();
        let back = Identity::load(&state).unwrap();
        assert_eq!((back.key.as_bytes(), *back.seal_key), (&[3; 32], [4; 32]));
        assert_eq!(back.certificate(), identity.certificate());
        for file in std::fs::read_dir(state.identity()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert!(!format!("{back:?}").contains("key"));
    }

    /// With a certificate for that key.
    fn identity(seed: u8) -> Identity {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let pair = rcgen::KeyPair::from_pem(&pem("PRIVATE KEY", &pkcs8(&key))).unwrap();
        let certificate_pem = rcgen::CertificateParams::default().self_signed(&pair).unwrap().pem();
        Identity {
            envoy_id: "e".into(),
            cluster_id: "c".into(),
            hostname: "h".into(),
            server: "s:1530".into(),
            enrolled_at: 1,
            ca_pem: certificate_pem.clone(),
            certificate_pem,
            key,
            seal_key: Zeroizing::new([4; 32]),
        }
    }

    #[test]
    fn an_identity_that_is_cut_or_mixed_is_none() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::below(root.path());
        let (one, two) = (identity(3), identity(4));
        one.store(&state).unwrap();
        let file = state.identity().join(FILE);
        let whole = std::fs::read_to_string(&file).unwrap();
        let damaged = || matches!(Identity::load(&state), Err(IdentityError::Damaged { .. }));
        for cut in 0..whole.len() {
            std::fs::write(&file, &whole[..cut]).unwrap();
            assert!(damaged(), "cut at {cut}");
        }
        let line = |pem: &str| pem.replace('\n', "\\n");
        let mixed = whole.replace(&line(&one.certificate_pem), &line(&two.certificate_pem));
        assert_ne!(mixed, whole);
        std::fs::write(&file, mixed).unwrap();
        assert!(damaged(), "a key with a certificate for another");
        std::fs::write(&file, whole.replace("0404", "04")).unwrap();
        assert!(damaged(), "a short key");
        two.store(&state).unwrap();
        assert_eq!(Identity::load(&state).unwrap().key, two.key);
    }

    #[test]
    fn the_key_is_one_that_rcgen_and_rustls_read() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let pair = rcgen::KeyPair::from_pem(&pem("PRIVATE KEY", &pkcs8(&key))).unwrap();
        assert_eq!(rcgen::PublicKeyData::der_bytes(&pair), key.verifying_key().as_bytes());
    }
}
