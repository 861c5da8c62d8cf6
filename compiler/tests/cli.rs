//! The real `vigoc`, driven from outside: exit codes, what stands on stdout, bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/build.rs"]
mod build;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/explain.rs"]
mod explain;
#[path = "cli/fix.rs"]
mod fix;
#[path = "cli/fmt.rs"]
mod fmt;
#[path = "cli/graph.rs"]
mod graph;
#[path = "cli/inspect.rs"]
mod inspect;
#[path = "cli/lone_files.rs"]
mod lone_files;
#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/resolve.rs"]
mod resolve;
#[path = "cli/rule.rs"]
mod rule;
#[path = "cli/schema.rs"]
mod schema;

#[path = "cli/test.rs"]
mod test;
#[path = "cli/uses.rs"]
mod uses;

use serde_json::Value as Json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What a run gave.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// Checks the exit code.
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }

    /// Checks that stderr says something.
    #[track_caller]
    fn says(self, what: &str) -> Self {
        assert!(self.err.contains(what), "`{what}` is not in:\n{}", self.err);
        self
    }

    /// Checks that stdout says something.
    #[track_caller]
    fn prints(self, what: &str) -> Self {
        assert!(self.out.contains(what), "`{what}` is not in:\n{}", self.out);
        self
    }
}

fn vigoc(args: &[&str]) -> Ran {
    vigoc_in(Path::new("."), args, "")
}

fn vigoc_in(dir: &Path, args: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vigoc"))
        .args(args)
        .current_dir(dir)
        .env_remove("CLICOLOR_FORCE")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // a command that does not read may be gone already
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let done = child.wait_with_output().unwrap();
    Ran {
        code: done.status.code().expect("no signal"),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

/// A policy in a directory of its own.
fn policy(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn acme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/acme")
}

const NODES: &str = "nodes:\n  - match: \"web-*.test\"\n    environment: production\n    modules: [app]\n";
const ENVIRONMENTS: &str =
    "env:\n  production: { vars: { workers: 8 } }\n  staging: { vars: { workers: 1 } }\n";
const APP: &str = r#"name: app
vars: { workers: 4 }
defaults: { mode: "0644" }
resources:
  - name: dir
    type: directory
    target_path: /srv/app
    mode: "0755"
    before: [config]
  - name: config
    type: file
    target_path: /srv/app/config
    content: "{{ .Envoy.hostname }} {{ .Vars.workers }}"
    when: os_family('debian')
  - name: cpus
    type: file
    target_path: /srv/app/cpus
    content: "{{ .Traits.hardware.cpus }}"
    subscribes: [config]
    when: changed
"#;

/// One module for `web-*.test`.
fn small() -> TempDir {
    policy(&[("nodes.vgo", NODES), ("environments.vgo", ENVIRONMENTS), ("modules/app.vgo", APP)])
}

#[test]
fn help_has_examples_and_usage_errors_are_64() {
    for command in [
        "check", "resolve", "explain", "parse", "eval", "build", "fix", "graph", "inspect", "plan", "rdeps",
        "rule", "search", "test", "init", "lsp",
    ] {
        vigoc(&[command, "--help"]).exits(0).prints("Examples:");
        vigoc(&[command, "--no-such-flag"]).exits(64);
    }
    vigoc(&["--version"]).exits(0);
    vigoc(&["frobnicate"]).exits(64);
    vigoc(&["explain", "host"]).exits(64);
    vigoc(&["eval", "--when", "true", "--template", "x"]).exits(64);
    vigoc(&["check", ".", "-C", "."]).exits(64);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vigoc"))
        .args(["resolve", "web-01.acme.test", text(&acme())])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), String::from_utf8(done.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn the_policy_is_found_from_below() {
    let dir = small();
    std::fs::create_dir_all(dir.path().join("deep/er")).unwrap();
    vigoc_in(&dir.path().join("deep/er"), &["check"], "").exits(0);
    vigoc(&["-C", text(dir.path()), "check"]).exits(0);
    let empty = tempfile::tempdir().unwrap();
    vigoc_in(empty.path(), &["check"], "").exits(65).says("vigoc init");
}
