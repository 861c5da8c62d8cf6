//! `vigoc schema`: what people write and what `vigoc` prints fits the schemas, and mistakes do not.

use super::{Ran, acme, policy, text, vigoc, vigoc_in};
use ed25519_dalek::SigningKey;
use ir::manifest::{Lease, Manifest, ModuleRow, SecretRef};
use jsonschema::Validator;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

fn validator(kind: &str) -> Validator {
    jsonschema::validator_for(&vigoc(&["schema", kind]).exits(0).json()).unwrap()
}

/// What does not fit, one line each.
fn wrong(validator: &Validator, document: &Json) -> Vec<String> {
    validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, out),
            false => out.push(path),
        }
    }
}

fn kind_of(file: &Path) -> &'static str {
    let root = acme();
    let inside = file.strip_prefix(&root).unwrap();
    match inside.iter().next().unwrap().to_str().unwrap() {
        "modules" => "module",
        "tests" => "test",
        _ => match inside.file_name().unwrap().to_str().unwrap() {
            "roles.vgo" => "roles",
            "common.vgo" => "common",
            "environments.vgo" => "environments",
            _ => "nodes",
        },
    }
}

fn parsed(source: &str) -> Json {
    vigoc_in(Path::new("."), &["parse", "-"], source).exits(0).json()
}

#[test]
fn the_files_of_a_real_policy_fit() {
    let mut all = Vec::new();
    files(&acme(), &mut all);
    let policy = all.iter().filter(|p| p.extension().is_some_and(|e| e == "vgo"));
    let mut seen = std::collections::BTreeMap::new();
    for file in policy {
        let kind = kind_of(file);
        let validator = seen.entry(kind).or_insert_with(|| validator(kind));
        let document = vigoc(&["parse", text(file)]).exits(0).json();
        assert_eq!(wrong(validator, &document), [""; 0], "{}", file.display());
    }
    let kinds: Vec<&str> = seen.into_keys().collect();
    assert_eq!(kinds, ["common", "environments", "module", "nodes", "roles", "test"]);
}

#[test]
fn traits_and_fleets_fit() {
    let traits = validator("traits");
    for name in ["debian12", "rocky9"] {
        let text = std::fs::read_to_string(acme().join(format!("traits/{name}.json"))).unwrap();
        assert_eq!(wrong(&traits, &serde_json::from_str(&text).unwrap()), [""; 0], "{name}");
    }
    assert!(!traits.is_valid(&json!({ "os": { "family": "beos" } })));
    assert!(!traits.is_valid(&json!({ "hardware": { "cpus": "4" } })));
    let fleet = validator("fleet");
    let lines = std::fs::read_to_string(acme().join("fleet.jsonl")).unwrap();
    let hosts: Vec<Json> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for host in &hosts {
        assert_eq!(wrong(&fleet, host), [""; 0]);
    }
    assert!(fleet.is_valid(&Json::from(hosts)));
    assert!(!fleet.is_valid(&json!([{ "traits": {} }])), "a host has a name");
    assert!(!fleet.is_valid(&json!({ "hostname": "a", "roles": [] })));
}

