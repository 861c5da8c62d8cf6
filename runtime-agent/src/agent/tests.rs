//! Whole turns against a server in memory that keeps the rules of the real one.

use super::*;
use crate::clock::FixedClock;
use crate::identity::pem;
use crate::observe::Silent;
use crate::store::Marks;
use ed25519_dalek::SigningKey;
use ir::manifest::{Lease, Manifest, ModuleRow, SecretRef};
use ir::{Expr, Hash, Resource};
use prost::Message;
use protocol::key_statement::{self, Claims, SIGNER_ROLE_OID, signer_name};
use protocol::pb::{self, check_in_reply::Answer, report_reply};
use protocol::request::{self, Rpc};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519,
};
use std::fs;
use std::sync::atomic::Ordering;

const CLUSTER: &str = "0b2e4e0e-5d0f-4a11-9d0c-2f6f3f1f7a10";
const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

/// A server in memory.
struct Fake {
    ca: Vec<u8>,
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
    max_age: Millis,
    traits: Option<Vec<u8>>,
    counter: u64,
    reports: Vec<pb::RunReport>,
    requests: Vec<pb::CheckInRequest>,
    /// Changes an answer on its way.
    tamper: fn(&mut Answer),
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
        key_statement::issue(&self.signer, &self.signer_certificate, &self.key, claims)
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
        let header = request::verify(&self.envoy_key, rpc, request).expect("a well signed request");
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
        let mut answer = match header {
            None => Answer::StaleKey(self.statement()),
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
}

struct Host {
    dir: tempfile::TempDir,
    clock: Arc<FixedClock>,
    agent: Agent,
    server: Fake,
}

/// An enrolled host and its server.
fn host() -> Host {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    let clock = Arc::new(FixedClock::at(SystemClock.now()));
    let agent =
        Agent::new(AgentOptions { root: dir.path().to_owned(), clock: clock.clone(), stop: Arc::default() });
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.distinguished_name.push(rcgen::DnType::CommonName, "ca");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_der = ca.self_signed(&ca_key).unwrap().der().to_vec();
    let (signer_pair, signer) = ed25519();
    let mut params = CertificateParams::new(vec![signer_name(CLUSTER)]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "signer");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(SIGNER_ROLE_OID.to_vec())];
    let signer_certificate = params.signed_by(&signer_pair, &Issuer::new(ca, ca_key)).unwrap().der().to_vec();

    let key = SigningKey::from_bytes(&[77; 32]);
    let (seal_key, seal_public) = protocol::secrets::generate();
    let server = Fake {
        ca: ca_der,
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
        max_age: DAY,
        traits: None,
        counter: 0,
        reports: vec![],
        requests: vec![],
        tamper: |_| {},
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
        certificate_pem: ca_pem.clone(),
        ca_pem,
        key,
        seal_key,
    };
    let store = Store::open(agent.state(), false, clock.now()).unwrap();
    store.reset().unwrap();
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

#[test]
fn a_bundle_is_fetched_converged_and_reported() {
    let mut host = host();
    host.server.publish(motd("one"));
    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Bundle);
    assert_eq!(cycle.summary.totals.changed, 1);
    assert_eq!(host.motd(), "one");
    assert_eq!(host.server.reports.len(), 1);
    assert_eq!(host.server.reports[0].result_seq, 1);

    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Same);
    assert_eq!(cycle.summary.totals.ok, 1);
    assert_eq!(host.server.requests.last().unwrap().traits, None, "the server knows them");
    assert_eq!(host.server.reports[1].result_seq, 2);

    host.server.publish(motd("two"));
    host.turn().unwrap();
    assert_eq!(host.motd(), "two");
    let store = host.store();
    assert_eq!((store.queue().unwrap().waiting, store.marks().unwrap().seq), (0, 2));
    assert_eq!(store.cached().unwrap().unwrap().blobs.len(), 1, "what no bundle needs is gone");
}

