use crate::harness::*;
use prost::Message;
use protocol::pb::check_in_reply::Answer;
use protocol::pb::enrolment_client::EnrolmentClient;
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
    let pem = foreign.issue_client(&agent.reply.envoy_id, &csr, cluster.now(), HOUR).unwrap().pem;
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

/// Calls a method with the least that it takes.
async fn call(
    channel: tonic::transport::Channel,
    path: &str,
    signed: SignedRequest,
) -> Result<(), tonic::Status> {
    let mut fleet = FleetClient::new(channel.clone());
    match path {
        "/vigo.v1.Fleet/CheckIn" => fleet.check_in(signed).await.map(drop),
        "/vigo.v1.Fleet/ReportRun" => fleet.report_run(signed).await.map(drop),
        "/vigo.v1.Fleet/Renew" => fleet.renew(signed).await.map(drop),
        "/vigo.v1.Fleet/Stream" => {
            let first = SignedFrame { frame: Some(signed_frame::Frame::Opening(signed)) };
            fleet.stream(tonic::codegen::tokio_stream::once(first)).await.map(drop)
        }
        "/vigo.v1.Enrolment/Enroll" => EnrolmentClient::new(channel)
            .enroll(enrolment(&pki::new_key().unwrap(), "vigo.0.0", "x"))
            .await
            .map(drop),
        _ => panic!("{path} has no place in this sweep"),
    }
}

#[tokio::test]
async fn case_045_every_method_as_everybody() {
    let cluster = Cluster::start().await;
    let (mut agent, mut revoked) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    let stranger_key = pki::new_key().unwrap();
    let text = |path| std::fs::read_to_string(path).unwrap();
    let tls = &cluster.config.tls;
    let ours = pki::Ca::load(&text(&tls.ca), &text(&tls.ca_key)).unwrap();
    let material = pki::Material::create(&cluster.config.cluster_id, &[], cluster.now()).unwrap();
    let theirs = pki::Ca::load(&material.ca, &material.ca_key).unwrap();
    let csr = |key| pki::Csr::read(&enrolment(key, "", "x").csr_pem, "x").unwrap();
    let unregistered = uuid::Uuid::new_v4().to_string();
    let certificate =
        |ca: &pki::Ca, id: &str, key| ca.issue_client(id, &csr(key), cluster.now(), HOUR).unwrap().pem;
    let foreign = certificate(&theirs, &agent.reply.envoy_id, &agent.key);
    let unknown = certificate(&ours, &unregistered, &stranger_key);
    cluster.server().context().fleet.revoke(std::slice::from_ref(&revoked.reply.envoy_id));

    for path in protocol::METHODS {
        let rpc = Rpc::ALL.iter().find(|rpc| rpc.path() == *path).copied();
        let open = rpc.is_none();
        let rpc = rpc.unwrap_or(Rpc::CheckIn);
        let sign = |agent: &mut Agent| {
            let header = agent.header(&cluster);
            request::sign(&agent.key, rpc, &header, &[])
        };
        let header = RequestHeader { envoy_id: unregistered.clone(), ..agent.header(&cluster) };
        let unknown_request = request::sign(&stranger_key, rpc, &header, &[]);
        let none = cluster.channel(None).await;
        let (bad_token, no_certificate) =
            ((Code::PermissionDenied, "token-unknown"), (Code::Unauthenticated, "no-client-certificate"));
        let status = call(none, path, sign(&mut agent)).await.unwrap_err();
        assert_eq!(
            reason(&status),
            if open { bad_token } else { no_certificate },
            "{path} without a certificate"
        );

        let channel = cluster.channel(Some((&foreign, &agent.key))).await;
        let status = call(channel, path, sign(&mut agent)).await.unwrap_err();
        assert_eq!(reason(&status).1, "", "{path} with a foreign CA: the handshake fails: {status:?}");

        let channel = cluster.channel(Some((&unknown, &stranger_key))).await;
        let status = call(channel, path, unknown_request).await.unwrap_err();
        let denied = (Code::PermissionDenied, "unknown-envoy");
        assert_eq!(reason(&status), if open { bad_token } else { denied }, "{path} of nobody we know");

        let channel = cluster.channel(Some((&revoked.reply.certificate_pem, &revoked.key))).await;
        let status = call(channel, path, sign(&mut revoked)).await.unwrap_err();
        let denied = (Code::PermissionDenied, "revoked");
        assert_eq!(reason(&status), if open { bad_token } else { denied }, "{path} of a revoked envoy");

        // An envoy is let in: what is refused then is the empty request, by the method itself.
        let channel = cluster.channel(Some((&agent.reply.certificate_pem, &agent.key))).await;
        let answer = call(channel, path, sign(&mut agent)).await;
        let let_in = match &answer {
            Ok(()) => true,
            Err(status) => ["malformed", "bad-csr"].contains(&reason(status).1) || open,
        };
        assert!(let_in, "{path} of an envoy: {answer:?}");
    }
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

    // as many as fit, with names made to collide in a careless table: taken in a moment
    let names = |n: u32| {
        ir::Value::Map((0..n).map(|n| (format!("{:07}", n * 65_536).into(), i64::from(n).into())).collect())
    };
    let many = ir::wire::encode_value(&names(20_000)).unwrap();
    assert!(many.len() <= 1 << 20 && many.len() > 1 << 18, "{}", many.len());
    let since = std::time::Instant::now();
    send(many.clone(), digest(&many)).await.unwrap();
    assert!(since.elapsed() < std::time::Duration::from_secs(20), "{:?}", since.elapsed());
    // a million: cut off by their size
    let million = vec![7; 1_000_000 * 8];
    refused(send(million.clone(), digest(&million)).await, Code::InvalidArgument, "malformed");
    cluster.stop().await;
}

#[tokio::test]
async fn case_073_more_modules_than_there_can_be() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let own = agent.asked.held_modules.clone();
    for (stubs, code, said) in [
        (ir::manifest::MAX_MODULES + 1, Code::InvalidArgument, "malformed"),
        // 34 MB: more than a message may have
        (1_000_000, Code::OutOfRange, ""),
    ] {
        agent.asked.held_modules = vec![vec![7; 32]; stubs];
        refused(agent.check_in(&cluster).await, code, said);
    }
    // the same hash a thousand times is one; its twin is answered as ever
    agent.asked.held_modules = own.iter().cycle().take(1000).cloned().collect();
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::NoChange(_)));
    cluster.stop().await;
}
