//! `vigoc plan`.

use super::{acme, policy, text, vigoc, vigoc_in};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const NODES: &str = "\
nodes:
  - match: \"web-*.test\"
    modules: [app, other]
    vars: { db_password: \"secret:web/canary\" }
  - match: \"db-*.test\"
    modules: [app]
    vars: { db_password: \"secret:db/canary\" }
";
const APP: &str = r#"name: app
params:
  db_password: { type: string }
defaults: { mode: "0644" }
resources:
  - name: one
    type: file
    target_path: /srv/one
    content: |
      first
      listen 80
      password {{ .Vars.db_password }}
  - name: two
    type: file
    target_path: /srv/two
    content: "two"
    when: os_family('debian')
    notify: [told]
  - name: told
    type: exec
    command: reload
    when: changed
"#;
const OTHER: &str =
    "name: other\nresources:\n  - { name: x, type: file, target_path: /x, content: \"\", mode: \"0644\" }\n";
const FLEET: &str = r#"[
  {"hostname": "web-1.test", "traits": {"os": {"family": "debian"}}},
  {"hostname": "web-2.test", "traits": {"os": {"family": "rhel"}}},
  {"hostname": "web-3.test", "traits": {"os": {"family": "rhel"}}},
  {"hostname": "db-1.test", "traits": {"os": {"family": "debian"}}},
  {"hostname": "lost.test", "traits": {}}
]"#;

fn base() -> Vec<(&'static str, String)> {
    vec![
        ("nodes.vgo", NODES.to_owned()),
        ("modules/app.vgo", APP.to_owned()),
        ("modules/other.vgo", OTHER.to_owned()),
        ("fleet.json", FLEET.to_owned()),
    ]
}

/// The policy above, with pieces of text replaced.
fn edited(edits: &[(&str, &str, &str)]) -> TempDir {
    let mut files = base();
    for (path, old, new) in edits {
        let (_, text) = files.iter_mut().find(|(known, _)| known == path).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{path}: {old}");
        *text = text.replace(old, new);
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    policy(&files)
}

fn plan(new: &TempDir, more: &[&str]) -> super::Ran {
    let old = edited(&[]);
    let fleet = old.path().join("fleet.json");
    let mut args = vec!["plan", text(old.path()), text(new.path()), "--fleet", text(&fleet)];
    args.extend(more);
    vigoc(&args)
}

fn document(new: &TempDir) -> Json {
    plan(new, &["--format", "json"]).exits(0).json()
}

/// (kind, module, resource, envoys) of every change.
fn changes(plan: &Json) -> Vec<(String, String, String, u64)> {
    let groups = plan["groups"].as_array().unwrap().iter();
    let name = |v: &Json| v.as_str().unwrap_or("-").to_owned();
    groups
        .flat_map(|g| g["changes"].as_array().unwrap())
        .map(|c| (name(&c["kind"]), name(&c["module"]), name(&c["resource"]), c["envoys"].as_u64().unwrap()))
        .collect()
}

fn change(kind: &str, module: &str, resource: &str, envoys: u64) -> (String, String, String, u64) {
    (kind.into(), module.into(), resource.into(), envoys)
}

#[test]
fn comments_layout_and_list_order_change_nothing() {
    let new = edited(&[
        ("modules/app.vgo", "name: app\n", "# a comment\nname:   app\n"),
        ("nodes.vgo", "nodes:\n", "# more\n\nnodes:\n"),
    ]);
    let plan = document(&new);
    assert_eq!(plan["summary"]["touched"], 0);
    assert_eq!(plan["summary"]["unchanged"], 4);
    assert_eq!(plan["summary"]["unmatched"], 1);
    assert_eq!(plan["groups"], json!([]));
    self::plan(&new, &["--detailed-exitcode"]).exits(0).prints("nothing changes on 5 envoys");
}

#[test]
fn equal_changes_are_told_once_with_all_their_envoys() {
    let new = edited(&[("modules/app.vgo", "content: \"two\"", "content: \"2\"")]);
    let plan = document(&new);
    // only on the Debian hosts; the password in another resource differs, the change does not
    assert_eq!(changes(&plan), [change("changed", "app", "two", 2)]);
    let first = &plan["groups"][0]["changes"][0];
    assert_eq!(first["parts"], json!([{ "part": "attribute", "name": "content", "old": "two", "new": "2" }]));
    let hosts: Vec<&Json> = first["variants"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|at| plan["variants"][at.as_u64().unwrap() as usize]["hosts"].as_array().unwrap())
        .collect();
    assert_eq!(hosts, ["db-1.test", "web-1.test"]);
    self::plan(&new, &["--detailed-exitcode"])
        .exits(2)
        .prints("2 of 5 envoys get something else")
        .prints("2 envoys  db-1.test, web-1.test")
        .prints("nodes.vgo:2  web-*.test")
        .prints("~ app.two  (file)")
        .prints("content: two → \"2\"");
}

#[test]
fn every_kind_of_change_is_told_apart() {
    let at = APP.find("  - name: one").unwrap();
    let one = &APP[at..APP.find("  - name: two").unwrap()];
    let last = "    command: reload\n    when: changed\n";
    for (edits, expected) in [
        // resources change places
        (
            vec![("modules/app.vgo", one, ""), ("modules/app.vgo", last, &*format!("{last}{one}"))],
            // what it now comes after depends on which resources there are
            vec![change("reordered", "app", "-", 2), change("reordered", "app", "-", 2)],
        ),
        (vec![("modules/app.vgo", "    notify: [told]\n", "")], vec![change("changed", "app", "two", 2)]),
        (
            vec![("modules/app.vgo", "os_family('debian')", "os_family('rhel')")],
            vec![change("added", "app", "two", 2), change("removed", "app", "two", 2)],
        ),
        (
            vec![("modules/app.vgo", "name: two\n", "name: zwei\n")],
            vec![change("added", "app", "zwei", 2), change("removed", "app", "two", 2)],
        ),
        (vec![("nodes.vgo", "[app, other]", "[app]")], vec![change("removed", "other", "-", 3)]),
        (vec![("nodes.vgo", "[app, other]", "[other, app]")], vec![change("reordered", "-", "-", 3)]),
        (
            vec![("nodes.vgo", "    modules: [app]\n", "    modules: [app, other]\n")],
            vec![change("added", "other", "-", 1)],
        ),
        (
            vec![("modules/other.vgo", "name: other\n", "name: other\ndepends_on: [app]\n")],
            vec![change("changed", "other", "-", 3)],
        ),
    ] {
        let new = edited(&edits);
        let plan = document(&new);
        let mut found = changes(&plan);
        found.sort();
        assert_eq!(found, expected, "{edits:?}");
    }
}

#[test]
fn only_what_no_resource_reads_is_no_change() {
    let new = edited(&[(
        "nodes.vgo",
        "vars: { db_password: \"secret:db",
        "vars: { unread: 1, db_password: \"secret:db",
    )]);
    let plan = document(&new);
    assert_eq!((&plan["summary"]["variables"], &plan["summary"]["touched"]), (&json!(1), &json!(0)));
    assert_eq!(plan["groups"], json!([]));
}

#[test]
fn texts_are_shown_as_a_difference_and_secrets_by_name() {
    let new = edited(&[
        ("modules/app.vgo", "listen 80\n", "listen 8080\n"),
        ("nodes.vgo", "secret:web/canary", "secret:web/second"),
    ]);
    let human = plan(&new, &["-v"]).exits(0);
    for line in ["-listen 80", "+listen 8080", " first"] {
        assert!(human.out.lines().any(|l| l.ends_with(line)), "{line}:\n{}", human.out);
    }
    // two variations of one change, because the secrets differ
    human.prints("-password {{ secret \"web/canary\" }}").prints("+password {{ secret \"web/second\" }}");
    let concise = plan(&new, &[]).exits(0).prints("of these on 3 envoys").prints("1 more variation");
    assert_eq!(concise.out.matches("~ app.one").count(), 1, "{}", concise.out);
}

#[test]
fn envoys_come_go_and_break() {
    let new = edited(&[
        ("nodes.vgo", "  - match: \"db-*.test\"", "  - match: \"lost.*\""),
        ("modules/other.vgo", "type: file", "type: fil"),
    ]);
    let ran =
        plan(&new, &["--format", "json", "--max-envoys", "0"]).exits(1).says("does not compile for 3 envoys");
    let summary = &ran.json()["summary"];
    for (key, count) in [("removed", 1), ("added", 1), ("broken", 3), ("changed", 0)] {
        assert_eq!(summary[key], count, "{key}: {summary}");
    }
    ran.says("there is no resource type `fil`").says("`--max-envoys 0` is exceeded");
    plan(&new, &[])
        .exits(1)
        .prints("no entry matches any more")
        .prints("an entry matches now")
        .prints("the new policy does not compile");

    // the other way round
    let old = new;
    let fleet = old.path().join("fleet.json");
    let new = edited(&[]);
    let ran =
        vigoc(&["plan", text(old.path()), text(new.path()), "--fleet", text(&fleet), "--format", "json"])
            .exits(0);
    assert_eq!(ran.json()["summary"]["repaired"], 3);
}

#[test]
fn a_host_that_another_entry_takes_is_told_which() {
    let new = edited(&[("nodes.vgo", "nodes:\n", "nodes:\n  - { match: web-1.test, modules: [other] }\n")]);
    plan(&new, &[])
        .exits(0)
        .prints("taken by another entry: nodes.vgo:2  web-*.test → nodes.vgo:2  web-1.test")
        .prints("- module app  (3 resources)");
}

#[test]
fn gates_are_exit_3_and_say_what_was_exceeded() {
    let new = edited(&[("modules/app.vgo", "content: \"two\"", "content: \"2\"\n    state: absent")]);
    plan(&new, &["--max-envoys", "2", "--max-deletes", "2", "--deny", "removed"]).exits(0).prints("is kept");
    plan(&new, &["--max-envoys", "1"]).exits(3).says("`--max-envoys 1` is exceeded: 2 envoys");
    plan(&new, &["--max-envoys", "40%"]).exits(0);
    plan(&new, &["--max-envoys", "39.9%"]).exits(3).says("`--max-envoys 39.9%` is exceeded");
    plan(&new, &["--max-deletes", "1"]).exits(3).says("2 deletes");
    plan(&new, &["--deny", "changed:file"]).exits(3);
    plan(&new, &["--deny", "changed:exec"]).exits(0);
    plan(&new, &["--deny", "envoy-removed"]).exits(0);
    let ran = plan(&new, &["--max-envoys", "1", "--format", "json"]).exits(3);
    assert_eq!(
        ran.json()["gates"],
        json!([{ "gate": "--max-envoys", "limit": "1", "actual": 2, "exceeded": true }])
    );
    for wrong in
        [["--deny", "chnged"], ["--max-envoys", "x"], ["--max-envoys", "101%"], ["--deny", "changed:nope"]]
    {
        plan(&new, &wrong).exits(64);
    }
}

#[test]
fn markdown_fits_into_a_comment() {
    let new = edited(&[("modules/app.vgo", "listen 80\n", "listen ```` 8080\n")]);
    plan(&new, &["--format", "markdown"])
        .exits(0)
        .prints("### Plan: 4 of 5 envoys get something else")
        .prints("\n`````diff\n! app.one  (file)\n")
        .prints("\n+     listen ```` 8080\n");
    // more changes than a comment takes
    let many = |content: &str| {
        let entry = |n: usize| {
            format!("  - {{ match: h{n}.test, modules: [m], vars: {{ v: \"{n} {content}\" }} }}\n")
        };
        let nodes = format!("nodes:\n{}", (0..400).map(entry).collect::<String>());
        let resource = |n: usize| {
            format!(
                "  - {{ name: r{n}, type: file, target_path: /{n}, content: \"{{{{ .Vars.v }}}}\", mode: \"0644\" }}\n"
            )
        };
        let module = format!("name: m\nresources:\n{}", (0..5).map(resource).collect::<String>());
        policy(&[("nodes.vgo", &nodes), ("modules/m.vgo", &module)])
    };
    let (old, new) = (many("a"), many(&"b".repeat(40)));
    let fleet: Vec<Json> = (0..400).map(|n| json!({ "hostname": format!("h{n}.test") })).collect();
    let fleet = Json::from(fleet).to_string();
    let args = ["plan", text(old.path()), text(new.path()), "--fleet", "-", "--format", "markdown", "-v"];
    let ran = vigoc_in(Path::new("."), &args, &fleet).exits(0);
    assert!(ran.out.chars().count() <= 65_000, "{}", ran.out.chars().count());
    ran.prints("did not fit here");
}

fn git(dir: &Path, args: &[&str]) {
    let done = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn revisions_are_read_with_git() {
    let repository = tempfile::tempdir().unwrap();
    let dir = repository.path().join("infra/policy");
    std::fs::create_dir_all(dir.join("modules")).unwrap();
    for (path, text) in base() {
        std::fs::write(dir.join(path), text).unwrap();
    }
    std::fs::create_dir(dir.join("templates")).unwrap();
    std::fs::rename(dir.join("modules/other.vgo"), dir.join("templates/other.vgo")).unwrap();
    std::os::unix::fs::symlink("../templates/other.vgo", dir.join("modules/other.vgo")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("leaves.vgo")).unwrap();
    git(repository.path(), &["init", "-q"]);
    git(repository.path(), &["add", "."]);
    git(repository.path(), &["commit", "-qm", "a link that leaves the policy"]);
    git(repository.path(), &["tag", "v0"]);
    std::fs::remove_file(dir.join("leaves.vgo")).unwrap();
    git(repository.path(), &["commit", "-qam", "mended"]);
    git(repository.path(), &["tag", "v1"]);
    std::fs::write(dir.join("modules/app.vgo"), APP.replace("content: \"two\"", "content: \"2\"")).unwrap();
    let fleet = dir.join("fleet.json");
    let fleet = ["--fleet", text(&fleet), "--format", "json"];
    let plan = |dir: &Path, args: &[&str]| vigoc_in(dir, &[&["plan"], args, &fleet].concat(), "");
    let two = [change("changed", "app", "two", 2)];
    // links are seen as in a directory
    assert_eq!(plan(&dir, &["v0", "v1"]).exits(0).json()["summary"]["repaired"], 4);
    let ran = plan(repository.path(), &["v1", "infra/policy"]).exits(0);
    assert_eq!(changes(&ran.json()), two);
    assert_eq!(changes(&plan(&dir, &["HEAD", "."]).exits(0).json()), two);
    assert_eq!(changes(&plan(repository.path(), &["v1:infra/policy", "infra/policy"]).exits(0).json()), two);
    git(repository.path(), &["commit", "-qam", "two"]);
    assert_eq!(changes(&plan(&dir, &["v1", "main"]).exits(0).json()), two);
    assert_eq!(changes(&plan(repository.path(), &["v1", "main", "-C", "infra/policy"]).exits(0).json()), two);
    // an environment that points elsewhere has no say
    let elsewhere = Command::new(env!("CARGO_BIN_EXE_vigoc"))
        .current_dir(&dir)
        .args([&["plan", "v1", "main"], &fleet[..]].concat())
        .env("GIT_DIR", "/nonexistent")
        .output()
        .unwrap();
    assert!(elsewhere.status.success(), "{}", String::from_utf8_lossy(&elsewhere.stderr));

    for (args, message) in [
        (["nope", "main"], "neither a directory nor a revision"),
        (["v1:nope", "main"], "has no directory `nope`"),
        (["v1:infra/policy/nodes.vgo", "main"], "has no directory"),
        (["v1:infra/policy/modules/..", "main"], "has no directory"),
        (["", "main"], "neither a directory nor a git revision"),
    ] {
        plan(&dir, &args).exits(65).says(message);
    }
    let lone = edited(&[]);
    plan(lone.path(), &["HEAD", "."]).exits(65).says("is not in a git repository");
    let without = Command::new(env!("CARGO_BIN_EXE_vigoc"))
        .current_dir(&dir)
        .args([&["plan", "v1", "main"], &fleet[..]].concat())
        .env("PATH", "")
        .output()
        .unwrap();
    assert_eq!(without.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&without.stderr).contains("the program `git`"));
}

#[test]
fn acme_does_not_differ_from_itself() {
    let root = acme();
    let fleet = root.join("fleet.jsonl");
    vigoc(&["plan", text(&root), text(&root), "--fleet", text(&fleet)])
        .exits(0)
        .prints("nothing changes on 10 envoys");
}
