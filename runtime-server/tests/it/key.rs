use crate::harness::*;
use protocol::pb::check_in_reply::Answer;
use protocol::reset::Reset;
use runtime_server::identity::IdentityError;
use runtime_server::pki;
use runtime_server::server::{Server, StartError};
use runtime_server::store::{Database, meta};

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
    (agent.asked.epoch, agent.asked.seen) = (5, Some(stated(&cluster, 5)));
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "epoch-ahead");
    cluster.stop().await;
}

#[tokio::test]
async fn case_030_a_later_epoch_makes_a_new_key() {
    let cluster = Cluster::start().await;
    let (mut agent, mut other) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    other.bundle(&cluster).await;
    agent.asked.epoch = 9;
    let Answer::NeedProof(_) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    agent.asked.seen = Some(stated(&cluster, 9));
    let Answer::StaleKey(statement) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    agent.trusted = trust(&cluster, &statement);
    assert_eq!(agent.trusted.epoch, 10);
    assert_eq!(agent.bundle(&cluster).await.manifest.epoch, 10);
    let Answer::StaleKey(statement) = other.check_in(&cluster).await.unwrap() else { panic!() };
    assert_eq!(trust(&cluster, &statement).epoch, 10);
    // Once a minute is often enough for an accident, and a proof is no reason to go anywhere.
    (agent.asked.epoch, agent.asked.seen) = (12, Some(stated(&cluster, 12)));
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "epoch-ahead");
    agent.asked.epoch = u64::MAX;
    agent.asked.seen = Some(stated(&cluster, u64::MAX));
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "epoch-ahead");
    assert_eq!(cluster.server().signing_key().1, 10);
    cluster.stop().await;
}

/// The statement of a key that the cluster once had, or that somebody made who has its signer identity.
fn stated(cluster: &Cluster, epoch: u64) -> protocol::pb::KeyStatement {
    let tls = &cluster.config.tls;
    let text = |path| std::fs::read_to_string(path).unwrap();
    let signer = pki::read_key("signer", &text(&tls.signer_key)).unwrap();
    let certificate = pki::read_certificate("signer", &text(&tls.signer)).unwrap();
    let claims = protocol::key_statement::Claims {
        cluster_id: cluster.config.cluster_id.clone(),
        epoch,
        not_before: 0,
        not_after: u64::MAX,
        live_epochs: vec![],
    };
    protocol::key_statement::issue(&signer, &certificate, &pki::new_key().unwrap(), claims)
}

#[tokio::test]
async fn case_021_030_an_envoys_word_alone_moves_no_key() {
    let cluster = Cluster::start().await;
    let (mut rogue, mut other) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    other.bundle(&cluster).await;
    let key = cluster.server().signing_key();
    let mut forged = stated(&cluster, 2);
    forged.signer_signature[0] ^= 1;
    let own = protocol::key_statement::issue(
        &rogue.key,
        &pki::read_certificate("client", &rogue.reply.certificate_pem).unwrap(),
        &rogue.key,
        protocol::key_statement::Claims {
            cluster_id: cluster.config.cluster_id.clone(),
            epoch: 2,
            not_before: 0,
            not_after: u64::MAX,
            live_epochs: vec![],
        },
    );
    for epoch in [2, 1 + (1 << 20), 1 << 40, u64::MAX] {
        for (seen, expected) in [
            (None, None),
            (Some(forged.clone()), Some("epoch-ahead")),
            (Some(own.clone()), Some("epoch-ahead")),
            // Good, and for an epoch that the server knows.
            (Some(rogue.reply.key_statement.clone().unwrap()), Some("epoch-ahead")),
        ] {
            (rogue.asked.epoch, rogue.asked.seen) = (epoch, seen);
            // Also with another key id, which uses up no counter.
            for known in [true, false] {
                let trusted = rogue.trusted.key_id;
                if !known {
                    rogue.trusted.key_id = ir::Hash::of(b"another key");
                }
                let answer = rogue.check_in(&cluster).await.unwrap();
                rogue.trusted.key_id = trusted;
                match expected {
                    None => assert!(matches!(answer, Answer::NeedProof(_)), "{epoch}: {answer:?}"),
                    Some(code) => assert_eq!(refusal(&answer), code, "{epoch}"),
                }
            }
        }
    }
    assert_eq!(cluster.server().signing_key(), key);
    other.check_in(&cluster).await.unwrap();
    (rogue.asked.epoch, rogue.asked.seen) = (1, None);
    rogue.bundle(&cluster).await;
    cluster.stop().await;
}

