//! Requests over HTTP that are made of others: by the server of a Vault or the receiver of events, by `vigocli` of a server.
//!
//! None of them is ever sent elsewhere than where it was said: redirects are not followed, and the proxies of the
//! environment are not asked.

use crate::files::{self, FileError};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

/// Why others cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something else than certificates.
    #[error("{} has no certificates in PEM", .0.display())]
    Certificates(PathBuf),
}

/// For requests of the server that take so long at most, to whoever these CAs certify; without a file, those of the system.
pub fn agent(
    ca_file: Option<&Path>,
    timeout: Duration,
    https_only: bool,
) -> Result<ureq::Agent, OutgoingError> {
    let roots = match ca_file {
        Some(file) => roots(file)?,
        None => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "some CAs of this system cannot be read");
            }
            found.certs
        }
    };
    let config = config(&roots, concat!("vigosrv/", env!("CARGO_PKG_VERSION")));
    Ok(config.https_only(https_only).timeout_global(Some(timeout)).build().new_agent())
}

/// The certificates of a PEM file; at least one.
pub fn roots(file: &Path) -> Result<Vec<CertificateDer<'static>>, OutgoingError> {
    let pem = files::read_text(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| OutgoingError::Certificates(file.to_owned()))
}

/// What is the same for all: these CAs alone, and answers as they come.
pub fn config(roots: &[CertificateDer<'_>], user_agent: &str) -> ConfigBuilder<AgentScope> {
    let roots: Vec<Certificate<'static>> =
        roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(user_agent)
}
