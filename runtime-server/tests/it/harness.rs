//! A cluster in a temporary directory, and agents that do exactly what a test tells them to.

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ir::{Hash, Lease, Manifest, wire};
use prost::Message;
use protocol::key_statement::{self, TrustedKey};
use protocol::pb::check_in_reply::Answer;
use protocol::pb::enrolment_client::EnrolmentClient;
use protocol::pb::fleet_client::FleetClient;
use protocol::pb::{
    self, CheckInReply, CheckInRequest, EnrollReply, EnrollRequest, RequestHeader, RunReport,
};
use protocol::request::{self, Rpc};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use runtime_server::clock::Clock;
use runtime_server::config::Config;
use runtime_server::pki::{self, Material};
use runtime_server::publish::Look;
use runtime_server::server::Server;
use runtime_server::store;
use runtime_server::testing::{MemoryPolicy, database, module, traits, with};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Status};

pub const HOUR: Duration = Duration::from_secs(3600);

pub struct Cluster {
    pub config: Config,
    pub policy: MemoryPolicy,
    pub ca: String,
    clock: Arc<AtomicU64>,
    server: Option<Server>,
    _dir: Arc<tempfile::TempDir>,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::ago(Duration::ZERO, change).await
    }

    /// Set up so long ago, and its clock stands there.
    pub async fn ago(ago: Duration, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Clock::system().now() - ago.as_millis() as u64;
        let id = uuid::Uuid::new_v4().to_string();
        let mut config = Config::in_dir(dir.path(), &id);
        config.listen_http = Some(([127, 0, 0, 1], 0).into());
        config.database = database(dir.path());
        std::fs::create_dir(dir.path().join("tls")).unwrap();
        change(&mut config);
        let material = Material::create(&id, &["localhost".into()], now).unwrap();
        for (path, content) in [
            (&config.tls.ca, material.ca.as_str()),
            (&config.tls.ca_key, &material.ca_key),
            (&config.tls.certificate, &material.server_chain),
            (&config.tls.key, &material.server_key),
            (&config.tls.signer, &material.signer),
            (&config.tls.signer_key, &material.signer_key),
        ] {
            std::fs::write(path, content).unwrap();
        }
        let made = config.database.clone();
        std::thread::spawn(move || drop(store::open(&made, true).unwrap())).join().unwrap();
        let policy = MemoryPolicy::new(vec![module("base", "1"), module("nginx", "1")]);
        let clock = Arc::new(AtomicU64::new(now));
        let mut cluster =
            Cluster { config, policy, ca: material.ca, clock, server: None, _dir: Arc::new(dir) };
        cluster.restart().await;
        cluster
    }

    /// A further server on the same database.
    pub async fn beside(&self) -> Self {
        let mut other = Cluster {
            config: self.config.clone(),
            policy: self.policy.clone(),
            ca: self.ca.clone(),
            clock: self.clock.clone(),
            server: None,
            _dir: self._dir.clone(),
        };
        other.restart().await;
        other
    }

    pub async fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (policy, clock) = (Box::new(self.policy.clone()), Clock::manual(self.clock.clone()));
        let server = Server::start(&self.config, policy, Some(listener), clock).await.unwrap();
        server.context().reload(Look::Start).await.unwrap();
        self.server = Some(server);
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Stops the server; its directory and database stay.
    pub async fn pause(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    pub async fn stop(mut self) {
        self.halt().await;
    }

    /// Stops the server and keeps its files.
    pub async fn halt(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    /// Looks into the database, as another process would.
    pub fn db<T: Send>(&self, work: impl FnOnce(&mut store::Connection) -> T + Send) -> T {
        with(&self.config.database, work)
    }

    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub fn advance(&self, by: Duration) {
        self.clock.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    pub async fn token(&self, glob: &str) -> String {
        self.server().create_token(glob, HOUR).await.unwrap()
    }

    pub async fn channel(&self, identity: Option<(&str, &SigningKey)>) -> Channel {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca)).domain_name("localhost");
        if let Some((certificate, key)) = identity {
            let key = key.to_pkcs8_pem(Default::default()).unwrap();
            tls = tls.identity(Identity::from_pem(certificate, key.as_bytes()));
        }
        let address = format!("https://{}", self.server().address());
        Channel::from_shared(address).unwrap().tls_config(tls).unwrap().connect_lazy()
    }

    /// Enrols a host and lets it trust the server's key.
    pub async fn agent(&self, hostname: &str) -> Agent {
        let token = self.token("*").await;
        Agent::enrol(self, &token, hostname).await.unwrap()
    }
}

