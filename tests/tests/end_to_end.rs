//! The whole path with real processes, real TLS and real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use runtime_server::store::Database;
use std::path::Path;
use vigo_tests::processes::{Host, Server, balance, binary, text};

const NODES: &str =
    "nodes:\n  - match: \"*.test\"\n    modules: [base, motd, app]\n    vars: { greeting: hello }\n";
const BASE: &str = "name: base\nresources:\n  - name: etc\n    type: directory\n    target_path: /etc\n    mode: \"0755\"\n  - name: opt\n    type: directory\n    target_path: /opt\n    mode: \"0755\"\n";
const MOTD: &str = "name: motd\nvars: { greeting: hi }\ndepends_on: [base]\nresources:\n  - name: motd\n    type: file\n    target_path: /etc/motd\n    content: \"{{ .Vars.greeting }} from {{ .Envoy.hostname }}\\n\"\n    mode: \"0644\"\n";
const APP: &str = "name: app\ndepends_on: [base]\nresources:\n  - name: config\n    type: file\n    target_path: /opt/app.conf\n    content: |\n      os = {{ .Traits.os.kernel }}\n    notify: [restart]\n  - name: restart\n    type: exec\n    command: echo restarted >> restarts\n    shell: true\n    cwd: /opt\n    when: changed\n";

fn policy() -> Vec<(&'static str, &'static str)> {
    vec![
        ("nodes.vgo", NODES),
        ("modules/base.vgo", BASE),
        ("modules/motd.vgo", MOTD),
        ("modules/app.vgo", APP),
    ]
}

