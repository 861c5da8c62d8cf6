//! TLS with the server of this cluster, also by a clock that cannot be right.
//!
//! A machine without a battery for its clock starts in 1970, when no certificate was good yet. A clock that shows a time before
//! this host's own certificate was issued is wrong, so certificates are judged by that time then, or by the time from which on
//! the server's is good, whichever is later: what ended before is still refused. Chains are verified by `webpki` alone.

use crate::server::{Credential, NetError};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

/// Connects and shakes hands for `tonic`, which is given an address without TLS.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    tls: TlsConnector,
    name: ServerName<'static>,
    limit: Duration,
}

impl Connector {
    /// As the envoy of that credential, to a server that has a certificate of its CA for this host name or address. `limit` is for
    /// a connection, and for the handshake after it.
    pub(crate) fn new(credential: &Credential, host: String, limit: Duration) -> Result<Self, NetError> {
        let Credential { server, ca_pem, certificate_pem, key_pem } = credential;
        let name = ServerName::try_from(host).map_err(|_| NetError::Address(server.clone()))?;
        let wrong = |what: &str, why: &dyn std::fmt::Display| NetError::NotTrusted {
            server: server.clone(),
            why: format!("{what} of this host cannot be used: {why}"),
        };
        let read = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let mut roots = RootCertStore::empty();
        for ca in read(ca_pem).map_err(|e| wrong("the CA", &e))? {
            roots.add(ca).map_err(|e| wrong("the CA", &e))?;
        }
        // A process whose key is elsewhere has set up who signs.
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
        let chain = read(certificate_pem).map_err(|e| wrong("the certificate", &e))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|e| wrong("the key", &e))?;
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|e| wrong("the CA", &e))?;
        let issued = chain.first().and_then(begins).unwrap_or_default();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| wrong("the TLS", &e))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Timely { inner, issued }))
            .with_client_auth_cert(chain, key)
            .map_err(|e| wrong("the certificate", &e))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limit));
        Ok(Connector { tcp, tls: TlsConnector::from(Arc::new(config)), name, limit })
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.tcp.poll_ready(context).map_err(Failed::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Connector { tls, name, limit, .. } = self.clone();
        let connecting = self.tcp.call(uri);
        Box::pin(async move {
            let stream = connecting.await?.into_inner();
            let shaken = tokio::time::timeout(limit, tls.connect(name, stream)).await;
            let late = |_| format!("it does not shake hands within {}", crate::text::took(limit));
            Ok(TokioIo::new(shaken.map_err(late)??))
        })
    }
}

/// From when on a certificate is good, in seconds since 1970.
fn begins(certificate: &CertificateDer<'_>) -> Option<u64> {
    protocol::certificate::facts(certificate).map(|facts| facts.not_before / 1000)
}

/// [`WebPkiServerVerifier`] by a time that can be right.
#[derive(Debug)]
struct Timely {
    inner: Arc<WebPkiServerVerifier>,
    /// When the certificate of this host was; it is later.
    issued: u64,
}

impl Timely {
    fn time(&self, server: &CertificateDer<'_>, wall: UnixTime) -> UnixTime {
        if wall.as_secs() >= self.issued {
            return wall;
        }
        let at_least = self.issued.max(begins(server).unwrap_or_default());
        UnixTime::since_unix_epoch(Duration::from_secs(at_least))
    }
}

impl ServerCertVerifier for Timely {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let now = self.time(end_entity, now);
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    /// A CA for all times.
    fn ca() -> (Certificate, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(2200, 1, 1);
        (params.self_signed(&key).unwrap(), Issuer::new(params, key))
    }

    fn certificate(issuer: &Issuer<'_, KeyPair>, from: i32, to: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    fn year(year: i32) -> UnixTime {
        let since = date_time_ymd(year, 6, 1).unix_timestamp();
        UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(since).unwrap()))
    }

    #[test]
    fn case_099_a_clock_before_our_own_certificate_does_not_count_and_what_ended_stays_refused() {
        let (root, issuer) = ca();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let issued = begins(&certificate(&issuer, 2026, 2027)).unwrap();
        let timely = Timely { inner, issued };
        let name = ServerName::try_from("server.test").unwrap();
        let takes = |server: &CertificateDer<'_>, now: i32| {
            timely.verify_server_cert(server, &[], &name, &[], year(now)).is_ok()
        };
        // By a clock that can be right, it alone counts.
        let server = certificate(&issuer, 2026, 2028);
        assert_eq!([2026, 2027, 2028, 2040].map(|now| takes(&server, now)), [true, true, false, false]);
        assert!(!takes(&certificate(&issuer, 2030, 2031), 2027), "not good yet");
        // Another name is told from another CA.
        let server_error = |name: &'static str, issuer: &Issuer<'_, KeyPair>| {
            let name = ServerName::try_from(name).unwrap();
            let error =
                timely.verify_server_cert(&certificate(issuer, 2026, 2028), &[], &name, &[], year(2026));
            crate::server::no_connection("x:1530", error.unwrap_err().to_string())
        };
        let (_, another) = ca();
        for name in ["10.0.0.1", "other.test"] {
            let error = server_error(name, &issuer);
            assert!(matches!(error, NetError::OtherName { .. }), "{error}");
            let error = server_error(name, &another);
            assert!(matches!(error, NetError::NotTrusted { .. }), "{error}");
        }
        // In 1970: what is good now, and what was issued while this host was switched off.
        assert!(takes(&server, 1970) && takes(&certificate(&issuer, 2030, 2031), 1970));
        // Somebody's key of long ago is none, whatever the clock says.
        assert!(!takes(&certificate(&issuer, 2020, 2022), 1970));
        // And another CA is another CA.
        let (_, stranger) = ca();
        assert!(!takes(&certificate(&stranger, 2026, 2028), 1970));
    }
}
