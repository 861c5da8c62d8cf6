//! Who a host is to its server, with real processes: renewed, ended, begun anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use rcgen::{CertificateParams, KeyPair};
use runtime_server::clock::Clock;
use runtime_server::config::Config;
use runtime_server::pki::{Ca, Csr};
use runtime_server::store::value::ToParam;
use runtime_server::testing::with;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use vigo_tests::processes::{Host, Server, binary, text};

const NODES: &str = "nodes:\n  - match: \"*.test\"\n    modules: [motd]\n";

fn module(greeting: &str) -> String {
    format!(
        "name: motd\nresources:\n  - {{ name: etc, type: directory, target_path: /etc }}\n  - name: motd\n    type: file\n    target_path: /etc/motd\n    content: {greeting}\n    depends_on: [etc]\n"
    )
}

fn start(dir: &Path) -> (Server, Host) {
    let mut server = Server::init(dir, &[("nodes.vgo", NODES), ("modules/motd.vgo", &module("one"))]);
    server.start();
    let host = Host::new(dir, "web-1.test");
    let enrolled = host.enroll(&server.address, &server.token(), &server.ca_hash);
    assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    (server, host)
}

fn identity_file(host: &Host) -> PathBuf {
    host.root.join("var/lib/vigo/identity/identity.json")
}

fn serial(host: &Host) -> String {
    host.status()["certificate"]["serial"].as_str().unwrap().to_owned()
}

#[test]
fn a_certificate_is_renewed_and_a_kill_at_any_moment_leaves_one_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, host) = start(dir.path());
    let first = serial(&host);
    let shown = text(&host.vigo(&["status"]).stdout);
    assert!(shown.contains("certificate good until "), "{shown}");

    let renewed = host.vigo(&["renew"]);
    assert!(renewed.status.success(), "{}", text(&renewed.stderr));
    assert!(text(&renewed.stdout).contains("renewed, good for 8"), "{}", text(&renewed.stdout));
    assert_ne!(serial(&host), first);
    assert_eq!(host.run().0, 0);
    server.wait_for_log(0, "certificate renewed");

    let mut renewals = 0;
    for point in 0..24 {
        let before = serial(&host);
        let mut vigo = Command::new(binary("vigo"))
            .arg("--root")
            .arg(&host.root)
            .arg("renew")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Before the request, while it is answered, while the answer is written down: wherever that finds it.
        std::thread::sleep(Duration::from_millis(point * 3));
        let _ = vigo.kill();
        vigo.wait().unwrap();
        let (code, out) = host.run();
        assert_eq!(code, 0, "killed after {} ms: {out}", point * 3);
        assert!(!out.contains("cached"), "killed after {} ms, the server turns it away: {out}", point * 3);
        renewals += u32::from(serial(&host) != before);
    }
    assert!(host.vigo(&["verify"]).status.success());
    assert!(renewals < 24, "no kill came before the end");
    server.stop();
}

#[test]
fn case_035_a_host_whose_certificate_ended_keeps_its_place_with_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, host) = start(dir.path());
    let config = Config::load(&server.dir.join("server.yaml")).unwrap();
    let pem = |path| std::fs::read_to_string(path).unwrap();
    let ca = Ca::load(&pem(&config.tls.ca), &pem(&config.tls.ca_key)).unwrap();
    // The same key, with a certificate that it may have had 40 days ago.
    let mut identity: serde_json::Value =
        serde_json::from_slice(&std::fs::read(identity_file(&host)).unwrap()).unwrap();
    let whole = identity["credential"].as_str().unwrap().to_owned();
    let key_pem = whole.split_inclusive("-----END PRIVATE KEY-----\n").next().unwrap();
    let key = KeyPair::from_pem(key_pem).unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let id = host.status()["envoy"]["id"].as_str().unwrap().to_owned();
    let day = Duration::from_secs(86_400);
    let then = Clock::system().now() - 40 * 86_400_000;
    let old = ca.issue_client(&id, &Csr::read(&csr, &host.name).unwrap(), then, 10 * day).unwrap();
    identity["credential"] = format!("{key_pem}{}", old.pem).into();
    std::fs::write(identity_file(&host), identity.to_string()).unwrap();

    let (_, out) = host.run();
    assert!(out.contains("the certificate of this host ended 30 d"), "{out}");
    assert!(out.contains("vigo enroll --rejoin --token TOKEN"), "{out}");
    let check = host.vigo(&["status", "--check"]);
    assert_eq!(check.status.code(), Some(1), "{}", text(&check.stdout));
    let runs = server.runs(&host.name).len();

    // Somebody with the name and a token, but without the key.
    let other = Host::new(&dir.path().join("other"), "web-1.test");
    let refused = other.enroll(&server.address, &server.token(), &server.ca_hash);
    assert!(
        text(&refused.stderr).contains("an active envoy has this host name"),
        "{}",
        text(&refused.stderr)
    );

    let back = host.vigo(&["enroll", "--rejoin", "--token", &server.token()]);
    assert!(back.status.success(), "{}", text(&back.stderr));
    assert!(text(&back.stdout).contains(&id), "{}", text(&back.stdout));
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.status()["envoy"]["id"].as_str(), Some(id.as_str()));
    let all = server.runs(&host.name);
    let numbers: Vec<u64> = all.iter().filter_map(|run| run["result_seq"].as_u64()).collect();
    assert!(numbers.len() > runs + 1, "what it did meanwhile is there too: {all:#?}");
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
    server.stop();
}

