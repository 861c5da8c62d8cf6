//! Tasks and workflows, asked for over HTTP and by what agents say.

use crate::client::{Client, api_token, result, run, seen};
use crate::dispatch::{Stream, ended, ordered, started, state, target, uptime};
use crate::harness::*;
use protocol::pb::server_frame::What;
use protocol::pb::{Outcome, RunReport};
use runtime_server::dispatch::workflow::{self, Health, Plan, Workflow};
use runtime_server::store::api_tokens::Role;
use runtime_server::store::tasks::{NewTarget, Reach, State};
use runtime_server::store::workflows;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const KEY: &str = "0190d1f0-0000-7000-8000-0000000000aa";

#[tokio::test]
async fn what_is_asked_for_twice_with_one_key_is_made_once() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "ann", Role::Operator).1);
    seen(&client, "web-01").await;
    let keyed = client.with("idempotency-key", KEY);
    let task = |command: &str| json!({ "job": { "command": [command] }, "targets": { "all": true } });
    let made = keyed.post("/api/v1/tasks", task("uptime")).await.is(201).json();
    assert_eq!(made["id"], KEY);
    let again = keyed.post("/api/v1/tasks", task("uptime")).await.is(200).json();
    assert_eq!((&again["id"], &again["targets"]), (&made["id"], &made["targets"]));
    keyed.post("/api/v1/tasks", task("reboot")).await.problem(409, "conflict");
    let other = Client::new(&cluster).token(&api_token(&cluster, "bob", Role::Operator).1);
    let other = other.with("idempotency-key", KEY);
    other.post("/api/v1/tasks", task("uptime")).await.problem(409, "conflict");
    let odd = client.with("idempotency-key", "7");
    odd.post("/api/v1/tasks", task("uptime")).await.problem(400, "invalid-request");
    assert_eq!(client.get("/api/v1/tasks").await.json()["items"].as_array().map(Vec::len), Some(1));

    let workflow = json!({ "targets": { "all": true }, "steps": [{ "command": ["true"] }] });
    let first = keyed.post("/api/v1/workflows", workflow.clone()).await.is(201).json();
    let again = keyed.post("/api/v1/workflows", workflow).await.is(200).json();
    assert_eq!((&first["id"], &again["id"]), (&Value::from(KEY), &Value::from(KEY)));
    let other = json!({ "targets": { "all": true }, "steps": [{ "command": ["false"] }] });
    keyed.post("/api/v1/workflows", other).await.problem(409, "conflict");
    cluster.stop().await;
}

#[tokio::test]
async fn many_hosts_can_be_named_and_what_commands_wrote_is_for_operators() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "ann", Role::Operator).1);
    seen(&client, "web-01").await;
    let mut hosts: Vec<String> = (0..9_000).map(|n| format!("no-{n}")).collect();
    hosts.push("web-01".into());
    let body = json!({ "job": { "command": ["true"] }, "targets": { "hosts": hosts } });
    let made = client.post("/api/v1/tasks", body).await.is(201).json();
    assert_eq!(made["unknown"].as_array().map(Vec::len), Some(9_000));

    // A workflow is mostly written as YAML, whose lines the server never sees.
    let body = json!({ "name": "x", "steps": [{ "command": ["true"] }, { "comand": ["true"] }] });
    let said = client.post("/api/v1/workflows", body).await;
    said.problem(400, "invalid-request");
    let detail = said.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("`steps[1].comand`") && detail.contains("unknown field `comand`"), "{detail}");

    let id = made["id"].as_str().unwrap();
    let path = format!("/api/v1/tasks/{id}/output/{}", agent.reply.envoy_id);
    client.get(&path).await.is(200);
    let viewer = Client::new(&cluster).token(&api_token(&cluster, "eve", Role::Viewer).1);
    viewer.get(&path).await.problem(403, "forbidden");
    viewer.get(&format!("/api/v1/tasks/{id}")).await.is(200);
    cluster.stop().await;
}