/// The request for a certificate that a fresh agent would send.
pub fn enrolment(key: &SigningKey, token: &str, hostname: &str) -> EnrollRequest {
    let pkcs8 = key.to_pkcs8_pem(Default::default()).unwrap();
    let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&pkcs8, &PKCS_ED25519).unwrap();
    let csr = CertificateParams::new(vec![]).unwrap().serialize_request(&pair).unwrap();
    let (_, seal_public_key) = protocol::secrets::generate();
    let mut request = EnrollRequest {
        token: token.into(),
        hostname: hostname.into(),
        csr_pem: csr.pem().unwrap(),
        seal_public_key: seal_public_key.to_vec(),
        ..EnrollRequest::default()
    };
    protocol::enrolment::sign(key, &mut request);
    request
}

pub struct Agent {
    pub key: SigningKey,
    pub seal_private: [u8; 32],
    pub reply: EnrollReply,
    pub trusted: TrustedKey,
    pub counter: u64,
    pub traits: ir::Value,
    pub asked: CheckInRequest,
    pub nonce: Vec<u8>,
    pub skew: i64,
}

/// What an agent keeps of a bundle it verified.
#[derive(Clone, Debug)]
pub struct Taken {
    pub manifest: Manifest,
    pub lease: Lease,
    pub modules: Vec<Vec<u8>>,
    pub secrets: Vec<pb::SealedSecret>,
}

impl Agent {
    pub async fn enrol(cluster: &Cluster, token: &str, hostname: &str) -> Result<Agent, Status> {
        let key = pki::new_key().unwrap();
        let mut request = enrolment(&key, token, hostname);
        let (private, public) = protocol::secrets::generate();
        request.seal_public_key = public.to_vec();
        protocol::enrolment::sign(&key, &mut request);
        let mut client = EnrolmentClient::new(cluster.channel(None).await);
        let reply = client.enroll(request).await?.into_inner();
        let trusted = trust(cluster, reply.key_statement.as_ref().unwrap());
        let traits = traits("debian");
        let asked =
            CheckInRequest { ir_format: ir::IR_FORMAT, agent_version: "test".into(), ..Default::default() };
        Ok(Agent {
            key,
            seal_private: *private,
            reply,
            trusted,
            counter: 0,
            traits,
            asked,
            nonce: vec![7; 16],
            skew: 0,
        })
    }

    pub fn header(&mut self, cluster: &Cluster) -> RequestHeader {
        self.counter += 1;
        RequestHeader {
            cluster_id: self.reply.cluster_id.clone(),
            envoy_id: self.reply.envoy_id.clone(),
            key_id: self.trusted.key_id.0.to_vec(),
            counter: self.counter,
            nonce: self.nonce.clone(),
            timestamp: cluster.now().saturating_add_signed(self.skew),
        }
    }

    pub async fn client(&self, cluster: &Cluster) -> FleetClient<Channel> {
        FleetClient::new(cluster.channel(Some((&self.reply.certificate_pem, &self.key))).await)
    }

    pub fn signed(&mut self, cluster: &Cluster) -> pb::SignedRequest {
        let traits = wire::encode_value(&self.traits).unwrap();
        let digest = Hash::of(&traits).0.to_vec();
        if self.asked.traits_digest != digest {
            self.asked.traits = Some(traits);
            self.asked.traits_digest = digest;
        }
        let payload = self.asked.encode_to_vec();
        self.asked.traits = None;
        let header = self.header(cluster);
        request::sign(&self.key, Rpc::CheckIn, &header, &payload)
    }

