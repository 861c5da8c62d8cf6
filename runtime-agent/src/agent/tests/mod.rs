//! Whole turns against a server in memory that keeps the rules of the real one.

mod identity;

use super::*;
use crate::checkin::News;
use crate::clock::FixedClock;
use crate::identity::pem;
use crate::observe::Silent;
use crate::server::Server;
use crate::store::{Marks, Past, Running};
use ed25519_dalek::SigningKey;
use ir::manifest::{Lease, Manifest, ModuleRow, SecretRef};
use ir::{Expr, Hash, Resource};
use prost::Message;
use protocol::key_statement::{self, Claims, SIGNER_ROLE_OID, signer_name};
use protocol::pb::{self, check_in_reply::Answer, report_reply};
use protocol::request::{self, Rpc};
use protocol::secrets::SecretContext;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519,
};
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

const CLUSTER: &str = "0b2e4e0e-5d0f-4a11-9d0c-2f6f3f1f7a10";
const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

/// A server in memory.
struct Fake {
    ca: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    /// How long a certificate is good.
    lifetime: Millis,
    /// Of a certificate that was issued and is not used yet.
    next_key: Option<ed25519_dalek::VerifyingKey>,
    /// The answer to a renewal does not arrive.
    loses_renewals: bool,
    renewals: usize,
    reset: Option<pb::Reset>,
    /// It has lost the epoch that agents have seen.
    lost_epoch: bool,
    signer: SigningKey,
    signer_certificate: Vec<u8>,
    key: SigningKey,
    epoch: u64,
    seq: u64,
    clock: Arc<FixedClock>,
    modules: Vec<Module>,
    secrets: Vec<(&'static str, &'static str)>,
    envoy_key: ed25519_dalek::VerifyingKey,
    seal_public: [u8; 32],
    down: bool,
    /// Why it does not let the host in.
    turns_away: Option<&'static str>,
    max_age: Millis,
    traits: Option<Vec<u8>>,
    counter: u64,
    reports: Vec<pb::RunReport>,
    requests: Vec<pb::CheckInRequest>,
    /// Changes an answer on its way.
    tamper: fn(&mut Answer),
    /// What it says that the time is to whoever asks anything.
    lies: Option<Millis>,
    /// Who issues certificates in the CA's place, and for whom.
    forger: Option<Issuer<'static, KeyPair>>,
    named: &'static str,
    /// It is spoken to on a stream.
    stream: bool,
    /// It does not have the runs that deltas are made from.
    forgetful: bool,
    last_lease: Vec<u8>,
}

fn ed25519() -> (KeyPair, SigningKey) {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let seed: [u8; 32] = pair.serialize_der()[16..48].try_into().unwrap();
    (pair, SigningKey::from_bytes(&seed))
}

impl Fake {
    fn statement(&self) -> pb::KeyStatement {
        let claims = Claims {
            cluster_id: CLUSTER.into(),
            epoch: self.epoch,
            not_before: 0,
            not_after: u64::MAX,
            live_epochs: vec![],
        };
        let statement = key_statement::issue(&self.signer, &self.signer_certificate, &self.key, claims);
        pb::KeyStatement { reset: self.reset.clone(), ..statement }
    }

