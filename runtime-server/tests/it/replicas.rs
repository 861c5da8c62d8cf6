//! Two servers on one database. SQLite has one, so there is something to see on PostgreSQL only.

use crate::harness::*;
use protocol::pb::check_in_reply::Answer;
use runtime_server::store::Database;
use runtime_server::testing::module;
use tonic::Code;

async fn two() -> Option<(Cluster, Cluster)> {
    let one = Cluster::start().await;
    if let Database::Sqlite(_) = one.config.database {
        one.stop().await;
        return None;
    }
    let two = one.beside().await;
    Some((one, two))
}

/// Checks in until there is an answer other than another key, as an agent does.
async fn answer(agent: &mut Agent, server: &Cluster) -> Answer {
    for _ in 0..4 {
        match agent.check_in(server).await.unwrap() {
            Answer::StaleKey(statement) => {
                agent.trusted = trust(server, &statement);
                agent.asked.renew = true;
            }
            // Nothing was flushed yet.
            Answer::NeedTraits(_) => agent.asked.traits_digest.clear(),
            answer => return answer,
        }
    }
    panic!("asked for another key again and again");
}

#[tokio::test]
async fn case_029_two_servers_answer_one_agent_alternately() {
    let Some((one, two)) = two().await else { return };
    let keys = [one.server().signing_key(), two.server().signing_key()];
    assert_eq!([keys[0].1, keys[1].1], [1, 2]);
    let mut agent = one.agent("web-01").await;
    agent.bundle(&one).await;
    for round in 0..100 {
        for (server, epoch) in [(&two, 2), (&one, 1)] {
            let Answer::NoChange(kept) = answer(&mut agent, server).await else { panic!("round {round}") };
            let manifest = ir::Manifest::open(&agent.trusted.key, &kept.manifest.unwrap()).unwrap();
            let lease = ir::Lease::open(&agent.trusted.key, &kept.lease.unwrap()).unwrap();
            assert_eq!((manifest.seq, manifest.epoch, lease.epoch), (1, epoch, epoch), "round {round}");
            agent.asked.policy_version = kept.policy_version;
            // The highest it has seen, as an agent reports it.
            agent.asked.epoch = 2;
        }
    }
    assert_eq!([one.server().signing_key(), two.server().signing_key()], keys, "nobody made a new key");
    // The newest key's statement is what lets agents accept the older one beside it.
    let Answer::StaleKey(statement) = agent.check_in(&two).await.unwrap() else { panic!() };
    assert_eq!(trust(&two, &statement).live_epochs, [1]);

    // New content has one number, whichever server hands it out first.
    one.policy.edit(|p| p.modules.push(module("more", "1")));
    for server in [&one, &two] {
        server.server().reload().await.unwrap();
    }
    for server in [&two, &one, &two] {
        let seq = match answer(&mut agent, server).await {
            Answer::Bundle(bundle) => agent.take(bundle).manifest.seq,
            Answer::NoChange(kept) => {
                agent.asked.policy_version = kept.policy_version;
                ir::Manifest::open(&agent.trusted.key, &kept.manifest.unwrap()).unwrap().seq
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(seq, 2);
        agent.asked.epoch = 2;
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn what_one_server_lets_in_and_out_holds_for_the_other() {
    let Some((one, two)) = two().await else { return };
    let mut agent = one.agent("web-01").await;
    assert!(matches!(answer(&mut agent, &two).await, Answer::Bundle(_)), "enrolled at the other one");
    one.db(|conn| runtime_server::store::envoys::revoke(conn, "web-01", 1)).unwrap();
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(30);
    for server in [&one, &two] {
        loop {
            match agent.check_in(server).await {
                Err(status) => break assert_eq!(reason(&status), (Code::PermissionDenied, "revoked")),
                Ok(_) => assert!(std::time::Instant::now() < limit, "still let in"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_server_that_was_taken_for_dead_comes_back_with_a_new_key() {
    let Some((one, two)) = two().await else { return };
    let store = &one.server().context().store;
    one.advance(std::time::Duration::from_millis(runtime_server::store::servers::SILENCE_MS + 1));
    let three = one.beside().await;
    assert_eq!(three.server().signing_key().1, 3);
    let (before, _) = one.server().signing_key();
    one.server().context().keys.beat(store).await.unwrap();
    let (after, epoch) = one.server().signing_key();
    assert!(after != before && epoch == 4);
    one.server().context().keys.beat(store).await.unwrap();
    assert_eq!(one.server().signing_key(), (after, 4));
    for server in [one, two, three] {
        server.stop().await;
    }
}
