use crate::harness::*;
use protocol::pb::enrolment_client::EnrolmentClient;
use runtime_server::{pki, store};
use std::time::Duration;
use tonic::Code;

#[tokio::test]
async fn a_host_with_a_token_becomes_an_envoy() {
    let cluster = Cluster::start().await;
    let token = cluster.token("web-*").await;
    let agent = Agent::enrol(&cluster, &token, "Web-01").await.unwrap();
    assert_eq!(agent.reply.cluster_id, cluster.config.cluster_id);
    let row = cluster.db(|conn| store::envoys::find(conn, "web-01")).unwrap().unwrap();
    assert_eq!(row.id, agent.reply.envoy_id);
    assert_eq!(row.public_key, agent.key.verifying_key().to_bytes());
    let certificate = pki::read_certificate("client", &agent.reply.certificate_pem).unwrap();
    assert_eq!(protocol::ed25519_key(&certificate), Some(agent.key.verifying_key()));
    cluster.stop().await;
}

#[tokio::test]
async fn case_043_a_token_that_is_not_for_this_host_now() {
    let cluster = Cluster::start().await;
    let denied = Code::PermissionDenied;
    refused(Agent::enrol(&cluster, "vigo.0.0", "a").await.map(|_| ()), denied, "token-unknown");
    let token = cluster.token("web-*").await;
    refused(Agent::enrol(&cluster, &token, "db-01").await.map(|_| ()), denied, "token-hostname");
    Agent::enrol(&cluster, &token, "web-01").await.unwrap();
    refused(Agent::enrol(&cluster, &token, "web-02").await.map(|_| ()), denied, "token-used");

    let late = cluster.token("*").await;
    cluster.advance(HOUR + Duration::from_secs(1));
    refused(Agent::enrol(&cluster, &late, "a").await.map(|_| ()), denied, "token-expired");

    let revoked = cluster.token("*").await;
    let id = revoked.split('.').nth(1).unwrap();
    assert!(cluster.db(|conn| store::tokens::revoke(conn, id, 1)).unwrap());
    refused(Agent::enrol(&cluster, &revoked, "a").await.map(|_| ()), denied, "token-revoked");
    cluster.stop().await;
}

#[tokio::test]
async fn a_name_in_use_is_not_given_away_and_the_token_survives() {
    let cluster = Cluster::start().await;
    cluster.agent("web-01").await;
    let token = cluster.token("*").await;
    let second = Agent::enrol(&cluster, &token, "WEB-01").await.map(|_| ());
    refused(second, Code::AlreadyExists, "hostname-taken");
    cluster.db(|conn| store::envoys::revoke(conn, "web-01", 1)).unwrap();
    Agent::enrol(&cluster, &token, "web-01").await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn case_042_one_token_and_a_hundred_hosts() {
    let cluster = Cluster::start().await;
    // Few requests of one stranger are taken at once, so there are many strangers.
    let mut channels = Vec::new();
    for _ in 0..50 {
        channels.push(cluster.channel(None).await);
    }
    // The design wants 200; the gate has time for a few.
    let rounds = if std::env::var_os("VIGO_LONG").is_some() { 200 } else { 3 };
    for round in 0..rounds {
        let token = cluster.token("*").await;
        let mut tries = tokio::task::JoinSet::new();
        for i in 0..100 {
            let key = pki::new_key().unwrap();
            let request = enrolment(&key, &token, &format!("host-{round}-{i}"));
            let mut client = EnrolmentClient::new(channels[i % channels.len()].clone());
            tries.spawn(async move { client.enroll(request).await });
        }
        let results = tries.join_all().await;
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        for status in results.iter().filter_map(|r| r.as_ref().err()) {
            assert_eq!(reason(status), (Code::PermissionDenied, "token-used"));
        }
    }
    assert_eq!(cluster.db(store::envoys::list).unwrap().len(), rounds);
    cluster.stop().await;
}

#[tokio::test]
async fn case_044_what_no_agent_sends() {
    let cluster = Cluster::start().await;
    let token = cluster.token("*").await;
    let key = pki::new_key().unwrap();
    let mut client = EnrolmentClient::new(cluster.channel(None).await);
    for name in ["../x", "*", "-rf", "a b", ""] {
        let request = enrolment(&key, &token, name);
        refused(client.enroll(request).await, Code::InvalidArgument, "bad-hostname");
    }
    let mut unsigned = enrolment(&key, &token, "a");
    unsigned.hostname = "b".into();
    refused(client.enroll(unsigned).await, Code::Unauthenticated, "bad-signature");
    let mut stolen = enrolment(&key, &token, "a");
    stolen.csr_pem = enrolment(&pki::new_key().unwrap(), &token, "a").csr_pem;
    refused(client.enroll(stolen).await, Code::Unauthenticated, "bad-signature");
    let mut weak = enrolment(&key, &token, "a");
    weak.seal_public_key = vec![0; 32];
    protocol::enrolment::sign(&key, &mut weak);
    refused(client.enroll(weak).await, Code::InvalidArgument, "malformed");
    let mut no_csr = enrolment(&key, &token, "a");
    no_csr.csr_pem = "nothing".into();
    refused(client.enroll(no_csr).await, Code::InvalidArgument, "bad-csr");
    assert!(cluster.db(store::envoys::list).unwrap().is_empty());
    client.enroll(enrolment(&key, &token, "a")).await.unwrap();
    cluster.stop().await;
}
