//! The HTTPS side, over real TLS: who may do what, what is answered, and what nobody gets to see.

use crate::access::{method, with_secrets};
use crate::client::*;
use crate::harness::{Agent, Cluster};
use protocol::pb::check_in_reply::Answer;
use protocol::pb::{Outcome, RunReport};
use runtime_server::http::route::{Method, ROUTES};
use runtime_server::store::api_tokens::Role;
use runtime_server::testing::with;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn what_is_answered_is_what_the_document_says() {
    let cluster = Cluster::with(with_secrets).await;
    let results = vec![
        result("base", "etc", Outcome::Ok, ""),
        result("nginx", "conf", Outcome::Changed, ""),
        result("nginx", "reload", Outcome::Failed, "exit code 1"),
    ];
    let (_agent, run) = envoy(&cluster, "web-01", results).await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "admin", Role::Admin).1);
    seen(&client, "web-01").await;
    client.post("/api/v1/tokens", json!({})).await.is(201);
    let query = json!({ "job": { "query": [] }, "targets": { "all": true } });
    let steps = json!({ "targets": { "all": true }, "steps": [{ "query": [] }] });
    let made = |said: Said| said.json()["id"].as_str().unwrap().to_owned();
    let task = made(client.post("/api/v1/tasks", query.clone()).await);
    let workflow = made(client.post("/api/v1/workflows", steps.clone()).await);
    let document = client.get("/api/v1/openapi.json").await.json();
    let check = |pointer: &str, body: &Value| {
        let mut schema = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).clone();
        if !schema.is_object() {
            // Anything goes: the document itself.
            return;
        }
        schema["components"] = document["components"].clone();
        let errors: Vec<String> = jsonschema::validator_for(&schema)
            .unwrap()
            .iter_errors(body)
            .map(|e| format!("{e} at {}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{pointer}: {errors:?} in {body}");
    };
    for route in ROUTES.iter().filter(|r| r.doc.is_some_and(|d| d.answer.1.is_some())) {
        let (doc, pointed) = (route.doc.unwrap(), route.path.replace('/', "~1"));
        let asked = route.path.replace("{envoy}", "web-01").replace("{run}", &run);
        let asked = asked.replace("{task}", &task).replace("{workflow}", &workflow).replace("{serial}", "1");
        let said = match (route.method, doc.id) {
            (Method::Get, _) => client.get(&asked).await,
            (_, "createToken") => client.post(&asked, json!({ "ttl": "5m", "hostname": "a*" })).await,
            (_, "createApiToken") => client.post(&asked, json!({ "name": "x", "role": "viewer" })).await,
            (_, "revokeToken") => {
                let id = client.post("/api/v1/tokens", json!({})).await.json()["id"].clone();
                client.post(&asked.replace("{id}", id.as_str().unwrap()), json!({})).await
            }
            (_, "revokeApiToken") => {
                let id = api_token(&cluster, "y", Role::Viewer).0;
                client.post(&asked.replace("{id}", &id), json!({})).await
            }
            (_, "publish") => {
                let files = json!([{ "path": "a.vgo", "text": "x" }]);
                client.post(&asked, json!({ "files": files, "dry_run": true })).await
            }
            (_, "freeze") => client.post(&asked, json!({ "duration": "1h" })).await,
            (_, "setSecret") => client.post(&asked, json!({ "path": "a", "value_base64": "eA==" })).await,
            (_, "removeSecret") => client.post(&asked, json!({ "path": "a" })).await,
            (_, "createTask") => client.post(&asked, query.clone()).await,
            (_, "createWorkflow") => client.post(&asked, steps.clone()).await,
            // Later, when nobody needs it any more.
            (_, "revokeEnvoy") => continue,
            _ => client.post(&asked, json!({})).await,
        };
        said.is(doc.status);
        assert_eq!(said.headers["content-type"], "application/json");
        let answer = format!(
            "/paths/{pointed}/{}/responses/{}/content/application~1json/schema",
            method(route).to_lowercase(),
            doc.status
        );
        check(&answer, &said.json());
    }
    let revoked = client.post("/api/v1/envoys/web-01/revoke", json!({})).await;
    check(
        "/paths/~1api~1v1~1envoys~1{envoy}~1revoke/post/responses/200/content/application~1json/schema",
        &revoked.json(),
    );
    let problem = client.get("/api/v1/envoys/web-01").await;
    problem.problem(404, "not-found");
    check("/components/schemas/Problem", &problem.json());
    cluster.stop().await;
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    let cluster = Cluster::start().await;
    let mut agents = Vec::new();
    for n in 1..=5 {
        agents.push(envoy(&cluster, &format!("web-{n:02}"), fine()).await);
    }
    let failed = vec![result("nginx", "conf", Outcome::Failed, "no space left")];
    agents.push(envoy(&cluster, "db-01", failed).await);
    let client = Client::new(&cluster).token(&api_token(&cluster, "viewer", Role::Viewer).1);
    for host in ["db-01", "web-05"] {
        seen(&client, host).await;
    }
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|e| e["hostname"].as_str().unwrap().to_owned()).collect()
    };
    let mut all = Vec::new();
    let mut path = "/api/v1/envoys?limit=2".to_owned();
    loop {
        let page = client.get(&path).await.is(200).json();
        all.extend(names(&page));
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/envoys?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(all, ["db-01", "web-01", "web-02", "web-03", "web-04", "web-05"]);
    for (filter, expected) in [
        ("hostname=web-0%3F", 5),
        ("hostname=WEB-01", 1),
        ("health=failed", 1),
        ("health=converged&drift=none&reachability=online&compliance=compliant", 5),
        ("module=nginx", 6),
        ("module=none", 0),
        ("environment=production", 0),
        ("compliance=unknown", 0),
    ] {
        let page = client.get(&format!("/api/v1/envoys?{filter}")).await.is(200).json();
        assert_eq!(names(&page).len(), expected, "{filter} {page}");
    }
    let mut runs = Vec::new();
    let mut path = "/api/v1/runs?limit=4".to_owned();
    loop {
        let page = client.get(&path).await.is(200).json();
        runs.extend(names(&page));
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/runs?limit=4&cursor={next}"),
            None => break,
        }
    }
    runs.sort();
    assert_eq!(runs, all);
    assert_eq!(names(&client.get("/api/v1/runs?outcome=failed").await.json()), ["db-01"]);
    assert_eq!(names(&client.get("/api/v1/runs?envoy=web-03").await.json()), ["web-03"]);

    for wrong in ["limit=0", "limit=1001", "limit=x", "health=great", "healht=failed"] {
        client.get(&format!("/api/v1/envoys?{wrong}")).await.problem(400, "invalid-request");
    }
    client.get("/api/v1/runs?cursor=x").await.problem(400, "invalid-request");
    client.get("/api/v1/releases?cursor=-1").await.problem(400, "invalid-request");
    client.get("/api/v1/runs?envoy=nobody").await.problem(404, "not-found");

    let compliance = client.get("/api/v1/compliance").await.json();
    assert_eq!((&compliance["fleet"]["active"], &compliance["fleet"]["compliant"]), (&json!(6), &json!(5)));
    let nginx = compliance["modules"].as_array().unwrap().iter().find(|m| m["name"] == "nginx").unwrap();
    assert_eq!((&nginx["active"], &nginx["non_compliant"]), (&json!(6), &json!(1)));
    cluster.stop().await;
}

