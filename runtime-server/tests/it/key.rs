use crate::harness::*;
use protocol::pb::check_in_reply::Answer;
use runtime_server::pki;
use runtime_server::server::{Server, StartError};
use runtime_server::store::Database;

#[tokio::test]
async fn case_024_after_a_restart_the_agent_follows_with_one_more_request() {
    let mut cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let before = agent.bundle(&cluster).await.manifest;
    cluster.restart().await;

    let Answer::StaleKey(statement) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    let trusted = trust(&cluster, &statement);
    assert_eq!((agent.trusted.epoch, trusted.epoch), (1, 2));
    assert_ne!(trusted.key, agent.trusted.key);
    agent.trusted = trusted;

    // The cached modules are still right; manifest and lease come anew, from the live key.
    let Answer::NoChange(renewed) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    let manifest = ir::Manifest::open(&agent.trusted.key, &renewed.manifest.unwrap()).unwrap();
    let lease = ir::Lease::open(&agent.trusted.key, &renewed.lease.unwrap()).unwrap();
    assert_eq!((manifest.epoch, lease.epoch), (2, 2));
    assert_eq!((manifest.seq, manifest.merkle_root), (before.seq, before.merkle_root));
    assert_eq!(manifest.release_serial, before.release_serial, "the policy did not change");
    cluster.stop().await;
}

#[tokio::test]
async fn a_key_from_a_file_stays_with_its_epoch() {
    let mut cluster = Cluster::with(|c| {
        let file = c.tls.ca.with_file_name("signing.key");
        std::fs::write(&file, pki::new_key_pem().unwrap().as_bytes()).unwrap();
        c.signing_key_file = Some(file);
    })
    .await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let used = agent.signed(&cluster);
    agent.send(&cluster, used.clone()).await.unwrap();
    cluster.restart().await;
    let Answer::NoChange(quiet) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    assert_eq!(quiet.manifest, None);
    refused(agent.send(&cluster, used).await, tonic::Code::Aborted, "replay");
    // Nothing can be said to an agent that has seen a later epoch of the same key.
    agent.asked.epoch = 5;
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "epoch-ahead");
    cluster.stop().await;
}

#[tokio::test]
async fn case_030_a_later_epoch_makes_a_new_key() {
    let cluster = Cluster::start().await;
    let (mut agent, mut other) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    other.bundle(&cluster).await;
    agent.asked.epoch = 9;
    let Answer::StaleKey(statement) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    agent.trusted = trust(&cluster, &statement);
    assert_eq!(agent.trusted.epoch, 10);
    assert_eq!(agent.bundle(&cluster).await.manifest.epoch, 10);
    let Answer::StaleKey(statement) = other.check_in(&cluster).await.unwrap() else { panic!() };
    assert_eq!(trust(&cluster, &statement).epoch, 10);
    agent.asked.epoch = u64::MAX;
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "epoch-ahead");
    cluster.stop().await;
}

async fn start(config: &runtime_server::config::Config) -> StartError {
    let policy = Box::new(runtime_server::testing::MemoryPolicy::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::start(config, policy, Some(listener), Default::default()).await.unwrap_err()
}

#[tokio::test]
async fn parts_of_two_clusters_do_not_start() {
    let (mut one, mut two) = (Cluster::start().await, Cluster::start().await);
    one.halt().await;
    two.halt().await;
    let mut config = one.config.clone();
    config.database.clone_from(&two.config.database);
    assert!(matches!(start(&config).await, StartError::OtherCluster { .. }));
    let mut config = one.config.clone();
    config.tls.signer.clone_from(&two.config.tls.signer);
    config.tls.signer_key.clone_from(&two.config.tls.signer_key);
    assert!(matches!(start(&config).await, StartError::Signer { .. }));
    let mut config = one.config.clone();
    config.tls.ca_key.clone_from(&two.config.tls.ca_key);
    assert!(matches!(start(&config).await, StartError::Pki(_)));
    let mut config = one.config.clone();
    config.database = Database::Sqlite(one.config.tls.ca.with_file_name("none.db"));
    assert!(start(&config).await.to_string().contains("vigosrv init"));
    for cluster in [one, two] {
        let up = cluster.db(|conn| conn.value::<i64>("select count(*) from servers", &[]));
        assert_eq!(up.unwrap(), Some(0), "whoever does not start is not counted among those that are up");
    }
}