#[tokio::test]
async fn a_query_for_what_no_host_has_is_refused_when_it_is_made() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "ann", Role::Operator).1);
    seen(&client, "web-01").await;
    let task = |traits: Value| json!({ "job": { "query": traits }, "targets": { "all": true } });
    let said = client.post("/api/v1/tasks", task(json!(["os.version", "os.famly"]))).await;
    said.problem(400, "invalid-request");
    let said = said.json();
    assert!(said["detail"].as_str().unwrap().contains("there is no trait `os.famly`"), "{said:#}");
    let found = &said["findings"]["diagnostics"][0];
    assert_eq!(
        (&found["code"], &found["span"]["start"]["line"]),
        (&"unknown-trait".into(), &2.into()),
        "{said:#}"
    );
    assert!(found["help"].as_str().unwrap().contains("did you mean `os.family`?"), "{said:#}");
    let workflow =
        json!({ "targets": { "all": true }, "steps": [{ "command": ["true"] }, { "query": ["memroy"] }] });
    let said = client.post("/api/v1/workflows", workflow).await;
    said.problem(400, "invalid-request");
    let said = said.json();
    assert!(said["detail"].as_str().unwrap().starts_with("step 2: "), "{said:#}");
    assert!(said["findings"]["rendered"].as_str().unwrap().contains("did you mean `memory`?"), "{said:#}");
    for path in ["tasks", "workflows"] {
        let made = client.get(&format!("/api/v1/{path}")).await.json();
        assert_eq!(made["items"].as_array().map(Vec::len), Some(0), "{made:#}");
    }
    // groups, parts of traits and what hosts say of their own
    let good = json!(["memory", "network.interfaces.br-lan", "custom.rack.row"]);
    client.post("/api/v1/tasks", task(good)).await.is(201);
    cluster.stop().await;
}

#[tokio::test]
async fn a_result_that_nobody_expects_is_stored_before_it_is_acknowledged() {
    let cluster = Cluster::with(|c| c.checkin.streams = 0).await;
    let mut agent = cluster.agent("web-01").await;
    let id = ordered(&cluster, &agent, &uptime()).await;
    let mut stream = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    assert_eq!(stream.task(&agent).await.task_id, id);
    stream.say(&agent, started(&id)).await;
    state(&cluster, &id, State::Running).await;
    // Another stream, at whose opening the agent does not name it.
    let mut again = Stream::open(&cluster, &mut agent, &[]).await.unwrap();
    state(&cluster, &id, State::Unknown).await;
    again.say(&agent, ended(&id, 0)).await;
    loop {
        if again.hear().await.unwrap() == Some(What::Acknowledged(id.clone())) {
            break;
        }
    }
    assert_eq!(target(&cluster, &id).await.state, State::Ok);
    cluster.stop().await;
}

/// The agent reports a whole run in which one resource ended so.
async fn report(cluster: &Cluster, agent: &mut Agent, number: u64, outcome: Outcome) {
    let report =
        RunReport { only: None, ..run(cluster, number, vec![result("nginx", "config", outcome, "")]) };
    agent.report(cluster, &report).await.unwrap();
}

#[tokio::test]
async fn a_batch_is_judged_by_what_was_said_after_it() {
    let cluster = Cluster::start().await;
    let (mut one, mut two) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    for agent in [&mut one, &mut two] {
        agent.bundle(&cluster).await;
        report(&cluster, agent, 1, Outcome::Ok).await;
    }
    cluster.advance(Duration::from_secs(10));
    let names = [(&one, "web-01"), (&two, "web-02")];
    let targets = names.map(|(agent, hostname)| NewTarget {
        envoy_id: agent.reply.envoy_id.clone(),
        hostname: hostname.into(),
        reach: Reach::Online,
    });
    let asked = Workflow {
        batch: Some("1".into()),
        health: Health::Converged,
        steps: vec![uptime()],
        ..Workflow::default()
    };
    let plan = Plan::new(asked, targets.to_vec(), vec![]).unwrap();
    let id = workflow::create(cluster.server().context(), plan, "ann".into(), None).await.unwrap().id;
    let mut stream = Stream::open(&cluster, &mut one, &[]).await.unwrap();
    let task = stream.task(&one).await.task_id;
    stream.say(&one, started(&task)).await;
    stream.say(&one, ended(&task, 0)).await;
    // It is asked for a run, and its good run of before the batch counts for nothing.
    loop {
        if stream.hear().await.unwrap() == Some(What::PolicyChanged(protocol::pb::Unit {})) {
            break;
        }
    }
    let find = || {
        let id = id.clone();
        cluster.db(|conn| workflows::find(conn, &id).unwrap().unwrap())
    };
    assert_eq!(find().state, "running");
    cluster.advance(Duration::from_secs(10));
    report(&cluster, &mut one, 2, Outcome::Failed).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while find().state == "running" {
        assert!(Instant::now() < deadline, "it is not stopped");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = find();
    assert_eq!(
        (ended.state.as_str(), ended.error.contains("after batch 1: web-01")),
        ("stopped", true),
        "{ended:?}"
    );
    assert_eq!(cluster.db(|conn| workflows::verdict(conn, &id, 0).unwrap()), Some(vec!["web-01".to_owned()]));
    cluster.stop().await;
}
