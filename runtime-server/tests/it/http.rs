//! The HTTPS side, over real TLS: who may do what, what is answered, and what nobody gets to see.

use crate::harness::{Agent, Cluster};
use protocol::pb::check_in_reply::Answer;
use protocol::pb::{Outcome, ResourceResult, RunReport, RunTotals};
use runtime_server::config::Config;
use runtime_server::http::auth::Access;
use runtime_server::http::route::{Method, ROUTES, Route};
use runtime_server::store::api_tokens::{self, Role};
use runtime_server::testing::with;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const HOUR: u64 = 3_600_000;

/// An answer, whatever it is.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn body_has(&self, text: &str) -> bool {
        self.body.contains(text)
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) {
        self.is(status);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{problem}");
    }
}

/// A client of a cluster.
#[derive(Clone)]
pub struct Client {
    pub agent: ureq::Agent,
    pub server: String,
    headers: Vec<(String, String)>,
}

impl Client {
    pub fn new(cluster: &Cluster) -> Self {
        let ca = Certificate::from_pem(cluster.ca.as_bytes()).unwrap();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(vec![ca])))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let port = cluster.server().http_address().unwrap().port();
        Client { agent: config.into(), server: format!("https://localhost:{port}"), headers: Vec::new() }
    }

    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub fn token(&self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    pub fn cookie(&self, token: &str) -> Self {
        self.with("cookie", &format!("__Host-vigo={token}"))
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> Said {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.server));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let agent = self.agent.clone();
        let sent = move || match body {
            Some(body) => agent.run(request.body(body).unwrap()),
            None => agent.run(request.body(()).unwrap()),
        };
        let mut response = tokio::task::spawn_blocking(sent).await.unwrap().unwrap();
        let headers = response.headers().iter();
        let headers = headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        let status = response.status().as_u16();
        let body = tokio::task::spawn_blocking(move || response.body_mut().read_to_string().unwrap());
        Said { status, headers, body: body.await.unwrap() }
    }

    pub async fn get(&self, path: &str) -> Said {
        self.send("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Said {
        let client = self.with("content-type", "application/json");
        client.send("POST", path, Some(body.to_string().into_bytes())).await
    }
}

/// Id and token.
pub fn api_token(cluster: &Cluster, name: &str, role: Role) -> (String, String) {
    static MADE: AtomicU64 = AtomicU64::new(1);
    let mut random = [7; 20];
    random[..8].copy_from_slice(&MADE.fetch_add(1, Ordering::SeqCst).to_le_bytes());
    let now = cluster.now();
    with(&cluster.config.database, |conn| {
        let (token, row) = api_tokens::create(conn, random, name, role, now, HOUR).unwrap();
        (row.id, token)
    })
}

pub fn result(module: &str, resource: &str, outcome: Outcome, error: &str) -> ResourceResult {
    ResourceResult {
        module: module.into(),
        resource: resource.into(),
        r#type: "file".into(),
        outcome: outcome.into(),
        action: if outcome == Outcome::Changed { "content replaced".into() } else { String::new() },
        error: error.into(),
        duration_ms: 3,
    }
}

/// A run of that number with these results.
pub fn run(cluster: &Cluster, seq: u64, results: Vec<ResourceResult>) -> RunReport {
    let count = |outcome: Outcome| results.iter().filter(|r| r.outcome() == outcome).count() as u32;
    RunReport {
        run_id: uuid::Uuid::now_v7().to_string(),
        result_seq: seq,
        started_at: cluster.now(),
        duration_ms: 1200,
        release_serial: 1,
        totals: Some(RunTotals {
            ok: count(Outcome::Ok),
            changed: count(Outcome::Changed),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
        }),
        results,
        ..RunReport::default()
    }
}

/// An envoy that checked in and reported these results; its run.
async fn envoy(cluster: &Cluster, hostname: &str, results: Vec<ResourceResult>) -> (Agent, String) {
    let mut agent = cluster.agent(hostname).await;
    agent.bundle(cluster).await;
    let report = run(cluster, 1, results);
    agent.report(cluster, &report).await.unwrap();
    (agent, report.run_id)
}

fn fine() -> Vec<ResourceResult> {
    vec![result("base", "etc", Outcome::Ok, ""), result("nginx", "conf", Outcome::Ok, "")]
}