    pub async fn check_in(&mut self, cluster: &Cluster) -> Result<Answer, Status> {
        let signed = self.signed(cluster);
        self.send(cluster, signed).await.map(|reply| reply.answer.unwrap())
    }

    pub async fn send(&self, cluster: &Cluster, signed: pb::SignedRequest) -> Result<CheckInReply, Status> {
        let mut client = self.client(cluster).await.max_decoding_message_size(protocol::MAX_MESSAGE_BYTES);
        client.check_in(signed).await.map(tonic::Response::into_inner)
    }

    pub async fn report(&mut self, cluster: &Cluster, report: &RunReport) -> Result<u64, Status> {
        let header = self.header(cluster);
        let signed = request::sign(&self.key, Rpc::ReportRun, &header, &report.encode_to_vec());
        let reply = self.client(cluster).await.report_run(signed).await?.into_inner();
        match reply.answer.unwrap() {
            pb::report_reply::Answer::AcknowledgedSeq(seq) => Ok(seq),
            other => panic!("{other:?}"),
        }
    }

    /// Checks in, expects a bundle, verifies it and holds it from now on.
    pub async fn bundle(&mut self, cluster: &Cluster) -> Taken {
        match self.check_in(cluster).await.unwrap() {
            Answer::Bundle(bundle) => self.take(bundle),
            other => panic!("{other:?}"),
        }
    }

    pub fn take(&mut self, bundle: pb::Bundle) -> Taken {
        let manifest = Manifest::open(&self.trusted.key, &bundle.manifest).unwrap();
        let lease = Lease::open(&self.trusted.key, &bundle.lease).unwrap();
        for (signed, own) in [
            (&manifest.envoy_id, &self.reply.envoy_id),
            (&lease.envoy_id, &self.reply.envoy_id),
            (&manifest.cluster_id, &self.reply.cluster_id),
            (&lease.cluster_id, &self.reply.cluster_id),
        ] {
            assert_eq!(signed, own);
        }
        assert_eq!(lease.agent_nonce, self.nonce);
        assert_eq!(
            (lease.seq, lease.epoch, lease.merkle_root),
            (manifest.seq, manifest.epoch, manifest.merkle_root)
        );
        let mut held = self.asked.held_modules.clone();
        held.extend(bundle.modules.iter().map(|m| Hash::of(m).0.to_vec()));
        for row in &manifest.modules {
            assert!(held.contains(&row.hash.0.to_vec()), "module {} is neither sent nor held", row.name);
        }
        self.asked.held_modules = manifest.modules.iter().map(|m| m.hash.0.to_vec()).collect();
        self.asked.policy_version.clone_from(&manifest.policy_version);
        self.asked.state_fingerprint = manifest.merkle_root.0.to_vec();
        (self.asked.epoch, self.asked.seq) = (manifest.epoch, manifest.seq);
        Taken { manifest, lease, modules: bundle.modules, secrets: bundle.secrets }
    }
}

pub fn trust(cluster: &Cluster, statement: &pb::KeyStatement) -> TrustedKey {
    let ca = pki::read_certificate("ca", &cluster.ca).unwrap();
    key_statement::verify(statement, &ca, &cluster.config.cluster_id, cluster.now()).unwrap()
}

/// Waits until something is so.
pub async fn eventually(mut is: impl FnMut() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(std::time::Instant::now() < limit, "it does not come to be");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The reason a program reads, with the code.
pub fn reason(status: &Status) -> (Code, &str) {
    (status.code(), status.metadata().get("vigo-reason").map_or("", |r| r.to_str().unwrap()))
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, expected: &str) {
    let status = result.expect_err("refused");
    assert_eq!(reason(&status), (code, expected), "{status:?}");
}

#[track_caller]
pub fn refusal(answer: &Answer) -> &str {
    match answer {
        Answer::Refusal(r) => &r.code,
        other => panic!("{other:?}"),
    }
}
