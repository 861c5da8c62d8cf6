//! Enrolment: the CA is proven by its hash before anything is sent, then the token buys a certificate.

use crate::agent::{Agent, AgentError};
use crate::identity::{Identity, IdentityError, pem, pkcs8};
use crate::server::{NetError, address, connect_error, endpoint, runtime, status_error};
use crate::store::{KeyRecord, Store};
use crate::tls::{Judge, Verifier};
use ed25519_dalek::SigningKey;
use ir::Hash;
use protocol::key_statement::{self, KeyStatementError};
use protocol::pb::{self, enrolment_client::EnrolmentClient};
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerified;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::transport::{Certificate, ClientTlsConfig};
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(10);

/// What an enrolment needs.
#[derive(Clone, Debug)]
pub struct EnrolOptions {
    /// `HOST:1530`; for a rejoin it may be that of the identity.
    pub server: Option<String>,
    /// One-time token.
    pub token: Zeroizing<String>,
    /// SHA-256 of the CA's public key, in hexadecimal; a `sha256:` before it is allowed.
    /// For a rejoin it may be that of the identity.
    pub ca_hash: Option<String>,
    /// The envoy's name; the host's own otherwise.
    pub hostname: Option<String>,
    /// Replaces an identity that is there.
    pub force: bool,
    /// Keeps the identity that is there and gets it a new certificate, because the old one ended.
    pub rejoin: bool,
}

