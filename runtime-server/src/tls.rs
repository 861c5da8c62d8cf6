//! TLS 1.3 with the cluster's own CA. A client certificate is optional here, because a host that enrols has
//! none yet; [`crate::authorise`] insists on it for everything else.

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CipherSuite, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file.
    #[error("{0} is not readable: {1}")]
    Pem(&'static str, rustls_pki_types::pem::Error),
    /// What they hold.
    #[error("certificates and keys cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
    /// The CA.
    #[error("the CA's certificate cannot be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The server's side of the handshake.
///
/// Sessions are resumed by tickets that only this process can read: an agent that comes back spares both sides the
/// certificates, and the server remembers nothing for it. A fresh key exchange is part of every resumption. Whether
/// the envoy is still welcome is asked with each request, resumed or not.
pub fn config(chain_pem: &str, key_pem: &str, ca_der: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    // First what this machine does fastest: processors have instructions for AES and SHA-256, and a handshake hashes
    // much. SHA-384 alone would cost a tenth of a resumed connection.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca_der.to_vec()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let (chain, key) = identity(chain_pem, key_pem)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.ignore_client_order = true;
    config.alpn_protocols.push(b"h2".to_vec());
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    // An agent has one connection at a time and uses a ticket once.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// The same for people and programs, who bring a token and no certificate.
pub fn http_config(chain_pem: &str, key_pem: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = identity(chain_pem, key_pem)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols.extend([b"h2".to_vec(), b"http/1.1".to_vec()]);
    Ok(Arc::new(config))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(chain_pem: &str, key_pem: &str) -> Result<Identity, TlsError> {
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| TlsError::Pem("the server's certificate", e))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|e| TlsError::Pem("the server's key", e))?;
    Ok((chain, key))
}