#[tokio::test]
async fn case_100_a_silent_envoy_is_unknown_and_never_compliant() {
    let cluster = Cluster::start().await;
    let (mut agent, _) = envoy(&cluster, "web-01", fine()).await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "viewer", Role::Viewer).1);
    seen(&client, "web-01").await;
    let state = || async {
        let e = client.get("/api/v1/envoys/web-01").await.json();
        let fleet = client.get("/api/v1/compliance").await.json()["fleet"].clone();
        (e["compliance"].as_str().unwrap().to_owned(), e["reachability"].as_str().unwrap().to_owned(), fleet)
    };
    assert_eq!(state().await.0, "compliant");
    cluster.advance(Duration::from_secs(500));
    assert_eq!(state().await.1, "late");
    cluster.advance(Duration::from_secs(300));
    let (compliance, reachability, fleet) = state().await;
    assert_eq!((compliance.as_str(), reachability.as_str()), ("unknown", "offline"));
    assert_eq!(
        (&fleet["unknown"], &fleet["compliant"], &fleet["ratio"]),
        (&json!(1), &json!(0), &json!(0.0))
    );
    // It asks again, and tells nothing.
    agent.check_in(&cluster).await.unwrap();
    for _ in 0..200 {
        if state().await.1 == "online" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (compliance, reachability, _) = state().await;
    assert_eq!((compliance.as_str(), reachability.as_str()), ("unknown", "online"));
    agent.report(&cluster, &run(&cluster, 2, fine())).await.unwrap();
    assert_eq!(state().await.0, "compliant");
    cluster.stop().await;
}