/// Why a host was not enrolled. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The agent's own side.
    #[error("{0}")]
    Agent(AgentError),
    /// Not a hash.
    #[error("`{0}` is not a CA hash; `vigosrv token create` prints it, 64 hexadecimal digits")]
    CaHash(String),
    /// Somebody else's CA.
    ///
    /// Does not say which: whoever answers here must not be able to tell people what to trust.
    #[error(
        "{server} belongs to another CA than --ca-hash says; the token was not sent; the hash of the right one is printed by `vigosrv token create`, on the server itself"
    )]
    WrongCa {
        /// `HOST:PORT`.
        server: String,
    },
    /// It said no.
    #[error("{server} did not enrol this host: {message}")]
    Refused {
        /// `HOST:PORT`.
        server: String,
        /// What it said.
        message: String,
    },
    /// A key statement that does not hold.
    #[error("the server's signing key is not taken: {0}")]
    Key(#[from] KeyStatementError),
    /// Neither given nor known.
    #[error("{0} is missing; `vigo enroll --help` has an example")]
    Missing(&'static str),
    /// The certificate is not for the key that was sent.
    #[error("the server's answer makes no sense: {0}")]
    Answer(&'static str),
    /// No CSR or no random bytes.
    #[error("cannot make a key: {0}")]
    Keys(String),
}

impl EnrolError {
    /// As in the table of exit codes.
    pub fn exit_code(&self) -> u8 {
        match self {
            EnrolError::Agent(error) => error.exit_code(),
            EnrolError::Missing(_) => 64,
            EnrolError::Keys(_) => 70,
            _ => 65,
        }
    }
}

impl<E: Into<AgentError>> From<E> for EnrolError {
    fn from(error: E) -> Self {
        EnrolError::Agent(error.into())
    }
}

impl Agent {
    /// Enrols this host; its envoy id.
    pub fn enrol(&self, options: &EnrolOptions) -> Result<String, EnrolError> {
        let wanted = match &options.ca_hash {
            Some(text) => Some(ca_hash(text)?),
            None => None,
        };
        if let Some(server) = &options.server {
            address(server)?;
        }
        self.state().prepare()?;
        let _lock = self.state().lock()?;
        if options.rejoin {
            return self.rejoin(options, wanted);
        }
        let server = options.server.as_ref().ok_or(EnrolError::Missing("--server"))?;
        let wanted = wanted.ok_or(EnrolError::Missing("--ca-hash"))?;
        if !options.force && Identity::exists(self.state()) {
            let old = Identity::load(self.state())?;
            return Err(IdentityError::Enrolled { hostname: old.hostname, server: old.server }.into());
        }
        let hostname = match &options.hostname {
            Some(name) => name.clone(),
            None => nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).map_err(|e| {
                EnrolError::Keys(format!("the host has no name ({e}); give one with --hostname"))
            })?,
        };
        let hostname = hostname.trim_end_matches('.').to_lowercase();

        let runtime = runtime()?;
        let ca = runtime.block_on(prove(server, wanted))?;
        let ca_pem = pem("CERTIFICATE", &ca);

        let key = new_key()?;
        let (seal_key, seal_public) = protocol::secrets::generate();
        let mut request = pb::EnrollRequest {
            token: options.token.trim().to_owned(),
            hostname: hostname.clone(),
            csr_pem: csr(&key, &hostname)?,
            seal_public_key: seal_public.to_vec(),
            ..pb::EnrollRequest::default()
        };
        protocol::enrolment::sign(&key, &mut request);
        let reply = runtime.block_on(send(server, &ca_pem, request))?;

        let now = self.clock().now();
        let statement = reply.key_statement.ok_or(EnrolError::Answer("it has no key statement"))?;
        let trusted = key_statement::verify(&statement, &ca, &reply.cluster_id, now)?;
        let identity = Identity {
            envoy_id: reply.envoy_id,
            cluster_id: reply.cluster_id,
            hostname,
            server: server.clone(),
            enrolled_at: now,
            ca_pem,
            certificate_pem: reply.certificate_pem,
            key,
            seal_key,
        };
        certificate_is_ours(&identity)?;
        let store = Store::open(self.state(), false, now)?;
        // After a crash in between, the store still belongs to the identity before, and is begun anew by the next session.
        identity.store(self.state())?;
        store.reset(&identity.envoy_id)?;
        store.pin(&KeyRecord { statement, at: now }, trusted.epoch)?;
        Ok(identity.envoy_id)
    }

    /// Gets the identity that is there a certificate for a new key. It keeps its id, what it has seen of the server, and the
    /// results that wait: the server lets it in by a token and by the key that it knows of this envoy.
    fn rejoin(&self, options: &EnrolOptions, wanted: Option<Hash>) -> Result<String, EnrolError> {
        let mut identity = Identity::load(self.state())?;
        let known = identity.ca_der().and_then(|der| protocol::ca_hash(&der));
        let wanted = wanted.or(known).ok_or(EnrolError::Missing("--ca-hash"))?;
        let server = options.server.clone().unwrap_or_else(|| identity.server.clone());
        if known != Some(wanted) {
            return Err(EnrolError::WrongCa { server });
        }
        let runtime = runtime()?;
        runtime.block_on(prove(&server, wanted))?;
        let key = new_key()?;
        let mut request = pb::EnrollRequest {
            token: options.token.trim().to_owned(),
            hostname: identity.hostname.clone(),
            csr_pem: csr(&key, &identity.hostname)?,
            envoy_id: identity.envoy_id.clone(),
            ..pb::EnrollRequest::default()
        };
        protocol::enrolment::sign(&key, &mut request);
        protocol::enrolment::sign_rejoin(&identity.key, &mut request);
        let reply = runtime.block_on(send(&server, &identity.ca_pem, request))?;
        if reply.envoy_id != identity.envoy_id || reply.cluster_id != identity.cluster_id {
            return Err(EnrolError::Answer("it is for another envoy"));
        }
        (identity.key, identity.certificate_pem) = (key, reply.certificate_pem);
        certificate_is_ours(&identity)?;
        identity.server = server;
        identity.store(self.state())?;
        Ok(identity.envoy_id)
    }
}

fn ca_hash(text: &str) -> Result<Hash, EnrolError> {
    let bare = text.trim().trim_start_matches("sha256:").to_lowercase();
    Hash::from_hex(&bare)
        .ok_or_else(|| EnrolError::CaHash(crate::text::printable(crate::text::bounded(text, 100))))
}

/// The CA of a server, if it is the one with that hash. Nothing is sent beyond the handshake.
async fn prove(server: &str, wanted: Hash) -> Result<CertificateDer<'static>, EnrolError> {
    let presented = look(server).await?;
    let ca = presented.into_iter().find(|der| protocol::ca_hash(der) == Some(wanted));
    ca.ok_or_else(|| EnrolError::WrongCa { server: server.to_owned() })
}