/// Each is valid but for one thing.
#[test]
fn mistakes_do_not_fit() {
    let module = |resource: &str| format!("name: m\nresources:\n  - {resource}\n");
    let schema = validator("module");
    let good = [
        "{ type: file, target_path: /a, content: 1.10, mode: \"0644\", state: present }",
        "{ type: file, target_path: /a, backup: \"{{ .Vars.keep }}\", when: changed, notify: x }",
        "{ type: file, case: \"{{ .Traits.os.family }}\", match: { debian: { target_path: /a }, default: { target_path: /b, source: c } } }",
        "{ type: exec, command: a, creates: /b, returns: [0, 2], environment: { A: 1 } }",
    ];
    for resource in good {
        assert_eq!(wrong(&schema, &parsed(&module(resource))), [""; 0], "{resource}");
    }
    let bad = [
        "{ type: file, target_path: /a, contnet: b }",
        "{ type: symlink, target_path: /a, content: b }",
        "{ type: fiel, target_path: /a }",
        "{ type: file, target_path: a }",
        "{ type: file, target_path: /a, mode: 0644 }",
        "{ type: file, target_path: /a, backup: yes }",
        "{ type: file, target_path: /a, state: gone }",
        "{ type: file, target_path: /a, content: [b] }",
        "{ type: file, target_path: /a, match: { b: { contnet: c } } }",
        "{ type: exec, command: a, returns: 0 }",
        "{ target_path: /a }",
    ];
    for resource in bad {
        assert!(!schema.is_valid(&parsed(&module(resource))), "{resource}");
    }
    let others = [
        ("module", "resources: []"),
        ("module", "{ name: a b }"),
        ("module", "{ name: m, colour: red }"),
        ("module", "{ name: m, params: { p: { defualt: 1 } } }"),
        ("module", "{ name: m, defaults: { mood: good } }"),
        ("roles", "{ roles: [{ modules: [a] }] }"),
        ("nodes", "{ nodes: [{ modules: [a] }] }"),
        ("nodes", "{ nodes: [{ match: a, conditional_vars: [{ when: true }] }] }"),
        ("common", "{ environment: a }"),
        ("environments", "{ env: { a: { roles: [b] } } }"),
        ("test", "{ test: a, expect: {} }"),
        ("test", "{ test: a, envoy: h, traits: debain12, expect: {} }"),
        ("test", "{ test: a, envoy: h, expect: { resources: { a.b: gone } } }"),
        ("test", "{ tests: [{ test: a, expct: {} }] }"),
    ];
    for (kind, source) in others {
        assert!(!validator(kind).is_valid(&parsed(source)), "{kind}: {source}");
    }
    for kind in ["roles", "nodes", "common", "environments", "test"] {
        assert!(validator(kind).is_valid(&parsed("")), "an empty file is an empty {kind}");
    }
}

#[test]
fn what_check_prints_fits() {
    let schema = validator("check");
    let clean = vigoc(&["check", text(&acme()), "--format", "json"]).exits(0).json();
    assert_eq!(wrong(&schema, &clean), [""; 0]);
    let module = "name: m\nvars: { spare: 1 }\nresources:\n  - { type: file, target_path: /a, mode: 0644, contnet: b }\n  - { type: exec, command: a } # vigo: allow(unguarded-exec) cheap\n";
    let dir = policy(&[("modules/m.vgo", module), ("nodes.vgo", "nodes: [{ match: h, modules: [m] }]\n")]);
    let found = vigoc(&["check", text(dir.path()), "--format", "json"]).exits(1).json();
    assert_eq!(wrong(&schema, &found), [""; 0]);
    assert!(found["diagnostics"].as_array().is_some_and(|d| d.len() >= 2), "{found:#}");
    assert_eq!(found["suppressed"].as_array().map(Vec::len), Some(1), "{found:#}");
    let mut other = found.clone();
    other["diagnostics"][0]["severity"] = "fatal".into();
    assert!(!schema.is_valid(&other));
    let mut other = found;
    other["summary"]["bugs"] = 0.into();
    assert!(!schema.is_valid(&other), "a new field has to be described");
    let failed = vigoc(&["check", "no/such/policy", "--format", "json"]).exits(65).json();
    assert_eq!(wrong(&schema, &failed), [""; 0]);
    assert!(failed["error"]["message"].is_string());
}

#[test]
fn what_resolve_prints_fits() {
    let schema = validator("resolve");
    let root = acme();
    let fleet = std::fs::read_to_string(root.join("fleet.jsonl")).unwrap();
    for line in fleet.lines() {
        let host: Json = serde_json::from_str(line).unwrap();
        let args =
            ["resolve", host["hostname"].as_str().unwrap(), text(&root), "--format", "json", "--traits", "-"];
        let ran = vigoc_in(Path::new("."), &args, &host["traits"].to_string()).exits(0).json();
        assert_eq!(wrong(&schema, &ran), [""; 0], "{line}");
        let mut other = ran;
        other["resources"][0]["colour"] = "red".into();
        assert!(!schema.is_valid(&other), "a new field has to be described");
    }
    let nobody = vigoc(&["resolve", "nobody.invalid", text(&root), "--format", "json"]).exits(1).json();
    assert_eq!(wrong(&schema, &nobody), [""; 0]);
}