#[tokio::test]
async fn tokens_of_the_api_let_hosts_in_and_every_change_is_written_down() {
    let cluster = Cluster::start().await;
    let admin = Client::new(&cluster).token(&api_token(&cluster, "ann", Role::Admin).1);
    let made = admin.post("/api/v1/tokens", json!({ "hostname": "web-*", "ttl": "15m" })).await;
    let made = made.is(201).json();
    assert_eq!(made["ca_hash"], cluster.server().ca_hash().to_string());
    let token = made["token"].as_str().unwrap();
    let mut agent = Agent::enrol(&cluster, token, "web-01").await.unwrap();
    agent.bundle(&cluster).await;
    let id = made["id"].as_str().unwrap();
    admin.post(&format!("/api/v1/tokens/{id}/revoke"), json!({})).await.problem(404, "not-found");
    let listed = admin.get("/api/v1/tokens").await;
    assert!(!listed.body.contains(token));
    let listed = listed.json();
    let entry = listed["items"].as_array().unwrap().iter().find(|t| t["id"] == id).unwrap().clone();
    assert_eq!((&entry["state"], &entry["used_by"]), (&json!("used"), &json!(agent.reply.envoy_id)));

    // A pushed envoy gets its bundle once more, though nothing changed.
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::NoChange(_)));
    admin.post("/api/v1/envoys/web-01/push", json!({})).await.is(202);
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::Bundle(_)));
    assert!(matches!(agent.check_in(&cluster).await.unwrap(), Answer::NoChange(_)));

    // A revoked one is turned away at once.
    admin.post("/api/v1/envoys/WEB-01/revoke", json!({})).await.is(200);
    crate::harness::refused(agent.check_in(&cluster).await, tonic::Code::PermissionDenied, "revoked");
    admin.post("/api/v1/envoys/web-01/revoke", json!({})).await.problem(404, "not-found");

    let second =
        admin.post("/api/v1/api-tokens", json!({ "name": "bob", "role": "viewer", "ttl": "1d" })).await;
    let second = second.is(201).json();
    let bob = Client::new(&cluster).token(second["token"].as_str().unwrap());
    bob.get("/api/v1/envoys").await.is(200);
    bob.post("/api/v1/tokens", json!({})).await.problem(403, "forbidden");
    let id = second["id"].as_str().unwrap();
    admin.post(&format!("/api/v1/api-tokens/{id}/revoke"), json!({})).await.is(200);
    bob.get("/api/v1/envoys").await.problem(401, "unauthenticated");

    let audit = admin.get("/api/v1/audit?limit=3").await.is(200).json();
    let more = admin.get(&format!("/api/v1/audit?cursor={}", audit["next"].as_str().unwrap())).await.json();
    let entries: Vec<Value> =
        [audit, more].iter().flat_map(|p| p["items"].as_array().unwrap().clone()).collect();
    let actions: Vec<&str> = entries.iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "api-token.revoke",
            "api-token.create",
            "envoy.revoke",
            "envoy.push",
            "token.create",
            "release.publish"
        ]
    );
    assert_eq!(entries[5]["actor"], "policy.dir");
    assert!(entries[..5].iter().all(|e| e["actor"].as_str().unwrap().ends_with("(ann)")), "{entries:?}");
    assert!(!format!("{entries:?}").contains(token), "no token is written down");
    let verdict = admin.get("/api/v1/audit/verify").await.json();
    assert_eq!((&verdict["valid"], &verdict["entries"]), (&json!(true), &json!(6)));
    with(&cluster.config.database, |conn| {
        conn.execute("update audit set subject = 'web-99' where seq = 3", &[]).unwrap()
    });
    let verdict = admin.get("/api/v1/audit/verify").await.json();
    assert_eq!((&verdict["valid"], &verdict["broken_at"]), (&json!(false), &json!(3)));
    cluster.stop().await;
}

