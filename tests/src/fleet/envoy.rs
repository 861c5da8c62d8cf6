//! One virtual envoy: what an agent remembers, without the disk it remembers it on.
//!
//! What is signed and what is accepted is decided by `protocol` and by the agent's own `verify`.

use super::connection::{self, Client};
use ed25519_dalek::SigningKey;
use ir::Hash;
use prost::Message;
use protocol::key_statement::{self, TrustedKey};
use protocol::pb::check_in_reply::Answer;
use protocol::pb::{self, CheckInRequest, RequestHeader, ResourceResult, RunReport, RunTotals, report_reply};
use protocol::request::{self, Rpc};
use runtime_agent::store::Marks;
use runtime_agent::verify::{Inputs, Verified, verify_bundle};
use runtime_agent::{Clock, SystemClock};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Answers that only ask for another request; as the agent has it.
const MAX_ROUNDS: u64 = 4;

/// What all envoys of a fleet share.
#[derive(Debug)]
pub struct Cluster {
    /// Where the server listens.
    pub server: SocketAddr,
    /// UUID.
    pub cluster_id: String,
    /// The CA's certificate.
    pub ca: CertificateDer<'static>,
    /// Trusts that CA alone.
    pub roots: Arc<rustls::RootCertStore>,
    /// Module blobs by their hash: a thousand hosts have a thousand copies, a simulation has one.
    pub blobs: Mutex<HashMap<Hash, Arc<[u8]>>>,
}

/// Who an envoy is.
#[derive(Clone)]
pub struct Identity {
    /// Its place in the fleet.
    pub number: usize,
    /// UUID.
    pub id: String,
    /// Signs requests and handshakes.
    pub key: SigningKey,
    /// Issued by the cluster's CA.
    pub certificate: CertificateDer<'static>,
    /// Encoded traits.
    pub traits: Arc<[u8]>,
}

/// An envoy at work.
pub struct Envoy {
    cluster: Arc<Cluster>,
    who: Identity,
    tls: Arc<ClientConfig>,
    client: Option<Client>,
    counter: u64,
    result_seq: u64,
    traits_sent: bool,
    trusted: Option<TrustedKey>,
    marks: Marks,
    held: Option<Held>,
    /// Requests sent so far.
    pub requests: u64,
    /// Signing keys accepted so far.
    pub keys_accepted: u64,
}

struct Held {
    manifest: Vec<u8>,
    key: TrustedKey,
    policy_version: String,
    root: Hash,
    modules: Vec<Hash>,
}

/// What a check-in brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Same,
    /// The same content under a new signature.
    Renewed,
    /// Another bundle.
    Bundle,
}