/// What these runs print fits, and does not with a field more, wherever one of these paths leads.
#[track_caller]
fn fit(kind: &str, runs: Vec<Ran>, closed: &[&str]) {
    let schema = validator(kind);
    let documents: Vec<Json> = runs.iter().map(Ran::json).collect();
    for document in &documents {
        assert_eq!(wrong(&schema, document), [""; 0], "{document:#}");
    }
    for path in closed.iter().chain(&[""]) {
        let mut found = documents.iter().filter(|d| d.pointer(path).is_some_and(Json::is_object)).peekable();
        assert!(found.peek().is_some(), "{kind}: no document has `{path}`");
        for document in found {
            let mut other = document.clone();
            other.pointer_mut(path).unwrap()["colour"] = "red".into();
            assert!(!schema.is_valid(&other), "{kind}: a new field in `{path}` has to be described");
        }
    }
}

#[test]
fn what_explain_prints_fits() {
    let root = acme();
    let run = |host: &str, args: &[&str], code: i32| {
        vigoc(&[&["explain", host, text(&root), "--format", "json"], args].concat()).exits(code)
    };
    let traits = root.join("traits/debian12.json");
    let web = "web-01.acme.test";
    let runs = vec![
        run(web, &["--var", "rate_limit"], 0),
        run(web, &["--module", "nginx"], 0),
        run(web, &["--module", "debug"], 0),
        run(web, &["--module", "shop"], 0),
        run(web, &["--resource", "nginx.site"], 0),
        run(web, &["--resource", "nginx.site", "--traits", text(&traits)], 0),
        run(web, &["--when", "nginx.site"], 0),
        run("db-01.eu.acme.test", &["--when", "nginx.site"], 1),
        run(web, &["--var", "no_such"], 1),
        run("nobody.invalid", &["--var", "x"], 1),
    ];
    fit(
        "explain",
        runs,
        &[
            "/entry",
            "/var",
            "/var/layers/0",
            "/module",
            "/module/given_by/0/0",
            "/resource",
            "/when",
            "/error",
        ],
    );
    let conditions = policy(&[
        (
            "nodes.vgo",
            "nodes: [{ match: h, modules: [m], conditional_vars: [{ when: \"os_family('debian')\", vars: { x: 2 } }] }]\n",
        ),
        (
            "modules/m.vgo",
            "name: m\nwhen: \"vars.x > 0 && hostname('h')\"\nvars: { x: 1 }\nresources:\n  - { name: r, type: file, target_path: /a, when: \"!is_container() || changed\" }\n",
        ),
    ]);
    let run = |args: &[&str]| {
        vigoc(&[&["explain", "h", text(conditions.path()), "--format", "json"], args].concat()).exits(0)
    };
    let runs = vec![
        run(&["--when", "m.r"]),
        run(&["--module", "m"]),
        run(&["--var", "x"]),
        run(&["--resource", "m.r"]),
    ];
    fit(
        "explain",
        runs,
        &["/when/conditions/0", "/when/conditions/0/parts/0", "/module/when", "/resource/when"],
    );
}

#[test]
fn what_graph_prints_fits() {
    let root = acme();
    let run = |args: &[&str], code| {
        vigoc(&[&["graph", "web-01.acme.test", text(&root), "--format", "json"], args].concat()).exits(code)
    };
    let runs = vec![
        run(&[], 0),
        run(&["--focus", "nginx"], 0),
        run(&["--focus", "nginx.site", "--depth", "1", "--max-nodes", "1"], 0),
        run(&["--focus", "nothing"], 1),
    ];
    fit("graph", runs, &["/nodes/0", "/edges/0"]);
}

#[test]
fn what_the_commands_about_names_print_fits() {
    let root = acme();
    let json = |command: &str, args: &[&str], code| {
        vigoc(&[&[command, "--format", "json", "-C", text(&root)], args].concat()).exits(code)
    };
    let names = ["nginx", "rate_limit", "webserver", "production", "os.family", "nginx.site"];
    let runs =
        names.map(|name| json("rdeps", &[name], 0)).into_iter().chain([json("rdeps", &["nothing"], 1)]);
    fit("rdeps", runs.collect(), &["/uses/0"]);
    let words = ["a", "nginx", "memory", "file", "web"];
    let runs =
        words.map(|word| json("search", &[word], 0)).into_iter().chain([json("search", &["qqqqq"], 1)]);
    fit("search", runs.collect(), &["/found/0"]);
    fit(
        "doc",
        vec![
            json("doc", &[], 0),
            vigoc(&["doc", "--format", "json"]).exits(0),
            vigoc(&["doc", "exec", "--format", "json"]).exits(0),
        ],
        &[
            "/modules/0",
            "/modules/0/variables/0",
            "/types/0",
            "/types/0/attributes/0",
            "/traits/0",
            "/functions/0",
        ],
    );
    let of = |word: &str| vigoc(&["rule", "--format", "json", word]).exits(0);
    fit("rule", vec![of("needs-quotes"), vigoc(&["rule", "--format", "json"]).exits(0)], &["/rules/0"]);
}

