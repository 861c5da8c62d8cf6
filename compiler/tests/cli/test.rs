//! `vigoc test`.

use super::{acme, policy, text, vigoc, vigoc_in};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tempfile::TempDir;

const NODES: &str = "nodes:\n  - { match: \"web-*.test\", environment: production, modules: [base, app] }\n";
const ENVIRONMENTS: &str =
    "env:\n  production: { vars: { workers: 8 } }\n  staging: { vars: { workers: 1 } }\n";
const BASE: &str = "name: base\nresources:\n  - { name: dir, type: directory, target_path: /srv }\n";
const APP: &str = r#"name: app
vars: { workers: 4, title: App, users: [ada] }
depends_on: [base]
defaults: { mode: "0644" }
resources:
  - name: config
    type: file
    target_path: /srv/config
    content: |
      # managed
      workers {{ .Vars.workers }}
      title {{ .Vars.title }}
    notify: [reload]
  - name: debian
    type: file
    target_path: /srv/debian
    content: "{{ .Traits.network.fqdn }} {{ .Traits.hardware.cpus }}"
    when: os_family('debian') && vars.workers > 2
  - name: "user-{{ .Item }}"
    type: file
    foreach: users
    target_path: "/srv/{{ .Item }}"
    content: ""
  - name: reload
    type: exec
    command: reload
    when: changed
"#;

fn with(tests: &[(&str, &str)]) -> TempDir {
    let mut files = vec![
        ("nodes.vgo", NODES),
        ("environments.vgo", ENVIRONMENTS),
        ("modules/base.vgo", BASE),
        ("modules/app.vgo", APP),
    ];
    files.extend(tests);
    policy(&files)
}