/// What batches store is there: the envoy of that name was seen.
pub async fn seen(client: &Client, hostname: &str) {
    for _ in 0..200 {
        let said = client.get(&format!("/api/v1/envoys/{hostname}")).await.json();
        if said["last_seen"].is_u64() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{hostname} was never seen");
}

fn path(route: &Route) -> String {
    route
        .path
        .replace("{envoy}", "nobody")
        .replace("{run}", "none")
        .replace("{id}", "none")
        .replace("{serial}", "9")
        .replace("{task}", "none")
        .replace("{workflow}", "none")
}

fn method(route: &Route) -> &'static str {
    match route.method {
        Method::Get => "GET",
        Method::Post => "POST",
    }
}

#[tokio::test]
async fn case_045_and_046_every_route_lets_in_whom_the_table_says_and_nobody_else() {
    let cluster = Cluster::start().await;
    let client = Client::new(&cluster);
    let (_, expired) = api_token(&cluster, "expired", Role::Admin);
    cluster.advance(Duration::from_millis(HOUR + 1));
    let (id, revoked) = api_token(&cluster, "revoked", Role::Admin);
    let now = cluster.now();
    with(&cluster.config.database, |conn| assert!(api_tokens::revoke(conn, &id, now).unwrap()));
    let roles: Vec<(Role, String)> =
        Role::ALL.into_iter().map(|role| (role, api_token(&cluster, role.name(), role).1)).collect();
    let cut = roles[2].1[..roles[2].1.len() - 1].to_owned();

    for route in ROUTES {
        let (path, method) = (path(route), method(route));
        let ask = |client: Client| {
            let path = path.clone();
            async move { client.send(method, &path, None).await }
        };
        let strangers = [
            client.clone(),
            client.token("vigo-api.00000000.00000000000000000000000000000000"),
            client.token(""),
            client.token(&cut),
            client.token(&expired),
            client.token(&revoked),
            client.with("authorization", &format!("Basic {}", roles[2].1)),
        ];
        for (at, stranger) in strangers.into_iter().enumerate() {
            let said = ask(stranger).await;
            match route.access {
                Access::Public => {
                    assert!(![401, 403].contains(&said.status) || path == "/login", "{route:?} {at}")
                }
                Access::Token(_) => said.problem(401, "unauthenticated"),
                Access::Page => assert_eq!((said.status, said.headers["location"].as_str()), (303, "/login")),
            }
        }
        for (role, token) in &roles {
            let said = ask(client.token(token)).await;
            match route.access {
                Access::Public => {}
                Access::Token(needs) if *role < needs => said.problem(403, "forbidden"),
                Access::Token(_) => {
                    assert!(![401, 403, 500].contains(&said.status), "{route:?} {role:?} {said:?}")
                }
                Access::Page => assert_eq!(said.status, 303, "{route:?}: pages take the cookie"),
            }
            let said = ask(client.cookie(token)).await;
            match route.access {
                Access::Public => {}
                Access::Token(_) => said.problem(401, "unauthenticated"),
                Access::Page => assert!([200, 404].contains(&said.status), "{route:?} {said:?}"),
            }
        }
        for stranger in [&expired, &revoked, &cut] {
            if route.access == Access::Page {
                assert_eq!(ask(client.cookie(stranger)).await.status, 303, "{route:?}");
            }
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn case_046_who_may_look_changes_nothing_and_an_envoy_is_nobody_here() {
    let cluster = Cluster::start().await;
    let (agent, _) = envoy(&cluster, "web-01", fine()).await;
    let client = Client::new(&cluster);
    let viewer = client.token(&api_token(&cluster, "viewer", Role::Viewer).1);
    let before =
        with(&cluster.config.database, |conn| runtime_server::store::audit::verify(conn).unwrap().entries);
    for route in ROUTES.iter().filter(|r| r.method == Method::Post && matches!(r.access, Access::Token(_))) {
        viewer.post(&path(route), json!({})).await.problem(403, "forbidden");
        // What an envoy has to show for itself: its id, its key, its certificate. None of it is a token.
        let key = agent.key.verifying_key().as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>();
        for shown in
            [agent.reply.envoy_id.as_str(), &key, agent.reply.certificate_pem.lines().nth(1).unwrap()]
        {
            client.token(shown).post(&path(route), json!({})).await.problem(401, "unauthenticated");
        }
    }
    let after =
        with(&cluster.config.database, |conn| runtime_server::store::audit::verify(conn).unwrap().entries);
    assert_eq!(after, before, "nothing was done");
    let operator = client.token(&api_token(&cluster, "operator", Role::Operator).1);
    operator.post("/api/v1/tokens", json!({})).await.is(201);
    cluster.stop().await;
}

#[tokio::test]
async fn case_047_what_is_open_to_everybody_shows_nothing_of_the_fleet() {
    let cluster = Cluster::start().await;
    let (_agent, run) = envoy(&cluster, "payroll-01", fine()).await;
    let client = Client::new(&cluster);
    let digest = cluster.server().context().catalog.release().unwrap().digest.to_string();
    for route in ROUTES.iter().filter(|r| r.access == Access::Public && r.method == Method::Get) {
        let said = client.get(&path(route)).await;
        for secret in ["payroll", "nginx", run.as_str(), digest.as_str(), cluster.config.cluster_id.as_str()]
        {
            // The CA names its cluster; that certificate is what everybody is meant to see.
            assert!(!said.body.contains(secret), "{route:?} shows {secret}: {}", said.body);
        }
        assert_eq!(said.headers["x-content-type-options"], "nosniff");
        assert!(said.headers["content-security-policy"].starts_with("default-src 'none'"));
    }
    let bootstrap = client.get("/bootstrap").await.json();
    assert_eq!(bootstrap["ca_hash"], cluster.server().ca_hash().to_string());
    let pem = bootstrap["ca_certificate"].as_str().unwrap();
    let same = |pem: &str| runtime_server::pki::read_certificate("ca", pem).unwrap();
    assert_eq!(same(pem), same(&cluster.ca));
    cluster.stop().await;
}

/// A server that keeps its secrets itself.
fn with_secrets(config: &mut Config) {
    let identity_file = config.tls.ca.with_file_name("secrets.key");
    std::fs::write(&identity_file, runtime_server::secrets::new_identity().0.as_bytes()).unwrap();
    std::fs::set_permissions(&identity_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let dir = config.tls.ca.with_file_name("secrets");
    config.secrets = runtime_server::secrets::Backend::Age { dir, identity_file };
}

#[tokio::test]
async fn case_090_a_value_is_stored_sealed_and_a_body_that_is_wrong_is_not_quoted() {
    let cluster = Cluster::with(with_secrets).await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "admin", Role::Admin).1);
    let set = async |body: Value| client.post("/api/v1/secrets", body).await;
    // "canary-4711" in base64.
    let (value, canary) = ("Y2FuYXJ5LTQ3MTE=", "canary-4711");
    let stored = set(json!({ "path": "app/db", "value_base64": value })).await;
    assert_eq!(stored.is(200).json(), json!({ "path": "app/db", "replaced": false }));
    assert_eq!(set(json!({ "path": "app/db", "value_base64": value })).await.json()["replaced"], true);
    let context = cluster.server().context().clone();
    let read = tokio::task::spawn_blocking(move || context.secrets.get("app/db").unwrap());
    assert_eq!(read.await.unwrap().value.as_slice(), canary.as_bytes(), "the positive twin");
    for wrong in [
        json!({ "path": "app/db", "value_base64": 4711 }),
        json!({ "path": "app/db", "value_base64": [value, canary] }),
        json!({ "path": "app/db", "value_base64": canary }),
        json!({ "path": "app/db", "value": canary }),
        json!({ "path": "../db", "value_base64": value }),
        json!({ "path": "app/db", "value_base64": "" }),
    ] {
        let said = set(wrong.clone()).await;
        said.problem(400, "invalid-request");
        for hidden in ["4711", canary, value] {
            assert!(!said.body.contains(hidden), "{wrong}: {}", said.body);
        }
    }
    let large =
        client.post("/api/v1/secrets", json!({ "path": "a", "value_base64": "A".repeat(2 << 20) })).await;
    large.problem(413, "too-large");
    assert_eq!(client.get("/api/v1/secrets").await.json()["items"][0]["path"], "app/db");
    let mut places = vec![runtime_server::testing::everything_in(&cluster.config.database)];
    places.push(std::fs::read(cluster.config.tls.ca.with_file_name("secrets").join("app/db.age")).unwrap());
    for place in places {
        for hidden in [canary, value] {
            assert!(!place.windows(hidden.len()).any(|w| w == hidden.as_bytes()));
        }
    }
    let removed = client.post("/api/v1/secrets/remove", json!({ "path": "app/db" })).await;
    removed.is(200);
    client.post("/api/v1/secrets/remove", json!({ "path": "app/db" })).await.problem(404, "not-found");
    cluster.stop().await;

    let cluster = Cluster::start().await;
    let client = Client::new(&cluster).token(&api_token(&cluster, "admin", Role::Admin).1);
    let elsewhere = client.post("/api/v1/secrets", json!({ "path": "a", "value_base64": value })).await;
    elsewhere.problem(409, "conflict");
    cluster.stop().await;
}

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
