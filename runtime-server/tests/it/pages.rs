//! The dashboard's pages, as a browser would ask for them.

use crate::client::*;
use crate::harness::{Agent, Cluster};
use protocol::pb::{Outcome, RunReport};
use runtime_server::store::api_tokens::Role;
use serde_json::json;
use std::collections::BTreeMap;

/// A task with output, and a workflow, by somebody with a name that is not kind; their ids.
async fn hostile_work(cluster: &Cluster, agent: &Agent) -> (String, String) {
    use protocol::pb::{TaskEnded, TaskOutcome};
    use runtime_server::dispatch::task::{self, Job};
    use runtime_server::dispatch::workflow::{self, Plan, Workflow};
    use runtime_server::store::tasks::{self, NewTarget, PieceRow, Reach};
    let context = cluster.server().context();
    let target = NewTarget {
        envoy_id: agent.reply.envoy_id.clone(),
        hostname: "web-01".into(),
        reach: Reach::Promotable,
    };
    let job = Job { command: vec![HOSTILE.replace(['\0', '/'], "")], ..Job::default() };
    let checked = job.check().unwrap();
    let made = task::create(context, &checked, vec![target.clone()], HOSTILE.into(), None, None);
    let id = made.await.unwrap().id;
    let text = format!("first line\n{HOSTILE}");
    let (task, envoy) = (id.clone(), agent.reply.envoy_id.clone());
    cluster.db(|conn| {
        let pieces =
            [1, 2].map(|source| PieceRow { piece: source - 1, source, data: text.clone().into_bytes() });
        let ended = TaskEnded {
            task_id: task,
            outcome: TaskOutcome::TaskOk.into(),
            error: HOSTILE.into(),
            pieces: 2,
            ..TaskEnded::default()
        };
        assert!(tasks::end(conn, &envoy, &ended, &pieces, 5).unwrap());
    });
    let workflow = Workflow { name: HOSTILE.into(), steps: vec![job], ..Workflow::default() };
    let plan = Plan::new(workflow, vec![target], vec![]).unwrap();
    let row = workflow::create(context, plan, HOSTILE.into(), None).await.unwrap();
    assert!(workflow::cancel(context, &row.id, HOSTILE.into()).await.unwrap());
    (id, row.id)
}

const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{1b}[2J\u{202e}\u{9b}\0\r\n";

#[tokio::test]
async fn case_079_what_agents_wrote_stays_text_on_pages() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let entry = |text: &str| (text.into(), ir::Value::from(text));
    agent.traits = ir::Value::Map(BTreeMap::from([
        entry(HOSTILE),
        ("os".into(), ir::Value::Map(BTreeMap::from([entry(HOSTILE)]))),
    ]));
    agent.asked.agent_version = HOSTILE.into();
    agent.bundle(&cluster).await;
    let mut hostile = result(HOSTILE, HOSTILE, Outcome::Failed, HOSTILE);
    (hostile.r#type, hostile.action) = (HOSTILE.into(), HOSTILE.into());
    let report = RunReport { only: None, ..run(&cluster, 1, vec![hostile]) };
    agent.report(&cluster, &report).await.unwrap();
    let part = RunReport { only: Some(HOSTILE.into()), ..run(&cluster, 2, vec![]) };
    agent.report(&cluster, &part).await.unwrap();

    let (task, workflow) = hostile_work(&cluster, &agent).await;
    let token = api_token(&cluster, "operator", Role::Operator).1;
    let client = Client::new(&cluster).cookie(&token);
    let run_path = format!("/envoys/web-01/runs/{}", report.run_id);
    let (task_path, workflow_path) = (format!("/tasks/{task}"), format!("/workflows/{workflow}"));
    for path in [
        "/",
        "/tasks",
        "/tasks?cursor=%3Cscript%3E",
        "/tasks/%3Cscript%3E",
        task_path.as_str(),
        workflow_path.as_str(),
        "/envoys/web-01/graph",
        "/?hostname=%3Cscript%3E&range=%22%3E%3Cscript%3E",
        "/envoys/web-01",
        run_path.as_str(),
        "/releases",
        "/releases/1",
        "/envoys/%3Cscript%3Ealert(1)%3C%2Fscript%3E%1b%5b2J",
    ] {
        let said = client.get(path).await;
        assert!([200, 404].contains(&said.status), "{path} {said:?}");
        assert_eq!(said.headers["content-type"], "text/html; charset=utf-8");
        assert!(!said.body.contains("<script"), "{path}: {}", said.body);
        let unseen: Vec<char> = said.body.chars().filter(|c| *c != '\n' && ir::is_unseen(*c)).collect();
        assert!(unseen.is_empty(), "{path}: {unseen:?}");
        assert_eq!(said.headers["cache-control"], "no-store");
    }
    for path in ["/envoys/web-01", &task_path, &workflow_path, "/tasks"] {
        let page = client.get(path).await.body;
        assert!(page.contains("alert(1)"), "{path}: shown as text");
    }
    let page = client.get(&task_path).await.body;
    assert!(page.contains("first line\n") && page.contains("1 ok"), "{page}");
    let page = client.get("/envoys/web-01/graph").await.body;
    assert!(page.contains("<svg") && page.contains("nginx.file"), "{page}");

    let api = Client::new(&cluster).token(&token).get("/api/v1/envoys/web-01").await;
    assert_eq!(api.json()["results"][0]["error"].as_str().unwrap().replace('\u{fffd}', "\0"), HOSTILE);
    cluster.stop().await;
}

#[tokio::test]
async fn signing_in_gives_a_cookie_that_only_pages_take() {
    let cluster = Cluster::start().await;
    let client = Client::new(&cluster);
    let token = api_token(&cluster, "viewer", Role::Viewer).1;
    let form = |client: &Client, token: &str| {
        let client = client.with("content-type", "application/x-www-form-urlencoded");
        let body = format!("token={token}").into_bytes();
        async move { client.send("POST", "/login", Some(body)).await }
    };
    let refused = form(&client, "wrong").await;
    assert!(refused.is(401).body.contains("not known") && !refused.headers.contains_key("set-cookie"));
    form(&client.with("sec-fetch-site", "cross-site"), &token).await.problem(400, "invalid-request");
    let signed_in = form(&client.with("sec-fetch-site", "same-origin"), &token).await;
    assert_eq!((signed_in.is(303).headers["location"].as_str(), signed_in.body.as_str()), ("/", ""));
    let cookie = &signed_in.headers["set-cookie"];
    for part in ["__Host-vigo=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"));
    let inside = client.with("cookie", cookie.split(';').next().unwrap());
    assert!(inside.get("/").await.is(200).body.contains("No envoy yet"));
    let out = inside.post("/logout", json!({})).await;
    assert!(out.is(303).headers["set-cookie"].contains("Max-Age=0"));
    let style = client.get("/assets/vigo.css").await;
    assert_eq!(style.is(200).headers["content-type"], "text/css; charset=utf-8");
    cluster.stop().await;
}
