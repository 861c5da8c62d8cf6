//! What the server is known by: its CA, and the certificates and keys below it, as the files of the configuration have them.

use crate::clock::Clock;
use crate::config::Config;
use crate::files::{self, FileError};
use crate::live_key::SignerIdentity;
use crate::pki::{self, Ca, PkiError};
use crate::tls::{self, TlsError};
use ed25519_dalek::SigningKey;
use protocol::key_statement::{self, Claims};
use rustls::ServerConfig;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Why the server would not be known.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate or key.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Certificates and configuration are not of one cluster.
    #[error("the signer identity is not usable for cluster {cluster_id}: {why}")]
    Signer {
        /// The configuration's.
        cluster_id: String,
        /// Why.
        why: String,
    },
}

/// Certificates and keys that fit each other.
pub struct Identity {
    /// Issues certificates.
    pub ca: Ca,
    /// Speaks for signing keys.
    pub signer: SignerIdentity,
    /// The key of `signing.key_file`.
    pub signing_key: Option<SigningKey>,
    /// For agents.
    pub grpc: Arc<ServerConfig>,
    /// For people and programs.
    pub https: Arc<ServerConfig>,
    /// When the certificates that `vigosrv init` made end: whose it is, and milliseconds since 1970-01-01 UTC.
    pub ends: Vec<(&'static str, u64)>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads all files.
    pub fn load(config: &Config) -> Result<Self, IdentityError> {
        let tls = &config.tls;
        let secret = |path: &Path| files::read_text(path).map(Zeroizing::new);
        let ca = Ca::load(&files::read_text(&tls.ca)?, &secret(&tls.ca_key)?)?;
        let signer_pem = files::read_text(&tls.signer)?;
        let signer = SignerIdentity {
            key: pki::read_key("the signer identity's key", &secret(&tls.signer_key)?)?,
            certificate: pki::read_certificate("the signer identity's certificate", &signer_pem)?.to_vec(),
        };
        let signing_key = match &config.signing_key_file {
            Some(path) => Some(pki::read_key("`signing.key_file`", &secret(path)?)?),
            None => None,
        };
        let (chain, key) = (files::read_text(&tls.certificate)?, secret(&tls.key)?);
        let server = pki::read_certificate("the server's certificate", &chain)?;
        Ok(Identity {
            grpc: tls::config(&chain, &key, &ca.der)?,
            https: tls::http_config(&chain, &key)?,
            ends: vec![("ca", end(&ca.der)), ("server", end(&server)), ("signer", end(&signer.certificate))],
            ca,
            signer,
            signing_key,
        })
    }

    /// Whether agents of this cluster would believe the signer identity now; better said here than by all of them.
    pub fn check(&self, cluster_id: &str, clock: &Clock) -> Result<(), IdentityError> {
        let now = clock.now();
        let claims = Claims {
            cluster_id: cluster_id.to_owned(),
            epoch: 1,
            not_before: now,
            not_after: now.saturating_add(1),
            live_epochs: Vec::new(),
        };
        let signer = &self.signer;
        let statement = key_statement::issue(&signer.key, &signer.certificate, &pki::new_key()?, claims);
        match key_statement::verify(&statement, &self.ca.der, cluster_id, now) {
            Ok(_) => Ok(()),
            Err(e) => Err(IdentityError::Signer { cluster_id: cluster_id.to_owned(), why: e.to_string() }),
        }
    }
}

/// The end of a certificate; without one it does not end.
fn end(der: &[u8]) -> u64 {
    protocol::certificate::facts(der).map_or(u64::MAX, |facts| facts.not_after)
}
