//! Publishing over the network: what is published, what is refused and why, and what is served whatever happens.

use crate::client::{Client, Said, api_token};
use crate::harness::{Agent, Cluster};
use protocol::pb::check_in_reply::Answer;
use runtime_server::publish::{Look, Outcome, PublishError, Wish};
use runtime_server::store::api_tokens::Role;
use runtime_server::store::releases::{self, NewRelease};
use runtime_server::tree::Tree;
use serde_json::{Value, json};
use std::time::Duration;

/// A policy of one module with this content; see `MemoryPolicy`.
fn policy(text: &str) -> Value {
    json!({ "files": [{ "path": "a.vgo", "text": text }] })
}

fn tree(text: &str) -> Tree {
    Tree::sent([("a.vgo".to_owned(), text.as_bytes().to_vec())]).unwrap()
}

fn with(mut body: Value, key: &str, value: impl Into<Value>) -> Value {
    body[key] = value.into();
    body
}

async fn publish(client: &Client, body: Value) -> Said {
    client.post("/api/v1/releases", body).await
}

async fn served(client: &Client) -> Value {
    client.get("/api/v1/publishing").await.is(200).json()["served"].clone()
}

/// A cluster with its first release, an admin, and an agent that follows it.
async fn start() -> (Cluster, Client, Agent) {
    let cluster = Cluster::start().await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "ann", Role::Admin).1);
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    (cluster, client, agent)
}

#[tokio::test]
async fn a_release_is_planned_published_and_gone_back_from() {
    let (cluster, client, mut agent) = start().await;
    let first = agent.asked.state_fingerprint.clone();
    let mut second = cluster.agent("web-02").await;
    second.bundle(&cluster).await;

    let asked = with(policy("one\ntwo\n"), "message", "two lines");
    let planned = publish(&client, with(asked.clone(), "dry_run", true)).await.is(200).json();
    assert_eq!((&planned["outcome"], &planned["serial"]), (&json!("planned"), &Value::Null));
    let plan = &planned["plan"];
    assert_eq!(
        (&plan["base"], &plan["reach"]["changed"], &plan["reach"]["envoys"]),
        (&json!(1), &json!(2), &json!(2))
    );
    assert_eq!(served(&client).await, 1);
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::NoChange(_)));

    let exactly = with(asked.clone(), "plan_digest", plan["plan_digest"].clone());
    let done = publish(&client, exactly).await.is(200).json();
    assert_eq!((&done["outcome"], &done["serial"], &done["plan"]), (&json!("published"), &json!(2), plan));
    let Answer::Bundle(bundle) = agent.check_in(&cluster).await.unwrap() else { panic!("no bundle") };
    let taken = agent.take(bundle);
    assert_eq!(taken.manifest.release_serial, 2);
    let again = publish(&client, asked).await.is(200).json();
    assert_eq!((&again["outcome"], &again["serial"]), (&json!("unchanged"), &json!(2)));

    let release = client.get("/api/v1/releases/2").await.is(200).json();
    assert!(release["author"].as_str().unwrap().ends_with("(ann)"), "{release}");
    assert_eq!((&release["message"], &release["served"]), (&json!("two lines"), &json!(true)));
    let changes: Vec<String> = release["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{} {}", c["change"].as_str().unwrap(), c["path"].as_str().unwrap()))
        .collect();
    assert_eq!(changes, ["added a.vgo", "removed memory.vgo"]);
    assert_eq!(release["reach"]["changed"], 2);
    let diff = client.get("/api/v1/releases/2/diff").await.is(200).json();
    assert!(diff["text"].as_str().unwrap().contains("+++ b/a.vgo\n"), "{diff}");
    let back = client.get("/api/v1/releases/1/diff?from=2").await.is(200).json();
    assert!(back["text"].as_str().unwrap().contains("-two\n"), "{back}");
    client.get("/api/v1/releases/9").await.problem(404, "not-found");
    client.get("/api/v1/releases/2/diff?from=9").await.problem(404, "not-found");
    client.post("/api/v1/releases/9/rollback", json!({})).await.problem(404, "not-found");

    let back = client.post("/api/v1/releases/1/rollback", json!({ "message": "it broke" })).await;
    let back = back.is(200).json();
    assert_eq!((&back["outcome"], &back["serial"]), (&json!("published"), &json!(3)));
    let Answer::Bundle(bundle) = agent.check_in(&cluster).await.unwrap() else { panic!("no bundle") };
    assert_eq!(agent.take(bundle).manifest.merkle_root.0.to_vec(), first, "the old root under a new serial");
    let release = client.get("/api/v1/releases/3").await.json();
    assert_eq!(
        (&release["rolled_back_from"], &release["digest"]),
        (&json!(1), &client.get("/api/v1/releases/1").await.json()["digest"])
    );
    let audit = client.get("/api/v1/audit").await.json();
    let entries: Vec<String> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            format!(
                "{} {} {}",
                e["action"].as_str().unwrap(),
                e["subject"].as_str().unwrap(),
                e["details"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        entries,
        [
            "release.rollback 3 to the policy of 1; it broke",
            "release.publish 2 two lines",
            "release.publish 1 "
        ]
    );
    cluster.stop().await;
}

