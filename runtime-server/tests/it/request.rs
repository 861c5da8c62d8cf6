use crate::harness::*;
use prost::Message;
use protocol::pb::check_in_reply::Answer;
use protocol::pb::fleet_client::FleetClient;
use protocol::pb::{RequestHeader, SignedFrame, SignedRequest, signed_frame};
use protocol::request::{self, Rpc};
use runtime_server::{pki, store};
use std::time::Duration;
use tonic::Code;

#[tokio::test]
async fn case_036_a_request_is_taken_once() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let signed = agent.signed(&cluster);
    agent.send(&cluster, signed.clone()).await.unwrap();
    refused(agent.send(&cluster, signed.clone()).await, Code::Aborted, "replay");
    cluster.advance(Duration::from_secs(299));
    refused(agent.send(&cluster, signed).await, Code::Aborted, "replay");
    // Requests that overtake each other are not replays.
    let (first, second) = (agent.signed(&cluster), agent.signed(&cluster));
    agent.send(&cluster, second).await.unwrap();
    agent.send(&cluster, first).await.unwrap();
    cluster.stop().await;
}

/// A counter that the database cannot hold would keep the batch that it is in from being stored, again and again.
#[tokio::test]
async fn case_036_a_counter_beyond_the_database_is_refused_and_holds_nobody_up() {
    let cluster = Cluster::start().await;
    let (mut hostile, mut other) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    for counter in [u64::MAX, i64::MAX as u64 + 1] {
        hostile.counter = counter - 1;
        refused(hostile.check_in(&cluster).await, Code::InvalidArgument, "malformed");
    }
    hostile.counter = i64::MAX as u64 - 1;
    hostile.asked.traits_digest.clear();
    hostile.bundle(&cluster).await;
    other.bundle(&cluster).await;
    let stored = |name: &str| {
        let find = |conn: &mut store::Connection| store::envoys::find(conn, name);
        cluster.db(find).unwrap().unwrap().counter
    };
    eventually(|| stored("web-01") == i64::MAX as u64 && stored("web-02") == 1).await;
    cluster.stop().await;
}

#[tokio::test]
async fn case_037_a_captured_request_dies_with_the_process() {
    let mut cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let signed = agent.signed(&cluster);
    agent.send(&cluster, signed.clone()).await.unwrap();
    let before = cluster.db(|conn| store::envoys::find(conn, "web-01")).unwrap().unwrap();
    cluster.restart().await;
    let answer = agent.send(&cluster, signed).await.unwrap().answer.unwrap();
    assert!(matches!(answer, Answer::StaleKey(_)), "{answer:?}");
    cluster.restart().await;
    let after = cluster.db(|conn| store::envoys::find(conn, "web-01")).unwrap().unwrap();
    assert_eq!((after.seq, after.content), (before.seq, before.content));
    cluster.stop().await;
}

#[tokio::test]
async fn case_038_clocks_that_are_too_far_apart() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    for skew in [-300_000, 300_000] {
        agent.skew = skew;
        agent.check_in(&cluster).await.unwrap();
    }
    let year = 365 * 86_400_000;
    for skew in [-300_001, 300_001, year, -(cluster.now() as i64), i64::MAX] {
        agent.skew = skew;
        let status = agent.check_in(&cluster).await.unwrap_err();
        assert_eq!(reason(&status), (Code::FailedPrecondition, "clock-skew"));
        let time = status.metadata().get("vigo-server-time").unwrap().to_str().unwrap();
        assert_eq!(time, cluster.now().to_string());
    }
    cluster.stop().await;
}