#[tokio::test]
async fn case_069_requests_that_are_not_understood_are_refused_with_reasons() {
    let cluster = Cluster::start().await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "admin", Role::Admin).1);
    client.get("/api/v1/nothing").await.problem(404, "not-found");
    client.send("DELETE", "/api/v1/envoys", None).await.problem(405, "method-not-allowed");
    client.post("/api/v1/tokens", json!({ "ttl": "soon" })).await.problem(400, "invalid-request");
    client.post("/api/v1/tokens", json!({ "ttl": "9999d" })).await.problem(400, "invalid-request");
    client.post("/api/v1/tokens", json!({ "hostname": "a b" })).await.problem(400, "invalid-request");
    client.post("/api/v1/tokens", json!({ "hostnam": "a" })).await.problem(400, "invalid-request");
    client
        .post("/api/v1/api-tokens", json!({ "name": "a\u{202e}", "role": "admin" }))
        .await
        .problem(400, "invalid-request");
    client
        .post("/api/v1/api-tokens", json!({ "name": "a", "role": "root" }))
        .await
        .problem(400, "invalid-request");
    let text = client.with("content-type", "text/plain");
    text.send("POST", "/api/v1/tokens", Some(b"{}".to_vec())).await.problem(400, "invalid-request");
    let json = client.with("content-type", "application/json; charset=utf-8");
    json.send("POST", "/api/v1/tokens", Some(b"{".to_vec())).await.problem(400, "invalid-request");
    json.send("POST", "/api/v1/tokens", Some(vec![b' '; 100_000])).await.problem(413, "too-large");
    client.get("/api/v1/envoys/%ff").await.problem(400, "invalid-request");
    // case 69: what is packed is not unpacked, neither here nor on the way to whoever reads the body
    let packed = json.with("content-encoding", "gzip");
    let bomb = crate::limits::bomb(9 << 20);
    assert!(bomb.len() < 64 << 10);
    for body in [bomb, b"{}".to_vec()] {
        packed.send("POST", "/api/v1/tokens", Some(body)).await.problem(415, "packed");
    }
    json.with("content-encoding", "identity")
        .send("POST", "/api/v1/tokens", Some(b"{}".to_vec()))
        .await
        .is(201);
    client.get("/api/v1/envoys/a%00b").await.problem(404, "not-found");
    cluster.stop().await;
}

#[tokio::test]
async fn probes_say_what_is_wrong_and_keep_serving() {
    let cluster = Cluster::start().await;
    let client = Client::new(&cluster);
    assert_eq!(client.get("/healthz").await.is(200).body, "ok\n");
    assert_eq!(client.get("/readyz").await.is(200).json(), json!({ "ready": true, "reasons": [] }));
    cluster.policy.edit(|p| p.errors = 1);
    cluster.server().reload().await.unwrap();
    let said = client.get("/readyz").await.is(200).json();
    assert_eq!(said, json!({ "ready": true, "reasons": ["publish-refused"] }));
    cluster.policy.edit(|p| (p.errors, p.vars) = (0, "new".into()));
    cluster.server().reload().await.unwrap();
    assert_eq!(client.get("/readyz").await.json()["reasons"], json!([]));
    assert_eq!(client.get("/version").await.json()["version"], env!("CARGO_PKG_VERSION"));
    let releases = client.token(&api_token(&cluster, "viewer", Role::Viewer).1).get("/api/v1/releases").await;
    let served: Vec<(u64, bool)> = releases.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["serial"].as_u64().unwrap(), r["served"].as_bool().unwrap()))
        .collect();
    assert_eq!(served, [(2, true), (1, false)]);
    cluster.stop().await;
}