#[tokio::test]
async fn going_back_holds_over_a_restart_until_the_directory_changes() {
    let (mut cluster, client, _) = start().await;
    cluster.policy.edit(|p| p.vars = "second".into());
    cluster.server().reload().await.unwrap();
    assert_eq!(served(&client).await, 2);
    client.post("/api/v1/releases/1/rollback", json!({})).await.is(200);
    let look = || cluster.server().context().reload(Look::Changed);
    look().await.unwrap();
    look().await.unwrap();
    let serial = |cluster: &Cluster| cluster.server().context().catalog.release().unwrap().serial;
    assert_eq!(serial(&cluster), 3, "the directory did not change since");
    cluster.restart().await;
    assert_eq!(serial(&cluster), 3, "nor while the server was down");
    cluster.policy.edit(|p| p.vars = "third".into());
    cluster.server().context().reload(Look::Changed).await.unwrap();
    assert_eq!(serial(&cluster), 4);
    cluster.stop().await;
}

#[tokio::test]
async fn what_was_published_over_the_network_is_served_after_a_restart() {
    let (mut cluster, client, mut agent) = start().await;
    publish(&client, policy("network")).await.is(200);
    let Answer::Bundle(bundle) = agent.check_in(&cluster).await.unwrap() else { panic!("no bundle") };
    let root = agent.take(bundle).manifest.merkle_root;
    cluster.restart().await;
    let context = cluster.server().context();
    let release = context.catalog.release().unwrap();
    assert_eq!((release.serial, release.digest), (2, tree("network").digest()));
    let other = cluster.agent("web-02").await;
    let mut other = other;
    assert_eq!(other.bundle(&cluster).await.manifest.merkle_root, root);
    cluster.stop().await;
}

#[tokio::test]
async fn a_plan_that_was_looked_at_is_the_one_that_is_carried_out() {
    let (cluster, client, _agent) = start().await;
    let plan = async |text: &str| -> Value {
        let planned = publish(&client, with(policy(text), "dry_run", true)).await.is(200).json();
        planned["plan"]["plan_digest"].clone()
    };
    // The fleet has changed since.
    let seen = plan("new").await;
    let mut second = cluster.agent("web-02").await;
    second.bundle(&cluster).await;
    let body = with(policy("new"), "plan_digest", seen.clone());
    publish(&client, body).await.problem(409, "plan-changed");
    assert_ne!(plan("new").await, seen);
    // So has the policy.
    let seen = plan("new").await;
    publish(&client, with(policy("newer"), "plan_digest", seen.clone())).await.problem(409, "plan-changed");
    // And now the release before it.
    publish(&client, policy("other")).await.is(200);
    publish(&client, with(policy("new"), "plan_digest", seen)).await.problem(409, "plan-changed");
    assert_eq!(served(&client).await, 2);
    let seen = plan("new").await;
    publish(&client, with(policy("new"), "plan_digest", seen)).await.is(200);
    assert_eq!(served(&client).await, 3);
    cluster.stop().await;
}

