//! Events on their way to a webhook that takes them, does not, or does not answer.

use crate::harness::*;
use protocol::pb::{RunReport, RunTotals};
use runtime_server::config::Config;
use runtime_server::events::{Event, WebhookSettings, What, signature};
use runtime_server::status::{Compliance, Health};
use runtime_server::store::{Database, events};
use runtime_server::testing::module;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECRET: &str = "0123456789abcdef-canary";

/// One request as it came.
#[derive(Clone, Debug)]
struct Got {
    key: String,
    signature: String,
    body: String,
}

impl Got {
    fn event(&self) -> Event {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// A receiver of events; answers with a status, or with 0 not at all.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let (status, got) = (Arc::new(AtomicU16::new(204)), Arc::<Mutex<Vec<Got>>>::default());
        let (answer, list) = (status.clone(), got.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, list) = (answer.clone(), list.clone());
                std::thread::spawn(move || take(stream, &answer, &list));
            }
        });
        Receiver { url, status, got }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Everything that came, once there is something that fits.
    #[track_caller]
    fn until(&self, fits: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let events: Vec<Event> = self.got.lock().unwrap().iter().map(Got::event).collect();
            if fits(&events) {
                return events;
            }
            assert!(Instant::now() < deadline, "{events:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// HTTP/1.1 as far as one request goes.
fn take(stream: TcpStream, status: &AtomicU16, got: &Mutex<Vec<Got>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut key, mut signature) = (0, String::new(), String::new());
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "idempotency-key" => key = value.to_owned(),
                "vigo-signature" => signature = value.to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        got.lock().unwrap().push(Got { key, signature, body: String::from_utf8(body).unwrap() });
        match status.load(Ordering::SeqCst) {
            // Holds the line until the other side has had enough.
            0 => {
                let _ = reader.read(&mut [0]);
                return;
            }
            status => {
                let answer = format!("HTTP/1.1 {status} so\r\ncontent-length: 0\r\n\r\n");
                if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

fn told(config: &mut Config, receiver: &Receiver) {
    let secret_file = config.tls.ca.with_file_name("webhook.secret");
    std::fs::write(&secret_file, SECRET).unwrap();
    std::fs::set_permissions(&secret_file, PermissionsExt::from_mode(0o600)).unwrap();
    config.webhook = Some(WebhookSettings {
        url: receiver.url.clone(),
        secret_file: Some(secret_file),
        ca_file: None,
        timeout: Duration::from_secs(1),
        look: Duration::from_millis(50),
    });
}

async fn report(cluster: &Cluster, agent: &mut Agent, seq: u64, failed: u32) {
    let report = RunReport {
        run_id: uuid::Uuid::now_v7().to_string(),
        result_seq: seq,
        started_at: cluster.now(),
        totals: Some(RunTotals { ok: 3, failed, ..RunTotals::default() }),
        ..RunReport::default()
    };
    agent.report(cluster, &report).await.unwrap();
}

/// What is told of a host, as health.
fn healths(events: &[Event], hostname: &str) -> Vec<Health> {
    let of = |event: &Event| match &event.what {
        What::EnvoyStatus { envoy, after, .. } if envoy.hostname == hostname => Some(after.health),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

/// Until the server has looked, and told of its first release if that came later: so that what comes then is news.
async fn listening(cluster: &Cluster) {
    let ready = |conn: &mut _| {
        Ok::<_, runtime_server::store::StoreError>(
            events::told(conn)?.is_some_and(|told| told.release == 1) && events::pending(conn)? == 0,
        )
    };
    while !cluster.db(ready).unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_once_signed_and_as_the_document_says() {
    let receiver = Receiver::start();
    let cluster = Cluster::with(|config| told(config, &receiver)).await;
    listening(&cluster).await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    receiver.until(|events| !healths(events, "web-01").is_empty());
    report(&cluster, &mut agent, 1, 0).await;
    receiver.until(|events| healths(events, "web-01").last() == Some(&Health::Converged));
    report(&cluster, &mut agent, 2, 1).await;
    receiver.until(|events| healths(events, "web-01").last() == Some(&Health::Degraded));
    cluster.policy.edit(|p| p.modules.push(module("more", "1")));
    cluster.server().reload().await.unwrap();
    let published = |event: &Event| match &event.what {
        What::ReleasePublished { release } => Some(release.serial),
        _ => None,
    };
    let events = receiver.until(|events| events.iter().any(|event| published(event) == Some(2)));

    let first = events.iter().find_map(|event| match &event.what {
        What::EnvoyStatus { before, after, .. } => Some((*before, after.compliance)),
        _ => None,
    });
    assert_eq!(first, Some((None, Compliance::Unknown)), "a new envoy");
    assert_eq!(events.iter().filter_map(published).next_back(), Some(2));
    for (one, two) in events.iter().zip(events.iter().skip(1)) {
        assert!(one.at <= two.at && one.id < two.id, "in order");
        if let (What::EnvoyStatus { after, .. }, What::EnvoyStatus { before, .. }) = (&one.what, &two.what) {
            assert_eq!(Some(*after), *before, "no step is left out: one envoy, one chain");
        }
    }
    let document = runtime_server::http::openapi::document();
    let schema = serde_json::json!({
        "$ref": "#/components/schemas/Event", "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    for got in receiver.got.lock().unwrap().iter() {
        let event = got.event();
        assert_eq!(got.key, event.id);
        let seconds =
            got.signature.strip_prefix("t=").and_then(|s| s.split(',').next()).unwrap().parse().unwrap();
        assert_eq!(got.signature, signature(SECRET.as_bytes(), seconds, got.body.as_bytes()));
        assert!(seconds.abs_diff(cluster.now() / 1000) < 60);
        assert!(!got.body.contains("canary"));
        let body = serde_json::from_str(&got.body).unwrap();
        validator.validate(&body).unwrap_or_else(|e| panic!("{e}: {}", got.body));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_gets_everything_later_also_across_a_restart() {
    let receiver = Receiver::start();
    let mut cluster = Cluster::with(|config| told(config, &receiver)).await;
    listening(&cluster).await;
    let calm = receiver.until(|_| true);
    receiver.answers(503);
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    receiver.until(|events| !healths(events, "web-01").is_empty());
    report(&cluster, &mut agent, 1, 0).await;
    // The same event again and again, and nothing after it.
    let before = calm.len();
    let tried = receiver.until(|events| events.len() >= before + 2).split_off(before);
    assert!(tried.iter().all(|event| event.id == tried[0].id), "{tried:#?}");
    while cluster.db(events::pending).unwrap() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.restart().await;
    // A line that nobody answers on holds up nothing but events.
    receiver.answers(0);
    agent.trusted = match agent.check_in(&cluster).await.unwrap() {
        protocol::pb::check_in_reply::Answer::StaleKey(statement) => trust(&cluster, &statement),
        other => panic!("{other:?}"),
    };
    let started = Instant::now();
    agent.check_in(&cluster).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    receiver.answers(204);
    receiver.until(|events| healths(events, "web-01").last() == Some(&Health::Converged));
    while cluster.db(events::pending).unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ids: Vec<String> = receiver.got.lock().unwrap().iter().map(|got| got.key.clone()).collect();
    assert!(ids.is_sorted(), "in order, each until it was taken: {ids:#?}");
    let events: Vec<Event> = receiver.got.lock().unwrap().iter().map(Got::event).collect();
    let first = events.iter().find(|event| matches!(event.what, What::EnvoyStatus { before: None, .. }));
    assert!(first.is_some(), "the first one is not lost");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_one_tells() {
    let receiver = Receiver::start();
    let one = Cluster::with(|config| told(config, &receiver)).await;
    if let Database::Sqlite(_) = one.config.database {
        return one.stop().await;
    }
    let two = one.beside().await;
    listening(&one).await;
    let mut agent = one.agent("web-01").await;
    agent.bundle(&one).await;
    report(&one, &mut agent, 1, 0).await;
    receiver.until(|events| healths(events, "web-01").last() == Some(&Health::Converged));
    // Whichever it was, the other one takes over.
    one.stop().await;
    let trusted = agent.check_in(&two).await.unwrap();
    if let protocol::pb::check_in_reply::Answer::StaleKey(statement) = trusted {
        agent.trusted = trust(&two, &statement);
    }
    report(&two, &mut agent, 2, 1).await;
    receiver.until(|events| healths(events, "web-01").last() == Some(&Health::Degraded));
    let ids: Vec<String> = receiver.got.lock().unwrap().iter().map(|got| got.key.clone()).collect();
    let mut unique = ids.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(ids.len(), unique.len(), "nothing came twice: {ids:#?}");
    two.stop().await;
}

#[tokio::test]
async fn a_secret_that_others_can_read_or_guess_keeps_the_server_from_starting() {
    let receiver = Receiver::start();
    let mut cluster = Cluster::start().await;
    let mut config = cluster.config.clone();
    // Its database is free then.
    cluster.pause().await;
    told(&mut config, &receiver);
    let file = config.webhook.as_ref().unwrap().secret_file.clone().unwrap();
    for (mode, text, why) in
        [(0o644, SECRET, "others can read it"), (0o600, "short", "less than 16 characters")]
    {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let policy = Box::new(cluster.policy.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clock = runtime_server::clock::Clock::system();
        let refused = runtime_server::server::Server::start(&config, policy, Some(listener), clock).await;
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(why) && !message.contains(text), "{message}");
    }
}
