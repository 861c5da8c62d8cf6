//! The program itself, as whoever types its name sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use ir::{Expr, Hash, Module, Resource, Value, merkle};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

fn vigo(root: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vigo"))
        .arg("--root")
        .arg(root)
        .args(words)
        .env_remove("JOURNAL_STREAM")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A host with a file of traits that is not understood.
fn host() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let traits = root.path().join("etc/vigo/traits.d");
    fs::create_dir_all(&traits).unwrap();
    fs::set_permissions(&traits, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, text) in [("good.json", "{\"rack\": \"b7\"}"), ("bad.json", "{\n")] {
        fs::write(traits.join(name), text).unwrap();
        fs::set_permissions(traits.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    root
}

#[test]
fn traits_are_printed_and_what_is_wrong_is_told_beside_them() {
    let root = host();
    let told = vigo(root.path(), &["traits", "custom"]);
    assert_eq!((told.status.code(), text(&told.stdout).as_str()), (Some(0), "custom.good.rack = b7\n"));
    let said = text(&told.stderr);
    assert!(said.starts_with(" WARN traits of `custom`: /etc/vigo/traits.d/bad.json: is no JSON"), "{said}");
}

#[test]
fn case_079_the_journal_gets_priorities_and_no_colours() {
    let root = host();
    let path = root.path().join("journal");
    let journal = File::create(&path).unwrap();
    let meta = journal.metadata().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_vigo"))
        .arg("--root")
        .arg(root.path())
        .args(["traits", "custom", "--color", "always"])
        .env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()))
        .stdout(Stdio::null())
        .stderr(journal)
        .status()
        .unwrap();
    assert!(status.success());
    let said = fs::read_to_string(path).unwrap();
    assert!(said.starts_with("<4>traits of `custom`") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn exit_codes_are_those_of_the_table() {
    let root = host();
    for (words, code, part) in [
        (&["pause", "--for", "2h", "--reason", "x"][..], 65, "not enrolled"),
        (&["pause", "--for", "2 weeks", "--reason", "x"], 64, "write it like `30m`"),
        (&["pause", "--for", "31d", "--reason", "x"], 64, "at most 30 days"),
        (&["pause", "--for", "1h", "--reason", " "], 64, "say why"),
        (&["pause", "--for", "1h"], 64, "--reason"),
        (&["resume"], 65, "not enrolled"),
        (&["explain", "a.b"], 65, "not enrolled"),
        (&["explain"], 64, "RESOURCE"),
    ] {
        let told = vigo(root.path(), words);
        let said = text(&told.stderr);
        assert_eq!(told.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {said}");
    }
    let told = vigo(root.path(), &["doctor", "--format", "json"]);
    let checks: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (told.status.code(), checks["good"].as_bool(), checks["command"].as_str()),
        (Some(1), Some(false), Some("doctor"))
    );
}

#[test]
fn what_is_said_names_the_directory_that_was_given() {
    let root = host();
    let help = text(&vigo(root.path(), &["--help"]).stdout);
    assert!(help.starts_with("Keeps this host in the state that its policy declares\n"), "{help}");
    let missing = root.path().join("missing");
    let policy = tempfile::tempdir().unwrap();
    bundle(policy.path(), "true");
    let told = vigo(&missing, &["apply", policy.path().to_str().unwrap(), "--dry-run"]);
    let said = text(&told.stderr);
    assert!(said.contains("has to exist") && !said.contains("declare"), "{said}");
    let settings = root.path().join("etc/vigo/agent.json");
    let line = || {
        let told = text(&vigo(root.path(), &["doctor"]).stdout);
        told.lines().find(|line| line.starts_with("settings")).unwrap().to_owned()
    };
    assert!(line().contains(settings.to_str().unwrap()), "{}", line());
    fs::write(&settings, "{\"tasks\": \n").unwrap();
    for part in [settings.to_str().unwrap(), "it is no JSON", "mend it or move it away"] {
        assert!(line().contains(part), "{}", line());
    }
}

/// What `vigoc build` writes for a host with one command.
fn bundle(directory: &Path, command: &str) {
    let attribute = |name: &str, value: Value| (name.into(), Expr::Const(value));
    let resource = Resource {
        name: "r".into(),
        kind: "exec".into(),
        when: None,
        attributes: vec![
            attribute("command", command.into()),
            attribute("returns", Value::List(vec![Value::Int(0)])),
            attribute("shell", true.into()),
            attribute("timeout", "60s".into()),
        ],
        depends_on: vec![],
        notify: vec![],
    };
    let module = Module { name: "m".into(), depends_on: vec![], resources: vec![resource] };
    let bytes = ir::wire::encode_module(&module).unwrap();
    let (hash, vars) = (Hash::of(&bytes), Hash::of(b"vars"));
    fs::create_dir_all(directory.join("blobs")).unwrap();
    fs::write(directory.join("blobs").join(hash.to_string()), &bytes).unwrap();
    let json = serde_json::json!({
        "format_version": "1.0", "envoy": "web-1.test", "run_order": ["m"],
        "modules": [{"name": "m", "hash": hash.to_string(), "size": bytes.len()}],
        "vars_hash": vars.to_string(),
        "merkle_root": merkle::bundle_root(vars, [("m", hash)].into_iter()).to_string(),
    });
    fs::write(directory.join("bundle.json"), json.to_string()).unwrap();
}

/// Killed as by a mistake, once it is at work, with no limit for a core of its own.
fn crashed(mut command: Command, at_work: &Path) -> ExitStatus {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !at_work.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT).unwrap();
    child.wait().unwrap()
}

#[test]
fn case_091_an_agent_that_crashes_leaves_no_core() {
    let root = tempfile::tempdir().unwrap();
    let policy = tempfile::tempdir().unwrap();
    bundle(policy.path(), "touch at-work; sleep 20");
    let line = |program: &str, rest: &str| {
        let mut command = Command::new("sh");
        command.current_dir(root.path()).arg("-c").arg(format!("ulimit -c unlimited; exec {program} {rest}"));
        command
    };
    let agent = format!("--root {} apply {}", root.path().display(), policy.path().display());
    let ended = crashed(line(env!("CARGO_BIN_EXE_vigo"), &agent), &root.path().join("at-work"));
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
    let left =
        fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    assert!(left.into_iter().all(|name| !name.starts_with("core")));
}