#[test]
fn doc_says_the_same_in_both_formats() {
    let library = vigoc(&["doc", "--format", "json"]).exits(0).json();
    let page = vigoc(&["doc"]).exits(0).out;
    for (list, name) in [("types", "name"), ("traits", "path"), ("functions", "name")] {
        let all = library[list].as_array().unwrap();
        assert!(all.len() > 3, "{list}");
        for item in all {
            assert!(page.contains(item[name].as_str().unwrap()), "{item}");
        }
    }
    let dir = policy(&[(
        "modules/m.vgo",
        "name: m\ndoc: |\n  Says hello.\nparams:\n  p: { type: int, doc: a number }\n  s: { type: secret, default: \"secret:a/b\" }\nvars: { v: [1] }\n",
    )]);
    let modules = vigoc(&["doc", text(dir.path()), "--format", "json"]).exits(0).json();
    assert_eq!(
        modules["modules"],
        json!([{
            "name": "m", "file": "modules/m.vgo", "doc": "Says hello.", "depends_on": [],
            "variables": [
                { "name": "p", "type": "int", "parameter": true, "required": true, "default": null, "doc": "a number" },
                { "name": "s", "type": "secret<string>", "parameter": true, "required": false, "default": { "secret": "a/b" }, "doc": null },
                { "name": "v", "type": "list<int>", "parameter": false, "required": false, "default": [1], "doc": null },
            ],
        }])
    );
    vigoc(&["doc", "no/such/policy", "--format", "json"]).exits(65).prints("\"error\"");
    let file = vigoc(&["doc", "file"]).exits(0);
    assert!(page.contains(file.out.strip_prefix("# file\n").unwrap()), "a type reads as in the whole page");
    file.prints("| `target_path` |").prints("```yaml\n- name: site\n  type: file\n");
    vigoc(&["doc", "fiel"])
        .exits(65)
        .says("`fiel` is neither a resource type nor a directory; did you mean `vigoc doc file`?");
    vigoc(&["doc", "file", "-C", "."]).exits(64).says("not both");
    let named_like_a_type = policy(&[("file/modules/m.vgo", "name: m\n")]);
    vigoc_in(named_like_a_type.path(), &["doc", "./file"], "").exits(0).prints("## m");
}

#[test]
fn what_eval_prints_fits() {
    let run = |expr: &str, code| vigoc(&["eval", "--when", expr, "--format", "json"]).exits(code);
    fit(
        "eval",
        vec![run("1 < 2", 0), run("file_exists('/etc/motd')", 0), run("1 <", 1)],
        &["/diagnostics/0"],
    );
}

#[test]
fn what_test_prints_fits() {
    let run = |dir: &Path, args: &[&str], code| {
        vigoc(&[&["test", text(dir), "--format", "json"], args].concat()).exits(code)
    };
    let tests = "tests:\n  - { test: good, envoy: h, expect: {} }\n  - { test: bad, envoy: h, expect: { modules: [m], vars: { x: 2, y: 1 }, resources: { m.r: { mode: \"0600\" } } } }\n";
    let module = "name: m\nvars: { x: 1 }\nresources:\n  - { name: r, type: file, target_path: /a, when: vars.x > 0 }\n  - name: c\n    type: file\n    target_path: /b\n    case: \"{{ .Vars.x }}\"\n    match: { \"1\": { content: a }, default: { content: b } }\n";
    let dir = policy(&[
        ("nodes.vgo", "nodes: [{ match: h, modules: [m] }]\n"),
        ("modules/m.vgo", module),
        ("tests/t.vgo", tests),
    ]);
    let failed = run(dir.path(), &["--coverage"], 1);
    std::fs::write(dir.path().join("tests/u.vgo"), "nonsense: 1\n").unwrap();
    let runs = vec![
        failed,
        run(dir.path(), &[], 1),
        run(&acme(), &["--coverage"], 0),
        run(Path::new("no/such"), &[], 65),
    ];
    fit(
        "test-output",
        runs,
        &[
            "/tests/0",
            "/tests/1/failures/0",
            "/summary",
            "/coverage",
            "/coverage/branches",
            "/coverage/uncovered/0",
            "/diagnostics/0",
        ],
    );
}

