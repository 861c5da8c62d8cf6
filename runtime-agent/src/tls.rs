//! TLS with the server of this cluster, also by a clock that cannot be right.
//!
//! A machine without a battery for its clock starts in 1970, when no certificate was good yet. A clock that shows a time before
//! this host's own certificate was issued is wrong, so certificates are judged by that time then, or by the time from which on
//! the server's is good, whichever is later. What ended before that, or before the time that the server signed last, is refused
//! whatever the clock says. Chains are verified by `webpki` alone.

use crate::clock::Millis;
use crate::server::{Credential, NetError};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
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
        let Credential { server, ca_pem, certificate_pem, key_pem, signed_time } = credential;
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
        let timely = Timely::new(inner, chain.first(), *signed_time);
        let verifier = Arc::new(Verifier { provider: provider.clone(), judge: timely });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| wrong("the TLS", &e))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
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

/// [`WebPkiServerVerifier`] by a time that can be right.
#[derive(Debug)]
struct Timely {
    inner: Arc<WebPkiServerVerifier>,
    /// When the certificate of this host was; it is later.
    issued: Millis,
    /// What the server signed; it is later, too.
    signed: Millis,
}

impl Timely {
    /// The signed time counts within the life of this host's certificate: a server whose clock was years ahead for a while does not
    /// lock out its hosts for as long, because the certificates of servers live longer.
    fn new(inner: Arc<WebPkiServerVerifier>, own: Option<&CertificateDer<'_>>, signed_time: Millis) -> Self {
        let own = own.and_then(|own| protocol::certificate::facts(own));
        let (issued, ends) = own.map_or((0, 0), |own| (own.not_before, own.not_after));
        Timely { inner, issued, signed: signed_time.min(ends) }
    }

    /// By which time that certificate is judged.
    fn time(&self, server: &CertificateDer<'_>, wall: UnixTime) -> UnixTime {
        let server = protocol::certificate::facts(server);
        let (begins, ends) = server.map_or((0, 0), |server| (server.not_before, server.not_after));
        let at_least = self.issued.max(self.signed);
        let judged = if ends < self.signed {
            at_least
        } else if wall.as_secs() < self.issued / 1000 {
            at_least.max(begins)
        } else {
            return wall;
        };
        UnixTime::since_unix_epoch(Duration::from_millis(judged))
    }
}

impl Judge for Timely {
    fn judge(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        wall: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(server, intermediates, name, &[], self.time(server, wall))
    }
}

/// Says whether certificates are those of the server.
pub(crate) trait Judge: std::fmt::Debug + Send + Sync {
    /// `wall` is what the clock of this host shows.
    fn judge(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        wall: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error>;
}

/// Leaves certificates to a [`Judge`]; that the other end has their key is checked as ever.
#[derive(Debug)]
pub(crate) struct Verifier<J> {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) judge: J,
}

impl<J: Judge> ServerCertVerifier for Verifier<J> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge.judge(end_entity, intermediates, server_name, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

impl<J> Verifier<J> {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
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

    /// The verifier of a host whose certificate is good in 2026, and whose server signed last that it is that year.
    fn timely(root: &Certificate, issuer: &Issuer<'_, KeyPair>, signed: i32) -> Timely {
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        Timely::new(inner, Some(&certificate(issuer, 2026, 2027)), year(signed).as_secs() * 1000)
    }

    fn takes(timely: &Timely, server: &CertificateDer<'_>, now: i32) -> bool {
        let name = ServerName::try_from("server.test").unwrap();
        timely.judge(server, &[], &name, year(now)).is_ok()
    }

    #[test]
    fn case_099_a_clock_before_our_own_certificate_does_not_count_and_what_ended_stays_refused() {
        let (root, issuer) = ca();
        let timely = timely(&root, &issuer, 1970);
        let takes = |server: &CertificateDer<'_>, now: i32| takes(&timely, server, now);
        // By a clock that can be right, it alone counts.
        let server = certificate(&issuer, 2026, 2028);
        assert_eq!([2026, 2027, 2028, 2040].map(|now| takes(&server, now)), [true, true, false, false]);
        assert!(!takes(&certificate(&issuer, 2030, 2031), 2027), "not good yet");
        // Another name is told from another CA.
        let server_error = |name: &'static str, issuer: &Issuer<'_, KeyPair>| {
            let name = ServerName::try_from(name).unwrap();
            let error = timely.judge(&certificate(issuer, 2026, 2028), &[], &name, year(2026));
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

    #[test]
    fn case_099_a_certificate_that_ended_before_the_server_last_said_the_time_is_refused_whatever_the_clock_says()
     {
        let (root, issuer) = ca();
        let told = timely(&root, &issuer, 2026);
        // It ended in 2026, before the middle of the year; this host's own began before that.
        let mut params = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2026, 3, 1));
        let ended = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
        let spring = UnixTime::since_unix_epoch(Duration::from_secs(
            u64::try_from(date_time_ymd(2026, 2, 1).unix_timestamp()).unwrap(),
        ));
        let name = ServerName::try_from("server.test").unwrap();
        let by = |timely: &Timely, now: UnixTime| timely.judge(&ended, &[], &name, now);
        for now in [year(1970), year(2024), spring] {
            assert!(by(&timely(&root, &issuer, 1970), now).is_ok(), "the server never said what time it is");
            let error = by(&told, now).unwrap_err();
            let ended = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
            assert!(error == ended || format!("{error:?}").contains("ExpiredContext"), "{error:?}");
        }
        // What is good then is taken, by every clock that was possible before.
        let server = certificate(&issuer, 2026, 2028);
        assert_eq!([1970, 2026, 2027, 2028].map(|now| takes(&told, &server, now)), [true, true, true, false]);

        // A server that was far ahead once has a certificate of these days now.
        let ahead = timely(&root, &issuer, 2090);
        assert!(takes(&ahead, &server, 2026) && takes(&ahead, &server, 1970));
        assert!(!takes(&ahead, &certificate(&issuer, 2020, 2026), 1970));
    }
}