    /// A certificate of the CA for that key, issued now.
    fn certificate(&self, key: &impl rcgen::PublicKeyData) -> String {
        let now = self.clock.now();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, self.named);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(now);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(now + self.lifetime);
        params.signed_by(key, self.forger.as_ref().unwrap_or(&self.issuer)).unwrap().pem()
    }

    fn key_id(&self) -> Hash {
        ir::signing::key_id(&self.key.verifying_key())
    }

    /// A server that was started anew.
    fn restart(&mut self) {
        self.epoch += 1;
        self.key = SigningKey::from_bytes(&[u8::try_from(self.epoch).unwrap(); 32]);
    }

    fn publish(&mut self, modules: Vec<Module>) {
        self.seq += 1;
        self.modules = modules;
    }

    fn version(&self) -> String {
        format!("{}.{}", self.seq, self.epoch)
    }

    fn manifest(&self) -> Manifest {
        let mut modules: Vec<ModuleRow> = self
            .modules
            .iter()
            .map(|m| {
                let bytes = ir::wire::encode_module(m).unwrap();
                ModuleRow { name: m.name.to_string(), hash: Hash::of(&bytes), size: bytes.len() as u64 }
            })
            .collect();
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        let order =
            self.modules.iter().map(|m| modules.iter().position(|r| *r.name == *m.name).unwrap() as u32);
        let mut manifest = Manifest {
            cluster_id: CLUSTER.into(),
            envoy_id: "envoy".into(),
            key_id: self.key_id(),
            epoch: self.epoch,
            seq: self.seq,
            release_serial: self.seq,
            policy_version: self.version(),
            ir_format: ir::IR_FORMAT,
            merkle_root: Hash::default(),
            vars_hash: Hash::of(b"vars"),
            run_order: order.collect(),
            modules,
            secret_refs: self
                .secrets
                .iter()
                .map(|(path, text)| SecretRef {
                    path: (*path).into(),
                    version: Hash::of(text.as_bytes()).short(),
                })
                .collect(),
            required_features: vec![],
        };
        manifest.merkle_root = manifest.computed_root();
        manifest
    }

    fn lease(&mut self, nonce: &[u8]) -> Vec<u8> {
        let now = self.clock.now();
        let manifest = self.manifest();
        self.last_lease = Lease {
            cluster_id: CLUSTER.into(),
            envoy_id: "envoy".into(),
            key_id: self.key_id(),
            epoch: self.epoch,
            seq: self.seq,
            merkle_root: manifest.merkle_root,
            issued_at: now,
            expires_at: if self.max_age == 0 { 0 } else { now + self.max_age },
            agent_nonce: nonce.to_vec(),
            server_time: now,
        }
        .seal(&self.key);
        self.last_lease.clone()
    }

    /// The rules that stand between a request and its answer.
    fn open(&mut self, rpc: Rpc, request: &pb::SignedRequest) -> Result<Option<pb::RequestHeader>, NetError> {
        if self.down {
            return Err(NetError::Unreachable { server: "fake".into(), why: "down".into() });
        }
        if let Some(message) = self.turns_away {
            return Err(NetError::TurnedAway { server: "fake".into(), message: message.into() });
        }
        if let Some(server_time) = self.lies {
            return Err(NetError::Skew { server: "fake".into(), server_time });
        }
        if let Some(next) = self.next_key.filter(|key| request::verify(key, rpc, request).is_ok()) {
            (self.envoy_key, self.next_key) = (next, None);
        }
        let header = request::verify(&self.envoy_key, rpc, request).expect("a well signed request");
        let server_time = self.clock.now();
        if header.timestamp.abs_diff(server_time) > 300_000 {
            return Err(NetError::Skew { server: "fake".into(), server_time });
        }
        assert!(header.counter > self.counter, "the counter grows");
        self.counter = header.counter;
        Ok((header.key_id == self.key_id().0).then_some(header))
    }
}