#[test]
fn case_024_a_restarted_server_is_followed_without_a_hand() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.restart();
    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Renewed);
    assert_eq!(host.store().marks().unwrap().epoch, 2);
    host.server.down = true;
    assert_eq!(host.turn().unwrap().summary.totals.ok, 1);
}

#[test]
fn case_025_026_a_key_that_nobody_vouches_for_is_not_followed() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.restart();
    let (_, forged) = ed25519();
    host.server.signer = forged;
    let cycle = host.turn().unwrap();
    assert!(matches!(
        cycle.check_in,
        Err(CheckInError::Key(key_statement::KeyStatementError::SignerSignature))
    ));
    assert_eq!(cycle.summary.totals.ok, 1, "the cache is still good");
    assert_eq!(host.store().marks().unwrap().epoch, 1);
}

#[test]
fn case_028_an_older_epoch_is_not_followed() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.restart();
    host.turn().unwrap();
    (host.server.epoch, host.server.key) = (1, SigningKey::from_bytes(&[1; 32]));
    let cycle = host.turn().unwrap();
    assert!(matches!(cycle.check_in, Err(CheckInError::Verify(VerifyError::RetiredKey { have: 2, got: 1 }))));
}

#[test]
fn case_001_020_a_rollback_is_refused_and_changes_nothing() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.publish(motd("two"));
    host.turn().unwrap();
    let before = host.store().marks().unwrap();
    host.server.seq = 1;
    host.server.modules = motd("one");
    let session = host.agent.session().unwrap();
    let refused = session.check_in(&mut host.server).unwrap();
    assert!(matches!(refused, Err(CheckInError::Verify(VerifyError::Rollback { have: 2, got: 1 }))));
    drop(session);
    assert_eq!(Marks { counter: 0, ..host.store().marks().unwrap() }, Marks { counter: 0, ..before });
    host.turn().unwrap();
    assert_eq!(host.motd(), "two");
}

#[test]
fn case_019_an_old_lease_does_not_renew() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.pass(DAY * 8 / 10);
    host.server.tamper = |answer| {
        if let Answer::NoChange(pb::NoChange { lease: Some(lease), .. }) = answer {
            // An envelope of an earlier answer, kept by somebody in between.
            let seen = SEEN.with(|s| s.borrow().clone());
            *lease = seen;
        }
    };
    SEEN.with(|s| *s.borrow_mut() = host.server.last_lease.clone());
    let cycle = host.turn().unwrap();
    assert!(matches!(cycle.check_in, Err(CheckInError::Verify(VerifyError::NonceMismatch))));
    host.server.tamper = |_| {};
    assert_eq!(news(&host.turn().unwrap()), News::Renewed);
}

thread_local! {
    static SEEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn case_014_015_offline_until_the_promise_runs_out_whatever_the_clock_says() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let start = host.clock.now();
    host.server.down = true;
    fs::write(host.dir.path().join("etc/motd"), "drift").unwrap();
    host.pass(DAY - 1000);
    let cycle = host.turn().unwrap();
    assert!(cycle.summary.offline);
    assert_eq!((host.motd().as_str(), cycle.summary.totals.changed), ("one", 1));
    host.pass(1000);
    let error = host.turn().unwrap_err();
    assert!(matches!(
        error,
        AgentError::NothingValid { bundle: VerifyError::Expired { .. }, server: Some(_) }
    ));
    assert_eq!(error.exit_code(), 69);
    host.clock.set(start);
    assert!(host.turn().is_err(), "a clock set back does not revive");

    host.clock.set(start + 2 * DAY);
    host.server.down = false;
    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Renewed);
    let order: Vec<u64> = host.server.reports.iter().map(|r| r.result_seq).collect();
    assert_eq!(order, [1, 2, 3], "what waited is delivered in order");
    assert!(host.server.reports[1].offline);
}