#[tokio::test]
async fn of_many_who_publish_at_once_one_wins_and_the_others_are_told() {
    let (cluster, client, _agent) = start().await;
    let wishes: Vec<_> = (0..8)
        .map(|n| {
            let wish = Wish { base: Some(1), author: format!("no {n}"), ..Wish::new(tree(&n.to_string())) };
            let context = cluster.server().context().clone();
            tokio::spawn(async move { context.publish(wish).await })
        })
        .collect();
    let (mut won, mut told) = (0, 0);
    for wish in wishes {
        match wish.await.unwrap() {
            Ok(Outcome::Published { serial, .. }) => (won, _) = (won + 1, assert_eq!(serial, 2)),
            Err(PublishError::Moved { serial, author }) => {
                told += 1;
                assert!(serial == 2 && author.starts_with("no "), "{serial} {author}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((won, told), (1, 7));
    assert_eq!(served(&client).await, 2);
    cluster.stop().await;
}

#[tokio::test]
async fn while_publishing_is_frozen_nothing_is_and_everybody_is_told_why() {
    let (cluster, client, _agent) = start().await;
    let operator = Client::new(&cluster).token(&api_token(&cluster, "bob", Role::Operator).1);
    publish(&operator, policy("before")).await.is(200);
    let metric = async |line: &str| client.get("/metrics").await.body_has(line);
    assert!(metric("vigo_publish_frozen 0").await);
    for wrong in [
        json!({}),
        json!({ "until": 5 }),
        json!({ "duration": "soon" }),
        json!({ "duration": "9999d" }),
        json!({ "duration": "1h", "until": 5 }),
        json!({ "duration": "1h", "reason": "\u{1b}[2J" }),
    ] {
        operator.post("/api/v1/publishing/freeze", wrong).await.problem(400, "invalid-request");
    }
    operator
        .post("/api/v1/publishing/freeze", json!({ "duration": "3d", "reason": "holidays" }))
        .await
        .is(200);
    assert!(metric("vigo_publish_frozen 1").await);
    let ready = Client::new(&cluster).get("/readyz").await.is(200).json();
    assert_eq!(ready["reasons"], json!(["publish-frozen"]));

    let refused = publish(&operator, policy("during")).await;
    refused.problem(409, "frozen");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("(bob)") && detail.contains("holidays") && detail.contains("UTC"), "{detail}");
    publish(&operator, with(policy("during"), "dry_run", true)).await.is(200);
    operator.post("/api/v1/releases/1/rollback", json!({})).await.problem(409, "frozen");
    let forced = json!({ "force": true });
    operator.post("/api/v1/releases/1/rollback", forced.clone()).await.problem(403, "forbidden");
    cluster.policy.edit(|p| p.vars = "during".into());
    let looked = cluster.server().context().reload(Look::Changed).await;
    assert!(matches!(looked, Err(PublishError::Frozen(_))), "{looked:?}");
    assert_eq!(served(&client).await, 2);
    client.post("/api/v1/releases/1/rollback", forced).await.is(200);
    assert_eq!(served(&client).await, 3);

    operator.post("/api/v1/publishing/unfreeze", json!({})).await.is(200);
    cluster.server().context().reload(Look::Changed).await.unwrap();
    assert_eq!(served(&client).await, 4, "what waited in the directory");
    // By itself it ends, too.
    operator.post("/api/v1/publishing/freeze", json!({ "duration": "1h" })).await.is(200);
    cluster.advance(Duration::from_secs(3599));
    publish(&client, policy("late")).await.problem(409, "frozen");
    cluster.advance(Duration::from_secs(2));
    let late = Client::new(&cluster).token(&api_token(&cluster, "late", Role::Operator).1);
    publish(&late, policy("late")).await.is(200);
    cluster.stop().await;
}

#[tokio::test]
async fn what_has_errors_is_refused_and_said_wherever_somebody_looks() {
    let (cluster, client, mut agent) = start().await;
    let viewer = Client::new(&cluster).token(&api_token(&cluster, "eve", Role::Viewer).1);
    publish(&viewer, policy("fine")).await.problem(403, "forbidden");
    let refused = publish(&client, with(policy("an error"), "dry_run", true)).await;
    refused.problem(422, "policy-refused");
    assert_eq!(client.get("/api/v1/publishing").await.json()["refused"], Value::Null, "only looked at");

    let refused = publish(&client, policy("an error")).await;
    refused.problem(422, "policy-refused");
    assert_eq!(refused.json()["findings"]["rendered"], "a made-up error");
    assert_eq!(served(&client).await, 1);
    let state = viewer.get("/api/v1/publishing").await.json();
    assert_eq!(state["refused"]["findings"], "a made-up error");
    assert!(state["refused"]["author"].as_str().unwrap().ends_with("(ann)"));
    let everybody = Client::new(&cluster).get("/readyz").await.is(200).json();
    assert_eq!(everybody, json!({ "ready": true, "reasons": ["publish-refused"] }));
    let somebody = viewer.get("/readyz").await.is(200).json();
    assert_eq!(somebody["refused"]["findings"], "a made-up error");
    assert!(viewer.get("/metrics").await.body_has("vigo_publish_refused 1"));
    let page =
        Client::new(&cluster).cookie(&api_token(&cluster, "eve", Role::Viewer).1).get("/releases").await;
    assert!(page.body_has("a made-up error"));
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::NoChange(_)));

    let missing = publish(&client, policy("secret:web/db")).await;
    missing.problem(422, "policy-refused");
    let finding = &missing.json()["findings"]["diagnostics"][0];
    assert_eq!((&finding["code"], &finding["file"]), (&json!("missing-secret"), &json!("a.vgo")));
    assert!(finding["message"].as_str().unwrap().contains("`web/db`"), "{finding}");

    publish(&client, policy("fine")).await.is(200);
    assert_eq!(client.get("/api/v1/publishing").await.json()["refused"], Value::Null);
    assert!(viewer.get("/metrics").await.body_has("vigo_publish_refused 0"));
    cluster.stop().await;
}

#[tokio::test]
async fn hostile_uploads_publish_nothing() {
    let (cluster, client, _agent) = start().await;
    let file =
        |path: &str| json!({ "files": [{ "path": "a.vgo", "text": "" }, { "path": path, "text": "" }] });
    for body in [
        file("../a.vgo"),
        file("/a.vgo"),
        file("modules/../../a.vgo"),
        file("a\u{0}.vgo"),
        file("a.vgo"),
        file("A.vgo"),
        file("a.vgo/b.vgo"),
        file("notes.txt"),
        json!({ "files": [] }),
        json!({}),
        json!({ "files": "a.vgo" }),
        json!({ "files": [{ "path": "a.vgo" }] }),
        json!({ "files": [{ "path": "a.vgo", "text": "", "base64": "" }] }),
        json!({ "files": [{ "path": "a.vgo", "base64": "%%%" }] }),
        json!({ "files": [{ "path": "a.vgo", "text": "", "mode": "0777" }] }),
        with(policy("x"), "dryrun", true),
        with(policy("x"), "message", "\u{1b}]0;x\u{7}"),
        with(policy("x"), "message", "x".repeat(2000)),
    ] {
        publish(&client, body).await.problem(400, "invalid-request");
    }
    let json = client.send("POST", "/api/v1/releases", Some(b"{\"files\": [".to_vec())).await;
    json.problem(400, "invalid-request");
    let large = client.send("POST", "/api/v1/releases", Some(vec![b' '; (96 << 20) + 1])).await;
    large.problem(413, "too-large");
    // What is no text comes back as it was.
    let binary = json!({ "files": [
        { "path": "a.vgo", "text": "x" }, { "path": "templates/logo", "base64": "//4A" },
    ] });
    publish(&client, binary).await.is(200);
    let stored = cluster.db(|conn| releases::tree(conn, 2).unwrap());
    assert_eq!(stored[1], ("templates/logo".to_owned(), vec![0xff, 0xfe, 0]));
    assert_eq!(served(&client).await, 2);
    cluster.stop().await;
}

/// Gives a part of a body, and then breaks off.
struct Cut(Vec<u8>);

impl std::io::Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() {
            return Err(std::io::Error::other("cut"));
        }
        let n = buffer.len().min(self.0.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0.drain(..n);
        Ok(n)
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_off_publishes_nothing() {
    let (cluster, client, _agent) = start().await;
    let (_, token) = api_token(&cluster, "ann", Role::Operator);
    let whole = policy("whole").to_string().into_bytes();
    for cut in [1, whole.len() / 2, whole.len()] {
        let part = Cut(whole[..cut].to_vec());
        let request = client
            .agent
            .post(format!("{}/api/v1/releases", client.server))
            .header("authorization", format!("Bearer {token}"))
            .content_type("application/json");
        let sent = tokio::task::spawn_blocking(move || {
            request.send(ureq::SendBody::from_owned_reader(part)).map(|r| r.status().as_u16())
        });
        assert!(sent.await.unwrap().is_err(), "{cut}");
    }
    assert_eq!(served(&client).await, 1);
    publish(&client, policy("whole")).await.is(200);
    assert_eq!(served(&client).await, 2);
    cluster.stop().await;
}

#[tokio::test]
async fn a_database_that_takes_nothing_leaves_the_old_release() {
    let (cluster, client, mut agent) = start().await;
    cluster.db(|conn| {
        let statements: &[&str] = if conn.is_shared() {
            &[
                "create function full_disk() returns trigger language plpgsql as \
                 'begin raise exception ''no space left''; end'",
                "create trigger full_disk before insert on release_files for each row execute function full_disk()",
            ]
        } else {
            &["create trigger full_disk before insert on release_files \
               begin select raise(abort, 'database or disk is full'); end"]
        };
        for statement in statements {
            conn.execute(statement, &[]).unwrap();
        }
    });
    let refused = publish(&client, policy("new")).await;
    refused.problem(503, "not-stored");
    assert!(!refused.body_has("full") && refused.body_has("what was served is still served"));
    assert_eq!(served(&client).await, 1);
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::NoChange(_)));
    let entries = client.get("/api/v1/audit").await.json()["items"].as_array().unwrap().len();
    assert_eq!(entries, 1, "no release, no entry");
    cluster.db(|conn| {
        let drop = if conn.is_shared() {
            "drop trigger full_disk on release_files"
        } else {
            "drop trigger full_disk"
        };
        conn.execute(drop, &[]).unwrap();
    });
    publish(&client, policy("new")).await.is(200);
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::Bundle(_)));
    cluster.stop().await;
}

