//! Who this envoy is: keys, certificate, CA and cluster, in files that only root reads.

use crate::clock::Millis;
use crate::state::{StateDir, StateError, private_dir, read_optional, write_private};
use ed25519_dalek::SigningKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
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

#[derive(serde::Serialize, serde::Deserialize)]
struct File {
    format_version: String,
    envoy_id: String,
    cluster_id: String,
    hostname: String,
    server: String,
    enrolled_at: Millis,
}

/// An identity. `Debug` shows no keys.
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

/// A signing key as rustls and rcgen take it.
pub fn pkcs8(key: &SigningKey) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([PKCS8_PREFIX.as_slice(), key.as_bytes()].concat())
}

impl Identity {
    /// Whether there is one, whole or not.
    pub fn exists(state: &StateDir) -> bool {
        state.identity().join("identity.json").exists()
    }

    /// Reads it.
    pub fn load(state: &StateDir) -> Result<Self, IdentityError> {
        state.check()?;
        let directory = state.identity();
        let damaged = |what| IdentityError::Damaged { path: directory.display().to_string(), what };
        let Some(json) = read_optional(&directory.join("identity.json"))? else {
            return Err(IdentityError::NotEnrolled);
        };
        let file: File = serde_json::from_slice(&json).map_err(|_| damaged("identity.json"))?;
        let part = |name: &'static str| read_optional(&directory.join(name))?.ok_or_else(|| damaged(name));
        let text = |name| part(name).and_then(|b| String::from_utf8(b).map_err(|_| damaged(name)));
        let secret = |name| -> Result<Zeroizing<[u8; 32]>, IdentityError> {
            let bytes = Zeroizing::new(part(name)?);
            Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| damaged(name))?))
        };
        let identity = Identity {
            envoy_id: file.envoy_id,
            cluster_id: file.cluster_id,
            hostname: file.hostname,
            server: file.server,
            enrolled_at: file.enrolled_at,
            ca_pem: text("ca.pem")?,
            certificate_pem: text("certificate.pem")?,
            key: SigningKey::from_bytes(&*secret("signing.key")?),
            seal_key: secret("sealing.key")?,
        };
        identity.ca_der().ok_or_else(|| damaged("ca.pem"))?;
        CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes())
            .map_err(|_| damaged("certificate.pem"))?;
        Ok(identity)
    }

    /// Writes it; `identity.json` last, which makes it one.
    pub fn store(&self, state: &StateDir) -> Result<(), IdentityError> {
        state.prepare()?;
        let directory = state.identity();
        private_dir(&directory)?;
        let write = |name: &str, bytes: &[u8]| write_private(&directory.join(name), bytes);
        write("signing.key", self.key.as_bytes())?;
        write("sealing.key", self.seal_key.as_slice())?;
        write("ca.pem", self.ca_pem.as_bytes())?;
        write("certificate.pem", self.certificate_pem.as_bytes())?;
        let file = File {
            format_version: "1.0".to_owned(),
            envoy_id: self.envoy_id.clone(),
            cluster_id: self.cluster_id.clone(),
            hostname: self.hostname.clone(),
            server: self.server.clone(),
            enrolled_at: self.enrolled_at,
        };
        let json = serde_json::to_vec_pretty(&file).unwrap_or_default();
        Ok(write("identity.json", &json)?)
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
        let ca = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let ca_pem = rcgen::CertificateParams::default().self_signed(&ca).unwrap().pem();
        let identity = Identity {
            envoy_id: "e".into(),
            cluster_id: "c".into(),
            hostname: "h".into(),
            server: "s:1530".into(),
            enrolled_at: 1,
            certificate_pem: ca_pem.clone(),
            ca_pem,
            key: SigningKey::from_bytes(&[3; 32]),
            seal_key: Zeroizing::new([4; 32]),
        };
        identity.store(&state).unwrap();
        let back = Identity::load(&state).unwrap();
        assert_eq!((back.key.as_bytes(), *back.seal_key), (&[3; 32], [4; 32]));
        for file in std::fs::read_dir(state.identity()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
        std::fs::write(state.identity().join("signing.key"), "short").unwrap();
        assert!(matches!(Identity::load(&state), Err(IdentityError::Damaged { what: "signing.key", .. })));
    }

    #[test]
    fn the_key_is_one_that_rcgen_and_rustls_read() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let pair = rcgen::KeyPair::from_pem(&pem("PRIVATE KEY", &pkcs8(&key))).unwrap();
        assert_eq!(rcgen::PublicKeyData::der_bytes(&pair), key.verifying_key().as_bytes());
    }
}