#[test]
fn case_018_without_expiry_the_cache_is_good_for_ever() {
    let mut host = host();
    host.server.max_age = 0;
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.down = true;
    host.pass(400 * DAY);
    assert_eq!(host.turn().unwrap().summary.totals.ok, 1);
}

#[test]
fn case_011_052_a_rotten_module_is_fetched_again() {
    let mut host = host();
    let mut modules = motd("one");
    modules.push(Module { name: "other".into(), depends_on: vec![], resources: vec![] });
    host.server.publish(modules);
    host.turn().unwrap();
    let store = host.store();
    let good = store.cached().unwrap().unwrap().blobs;
    let rotten = good.keys().next().copied().unwrap();
    store.rot(rotten);
    host.server.down = true;
    assert!(matches!(
        host.turn().unwrap_err(),
        AgentError::NothingValid {
            bundle: VerifyError::MissingModule(_) | VerifyError::DamagedModule(_),
            ..
        }
    ));
    host.server.down = false;
    assert_eq!(news(&host.turn().unwrap()), News::Bundle);
    let request = host.server.requests.last().unwrap();
    assert_eq!((request.held_modules.len(), request.policy_version.as_str()), (1, ""));
    assert_eq!(host.store().cached().unwrap().unwrap().blobs, good);
}

#[test]
fn case_054_a_run_that_never_ended_is_reported_as_interrupted() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let run = Running {
        run_id: "r".into(),
        result_seq: 0,
        started_at: 5,
        policy_version: "v".into(),
        release_serial: 1,
        seq: 1,
        offline: false,
        only: None,
    };
    host.store().begin_run(&run).unwrap();
    host.turn().unwrap();
    let told: Vec<(u64, bool)> = host.server.reports.iter().map(|r| (r.result_seq, r.interrupted)).collect();
    assert_eq!(told, [(1, false), (2, true), (3, false)]);
}

#[test]
fn case_090_095_a_secret_reaches_its_file_and_nothing_else() {
    let mut host = host();
    host.server.secrets = vec![("web/db", "canary-4711")];
    let secret = Expr::Const(Value::Secret("web/db".into()));
    let module =
        |content| vec![Module { name: "motd".into(), depends_on: vec![], resources: vec![file(content)] }];
    host.server.publish(module(secret.clone()));
    let cycle = host.turn().unwrap();
    assert_eq!(host.motd(), "canary-4711");
    assert!(!format!("{:?} {:?}", cycle.summary, host.server.reports).contains("canary"));
    for entry in walk(host.agent.state().path()) {
        let bytes = fs::read(&entry).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"canary"), "{}", entry.display());
    }
    // Not delivered: the file stays as it is.
    host.server.tamper = |answer| {
        if let Answer::Bundle(bundle) = answer {
            bundle.secrets.clear();
        }
    };
    host.server.publish(module(Expr::Template(vec![ir::Piece::Text("x".into()), ir::Piece::Emit(secret)])));
    let cycle = host.turn().unwrap();
    let error = cycle.summary.results[0].error.clone().unwrap();
    assert!(error.contains("blocked: secret `web/db` is not available"), "{error}");
    assert_eq!(host.motd(), "canary-4711");
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(walk(&path)) } else { all.push(path) }
    }
    all
}

#[test]
fn case_032_a_lost_store_is_noticed() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.publish(motd("two"));
    host.turn().unwrap();
    fs::remove_file(host.agent.state().store()).unwrap();
    // The second copy of the marks still knows bundle 2.
    assert_eq!(host.agent.session().unwrap().store.marks().unwrap().seq, 2);
    fs::remove_file(host.agent.state().store()).unwrap();
    fs::remove_file(host.agent.state().marks()).unwrap();
    let error = host.agent.session().err().unwrap();
    assert!(matches!(error, AgentError::Store(StoreError::TrustStateDamaged(_))), "{error}");
}