fn field(line: &str, name: &str) -> u64 {
    let entry: serde_json::Value = serde_json::from_str(line).unwrap();
    entry[name].as_u64().unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn from_policy_to_a_converged_host_and_on_without_the_server() {
    let dir = tempfile::tempdir().unwrap();
    whole_path(dir.path(), Server::init(dir.path(), &policy()));
}

/// Where `VIGO_TEST_POSTGRES` names a server, as `.ci/postgres` does; elsewhere there is nothing to test.
#[test]
fn the_same_on_postgresql() {
    let dir = tempfile::tempdir().unwrap();
    let Database::Postgres(postgres) = runtime_server::testing::database(dir.path()) else { return };
    whole_path(dir.path(), Server::init_with(dir.path(), &policy(), &["--database", &postgres.url]));
}

#[test]
fn case_055_056_a_server_killed_at_any_moment_loses_no_result_and_doubles_none() {
    let dir = tempfile::tempdir().unwrap();
    kill_sweep(dir.path(), Server::init(dir.path(), &policy()));
    let dir = tempfile::tempdir().unwrap();
    if let Database::Postgres(postgres) = runtime_server::testing::database(dir.path()) {
        kill_sweep(dir.path(), Server::init_with(dir.path(), &policy(), &["--database", &postgres.url]));
    }
}

fn kill_sweep(dir: &Path, mut server: Server) {
    server.start();
    let host = Host::new(dir, "web-1.test");
    assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    assert_eq!(host.run().0, 0);
    for point in 0..8 {
        // Before the check-in, between it and the report, in the middle of either: wherever that finds it.
        host.write("/etc/motd", "drift\n");
        std::thread::scope(|scope| {
            let run = scope.spawn(|| host.run());
            std::thread::sleep(std::time::Duration::from_millis(40 * point));
            server.kill();
            let (code, out) = run.join().unwrap();
            assert_eq!(code, 0, "{out}");
        });
        server.start();
    }
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.status()["results"]["waiting"], 0);
    let runs = server.runs("web-1.test");
    let numbers: Vec<u64> = runs.iter().map(|r| r["result_seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    let changed: Vec<u64> = runs[1..9].iter().map(|r| r["changed"].as_u64().unwrap()).collect();
    assert_eq!(changed, [1; 8], "each is the report of its own run");
    server.stop();
}

/// Where `VIGO_TEST_POSTGRES` names a server; a SQLite file has one server.
#[test]
fn case_029_two_servers_on_one_postgresql_and_one_of_them_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let Database::Postgres(postgres) = runtime_server::testing::database(dir.path()) else { return };
    let mut one = Server::init_with(dir.path(), &policy(), &["--database", &postgres.url]);
    one.start();
    let mut two = one.beside();
    two.start();
    let front = balance(vec![one.address.clone(), two.address.clone()]);
    let host = Host::new(dir.path(), "web-1.test");
    let enrolled = host.enroll(&front, &one.token(), &one.ca_hash);
    assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
    for round in 0..8 {
        let (code, out) = host.run();
        assert_eq!(code, 0, "round {round}: {out}");
    }
    let seq = host.status()["bundle"]["seq"].clone();
    one.kill();
    for round in 0..4 {
        let (code, out) = host.run();
        assert_eq!(code, 0, "round {round} without one of them: {out}");
    }
    let status = host.status();
    assert_eq!((&status["bundle"]["seq"], &status["results"]["waiting"]), (&seq, &0.into()), "{status}");
    let runs = two.runs("web-1.test");
    let numbers: Vec<u64> = runs.iter().map(|r| r["result_seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    for line in one.log().iter().chain(&two.log()) {
        assert!(!line.contains("restored") && !line.contains("signing key was made"), "{line}");
    }
    let asked = [&one, &two].map(|server| server.log().iter().any(|l| l.contains("run reported")));
    assert_eq!(asked, [true, true], "both had something to do");
    two.stop();
}

/// As an agent tells that results are gone: one report in their place, which has the number of the last of them.
#[test]
fn case_060_results_that_are_gone_are_told_in_one_report_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::init(dir.path(), &policy());
    server.start();
    let host = Host::new(dir.path(), "web-1.test");
    assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    assert_eq!(host.run().0, 0);
    server.kill();
    for _ in 0..2 {
        assert_eq!(host.run().0, 0);
    }
    std::fs::remove_file(host.root.join("var/lib/vigo/store.redb")).unwrap();
    server.start();
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.status()["results"]["waiting"], 0, "{out}");
    let runs = server.runs("web-1.test");
    let numbers: Vec<u64> = runs.iter().map(|r| r["result_seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 3, 4]);
    assert!(!server.log().iter().any(|l| l.contains("results were lost")), "{:#?}", server.log());
    server.stop();
}

/// A snapshot of a virtual machine, put back: its results have numbers that the server knows for others.
#[test]
fn case_057_a_host_that_was_set_back_loses_no_result() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::init(dir.path(), &policy());
    server.start();
    let host = Host::new(dir.path(), "web-1.test");
    assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    let run = || {
        let (code, out) = host.run();
        assert_eq!(code, 0, "{out}");
        out
    };
    (0..2).for_each(|_| drop(run()));
    let snapshot = dir.path().join("snapshot");
    let copy = |from: &Path, to: &Path| {
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(copied.success());
    };
    copy(&host.root, &snapshot);
    (0..4).for_each(|_| drop(run()));
    std::fs::remove_dir_all(&host.root).unwrap();
    copy(&snapshot, &host.root);
    server.kill();
    (0..2).for_each(|_| drop(run()));
    server.start();
    let out = run();
    assert!(out.contains("set back to an earlier state"), "{out}");
    assert_eq!(host.status()["results"]["waiting"], 0);
    run();
    let mut numbers: Vec<u64> =
        server.runs("web-1.test").iter().map(|r| r["result_seq"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 3, 4, 4, 5, 5, 6, 7], "every run of either life, and then on from there");
    server.stop();
}

/// A second server on the same file, by mistake, changes nothing for the first.
#[test]
fn case_028_a_second_server_on_one_file_is_refused_and_retires_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::init(dir.path(), &policy());
    server.start();
    let host = Host::new(dir.path(), "web-1.test");
    assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    assert_eq!(host.run().0, 0);
    let version = host.status()["bundle"]["policy_version"].clone();
    let second = |config: &Path| {
        let started =
            std::process::Command::new(binary("vigosrv")).args(["run", "--config"]).arg(config).output();
        let started = started.unwrap();
        assert!(!started.status.success());
        text(&started.stderr)
    };
    // Its ports are taken, or there are other ports in its configuration.
    let config = server.dir.join("server.yaml");
    let said = second(&config);
    assert!(said.contains("cannot listen on"), "{said}");
    let other = server.dir.join("other.yaml");
    let yaml = std::fs::read_to_string(&config).unwrap();
    let http = server.url.trim_start_matches("https://");
    std::fs::write(&other, yaml.replace(&server.address, "127.0.0.1:0").replace(http, "127.0.0.1:0"))
        .unwrap();
    let said = second(&other);
    assert!(said.contains("is used by another vigosrv"), "{said}");
    host.write("/etc/motd", "drift\n");
    assert_eq!(host.run().0, 0);
    assert_eq!(host.status()["bundle"]["policy_version"], version, "its epoch is in it");
    server.stop();
}

