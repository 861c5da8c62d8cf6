//! Who may do what over HTTP.

use crate::client::*;
use crate::harness::{Cluster, HOUR};
use runtime_server::config::Config;
use runtime_server::http::auth::Access;
use runtime_server::http::route::{Method, ROUTES, Route};
use runtime_server::store::api_tokens::{self, Role};
use runtime_server::testing::with;
use serde_json::{Value, json};
use std::time::Duration;

pub fn path(route: &Route) -> String {
    route
        .path
        .replace("{envoy}", "nobody")
        .replace("{run}", "none")
        .replace("{id}", "none")
        .replace("{serial}", "9")
        .replace("{task}", "none")
        .replace("{workflow}", "none")
}

pub fn method(route: &Route) -> &'static str {
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
    cluster.advance(HOUR + Duration::from_millis(1));
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
pub fn with_secrets(config: &mut Config) {
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