#[test]
fn case_061_a_damaged_store_is_set_aside_and_the_loss_is_reported() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.down = true;
    host.turn().unwrap();
    let path = host.agent.state().store();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, vec![0xA5; bytes.len()]).unwrap();
    host.server.down = false;
    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Bundle);
    let lost: Vec<_> = host.server.reports.iter().filter_map(|r| r.dropped).collect();
    assert_eq!(lost.iter().map(|d| (d.from_seq, d.to_seq)).collect::<Vec<_>>(), [(2, 2)]);
    let kept = fs::read_dir(host.agent.state().path()).unwrap();
    assert!(kept.into_iter().any(|e| e.unwrap().file_name().to_string_lossy().contains("damaged")));
}

#[test]
fn case_061_bytes_flipped_in_any_page_lose_nothing_in_silence() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.down = true;
    host.turn().unwrap();
    host.server.down = false;
    let path = host.agent.state().store();
    let state = host.agent.state().path().to_owned();
    // Copied with their modes: what others can read is refused.
    let copy = tempfile::tempdir().unwrap();
    let files = |dir: &std::path::Path| -> Vec<std::path::PathBuf> {
        let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.is_file()).collect()
    };
    for file in files(&state) {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    let good = fs::read(&path).unwrap();
    let pages = good.len() / 4096;
    let (mut whole, mut lost) = (0, 0);
    // Every page of the first hundred, and then some of those that are not in use yet.
    for page in (0..pages).filter(|page| *page < 100 || page % 37 == 0) {
        files(&state).iter().for_each(|file| fs::remove_file(file).unwrap());
        for file in files(copy.path()) {
            fs::copy(&file, state.join(file.file_name().unwrap())).unwrap();
        }
        let mut flipped = good.clone();
        flipped[page * 4096..page * 4096 + 64].iter_mut().for_each(|byte| *byte ^= 0xA5);
        fs::write(&path, flipped).unwrap();
        (host.server.counter, host.server.reports) = (0, vec![]);
        host.turn().unwrap_or_else(|e| panic!("page {page}: {e}"));
        let second = host.server.reports.iter().find(|r| r.result_seq == 2).unwrap();
        match second.dropped {
            Some(dropped) => {
                assert_eq!((dropped.from_seq, dropped.to_seq), (2, 2), "page {page}");
                lost += 1;
            }
            None => {
                assert_eq!(second.results[0].resource, "motd", "page {page}");
                whole += 1;
            }
        }
    }
    assert!(whole > 0 && lost > 0, "{whole} pages were not in use, {lost} were");
}

#[test]
fn on_a_stream_only_what_changed_is_told_and_nothing_is_asked_for_nothing() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.stream = true;
    let agent = host.agent.clone();
    let mut session = agent.session().unwrap();
    let mut turn = |server: &mut Fake| {
        session.cycle(server, &RunOptions::default(), &mut Silent).unwrap().check_in.unwrap()
    };
    assert_eq!(turn(&mut host.server), News::Bundle);
    let asked = host.server.requests.len();
    // nothing is new: no word but the report, and that is told by what differs from the one before
    for _ in 0..2 {
        host.pass(300_000);
        assert_eq!(turn(&mut host.server), News::Same);
    }
    assert_eq!(host.server.requests.len(), asked);
    assert_eq!(host.store().contact().unwrap().at, host.clock.now(), "it is in touch all the same");
    let told: Vec<_> = host.server.reports.iter().map(|r| (r.result_seq, r.results.len())).collect();
    assert_eq!(told, [(1, 1), (2, 1), (3, 0)], "created, then in order, then the same");
    assert!(host.server.reports[0].delta.is_none() && host.server.reports[2].delta.is_some());
    // a server that does not have the run before gets the whole
    host.server.forgetful = true;
    host.pass(300_000);
    turn(&mut host.server);
    let last = host.server.reports.last().unwrap();
    assert_eq!((last.result_seq, last.results.len(), last.delta.is_none()), (4, 1, true));
    // half of the lease is over: it has something to ask for
    host.pass(20 * 3_600_000);
    assert_eq!(turn(&mut host.server), News::Renewed);
    let renewal = host.server.requests.last().unwrap();
    assert!(renewal.renew && renewal.traits.is_none());
}