impl Server for Fake {
    fn check_in(&mut self, request: pb::SignedRequest) -> Result<pb::CheckInReply, NetError> {
        let header = self.open(Rpc::CheckIn, &request)?;
        let body = pb::CheckInRequest::decode(request.payload.as_slice()).unwrap();
        if let Some(traits) = &body.traits {
            self.traits = Some(traits.clone());
        }
        if let (Some(delta), Some(known)) = (&body.traits_delta, &self.traits) {
            self.traits = protocol::delta::apply_traits(known, delta);
        }
        self.requests.push(body.clone());
        let known = self.traits.as_ref().is_some_and(|t| Hash::of(t).0.as_slice() == body.traits_digest);
        let manifest = self.manifest();
        let last_reset =
            self.reset.as_ref().map_or(0, |r| pb::ResetClaims::decode(r.claims.as_slice()).unwrap().number);
        let mut answer = match header {
            None => Answer::StaleKey(self.statement()),
            Some(_) if body.reset < last_reset => Answer::StaleKey(self.statement()),
            Some(_) if self.lost_epoch && body.seen.is_none() => Answer::NeedProof(pb::Unit {}),
            Some(_) if !known => Answer::NeedTraits(pb::Unit {}),
            Some(header) if body.state_fingerprint == manifest.merkle_root.0 => {
                let same = body.policy_version == self.version();
                let lease = (body.renew || !same).then(|| self.lease(&header.nonce));
                let manifest = (!same).then(|| manifest.seal(&self.key));
                Answer::NoChange(pb::NoChange { policy_version: self.version(), manifest, lease })
            }
            Some(header) => Answer::Bundle(pb::Bundle {
                manifest: manifest.seal(&self.key),
                lease: self.lease(&header.nonce),
                modules: self
                    .modules
                    .iter()
                    .map(|m| ir::wire::encode_module(m).unwrap())
                    .filter(|b| !body.held_modules.contains(&Hash::of(b).0.to_vec()))
                    .collect(),
                secrets: self
                    .secrets
                    .iter()
                    .map(|(path, text)| {
                        let version = Hash::of(text.as_bytes()).short();
                        let context =
                            SecretContext { cluster_id: CLUSTER, envoy_id: "envoy", path, version: &version };
                        protocol::secrets::seal(&self.seal_public, &context, text.as_bytes()).unwrap()
                    })
                    .collect(),
            }),
        };
        (self.tamper)(&mut answer);
        Ok(pb::CheckInReply {
            answer: Some(answer),
            next_check_in: 300_000,
            jitter_percent: 20,
            stream_requested: false,
        })
    }

    fn report(&mut self, request: pb::SignedRequest) -> Result<pb::ReportReply, NetError> {
        let header = self.open(Rpc::ReportRun, &request)?;
        let answer = match header {
            None => report_reply::Answer::StaleKey(self.statement()),
            Some(_) => {
                let report = pb::RunReport::decode(request.payload.as_slice()).unwrap();
                if self.forgetful && report.delta.is_some() {
                    let answer = Some(report_reply::Answer::NeedWhole(pb::Unit {}));
                    return Ok(pb::ReportReply { answer });
                }
                let seq = report.result_seq;
                self.reports.push(report);
                report_reply::Answer::AcknowledgedSeq(seq)
            }
        };
        Ok(pb::ReportReply { answer: Some(answer) })
    }

    fn is_stream(&self) -> bool {
        self.stream
    }

    fn will_say(&self) -> bool {
        self.stream
    }

    fn renew(&mut self, request: pb::SignedRequest) -> Result<pb::RenewReply, NetError> {
        use pb::renew_reply::Answer;
        let header = self.open(Rpc::Renew, &request)?;
        let answer = match header {
            None => Answer::StaleKey(self.statement()),
            Some(_) => {
                let asked = pb::RenewRequest::decode(request.payload.as_slice()).unwrap();
                let csr = rcgen::CertificateSigningRequestParams::from_pem(&asked.csr_pem).unwrap();
                let key = rcgen::PublicKeyData::der_bytes(&csr.public_key).try_into().unwrap();
                self.next_key = Some(ed25519_dalek::VerifyingKey::from_bytes(key).unwrap());
                self.renewals += 1;
                if self.loses_renewals {
                    return Err(NetError::Unreachable { server: "fake".into(), why: "cut".into() });
                }
                Answer::CertificatePem(self.certificate(&csr.public_key))
            }
        };
        Ok(pb::RenewReply { answer: Some(answer) })
    }

    fn adopt(&mut self, _: &Identity, _: Millis) -> Result<(), NetError> {
        Ok(())
    }
}

struct Host {
    dir: tempfile::TempDir,
    clock: Arc<FixedClock>,
    agent: Agent,
    server: Fake,
}