/// What a server leaves that dies between storing a release and serving it, and what another server of the cluster makes.
#[tokio::test]
async fn a_release_that_is_only_stored_is_served() {
    let (mut cluster, client, mut agent) = start().await;
    let store = |cluster: &Cluster, text: &str, base: u64| {
        let tree = tree(text);
        let release =
            NewRelease { digest: tree.digest(), files: tree.bytes().unwrap(), ..NewRelease::default() };
        let now = cluster.now();
        cluster.db(|conn| releases::publish(conn, &release, base, false, now).unwrap().unwrap())
    };
    assert_eq!(store(&cluster, "another server's", 1), 2);
    for _ in 0..200 {
        if served(&client).await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(served(&client).await, 2);
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::Bundle(_)));
    store(&cluster, "the last thing before the power went", 2);
    cluster.restart().await;
    assert_eq!(cluster.server().context().catalog.release().unwrap().serial, 3);
    cluster.stop().await;
}

#[tokio::test]
async fn case_062_a_damaged_release_is_not_served_and_can_be_mended() {
    let (mut cluster, client, _agent) = start().await;
    publish(&client, policy("good")).await.is(200);
    cluster.db(|conn| {
        let edit =
            "update blobs set bytes = $1 where hash in (select hash from release_files where serial = 2)";
        let evil = runtime_server::store::value::Param::Bytes(b"evil");
        conn.execute(edit, &[evil]).unwrap()
    });
    cluster.restart().await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "ann", Role::Admin).1);
    assert_eq!(served(&client).await, Value::Null, "nor is an older one that lies in the directory");
    publish(&client, policy("good")).await.is(200);
    assert_eq!(served(&client).await, 2, "the same policy once more");
    cluster.stop().await;
}

#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "the compiler is to be slow for as long as the test wants")]
async fn check_ins_are_answered_while_a_policy_is_compiled() {
    let (cluster, client, mut agent) = start().await;
    let slow = cluster.policy.hold();
    let context = cluster.server().context().clone();
    let publishing = tokio::spawn(async move { context.publish(Wish::new(tree("slow"))).await });
    for _ in 0..5 {
        assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::NoChange(_)));
    }
    let mut other = cluster.agent("web-02").await;
    assert_eq!(
        other.bundle(&cluster).await.manifest.release_serial,
        1,
        "also a host that was not seen before"
    );
    assert!(!publishing.is_finished());
    drop(slow);
    assert!(matches!(publishing.await.unwrap(), Ok(Outcome::Published { serial: 2, .. })));
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::Bundle(_)));
    assert_eq!(served(&client).await, 2);
    cluster.stop().await;
}
