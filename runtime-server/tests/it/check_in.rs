use crate::client::{Client, api_token};
use crate::harness::*;
use protocol::pb::check_in_reply::Answer;
use protocol::secrets::SecretContext;
use runtime_server::publish::Reloaded;
use runtime_server::secrets::Backend;
use runtime_server::secrets::acl::{Rule, Rules};
use runtime_server::store::api_tokens::Role;
use runtime_server::store::envoys;
use runtime_server::testing::everything_in;
use runtime_server::testing::{module, traits};
use runtime_server::trait_changes;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

fn no_change(answer: Answer) -> protocol::pb::NoChange {
    match answer {
        Answer::NoChange(n) => n,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_first_bundle_is_whole_and_the_next_check_in_is_quiet() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let taken = agent.bundle(&cluster).await;
    assert_eq!(taken.modules.len(), 3);
    assert_eq!((taken.manifest.seq, taken.manifest.epoch, taken.manifest.release_serial), (1, 1, 1));
    assert_eq!(taken.lease.expires_at, cluster.now() + 86_400_000);

    let quiet = no_change(agent.check_in(&cluster).await.unwrap());
    assert_eq!(quiet.policy_version, taken.manifest.policy_version);
    assert_eq!((quiet.manifest, quiet.lease), (None, None));

    cluster.advance(Duration::from_secs(60));
    agent.asked.renew = true;
    let renewed = no_change(agent.check_in(&cluster).await.unwrap());
    let lease = ir::Lease::open(&agent.trusted.key, &renewed.lease.unwrap()).unwrap();
    assert_eq!(renewed.manifest, None);
    assert_eq!((lease.seq, lease.expires_at), (1, cluster.now() + 86_400_000));
    assert_eq!(cluster.policy.compiled(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn the_reply_says_when_to_come_back() {
    let cluster = Cluster::with(|c| {
        c.checkin.interval = Duration::from_secs(90);
        c.checkin.jitter_percent = 7;
        c.checkin.bundle_max_age = None;
    })
    .await;
    let mut agent = cluster.agent("web-01").await;
    let signed = agent.signed(&cluster);
    let reply = agent.send(&cluster, signed).await.unwrap();
    assert_eq!((reply.next_check_in, reply.jitter_percent), (90_000, 7));
    let Some(Answer::Bundle(bundle)) = reply.answer else { panic!() };
    assert_eq!(agent.take(bundle).lease.expires_at, 0, "never");
    cluster.stop().await;
}

#[tokio::test]
async fn a_release_with_the_same_content_sends_no_modules() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let first = agent.bundle(&cluster).await.manifest;
    // Another tree, the same compiled content: a comment, say.
    cluster.policy.edit(|p| p.errors = 1);
    cluster.server().reload().await.unwrap();
    assert_eq!(no_change(agent.check_in(&cluster).await.unwrap()).manifest, None, "errors are not served");
    cluster.policy.edit(|p| (p.errors, p.vars) = (0, "other".into()));
    cluster.server().reload().await.unwrap();
    let second = agent.bundle(&cluster).await;
    assert_eq!((second.manifest.seq, second.modules.len()), (2, 0), "variables alone: stubs only");
    assert_ne!(second.manifest.merkle_root, first.merkle_root);

    cluster.policy.edit(|p| p.vars = "third".into());
    cluster.server().reload().await.unwrap();
    cluster.policy.edit(|p| p.vars = "other".into());
    cluster.server().reload().await.unwrap();
    let back = no_change(agent.check_in(&cluster).await.unwrap());
    let manifest = ir::Manifest::open(&agent.trusted.key, &back.manifest.unwrap()).unwrap();
    let lease = ir::Lease::open(&agent.trusted.key, &back.lease.unwrap()).unwrap();
    assert_eq!(manifest.policy_version, back.policy_version);
    assert_ne!(back.policy_version, second.manifest.policy_version);
    assert_eq!((manifest.merkle_root, manifest.release_serial), (second.manifest.merkle_root, 4));
    assert_eq!((manifest.seq, lease.seq), (2, 2), "the same content keeps its number");
    cluster.stop().await;
}

#[tokio::test]
async fn only_modules_that_the_agent_lacks_are_sent() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    cluster.policy.edit(|p| p.modules[1] = module("nginx", "2"));
    cluster.server().reload().await.unwrap();
    let second = agent.bundle(&cluster).await;
    assert_eq!((second.modules.len(), second.manifest.modules.len(), second.manifest.seq), (1, 3, 2));

    // Case 11: the agent lost a module, whatever version it believes to have.
    agent.asked.held_modules.remove(0);
    agent.asked.state_fingerprint = vec![];
    let again = agent.bundle(&cluster).await;
    assert_eq!((again.modules.len(), again.manifest.seq), (1, 2));
    cluster.stop().await;
}

#[tokio::test]
async fn case_022_a_trait_changes_one_envoys_bundle_within_a_release() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let first = agent.bundle(&cluster).await.manifest;
    agent.traits = traits("redhat");
    let second = agent.bundle(&cluster).await;
    assert_eq!((second.manifest.seq, second.modules.len()), (2, 1));
    assert_eq!(second.manifest.release_serial, first.release_serial);
    cluster.stop().await;
}

#[tokio::test]
async fn traits_are_asked_for_when_they_are_not_known() {
    let mut cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let digest = ir::wire::hash_value(&agent.traits).unwrap();
    agent.asked.traits_digest = digest.0.to_vec();
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::NeedTraits(_)));
    agent.asked.traits_digest.clear();
    agent.bundle(&cluster).await;
    // They survive a restart: the agent does not send them again.
    cluster.restart().await;
    let Answer::StaleKey(statement) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    agent.trusted = trust(&cluster, &statement);
    no_change(agent.check_in(&cluster).await.unwrap());
    cluster.stop().await;
}