fn whole_path(dir: &Path, mut server: Server) {
    server.start();
    let host = Host::new(dir, "web-1.test");
    let enrolled = host.enroll(&server.address, &server.token(), &server.ca_hash);
    assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));

    // converge
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("hello from web-1.test\n"));
    assert_eq!(host.read("/opt/app.conf").as_deref(), Some("os = linux\n"));
    assert_eq!(host.read("/opt/restarts").as_deref(), Some("restarted\n"));
    let line = server.wait_for_log(0, "bundle sent");
    assert_eq!((field(&line, "modules"), field(&line, "of")), (3, 3));

    // no change
    let before = server.log().len();
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("0 changed"), "{out}");
    assert!(!server.log()[before..].iter().any(|l| l.contains("bundle sent")), "{:#?}", server.log());

    // drift
    host.write("/etc/motd", "someone was here\n");
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("1 changed"), "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("hello from web-1.test\n"));

    // one module changed: its blob travels, the others are stubs; the trigger is not pulled
    let before = server.log().len();
    server.write_policy("modules/motd.vgo", &MOTD.replace(" from ", " again from "));
    server.wait_for_log(before, "policy published");
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("hello again from web-1.test\n"));
    let line = server.wait_for_log(before, "bundle sent");
    assert_eq!((field(&line, "modules"), field(&line, "of")), (1, 3));
    assert_eq!(host.read("/opt/restarts").as_deref(), Some("restarted\n"));

    // the server is gone: the cache converges, results wait
    server.stop();
    host.write("/etc/motd", "drift while the server is gone\n");
    for _ in 0..3 {
        let (code, out) = host.run();
        assert_eq!(code, 0, "{out}");
    }
    assert_eq!(host.read("/etc/motd").as_deref(), Some("hello again from web-1.test\n"));
    assert_eq!(host.status()["results"]["waiting"], 3);

    // back with another key: accepted, and every result arrives once
    server.start();
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.status()["results"]["waiting"], 0);
    let runs = server.runs("web-1.test");
    let numbers: Vec<u64> = runs.iter().map(|r| r["result_seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    let offline: Vec<bool> = runs.iter().map(|r| r["offline"] == true).collect();
    assert_eq!(offline, [false, false, false, false, true, true, true, false]);
    assert!(host.vigo(&["verify"]).status.success());
    server.stop();
}

#[test]
fn past_the_lease_the_agent_stops_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::init(dir.path(), &policy());
    server.configure("bundle_max_age: 24h", "bundle_max_age: 4s");
    server.start();
    let host = Host::new(dir.path(), "web-1.test");
    assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    server.stop();
    std::thread::sleep(std::time::Duration::from_secs(5));
    host.write("/etc/motd", "drift\n");
    let (code, out) = host.run();
    assert_eq!(code, 69, "{out}");
    assert!(out.contains("expired"), "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("drift\n"), "it converged past the lease");
    let status = host.vigo(&["status"]);
    assert!(text(&status.stdout).contains("EXPIRED"), "{}", text(&status.stdout));

    // the server is back: no hand is needed
    server.start();
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("hello from web-1.test\n"));
}

#[test]
fn enrolment_fails_clearly_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::init(dir.path(), &policy());
    server.start();
    let token = server.token();
    let host = Host::new(dir.path(), "web-1.test");
    let wrong_ca = host.enroll(&server.address, &token, &"ab".repeat(32));
    assert_eq!(wrong_ca.status.code(), Some(65));
    assert!(text(&wrong_ca.stderr).contains("the token was not sent"), "{}", text(&wrong_ca.stderr));

    // the token was not spent
    assert!(host.enroll(&server.address, &token, &server.ca_hash).status.success());
    let other = Host::new(dir.path(), "web-2.test");
    let used = other.enroll(&server.address, &token, &server.ca_hash);
    assert!(!used.status.success());
    assert!(text(&used.stderr).contains("used"), "{}", text(&used.stderr));
    assert!(text(&other.vigo(&["status"]).stdout).contains("not enrolled"));

    let expired = server.command(&["token", "create", "--ttl", "1s"]).trim().to_owned();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let expired = other.enroll(&server.address, &expired, &server.ca_hash);
    assert!(text(&expired.stderr).contains("expired"), "{}", text(&expired.stderr));

    let bound = server.command(&["token", "create", "--hostname", "db-*"]).trim().to_owned();
    assert!(!other.enroll(&server.address, &bound, &server.ca_hash).status.success());

    // The dashboard has another port, and a certificate of the same CA.
    let dashboard = server.url.trim_start_matches("https://");
    let there = other.enroll(dashboard, &server.token(), &server.ca_hash);
    assert_eq!(there.status.code(), Some(69), "{}", text(&there.stderr));
    assert!(
        text(&there.stderr).contains("not the port for agents, which is 1530"),
        "{}",
        text(&there.stderr)
    );

    server.stop();
    let gone = other.enroll(&server.address, "vigo.x.y", &server.ca_hash);
    assert_eq!(gone.status.code(), Some(69), "{}", text(&gone.stderr));
    assert!(text(&gone.stderr).contains(&server.address), "{}", text(&gone.stderr));
}