#[test]
fn case_021_a_host_that_was_led_too_far_follows_a_reset() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, host) = start(dir.path());
    server.stop();
    let config = Config::load(&server.dir.join("server.yaml")).unwrap();
    with(&config.database, |conn| {
        let far = b"9000000000".to_param();
        conn.execute("update meta set value = $1 where key = 'epoch'", &[far]).unwrap();
    });
    server.write_policy("modules/motd.vgo", &module("two"));
    server.start();
    let (_, out) = host.run();
    assert!(out.contains("too far ahead"), "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("one"), "quarantined");

    let from = server.log().len();
    server.command(&["reset"]);
    server.wait_for_log(from, "agents were told to begin anew");
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("two"));
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");

    let low = Command::new(binary("vigosrv"))
        .args(["reset", "--min-epoch", "5", "--config"])
        .arg(server.dir.join("server.yaml"))
        .output()
        .unwrap();
    assert_eq!(low.status.code(), Some(1));
    assert!(text(&low.stderr).contains("was given out already"), "{}", text(&low.stderr));
    server.stop();
}

#[test]
fn the_servers_own_certificates_are_shown_and_renewed_under_the_same_ca() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, host) = start(dir.path());
    let shown = server.command(&["certificates"]);
    assert!(shown.contains("server") && shown.contains("signer") && shown.contains("good for "), "{shown}");
    server.stop();
    let serials = |server: &Server| {
        let json: serde_json::Value =
            serde_json::from_str(&server.command(&["certificates", "--format", "json"])).unwrap();
        let all = json["certificates"].as_array().unwrap().clone();
        all.iter().map(|c| c["serial"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = serials(&server);
    server.command(&["certificates", "renew", "--hostname", "localhost,127.0.0.1"]);
    let after = serials(&server);
    assert_eq!(before[0], after[0], "the CA stays");
    assert!(before[1] != after[1] && before[2] != after[2]);
    server.start();
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    let token = server.command(&["api-token", "create", "--name", "t", "--role", "viewer"]);
    let seen = server.vigocli(token.trim(), &["envoys", "list"]);
    assert!(seen.status.success(), "{}", text(&seen.stderr));
    server.stop();
}

#[test]
fn case_033_a_token_is_not_sent_to_whom_the_hash_does_not_name() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, _) = start(dir.path());
    // Somebody between who has a CA of his own and takes everything: another server, whose own token it is.
    let between = dir.path().join("between");
    let mut mallory = Server::init(&between, &[("nodes.vgo", NODES), ("modules/motd.vgo", &module("evil"))]);
    mallory.start();
    let token = mallory.token();
    let host = Host::new(dir.path(), "new.test");
    let refused = host.enroll(&mallory.address, &token, &server.ca_hash);
    assert_eq!(refused.status.code(), Some(65));
    let message = text(&refused.stderr);
    assert!(message.contains("another CA") && message.contains("the token was not sent"), "{message}");
    assert!(
        !message.contains(&mallory.ca_hash),
        "whoever answers does not get to say what to trust: {message}"
    );
    let state = |server: &Server| server.command(&["token", "list", "--format", "json"]);
    assert!(
        state(&mallory).contains("\"open\"") && !state(&mallory).contains("\"used\""),
        "{}",
        state(&mallory)
    );
    let hashless = host.vigo(&["enroll", "--server", &mallory.address, "--token", &token]);
    assert_eq!(hashless.status.code(), Some(64), "without a hash nobody is trusted");
    assert!(!host.root.join("var/lib/vigo/identity/identity.json").exists());
    // The same token, sent to whom the hash names.
    assert!(host.enroll(&mallory.address, &token, &mallory.ca_hash).status.success());
    assert!(state(&mallory).contains("\"used\""));
    mallory.stop();
    server.stop();
}