/// A CA; all have the same name.
fn ca() -> (Vec<u8>, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.distinguished_name.push(rcgen::DnType::CommonName, "ca");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (ca.self_signed(&key).unwrap().der().to_vec(), Issuer::new(ca, key))
}

/// An enrolled host and its server.
fn host() -> Host {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    let clock = Arc::new(FixedClock::at(SystemClock.now()));
    let agent = Agent::new(AgentOptions {
        root: dir.path().to_owned(),
        clock: clock.clone(),
        ..AgentOptions::default()
    });
    let (ca_der, issuer) = ca();
    let (signer_pair, signer) = ed25519();
    let mut params = CertificateParams::new(vec![signer_name(CLUSTER)]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "signer");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(SIGNER_ROLE_OID.to_vec())];
    let signer_certificate = params.signed_by(&signer_pair, &issuer).unwrap().der().to_vec();

    let (pair, key) = ed25519();
    let (seal_key, seal_public) = protocol::secrets::generate();
    let server = Fake {
        ca: ca_der,
        issuer,
        lifetime: 90 * DAY,
        next_key: None,
        loses_renewals: false,
        renewals: 0,
        reset: None,
        lost_epoch: false,
        signer,
        signer_certificate,
        key: SigningKey::from_bytes(&[1; 32]),
        epoch: 1,
        seq: 0,
        clock: clock.clone(),
        modules: vec![],
        secrets: vec![],
        envoy_key: key.verifying_key(),
        seal_public,
        down: false,
        turns_away: None,
        max_age: DAY,
        traits: None,
        counter: 0,
        reports: vec![],
        requests: vec![],
        tamper: |_| {},
        lies: None,
        forger: None,
        named: "envoy",
        stream: false,
        forgetful: false,
        last_lease: vec![],
    };
    let ca_pem = pem("CERTIFICATE", &server.ca);
    let identity = Identity {
        envoy_id: "envoy".into(),
        cluster_id: CLUSTER.into(),
        hostname: "web-1.test".into(),
        server: "fake:1530".into(),
        enrolled_at: clock.now(),
        certificate_pem: server.certificate(&pair),
        ca_pem,
        key,
        seal_key,
    };
    let store = Store::open(agent.state(), false, clock.now()).unwrap();
    store.reset("envoy").unwrap();
    store.pin(&crate::store::KeyRecord { statement: server.statement(), at: clock.now() }, 1).unwrap();
    identity.store(agent.state()).unwrap();
    Host { dir, clock, agent, server }
}

impl Host {
    fn turn(&mut self) -> Result<Cycle, AgentError> {
        let mut session = self.agent.session()?;
        session.cycle(&mut self.server, &RunOptions::default(), &mut Silent)
    }

    fn motd(&self) -> String {
        fs::read_to_string(self.dir.path().join("etc/motd")).unwrap_or_default()
    }

    fn pass(&self, time: Millis) {
        self.clock.set(self.clock.now() + time);
    }

    fn store(&self) -> Store {
        Store::look(self.agent.state()).unwrap().unwrap()
    }
}

fn file(content: Expr) -> Resource {
    let attribute = |name: &str, value: Value| (Arc::from(name), Expr::Const(value));
    Resource {
        name: "motd".into(),
        kind: "file".into(),
        when: None,
        attributes: vec![
            attribute("backup", false.into()),
            ("content".into(), content),
            attribute("state", "present".into()),
            attribute("target_path", "/etc/motd".into()),
        ],
        depends_on: vec![],
        notify: vec![],
    }
}

fn motd(text: &str) -> Vec<Module> {
    vec![Module { name: "motd".into(), depends_on: vec![], resources: vec![file(Expr::Const(text.into()))] }]
}

fn news(cycle: &Cycle) -> News {
    *cycle.check_in.as_ref().unwrap()
}

mod operation;
mod runs;
mod split;
mod trust;