/// What `vigosrv reset` writes down from another process.
fn reset(cluster: &Cluster, number: u64, min_epoch: u64) {
    let tls = &cluster.config.tls;
    let text = |path| std::fs::read_to_string(path).unwrap();
    let ca = pki::Ca::load(&text(&tls.ca), &text(&tls.ca_key)).unwrap();
    let statement = ca.reset(&cluster.config.cluster_id, Reset { number, min_epoch }).unwrap();
    cluster.db(|conn| meta::set_reset(conn, &statement)).unwrap();
}

/// Checks in until the server has heard of the reset and says so.
async fn told(cluster: &Cluster, agent: &mut Agent) -> protocol::pb::KeyStatement {
    for _ in 0..100 {
        match agent.check_in(cluster).await.unwrap() {
            Answer::StaleKey(statement) if statement.reset.is_some() => return statement,
            _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
    panic!("the server never hears of the reset");
}

#[tokio::test]
async fn case_021_030_a_reset_reaches_agents_that_are_too_far_ahead() {
    let mut cluster = Cluster::start().await;
    let (mut agent, mut other) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    other.bundle(&cluster).await;
    (agent.asked.epoch, agent.asked.seq) = (1 << 62, 1 << 62);
    agent.asked.seen = Some(stated(&cluster, 1 << 62));
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "epoch-ahead", "the fault is there");

    reset(&cluster, 7, 40);
    let statement = told(&cluster, &mut agent).await;
    let ca = pki::read_certificate("ca", &cluster.ca).unwrap();
    let word = statement.reset.as_ref().unwrap();
    let verified = protocol::reset::verify(word, &ca, &cluster.config.cluster_id);
    assert_eq!(verified, Ok(Reset { number: 7, min_epoch: 40 }));
    agent.trusted = trust(&cluster, &statement);
    assert!(agent.trusted.epoch >= 40, "{}", agent.trusted.epoch);
    // As an agent that follows it.
    (agent.asked.epoch, agent.asked.seq, agent.asked.reset) = (39, 0, 7);
    agent.bundle(&cluster).await;

    // Everybody is told, also those that nothing had happened to, and after a restart.
    cluster.restart().await;
    assert!(told(&cluster, &mut other).await.reset.is_some());
    cluster.stop().await;
}

#[tokio::test]
async fn a_reset_reaches_agents_of_a_key_from_a_file_too() {
    let cluster = Cluster::with(|c| {
        let file = c.tls.ca.with_file_name("signing.key");
        std::fs::write(&file, pki::new_key_pem().unwrap().as_bytes()).unwrap();
        c.signing_key_file = Some(file);
    })
    .await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let key = agent.trusted.key;
    (agent.asked.epoch, agent.asked.seen) = (5, Some(stated(&cluster, 5)));
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "epoch-ahead");
    reset(&cluster, 7, 40);
    let statement = told(&cluster, &mut agent).await;
    agent.trusted = trust(&cluster, &statement);
    assert_eq!((agent.trusted.key, agent.trusted.epoch), (key, 40));
    (agent.asked.epoch, agent.asked.reset) = (39, 7);
    let Answer::NoChange(answer) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    let lease = ir::Lease::open(&agent.trusted.key, &answer.lease.unwrap()).unwrap();
    assert_eq!(lease.epoch, 40);
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
    assert!(matches!(start(&config).await, StartError::Identity(IdentityError::Signer { .. })));
    let mut config = one.config.clone();
    config.tls.ca_key.clone_from(&two.config.tls.ca_key);
    assert!(matches!(start(&config).await, StartError::Identity(IdentityError::Pki(_))));
    let mut config = one.config.clone();
    config.database = Database::Sqlite(one.config.tls.ca.with_file_name("none.db"));
    assert!(start(&config).await.to_string().contains("vigosrv init"));
    for cluster in [one, two] {
        let up = cluster.db(|conn| conn.value::<i64>("select count(*) from servers", &[]));
        assert_eq!(up.unwrap(), Some(0), "whoever does not start is not counted among those that are up");
    }
}
