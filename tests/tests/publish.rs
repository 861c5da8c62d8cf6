//! The way of docs/operate.md with real processes: from nothing to two hosts, a published policy, and a release that was
//! gone back from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use runtime_server::store::Database;
use serde_json::Value;
use std::path::Path;
use vigo_tests::processes::{Host, Server, text};

const NODES: &str = "nodes:\n  - match: \"web-*\"\n    environment: production\n    modules: [motd]\n";
const MOTD: &str = "name: motd\nresources:\n  - name: etc\n    type: directory\n    target_path: /etc\n  - name: motd\n    type: file\n    target_path: /etc/motd\n    content: \"one from {{ .Envoy.hostname }}\\n\"\n";

#[test]
fn from_nothing_to_two_hosts_and_a_release_that_was_gone_back_from() {
    let dir = tempfile::tempdir().unwrap();
    walk(dir.path(), Server::init(dir.path(), &[]));
}

/// Where `VIGO_TEST_POSTGRES` names a server; elsewhere there is nothing to test.
#[test]
fn the_same_on_postgresql() {
    let dir = tempfile::tempdir().unwrap();
    let Database::Postgres(postgres) = runtime_server::testing::database(dir.path()) else { return };
    walk(dir.path(), Server::init_with(dir.path(), &[], &["--database", &postgres.url]));
}

#[test]
fn the_directory_publishes_what_changed_and_nothing_that_was_gone_back_from() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::init(dir.path(), &[("nodes.vgo", NODES), ("modules/motd.vgo", MOTD)]);
    server.start();
    let admin =
        server.command(&["api-token", "create", "--name", "ann", "--role", "admin"]).trim().to_owned();
    let latest = |server: &Server| {
        let out = server.vigocli(&admin, &["releases", "list", "--format", "json"]);
        let listed: Value = serde_json::from_slice(&out.stdout).unwrap();
        let latest = &listed["releases"][0];
        assert_eq!(latest["served"], true, "{listed}");
        (latest["serial"].as_u64().unwrap(), latest["author"].as_str().unwrap().to_owned())
    };
    let before = server.log().len();
    server.write_policy("modules/motd.vgo", &MOTD.replace("one", "two"));
    server.wait_for_log(before, "policy published");
    assert_eq!(latest(&server), (2, "policy.dir".to_owned()));
    assert!(server.vigocli(&admin, &["releases", "rollback", "1"]).status.success());
    assert_eq!(latest(&server).0, 3);

    // It holds over a restart; asked for, the directory is published.
    server.stop();
    let before = server.log().len();
    server.start();
    server.wait_for_log(before, "holds the policy of an older release");
    assert_eq!(latest(&server).0, 3);
    let hang_up = |server: &Server| {
        let (pid, before) = (server.pid().unwrap().to_string(), server.log().len());
        assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        server.wait_for_log(before, "policy published");
    };
    hang_up(&server);
    assert_eq!(latest(&server), (4, "policy.dir".to_owned()));

    // Not watched, it is published when it is asked for and not before.
    server.stop();
    server.configure("watch: true", "watch: false");
    server.write_policy("modules/motd.vgo", &MOTD.replace("one", "three"));
    server.start();
    assert_eq!(latest(&server).0, 4);
    hang_up(&server);
    assert_eq!(latest(&server), (5, "policy.dir".to_owned()));
    server.stop();
}