/// Whether the certificate is the CA's, for this envoy and its key: what replaces an identity is not believed because somebody says
/// so. Its time is not looked at, for this host's clock may be wrong.
pub(crate) fn certificate_is_ours(identity: &Identity) -> Result<(), EnrolError> {
    use rustls_pki_types::pem::PemObject;
    if identity.envoy_id.is_empty() || identity.cluster_id.is_empty() {
        return Err(EnrolError::Answer("it names no envoy or cluster"));
    }
    let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).ok();
    let key = certificate.as_ref().and_then(|der| protocol::ed25519_key(der));
    if key != Some(identity.key.verifying_key()) {
        return Err(EnrolError::Answer("its certificate is not for this host's key"));
    }
    let name = certificate
        .zip(identity.ca_der())
        .and_then(|(certificate, ca)| protocol::certificate::client_of(&certificate, &ca));
    match name {
        Some(name) if name == identity.envoy_id => Ok(()),
        Some(_) => Err(EnrolError::Answer("its certificate is another envoy's")),
        None => Err(EnrolError::Answer("its certificate is not the CA's, or not for a client")),
    }
}

pub(crate) fn new_key() -> Result<SigningKey, EnrolError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|e| EnrolError::Keys(e.to_string()))?;
    Ok(SigningKey::from_bytes(&seed))
}

pub(crate) fn csr(key: &SigningKey, hostname: &str) -> Result<String, EnrolError> {
    let failed = |e: rcgen::Error| EnrolError::Keys(e.to_string());
    let pair =
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8(key).as_slice().into(), &rcgen::PKCS_ED25519)
            .map_err(failed)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, hostname);
    params.serialize_request(&pair).and_then(|csr| csr.pem()).map_err(failed)
}

async fn send(server: &str, ca_pem: &str, request: pb::EnrollRequest) -> Result<pb::EnrollReply, EnrolError> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem));
    let channel = endpoint(server, tls)?.connect().await.map_err(|e| connect_error(server, &e))?;
    match EnrolmentClient::new(channel).enroll(request).await {
        Ok(reply) => Ok(reply.into_inner()),
        Err(status) => Err(match status_error(server, &status) {
            NetError::Refused { server, message } | NetError::TurnedAway { server, message } => {
                EnrolError::Refused { server, message }
            }
            other => other.into(),
        }),
    }
}

/// The certificates that a server shows. Nothing is sent to it beyond the handshake, and nothing it says is believed.
async fn look(server: &str) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let unreachable = |why: String| NetError::Unreachable { server: server.to_owned(), why };
    let (host, port) = address(server)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let capture = Arc::new(Verifier { provider: provider.clone(), judge: Capture::default() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unreachable(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(capture.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.clone()).map_err(|_| NetError::Address(server.to_owned()))?;
    let handshake = async {
        let stream = tokio::net::TcpStream::connect((host.as_str(), port)).await?;
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    let shaken = tokio::time::timeout(LIMIT, handshake).await;
    let seen = capture.judge.0.lock().map(|seen| seen.clone()).unwrap_or_default();
    match shaken {
        _ if !seen.is_empty() => Ok(seen),
        Ok(Ok(_)) => Ok(seen),
        Ok(Err(e)) => Err(unreachable(crate::text::printable(&e.to_string()))),
        Err(_) => Err(unreachable(format!("no answer within {}", crate::text::took(LIMIT)))),
    }
}

/// Keeps the chain it is shown.
#[derive(Debug, Default)]
struct Capture(Mutex<Vec<CertificateDer<'static>>>);

impl Judge for Capture {
    fn judge(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _wall: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(server).chain(intermediates).take(16);
        if let Ok(mut seen) = self.0.lock() {
            *seen = chain.map(|der| der.clone().into_owned()).collect();
        }
        Ok(ServerCertVerified::assertion())
    }
}