#[tokio::test]
async fn metrics_pass_promtool_and_name_no_envoy() {
    let cluster = Cluster::start().await;
    let (_agent, _) = envoy(&cluster, "payroll-01", fine()).await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "prometheus", Role::Viewer).1);
    seen(&client, "payroll-01").await;
    let said = client.get("/metrics").await;
    let text = said.is(200).body.clone();
    assert!(!text.contains("payroll"), "{text}");
    for line in [
        "vigo_envoys{drift=\"none\",health=\"converged\",reachability=\"online\"} 1",
        "vigo_checkins_total{outcome=\"bundle\"} 1",
        "vigo_resources_total{outcome=\"ok\"} 2",
        "vigo_compliance_ratio{framework=\"convergence\"} 1",
        "vigo_publish_refused 0",
        "vigo_streams 0",
        "vigo_store_size_bytes ",
        "vigo_http_requests_total{code=\"200\",route=\"/api/v1/envoys/{envoy}\"}",
        "vigo_build_info{",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line}\n{text}");
    }
    let promtool = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut promtool = promtool.expect("promtool of the Debian package `prometheus`; .ci/run installs it");
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success(), "{checked:?}\n{text}");
    cluster.stop().await;
}

#[tokio::test]
async fn case_058_a_run_that_is_told_twice_with_different_content_shows_in_the_metrics() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let first = run(&cluster, 1, fine());
    agent.report(&cluster, &first).await.unwrap();
    agent.report(&cluster, &first).await.unwrap();
    let client = Client::new(&cluster).token(&api_token(&cluster, "prometheus", Role::Viewer).1);
    let line = "vigo_reports_suspect_total{reason=\"contradiction\"}";
    assert!(
        client.get("/metrics").await.body_has(&format!("{line} 0")),
        "the same again is no contradiction"
    );
    let other = RunReport { duration_ms: 7, ..first.clone() };
    agent.report(&cluster, &other).await.unwrap();
    assert!(client.get("/metrics").await.body_has(&format!("{line} 1")));
    cluster.stop().await;
}

