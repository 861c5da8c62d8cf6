//! Someone between server and agent who holds every TLS key there is, but not the signing key.
//!
//! The relay speaks TLS with the server's own certificate on one side and with the agent's on the other, so nothing
//! but the signatures on what it passes on can stop it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use protocol::pb::check_in_reply::Answer;
use protocol::pb::enrolment_client::EnrolmentClient;
use protocol::pb::enrolment_server::{Enrolment, EnrolmentServer};
use protocol::pb::fleet_client::FleetClient;
use protocol::pb::fleet_server::{Fleet, FleetServer};
use protocol::pb::{
    CheckInReply, EnrollReply, EnrollRequest, RenewReply, ReportReply, ServerFrame, SignedFrame,
    SignedRequest,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::BoxStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use vigo_tests::processes::{Host, Server, text};

type Meddle = Box<dyn FnMut(CheckInReply) -> CheckInReply + Send>;

#[derive(Clone)]
struct Relay {
    /// Of the real server.
    address: String,
    ca: Vec<u8>,
    /// The state directory of the agent whose identity is borrowed.
    agent: Arc<Mutex<PathBuf>>,
    meddle: Arc<Mutex<Meddle>>,
}

impl Relay {
    async fn channel(&self, identity: Option<Identity>) -> Channel {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca)).domain_name("localhost");
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        let endpoint = Channel::from_shared(format!("https://{}", self.address)).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await.unwrap()
    }

    async fn fleet(&self) -> FleetClient<Channel> {
        let dir = self.agent.lock().unwrap().clone();
        let identity: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.join("identity.json")).unwrap()).unwrap();
        // Key and certificate in one text; each reader takes its own.
        let credential = identity["credential"].as_str().unwrap();
        FleetClient::new(self.channel(Some(Identity::from_pem(credential, credential))).await)
    }

    /// What to do to the next answers.
    fn meddle(&self, with: impl FnMut(CheckInReply) -> CheckInReply + Send + 'static) {
        *self.meddle.lock().unwrap() = Box::new(with);
    }
}

#[tonic::async_trait]
impl Enrolment for Relay {
    async fn enroll(&self, r: Request<EnrollRequest>) -> Result<Response<EnrollReply>, Status> {
        EnrolmentClient::new(self.channel(None).await).enroll(r.into_inner()).await
    }
}

#[tonic::async_trait]
impl Fleet for Relay {
    async fn check_in(&self, r: Request<SignedRequest>) -> Result<Response<CheckInReply>, Status> {
        let reply = self.fleet().await.check_in(r.into_inner()).await?.into_inner();
        Ok(Response::new((self.meddle.lock().unwrap())(reply)))
    }

    async fn report_run(&self, r: Request<SignedRequest>) -> Result<Response<ReportReply>, Status> {
        self.fleet().await.report_run(r.into_inner()).await
    }

    type StreamStream = BoxStream<ServerFrame>;

    async fn stream(
        &self,
        _: Request<Streaming<SignedFrame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        Err(Status::unimplemented("these agents have no work to take"))
    }

    async fn renew(&self, r: Request<SignedRequest>) -> Result<Response<RenewReply>, Status> {
        self.fleet().await.renew(r.into_inner()).await
    }
}

