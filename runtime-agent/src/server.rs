//! The way to the server: gRPC over mutual TLS, behind a trait so that the rules of a check-in can be tested without it.

use crate::clock::Millis;
use crate::identity::Identity;
use crate::tls::Connector;
use protocol::pb::fleet_client::FleetClient;
use protocol::pb::{CheckInReply, RenewReply, ReportReply, SignedRequest};
use std::time::Duration;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use zeroize::Zeroizing;

/// From the first byte of a connection to the end of its handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Nobody there.
    #[error("cannot reach {server}: {why}")]
    Unreachable {
        /// `HOST:PORT`.
        server: String,
        /// Why.
        why: String,
    },
    /// Somebody there who is not the server.
    #[error("{server} does not show a certificate of this host's CA ({why}); is it the right server?")]
    NotTrusted {
        /// `HOST:PORT`.
        server: String,
        /// Why.
        why: String,
    },
    /// The server, by a name that its certificate does not have.
    #[error(
        "{server} has a certificate of this host's CA, but not for that name ({why}); use a name that it is for, or make one for all \
         that agents use with `vigosrv certificates renew --hostname NAMES` on the server"
    )]
    OtherName {
        /// `HOST:PORT`.
        server: String,
        /// Why.
        why: String,
    },
    /// It said no.
    #[error("{server} refused the request: {message}")]
    Refused {
        /// `HOST:PORT`.
        server: String,
        /// What it said.
        message: String,
    },
    /// It does not take this host for one of its own: revoked, unknown, or replaced by a copy. Nobody signed that, but whoever
    /// says it has shown a certificate of the CA.
    #[error("{server} does not let this host in: {message}")]
    TurnedAway {
        /// `HOST:PORT`.
        server: String,
        /// What it said.
        message: String,
    },
    /// The time of the request is not that of the server.
    #[error(
        "{server} refused the request: the clock of this host is not right; set it, `timedatectl set-ntp true` keeps it right"
    )]
    Skew {
        /// `HOST:PORT`.
        server: String,
        /// What time it is there. Nobody signed it, but whoever says it has shown a certificate of the CA.
        server_time: Millis,
    },
    /// `HOST:PORT` that is none.
    #[error("`{0}` is not a server address; write it as HOST:1530")]
    Address(String),
}

impl NetError {
    /// Whether trying again later makes sense without anybody doing anything.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, NetError::Unreachable { .. })
    }
}

/// What the agent asks of a server.
pub trait Server {
    /// Asks for news.
    fn check_in(&mut self, request: SignedRequest) -> Result<CheckInReply, NetError>;
    /// Delivers a result.
    fn report(&mut self, request: SignedRequest) -> Result<ReportReply, NetError>;
    /// Whether a stream is open: then what the server has is left out of what it is sent.
    fn is_stream(&self) -> bool {
        false
    }
    /// Whether it says by itself when there is something new, so that it need not be asked for nothing.
    fn will_say(&self) -> bool {
        false
    }
    /// Asks for a certificate for a new key.
    fn renew(&mut self, request: SignedRequest) -> Result<RenewReply, NetError>;
    /// Speaks with another certificate from now on; `signed_time` as in [`Credential`].
    fn adopt(&mut self, identity: &Identity, signed_time: Millis) -> Result<(), NetError>;
}

/// What a connection needs of an identity.
#[derive(Clone)]
pub struct Credential {
    /// `HOST:PORT`.
    pub server: String,
    /// The cluster's CA.
    pub ca_pem: String,
    /// This envoy's certificate.
    pub certificate_pem: String,
    /// Its key, or what stands for one that is elsewhere.
    pub key_pem: Zeroizing<String>,
    /// What time it was when the server last signed one: it is not earlier. 0 before it did.
    pub signed_time: Millis,
}

impl Credential {
    /// Of an agent that has its key.
    pub fn new(identity: &Identity, signed_time: Millis) -> Self {
        Credential {
            server: identity.server.clone(),
            ca_pem: identity.ca_pem.clone(),
            certificate_pem: identity.certificate_pem.clone(),
            key_pem: identity.key_pem(),
            signed_time,
        }
    }
}

/// Speaks gRPC with one server. Connects at the first request, and again after one that failed.
pub struct Client {
    endpoint: Endpoint,
    connector: Connector,
    server: String,
    fleet: Option<FleetClient<Channel>>,
}