#[tokio::test]
async fn secrets_are_sealed_and_a_rotation_is_a_new_bundle() {
    let cluster = Cluster::with(|c| {
        let dir = c.tls.ca.with_file_name("secrets");
        c.secrets = Backend::Directory(dir);
    })
    .await;
    cluster.policy.edit(|p| p.secrets = vec!["db/password".into()]);
    cluster.server().reload().await.unwrap();
    let mut agent = cluster.agent("web-01").await;
    let missing = agent.check_in(&cluster).await.unwrap();
    assert_eq!(refusal(&missing), "secret-missing");
    assert!(format!("{missing:?}").contains("db/password"));

    let file = cluster.config.tls.ca.with_file_name("secrets").join("db/password");
    let put = |value: &str| {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, value).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    put("hunter2\n");
    let first = agent.bundle(&cluster).await;
    let open = |taken: &Taken| {
        let secret = &taken.secrets[0];
        let context = SecretContext {
            cluster_id: &cluster.config.cluster_id,
            envoy_id: &agent.reply.envoy_id,
            path: "db/password",
            version: &taken.manifest.secret_refs[0].version,
        };
        protocol::secrets::open(&agent.seal_private, &context, secret).unwrap().to_vec()
    };
    assert_eq!(open(&first), b"hunter2");
    put("correct horse\n");
    let root = first.manifest.merkle_root;
    let Answer::Bundle(bundle) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    let second = agent.take(bundle);
    assert_eq!((second.manifest.merkle_root, second.manifest.seq, second.modules.len()), (root, 2, 0));
    let context = SecretContext {
        cluster_id: &cluster.config.cluster_id,
        envoy_id: &agent.reply.envoy_id,
        path: "db/password",
        version: &second.manifest.secret_refs[0].version,
    };
    let opened = protocol::secrets::open(&agent.seal_private, &context, &second.secrets[0]).unwrap();
    assert_eq!(opened.as_slice(), b"correct horse");

    let stored = everything_in(&cluster.config.database);
    assert!(stored.windows(6).any(|w| w == b"web-01"), "this is not where it would be");
    assert!(!stored.windows(7).any(|w| w == b"hunter2" || w == b"correct"));
    cluster.stop().await;
}