fn walk(dir: &Path, mut server: Server) {
    server.start_until("there is no policy");
    let admin =
        server.command(&["api-token", "create", "--name", "ann", "--role", "admin"]).trim().to_owned();
    let hosts = ["web-1.test", "web-2.test"].map(|name| Host::new(dir, name));
    for host in &hosts {
        let enrolled = host.enroll(&server.address, &server.token(), &server.ca_hash);
        assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
    }
    let policy = dir.join("my-policy");
    std::fs::create_dir_all(policy.join("modules")).unwrap();
    let write = |path: &str, content: &str| std::fs::write(policy.join(path), content).unwrap();
    write("nodes.vgo", NODES);
    write("modules/motd.vgo", MOTD);

    let vigocli = |server: &Server, args: &[&str]| {
        let out = server.vigocli(&admin, args);
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    };
    let root = policy.to_str().unwrap();
    let publish = |server: &Server, more: &[&str]| vigocli(server, &[&["publish", root][..], more].concat());
    let motd = |expected: &str| {
        for host in &hosts {
            let (code, out) = host.run();
            assert_eq!(code, 0, "{out}");
            assert_eq!(host.read("/etc/motd"), Some(format!("{expected} from {}\n", host.name)));
        }
    };

    // The first release: looked at, then published exactly so.
    let (code, out, err) = publish(&server, &["--dry-run"]);
    assert!(
        code == 0 && out.contains("modules/motd.vgo") && err.contains("nothing was published"),
        "{out}{err}"
    );
    let digest = out.lines().find_map(|line| line.strip_prefix("plan ")).unwrap().to_owned();
    let (code, out, err) = publish(&server, &["--plan-digest", &digest]);
    assert!(code == 0 && err.contains("release 1 is published"), "{out}{err}");
    motd("one");

    // The second one reaches both.
    write("modules/motd.vgo", &MOTD.replace("one", "two"));
    let (code, _, err) = publish(&server, &["--plan-digest", &digest]);
    assert!(code == 3 && err.contains("the plan is another one by now"), "{err}");
    let (code, out, err) = publish(&server, &["--message", "two is more"]);
    assert!(code == 0 && out.contains("motd.motd") && out.contains("production"), "{out}{err}");
    assert!(err.contains("release 2 is published; 2 of 2 envoys get something else"), "{err}");
    motd("two");
    let (code, _, err) = publish(&server, &[]);
    assert!(code == 0 && err.contains("release 2 has this policy already"), "{err}");

    // A broken policy and a missing secret are refused with their places; what was served stays.
    write("modules/motd.vgo", &MOTD.replace(".Envoy.hostname", ".Vars.nobody"));
    let (code, _, err) = publish(&server, &[]);
    assert!(code == 1 && err.contains("unknown-variable") && err.contains("modules/motd.vgo:9"), "{err}");
    write("modules/motd.vgo", &MOTD.replace("\"one from {{ .Envoy.hostname }}\\n\"", "\"secret:motd/text\""));
    let (code, _, err) = publish(&server, &[]);
    assert!(code == 1 && err.contains("modules/motd.vgo:9:14") && err.contains("`motd/text`"), "{err}");
    let (code, out, err) = vigocli(&server, &["releases", "list"]);
    assert!(code == 0 && out.contains("two is more") && err.contains("missing-secret"), "{out}{err}");
    motd("two");

    // Back to the first one.
    let (code, out, _) = vigocli(&server, &["releases", "diff", "1", "2"]);
    assert!(code == 0 && out.contains("-    content: \"one") && out.contains("+    content: \"two"), "{out}");
    let (code, _, err) = vigocli(&server, &["releases", "rollback", "1", "--message", "one was enough"]);
    assert!(code == 0 && err.contains("release 3 is published"), "{err}");
    motd("one");
    let (code, out, _) = vigocli(&server, &["releases", "show", "3"]);
    assert!(code == 0 && out.contains("one was enough") && out.contains("served"), "{out}");

    // Frozen, and on again.
    write("modules/motd.vgo", &MOTD.replace("one", "three"));
    let (code, _, err) = vigocli(&server, &["releases", "freeze", "--for", "3d", "--reason", "holidays"]);
    assert!(code == 0 && err.contains("frozen until"), "{err}");
    let (code, _, err) = publish(&server, &[]);
    assert!(code == 1 && err.contains("holidays") && err.contains("(ann)"), "{err}");
    assert_eq!(vigocli(&server, &["releases", "unfreeze"]).0, 0);

    // Killed, at whatever moment of a publish: afterwards the latest release that is stored is served.
    for delay in [0, 40, 80, 120] {
        write("modules/motd.vgo", &MOTD.replace("one", &format!("killed after {delay}")));
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| publish(&server, &[]));
            std::thread::sleep(std::time::Duration::from_millis(delay));
            let pid = server.pid().unwrap().to_string();
            assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
            publishing.join().unwrap();
        });
        server.kill();
        server.start();
        let (code, out, err) = vigocli(&server, &["releases", "list", "--format", "json"]);
        assert_eq!(code, 0, "{err}");
        let listed: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (&listed["releases"][0]["served"], &listed["publishing"]["refused"]),
            (&true.into(), &Value::Null)
        );
    }
    write("modules/motd.vgo", &MOTD.replace("one", "four"));
    assert_eq!(publish(&server, &[]).0, 0);
    motd("four");
    server.stop();
}