#[tokio::test]
async fn vigocli_says_the_same_to_people_and_scripts() {
    let cluster = Cluster::start().await;
    let results = vec![
        result("nginx", "conf", Outcome::Changed, ""),
        result("nginx", "reload", Outcome::Failed, "exit code 1\u{1b}[2J"),
    ];
    let (_agent, run) = envoy(&cluster, "web-01", results).await;
    let (_, admin) = api_token(&cluster, "ann", Role::Admin);
    let (_, viewer) = api_token(&cluster, "bob", Role::Viewer);
    seen(&Client::new(&cluster).token(&viewer), "web-01").await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, admin, viewer) =
        (file("ca.pem", &cluster.ca), file("admin", &format!("{admin}\n")), file("viewer", &viewer));
    let server = Client::new(&cluster).server;
    let ask = |ca: &str, token: &str, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vigocli"));
        command.args(["--server", &server, "--ca", ca, "--token-file", token]).args(args);
        for name in ["VIGO_TOKEN", "VIGO_SERVER", "VIGO_CA", "VIGO_TOKEN_FILE"] {
            command.env_remove(name);
        }
        async move {
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
            (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
        }
    };
    let vigocli = |token: &str, args: &[&str]| ask(&ca, token, args);
    let says = |out: &(i32, String, String), code: i32, parts: &[&str]| {
        assert_eq!(out.0, code, "{out:?}");
        for part in parts {
            assert!(out.1.contains(part) || out.2.contains(part), "{part} in {out:?}");
        }
        assert!(!out.1.contains('\u{1b}') && !out.2.contains('\u{1b}'), "{out:?}");
    };
    says(&vigocli(&viewer, &["envoys", "list"]).await, 0, &["web-01", "failed", "0 of 1 compliant"]);
    says(&vigocli(&viewer, &["envoys", "list", "--health", "converged"]).await, 0, &["no envoy matches"]);
    says(
        &vigocli(&viewer, &["envoys", "show", "web-01"]).await,
        0,
        &["nginx.reload", "exit code 1", "os.family"],
    );
    says(&vigocli(&viewer, &["runs", "list"]).await, 0, &[&run, "1 changed"]);
    says(&vigocli(&viewer, &["runs", "show", "web-01", &run]).await, 0, &["content replaced"]);
    says(&vigocli(&viewer, &["compliance"]).await, 0, &["fleet", "nginx", "0 %"]);
    says(&vigocli(&viewer, &["releases", "list"]).await, 0, &["served"]);
    says(&vigocli(&viewer, &["envoys", "show", "web-99"]).await, 1, &["there is no envoy `web-99`"]);
    says(&vigocli(&viewer, &["token", "create"]).await, 1, &["role"]);
    says(&vigocli(&viewer, &["envoys"]).await, 64, &["Usage"]);
    says(&vigocli("/nowhere", &["compliance"]).await, 65, &["/nowhere"]);
    says(&vigocli(&file("empty", ""), &["compliance"]).await, 64, &["which API token"]);
    says(&vigocli(&file("other", "vigo-api.00.00"), &["compliance"]).await, 1, &["no valid token"]);
    let other =
        runtime_server::pki::Material::create(&cluster.config.cluster_id, &[], cluster.now()).unwrap();
    let other = file("other.pem", &other.ca);
    says(&ask(&other, &viewer, &["compliance"]).await, 69, &["`--ca` is not the CA of this server"]);
    says(&ask(&viewer, &viewer, &["compliance"]).await, 65, &["no certificate"]);

    let made = vigocli(&admin, &["token", "create", "--hostname", "web-*"]).await;
    says(&made, 0, &["vigo enroll --server HOST:", &cluster.server().ca_hash().to_string()]);
    assert!(made.1.starts_with("vigo.") && made.1.lines().count() == 1);
    let id = made.1.split('.').nth(1).unwrap().to_owned();
    says(&vigocli(&admin, &["token", "list"]).await, 0, &[&id, "open"]);
    says(&vigocli(&admin, &["token", "revoke", &id]).await, 0, &["was revoked"]);
    says(
        &vigocli(&admin, &["api-token", "create", "--name", "ci", "--role", "viewer"]).await,
        0,
        &["vigo-api."],
    );
    says(&vigocli(&admin, &["api-token", "list"]).await, 0, &["ci", "ann"]);
    says(&vigocli(&admin, &["envoys", "push", "web-01"]).await, 0, &["gets its bundle again"]);
    says(&vigocli(&admin, &["audit", "list"]).await, 0, &["envoy.push", "(ann)"]);
    says(&vigocli(&admin, &["audit", "verify"]).await, 0, &["whole: 5 entries"]);
    says(&vigocli(&admin, &["envoys", "revoke", "web-01"]).await, 0, &["was revoked"]);
    with(&cluster.config.database, |conn| conn.execute("delete from audit where seq = 2", &[]).unwrap());
    says(&vigocli(&admin, &["audit", "verify"]).await, 1, &["tampered with: entry 2"]);

    for (args, key) in [
        (vec!["envoys", "list"], "envoys"),
        (vec!["runs", "list"], "runs"),
        (vec!["compliance"], "fleet"),
        (vec!["releases", "list"], "releases"),
    ] {
        let args: Vec<&str> = args.into_iter().chain(["--format", "json"]).collect();
        let out = vigocli(&viewer, &args).await;
        let json: Value = serde_json::from_str(&out.1).unwrap();
        assert_eq!(json["format_version"], "1.0");
        assert!(!json[key].is_null(), "{json}");
    }
    cluster.stop().await;
    says(&vigocli(&viewer, &["compliance"]).await, 69, &["cannot reach"]);
}

#[tokio::test]
async fn case_043_a_name_that_is_given_away_again_inherits_nothing() {
    let cluster = Cluster::start().await;
    let (first, run_id) = envoy(&cluster, "web-01", fine()).await;
    assert!(cluster.db(|conn| runtime_server::store::envoys::revoke(conn, "web-01", 1)).unwrap());
    let second = cluster.agent("web-01").await;
    assert_ne!(first.reply.envoy_id, second.reply.envoy_id);
    let client = Client::new(&cluster).token(&api_token(&cluster, "ann", Role::Viewer).1);
    let shown = client.get("/api/v1/envoys/web-01").await.is(200).json();
    assert_eq!(shown["id"], Value::from(second.reply.envoy_id.as_str()));
    assert_eq!((&shown["last_run"], &shown["last_seen"]), (&Value::Null, &Value::Null), "{shown}");
    client.get(&format!("/api/v1/envoys/web-01/runs/{run_id}")).await.problem(404, "not-found");
    cluster.stop().await;
}