/// A cluster whose one secret, of one host, is given out when the gate is opened; until then its asker waits.
async fn behind_a_gate() -> (Cluster, PathBuf) {
    let cluster = Cluster::with(|c| {
        let gate = c.tls.ca.with_file_name("gate");
        let program = "touch \"$0.asked\"; while [ ! -e \"$0\" ]; do sleep 0.02; done; echo hunter2";
        let command = ["sh", "-c", program, gate.to_str().unwrap()].map(str::to_owned).to_vec();
        c.secrets = Backend::Command { command, refresh: Duration::ZERO };
    })
    .await;
    let gate = cluster.config.tls.ca.with_file_name("gate");
    (cluster, gate)
}

#[tokio::test]
async fn case_034_a_slow_secret_holds_up_nobody_but_its_asker() {
    let (cluster, gate) = behind_a_gate().await;
    let (mut slow, mut other) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    other.bundle(&cluster).await;
    cluster.policy.edit(|p| p.secrets = vec!["db/password".into()]);
    cluster.server().reload().await.unwrap();
    let signed = slow.signed(&cluster);
    let mut client = slow.client(&cluster).await.max_decoding_message_size(protocol::MAX_MESSAGE_BYTES);
    let asked = tokio::spawn(async move { client.check_in(signed).await });
    eventually(|| gate.with_extension("asked").exists()).await;

    // What others sent is stored, and so is what is known of this one.
    let counter = |name: &str| cluster.db(|conn| envoys::find(conn, name)).unwrap().unwrap().counter;
    other.report(&cluster, &report()).await.unwrap();
    eventually(|| counter("web-01") == 1 && counter("web-02") == 2).await;
    // A revocation is noticed, even of this one.
    assert!(cluster.db(|conn| envoys::revoke(conn, "web-02", 1)).unwrap());
    let gone = cluster.server().context().fleet.get(&other.reply.envoy_id).unwrap();
    eventually(|| gone.is_revoked()).await;
    assert!(!asked.is_finished(), "it was still waiting");
    std::fs::write(&gate, "").unwrap();
    assert!(matches!(asked.await.unwrap().unwrap().into_inner().answer, Some(Answer::Bundle(_))));
    cluster.stop().await;
}

fn report() -> protocol::pb::RunReport {
    protocol::pb::RunReport { run_id: uuid::Uuid::now_v7().to_string(), result_seq: 1, ..Default::default() }
}

#[tokio::test]
async fn what_a_request_under_way_at_the_end_is_told_is_stored() {
    let (mut cluster, gate) = behind_a_gate().await;
    cluster.policy.edit(|p| p.secrets = vec!["db/password".into()]);
    cluster.server().reload().await.unwrap();
    std::fs::write(&gate, "").unwrap();
    let mut agent = cluster.agent("web-01").await;
    let first = agent.bundle(&cluster).await.manifest;
    // The same content under another version: nothing of it needs a number.
    for vars in ["other", ""] {
        cluster.policy.edit(|p| p.vars = vars.into());
        cluster.server().reload().await.unwrap();
    }
    std::fs::remove_file(&gate).unwrap();
    std::fs::remove_file(gate.with_extension("asked")).unwrap();
    let signed = agent.signed(&cluster);
    let mut client = agent.client(&cluster).await;
    let asked = tokio::spawn(async move { client.check_in(signed).await });
    eventually(|| gate.with_extension("asked").exists()).await;
    let address = cluster.server().address();
    let stopping = tokio::spawn(async move {
        cluster.halt().await;
        cluster
    });
    eventually(|| std::net::TcpStream::connect(address).is_err()).await;
    std::fs::write(&gate, "").unwrap();
    let told = no_change(asked.await.unwrap().unwrap().into_inner().answer.unwrap()).policy_version;
    assert_ne!(told, first.policy_version);
    let cluster = stopping.await.unwrap();
    let row = cluster.db(|conn| envoys::find(conn, "web-01")).unwrap().unwrap();
    assert_eq!(row.policy_version, told);
}