#[test]
fn what_plan_prints_fits() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |dir: &Path, path: &str, text: &str| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let module =
        |name: &str, rest: &str| format!("name: {name}\ndefaults: {{ mode: \"0644\" }}\nresources:\n{rest}");
    let file = |name: &str, more: &str| {
        format!("  - {{ name: {name}, type: file, target_path: /{name}, content: a{more} }}\n")
    };
    let fleet = old.path().join("fleet.json");
    write(
        old.path(),
        "fleet.json",
        r#"[{"hostname": "a"}, {"hostname": "b"}, {"hostname": "c"}, {"hostname": "d"}, {"hostname": "e"}]"#,
    );
    write(
        old.path(),
        "nodes.vgo",
        "nodes:\n  - { match: [a, e], environment: x, modules: [m, gone, n] }\n  - { match: b, modules: [order] }\n  - { match: c, modules: [m] }\n",
    );
    write(
        new.path(),
        "nodes.vgo",
        "nodes:\n  - { match: a, environment: x, modules: [m, n] }\n  - { match: b, modules: [order] }\n  - { match: d, modules: [m] }\n  - { match: e, modules: [broken] }\n",
    );
    write(old.path(), "modules/gone.vgo", &module("gone", &file("g", "")));
    write(new.path(), "modules/broken.vgo", "name: broken\nresources: [{ type: file }]\n");
    let both = [file("one", ""), file("two", ""), file("three", "")];
    write(old.path(), "modules/order.vgo", &module("order", &both.concat()));
    write(
        new.path(),
        "modules/order.vgo",
        &module("order", &[both[1].clone(), both[0].clone(), both[2].clone()].concat()),
    );
    write(old.path(), "modules/n.vgo", "name: n\n");
    write(new.path(), "modules/n.vgo", "name: n\ndepends_on: [m]\n");
    let m = [
        file("x", ", when: \"os_family('debian')\""),
        file("y", ""),
        "  - { name: k, type: file, target_path: /k }\n".into(),
    ];
    write(old.path(), "modules/m.vgo", &module("m", &m.concat()));
    let m = [
        file("x", ", notify: y, owner: root"),
        file("z", ""),
        file("y", ", when: changed"),
        "  - { name: k, type: directory, target_path: /k }\n".into(),
    ];
    write(new.path(), "modules/m.vgo", &module("m", &m.concat()));
    let run = |args: &[&str], code| {
        let all = [
            &["plan", text(old.path()), text(new.path()), "--fleet", text(&fleet), "--format", "json"],
            args,
        ];
        vigoc(&all.concat()).exits(code)
    };
    let plan = run(&["--max-envoys", "50%"], 1);
    let nowhere = vigoc(&["plan", "no/such", text(new.path()), "--fleet", text(&fleet), "--format", "json"]);
    let nowhere = nowhere.exits(65);
    let parts: std::collections::BTreeSet<String> = plan.json()["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|g| g["changes"].as_array().unwrap())
        .flat_map(|c| {
            let parts = c["parts"].as_array().cloned().unwrap_or_default();
            let parts: Vec<String> = parts.iter().map(|p| p["part"].as_str().unwrap().to_owned()).collect();
            [c["kind"].as_str().unwrap().to_owned()].into_iter().chain(parts)
        })
        .collect();
    let all =
        ["added", "attribute", "changed", "depends_on", "notify", "removed", "reordered", "type", "when"];
    assert_eq!(parts.iter().map(String::as_str).collect::<Vec<_>>(), all, "each form there is was compared");
    fit(
        "plan",
        vec![plan, nowhere],
        &[
            "/summary",
            "/gates/0",
            "/groups/0",
            "/groups/0/changes/0",
            "/variants/0",
            "/variants/0/old",
            "/variants/0/old/entry",
        ],
    );
}