#[test]
fn a_secret_reaches_its_file_and_nothing_else() {
    const CANARY: &str = "k7-canary-93x";
    let dir = tempfile::tempdir().unwrap();
    let mut files = policy();
    let app = "name: app\ndepends_on: [base]\nresources:\n  - name: config\n    type: file\n    target_path: /opt/app.conf\n    content: \"password = {{ .Vars.password }}\\n\"\n    mode: \"0600\"\n";
    files[3].1 = app;
    let nodes = NODES.replace("greeting: hello", "greeting: hello, password: \"secret:app/db\"");
    files[0].1 = &nodes;
    let mut server = Server::init(dir.path(), &files);
    server.command_with_input(&["secrets", "set", "app/db"], CANARY);
    server.start();
    let host = Host::new(dir.path(), "web-1.test");
    assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    let out = host.vigo(&["-vv", "run", "--once", "--diff"]);
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert_eq!(host.read("/opt/app.conf"), Some(format!("password = {CANARY}\n")));
    assert!(!said.contains(CANARY), "{said}");
    assert!(!server.log().iter().any(|l| l.contains(CANARY)));

    // a new value reaches the file while the server runs; the module did not change, so it does not travel
    server.command_with_input(&["secrets", "set", "app/db"], "k7-rotated\n");
    let before = server.log().len();
    assert_eq!(host.run().0, 0);
    assert_eq!(host.read("/opt/app.conf").as_deref(), Some("password = k7-rotated\n"));
    assert!(!server.log()[before..].iter().any(|l| l.contains("bundle sent") && field(l, "modules") > 0));
    server.stop();

    let mut places = Vec::new();
    let mut todo = vec![dir.path().to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if let Ok(bytes) = std::fs::read(&path)
                && [CANARY, "k7-rotated"].iter().any(|c| bytes.windows(c.len()).any(|w| w == c.as_bytes()))
            {
                places.push(path);
            }
        }
    }
    places.sort();
    assert_eq!(places, [host.root.join("opt/app.conf")]);
}

#[test]
fn a_broken_policy_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::init(dir.path(), &policy());
    server.start();
    let host = Host::new(dir.path(), "web-1.test");
    assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    assert_eq!(host.run().0, 0);
    let before = server.log().len();
    server.write_policy("modules/motd.vgo", &MOTD.replace(".Vars.greeting", ".Vars.greting"));
    server.wait_for_log(before, "unknown-variable");
    let (code, out) = host.run();
    assert_eq!(code, 0, "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("hello from web-1.test\n"));
}

#[test]
fn a_build_is_applied_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("policy");
    for (path, content) in policy() {
        let path = source.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let fleet = dir.path().join("fleet.jsonl");
    std::fs::write(&fleet, "{\"hostname\": \"web-1.test\", \"traits\": {}}\n").unwrap();
    let built = dir.path().join("out");
    let build = std::process::Command::new(binary("vigoc"))
        .arg("build")
        .arg(&source)
        .arg("--fleet")
        .arg(&fleet)
        .arg("--out")
        .arg(&built)
        .output()
        .unwrap();
    assert!(build.status.success(), "{}", text(&build.stderr));
    let host = Host::new(dir.path(), "web-1.test");
    let apply = || {
        let out = host.vigo(&["apply", built.to_str().unwrap(), "--envoy", "web-1.test"]);
        (out.status.code(), text(&out.stdout) + &text(&out.stderr))
    };
    let (code, out) = apply();
    assert_eq!(code, Some(0), "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("hello from web-1.test\n"));

    // one flipped byte in a blob, and nothing is applied
    let blob = std::fs::read_dir(built.join("blobs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    host.write("/etc/motd", "drift\n");
    let (code, out) = apply();
    assert_eq!(code, Some(65), "{out}");
    assert_eq!(host.read("/etc/motd").as_deref(), Some("drift\n"));
}