async fn start(server: &Server) -> (Relay, String) {
    let tls = |name: &str| std::fs::read(server.dir.join("tls").join(name)).unwrap();
    let relay = Relay {
        address: server.address.clone(),
        ca: tls("ca.pem"),
        agent: Arc::default(),
        meddle: Arc::new(Mutex::new(Box::new(|reply| reply))),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let identity = Identity::from_pem(tls("server.pem"), tls("server.key"));
    let config = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(Certificate::from_pem(tls("ca.pem")))
        .client_auth_optional(true);
    tokio::spawn(
        tonic::transport::Server::builder()
            .tls_config(config)
            .unwrap()
            .add_service(EnrolmentServer::new(relay.clone()))
            .add_service(FleetServer::new(relay.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (relay, address)
}

fn module(greeting: &str) -> String {
    format!(
        "name: motd\nresources:\n  - {{ name: etc, type: directory, target_path: /etc }}\n  - name: motd\n    type: file\n    target_path: /etc/motd\n    content: {greeting}\n    depends_on: [etc]\n"
    )
}

/// A new release, so that the server has something to send.
fn publish(server: &Server, greeting: &str) {
    let before = server.log().len();
    server.write_policy("modules/motd.vgo", &module(greeting));
    server.wait_for_log(before, "policy published");
}

async fn run(host: &Path, name: &str) -> (i32, String) {
    let host = Host { root: host.to_owned(), name: name.to_owned() };
    tokio::task::spawn_blocking(move || host.run()).await.unwrap()
}

fn flip_last(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_signed_for_this_envoy_now_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = "nodes:\n  - match: \"*.test\"\n    modules: [motd]\n";
    let first = module("one");
    let mut server = Server::init(dir.path(), &[("nodes.vgo", nodes), ("modules/motd.vgo", &first)]);
    server.start();
    let (relay, address) = start(&server).await;
    let hosts = [Host::new(dir.path(), "a.test"), Host::new(dir.path(), "b.test")];
    let state = |host: &Host| host.root.join("var/lib/vigo/identity");
    for host in &hosts {
        let enrolled = {
            let (address, token, ca) = (address.clone(), server.token(), server.ca_hash.clone());
            let host = Host { root: host.root.clone(), name: host.name.clone() };
            tokio::task::spawn_blocking(move || host.enroll(&address, &token, &ca)).await.unwrap()
        };
        assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
    }
    let [a, b] = &hosts;

    // an honest relay; what it sees, it keeps
    let kept: Arc<Mutex<Vec<CheckInReply>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let recorder = move |reply: CheckInReply| {
        if matches!(reply.answer, Some(Answer::Bundle(_))) {
            keep.lock().unwrap().push(reply.clone());
        }
        reply
    };
    for host in [b, a] {
        *relay.agent.lock().unwrap() = state(host);
        relay.meddle(recorder.clone());
        let (code, out) = run(&host.root, &host.name).await;
        assert_eq!(code, 0, "{out}");
    }
    let [of_b, of_a] = <[CheckInReply; 2]>::try_from(kept.lock().unwrap().clone()).unwrap();
    assert_eq!(a.read("/etc/motd").as_deref(), Some("one"));

    publish(&server, "two");
    let bundle = |change: fn(&mut protocol::pb::Bundle)| {
        move |mut reply: CheckInReply| {
            if let Some(Answer::Bundle(bundle)) = &mut reply.answer {
                change(bundle);
            }
            reply
        }
    };
    let replay = |kept: CheckInReply| {
        move |reply: CheckInReply| match reply.answer {
            Some(Answer::Bundle(_)) => kept.clone(),
            _ => reply,
        }
    };
    type Case = (&'static str, Meddle);
    let cases: [Case; 7] = [
        ("module `motd` is not here", Box::new(bundle(|b| b.modules.iter_mut().for_each(|m| flip_last(m))))),
        ("module `motd` is not here", Box::new(bundle(|b| b.modules.clear()))),
        ("signature does not verify", Box::new(bundle(|b| flip_last(&mut b.manifest)))),
        ("signature does not verify", Box::new(bundle(|b| flip_last(&mut b.lease)))),
        ("signature does not verify", Box::new(bundle(|b| b.manifest.clone_from(&b.lease)))),
        ("the lease does not answer this request", Box::new(replay(of_a))),
        ("the bundle is for envoy", Box::new(replay(of_b))),
    ];
    for (reason, meddle) in cases {
        let before = a.status()["bundle"].clone();
        relay.meddle(meddle);
        let (_, out) = run(&a.root, &a.name).await;
        assert!(out.contains(reason), "expected `{reason}`: {out}");
        assert_eq!(a.read("/etc/motd").as_deref(), Some("one"), "{reason}: it was applied");
        let after = a.status()["bundle"].clone();
        for field in ["seq", "root", "release", "expires_at"] {
            assert_eq!(before[field], after[field], "{reason}: {field}");
        }
        assert!(a.vigo(&["verify"]).status.success(), "{reason}: the cache suffered");
    }

    // the same bundle untouched
    relay.meddle(|reply| reply);
    let (code, out) = run(&a.root, &a.name).await;
    assert_eq!(code, 0, "{out}");
    assert_eq!(a.read("/etc/motd").as_deref(), Some("two"));
}