impl Envoy {
    /// One that never spoke to its server. `resume`: whether it may go on with a TLS session of before.
    pub fn new(cluster: Arc<Cluster>, who: Identity, resume: bool) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(runtime_agent::identity::pkcs8(&who.key).to_vec());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|tls| {
                tls.with_root_certificates(cluster.roots.clone())
                    .with_client_auth_cert(vec![who.certificate.clone()], PrivateKeyDer::from(key))
            })
            .map_err(|e| e.to_string())?;
        tls.alpn_protocols.push(b"h2".to_vec());
        tls.resumption = if resume { Resumption::in_memory_sessions(1) } else { Resumption::disabled() };
        Ok(Envoy {
            cluster,
            who,
            tls: Arc::new(tls),
            client: None,
            counter: 0,
            result_seq: 0,
            traits_sent: false,
            trusted: None,
            marks: Marks::default(),
            held: None,
            requests: 0,
            keys_accepted: 0,
        })
    }

    /// Closes its connection, if it has one.
    pub fn disconnect(&mut self) {
        self.client = None;
    }

    /// Opens a connection, unless one is open.
    pub async fn connect(&mut self) -> Result<Client, String> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = connection::open(self.cluster.server, self.tls.clone(), self.who.number).await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// The epoch of the signing key that it trusts.
    pub fn epoch(&self) -> u64 {
        self.trusted.as_ref().map_or(0, |key| key.epoch)
    }

    /// Asks for news and takes what is good, as an agent does.
    pub async fn check_in(&mut self) -> Result<News, String> {
        let result = self.converse().await;
        if result.is_err() {
            self.disconnect();
        }
        result
    }

    async fn converse(&mut self) -> Result<News, String> {
        let mut renew = false;
        for _ in 0..MAX_ROUNDS {
            let nonce = *uuid::Uuid::new_v4().as_bytes();
            let asked = self.question(renew).encode_to_vec();
            let signed = self.signed(Rpc::CheckIn, &nonce, &asked);
            let mut client = self.connect().await?;
            let reply = client.check_in(signed).await.map_err(said)?.into_inner();
            match reply.answer.ok_or("an empty answer")? {
                Answer::StaleKey(statement) => {
                    self.trust(&statement)?;
                    renew = true;
                }
                Answer::NeedTraits(_) => self.traits_sent = false,
                Answer::NeedProof(_) => return Err("the server has lost an epoch".to_owned()),
                Answer::Refusal(refusal) => return Err(format!("{}: {}", refusal.code, refusal.message)),
                Answer::NoChange(answer) => {
                    self.traits_sent = true;
                    let Some(lease) = answer.lease else { return Ok(News::Same) };
                    let held = self.held.as_ref().ok_or("no change, but nothing is held")?;
                    let trusted = self.trusted.clone().ok_or("no key")?;
                    let (manifest, key) = match answer.manifest {
                        Some(manifest) => (manifest, trusted),
                        None => (held.manifest.clone(), held.key.clone()),
                    };
                    self.accept(manifest, key, &lease, &nonce)?;
                    return Ok(News::Renewed);
                }
                Answer::Bundle(bundle) => {
                    self.traits_sent = true;
                    let mut blobs = self.cluster.blobs.lock().unwrap_or_else(PoisonError::into_inner);
                    for module in &bundle.modules {
                        blobs.entry(Hash::of(module)).or_insert_with(|| module.as_slice().into());
                    }
                    drop(blobs);
                    let key = self.trusted.clone().ok_or("no key")?;
                    self.accept(bundle.manifest, key, &bundle.lease, &nonce)?;
                    return Ok(News::Bundle);
                }
            }
        }
        Err("the server asks for the same again and again".to_owned())
    }

    fn question(&self, renew: bool) -> CheckInRequest {
        let held = self.held.as_ref();
        CheckInRequest {
            policy_version: held.map(|h| h.policy_version.clone()).unwrap_or_default(),
            state_fingerprint: held.map(|h| h.root.0.to_vec()).unwrap_or_default(),
            held_modules: held.iter().flat_map(|h| &h.modules).map(|hash| hash.0.to_vec()).collect(),
            traits_digest: Hash::of(&self.who.traits).0.to_vec(),
            traits: (!self.traits_sent).then(|| self.who.traits.to_vec()),
            renew,
            epoch: self.marks.epoch,
            seq: self.marks.seq,
            agent_version: "simulated".to_owned(),
            ir_format: ir::IR_FORMAT,
            features: Vec::new(),
            reset: 0,
            seen: None,
        }
    }

    fn signed(&mut self, rpc: Rpc, nonce: &[u8], payload: &[u8]) -> pb::SignedRequest {
        self.counter += 1;
        self.requests += 1;
        let header = RequestHeader {
            cluster_id: self.cluster.cluster_id.clone(),
            envoy_id: self.who.id.clone(),
            key_id: self.trusted.as_ref().map(|k| k.key_id.0.to_vec()).unwrap_or_default(),
            counter: self.counter,
            nonce: nonce.to_vec(),
            timestamp: SystemClock.now(),
        };
        request::sign(&self.who.key, rpc, &header, payload)
    }

    fn trust(&mut self, statement: &pb::KeyStatement) -> Result<(), String> {
        let now = SystemClock.now();
        let key = key_statement::verify(statement, &self.cluster.ca, &self.cluster.cluster_id, now)
            .map_err(|e| e.to_string())?;
        if key.epoch < self.marks.epoch {
            return Err(format!("epoch {} after {}", key.epoch, self.marks.epoch));
        }
        self.trusted = Some(key);
        self.keys_accepted += 1;
        Ok(())
    }

    fn accept(
        &mut self,
        manifest: Vec<u8>,
        key: TrustedKey,
        lease: &[u8],
        nonce: &[u8],
    ) -> Result<(), String> {
        let lease_key = self.trusted.as_ref().ok_or("no key")?;
        let verified = {
            let wanted: HashMap<Hash, Arc<[u8]>> = {
                let rows = ir::Manifest::open(&key.key, &manifest).map_err(|e| e.to_string())?.modules;
                let blobs = self.cluster.blobs.lock().unwrap_or_else(PoisonError::into_inner);
                rows.iter().filter_map(|row| Some((row.hash, blobs.get(&row.hash)?.clone()))).collect()
            };
            verify_bundle(&Inputs {
                cluster_id: &self.cluster.cluster_id,
                envoy_id: &self.who.id,
                manifest: &manifest,
                manifest_key: &key,
                lease,
                lease_key,
                live_epochs: &lease_key.live_epochs,
                marks: &self.marks,
                now: SystemClock.now(),
                nonce: Some(nonce),
                blob: &|hash| wanted.get(hash).map(|bytes| &**bytes),
            })
            .map_err(|e| e.to_string())?
        };
        self.hold(manifest, key, verified);
        Ok(())
    }

    fn hold(&mut self, bytes: Vec<u8>, key: TrustedKey, verified: Verified) {
        let manifest = verified.manifest;
        self.marks.epoch = self.marks.epoch.max(verified.lease.epoch);
        self.marks.seq = manifest.seq;
        self.marks.root = manifest.merkle_root.to_string();
        self.held = Some(Held {
            manifest: bytes,
            key,
            policy_version: manifest.policy_version,
            root: manifest.merkle_root,
            modules: manifest.modules.iter().map(|row| row.hash).collect(),
        });
    }

    /// Delivers the result of a run in which `changed` resources changed and the others were in order.
    pub async fn report(&mut self, changed: u32) -> Result<(), String> {
        let held = self.held.as_ref().ok_or("nothing was ever run")?;
        let result = |n: u32| ResourceResult {
            module: "base".to_owned(),
            resource: format!("file{n}"),
            r#type: "file".to_owned(),
            outcome: pb::Outcome::Changed.into(),
            action: "content written".to_owned(),
            error: String::new(),
            duration_ms: 1,
        };
        let report = RunReport {
            run_id: uuid::Uuid::now_v7().to_string(),
            result_seq: self.result_seq + 1,
            started_at: SystemClock.now(),
            duration_ms: 900,
            policy_version: held.policy_version.clone(),
            seq: self.marks.seq,
            totals: Some(RunTotals { ok: 100, changed, failed: 0, skipped: 0 }),
            results: (0..changed).map(result).collect(),
            ..RunReport::default()
        };
        let payload = report.encode_to_vec();
        for _ in 0..MAX_ROUNDS {
            let nonce = *uuid::Uuid::new_v4().as_bytes();
            let signed = self.signed(Rpc::ReportRun, &nonce, &payload);
            let mut client = self.connect().await?;
            let reply = client.report_run(signed).await.map_err(said)?.into_inner();
            match reply.answer.ok_or("an empty answer")? {
                report_reply::Answer::AcknowledgedSeq(seq) if seq >= report.result_seq => {
                    self.result_seq = report.result_seq;
                    return Ok(());
                }
                report_reply::Answer::AcknowledgedSeq(_) => {
                    return Err("the result is not acknowledged".to_owned());
                }
                report_reply::Answer::StaleKey(statement) => self.trust(&statement)?,
            }
        }
        Err("the server asks for the same again and again".to_owned())
    }
}

fn said(status: tonic::Status) -> String {
    let reason = status.metadata().get("vigo-reason").and_then(|r| r.to_str().ok()).unwrap_or_default();
    format!("{:?} {reason}: {}", status.code(), status.message())
}