/// What one test with these expectations says, beside its name.
fn failures(expect: &str) -> Vec<String> {
    let test = format!("test: t\nenvoy: web-1.test\ntraits: debian12\nexpect: {expect}\n");
    let dir = with(&[("tests/t.vgo", &test)]);
    let document = vigoc(&["test", text(dir.path()), "--format", "json"]).json();
    assert_eq!(document["diagnostics"], json!([]), "{expect}");
    let all = document["tests"][0]["failures"].as_array().unwrap().iter();
    all.map(|f| f["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_holds_passes() {
    for expect in [
        "{}",
        "{ modules: [base, app] }",
        "{ modules: [app] }",
        "{ modules: { equals: [base, app], contains: app } }",
        "{ vars: { workers: 8, title: { not: x }, users: { contains: ada } } }",
        "{ resources: { app.config: present, app.user-eve: absent } }",
        "{ resources: { app.config: { type: file, mode: \"0644\", state: present, content: { contains: workers 8 } } } }",
        "{ resources: { app.config: { when: null, notify: [app.reload] }, app.reload: { when: changed } } }",
        "{ resources: { app.debian: { content: web-1.test 2, backup: false, owner: { absent: true } } } }",
        "{ order: [base.dir, app.config, app.reload] }",
    ] {
        assert_eq!(failures(expect), [""; 0], "{expect}");
    }
}

#[test]
fn what_does_not_hold_says_what_there_is() {
    for (expect, said) in [
        ("{ modules: [app, base] }", "module `base` comes before `app`, not after it"),
        ("{ modules: [base, ap] }", "there is no module `ap`"),
        ("{ modules: { lacks: base } }", "the list of modules contains `base`"),
        ("{ vars: { workers: 4 } }", "`workers` is `8`, not `4`"),
        ("{ vars: { wrokers: 4 } }", "no layer sets `wrokers` for this host"),
        ("{ resources: { app.config: absent } }", "`app.config` is there"),
        ("{ resources: { app.confg: absent } }", "module `app` has no resource `confg`"),
        ("{ resources: { ap.config: present } }", "there is no module `ap`"),
        (
            "{ resources: { app.user-eve: present } }",
            "`app.user-eve` is not there: the list of its `foreach:` has no such item",
        ),
        ("{ resources: { app.config: { mode: \"0600\" } } }", "`mode` of `app.config` is `0644`, not `0600`"),
        ("{ resources: { app.config: { mod: \"0600\" } } }", "type `file` has no attribute `mod`"),
        (
            "{ resources: { app.config: { content: { contains: workers 4 } } } }",
            "`content` of `app.config` does not contain `workers 4`",
        ),
        ("{ order: [app.config, base.dir] }", "`base.dir` runs before `app.config`, not after it"),
        ("{ order: [app.nope] }", "module `app` has no resource `nope`"),
    ] {
        assert_eq!(failures(expect), [said], "{expect}");
    }
}

#[test]
fn a_failure_shows_the_expectation_and_what_there_is() {
    let expect = "test: t\nenvoy: web-1.test\nexpect:\n  resources:\n    app.config:\n      content: |\n        # managed\n        workers 80\n        title App\n";
    let dir = with(&[("tests/deep/t.vgo", expect)]);
    vigoc(&["test", text(dir.path())])
        .exits(1)
        .prints("FAIL  tests/deep/t.vgo  t")
        .prints("`content` of `app.config` is another text")
        .prints("tests/deep/t.vgo:6:")
        .prints("-workers 80")
        .prints("+workers 8\n")
        .prints("0 tests passed, 1 failed, in 1 file");
}

#[test]
fn environment_traits_and_variables_are_those_of_the_test() {
    let test = "\
envoy: web-1.test
tests:
  - { test: staging, environment: staging, expect: { vars: { workers: 1 } } }
  - { test: over all, vars: { workers: 3 }, expect: { vars: { workers: 3 } } }
  - { test: rocky, traits: rocky9, expect: { resources: { app.debian: absent } } }
  - { test: open, expect: { resources: { app.debian: { when: \"os_family('debian')\" } } } }
  - { test: own, traits: { os.family: debian, hardware: { cpus: 9 } }, expect: { resources: { app.debian: { when: null } } } }
  - { test: more, traits: { fixture: debian12, hardware.cpus: 9 }, expect: { resources: { app.debian: { content: web-1.test 9 } } } }
  - { test: few, traits: debian12, vars: { workers: 1 }, expect: { resources: { app.debian: absent } } }
";
    let dir = with(&[("tests/t.vgo", test)]);
    vigoc(&["test", text(dir.path())]).exits(0).prints("7 tests passed, in 1 file");
    vigoc(&["test", text(dir.path()), "--filter", "rock", "-v"])
        .exits(0)
        .prints("ok    tests/t.vgo  rocky\n1 test passed");
    vigoc(&["test", text(dir.path()), "--filter", "nothing"]).exits(0).says("no test has this text");
}

#[test]
fn a_test_that_makes_no_sense_fails() {
    for (test, said) in [
        ("envoy: db-1.test", "no entry matches `db-1.test`"),
        ("envoy: web-1.test\nenvironment: stagin", "nothing declares the environment `stagin`"),
        ("envoy: web-1.test\ntraits: debian99", "there is no fixture `debian99`"),
        ("envoy: web-1.test\ntraits: { os: { famly: debian } }", "there is no trait `os.famly`"),
        ("envoy: web-1.test\ntraits: { os: { family: dbian } }", "trait `os.family` cannot be `dbian`"),
        ("envoy: web-1.test\ntraits: { os: linux }", "`os` is a group of traits, not text"),
        ("envoy: web-1.test\nvars: { workers: many }", "`workers` is an int, not a string"),
        ("envoy: web-1.test\nvars: { wrkers: 1 }", "no layer sets `wrkers` for `web-1.test`"),
        ("envoy: a/b", "`a/b` is not a host name"),
    ] {
        let test = format!("test: t\n{test}\nexpect: {{}}\n");
        let dir = with(&[("tests/t.vgo", &test)]);
        let document = vigoc(&["test", text(dir.path()), "--format", "json"]).exits(1).json();
        assert_eq!(document["tests"][0]["failures"][0]["message"], said, "{test}");
    }
    // what cannot be read at all is a finding, in `check` too
    let dir = with(&[("tests/t.vgo", "test: t\nenvoy: web-1.test\nexpct: {}\n")]);
    vigoc(&["test", text(dir.path())])
        .exits(1)
        .prints("did you mean `expect`?")
        .prints("2 errors in test files");
    vigoc(&["check", text(dir.path())]).exits(1).prints("a test has no key `expct`");
    // nor is a policy with errors passed over
    let dir = with(&[
        ("tests/t.vgo", "test: t\nenvoy: web-1.test\nexpect: {}\n"),
        ("modules/base.vgo", "name: base\nresources: [{ type: nope }]\n"),
    ]);
    vigoc(&["test", text(dir.path())])
        .exits(1)
        .prints("the policy has 1 error for this host")
        .prints("there is no resource type `nope`");
    let empty = with(&[]);
    vigoc(&["test", text(empty.path())]).exits(0).says("the policy has no tests");
}

#[test]
fn a_snapshot_is_stored_and_compared() {
    let test = "tests:\n  - { test: a, envoy: web-1.test, expect: { snapshot: true } }\n  - { test: b, envoy: web-2.test, expect: { snapshot: true } }\n";
    let dir = with(&[("tests/t.vgo", test)]);
    let run = |args: &[&str]| vigoc(&[&["test", text(dir.path())], args].concat());
    run(&[]).exits(1).prints("nothing is stored for this test").prints("--bless");
    run(&["--bless"]).exits(0).says("2 snapshots stored");
    run(&[]).exits(0);
    let path = dir.path().join("tests/t.snapshot.json");
    let stored = |name: &str| -> Json {
        let all: Json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        all["tests"][name].clone()
    };
    assert_eq!(stored("a")["vars"]["workers"], 8);
    // lines may move without a difference, values may not
    let app = dir.path().join("modules/app.vgo");
    std::fs::write(&app, format!("# a line more\n{APP}")).unwrap();
    run(&[]).exits(0);
    std::fs::write(&app, APP.replace("# managed", "# by Vigo")).unwrap();
    run(&[]).exits(1).prints("something else than what is stored").prints("\"content\": \"# by Vigo");
    // only what is asked for is stored anew, and what no test has any more goes
    run(&["--bless", "--filter", "a"]).exits(0).says("1 snapshot stored");
    run(&["--filter", "a"]).exits(0);
    run(&[]).exits(1);
    std::fs::write(dir.path().join("tests/t.vgo"), test.replace("test: b", "test: c")).unwrap();
    run(&["--bless"]).exits(0);
    assert_eq!((stored("b"), stored("c").is_object()), (Json::Null, true));
    std::fs::write(dir.path().join("tests/t.vgo"), test.replace("true", "false")).unwrap();
    run(&["--bless"]).exits(0);
    assert!(!path.exists());
    std::fs::write(&path, "[]").unwrap();
    run(&[]).exits(65).says("is not what `vigoc test --bless` writes");
}

#[test]
fn coverage_lists_what_no_test_reaches() {
    let test = "test: t\nenvoy: web-1.test\ntraits: debian12\nexpect: {}\n";
    let lone = "name: lone\nresources:\n  - { name: x, type: file, target_path: /x, content: \"\", mode: \"0644\" }\n";
    let dir = with(&[("tests/t.vgo", test), ("modules/lone.vgo", lone)]);
    let run = |args: &[&str]| vigoc(&[&["test", text(dir.path()), "--coverage"], args].concat()).exits(0);
    let covered = run(&["--format", "json"]).json()["coverage"].clone();
    assert_eq!(covered["modules"], json!({ "covered": 2, "total": 3 }));
    assert_eq!(covered["resources"], json!({ "covered": 5, "total": 6 }));
    // `changed` is for the agent to decide; the other condition was never false
    assert_eq!(covered["conditions"], json!({ "covered": 1, "total": 2 }));
    assert_eq!(
        covered["uncovered"],
        json!([
            { "file": "modules/app.vgo", "line": 18, "kind": "when", "name": "app.debian", "never": false, "branch": null },
            { "file": "modules/lone.vgo", "line": 1, "kind": "module", "name": "lone", "never": null, "branch": null },
        ])
    );
    run(&[]).prints("modules/lone.vgo:1  module lone").prints("when of app.debian is never false");
}

#[test]
fn coverage_counts_node_entries_and_conditional_vars() {
    let nodes = "nodes:\n  - match: web.test\n    modules: [m]\n    conditional_vars:\n      - when: os_family('debian')\n        vars: { x: 2 }\n      - when: os_family('rhel')\n        vars: { x: 3 }\n  - match: db.test\n    modules: [m]\n";
    let m = "name: m\nvars: { x: 1 }\nresources:\n  - { name: f, type: file, target_path: /f, content: \"{{ .Vars.x }}\", mode: \"0644\" }\n";
    let test = "tests:\n  - { test: a, envoy: web.test, traits: debian12, expect: { vars: { x: 2 } } }\n  - { test: b, envoy: web.test, traits: alpine3, expect: { vars: { x: 1 } } }\n";
    let dir = policy(&[("nodes.vgo", nodes), ("modules/m.vgo", m), ("tests/t.vgo", test)]);
    let run = |args: &[&str]| vigoc(&[&["test", text(dir.path())], args].concat()).exits(0);
    let covered = run(&["--coverage", "--format", "json"]).json()["coverage"].clone();
    assert_eq!(covered["entries"], json!({ "covered": 1, "total": 2 }));
    assert_eq!(covered["conditions"], json!({ "covered": 3, "total": 4 }));
    assert_eq!(
        covered["uncovered"],
        json!([
            { "file": "nodes.vgo", "line": 7, "kind": "when", "name": "conditional_vars of web.test", "never": true, "branch": null },
            { "file": "nodes.vgo", "line": 9, "kind": "entry", "name": "db.test", "never": null, "branch": null },
        ])
    );
    run(&["--coverage"]).prints("when of conditional_vars of web.test is never true").prints("entry db.test");
    let found = lcov(&run(&["--format", "lcov"]).out);
    let nodes = found.iter().find(|(file, _)| file.ends_with("nodes.vgo")).unwrap().1;
    let branch = |line, block, branch, taken: &str| (line, block, branch, taken.to_owned());
    assert_eq!(nodes.lines, [(2, 2), (9, 0)]);
    assert_eq!(
        nodes.branches,
        [branch(5, 0, 0, "1"), branch(5, 0, 1, "1"), branch(7, 1, 0, "0"), branch(7, 1, 1, "2")]
    );
}

/// What a record of lcov says: `DA` by line, `BRDA` by line, block and branch.
#[derive(Debug, Default, PartialEq)]
struct Record {
    lines: Vec<(usize, usize)>,
    branches: Vec<(usize, usize, usize, String)>,
}

/// Reads lcov as a server would, and checks that its totals are what its rows give.
fn lcov(text: &str) -> BTreeMap<String, Record> {
    let mut out = BTreeMap::new();
    let mut here: Option<(String, Record)> = None;
    let number = |n: &str| -> usize { n.parse().unwrap() };
    for line in text.lines() {
        if line == "end_of_record" {
            let (file, record) = here.take().unwrap();
            assert!(out.insert(file, record).is_none(), "a file has one record");
            continue;
        }
        let (key, value) = line.split_once(':').unwrap();
        let fields: Vec<&str> = value.split(',').collect();
        match (key, &mut here) {
            ("TN", None) => {}
            ("SF", None) => here = Some((value.to_owned(), Record::default())),
            ("DA", Some((_, r))) => r.lines.push((number(fields[0]), number(fields[1]))),
            ("BRDA", Some((_, r))) => {
                r.branches.push((
                    number(fields[0]),
                    number(fields[1]),
                    number(fields[2]),
                    fields[3].to_owned(),
                ));
            }
            ("LF", Some((_, r))) => assert_eq!(number(value), r.lines.len()),
            ("LH", Some((_, r))) => assert_eq!(number(value), r.lines.iter().filter(|l| l.1 > 0).count()),
            ("BRF", Some((_, r))) => assert_eq!(number(value), r.branches.len()),
            ("BRH", Some((_, r))) => {
                let hit = r.branches.iter().filter(|b| !["-", "0"].contains(&b.3.as_str())).count();
                assert_eq!(number(value), hit);
            }
            _ => panic!("{line}"),
        }
    }
    assert!(here.is_none());
    out
}

#[test]
fn lcov_has_outcomes_of_conditions_and_branches_of_cases() {
    let cases = r#"name: cases
resources:
  - name: one
    type: file
    target_path: /one
    case: "{{ .Traits.os.family }}"
    match:
      debian: { content: a }
      rhel: { content: b }
      default: { content: c }
  - { name: two, type: file, target_path: /two, content: "", when: os_family('suse') }
"#;
    let tests = "envoy: x-1.test\ntests:\n  - { test: a, traits: debian12, expect: {} }\n  - { test: b, traits: debian13, expect: {} }\n  - { test: c, traits: arch, expect: {} }\n";
    let dir = policy(&[
        ("nodes.vgo", "nodes: [{ match: \"*.test\", modules: [cases] }]\n"),
        ("modules/cases.vgo", cases),
        (
            "modules/lone.vgo",
            "name: lone\nresources:\n  - { name: x, type: file, target_path: /x, content: \"\", when: os_family('suse') }\n",
        ),
        ("tests/t.vgo", tests),
    ]);
    let (root, file) = (text(dir.path()), dir.path().join("lcov.info"));
    let report = format!("lcov:{}", text(&file));
    // people are not told what they did not ask for
    let ran = vigoc(&["test", root, "--report", &report]).exits(0);
    assert!(!ran.out.contains("coverage"), "{}", ran.out);
    let found = lcov(&std::fs::read_to_string(&file).unwrap());
    let branch = |line, block, branch, taken: &str| (line, block, branch, taken.to_owned());
    assert_eq!(
        found["modules/cases.vgo"],
        Record {
            lines: vec![(1, 3), (3, 3), (11, 0)],
            branches: vec![
                branch(6, 0, 0, "2"),
                branch(6, 0, 1, "0"),
                branch(6, 0, 2, "1"),
                branch(11, 1, 0, "0"),
                branch(11, 1, 1, "3"),
            ],
        }
    );
    assert_eq!(
        found["modules/lone.vgo"],
        Record { lines: vec![(1, 0), (3, 0)], branches: vec![branch(3, 0, 0, "-"), branch(3, 0, 1, "-")] }
    );
    // paths begin where vigoc runs
    let above = vigoc_in(dir.path().parent().unwrap(), &["test", root, "--format", "lcov"], "").exits(0);
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    assert!(lcov(&above.out).contains_key(&format!("{name}/modules/cases.vgo")), "{}", above.out);
    let told = vigoc(&["test", root, "--coverage"]).exits(0);
    told.prints("case: branches     2 of 3").prints("modules/cases.vgo:9   case of cases.one is never rhel");
    vigoc(&["test", root, "--report", "lcof:x"]).exits(64).says("did you mean `lcov`");
}

#[test]
fn junit_names_files_as_classes_and_escapes_what_it_quotes() {
    let tests = "tests:\n  - { test: \"a <b> & \\\"c\\\"\", envoy: web-1.test, expect: { vars: { title: \"<&>\" } } }\n  - { test: good, envoy: web-1.test, expect: {} }\n";
    let dir = with(&[("tests/t.vgo", tests), ("tests/u.vgo", "nonsense: 1\n")]);
    let ran = vigoc(&["test", text(dir.path()), "--format", "junit"]).exits(1);
    ran.prints("<testsuites name=\"vigoc test\" tests=\"3\" failures=\"1\" errors=\"1\">")
        .prints("<testcase classname=\"tests/t.vgo\" name=\"a &lt;b&gt; &amp; &quot;c&quot;\">")
        .prints("<failure message=\"`title` is `App`, not `&lt;&amp;&gt;`\">")
        .prints("<testcase classname=\"tests/t.vgo\" name=\"good\"/>")
        .prints("<error message=\"the file has errors\">");
}

#[test]
fn the_tests_of_acme_pass() {
    vigoc(&["test", text(&acme())]).exits(0);
}