#[test]
fn case_065_a_second_agent_waits_its_turn() {
    let host = host();
    let first = host.agent.session().unwrap();
    assert_eq!(host.agent.session().err().unwrap().exit_code(), 75);
    drop(first);
    host.agent.session().unwrap();
}

#[test]
fn a_refusal_is_told_and_the_cache_goes_on() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.tamper = |answer| {
        *answer = Answer::Refusal(pb::Refusal {
            code: "no-node-entry".into(),
            message: "no entry\u{1b}[2J".into(),
        });
    };
    let cycle = host.turn().unwrap();
    let error = cycle.check_in.unwrap_err().to_string();
    assert!(error.contains("no entry\\u{1b}"), "{error}");
    assert_eq!(cycle.summary.totals.ok, 1);
    assert!(host.agent.status().unwrap().human().contains("no policy for this host"));
}

#[test]
fn a_stop_ends_the_run_before_the_next_resource() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.agent.options.stop.store(true, Ordering::Relaxed);
    let cycle = host.turn().unwrap();
    assert!(cycle.summary.stopped && cycle.summary.results.is_empty());
}

#[test]
fn status_and_verify_tell_what_is_so() {
    let mut host = host();
    let text = |h: &Host| h.agent.status().unwrap().human();
    assert!(text(&host).contains("none yet"), "{}", text(&host));
    host.server.publish(motd("one"));
    host.turn().unwrap();
    assert!(text(&host).contains("release 1, bundle 1 (root "), "{}", text(&host));
    assert!(text(&host).contains("valid for 1 d 0 h more"), "{}", text(&host));
    assert!(host.agent.verify().unwrap().is_good(), "{}", host.agent.verify().unwrap().human());
    host.pass(DAY + 11 * HOUR);
    assert!(text(&host).contains("EXPIRED 11 h 0 m ago: not converging"), "{}", text(&host));
    assert_eq!(host.agent.status().unwrap().health().0, crate::status::Health::Critical);
    assert!(!host.agent.verify().unwrap().is_good());
    let json = host.agent.status().unwrap().json();
    assert_eq!((json["converging"].as_bool(), json["bundle"]["seq"].as_u64()), (Some(false), Some(1)));
}

#[test]
fn case_083_files_of_the_agent_are_its_own() {
    use std::os::unix::fs::MetadataExt;
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    for path in walk(host.agent.state().path()) {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/motd"), "drift").unwrap();
    crate::apply::testing::write(bundle.path(), &motd("one"));
    let agent = Agent::new(AgentOptions { root: dir.path().to_owned(), ..AgentOptions::default() });
    let options = |dry_run| RunOptions { dry_run, ..RunOptions::default() };
    let tree = || {
        let mut all: Vec<_> = walk(dir.path()).into_iter().map(|p| (fs::read(&p).unwrap(), p)).collect();
        all.sort();
        all
    };
    let before = tree();
    let dry = agent.apply(bundle.path(), None, &options(true), &mut Silent).unwrap();
    assert_eq!((dry.totals.changed, tree()), (1, before));
    let real = agent.apply(bundle.path(), None, &options(false), &mut Silent).unwrap();
    assert_eq!(dry.results[0].action, real.results[0].action);
    assert_eq!(agent.apply(bundle.path(), None, &options(false), &mut Silent).unwrap().totals.ok, 1);
}

#[test]
fn back_off_and_jitter_stay_in_their_bounds() {
    for failures in 0..40 {
        let wait = back_off(failures);
        assert!((1000..=300_000).contains(&wait.as_millis()), "{wait:?}");
        let wait = jittered(Duration::from_secs(300), 20);
        assert!((240_000..=360_000).contains(&wait.as_millis()), "{wait:?}");
    }
}