/// A manifest and a lease as a server signs them.
fn signed(dir: &Path) -> [PathBuf; 2] {
    let key = SigningKey::from_bytes(&[7; 32]);
    let key_id = ir::signing::key_id(&key.verifying_key());
    let mut manifest = Manifest {
        cluster_id: "c".into(),
        envoy_id: "web-1".into(),
        key_id,
        epoch: 1,
        seq: 2,
        release_serial: 3,
        policy_version: "v".into(),
        ir_format: ir::IR_FORMAT,
        merkle_root: ir::Hash::default(),
        vars_hash: ir::Hash::of(b"vars"),
        modules: vec![ModuleRow { name: "m".into(), hash: ir::Hash::of(b"m"), size: 1 }],
        run_order: vec![0],
        secret_refs: vec![SecretRef { path: "a/b".into(), version: "1".into() }],
        required_features: vec!["f".into()],
    };
    manifest.merkle_root = manifest.computed_root();
    let lease = Lease {
        cluster_id: "c".into(),
        envoy_id: "web-1".into(),
        key_id,
        epoch: 1,
        seq: 2,
        merkle_root: manifest.merkle_root,
        issued_at: 1,
        expires_at: 0,
        agent_nonce: vec![0xab; 16],
        server_time: 1,
    };
    let paths = ["manifest.bin", "lease.bin"].map(|name| dir.join(name));
    std::fs::write(&paths[0], manifest.seal(&key)).unwrap();
    std::fs::write(&paths[1], lease.seal(&key)).unwrap();
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
    std::fs::write(dir.join("other.pub"), ir::Hash(other).to_string()).unwrap();
    paths
}

#[test]
fn what_inspect_prints_fits() {
    let (root, dir) = (acme(), tempfile::tempdir().unwrap());
    let (fleet, out) = (root.join("fleet.jsonl"), dir.path().join("build"));
    vigoc(&["build", text(&root), "--fleet", text(&fleet), "--out", text(&out)]).exits(0);
    let bundle = out.join("envoys/app-01.us.acme.test.json");
    let run =
        |path: &Path, args: &[&str], code| vigoc(&[&["inspect", text(path)], args].concat()).exits(code);
    let shown = run(&bundle, &[], 0);
    let blob = out.join("blobs").join(shown.json()["modules"][0]["hash"].as_str().unwrap());
    let [manifest, lease] = signed(dir.path());
    let other = dir.path().join("other.pub");
    let runs = vec![
        run(&out, &[], 0),
        shown,
        run(&blob, &[], 0),
        run(&manifest, &[], 0),
        run(&lease, &["--key", text(&other)], 1),
        run(&root.join("nodes.vgo"), &[], 65),
    ];
    fit(
        "inspect",
        runs,
        &[
            "/envoys/0",
            "/envoys/0/modules/0",
            "/modules/0",
            "/modules/0/resources/0",
            "/resources/0",
            "/signature",
            "/claims",
            "/claims/modules/0",
        ],
    );
}

#[test]
fn what_check_prints_in_lines_fits() {
    let schema = validator("check-ndjson");
    let module = "name: m\nvars: { spare: 1 }\nresources:\n  - { type: file, target_path: /a, contnet: b }\n";
    let dir = policy(&[("modules/m.vgo", module), ("nodes.vgo", "nodes: [{ match: h, modules: [m] }]\n")]);
    let run = |dir: &Path, code| vigoc(&["check", text(dir), "--format", "ndjson"]).exits(code).out;
    let lines =
        |text: &str| -> Vec<Json> { text.lines().map(|l| serde_json::from_str(l).unwrap()).collect() };
    let whole = vigoc(&["check", text(dir.path()), "--format", "json"]).exits(1).json();
    let all = lines(&run(dir.path(), 1));
    let (last, found) = all.split_last().unwrap();
    assert_eq!(Json::from(found), whole["diagnostics"]);
    assert_eq!((&last["summary"], &last["command"]), (&whole["summary"], &json!("check")));
    let failed = lines(&run(Path::new("no/such/policy"), 65));
    assert_eq!(failed.len(), 1);
    for line in all.iter().chain(&failed) {
        assert_eq!(wrong(&schema, line), [""; 0], "{line:#}");
        let mut other = line.clone();
        other["colour"] = "red".into();
        assert!(!schema.is_valid(&other), "{line:#}");
    }
}

#[test]
fn without_a_kind_all_are_listed() {
    let list = vigoc(&["schema"]).exits(0).out;
    for line in list.lines() {
        let kind = line.split_whitespace().next().unwrap();
        let schema = vigoc(&["schema", kind]).exits(0).json();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{kind}");
    }
    assert!(list.lines().count() >= 10, "{list}");
    vigoc(&["schema", "modul"]).exits(64).says("module");
}
