//! The `vigosrv` program itself.

use runtime_server::store::Database;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn vigosrv(args: &[&str], tmp: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vigosrv")).args(args).env("TMPDIR", tmp).output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32) -> (String, String) {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    (out, err)
}

fn policy(dir: &Path) {
    std::fs::create_dir_all(dir.join("modules")).unwrap();
    std::fs::write(dir.join("nodes.vgo"), "nodes:\n  - match: \"*\"\n    modules: [greeting]\n").unwrap();
    let module = "name: greeting
resources:
  - name: dir
    type: directory
    target_path: /etc
  - name: file
    type: file
    target_path: /etc/greeting
    content: |
      hello
    depends_on: [dir]
";
    std::fs::write(dir.join("modules/greeting.vgo"), module).unwrap();
}

#[test]
fn setting_up_asking_and_refusing() {
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path();
    let srv = tmp.join("srv");
    let config = srv.join("server.yaml");
    let (srv, config_arg) = (srv.to_str().unwrap(), config.to_str().unwrap());
    let (hash, _) = expect(&vigosrv(&["init", "--dir", srv, "--hostname", "localhost"], tmp), 0);
    assert_eq!(hash.trim().len(), 64);
    expect(&vigosrv(&["init", "--dir", srv], tmp), 1);
    expect(&vigosrv(&["check-config", "--config", config_arg], tmp), 0);

    let (token, said) =
        expect(&vigosrv(&["token", "create", "--config", config_arg, "--hostname", "web-*"], tmp), 0);
    assert!(said.contains(hash.trim()) && said.contains(token.trim()));
    let id = token.split('.').nth(1).unwrap();
    let (list, _) = expect(&vigosrv(&["token", "list", "--config", config_arg], tmp), 0);
    assert!(list.contains(id) && list.contains("web-*") && !list.contains(token.trim()));
    expect(&vigosrv(&["token", "revoke", "--config", config_arg, id], tmp), 0);
    expect(&vigosrv(&["token", "revoke", "--config", config_arg, id], tmp), 1);
    let (json, _) = expect(&vigosrv(&["envoys", "--format", "json", "--config", config_arg], tmp), 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["format_version"], &json["fleet"]["active"]), (&"1.0".into(), &0.into()));
    expect(&vigosrv(&["runs", "nobody", "--config", config_arg], tmp), 1);
    let copy = tmp.join("copy.db");
    expect(&vigosrv(&["backup", "--config", config_arg, copy.to_str().unwrap()], tmp), 0);
    runtime_server::store::open(&Database::Sqlite(copy), false).unwrap();

    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("0.0.0.0:8443"), "{text}");
    std::fs::write(&config, text.replace("0.0.0.0:8443", "0.0.0.0:1530")).unwrap();
    let (_, said) = expect(&vigosrv(&["check-config", "--config", config_arg], tmp), 65);
    assert!(said.contains("`listen.grpc` and `listen.http` are both 0.0.0.0:1530"), "{said}");
    std::fs::write(&config, text + "colour: blue\n").unwrap();
    let (_, said) = expect(&vigosrv(&["check-config", "--config", config_arg], tmp), 65);
    assert!(said.contains("`colour` is not a setting"), "{said}");
    let (_, said) = expect(&vigosrv(&["run", "--config", "/nowhere/server.yaml"], tmp), 65);
    assert!(said.contains("`--config FILE` names another one"), "{said}");
    expect(&vigosrv(&["serve"], tmp), 64);
    expect(&vigosrv(&["token", "create", "--ttl", "soon"], tmp), 64);
    expect(&vigosrv(&["--help"], tmp), 0);
}

