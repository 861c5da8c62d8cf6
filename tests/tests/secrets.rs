//! Secrets over the network, with real processes: who gets them, and where they must never be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use runtime_server::config::Config;
use runtime_server::testing::everything_in;
use vigo_tests::processes::{Host, Server, text};

const NODES: &str =
    "nodes:\n  - match: db.test\n    modules: [etc, app]\n  - match: web.test\n    modules: [etc, motd]\n";
const ETC: &str = "name: etc\nresources:\n  - { name: etc, type: directory, target_path: /etc }\n";
const APP: &str = "name: app\ndepends_on: [etc]\nvars: { password: \"secret:app/db\" }\nresources:\n  - name: config\n    type: file\n    target_path: /etc/app.conf\n    content: \"password = {{ .Vars.password }}\\n\"\n    mode: \"0600\"\n";
const MOTD: &str = "name: motd\ndepends_on: [etc]\nresources:\n  - { name: motd, type: file, target_path: /etc/motd, content: hello }\n";

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn case_090_096_a_secret_set_over_the_network_reaches_who_uses_it_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let policy = [
        ("nodes.vgo", NODES),
        ("modules/etc.vgo", ETC),
        ("modules/app.vgo", APP),
        ("modules/motd.vgo", MOTD),
    ];
    let mut server = Server::init(dir.path(), &policy);
    server.command_with_input(&["secrets", "set", "app/db"], "canary-4711-zero");
    server.start();
    let token =
        |role| server.command(&["api-token", "create", "--name", role, "--role", role]).trim().to_owned();
    let (admin, operator) = (token("admin"), token("operator"));
    let said = |output: &std::process::Output| text(&output.stdout) + &text(&output.stderr);

    let [one, two] = ["canary-4711-one", "canary-4711-two"];
    let refused = server.vigocli_with_input(&operator, &["secrets", "set", "app/db"], one);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("needs the role `admin`"), "{}", said(&refused));
    let nothing = server.vigocli(&admin, &["secrets", "set", "app/db"]);
    assert_eq!(nothing.status.code(), Some(64), "{}", said(&nothing));
    let outside = server.vigocli_with_input(&admin, &["secrets", "set", "../db"], one);
    assert_eq!(outside.status.code(), Some(64), "{}", said(&outside));
    let set = server.vigocli_with_input(&admin, &["secrets", "set", "app/db"], &format!("{one}\n"));
    assert!(set.status.success() && said(&set).contains("was replaced"), "{}", said(&set));
    let listed = server.vigocli(&admin, &["secrets", "list", "--format", "json"]);
    assert!(said(&listed).contains("app/db") && !said(&listed).contains("canary"), "{}", said(&listed));

    let hosts = ["db.test", "web.test"].map(|name| Host::new(dir.path(), name));
    for host in &hosts {
        assert!(host.enroll(&server.address, &server.token(), &server.ca_hash).status.success());
    }
    let run = |host: &Host| {
        let (code, out) = host.run();
        assert_eq!(code, 0, "{out}");
        assert!(!out.contains("canary"), "{out}");
        host.status()["bundle"]["seq"].as_u64().unwrap()
    };
    let [db, web] = &hosts;
    let before = (run(db), run(web));
    assert_eq!(db.read("/etc/app.conf").unwrap(), format!("password = {one}\n"));
    let fresh = server.vigocli_with_input(&admin, &["secrets", "set", "app/other"], "canary-4711-other");
    assert!(fresh.status.success() && said(&fresh).contains("was stored"), "{}", said(&fresh));

    // Set anew, from a file this time: who uses it gets another bundle, and nobody else does.
    let file = dir.path().join("value");
    std::fs::write(&file, two).unwrap();
    let set = server.vigocli(&admin, &["secrets", "set", "app/db", "--file", file.to_str().unwrap()]);
    assert!(set.status.success() && said(&set).contains("was replaced"), "{}", said(&set));
    let sent = server.log().iter().filter(|line| line.contains("bundle sent")).count();
    let after = (run(db), run(web));
    assert_eq!(db.read("/etc/app.conf").unwrap(), format!("password = {two}\n"));
    assert_eq!((after.0 > before.0, after.1), (true, before.1));
    assert_eq!(server.log().iter().filter(|line| line.contains("bundle sent")).count(), sent + 1);

    let removed = server.vigocli(&admin, &["secrets", "rm", "app/db"]);
    assert!(removed.status.success(), "{}", said(&removed));
    let again = server.vigocli(&admin, &["secrets", "rm", "app/db"]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    let (_, out) = db.run();
    assert!(out.contains("the secret `app/db` is not available"), "{out}");
    assert_eq!(db.read("/etc/app.conf").unwrap(), format!("password = {two}\n"), "it keeps what it has");

    let audit = said(&server.vigocli(&admin, &["audit", "list", "--format", "json"]));
    for (action, times) in [("secret.set", 3), ("secret.remove", 1)] {
        assert_eq!(audit.matches(action).count(), times, "{action}: {audit}");
    }
    server.stop();
    let database = Config::load(&server.dir.join("server.yaml")).unwrap().database;
    let places =
        [audit, server.log().join("\n"), String::from_utf8_lossy(&everything_in(&database)).into_owned()];
    for value in [one, two, "canary-4711-zero"] {
        for place in &places {
            assert!(!contains(place.as_bytes(), value), "{value} is in {place}");
        }
    }
}