#[tokio::test]
async fn content_that_is_back_after_an_answer_was_lost_has_a_manifest_for_its_lease() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let first = agent.bundle(&cluster).await.manifest;
    // Another one was sent and never came; then its traits were as before.
    agent.traits = traits("redhat");
    let Answer::Bundle(lost) = agent.check_in(&cluster).await.unwrap() else { panic!() };
    assert_eq!(ir::Manifest::open(&agent.trusted.key, &lost.manifest).unwrap().seq, 2);
    agent.traits = traits("debian");
    agent.asked.renew = true;
    let back = no_change(agent.check_in(&cluster).await.unwrap());
    assert_eq!(back.policy_version, first.policy_version);
    let manifest = ir::Manifest::open(&agent.trusted.key, &back.manifest.expect("a manifest")).unwrap();
    let lease = ir::Lease::open(&agent.trusted.key, &back.lease.unwrap()).unwrap();
    assert_eq!((manifest.seq, lease.seq, manifest.merkle_root), (3, 3, first.merkle_root));
    agent.asked.seq = 3;
    let renewed = no_change(agent.check_in(&cluster).await.unwrap());
    assert_eq!(renewed.manifest, None, "and then it is quiet again");
    cluster.stop().await;
}

#[tokio::test]
async fn traits_that_others_share_do_not_change_all_the_time() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    for n in 0..trait_changes::MOST {
        agent.traits = traits(&n.to_string());
        agent.bundle(&cluster).await;
    }
    let compiled = cluster.policy.compiled();
    for n in 100..110 {
        agent.traits = traits(&n.to_string());
        assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "traits-unsteady");
    }
    assert_eq!(cluster.policy.compiled(), compiled);
    agent.traits = traits("9");
    no_change(agent.check_in(&cluster).await.unwrap());
    cluster.stop().await;
}

#[tokio::test]
async fn an_envoy_that_the_database_lost_is_told_so_and_the_others_go_on() {
    let cluster = Cluster::start().await;
    let (mut lost, mut other) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    // As a restored backup from before its enrolment.
    let gone = cluster.db(|conn| conn.execute("delete from envoys where hostname = 'web-01'", &[]));
    assert_eq!(gone.unwrap(), 1);
    let (from_lost, from_other) = (lost.signed(&cluster), other.signed(&cluster));
    let (one, two) = tokio::join!(lost.send(&cluster, from_lost), other.send(&cluster, from_other));
    refused(one, tonic::Code::PermissionDenied, "unknown-envoy");
    assert!(matches!(two.unwrap().answer, Some(Answer::Bundle(_))));
    refused(lost.report(&cluster, &report()).await, tonic::Code::PermissionDenied, "unknown-envoy");
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_served_is_said() {
    let cluster = Cluster::start().await;
    let mut nobody = cluster.agent("nobody").await;
    assert_eq!(refusal(&nobody.check_in(&cluster).await.unwrap()), "no-node-entry");
    let mut agent = cluster.agent("web-01").await;
    agent.asked.ir_format = 99;
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "ir-format");
    agent.asked.ir_format = ir::IR_FORMAT;
    cluster.policy.edit(|p| {
        p.modules = (0..3).map(|i| module(&format!("m{i}"), &i.to_string().repeat(7 << 20))).collect();
    });
    cluster.server().reload().await.unwrap();
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "bundle-too-large");
    cluster.stop().await;
}

