//! A client of the HTTP API, and runs to tell a server of.

use crate::harness::{Agent, Cluster, HOUR};
use protocol::pb::{Outcome, ResourceResult, RunReport, RunTotals};
use runtime_server::store::api_tokens::{self, Role};
use runtime_server::testing::with;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// An answer, whatever it is.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
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
    pub headers: Vec<(String, String)>,
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
        let (token, row) =
            api_tokens::create(conn, random, name, role, now, HOUR.as_millis() as u64).unwrap();
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
pub async fn envoy(cluster: &Cluster, hostname: &str, results: Vec<ResourceResult>) -> (Agent, String) {
    let mut agent = cluster.agent(hostname).await;
    agent.bundle(cluster).await;
    let report = run(cluster, 1, results);
    agent.report(cluster, &report).await.unwrap();
    (agent, report.run_id)
}

pub fn fine() -> Vec<ResourceResult> {
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