/// A [`Client`] for those that wait.
pub struct Grpc {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

/// Host and port; the port is 1530 where none is given.
pub fn address(server: &str) -> Result<(String, u16), NetError> {
    let wrong = || NetError::Address(crate::text::printable(crate::text::bounded(server, 200)));
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => {
            (host, port.parse().map_err(|_| wrong())?)
        }
        _ => (server, 1530),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if bare.is_empty() || !bare.chars().all(valid) {
        return Err(wrong());
    }
    Ok((bare.to_owned(), port))
}

/// An endpoint that trusts this CA alone, by the clock.
pub fn endpoint(server: &str, tls: ClientTlsConfig) -> Result<Endpoint, NetError> {
    let (endpoint, host) = at(server, "https")?;
    endpoint.tls_config(tls.domain_name(host).timeout(CONNECT_LIMIT)).map_err(|e| wrong(server, &e))
}

fn wrong(server: &str, why: &dyn std::fmt::Display) -> NetError {
    NetError::Address(format!("{server} ({why})"))
}

/// An address with our limits, and its host.
fn at(server: &str, scheme: &str) -> Result<(Endpoint, String), NetError> {
    let (host, port) = address(server)?;
    let url_host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{url_host}:{port}"))
        .map_err(|e| wrong(server, &e))?
        .connect_timeout(CONNECT_LIMIT)
        .timeout(REQUEST_LIMIT)
        .tcp_nodelay(true);
    Ok((endpoint, host))
}

/// One thread: the agent does one thing at a time.
pub fn runtime() -> Result<tokio::runtime::Runtime, NetError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| NetError::Unreachable { server: "the network".to_owned(), why: e.to_string() })
}

impl Client {
    /// Nothing is sent yet.
    pub fn new(credential: &Credential) -> Result<Self, NetError> {
        let server = credential.server.clone();
        // TLS is ours; what is said inside it is said as over https.
        let (endpoint, host) = at(&server, "http")?;
        let origin = endpoint.uri().to_string().replacen("http:", "https:", 1);
        let endpoint = endpoint.origin(origin.parse().map_err(|e| wrong(&server, &e))?);
        let connector = Connector::new(credential, host, CONNECT_LIMIT)?;
        Ok(Client { endpoint, connector, server, fleet: None })
    }

    /// `HOST:PORT`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Shakes hands if that is not done yet.
    pub async fn connect(&mut self) -> Result<FleetClient<Channel>, NetError> {
        if let Some(fleet) = &self.fleet {
            return Ok(fleet.clone());
        }
        let connecting = self.endpoint.connect_with_connector(self.connector.clone());
        let channel = connecting.await.map_err(|e| connect_error(&self.server, &e))?;
        let fleet = FleetClient::new(channel)
            .max_decoding_message_size(protocol::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(protocol::MAX_MESSAGE_BYTES);
        self.fleet = Some(fleet.clone());
        Ok(fleet)
    }

    fn answer<T>(&mut self, result: Result<tonic::Response<T>, tonic::Status>) -> Result<T, NetError> {
        result.map(tonic::Response::into_inner).map_err(|status| {
            self.fleet = None;
            status_error(&self.server, &status)
        })
    }

    /// Asks for news.
    pub async fn check_in(&mut self, request: SignedRequest) -> Result<CheckInReply, NetError> {
        let result = self.connect().await?.check_in(request).await;
        self.answer(result)
    }

    /// Delivers a result.
    pub async fn report(&mut self, request: SignedRequest) -> Result<ReportReply, NetError> {
        let result = self.connect().await?.report_run(request).await;
        self.answer(result)
    }

    /// Asks for a certificate for a new key.
    pub async fn renew(&mut self, request: SignedRequest) -> Result<RenewReply, NetError> {
        let result = self.connect().await?.renew(request).await;
        self.answer(result)
    }
}

impl Grpc {
    /// For an enrolled agent; nothing is sent yet. `signed_time` as in [`Credential`].
    pub fn new(identity: &Identity, signed_time: Millis) -> Result<Self, NetError> {
        Ok(Grpc { client: Client::new(&Credential::new(identity, signed_time))?, runtime: runtime()? })
    }

    /// Shakes hands and asks for nothing.
    pub fn connect(&mut self) -> Result<(), NetError> {
        self.runtime.block_on(self.client.connect()).map(drop)
    }
}

impl Server for Grpc {
    fn check_in(&mut self, request: SignedRequest) -> Result<CheckInReply, NetError> {
        self.runtime.block_on(self.client.check_in(request))
    }

    fn report(&mut self, request: SignedRequest) -> Result<ReportReply, NetError> {
        self.runtime.block_on(self.client.report(request))
    }

    fn renew(&mut self, request: SignedRequest) -> Result<RenewReply, NetError> {
        self.runtime.block_on(self.client.renew(request))
    }

    fn adopt(&mut self, identity: &Identity, signed_time: Millis) -> Result<(), NetError> {
        // Where the server is does not change with the certificate.
        let server = self.client.server().to_owned();
        self.client = Client::new(&Credential { server, ..Credential::new(identity, signed_time) })?;
        Ok(())
    }
}

/// The causes of an error, innermost last, each once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut all: Vec<String> = Vec::new();
    let mut at = Some(error);
    while let Some(error) = at {
        let text = crate::text::printable(&error.to_string());
        if !all.iter().any(|seen| seen.contains(&text)) {
            all.push(text);
        }
        at = error.source();
    }
    // The outermost says "transport error", which says nothing.
    if all.len() > 1 {
        all.remove(0);
    }
    all.join(": ")
}

fn is_tls(why: &str) -> bool {
    ["certificate", "UnknownIssuer", "BadSignature", "handshake"].iter().any(|mark| why.contains(mark))
}