#[tokio::test]
async fn a_push_waits_until_a_bundle_was_really_sent() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let admin = Client::new(&cluster).token(&api_token(&cluster, "ann", Role::Admin).1);
    admin.post("/api/v1/envoys/web-01/push", serde_json::json!({})).await.is(202);
    let mut small = Vec::new();
    cluster.policy.edit(|p| {
        small.clone_from(&p.modules);
        p.modules = (0..3).map(|i| module(&format!("m{i}"), &i.to_string().repeat(7 << 20))).collect();
    });
    cluster.server().reload().await.unwrap();
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "bundle-too-large");
    cluster.policy.edit(|p| p.modules = small);
    cluster.server().reload().await.unwrap();
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::Bundle(_)), "not a lease alone");
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::NoChange(_)));
    cluster.stop().await;
}

#[tokio::test]
async fn case_023_an_agent_that_lies_about_its_state_hurts_itself_only() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let taken = agent.bundle(&cluster).await;
    agent.asked.state_fingerprint = vec![9; 32];
    assert_eq!(agent.bundle(&cluster).await.manifest.seq, 1);
    agent.asked.state_fingerprint = taken.manifest.merkle_root.0.to_vec();
    agent.asked.policy_version = "9.9.nonsense".into();
    assert_eq!(agent.bundle(&cluster).await.manifest.envoy_id, agent.reply.envoy_id);
    cluster.stop().await;
}

#[tokio::test]
async fn case_030_a_restored_database_follows_its_envoys() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    agent.asked.seq = 20;
    no_change(agent.check_in(&cluster).await.unwrap());
    agent.asked.seq = 30;
    agent.asked.policy_version.clear();
    agent.asked.state_fingerprint.clear();
    assert_eq!(agent.bundle(&cluster).await.manifest.seq, 31, "other content than this server's");
    agent.asked.seq = 31 + (1 << 20) + 1;
    assert_eq!(refusal(&agent.check_in(&cluster).await.unwrap()), "seq-ahead");
    agent.asked.seq = 31;
    no_change(agent.check_in(&cluster).await.unwrap());
    cluster.stop().await;
}

#[tokio::test]
async fn case_098_a_secret_goes_to_whom_the_server_lets_have_it_and_to_nobody_else() {
    let cluster = Cluster::with(|c| {
        c.secrets = Backend::Directory(c.tls.ca.with_file_name("secrets"));
        let rule = Rule { secrets: vec!["db/*".into()], envoys: vec!["db-*".into()], roles: vec![] };
        c.secret_rules = Rules(Some(vec![rule]));
    })
    .await;
    let file = cluster.config.tls.ca.with_file_name("secrets").join("db/password");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "hunter2").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (mut db, mut web) = (cluster.agent("db-01").await, cluster.agent("web-01").await);
    db.bundle(&cluster).await;
    web.bundle(&cluster).await;
    // Publishing looks where a policy names it, and at who would get it.
    cluster.policy.edit(|p| (p.secrets, p.named) = (vec!["db/password".into()], vec!["db/password".into()]));
    let reloaded = cluster.server().reload().await;
    let Ok(Reloaded::Refused { checked, .. }) = reloaded else { panic!("{reloaded:?}") };
    let said = checked.plain();
    assert!(said.contains("denied-secret") && said.contains("`web-01`") && !said.contains("db-01"), "{said}");
    no_change(web.check_in(&cluster).await.unwrap());
    // Whoever publishes all the same gives it to nobody else.
    cluster.policy.edit(|p| p.named = vec![]);
    cluster.server().reload().await.unwrap();
    assert_eq!(db.bundle(&cluster).await.secrets.len(), 1);
    let denied = web.check_in(&cluster).await.unwrap();
    assert_eq!(refusal(&denied), "secret-denied");
    assert!(!format!("{denied:?}").contains("hunter2"));
    // it goes on with what it had, and gets the next release that does not name it
    cluster.policy.edit(|p| (p.secrets, p.vars) = (vec![], "other".into()));
    cluster.server().reload().await.unwrap();
    assert!(web.bundle(&cluster).await.secrets.is_empty());
    cluster.stop().await;
}