#[tokio::test]
async fn case_039_nothing_of_a_request_can_be_exchanged() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let (one, two) = (agent.signed(&cluster), agent.signed(&cluster));
    let unauthenticated = Code::Unauthenticated;
    let mixed = SignedRequest { header: two.header.clone(), ..one.clone() };
    refused(agent.send(&cluster, mixed).await, unauthenticated, "bad-signature");
    let body = SignedRequest { payload: vec![], ..one.clone() };
    refused(agent.send(&cluster, body).await, unauthenticated, "bad-signature");
    let unsigned = SignedRequest { signature: vec![], ..one.clone() };
    refused(agent.send(&cluster, unsigned).await, unauthenticated, "unsigned");
    let report = agent.client(&cluster).await.report_run(one.clone()).await;
    refused(report, unauthenticated, "bad-signature");
    agent.send(&cluster, one).await.unwrap();
    agent.send(&cluster, two).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn case_040_certificate_signature_and_registration_are_of_one_envoy() {
    let cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.agent("a").await, cluster.agent("b").await);
    let (from_a, from_b) = (a.signed(&cluster), b.signed(&cluster));
    refused(a.send(&cluster, from_b.clone()).await, Code::PermissionDenied, "wrong-envoy");
    refused(b.send(&cluster, from_a.clone()).await, Code::PermissionDenied, "wrong-envoy");
    // A's connection and key, B's id.
    let header = RequestHeader { envoy_id: b.reply.envoy_id.clone(), ..a.header(&cluster) };
    let forged = request::sign(&a.key, Rpc::CheckIn, &header, &a.asked.encode_to_vec());
    refused(a.send(&cluster, forged.clone()).await, Code::PermissionDenied, "wrong-envoy");
    // B's connection, A's key.
    refused(b.send(&cluster, forged).await, Code::Unauthenticated, "bad-signature");
    let header = RequestHeader { envoy_id: "nobody".into(), ..a.header(&cluster) };
    let unknown = request::sign(&a.key, Rpc::CheckIn, &header, &[]);
    refused(a.send(&cluster, unknown).await, Code::PermissionDenied, "unknown-envoy");
    let header = RequestHeader { cluster_id: "other".into(), ..a.header(&cluster) };
    let elsewhere = request::sign(&a.key, Rpc::CheckIn, &header, &[]);
    refused(a.send(&cluster, elsewhere).await, Code::PermissionDenied, "wrong-cluster");
    a.send(&cluster, from_a).await.unwrap();
    b.send(&cluster, from_b).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn case_045_without_a_certificate_and_with_one_of_another_ca() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let signed = agent.signed(&cluster);
    let mut bare = FleetClient::new(cluster.channel(None).await);
    refused(bare.check_in(signed.clone()).await, Code::Unauthenticated, "no-client-certificate");
    refused(bare.report_run(signed.clone()).await, Code::Unauthenticated, "no-client-certificate");
    let first = SignedFrame { frame: Some(signed_frame::Frame::Opening(signed.clone())) };
    let opened = bare.stream(tonic::codegen::tokio_stream::once(first)).await.map(|_| ());
    refused(opened, Code::Unauthenticated, "no-client-certificate");

    // A namesake of our CA certifies the agent's own key: the handshake fails.
    let material = pki::Material::create(&cluster.config.cluster_id, &[], cluster.now()).unwrap();
    let foreign = pki::Ca::load(&material.ca, &material.ca_key).unwrap();
    let csr = pki::Csr::read(&enrolment(&agent.key, "", "web-01").csr_pem, "web-01").unwrap();
    let pem = foreign.issue_client(&agent.reply.envoy_id, &csr, cluster.now()).unwrap();
    let mut stranger = FleetClient::new(cluster.channel(Some((&pem, &agent.key))).await);
    let status = stranger.check_in(signed.clone()).await.unwrap_err();
    assert_eq!(reason(&status).1, "", "not even a reason: {status:?}");

    // The signer identity is of this CA, but no client.
    let tls = &cluster.config.tls;
    let signer = pki::read_key("k", &std::fs::read_to_string(&tls.signer_key).unwrap()).unwrap();
    let certificate = std::fs::read_to_string(&tls.signer).unwrap();
    let mut other = FleetClient::new(cluster.channel(Some((&certificate, &signer))).await);
    assert!(other.check_in(signed.clone()).await.is_err());
    agent.send(&cluster, signed).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn case_034_a_revoked_envoy_is_out_within_seconds() {
    let cluster = Cluster::start().await;
    let (mut agent, mut other) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    agent.bundle(&cluster).await;
    // From another process, as `vigosrv envoys revoke` does.
    assert!(cluster.db(|conn| store::envoys::revoke(conn, "web-01", cluster.now())).unwrap());
    let mut denied = None;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Err(status) = agent.check_in(&cluster).await {
            denied = Some(status);
            break;
        }
    }
    assert_eq!(reason(&denied.unwrap()), (Code::PermissionDenied, "revoked"));
    refused(agent.report(&cluster, &Default::default()).await, Code::PermissionDenied, "revoked");
    other.bundle(&cluster).await;
    cluster.stop().await;
}

#[tokio::test]
async fn case_068_a_message_beyond_the_limit() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let header = agent.header(&cluster);
    let large = request::sign(&agent.key, Rpc::CheckIn, &header, &vec![0; 16 << 20]);
    let status = agent.send(&cluster, large).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    agent.bundle(&cluster).await;
    cluster.stop().await;
}

#[tokio::test]
async fn case_073_traits_that_are_none() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let mut send = async |traits: Vec<u8>, digest: Vec<u8>| {
        agent.asked.traits_digest = digest;
        agent.asked.traits = Some(traits);
        let payload = agent.asked.encode_to_vec();
        let header = agent.header(&cluster);
        let signed = request::sign(&agent.key, Rpc::CheckIn, &header, &payload);
        agent.send(&cluster, signed).await
    };
    let digest = |bytes: &[u8]| ir::Hash::of(bytes).0.to_vec();
    refused(send(vec![1, 2], digest(&[1, 2])).await, Code::InvalidArgument, "malformed");
    let text = ir::wire::encode_value(&"text".into()).unwrap();
    refused(send(text.clone(), digest(&text)).await, Code::InvalidArgument, "malformed");
    let large = vec![0; (1 << 20) + 1];
    refused(send(large.clone(), digest(&large)).await, Code::InvalidArgument, "malformed");
    let good = ir::wire::encode_value(&runtime_server::testing::traits("debian")).unwrap();
    refused(send(good.clone(), vec![0; 32]).await, Code::InvalidArgument, "malformed");
    refused(send(good.clone(), vec![]).await, Code::InvalidArgument, "malformed");
    send(good.clone(), digest(&good)).await.unwrap();
    cluster.stop().await;
}