#[test]
fn what_keeps_the_server_from_starting_is_found_by_check_config_and_ends_both_alike() {
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path();
    let srv = tmp.join("srv");
    expect(&vigosrv(&["init", "--dir", srv.to_str().unwrap(), "--hostname", "localhost"], tmp), 0);
    let config = srv.join("server.yaml");
    let good = std::fs::read_to_string(&config)
        .unwrap()
        .replace("0.0.0.0:1530", "127.0.0.1:0")
        .replace("0.0.0.0:8443", "127.0.0.1:0");
    std::fs::write(&config, &good).unwrap();
    let config = config.to_str().unwrap();
    expect(&vigosrv(&["check-config", "--config", config], tmp), 0);
    let both = |said: &str| {
        for command in ["check-config", "run"] {
            let (_, err) = expect(&vigosrv(&[command, "--config", config], tmp), 65);
            assert!(err.contains(said), "{command}: {err}");
        }
    };
    let with = |file: &str, text: Option<&str>, said: &str| {
        let (file, kept) = (srv.join(file), srv.join("kept"));
        std::fs::rename(&file, &kept).unwrap();
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        both(said);
        std::fs::rename(&kept, &file).unwrap();
    };
    with("vigo.db", None, "there is no database at");
    with("vigo.db", Some(&"not a database, and long enough to be one. ".repeat(100)), "is damaged");
    with("vigo.db", Some(""), "there is no database at");
    with("tls/ca.key", None, "ca.key");
    let other = std::fs::read_to_string(srv.join("tls/signer.key")).unwrap();
    with("tls/ca.key", Some(&other), "key and certificate do not belong together");
    with("tls/server.key", Some(&other), "certificates and keys cannot be used");
    let one_port = good.replace("127.0.0.1:0", "127.0.0.1:15300");
    std::fs::write(config, one_port).unwrap();
    both("`listen.grpc` and `listen.http` are both 127.0.0.1:15300");
    let connection = rusqlite::Connection::open(srv.join("vigo.db")).unwrap();
    connection.execute("update vigo_schema set version = 9999", []).unwrap();
    std::fs::write(config, &good).unwrap();
    both("has schema 9999");
}

#[test]
fn run_stops_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path();
    let srv = tmp.join("srv");
    expect(&vigosrv(&["init", "--dir", srv.to_str().unwrap(), "--hostname", "localhost"], tmp), 0);
    policy(&srv.join("policy"));
    let config = srv.join("server.yaml");
    let text = std::fs::read_to_string(&config)
        .unwrap()
        .replace("0.0.0.0:1530", "127.0.0.1:0")
        .replace("0.0.0.0:8443", "127.0.0.1:0");
    std::fs::write(&config, text).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_vigosrv"))
        .args(["run", "--log-format", "json", "--config", config.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    let (_, log) = expect(&output, 0);
    for line in log.lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap();
    }
    assert!(log.contains("policy published") && log.contains("stopped"), "{log}");
}

#[test]
fn dev_once_converges_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (good, tmp) = (dir.path().join("policy"), dir.path().join("tmp"));
    std::fs::create_dir(&tmp).unwrap();
    policy(&good);
    let started = Instant::now();
    let (out, _) = expect(&vigosrv(&["dev", good.to_str().unwrap(), "--once"], &tmp), 0);
    for part in ["compiled", "1 module,", "enrolled   demo", "greeting.file", "0 failed", "sandbox removed"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);

    std::fs::write(good.join("modules/greeting.vgo"), "name: greeting\nresorces: []\n").unwrap();
    let (out, _) = expect(&vigosrv(&["dev", good.to_str().unwrap(), "--once"], &tmp), 1);
    assert!(out.contains("nothing to serve yet"), "{out}");
    expect(&vigosrv(&["dev", "/nowhere", "--once"], &tmp), 65);
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
}

#[test]
fn an_error_says_that_it_is_one_and_names_no_option_of_another_program() {
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path();
    std::fs::create_dir(tmp.join("empty")).unwrap();
    let empty = tmp.join("empty");
    let (_, said) = expect(&vigosrv(&["dev", empty.to_str().unwrap()], tmp), 65);
    assert!(said.starts_with("error: no policy in `") && !said.contains("-C"), "{said}");
    let (_, said) = expect(&vigosrv(&["run", "--config", "/nonexistent/server.yaml"], tmp), 65);
    assert!(said.starts_with("error: cannot read the configuration"), "{said}");
    std::fs::write(tmp.join("server.yaml"), "cluster:\n  id: x\n").unwrap();
    let (_, said) =
        expect(&vigosrv(&["run", "--config", tmp.join("server.yaml").to_str().unwrap()], tmp), 65);
    assert!(said.ends_with("error: the configuration has 1 mistake\n"), "{said}");
}

#[test]
fn completions_and_man_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (script, _) = expect(&vigosrv(&["completions", "bash"], dir.path()), 0);
    assert!(script.contains("vigosrv") && script.contains("check-config"), "{script}");
    let out = dir.path().join("man1");
    expect(&vigosrv(&["man", "--out", out.to_str().unwrap()], dir.path()), 0);
    assert!(std::fs::read_to_string(out.join("vigosrv-token-create.1")).unwrap().contains("ttl"));
}