/// What went wrong with a connection, in the user's words.
pub fn connect_error(server: &str, error: &tonic::transport::Error) -> NetError {
    no_connection(server, causes(error))
}

/// [`connect_error`] by the text of its causes. The name is looked at only after the CA was found to be right.
pub(crate) fn no_connection(server: &str, why: String) -> NetError {
    let server = server.to_owned();
    if why.contains("not valid for name") {
        NetError::OtherName { server, why }
    } else if is_tls(&why) {
        NetError::NotTrusted { server, why }
    } else {
        NetError::Unreachable { server, why }
    }
}

/// What makes a host another one than the server's, whatever it tries again.
const STANDING: [&str; 3] = ["revoked", "unknown-envoy", "certificate-replaced"];

/// Whether it is an answer to a person: text where gRPC has a flag, or no page of that name.
fn is_a_web_server(status: &tonic::Status) -> bool {
    let says = |text: &str| status.message().contains(text);
    says("invalid compression flag")
        || (status.code() == tonic::Code::Unimplemented && says("grpc-status header missing"))
}

/// What went wrong with a request.
pub fn status_error(server: &str, status: &tonic::Status) -> NetError {
    use tonic::Code;
    let server = server.to_owned();
    let said = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok());
    if said("vigo-reason") == Some("clock-skew")
        && let Some(server_time) = said("vigo-server-time").and_then(|time| time.parse().ok())
    {
        return NetError::Skew { server, server_time };
    }
    let message = crate::text::printable(crate::text::bounded(status.message(), 1000));
    if said("vigo-reason").is_some_and(|reason| STANDING.contains(&reason)) {
        return NetError::TurnedAway { server, message };
    }
    if is_a_web_server(status) {
        let why = "what answers there is not the port for agents, which is 1530 unless the server is set up otherwise";
        return NetError::Unreachable { server, why: why.to_owned() };
    }
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::ResourceExhausted => {
            let why = match std::error::Error::source(status) {
                Some(source) => causes(source),
                None => message,
            };
            NetError::Unreachable { server, why }
        }
        _ => NetError::Refused { server, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, host, port) in [
            ("vigo.example.com:1530", "vigo.example.com", 1530),
            ("vigo", "vigo", 1530),
            ("10.0.0.1:99", "10.0.0.1", 99),
            ("[::1]:99", "::1", 99),
            ("::1", "::1", 1530),
        ] {
            assert_eq!(address(text).unwrap(), (host.to_owned(), port), "{text}");
        }
        for text in ["", ":1530", "a b:1", "host:port", "http://x:1", "a:99999"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_server_says_of_this_host_is_told_from_what_passes() {
        let said = |code, reason: Option<&'static str>, message: &str| {
            let mut status = tonic::Status::new(code, message);
            if let Some(reason) = reason {
                status.metadata_mut().insert("vigo-reason", reason.parse().unwrap());
            }
            status_error("vigo:1530", &status)
        };
        use tonic::Code;
        for reason in STANDING {
            let error = said(Code::PermissionDenied, Some(reason), &format!("no\u{1b}{}", "x".repeat(5000)));
            let NetError::TurnedAway { message, .. } = error else { panic!("{reason}: {error}") };
            assert!(message.starts_with("no\\u{1b}xxx") && message.len() < 1100, "{message}");
        }
        for (code, reason) in [
            (Code::PermissionDenied, None),
            (Code::PermissionDenied, Some("wrong-envoy")),
            (Code::Aborted, Some("replay")),
            (Code::Unauthenticated, Some("bad-signature")),
        ] {
            let error = said(code, reason, "no");
            assert!(matches!(error, NetError::Refused { .. }), "{reason:?}: {error}");
        }
        assert!(said(Code::Unavailable, Some("busy"), "later").is_unreachable());
        assert!(said(Code::Internal, Some("internal"), "its log says why").is_unreachable());
    }

    #[test]
    fn a_web_server_is_not_taken_for_that_of_agents() {
        let said =
            |code, message: &str| status_error("vigo:8443", &tonic::Status::new(code, message)).to_string();
        let flag =
            "protocol error: received message with invalid compression flag: 123 (valid flags are 0 and 1)";
        for error in [
            said(tonic::Code::Internal, flag),
            said(tonic::Code::Unimplemented, "grpc-status header missing, mapped from HTTP status code 404"),
        ] {
            assert!(error.starts_with("cannot reach vigo:8443") && error.contains("1530"), "{error}");
        }
        let away =
            said(tonic::Code::Unavailable, "grpc-status header missing, mapped from HTTP status code 503");
        assert!(!away.contains("1530"), "a proxy whose server is away: {away}");
    }

    #[test]
    fn nobody_there_is_said_plainly() {
        let runtime = runtime().unwrap();
        let endpoint = endpoint("127.0.0.1:1", ClientTlsConfig::new()).unwrap();
        let error = runtime.block_on(endpoint.connect()).unwrap_err();
        let error = connect_error("127.0.0.1:1", &error);
        assert!(error.is_unreachable() && error.to_string().contains("refused"), "{error}");
    }
}
